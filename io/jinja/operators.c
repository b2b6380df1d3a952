/* What operators do with values. */
#include <string.h>

#include "io/jinja/characters.h"
#include "io/jinja/eval.h"

/* ---- arithmetic ---- */

bool jinja_unfit(jinja_eval *e, const char *what, jinja_value a, jinja_value b)
{
    if (a.type == JINJA_UNDEFINED || b.type == JINJA_UNDEFINED)
        return jinja_undefined_error(e, a.type == JINJA_UNDEFINED ? a : b);
    return jinja_fail(e, DM_ERR_INPUT, "%s of %s and %s", what, jinja_type_name(a), jinja_type_name(b));
}

static bool too_large(jinja_eval *e)
{
    return jinja_fail(e, DM_ERR_UNSUPPORTED, "an integer beyond 64 bits");
}

bool jinja_not_safe(jinja_eval *e, jinja_value v, const char *what)
{
    return v.type != JINJA_STRING || !v.as.string->safe ||
           jinja_fail(e, DM_ERR_UNSUPPORTED, "%s of text that the filter \"safe\" gave is not supported", what);
}

bool jinja_add(jinja_eval *e, jinja_value a, jinja_value b, jinja_value *out)
{
    if (jinja_is_number(a) && jinja_is_number(b)) {
        if (a.type == JINJA_FLOAT || b.type == JINJA_FLOAT) {
            *out = jinja_float(jinja_as_double(a) + jinja_as_double(b));
            return true;
        }
        const int64_t x = jinja_as_int(a), y = jinja_as_int(b);
        if ((y > 0 && x > INT64_MAX - y) || (y < 0 && x < INT64_MIN - y))
            return too_large(e);
        *out = jinja_int(x + y);
        return true;
    }
    if (a.type == JINJA_STRING && b.type == JINJA_STRING) {
        jinja_text t = jinja_text_new(e);
        if (!jinja_not_safe(e, a, "the sum") || !jinja_not_safe(e, b, "the sum"))
            return false;
        jinja_text_string(&t, a.as.string);
        jinja_text_string(&t, b.as.string);
        return jinja_give_text(e, &t, out);
    }
    if (a.type == b.type && jinja_is_list(a)) {
        const size_t n = a.as.list->n, m = b.as.list->n;
        jinja_value *items = jinja_values_new(e, n + m);
        if (items == NULL)
            return false;
        memcpy(items, a.as.list->items, n * sizeof *items);
        memcpy(items + n, b.as.list->items, m * sizeof *items);
        return jinja_give_list(e, a.type, items, n + m, out);
    }
    return jinja_unfit(e, "the sum", a, b);
}

static double floor_of(double x)
{
    if (x - x != 0 || x >= 9007199254740992.0 || x <= -9007199254740992.0)
        return x; /* whole already */
    const double whole = (double)(int64_t)x;
    return whole > x ? whole - 1 : whole;
}

/* // and % round down, as in Python. */
static bool divide_ints(jinja_eval *e, jinja_op op, int64_t x, int64_t y, jinja_value *out)
{
    if (x == INT64_MIN && y == -1)
        return too_large(e);
    int64_t quotient = x / y, rest = x % y;
    if (rest != 0 && (rest < 0) != (y < 0)) {
        quotient--;
        rest += y;
    }
    *out = jinja_int(op == JINJA_MOD ? rest : quotient);
    return true;
}

static bool divide_floats(jinja_eval *e, jinja_op op, double x, double y, jinja_value *out)
{
    if (op == JINJA_MOD)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "%% of floats is not supported");
    *out = jinja_float(op == JINJA_DIV ? x / y : floor_of(x / y));
    return true;
}

static bool multiply_ints(jinja_eval *e, int64_t x, int64_t y, jinja_value *out)
{
    if (x != 0 && y != 0 &&
        ((x == -1 && y == INT64_MIN) || (y == -1 && x == INT64_MIN) ||
         (x > 0 ? (y > 0 ? x > INT64_MAX / y : y < INT64_MIN / x) : (y > 0 ? x < INT64_MIN / y : x < INT64_MAX / y))))
        return too_large(e);
    *out = jinja_int(x * y);
    return true;
}

/* '-' * 3, [0] * 3 */
static bool repeat(jinja_eval *e, jinja_value a, int64_t times, jinja_value *out)
{
    const size_t n = times > 0 ? (size_t)times : 0, size = a.type == JINJA_STRING ? a.as.string->size : a.as.list->n;
    if (size > 0 && n > DM_JINJA_OUTPUT / size)
        return jinja_no_memory(e);
    if (!jinja_charge(e, n))
        return false;
    if (a.type == JINJA_STRING) {
        jinja_text t = jinja_text_new(e);
        for (size_t i = 0; i < n && size > 0; i++)
            jinja_text_string(&t, a.as.string);
        return jinja_give_text(e, &t, out);
    }
    jinja_value *items = jinja_values_new(e, n * size);
    for (size_t i = 0; i < n && items != NULL && size > 0; i++)
        memcpy(items + i * size, a.as.list->items, size * sizeof *items);
    return items != NULL && jinja_give_list(e, a.type, items, n * size, out);
}

static bool power(jinja_eval *e, int64_t x, int64_t y, jinja_value *out)
{
    if (y < 0)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "** with a negative exponent is not supported");
    if (y > 64 && x != 0 && x != 1 && x != -1)
        return too_large(e);
    y = y > 64 ? 64 + y % 2 : y; /* of 0, 1 and -1 only the exponent's parity counts */
    *out = jinja_int(1);
    for (int64_t i = 0; i < y; i++)
        if (!multiply_ints(e, out->as.integer, x, out))
            return false;
    return true;
}

bool jinja_operate(jinja_eval *e, jinja_op op, jinja_value a, jinja_value b, jinja_value *out)
{
    static const char *const names[] = {"the difference", "the product", "the quotient",
                                        "the quotient",   "the rest",    "the power"};
    const bool numbers = jinja_is_number(a) && jinja_is_number(b);
    const bool floats = numbers && (a.type == JINJA_FLOAT || b.type == JINJA_FLOAT);
    if (op == JINJA_MOD && a.type == JINJA_STRING)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "%% on text is not supported");
    if (op == JINJA_MUL && !numbers) {
        const bool left = a.type == JINJA_STRING || jinja_is_list(a),
                   right = b.type == JINJA_STRING || jinja_is_list(b);
        if (left && (b.type == JINJA_INT || b.type == JINJA_BOOL))
            return repeat(e, a, jinja_as_int(b), out);
        if (right && (a.type == JINJA_INT || a.type == JINJA_BOOL))
            return repeat(e, b, jinja_as_int(a), out);
    }
    if (!numbers)
        return jinja_unfit(e, names[op], a, b);
    const double x = jinja_as_double(a), y = jinja_as_double(b);
    switch (op) {
    case JINJA_SUB:
        if (floats) {
            *out = jinja_float(x - y);
            return true;
        }
        if (jinja_as_int(b) == INT64_MIN)
            return too_large(e);
        return jinja_add(e, jinja_int(jinja_as_int(a)), jinja_int(-jinja_as_int(b)), out);
    case JINJA_MUL:
        if (!floats)
            return multiply_ints(e, jinja_as_int(a), jinja_as_int(b), out);
        *out = jinja_float(x * y);
        return true;
    case JINJA_POW:
        if (floats)
            return jinja_fail(e, DM_ERR_UNSUPPORTED, "** of floats is not supported");
        return power(e, jinja_as_int(a), jinja_as_int(b), out);
    default:
        if (y == 0)
            return jinja_fail(e, DM_ERR_INPUT, "a division by zero");
        return floats || op == JINJA_DIV ? divide_floats(e, op, x, y, out)
                                         : divide_ints(e, op, jinja_as_int(a), jinja_as_int(b), out);
    }
}

/* ---- comparison ---- */

bool jinja_order(jinja_eval *e, jinja_value a, jinja_value b, int *order)
{
    return jinja_compare(a, b, order) || (jinja_is_list(a) && a.type == b.type
                                              ? jinja_fail(e, DM_ERR_UNSUPPORTED, "the order of lists is not supported")
                                              : jinja_unfit(e, "the order", a, b));
}

bool jinja_contains(jinja_eval *e, jinja_value container, jinja_value item, bool *out)
{
    *out = false;
    if (container.type == JINJA_STRING) {
        if (item.type != JINJA_STRING)
            return jinja_fail(e, DM_ERR_INPUT, "\"in\" a text looks for text, not for %s", jinja_type_name(item));
        *out = jinja_find_bytes(container.as.string, item.as.string, 0) != JINJA_NOT_FOUND;
        return jinja_charge(e, container.as.string->size / 16);
    }
    if (container.type == JINJA_DICT) {
        *out = jinja_dict_find(container.as.dict, item) != NULL;
        return jinja_charge(e, container.as.dict->n);
    }
    if (jinja_is_list(container) || container.type == JINJA_VIEW || container.type == JINJA_RANGE) {
        for (size_t i = 0; i < container.as.list->n && !*out; i++)
            *out = jinja_equal(container.as.list->items[i], item);
        return jinja_charge(e, container.as.list->n);
    }
    return container.type == JINJA_UNDEFINED ||
           jinja_fail(e, DM_ERR_INPUT, "\"in\" looks into text, lists and dicts, not into %s",
                      jinja_type_name(container));
}

bool jinja_compare_by(jinja_eval *e, jinja_op op, jinja_value a, jinja_value b, bool *out)
{
    int order = 0;
    switch (op) {
    case JINJA_EQ:
    case JINJA_NE:
        *out = jinja_equal(a, b) == (op == JINJA_EQ);
        return true;
    case JINJA_IN:
    case JINJA_NOT_IN:
        if (!jinja_contains(e, b, a, out))
            return false;
        *out = *out == (op == JINJA_IN);
        return true;
    default:
        if (!jinja_order(e, a, b, &order))
            return false;
        *out = op == JINJA_GT ? order > 0 : op == JINJA_GE ? order >= 0 : op == JINJA_LT ? order < 0 : order <= 0;
        return true;
    }
}
