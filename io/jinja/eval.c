/* Expressions: names, operators, lists and dicts. */
#include "io/jinja/eval.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool jinja_fail(jinja_eval *e, dm_status status, const char *fmt, ...)
{
    char message[640];
    va_list args;
    if (e->status != DM_OK)
        return false;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    e->status = dm_fail(e->err, status, "%s: line %u: %s", e->j->where, (unsigned)e->line, message);
    return false;
}

bool jinja_no_memory(jinja_eval *e)
{
    return jinja_fail(e, DM_ERR_MEMORY, "the rendering needs more than %zu MiB, or a text of it more than %zu MiB",
                      e->arena->limit >> 20, DM_JINJA_OUTPUT >> 20);
}

bool jinja_charge(jinja_eval *e, size_t n)
{
    e->steps += n;
    return e->steps <= DM_JINJA_STEPS ||
           jinja_fail(e, DM_ERR_MEMORY, "the rendering takes more than %llu steps", (unsigned long long)DM_JINJA_STEPS);
}

/* ---- making values ---- */

jinja_text jinja_text_new(jinja_eval *e)
{
    return (jinja_text){.arena = e->arena, .limit = DM_JINJA_OUTPUT};
}

bool jinja_give_string(jinja_eval *e, const jinja_string *s, jinja_value *out)
{
    *out = (jinja_value){.type = JINJA_STRING, .as.string = s};
    return s != NULL || jinja_no_memory(e);
}

bool jinja_give_text(jinja_eval *e, jinja_text *t, jinja_value *out)
{
    return jinja_give_string(e, jinja_text_finish(t), out) && jinja_charge(e, t->size / 16);
}

jinja_value *jinja_values_new(jinja_eval *e, size_t n)
{
    jinja_value *values = n < DM_JINJA_OUTPUT ? jinja_alloc(e->arena, (n > 0 ? n : 1) * sizeof *values) : NULL;
    if (values == NULL)
        jinja_no_memory(e);
    return values != NULL && jinja_charge(e, n) ? values : NULL;
}

bool jinja_give_list(jinja_eval *e, jinja_type type, const jinja_value *items, size_t n, jinja_value *out)
{
    jinja_list *list = jinja_alloc(e->arena, sizeof *list);
    if (list == NULL)
        return jinja_no_memory(e);
    *list = (jinja_list){items, n};
    *out = (jinja_value){.type = type, .as.list = list};
    return true;
}

bool jinja_soft_string(jinja_eval *e, jinja_value v, const jinja_string **out)
{
    if (v.type == JINJA_STRING) {
        *out = v.as.string;
        return true;
    }
    jinja_text t = jinja_text_new(e);
    jinja_value text;
    const char *wrong = jinja_write(&t, v, JINJA_STR);
    if (wrong != NULL)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "%s as text is not supported", wrong);
    if (!jinja_give_text(e, &t, &text))
        return false;
    *out = text.as.string;
    return true;
}

bool jinja_undefined_error(jinja_eval *e, jinja_value v)
{
    return v.as.missing != NULL ? jinja_fail(e, DM_ERR_INPUT, "\"%.80s\" is undefined", v.as.missing)
                                : jinja_fail(e, DM_ERR_INPUT, "an undefined value is used");
}

/* ---- variables ---- */

jinja_frame *jinja_frame_new(jinja_eval *e, jinja_frame *outer)
{
    jinja_frame *f = jinja_alloc(e->arena, sizeof *f);
    if (f == NULL)
        jinja_no_memory(e);
    else
        *f = (jinja_frame){.outer = outer};
    return f;
}

bool jinja_assign(jinja_eval *e, jinja_frame *f, uint16_t variable, jinja_value value)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->items[i].variable == variable) {
            f->items[i].value = value;
            return true;
        }
    if (f->n == f->capacity) {
        const size_t room = f->capacity > 0 ? 2 * f->capacity : 8;
        jinja_binding *more = jinja_alloc(e->arena, room * sizeof *more);
        if (more == NULL)
            return jinja_no_memory(e);
        if (f->n > 0)
            memcpy(more, f->items, f->n * sizeof *more);
        f->items = more;
        f->capacity = room;
    }
    f->items[f->n++] = (jinja_binding){variable, value};
    return true;
}

jinja_value jinja_look_up(const jinja_eval *e, uint16_t variable)
{
    for (const jinja_frame *f = e->frame; f != NULL; f = f->outer)
        for (size_t i = 0; i < f->n; i++)
            if (f->items[i].variable == variable)
                return f->items[i].value;
    const char *name = e->j->variables[variable];
    const jinja_builtin *function = jinja_find(jinja_functions, name, strlen(name));
    return function != NULL ? (jinja_value){.type = JINJA_FUNCTION, .as.object = (void *)function}
                            : jinja_undefined(name);
}

bool jinja_assign_target(jinja_eval *e, const jinja_node *node, jinja_value value)
{
    if (node->kind == JINJA_NAME)
        return jinja_assign(e, e->frame, node->variable, value);
    if (node->kind == JINJA_ATTR) {
        const jinja_value owner = jinja_look_up(e, node->a->variable);
        if (owner.type != JINJA_NAMESPACE)
            return jinja_fail(e, DM_ERR_INPUT, "\"%s.%.*s\" cannot be set: only a namespace() has members to set",
                              e->j->variables[node->a->variable], (int)node->text->size, node->text->data);
        if (node->text->size > 0 && node->text->data[0] == '_')
            return jinja_fail(e, DM_ERR_INPUT, "a namespace has no members that begin with _");
        return jinja_dict_set(e->arena, owner.as.dict, (jinja_value){.type = JINJA_STRING, .as.string = node->text},
                              value) ||
               jinja_no_memory(e);
    }
    const jinja_list *items;
    if (!jinja_items(e, value, &items))
        return false;
    if (items->n != node->n)
        return jinja_fail(e, DM_ERR_INPUT, "%zu values for %zu names", items->n, node->n);
    for (size_t i = 0; i < node->n; i++)
        if (!jinja_assign_target(e, node->list[i], items->items[i]))
            return false;
    return true;
}

/* ---- operators ---- */

static bool evaluate_comparison(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    jinja_value left, right;
    bool holds = true;
    if (!jinja_evaluate(e, node->list[0], &left))
        return false;
    for (size_t i = 1; i < node->n && holds; i++) {
        if (!jinja_evaluate(e, node->list[i], &right))
            return false;
        e->line = node->line;
        if (!jinja_compare_by(e, (jinja_op)node->ops[i - 1], left, right, &holds))
            return false;
        left = right;
    }
    *out = jinja_bool(holds);
    return true;
}

/* ---- containers ---- */

static bool evaluate_list(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    jinja_value *items = jinja_values_new(e, node->n);
    for (size_t i = 0; i < node->n && items != NULL; i++)
        if (!jinja_evaluate(e, node->list[i], &items[i]))
            return false;
    return items != NULL &&
           jinja_give_list(e, node->kind == JINJA_ITEMS ? JINJA_LIST : JINJA_TUPLE, items, node->n, out);
}

static bool evaluate_dict(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    jinja_dict *d = jinja_dict_new(e->arena, node->n / 2);
    if (d == NULL)
        return jinja_no_memory(e);
    for (size_t i = 0; i + 1 < node->n; i += 2) {
        jinja_value key, value;
        if (!jinja_evaluate(e, node->list[i], &key) || !jinja_evaluate(e, node->list[i + 1], &value))
            return false;
        if (key.type == JINJA_LIST || key.type == JINJA_DICT)
            return jinja_fail(e, DM_ERR_INPUT, "a dict's key is of type %s", jinja_type_name(key));
        if (!jinja_charge(e, d->n) || !jinja_dict_set(e->arena, d, key, value))
            return jinja_no_memory(e);
    }
    *out = (jinja_value){.type = JINJA_DICT, .as.dict = d};
    return true;
}

/* ---- sums of texts ---- */

static bool evaluate_add(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    jinja_value right;
    if (!jinja_evaluate(e, node->list[0], out))
        return false;
    size_t i = 1;
    if (out->type == JINJA_STRING) { /* then all of them must be text */
        jinja_text t = jinja_text_new(e);
        jinja_text_string(&t, out->as.string);
        for (; i < node->n; i++) {
            if (!jinja_evaluate(e, node->list[i], &right))
                return false;
            e->line = node->line;
            if (right.type != JINJA_STRING)
                return jinja_unfit(e, "the sum", *out, right);
            if (!jinja_not_safe(e, *out, "the sum") || !jinja_not_safe(e, right, "the sum"))
                return false;
            jinja_text_string(&t, right.as.string);
        }
        return jinja_give_text(e, &t, out);
    }
    for (; i < node->n; i++) {
        if (!jinja_evaluate(e, node->list[i], &right))
            return false;
        e->line = node->line;
        if (!jinja_add(e, *out, right, out))
            return false;
    }
    return true;
}

static bool evaluate_concat(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    jinja_text t = jinja_text_new(e);
    for (size_t i = 0; i < node->n; i++) {
        jinja_value v;
        if (!jinja_evaluate(e, node->list[i], &v))
            return false;
        e->line = node->line;
        const char *wrong = jinja_write(&t, v, JINJA_STR);
        if (wrong != NULL)
            return jinja_fail(e, DM_ERR_UNSUPPORTED, "%s as text is not supported", wrong);
    }
    return jinja_give_text(e, &t, out);
}

/* ---- the rest ---- */

static bool evaluate_sign(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    jinja_value a;
    if (!jinja_evaluate(e, node->a, &a))
        return false;
    e->line = node->line;
    if (!jinja_is_number(a))
        return a.type == JINJA_UNDEFINED ? jinja_undefined_error(e, a)
                                         : jinja_fail(e, DM_ERR_INPUT, "a sign before %s", jinja_type_name(a));
    if (node->kind == JINJA_PLUS) {
        *out = a.type == JINJA_BOOL ? jinja_int(jinja_as_int(a)) : a;
        return true;
    }
    if (a.type == JINJA_FLOAT) {
        *out = jinja_float(-a.as.number);
        return true;
    }
    return jinja_operate(e, JINJA_SUB, jinja_int(0), a, out);
}

static bool evaluate_condition(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    jinja_value test;
    if (!jinja_evaluate(e, node->b, &test))
        return false;
    if (jinja_truth(test))
        return jinja_evaluate(e, node->a, out);
    if (node->c != NULL)
        return jinja_evaluate(e, node->c, out);
    *out = jinja_undefined(NULL);
    return true;
}

static bool evaluate_builtin(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    jinja_value subject;
    if (!jinja_evaluate(e, node->a, &subject))
        return false;
    e->line = node->line;
    if (!jinja_apply(e, node->builtin, node->args, subject, out))
        return false;
    if (node->kind == JINJA_TEST && node->negated)
        *out = jinja_bool(!jinja_truth(*out));
    return true;
}

static bool evaluate(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    jinja_value a, b;
    switch (node->kind) {
    case JINJA_CONST:
        *out = node->value;
        return true;
    case JINJA_NAME:
        *out = jinja_look_up(e, node->variable);
        return true;
    case JINJA_ITEMS:
    case JINJA_TUPLES:
        return evaluate_list(e, node, out);
    case JINJA_PAIRS:
        return evaluate_dict(e, node, out);
    case JINJA_ADD:
        return evaluate_add(e, node, out);
    case JINJA_CONCAT:
        return evaluate_concat(e, node, out);
    case JINJA_BINARY:
        if (!jinja_evaluate(e, node->a, &a) || !jinja_evaluate(e, node->b, &b))
            return false;
        e->line = node->line;
        return jinja_operate(e, (jinja_op)node->op, a, b, out);
    case JINJA_NEGATE:
    case JINJA_PLUS:
        return evaluate_sign(e, node, out);
    case JINJA_NOT:
        if (!jinja_evaluate(e, node->a, &a))
            return false;
        *out = jinja_bool(!jinja_truth(a));
        return true;
    case JINJA_AND:
    case JINJA_OR:
        if (!jinja_evaluate(e, node->a, out))
            return false;
        return jinja_truth(*out) == (node->kind == JINJA_OR) || jinja_evaluate(e, node->b, out);
    case JINJA_COMPARE:
        return evaluate_comparison(e, node, out);
    case JINJA_COND:
        return evaluate_condition(e, node, out);
    case JINJA_ATTR:
        if (!jinja_evaluate(e, node->a, &a))
            return false;
        e->line = node->line;
        if (!jinja_member(e, a, node->text, out))
            return false;
        if (out->type == JINJA_UNDEFINED)
            out->as.missing = node->text->data; /* which ends with NUL */
        return true;
    case JINJA_ITEM:
        if (!jinja_evaluate(e, node->a, &a) || !jinja_evaluate(e, node->b, &b))
            return false;
        e->line = node->line;
        return jinja_item(e, a, b, out);
    case JINJA_SLICE:
        return jinja_slice(e, node, out);
    case JINJA_CALL:
        return jinja_call_node(e, node, jinja_undefined("caller"), out);
    case JINJA_FILTER:
    case JINJA_TEST:
        return evaluate_builtin(e, node, out);
    default:
        return jinja_fail(e, DM_ERR_INTERNAL, "a statement where a value should be");
    }
}

bool jinja_evaluate(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    e->line = node->line;
    if (e->depth == JINJA_NESTED)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "values and macros are nested deeper than %d levels", JINJA_NESTED);
    if (!jinja_charge(e, 1))
        return false;
    e->depth++;
    const bool done = evaluate(e, node, out);
    e->depth--;
    return done;
}
