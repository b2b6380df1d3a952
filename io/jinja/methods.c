/* Methods of strings, dicts and lists. */
#include <string.h>

#include "io/jinja/characters.h"
#include "io/jinja/filters.h"
#include "io/jinja/text_functions.h"
#include "io/tokenizer/unicode.h"

/* ---- strings ---- */

/* Argument i as text; NULL where it is none or not given. */
static bool optional_text(jinja_eval *e, const jinja_call *c, size_t i, const jinja_string **out)
{
    *out = NULL;
    return c->arg[i].type == JINJA_UNDEFINED || c->arg[i].type == JINJA_NONE || jinja_string_argument(e, c, i, out);
}

static bool run_strip(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *set;
    return optional_text(e, c, 0, &set) && jinja_strip(e, c->subject.as.string, set, c->what, out);
}

static bool run_case(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    return jinja_change_case(e, c->subject.as.string, (jinja_case)c->what, out);
}

/* The bytes [from, to) that optional arguments i and i + 1 bound, in characters. */
static bool bounds(jinja_eval *e, const jinja_call *c, size_t i, size_t *from, size_t *to)
{
    const jinja_string *s = c->subject.as.string;
    int64_t first, last;
    if (!jinja_int_argument(e, c, i, 0, &first) || !jinja_int_argument(e, c, i + 1, INT64_MAX, &last))
        return false;
    *from = 0;
    *to = s->size;
    if (first == 0 && last == INT64_MAX)
        return true;
    const int64_t n = (int64_t)jinja_characters(s);
    first = first < 0 ? (first < -n ? 0 : first + n) : first;
    last = last < 0 ? (last < -n ? 0 : last + n) : last > n ? n : last;
    if (first > n || first > last) { /* nothing, not even "" */
        *from = 1;
        *to = 0;
        return true;
    }
    *from = jinja_character_at(s, (size_t)first);
    *to = jinja_character_at(s, (size_t)last);
    return jinja_charge(e, s->size / 16);
}

static bool matches(const jinja_string *s, const jinja_string *part, size_t from, size_t to, bool end)
{
    return from <= to && part->size <= to - from &&
           memcmp(s->data + (end ? to - part->size : from), part->data, part->size) == 0;
}

static bool run_starts(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *part;
    size_t from, to;
    if (!bounds(e, c, 1, &from, &to))
        return false;
    if (c->arg[0].type == JINJA_TUPLE) {
        bool any = false;
        const jinja_list *parts = c->arg[0].as.list;
        for (size_t i = 0; i < parts->n && !any; i++) {
            if (parts->items[i].type != JINJA_STRING)
                return jinja_fail(e, DM_ERR_INPUT, "%s: a part is of type %s, must be str", c->name,
                                  jinja_type_name(parts->items[i]));
            any = matches(c->subject.as.string, parts->items[i].as.string, from, to, c->what);
        }
        *out = jinja_bool(any);
        return true;
    }
    if (!jinja_string_argument(e, c, 0, &part))
        return false;
    *out = jinja_bool(matches(c->subject.as.string, part, from, to, c->what));
    return true;
}

static bool run_find(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s = c->subject.as.string, *part;
    const bool last = c->what & 1, must = c->what & 2;
    size_t from, to;
    if (!jinja_string_argument(e, c, 0, &part) || !bounds(e, c, 1, &from, &to) ||
        !jinja_charge(e, last ? s->size * (part->size / 16 + 1) : s->size))
        return false;
    size_t at = from > to ? JINJA_NOT_FOUND : last ? jinja_find_last(s, part, to) : jinja_find_bytes(s, part, from);
    if (at != JINJA_NOT_FOUND && (at < from || at + part->size > to))
        at = JINJA_NOT_FOUND;
    if (at == JINJA_NOT_FOUND && must)
        return jinja_fail(e, DM_ERR_INPUT, "%s: the text is not there", c->name);
    *out = jinja_int(at == JINJA_NOT_FOUND ? -1 : (int64_t)jinja_characters_before(s, at));
    return true;
}

static bool run_count(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s = c->subject.as.string, *part;
    size_t from, to;
    int64_t n = 0;
    if (!jinja_string_argument(e, c, 0, &part) || !bounds(e, c, 1, &from, &to) || !jinja_charge(e, s->size))
        return false;
    if (from <= to && part->size == 0)
        n = (int64_t)(jinja_characters_before(s, to) - jinja_characters_before(s, from)) + 1;
    for (size_t at = from; from <= to && part->size > 0; n++) {
        at = jinja_find_bytes(s, part, at);
        if (at == JINJA_NOT_FOUND || at + part->size > to)
            break;
        at += part->size;
    }
    *out = jinja_int(n);
    return true;
}

static bool run_replace(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *old, *fresh;
    int64_t count;
    return jinja_string_argument(e, c, 0, &old) && jinja_string_argument(e, c, 1, &fresh) &&
           jinja_int_argument(e, c, 2, -1, &count) && jinja_replace(e, c->subject.as.string, old, fresh, count, out);
}

/* Parts of text as they are found. */
typedef struct parts {
    jinja_value *items;
    size_t n, capacity;
} parts;

static bool push(jinja_eval *e, parts *p, const jinja_string *s, size_t from, size_t to)
{
    if (p->n == p->capacity) {
        const size_t room = p->capacity > 0 ? 2 * p->capacity : 8;
        jinja_value *more = jinja_values_new(e, room);
        if (more == NULL)
            return false;
        if (p->n > 0)
            memcpy(more, p->items, p->n * sizeof *more);
        p->items = more;
        p->capacity = room;
    }
    return jinja_give_string(e, jinja_part(e->arena, s, from, to), &p->items[p->n++]);
}

static bool split_spaces(jinja_eval *e, const jinja_string *s, int64_t most, parts *p)
{
    for (size_t at = 0;;) {
        const jinja_string rest = {.data = s->data + at, .size = (uint32_t)(s->size - at)};
        at += jinja_strip_left(&rest, NULL);
        if (at == s->size)
            return true;
        size_t end = at;
        if (most >= 0 && (int64_t)p->n == most) /* the last part is all the rest */
            end = s->size;
        uint32_t code;
        while (end < s->size && (most < 0 || (int64_t)p->n < most)) {
            const size_t step = dm_utf8_decode(s->data + end, s->size - end, &code);
            const jinja_string c = {.data = s->data + end, .size = (uint32_t)step};
            if (step == 0 || jinja_strip_left(&c, NULL) > 0)
                break;
            end += step;
        }
        if (!push(e, p, s, at, end))
            return false;
        if (most >= 0 && (int64_t)p->n > most)
            return true;
        at = end;
    }
}

static bool split_by(jinja_eval *e, const jinja_string *s, const jinja_string *by, int64_t most, parts *p)
{
    size_t at = 0;
    for (; most != 0; most -= most > 0) {
        const size_t found = jinja_find_bytes(s, by, at);
        if (found == JINJA_NOT_FOUND)
            break;
        if (!push(e, p, s, at, found))
            return false;
        at = found + by->size;
    }
    return push(e, p, s, at, s->size);
}

/* From the right; the parts come in the order that they have in the text. */
static bool split_by_last(jinja_eval *e, const jinja_string *s, const jinja_string *by, int64_t most, parts *p)
{
    size_t end = s->size;
    for (; most != 0; most -= most > 0) {
        const size_t found = jinja_find_last(s, by, end);
        if (found == JINJA_NOT_FOUND)
            break;
        if (!push(e, p, s, found + by->size, end))
            return false;
        end = found;
    }
    if (!push(e, p, s, 0, end))
        return false;
    for (size_t i = 0; i < p->n / 2; i++) {
        const jinja_value v = p->items[i];
        p->items[i] = p->items[p->n - 1 - i];
        p->items[p->n - 1 - i] = v;
    }
    return true;
}

static bool run_split(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s = c->subject.as.string, *by;
    int64_t most;
    parts p = {0};
    const bool last = c->what == 1;
    if (!optional_text(e, c, 0, &by) || !jinja_int_argument(e, c, 1, -1, &most) ||
        !jinja_charge(e, s->size * (last && by != NULL ? by->size / 16 + 1 : 1)))
        return false;
    if (by != NULL && by->size == 0)
        return jinja_fail(e, DM_ERR_INPUT, "%s by an empty text", c->name);
    if (by == NULL && last && most >= 0)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "rsplit by white space with a limit is not supported");
    if (by == NULL ? !split_spaces(e, s, most, &p)
        : last     ? !split_by_last(e, s, by, most, &p)
                   : !split_by(e, s, by, most, &p))
        return false;
    return jinja_give_list(e, JINJA_LIST, p.items, p.n, out);
}

static bool run_lines(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s = c->subject.as.string;
    const bool keep = jinja_truth(c->arg[0]);
    parts p = {0};
    if (!jinja_charge(e, s->size))
        return false;
    for (size_t at = 0, end, next; jinja_line(s, at, &end, &next); at = next)
        if (!push(e, &p, s, at, keep ? next : end))
            return false;
    return jinja_give_list(e, JINJA_LIST, p.items, p.n, out);
}

/* (before, the separator, after), from the left or, what 1, from the right. */
static bool run_partition(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s = c->subject.as.string, *by;
    parts p = {0};
    if (!jinja_string_argument(e, c, 0, &by) || !jinja_charge(e, s->size * (by->size / 16 + 1)))
        return false;
    if (by->size == 0)
        return jinja_fail(e, DM_ERR_INPUT, "%s by an empty text", c->name);
    const size_t found = c->what ? jinja_find_last(s, by, s->size) : jinja_find_bytes(s, by, 0);
    const size_t a = found != JINJA_NOT_FOUND ? found : c->what ? 0 : s->size;
    const size_t b = found != JINJA_NOT_FOUND ? found + by->size : a;
    return push(e, &p, s, 0, a) && push(e, &p, s, a, b) && push(e, &p, s, b, s->size) &&
           jinja_give_list(e, JINJA_TUPLE, p.items, p.n, out);
}

static bool run_remove(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s = c->subject.as.string, *part;
    if (!jinja_string_argument(e, c, 0, &part))
        return false;
    const size_t there = matches(s, part, 0, s->size, c->what) ? part->size : 0;
    return jinja_give_string(e, jinja_part(e->arena, s, c->what ? 0 : there, s->size - (c->what ? there : 0)), out);
}

static bool run_join(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items;
    return jinja_items(e, c->arg[0], &items) && jinja_join(e, items, c->subject.as.string, true, out);
}

enum { DIGITS, LETTERS, LETTERS_OR_DIGITS, SPACES, ALL_LOWER, ALL_UPPER };

static bool run_is(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s = c->subject.as.string;
    size_t right = 0, wrong = 0;
    if (!jinja_charge(e, s->size))
        return false;
    if (c->what == SPACES) {
        *out = jinja_bool(s->size > 0 && jinja_strip_left(s, NULL) == s->size);
        return true;
    }
    if (!jinja_is_ascii(s))
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "%s of text that is not ASCII is not supported", c->name);
    for (size_t i = 0; i < s->size; i++) {
        const char x = s->data[i];
        const bool digit = x >= '0' && x <= '9', lower = x >= 'a' && x <= 'z', upper = x >= 'A' && x <= 'Z';
        const bool yes[] = {digit, lower || upper, lower || upper || digit, false, lower, upper};
        right += yes[c->what];
        wrong += c->what == ALL_LOWER ? upper : c->what == ALL_UPPER ? lower : !yes[c->what];
    }
    *out = jinja_bool(right > 0 && wrong == 0);
    return true;
}

static const jinja_builtin string_methods[] = {
    {"capitalize", "", 0, JINJA_CAPITALIZE, run_case},
    {"count", "sub start end", 1, 0, run_count},
    {"endswith", "suffix start end", 1, 1, run_starts},
    {"find", "sub start end", 1, 0, run_find},
    {"index", "sub start end", 1, 2, run_find},
    {"isalnum", "", 0, LETTERS_OR_DIGITS, run_is},
    {"isalpha", "", 0, LETTERS, run_is},
    {"isdigit", "", 0, DIGITS, run_is},
    {"islower", "", 0, ALL_LOWER, run_is},
    {"isspace", "", 0, SPACES, run_is},
    {"isupper", "", 0, ALL_UPPER, run_is},
    {"join", "iterable", 1, 0, run_join},
    {"lower", "", 0, JINJA_LOWER, run_case},
    {"lstrip", "chars", 0, 1, run_strip},
    {"partition", "sep", 1, 0, run_partition},
    {"removeprefix", "prefix", 1, 0, run_remove},
    {"removesuffix", "suffix", 1, 1, run_remove},
    {"replace", "old new count", 2, 0, run_replace},
    {"rfind", "sub start end", 1, 1, run_find},
    {"rindex", "sub start end", 1, 3, run_find},
    {"rpartition", "sep", 1, 1, run_partition},
    {"rsplit", "sep maxsplit", 0, 1, run_split},
    {"rstrip", "chars", 0, 2, run_strip},
    {"split", "sep maxsplit", 0, 0, run_split},
    {"splitlines", "keepends", 0, 0, run_lines},
    {"startswith", "prefix start end", 1, 0, run_starts},
    {"strip", "chars", 0, 3, run_strip},
    {"title", "", 0, JINJA_TITLE, run_case},
    {"upper", "", 0, JINJA_UPPER, run_case},
    {0},
};

/* ---- dicts and lists ---- */

static bool run_get(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_entry *entry = jinja_dict_find(c->subject.as.dict, c->arg[0]);
    *out = entry != NULL ? entry->value : c->arg[1].type != JINJA_UNDEFINED ? c->arg[1] : jinja_none();
    return jinja_charge(e, c->subject.as.dict->n);
}

static bool run_items(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    return jinja_pairs(e, c->subject.as.dict, JINJA_VIEW, out);
}

/* keys() and, what 1, values() */
static bool run_keys(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_dict *d = c->subject.as.dict;
    jinja_value *items = jinja_values_new(e, d->n);
    for (size_t i = 0; i < d->n && items != NULL; i++)
        items[i] = c->what ? d->entries[i].value : d->entries[i].key;
    return items != NULL && jinja_give_list(e, JINJA_VIEW, items, d->n, out);
}

static const jinja_builtin dict_methods[] = {
    {"get", "key default", 1, 0, run_get},
    {"items", "", 0, 0, run_items},
    {"keys", "", 0, 0, run_keys},
    {"values", "", 0, 1, run_keys},
    {0},
};

static bool run_list_count(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items = c->subject.as.list;
    int64_t n = 0;
    for (size_t i = 0; i < items->n; i++)
        n += jinja_equal(items->items[i], c->arg[0]);
    *out = jinja_int(n);
    return jinja_charge(e, items->n);
}

static bool run_list_index(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_list *items = c->subject.as.list;
    size_t i = 0;
    while (i < items->n && !jinja_equal(items->items[i], c->arg[0]))
        i++;
    *out = jinja_int((int64_t)i);
    return i < items->n ? jinja_charge(e, i) : jinja_fail(e, DM_ERR_INPUT, "index: the item is not in the list");
}

static const jinja_builtin list_methods[] = {
    {"count", "value", 1, 0, run_list_count},
    {"index", "value", 1, 0, run_list_index},
    {0},
};

/* ---- what Python has and this has not ---- */

static const char string_others[] = "casefold center encode expandtabs format format_map isascii isdecimal "
                                    "isidentifier isnumeric isprintable istitle ljust maketrans rjust swapcase "
                                    "translate zfill ";
static const char list_others[] = "append clear copy extend insert pop remove reverse sort ";
static const char dict_others[] = "clear copy fromkeys pop popitem setdefault update ";
static const char number_others[] =
    "as_integer_ratio bit_count bit_length conjugate denominator from_bytes fromhex hex "
    "imag is_integer numerator real to_bytes ";

static bool is_word_of(const char *words, const char *name, size_t size)
{
    for (const char *s = words; *s != '\0';) {
        const size_t n = strcspn(s, " ");
        if (n == size && memcmp(s, name, n) == 0)
            return true;
        s += n + 1;
    }
    return false;
}

const jinja_builtin *jinja_method_find(jinja_type type, const char *name, size_t size, bool *known)
{
    const char *others = type == JINJA_STRING  ? string_others
                         : type == JINJA_DICT  ? dict_others
                         : type == JINJA_LIST  ? list_others
                         : type == JINJA_TUPLE ? ""
                                               : number_others;
    const jinja_builtin *table = type == JINJA_STRING                        ? string_methods
                                 : type == JINJA_DICT                        ? dict_methods
                                 : type == JINJA_LIST || type == JINJA_TUPLE ? list_methods
                                                                             : NULL;
    const jinja_builtin *found = table != NULL ? jinja_find(table, name, size) : NULL;
    *known = found != NULL || is_word_of(others, name, size);
    return found;
}
