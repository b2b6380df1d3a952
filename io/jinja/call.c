/* Calls: filters, tests, methods, global functions, macros. */
#include <string.h>

#include "io/jinja/eval.h"

const jinja_builtin *jinja_find(const jinja_builtin *table, const char *name, size_t size)
{
    for (; table->name != NULL; table++)
        if (strlen(table->name) == size && memcmp(table->name, name, size) == 0)
            return table;
    return NULL;
}

/* ---- arguments ---- */

bool jinja_string_argument(jinja_eval *e, const jinja_call *c, size_t i, const jinja_string **out)
{
    *out = c->arg[i].type == JINJA_STRING ? c->arg[i].as.string : NULL;
    return *out != NULL || jinja_fail(e, DM_ERR_INPUT, "%s: argument %zu is of type %s, must be str", c->name, i + 1,
                                      jinja_type_name(c->arg[i]));
}

bool jinja_int_argument(jinja_eval *e, const jinja_call *c, size_t i, int64_t fallback, int64_t *out)
{
    const jinja_value v = c->arg[i];
    *out = v.type == JINJA_INT ? v.as.integer : v.type == JINJA_BOOL ? v.as.boolean : fallback;
    return v.type == JINJA_UNDEFINED || v.type == JINJA_NONE || v.type == JINJA_INT || v.type == JINJA_BOOL ||
           jinja_fail(e, DM_ERR_INPUT, "%s: argument %zu is of type %s, must be int", c->name, i + 1,
                      jinja_type_name(v));
}

/* The place of a parameter in "a b c"; -1: there is none of that name. */
static int parameter(const char *parameters, const char *name)
{
    const size_t size = strlen(name);
    int i = 0;
    for (const char *s = parameters; *s != '\0'; i++) {
        const size_t n = strcspn(s, " ");
        if (n == size && memcmp(s, name, n) == 0)
            return i;
        s += n + (s[n] == ' ');
    }
    return -1;
}

static size_t count_parameters(const char *parameters)
{
    size_t n = *parameters != '\0';
    for (const char *s = parameters; *s != '\0'; s++)
        n += *s == ' ';
    return n;
}

/* A filter that makes other text of its text. */
static bool changes_text(const jinja_builtin *b)
{
    static const char *const keep[] = {"safe", "string", "length", "count", "tojson", "default", "d"};
    for (size_t i = 0; i < sizeof keep / sizeof *keep; i++)
        if (strcmp(b->name, keep[i]) == 0)
            return false;
    return jinja_find(jinja_filters, b->name, strlen(b->name)) == b;
}

static bool run(jinja_eval *e, const jinja_builtin *b, jinja_call *c, size_t positional, jinja_value *out)
{
    const bool any = strcmp(b->parameters, "*") == 0;
    const size_t most = any ? JINJA_ARGUMENTS : count_parameters(b->parameters);
    if (positional > most)
        return jinja_fail(e, DM_ERR_INPUT, "%s takes at most %zu arguments, not %zu", b->name, most, positional);
    c->name = b->name;
    c->what = b->what;
    if (c->subject.type == JINJA_STRING && c->subject.as.string->safe && changes_text(b))
        return jinja_not_safe(e, c->subject, b->name);
    return b->run(e, c, out);
}

static void clear(jinja_call *c, jinja_value subject)
{
    c->subject = subject;
    c->n = 0;
    c->names = NULL;
    for (size_t i = 0; i < JINJA_ARGUMENTS; i++)
        c->arg[i] = jinja_undefined(NULL);
}

bool jinja_apply_values(jinja_eval *e, const jinja_builtin *b, jinja_value subject, const jinja_value *values, size_t n,
                        jinja_value *out)
{
    jinja_call c;
    clear(&c, subject);
    c.n = n;
    if (n > JINJA_ARGUMENTS || n < b->required)
        return jinja_fail(e, DM_ERR_INPUT, "%s with %zu arguments", b->name, n);
    for (size_t i = 0; i < n; i++)
        c.arg[i] = values[i];
    return run(e, b, &c, n, out);
}

bool jinja_apply(jinja_eval *e, const jinja_builtin *b, const jinja_args *args, jinja_value subject, jinja_value *out)
{
    jinja_call c;
    const bool any = strcmp(b->parameters, "*") == 0;
    const size_t most = any ? JINJA_ARGUMENTS : count_parameters(b->parameters);
    unsigned given = 0;
    clear(&c, subject);
    const uint32_t line = e->line;
    for (size_t i = 0; args != NULL && i < args->n; i++) {
        int at = (int)i;
        if (args->names[i] != NULL && !any && (at = parameter(b->parameters, args->names[i])) < 0)
            return jinja_fail(e, DM_ERR_UNSUPPORTED, "%s has no argument \"%.40s\"", b->name, args->names[i]);
        if ((size_t)at >= most)
            return jinja_fail(e, DM_ERR_INPUT, "%s takes at most %zu arguments", b->name, most);
        if (given >> at & 1)
            return jinja_fail(e, DM_ERR_INPUT, "%s: an argument is given twice", b->name);
        given |= 1u << at;
        if (!jinja_evaluate(e, args->values[i], &c.arg[at]))
            return false;
    }
    e->line = line;
    for (size_t i = 0; i < b->required; i++)
        if (!(given >> i & 1))
            return jinja_fail(e, DM_ERR_INPUT, "%s needs %u argument%s", b->name, b->required,
                              b->required > 1 ? "s" : "");
    c.n = args != NULL ? args->n : 0;
    c.names = args != NULL ? args->names : NULL;
    return run(e, b, &c, 0, out);
}

/* ---- macros ---- */

static bool bind_macro(jinja_eval *e, const jinja_macro *m, const jinja_args *args, jinja_frame *frame)
{
    const jinja_args *parameters = m->node->args;
    uint32_t given = 0;
    for (size_t i = 0; i < args->n; i++) {
        size_t at;
        for (at = args->names[i] != NULL ? 0 : i; args->names[i] != NULL && at < parameters->n; at++)
            if (strcmp(e->j->variables[parameters->symbols[at]], args->names[i]) == 0)
                break;
        if (at >= parameters->n && args->names[i] != NULL && strcmp(args->names[i], "caller") == 0)
            return jinja_fail(e, DM_ERR_UNSUPPORTED, "an argument \"caller\" is not supported");
        if (at >= parameters->n && args->names[i] != NULL)
            return jinja_fail(e, DM_ERR_INPUT, "the macro %s has no parameter \"%.40s\"", m->name, args->names[i]);
        if (at >= parameters->n)
            return jinja_fail(e, DM_ERR_INPUT, "the macro %s takes %zu arguments, not %zu", m->name, parameters->n,
                              args->n);
        if (given >> at & 1)
            return jinja_fail(e, DM_ERR_INPUT, "the macro %s: an argument is given twice", m->name);
        given |= (uint32_t)1 << at;
        jinja_value value;
        if (!jinja_evaluate(e, args->values[i], &value) || !jinja_assign(e, frame, parameters->symbols[at], value))
            return false;
    }
    jinja_frame *outside = e->frame;
    e->frame = frame; /* defaults see the parameters before them */
    for (size_t i = 0; i < parameters->n; i++) {
        jinja_value value = jinja_undefined(e->j->variables[parameters->symbols[i]]);
        if (given >> i & 1)
            continue;
        if ((parameters->values[i] != NULL && !jinja_evaluate(e, parameters->values[i], &value)) ||
            !jinja_assign(e, frame, parameters->symbols[i], value))
            return false;
    }
    e->frame = outside;
    return true;
}

static bool call_macro(jinja_eval *e, const jinja_macro *m, const jinja_args *args, jinja_value caller,
                       jinja_value *out)
{
    jinja_frame *frame = jinja_frame_new(e, m->scope);
    if (frame == NULL || !bind_macro(e, m, args, frame))
        return false;
    if (m->node->kind == JINJA_MACRO_DEF && !jinja_assign(e, frame, e->j->known.caller, caller))
        return false;
    jinja_text t = jinja_text_new(e), *outer = e->out;
    jinja_frame *outside = e->frame;
    e->frame = frame;
    e->out = &t;
    const bool done = jinja_execute(e, m->node);
    e->out = outer;
    e->frame = outside;
    return done && jinja_give_text(e, &t, out);
}

/* ---- calls ---- */

bool jinja_call_node(jinja_eval *e, const jinja_node *node, jinja_value caller, jinja_value *out)
{
    jinja_value callee;
    if (!jinja_evaluate(e, node->a, &callee))
        return false;
    e->line = node->line;
    if (caller.type != JINJA_UNDEFINED && callee.type != JINJA_MACRO)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "{%% call %%} of a %s is not supported", jinja_type_name(callee));
    switch (callee.type) {
    case JINJA_MACRO:
        return call_macro(e, callee.as.object, node->args, caller, out);
    case JINJA_METHOD: {
        const jinja_method *m = callee.as.object;
        return jinja_apply(e, m->method, node->args, m->object, out);
    }
    case JINJA_FUNCTION:
        return jinja_apply(e, callee.as.object, node->args, jinja_undefined(NULL), out);
    case JINJA_UNDEFINED:
        return callee.as.missing != NULL ? jinja_fail(e, DM_ERR_INPUT, "\"%.80s\" is undefined", callee.as.missing)
                                         : jinja_fail(e, DM_ERR_INPUT, "what is called is undefined");
    default:
        return jinja_fail(e, DM_ERR_INPUT, "a value of type %s cannot be called", jinja_type_name(callee));
    }
}
