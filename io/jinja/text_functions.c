#include "io/jinja/text_functions.h"

#include <string.h>

#include "io/jinja/characters.h"

bool jinja_strip(jinja_eval *e, const jinja_string *s, const jinja_string *set, int sides, jinja_value *out)
{
    const size_t from = sides & 1 ? jinja_strip_left(s, set) : 0;
    const size_t to = s->size - (sides & 2 ? jinja_strip_right(s, set, from) : 0);
    return jinja_charge(e, (s->size - (to - from)) * (set != NULL ? set->size : 1)) &&
           jinja_give_string(e, jinja_part(e->arena, s, from, to), out);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool jinja_change_case(jinja_eval *e, const jinja_string *s, jinja_case how, jinja_value *out)
{
    if (!jinja_charge(e, s->size))
        return false;
    if (!jinja_is_ascii(s))
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "the case of text that is not ASCII is not supported");
    char *data = jinja_alloc(e->arena, s->size + 1);
    jinja_string *changed = jinja_alloc(e->arena, sizeof *changed);
    if (data == NULL || changed == NULL)
        return jinja_no_memory(e);
    bool within = false; /* of a word */
    for (size_t i = 0; i < s->size; i++) {
        const char c = s->data[i];
        const bool upper = how == JINJA_UPPER || (how != JINJA_LOWER && !within);
        data[i] = !is_letter(c) ? c : (char)(upper ? c & ~0x20 : c | 0x20);
        if (how == JINJA_CAPITALIZE)
            within = true;
        else if (how == JINJA_FILTER_TITLE) /* where jinja2 begins a word */
            within = strchr("- \t\n\r\f\v\x1c\x1d\x1e\x1f({[<", c) == NULL || c == '\0';
        else
            within = is_letter(c);
    }
    *changed = *s;
    changed->data = data;
    return jinja_give_string(e, changed, out);
}

bool jinja_replace(jinja_eval *e, const jinja_string *s, const jinja_string *old, const jinja_string *fresh,
                   int64_t count, jinja_value *out)
{
    jinja_text t = jinja_text_new(e);
    size_t at = 0;
    if (!jinja_charge(e, s->size))
        return false;
    for (size_t from = 0; count != 0; count -= count > 0) {
        const size_t found = jinja_find_bytes(s, old, from);
        if (found == JINJA_NOT_FOUND)
            break;
        jinja_text_part(&t, s, at, found);
        jinja_text_string(&t, fresh);
        at = found + old->size;
        from = at;
        if (old->size == 0) { /* before each character, and at the end */
            if (at == s->size)
                break;
            from = jinja_character_end(s, at);
        }
    }
    jinja_text_part(&t, s, at, s->size);
    return jinja_give_text(e, &t, out);
}

bool jinja_join(jinja_eval *e, const jinja_list *items, const jinja_string *between, bool strict, jinja_value *out)
{
    jinja_text t = jinja_text_new(e);
    for (size_t i = 0; i < items->n; i++) {
        if (i > 0)
            jinja_text_string(&t, between);
        if (strict && items->items[i].type != JINJA_STRING)
            return jinja_fail(e, DM_ERR_INPUT, "join: item %zu is of type %s, must be str", i,
                              jinja_type_name(items->items[i]));
        const char *wrong = jinja_write(&t, items->items[i], JINJA_STR);
        if (wrong != NULL)
            return jinja_fail(e, DM_ERR_UNSUPPORTED, "%s as text is not supported", wrong);
        if (!jinja_charge(e, 1))
            return false;
    }
    return jinja_give_text(e, &t, out);
}

bool jinja_attribute(jinja_eval *e, jinja_value v, jinja_value attribute, jinja_value *out)
{
    if (attribute.type == JINJA_INT)
        return jinja_item(e, v, attribute, out);
    if (attribute.type != JINJA_STRING)
        return jinja_fail(e, DM_ERR_INPUT, "an attribute is of type %s, must be str", jinja_type_name(attribute));
    const jinja_string *s = attribute.as.string;
    for (size_t at = 0; at <= s->size;) {
        const char *dot = memchr(s->data + at, '.', s->size - at);
        const size_t end = dot != NULL ? (size_t)(dot - s->data) : s->size;
        jinja_value key;
        bool number = end > at;
        int64_t value = 0;
        for (size_t i = at; i < end && number; i++) {
            number = s->data[i] >= '0' && s->data[i] <= '9' && end - at < 10;
            value = value * 10 + (s->data[i] - '0');
        }
        key = jinja_int(value);
        if (!number && !jinja_give_string(e, jinja_part(e->arena, s, at, end), &key))
            return false;
        if (!jinja_item(e, v, key, &v))
            return false;
        at = end + 1;
    }
    *out = v;
    return true;
}
