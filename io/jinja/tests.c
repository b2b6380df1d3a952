/* The words that may follow "is". */

#include "io/jinja/characters.h"
#include "io/jinja/eval.h"

enum {
    DEFINED,
    UNDEFINED,
    NONE,
    BOOLEAN,
    TRUE,
    FALSE,
    INTEGER,
    FLOAT,
    NUMBER,
    STRING,
    MAPPING,
    ITERABLE,
    SEQUENCE,
    CALLABLE
};

static bool run_type(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_value v = c->subject;
    const bool missing = v.type == JINJA_UNDEFINED;
    const bool sequence = missing || v.type == JINJA_STRING || v.type == JINJA_DICT || jinja_is_indexed(v);
    bool is = false;
    (void)e;
    switch (c->what) {
    case DEFINED:
        is = !missing;
        break;
    case UNDEFINED:
        is = missing;
        break;
    case NONE:
        is = v.type == JINJA_NONE;
        break;
    case BOOLEAN:
        is = v.type == JINJA_BOOL;
        break;
    case TRUE:
    case FALSE:
        is = v.type == JINJA_BOOL && v.as.boolean == (c->what == TRUE);
        break;
    case INTEGER:
        is = v.type == JINJA_INT;
        break;
    case FLOAT:
        is = v.type == JINJA_FLOAT;
        break;
    case NUMBER:
        is = jinja_is_number(v);
        break;
    case STRING:
        is = v.type == JINJA_STRING;
        break;
    case MAPPING:
        is = v.type == JINJA_DICT;
        break;
    case ITERABLE:
        is = sequence || v.type == JINJA_LOOP || v.type == JINJA_GENERATOR || v.type == JINJA_VIEW;
        break;
    case SEQUENCE:
        is = sequence;
        break;
    case CALLABLE:
        is = missing || v.type == JINJA_MACRO || v.type == JINJA_METHOD || v.type == JINJA_FUNCTION;
        break;
    }
    *out = jinja_bool(is);
    return true;
}

static bool run_compare(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    int order = 0;
    if (c->what == JINJA_EQ || c->what == JINJA_NE) {
        *out = jinja_bool(jinja_equal(c->subject, c->arg[0]) == (c->what == JINJA_EQ));
        return true;
    }
    if (!jinja_order(e, c->subject, c->arg[0], &order))
        return false;
    *out = jinja_bool(c->what == JINJA_GT   ? order > 0
                      : c->what == JINJA_GE ? order >= 0
                      : c->what == JINJA_LT ? order < 0
                                            : order <= 0);
    return true;
}

static bool run_in(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    bool found;
    if (!jinja_contains(e, c->arg[0], c->subject, &found))
        return false;
    *out = jinja_bool(found);
    return true;
}

/* x % divisor == what */
static bool run_rest(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const bool parity = c->what != 2;
    if (!jinja_operate(e, JINJA_MOD, c->subject, parity ? jinja_int(2) : c->arg[0], out))
        return false;
    *out = jinja_bool(jinja_equal(*out, jinja_int(c->what == 1)));
    return true;
}

/* Identity: what is equal and of one type, except lists and dicts, which must be the same one. */
static bool run_same(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_value a = c->subject, b = c->arg[0];
    if (a.type == b.type && (a.type == JINJA_STRING || a.type == JINJA_FLOAT || a.type == JINJA_INT))
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "sameas of two values of type %s is not supported",
                          jinja_type_name(a));
    *out = jinja_bool(a.type == b.type &&
                      (a.type == JINJA_LIST || a.type == JINJA_DICT ? a.as.object == b.as.object : jinja_equal(a, b)));
    return true;
}

static bool run_case(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s;
    size_t right = 0, wrong = 0;
    if (!jinja_soft_string(e, c->subject, &s) || !jinja_charge(e, s->size))
        return false;
    if (!jinja_is_ascii(s))
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "the case of text that is not ASCII is not supported");
    for (size_t i = 0; i < s->size; i++) {
        const bool upper = s->data[i] >= 'A' && s->data[i] <= 'Z', lower = s->data[i] >= 'a' && s->data[i] <= 'z';
        right += c->what ? upper : lower;
        wrong += c->what ? lower : upper;
    }
    *out = jinja_bool(right > 0 && wrong == 0);
    return true;
}

const jinja_builtin jinja_tests[] = {
    {"boolean", "", 0, BOOLEAN, run_type},
    {"callable", "", 0, CALLABLE, run_type},
    {"defined", "", 0, DEFINED, run_type},
    {"divisibleby", "num", 1, 2, run_rest},
    {"eq", "b", 1, JINJA_EQ, run_compare},
    {"equalto", "b", 1, JINJA_EQ, run_compare},
    {"even", "", 0, 0, run_rest},
    {"false", "", 0, FALSE, run_type},
    {"float", "", 0, FLOAT, run_type},
    {"ge", "b", 1, JINJA_GE, run_compare},
    {"greaterthan", "b", 1, JINJA_GT, run_compare},
    {"gt", "b", 1, JINJA_GT, run_compare},
    {"in", "seq", 1, 0, run_in},
    {"integer", "", 0, INTEGER, run_type},
    {"iterable", "", 0, ITERABLE, run_type},
    {"le", "b", 1, JINJA_LE, run_compare},
    {"lessthan", "b", 1, JINJA_LT, run_compare},
    {"lower", "", 0, 0, run_case},
    {"lt", "b", 1, JINJA_LT, run_compare},
    {"mapping", "", 0, MAPPING, run_type},
    {"ne", "b", 1, JINJA_NE, run_compare},
    {"none", "", 0, NONE, run_type},
    {"number", "", 0, NUMBER, run_type},
    {"odd", "", 0, 1, run_rest},
    {"sameas", "other", 1, 0, run_same},
    {"sequence", "", 0, SEQUENCE, run_type},
    {"string", "", 0, STRING, run_type},
    {"true", "", 0, TRUE, run_type},
    {"undefined", "", 0, UNDEFINED, run_type},
    {"upper", "", 0, 1, run_case},
    {0},
};
