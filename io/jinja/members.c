/* Members, items and slices of values, and what a loop goes through. */
#include "io/jinja/characters.h"
#include "io/jinja/eval.h"

bool jinja_member(jinja_eval *e, jinja_value a, const jinja_string *name, jinja_value *out)
{
    bool known = false;
    *out = jinja_undefined(NULL);
    if (a.type == JINJA_UNDEFINED)
        return jinja_undefined_error(e, a);
    if (name->size > 1 && name->data[0] == '_' && name->data[1] == '_')
        return true; /* the sandbox has none of these */
    if (a.type == JINJA_LOOP)
        return jinja_loop_member(e, a, name, out);
    if (a.type == JINJA_STRING || a.type == JINJA_DICT || jinja_is_list(a) || a.type == JINJA_INT ||
        a.type == JINJA_FLOAT || a.type == JINJA_BOOL) {
        const jinja_builtin *method = jinja_method_find(a.type, name->data, name->size, &known);
        if (method != NULL) {
            if (!jinja_not_safe(e, a, "a method"))
                return false;
            jinja_method *bound = jinja_alloc(e->arena, sizeof *bound);
            if (bound == NULL)
                return jinja_no_memory(e);
            *bound = (jinja_method){a, method};
            *out = (jinja_value){.type = JINJA_METHOD, .as.object = bound};
            return true;
        }
        if (known)
            return jinja_fail(e, DM_ERR_UNSUPPORTED, "%s.%.*s is not supported", jinja_type_name(a), (int)name->size,
                              name->data);
    }
    if (a.type == JINJA_DICT || a.type == JINJA_NAMESPACE) {
        const jinja_entry *entry = jinja_dict_find_text(a.as.dict, name->data, name->size);
        if (entry != NULL)
            *out = entry->value;
        return true;
    }
    if (a.type == JINJA_MACRO || a.type == JINJA_METHOD || a.type == JINJA_FUNCTION)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "members of a %s are not supported", jinja_type_name(a));
    return true;
}

bool jinja_item(jinja_eval *e, jinja_value a, jinja_value key, jinja_value *out)
{
    if (a.type == JINJA_UNDEFINED)
        return jinja_undefined_error(e, a);
    if (a.type == JINJA_DICT) {
        const jinja_entry *entry = jinja_dict_find(a.as.dict, key);
        if (entry != NULL) {
            *out = entry->value;
            return true;
        }
    } else if ((jinja_is_indexed(a) || a.type == JINJA_STRING) && (key.type == JINJA_INT || key.type == JINJA_BOOL)) {
        const size_t n = a.type == JINJA_STRING ? jinja_characters(a.as.string) : a.as.list->n;
        int64_t i = jinja_as_int(key);
        i += i < 0 ? (int64_t)n : 0;
        *out = jinja_undefined(NULL);
        if (i < 0 || (uint64_t)i >= n)
            return true;
        if (a.type != JINJA_STRING) {
            *out = a.as.list->items[i];
            return true;
        }
        if (!jinja_not_safe(e, a, "a character"))
            return false;
        const size_t from = jinja_character_at(a.as.string, (size_t)i);
        return jinja_give_string(e, jinja_part(e->arena, a.as.string, from, jinja_character_end(a.as.string, from)),
                                 out) &&
               jinja_charge(e, a.as.string->size / 16);
    }
    if (key.type == JINJA_STRING)
        return jinja_member(e, a, key.as.string, out);
    *out = jinja_undefined(NULL);
    return true;
}

/* A bound of a slice over n items; none or left out: fallback. */
static bool slice_bound(jinja_eval *e, const jinja_node *node, int64_t fallback, int64_t *out)
{
    jinja_value v;
    *out = fallback;
    if (node == NULL)
        return true;
    if (!jinja_evaluate(e, node, &v))
        return false;
    if (v.type == JINJA_NONE)
        return true;
    if (v.type != JINJA_INT && v.type != JINJA_BOOL)
        return jinja_fail(e, DM_ERR_INPUT, "a slice's bound is of type %s, must be int", jinja_type_name(v));
    *out = jinja_as_int(v);
    return true;
}

/* The items from, from + step, ... of `count`, as Python's slice takes them. */
static bool slice_range(jinja_eval *e, const jinja_node *node, int64_t n, int64_t *from, int64_t *step, size_t *count)
{
    int64_t to;
    if (!slice_bound(e, node->list[2], 1, step))
        return false;
    if (*step == 0)
        return jinja_fail(e, DM_ERR_INPUT, "a slice's step is 0");
    if (*step > n + 1 || *step < -n - 1) /* as good as that far */
        *step = *step > 0 ? n + 1 : -n - 1;
    const int64_t low = *step > 0 ? 0 : -1, high = *step > 0 ? n : n - 1;
    if (!slice_bound(e, node->list[0], INT64_MIN, from) || !slice_bound(e, node->list[1], INT64_MIN, &to))
        return false;
    int64_t *const ends[] = {from, &to};
    for (int i = 0; i < 2; i++) {
        if (*ends[i] == INT64_MIN)
            *ends[i] = (i == 0) == (*step > 0) ? low : high;
        else if (*ends[i] < 0)
            *ends[i] = *ends[i] < -n ? low : *ends[i] + n;
        else if (*ends[i] > high)
            *ends[i] = high;
    }
    const int64_t span = *step > 0 ? to - *from : *from - to, size = *step > 0 ? *step : -*step;
    *count = span > 0 ? (size_t)((span - 1) / size + 1) : 0;
    return true;
}

bool jinja_slice(jinja_eval *e, const jinja_node *node, jinja_value *out)
{
    jinja_value a;
    int64_t from = 0, step = 1;
    size_t count = 0;
    if (!jinja_evaluate(e, node->a, &a))
        return false;
    e->line = node->line;
    if (a.type == JINJA_UNDEFINED)
        return jinja_undefined_error(e, a);
    if (a.type != JINJA_STRING && !jinja_is_indexed(a)) {
        *out = jinja_undefined(NULL);
        return true;
    }
    const size_t n = a.type == JINJA_STRING ? jinja_characters(a.as.string) : a.as.list->n;
    if (!jinja_not_safe(e, a, "a slice") || !slice_range(e, node, (int64_t)n, &from, &step, &count))
        return false;
    if (jinja_is_indexed(a) && step == 1)
        return jinja_give_list(e, a.type, a.as.list->items + (count > 0 ? from : 0), count, out);
    if (jinja_is_indexed(a)) {
        jinja_value *items = jinja_values_new(e, count);
        for (size_t i = 0; i < count && items != NULL; i++)
            items[i] = a.as.list->items[from + (int64_t)i * step];
        return items != NULL && jinja_give_list(e, a.type, items, count, out);
    }
    const jinja_string *s = a.as.string;
    if (step == 1) {
        const size_t begin = count > 0 ? jinja_character_at(s, (size_t)from) : 0;
        size_t end = begin;
        for (size_t i = 0; i < count; i++)
            end = jinja_character_end(s, end);
        return jinja_give_string(e, jinja_part(e->arena, s, begin, end), out) && jinja_charge(e, s->size / 16);
    }
    jinja_text t = jinja_text_new(e);
    if (!jinja_charge(e, count + s->size / 16))
        return false;
    size_t at = count > 0 ? jinja_character_at(s, (size_t)from) : 0;
    for (size_t i = 0; i < count; i++) {
        jinja_text_part(&t, s, at, jinja_character_end(s, at));
        for (int64_t k = 0; i + 1 < count && k < (step > 0 ? step : -step); k++)
            at = step > 0 ? jinja_character_end(s, at) : jinja_character_before(s, at);
    }
    return jinja_give_text(e, &t, out);
}

/* ---- what a loop goes through ---- */

bool jinja_length(jinja_eval *e, jinja_value v, size_t *out)
{
    switch (v.type) {
    case JINJA_UNDEFINED:
        *out = 0;
        return true;
    case JINJA_STRING:
        *out = jinja_characters(v.as.string);
        return jinja_charge(e, v.as.string->size / 16);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
    case JINJA_RANGE:
        *out = v.as.list->n;
        return true;
    case JINJA_DICT:
        *out = v.as.dict->n;
        return true;
    default:
        return jinja_fail(e, DM_ERR_INPUT, "a value of type %s has no length", jinja_type_name(v));
    }
}

bool jinja_items(jinja_eval *e, jinja_value v, const jinja_list **out)
{
    static const jinja_list empty = {NULL, 0};
    jinja_value list = {0};
    if (v.type == JINJA_GENERATOR) { /* what is taken is gone */
        jinja_list *rest = (jinja_list *)v.as.list;
        if (!jinja_give_list(e, JINJA_LIST, rest->items, rest->n, &list))
            return false;
        rest->n = 0;
        *out = list.as.list;
        return true;
    }
    if (jinja_is_indexed(v) || v.type == JINJA_VIEW || v.type == JINJA_UNDEFINED) {
        *out = v.type == JINJA_UNDEFINED ? &empty : v.as.list;
        return true;
    }
    size_t n;
    if (v.type != JINJA_DICT && v.type != JINJA_STRING)
        return jinja_fail(e, DM_ERR_INPUT, "a value of type %s is nothing to go through", jinja_type_name(v));
    jinja_value *items = jinja_length(e, v, &n) ? jinja_values_new(e, n) : NULL;
    if (items == NULL)
        return false;
    for (size_t i = 0, at = 0; i < n; i++) {
        if (v.type == JINJA_DICT) {
            items[i] = v.as.dict->entries[i].key;
            continue;
        }
        const size_t end = jinja_character_end(v.as.string, at);
        if (!jinja_give_string(e, jinja_part(e->arena, v.as.string, at, end), &items[i]))
            return false;
        at = end;
    }
    if (!jinja_give_list(e, JINJA_LIST, items, n, &list))
        return false;
    *out = list.as.list;
    return true;
}
