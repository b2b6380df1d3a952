/* Statements. */
#include <string.h>

#include "io/jinja/eval.h"

/* ---- loops ---- */

/* A for under way. Items are taken as they are asked for: the condition of "for x in list if condition" may depend on
 * what the body did. */
typedef struct loop_state {
    const jinja_node *node;
    const jinja_value *source; /* [n] items, from `at` on not yet taken */
    size_t n, at;
    size_t index; /* of the item at hand, from 0 */
    jinja_value previous, item, next;
    bool has_next, has_previous; /* `next` is taken already; there was an item before */
    size_t depth;
    jinja_frame *outside; /* where conditions are evaluated */
    jinja_value changed;  /* the arguments of loop.changed() last time */
} loop_state;

static bool accepts(jinja_eval *e, loop_state *l, jinja_value item, bool *out)
{
    *out = true;
    if (l->node->c == NULL)
        return true;
    jinja_frame *inside = e->frame;
    jinja_value test;
    if ((e->frame = jinja_frame_new(e, l->outside)) == NULL)
        return false;
    const bool done = jinja_assign_target(e, l->node->b, item) && jinja_evaluate(e, l->node->c, &test);
    e->frame = inside;
    *out = done && jinja_truth(test);
    return done;
}

/* The next item that is to be gone through; *found false: there is none. */
static bool take(jinja_eval *e, loop_state *l, jinja_value *item, bool *found)
{
    for (*found = false; l->at < l->n && !*found;) {
        *item = l->source[l->at++];
        if (!jinja_charge(e, 1) || !accepts(e, l, *item, found))
            return false;
    }
    return true;
}

static bool peek(jinja_eval *e, loop_state *l, bool *found)
{
    if (!l->has_next && !take(e, l, &l->next, &l->has_next))
        return false;
    *found = l->has_next;
    return true;
}

/* The number of items after the current one: all of them are read to count them. */
static bool count_left(jinja_eval *e, loop_state *l, size_t *left)
{
    const size_t taken = l->has_next;
    if (l->node->c != NULL && l->at < l->n) {
        jinja_value *rest = jinja_values_new(e, l->n - l->at);
        size_t n = 0;
        for (bool found = true; rest != NULL && found; n += found)
            if (!take(e, l, &rest[n], &found))
                return false;
        if (rest == NULL)
            return false;
        jinja_node *plain = jinja_alloc(e->arena, sizeof *plain); /* the same for, its condition done with */
        if (plain == NULL)
            return jinja_no_memory(e);
        *plain = *l->node;
        plain->c = NULL;
        l->node = plain;
        l->source = rest;
        l->n = n;
        l->at = 0;
    }
    *left = l->n - l->at + taken;
    return true;
}

static bool run_cycle(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    if (c->n == 0)
        return jinja_fail(e, DM_ERR_INPUT, "loop.cycle needs an argument");
    *out = c->arg[((const loop_state *)c->subject.as.object)->index % c->n];
    return true;
}

static bool run_changed(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    loop_state *l = c->subject.as.object;
    jinja_value *kept = jinja_values_new(e, c->n), now;
    if (kept == NULL)
        return false;
    memcpy(kept, c->arg, c->n * sizeof *kept);
    if (!jinja_give_list(e, JINJA_TUPLE, kept, c->n, &now))
        return false;
    *out = jinja_bool(!jinja_equal(l->changed, now));
    l->changed = now;
    return true;
}

bool jinja_loop_member(jinja_eval *e, jinja_value loop, const jinja_string *name, jinja_value *out)
{
    static const jinja_builtin methods[] = {{"cycle", "*", 0, 0, run_cycle}, {"changed", "*", 0, 0, run_changed}, {0}};
    loop_state *l = loop.as.object;
    size_t left = 0;
    bool found = false;
    const jinja_builtin *method = jinja_find(methods, name->data, name->size);
    if (method != NULL) {
        jinja_method *bound = jinja_alloc(e->arena, sizeof *bound);
        if (bound == NULL)
            return jinja_no_memory(e);
        *bound = (jinja_method){loop, method};
        *out = (jinja_value){.type = JINJA_METHOD, .as.object = bound};
        return true;
    }
#define IS(text) jinja_text_is(name, text, sizeof(text) - 1)
    if (IS("index0") || IS("index")) {
        *out = jinja_int((int64_t)(l->index + IS("index")));
    } else if (IS("first")) {
        *out = jinja_bool(l->index == 0);
    } else if (IS("last")) {
        if (!peek(e, l, &found))
            return false;
        *out = jinja_bool(!found);
    } else if (IS("previtem")) {
        *out = l->has_previous ? l->previous : jinja_undefined("loop.previtem");
    } else if (IS("nextitem")) {
        if (!peek(e, l, &found))
            return false;
        *out = found ? l->next : jinja_undefined("loop.nextitem");
    } else if (IS("length") || IS("revindex") || IS("revindex0")) {
        if (!count_left(e, l, &left))
            return false;
        *out = jinja_int((int64_t)(left + (IS("length") ? l->index + 1 : IS("revindex"))));
    } else if (IS("depth") || IS("depth0")) {
        *out = jinja_int((int64_t)(l->depth - IS("depth0")));
    } else {
        *out = jinja_undefined(NULL);
    }
#undef IS
    return true;
}

static bool loop_body(jinja_eval *e, loop_state *l, jinja_frame *frame, bool *entered)
{
    const jinja_node *node = l->node;
    const jinja_value loop = {.type = JINJA_LOOP, .as.object = l};
    bool found = true;
    for (; found; l->index++) {
        jinja_value item = l->next;
        if (!l->has_next && !take(e, l, &item, &found))
            return false;
        if (!found)
            break;
        l->has_next = false;
        l->has_previous = *entered;
        l->previous = l->item;
        l->item = item;
        *entered = true;
        frame->n = 0; /* nothing of an iteration is left for the next */
        if (!jinja_assign_target(e, node->b, item) || !jinja_assign(e, frame, e->j->known.loop, loop) ||
            !jinja_execute(e, node))
            return false;
        const jinja_flow flow = e->flow;
        e->flow = JINJA_GO_ON;
        if (flow == JINJA_LEAVE)
            break;
    }
    return true;
}

static bool execute_for(jinja_eval *e, const jinja_node *node)
{
    jinja_value source;
    const jinja_list *items;
    bool entered = false;
    if (!jinja_evaluate(e, node->a, &source))
        return false;
    e->line = node->line;
    loop_state *l = jinja_alloc(e->arena, sizeof *l);
    jinja_frame *outside = e->frame, *frame = jinja_frame_new(e, outside);
    if (l == NULL || frame == NULL)
        return jinja_no_memory(e);
    if (!jinja_items(e, source, &items))
        return false;
    *l = (loop_state){.node = node, .source = items->items, .n = items->n, .depth = 1, .outside = outside};
    e->frame = frame;
    const bool done = loop_body(e, l, frame, &entered);
    if (done && !entered && node->other != NULL) {
        frame->n = 0;
        if (!jinja_execute(e, node->other))
            return false;
    }
    e->frame = outside;
    return done;
}

/* ---- blocks whose text is a value ---- */

/* The body's text, in a scope of its own. */
static bool capture(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    jinja_text t = jinja_text_new(e), *outer = e->out;
    jinja_frame *outside = e->frame;
    if ((e->frame = jinja_frame_new(e, outside)) == NULL)
        return false;
    e->out = &t;
    const bool done = jinja_execute(e, node);
    e->out = outer;
    e->frame = outside;
    return done && jinja_give_text(e, &t, out);
}

/* The filters of a block, the innermost first. */
static bool filtered(jinja_eval *e, const jinja_node *filter, jinja_value in, jinja_value *out)
{
    if (filter == NULL) {
        *out = in;
        return true;
    }
    e->line = filter->line;
    return filtered(e, filter->a, in, &in) && jinja_apply(e, filter->builtin, filter->args, in, out);
}

static bool put_value(jinja_eval *e, jinja_value v)
{
    const char *wrong = jinja_write(e->out, v, JINJA_STR);
    if (wrong != NULL)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "%s as text is not supported", wrong);
    return !e->out->failed || jinja_no_memory(e);
}

/* {{ a + b + c }} of texts goes out as it is evaluated; anything else is put together first. */
static bool execute_print(jinja_eval *e, const jinja_node *node)
{
    const jinja_node *a = node->a;
    jinja_value v;
    if (a->kind == JINJA_CONCAT) {
        for (size_t i = 0; i < a->n; i++)
            if (!jinja_evaluate(e, a->list[i], &v) || !put_value(e, v))
                return false;
        return true;
    }
    return jinja_evaluate(e, a, &v) && put_value(e, v);
}

static bool execute_call_block(jinja_eval *e, const jinja_node *node)
{
    jinja_value v;
    jinja_macro *m = jinja_alloc(e->arena, sizeof *m);
    if (m == NULL)
        return jinja_no_memory(e);
    *m = (jinja_macro){.node = node, .scope = e->frame, .name = "caller"};
    return jinja_call_node(e, node->a, (jinja_value){.type = JINJA_MACRO, .as.object = m}, &v) && put_value(e, v);
}

/* What the body puts out is marked; its variables are its own. */
static bool execute_generation(jinja_eval *e, const jinja_node *node)
{
    jinja_frame *outside = e->frame;
    const uint32_t flags = e->out->flags;
    if ((e->frame = jinja_frame_new(e, outside)) == NULL)
        return false;
    e->out->flags |= JINJA_GENERATED;
    const bool done = jinja_execute(e, node);
    e->out->flags = flags;
    e->frame = outside;
    return done;
}

/* ---- statements ---- */

static bool execute_if(jinja_eval *e, const jinja_node *node)
{
    for (; node != NULL && node->kind == JINJA_IF; node = node->b) {
        jinja_value test;
        if (!jinja_evaluate(e, node->a, &test))
            return false;
        if (jinja_truth(test))
            return jinja_execute(e, node);
    }
    return node == NULL || jinja_execute(e, node);
}

static bool define_macro(jinja_eval *e, const jinja_node *node)
{
    jinja_macro *m = jinja_alloc(e->arena, sizeof *m);
    if (m == NULL)
        return jinja_no_memory(e);
    *m = (jinja_macro){.node = node, .scope = e->frame, .name = e->j->variables[node->variable]};
    return jinja_assign(e, e->frame, node->variable, (jinja_value){.type = JINJA_MACRO, .as.object = m});
}

static bool execute(jinja_eval *e, const jinja_node *node)
{
    jinja_value v;
    e->line = node->line;
    switch (node->kind) {
    case JINJA_TEXT:
        jinja_text_string(e->out, node->text);
        return !e->out->failed || jinja_no_memory(e);
    case JINJA_PRINT:
        return execute_print(e, node);
    case JINJA_IF:
        return execute_if(e, node);
    case JINJA_FOR:
        return execute_for(e, node);
    case JINJA_SET:
        return jinja_evaluate(e, node->a, &v) && jinja_assign_target(e, node->b, v);
    case JINJA_SET_BLOCK:
    case JINJA_FILTER_BLOCK:
        if (!capture(e, node, &v) || e->flow != JINJA_GO_ON) /* a break leaves the block, too */
            return e->status == DM_OK;
        if (!filtered(e, node->a, v, &v))
            return false;
        return node->kind == JINJA_FILTER_BLOCK ? put_value(e, v) : jinja_assign_target(e, node->b, v);
    case JINJA_MACRO_DEF:
        return define_macro(e, node);
    case JINJA_CALL_BLOCK:
        return execute_call_block(e, node);
    case JINJA_GENERATION:
        return execute_generation(e, node);
    case JINJA_BREAK:
        e->flow = JINJA_LEAVE;
        return true;
    case JINJA_CONTINUE:
        e->flow = JINJA_NEXT;
        return true;
    default:
        return jinja_fail(e, DM_ERR_INTERNAL, "a value where a statement should be");
    }
}

bool jinja_execute(jinja_eval *e, const jinja_node *body)
{
    if (e->depth == JINJA_NESTED)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "statements and macros are nested deeper than %d levels",
                          JINJA_NESTED);
    e->depth++;
    bool done = true;
    for (size_t i = 0; i < body->n && done && e->flow == JINJA_GO_ON; i++)
        done = jinja_charge(e, 1) && execute(e, body->list[i]);
    e->depth--;
    return done;
}
