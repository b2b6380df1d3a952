/* Filters of lists. */
#include <string.h>

#include "io/jinja/characters.h"
#include "io/jinja/filters.h"
#include "io/jinja/text_functions.h"

/* The name of argument i, NULL: it has none. */
static const char *name_of(const jinja_call *c, size_t i)
{
    return c->names != NULL ? c->names[i] : NULL;
}

/* Argument i by its place or its name, of a filter that takes any; undefined: not given. */
static jinja_value argument(const jinja_call *c, size_t i, const char *name)
{
    for (size_t k = 0; k < c->n; k++)
        if (name_of(c, k) != NULL ? strcmp(name_of(c, k), name) == 0 : k == i)
            return c->arg[k];
    return jinja_undefined(NULL);
}

/* How many arguments stand without a name. */
static size_t positional(const jinja_call *c)
{
    size_t n = 0;
    while (n < c->n && name_of(c, n) == NULL)
        n++;
    return n;
}

static bool named_only(jinja_eval *e, const jinja_call *c, const char *first, const char *second)
{
    for (size_t i = 0; i < c->n; i++)
        if (name_of(c, i) != NULL && strcmp(name_of(c, i), first) != 0 && strcmp(name_of(c, i), second) != 0)
            return jinja_fail(e, DM_ERR_UNSUPPORTED, "%s has no argument \"%.40s\"", c->name, name_of(c, i));
    return true;
}

bool jinja_run_end(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items;
    if (c->subject.type == JINJA_GENERATOR) {
        jinja_list *rest = (jinja_list *)c->subject.as.list;
        if (c->what)
            return jinja_fail(e, DM_ERR_INPUT, "last of a generator");
        *out = rest->n > 0 ? rest->items[0] : jinja_undefined(NULL);
        rest->items += rest->n > 0;
        rest->n -= rest->n > 0;
        return true;
    }
    if (!jinja_items(e, c->subject, &items))
        return false;
    *out = items->n > 0 ? items->items[c->what ? items->n - 1 : 0] : jinja_undefined(NULL);
    return true;
}

bool jinja_pairs(jinja_eval *e, const jinja_dict *d, jinja_type type, jinja_value *out)
{
    jinja_value *pairs = jinja_values_new(e, 3 * d->n);
    for (size_t i = 0; i < d->n && pairs != NULL; i++) {
        jinja_value *pair = pairs + d->n + 2 * i;
        pair[0] = d->entries[i].key;
        pair[1] = d->entries[i].value;
        if (!jinja_give_list(e, JINJA_TUPLE, pair, 2, &pairs[i]))
            return false;
    }
    return pairs != NULL && jinja_give_list(e, type, pairs, d->n, out);
}

bool jinja_run_items(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    static const jinja_dict none;
    if (c->subject.type != JINJA_DICT && c->subject.type != JINJA_UNDEFINED)
        return jinja_fail(e, DM_ERR_INPUT, "items of %s", jinja_type_name(c->subject));
    return jinja_pairs(e, c->subject.type == JINJA_DICT ? c->subject.as.dict : &none, JINJA_GENERATOR, out);
}

bool jinja_run_list(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items;
    return jinja_items(e, c->subject, &items) && jinja_give_list(e, JINJA_LIST, items->items, items->n, out);
}

bool jinja_run_join(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    static const jinja_string empty = {.data = ""};
    const jinja_string *between = &empty;
    const jinja_list *items;
    jinja_value list;
    if (!jinja_items(e, c->subject, &items) ||
        (c->arg[0].type != JINJA_UNDEFINED && !jinja_soft_string(e, c->arg[0], &between)))
        return false;
    if (c->arg[1].type != JINJA_UNDEFINED && c->arg[1].type != JINJA_NONE) {
        jinja_value *values = jinja_values_new(e, items->n);
        for (size_t i = 0; i < items->n && values != NULL; i++)
            if (!jinja_attribute(e, items->items[i], c->arg[1], &values[i]))
                return false;
        if (values == NULL || !jinja_give_list(e, JINJA_LIST, values, items->n, &list))
            return false;
        items = list.as.list;
    }
    return jinja_join(e, items, between, false, out);
}

bool jinja_run_reverse(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items;
    if (c->subject.type == JINJA_STRING) {
        const jinja_string *s = c->subject.as.string;
        jinja_text t = jinja_text_new(e);
        if (!jinja_charge(e, s->size))
            return false;
        for (size_t end = s->size, at; end > 0; end = at) {
            at = jinja_character_before(s, end);
            jinja_text_part(&t, s, at, end);
        }
        return jinja_give_text(e, &t, out);
    }
    if (!jinja_items(e, c->subject, &items))
        return false;
    jinja_value *values = jinja_values_new(e, items->n);
    for (size_t i = 0; i < items->n && values != NULL; i++)
        values[i] = items->items[items->n - 1 - i];
    return values != NULL &&
           jinja_give_list(e, c->subject.type == JINJA_GENERATOR ? JINJA_LIST : JINJA_GENERATOR, values, items->n, out);
}

/* ---- map, select ---- */

/* The table's entry that a value names. */
static bool named(jinja_eval *e, const jinja_builtin *table, const char *what, jinja_value name,
                  const jinja_builtin **out)
{
    if (name.type != JINJA_STRING)
        return jinja_fail(e, DM_ERR_INPUT, "%s is named by %s, must be str", what, jinja_type_name(name));
    *out = jinja_find(table, name.as.string->data, name.as.string->size);
    return *out != NULL ||
           jinja_fail(e, DM_ERR_UNSUPPORTED, "%s \"%.*s\" is not supported", what,
                      (int)(name.as.string->size < 40 ? name.as.string->size : 40), name.as.string->data);
}

bool jinja_run_map(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items;
    const jinja_builtin *filter = NULL;
    const size_t n = positional(c);
    const jinja_value attribute = argument(c, SIZE_MAX, "attribute"), fallback = argument(c, SIZE_MAX, "default");
    if (!named_only(e, c, "attribute", "default") || !jinja_items(e, c->subject, &items) ||
        (n > 0 && !named(e, jinja_filters, "the filter", c->arg[0], &filter)))
        return false;
    if (n == 0 && attribute.type == JINJA_UNDEFINED)
        return jinja_fail(e, DM_ERR_INPUT, "map needs a filter or an attribute");
    jinja_value *values = jinja_values_new(e, items->n);
    for (size_t i = 0; i < items->n && values != NULL; i++) {
        if (filter != NULL ? !jinja_apply_values(e, filter, items->items[i], c->arg + 1, n - 1, &values[i])
                           : !jinja_attribute(e, items->items[i], attribute, &values[i]))
            return false;
        if (filter == NULL && values[i].type == JINJA_UNDEFINED && fallback.type != JINJA_UNDEFINED)
            values[i] = fallback;
    }
    return values != NULL && jinja_give_list(e, JINJA_GENERATOR, values, items->n, out);
}

bool jinja_run_select(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items;
    const jinja_builtin *test = NULL;
    const size_t by = c->what & JINJA_BY_ATTRIBUTE ? 1 : 0, n = positional(c);
    if (n < c->n)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "%s with named arguments is not supported", c->name);
    if (!jinja_items(e, c->subject, &items) || (n > by && !named(e, jinja_tests, "the test", c->arg[by], &test)))
        return false;
    jinja_value *values = jinja_values_new(e, items->n);
    size_t kept = 0;
    for (size_t i = 0; i < items->n && values != NULL; i++) {
        jinja_value v = items->items[i];
        if (by > 0 && !jinja_attribute(e, v, c->arg[0], &v))
            return false;
        if (test != NULL && !jinja_apply_values(e, test, v, c->arg + by + 1, n - by - 1, &v))
            return false;
        if (jinja_truth(v) == !(c->what & JINJA_REJECT))
            values[kept++] = items->items[i];
    }
    return values != NULL && jinja_give_list(e, JINJA_GENERATOR, values, kept, out);
}

/* ---- order ---- */

/* What an item is ordered by: itself or its attribute, text in lower case unless case_sensitive. */
static bool order_key(jinja_eval *e, jinja_value v, jinja_value attribute, bool sensitive, jinja_value *out)
{
    *out = v;
    if (attribute.type != JINJA_UNDEFINED && attribute.type != JINJA_NONE && !jinja_attribute(e, v, attribute, out))
        return false;
    return sensitive || out->type != JINJA_STRING || jinja_change_case(e, out->as.string, JINJA_LOWER, out);
}

/* Sorts values by keys, both [n]; equal ones keep their order. A merge from below. */
static bool sort_values(jinja_eval *e, jinja_value *keys, jinja_value *values, size_t n, bool reverse)
{
    jinja_value *spare = jinja_values_new(e, 2 * n);
    if (spare == NULL)
        return false;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t begin = 0; begin < n; begin += 2 * width) {
            const size_t middle = begin + width < n ? begin + width : n;
            const size_t end = middle + width < n ? middle + width : n;
            size_t a = begin, b = middle;
            for (size_t i = begin; i < end; i++) {
                int order = 0;
                if (a < middle && b < end && (!jinja_charge(e, 1) || !jinja_order(e, keys[a], keys[b], &order)))
                    return false;
                const bool left = b == end || (a < middle && (reverse ? order >= 0 : order <= 0));
                spare[i] = keys[left ? a : b];
                spare[n + i] = values[left ? a++ : b++];
            }
        }
        memcpy(keys, spare, n * sizeof *keys);
        memcpy(values, spare + n, n * sizeof *values);
    }
    return true;
}

static bool sorted(jinja_eval *e, const jinja_list *items, jinja_value attribute, bool sensitive, bool reverse,
                   jinja_value *out)
{
    jinja_value *values = jinja_values_new(e, items->n), *keys = jinja_values_new(e, items->n);
    if (values == NULL || keys == NULL)
        return false;
    for (size_t i = 0; i < items->n; i++) {
        values[i] = items->items[i];
        if (!order_key(e, values[i], attribute, sensitive, &keys[i]))
            return false;
    }
    return sort_values(e, keys, values, items->n, reverse) && jinja_give_list(e, JINJA_LIST, values, items->n, out);
}

bool jinja_run_sort(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items;
    if (c->arg[2].type == JINJA_STRING && memchr(c->arg[2].as.string->data, ',', c->arg[2].as.string->size) != NULL)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "sort by several attributes is not supported");
    return jinja_items(e, c->subject, &items) &&
           sorted(e, items, c->arg[2], jinja_truth(c->arg[1]), jinja_truth(c->arg[0]), out);
}

bool jinja_run_dictsort(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    jinja_value pairs;
    const bool by_value = c->arg[1].type == JINJA_STRING && jinja_text_is(c->arg[1].as.string, "value", 5);
    if (c->subject.type != JINJA_DICT)
        return jinja_fail(e, DM_ERR_INPUT, "dictsort of %s", jinja_type_name(c->subject));
    return jinja_pairs(e, c->subject.as.dict, JINJA_LIST, &pairs) &&
           sorted(e, pairs.as.list, jinja_int(by_value), jinja_truth(c->arg[0]), jinja_truth(c->arg[2]), out);
}

bool jinja_run_extreme(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items;
    jinja_value best, key;
    if (!jinja_items(e, c->subject, &items))
        return false;
    *out = jinja_undefined(NULL);
    for (size_t i = 0; i < items->n; i++) {
        int order = 0;
        if (!order_key(e, items->items[i], c->arg[1], jinja_truth(c->arg[0]), &key) ||
            (i > 0 && !jinja_order(e, key, best, &order)))
            return false;
        if (i == 0 || (c->what ? order > 0 : order < 0)) {
            best = key;
            *out = items->items[i];
        }
    }
    return true;
}

bool jinja_run_unique(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items;
    if (!jinja_items(e, c->subject, &items))
        return false;
    jinja_value *values = jinja_values_new(e, items->n), *keys = jinja_values_new(e, items->n);
    size_t kept = 0;
    for (size_t i = 0; i < items->n && values != NULL && keys != NULL; i++) {
        bool seen = false;
        if (!order_key(e, items->items[i], c->arg[1], jinja_truth(c->arg[0]), &keys[kept]) || !jinja_charge(e, kept))
            return false;
        for (size_t k = 0; k < kept && !seen; k++)
            seen = jinja_equal(keys[k], keys[kept]);
        if (!seen)
            values[kept++] = items->items[i];
    }
    return values != NULL && keys != NULL && jinja_give_list(e, JINJA_GENERATOR, values, kept, out);
}

bool jinja_run_sum(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items;
    *out = c->arg[1].type != JINJA_UNDEFINED ? c->arg[1] : jinja_int(0);
    if (!jinja_items(e, c->subject, &items))
        return false;
    if (out->type == JINJA_STRING)
        return jinja_fail(e, DM_ERR_INPUT, "sum does not add text");
    for (size_t i = 0; i < items->n; i++) {
        jinja_value v = items->items[i];
        if ((c->arg[0].type != JINJA_UNDEFINED && c->arg[0].type != JINJA_NONE &&
             !jinja_attribute(e, v, c->arg[0], &v)) ||
            !jinja_add(e, *out, v, out))
            return false;
    }
    return true;
}
