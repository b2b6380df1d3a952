/* Memory, comparison and the making of values. */
#include "io/jinja/value.h"

#define FIRST_PIECE ((size_t)64 << 10)
#define DEPTH 100 /* of nested lists and dicts */

void *jinja_alloc(jinja_arena *a, size_t size)
{
    if (size > a->limit - a->total)
        return NULL;
    size = (size + 15) & ~(size_t)15;
    if ((size_t)(a->end - a->next) < size) {
        const size_t want = size > FIRST_PIECE / 4 ? size : FIRST_PIECE;
        char *piece = dm_block_alloc(&a->chain, want);
        if (piece == NULL)
            return NULL;
        if (a->first == NULL) {
            a->first = piece;
            a->first_end = piece + want;
        }
        if (want == size) { /* a piece of its own; what is left of the one at hand stays in use */
            a->total += size;
            return piece;
        }
        a->next = piece;
        a->end = piece + want;
    }
    void *p = a->next;
    a->next += size;
    a->total += size;
    return p;
}

void jinja_reset(jinja_arena *a)
{
    if (a->total > FIRST_PIECE) {
        jinja_free(a);
    } else {
        a->next = a->first;
        a->end = a->first_end;
        a->total = 0;
    }
}

void jinja_free(jinja_arena *a)
{
    dm_block_free(&a->chain);
    a->first = a->first_end = a->next = a->end = NULL;
    a->total = 0;
}

/* ---- text ---- */

static bool grow_runs(jinja_text *t)
{
    const size_t room = t->runs_capacity > 0 ? 2 * t->runs_capacity : 8;
    jinja_run *runs = jinja_alloc(t->arena, room * sizeof *runs);
    if (runs == NULL)
        return false;
    if (t->n_runs > 0)
        memcpy(runs, t->runs, t->n_runs * sizeof *runs);
    t->runs = runs;
    t->runs_capacity = room;
    return true;
}

static bool grow_text(jinja_text *t, size_t size)
{
    size_t room = t->capacity > 0 ? 2 * t->capacity : 256;
    while (room < size)
        room *= 2;
    char *data = jinja_alloc(t->arena, room);
    if (data == NULL)
        return false;
    if (t->size > 0)
        memcpy(data, t->data, t->size);
    t->data = data;
    t->capacity = room;
    return true;
}

void jinja_text_add(jinja_text *t, const char *data, size_t size, uint32_t origin)
{
    if (size == 0 || t->failed)
        return;
    origin |= t->flags;
    const bool same = t->n_runs > 0 && t->runs[t->n_runs - 1].origin == origin;
    if (size > t->limit - t->size || (size > t->capacity - t->size && !grow_text(t, t->size + size)) ||
        (!same && t->n_runs == t->runs_capacity && !grow_runs(t))) {
        t->failed = true;
        return;
    }
    memcpy(t->data + t->size, data, size);
    t->size += size;
    if (!same)
        t->runs[t->n_runs++].origin = origin;
    t->runs[t->n_runs - 1].end = (uint32_t)t->size;
}

/* The run that the byte at `at` is in. */
static size_t run_at(const jinja_string *s, size_t at)
{
    size_t low = 0, high = s->n_runs;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (s->runs[middle].end <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void jinja_text_part(jinja_text *t, const jinja_string *s, size_t from, size_t to)
{
    if (s->n_runs == 0) {
        jinja_text_add(t, s->data + from, to - from, s->origin);
        return;
    }
    for (size_t i = run_at(s, from); i < s->n_runs && from < to; i++) {
        const size_t end = s->runs[i].end < to ? s->runs[i].end : to;
        if (end > from) {
            jinja_text_add(t, s->data + from, end - from, s->runs[i].origin);
            from = end;
        }
    }
}

void jinja_text_string(jinja_text *t, const jinja_string *s)
{
    jinja_text_part(t, s, 0, s->size);
}

const jinja_string *jinja_text_finish(jinja_text *t)
{
    jinja_string *s = t->failed ? NULL : jinja_alloc(t->arena, sizeof *s);
    if (s != NULL)
        *s = (jinja_string){.data = t->size > 0 ? t->data : "",
                            .size = (uint32_t)t->size,
                            .n_runs = t->n_runs > 1 ? (uint32_t)t->n_runs : 0,
                            .runs = t->runs,
                            .origin = t->n_runs == 1 ? t->runs[0].origin : 0};
    return s;
}

const jinja_string *jinja_string_of(jinja_arena *a, const char *data, size_t size, uint32_t origin)
{
    jinja_string *s = size <= UINT32_MAX ? jinja_alloc(a, sizeof *s) : NULL;
    if (s != NULL)
        *s = (jinja_string){.data = data, .size = (uint32_t)size, .origin = origin};
    return s;
}

const jinja_string *jinja_part(jinja_arena *a, const jinja_string *s, size_t from, size_t to)
{
    if (from == 0 && to == s->size)
        return s;
    if (s->n_runs == 0)
        return jinja_string_of(a, s->data + from, to - from, s->origin);
    jinja_text t = {.arena = a, .limit = UINT32_MAX};
    jinja_text_part(&t, s, from, to);
    return jinja_text_finish(&t);
}

uint32_t jinja_origin_at(const jinja_string *s, size_t at)
{
    const size_t run = run_at(s, at);
    return run < s->n_runs ? s->runs[run].origin : s->origin;
}

/* ---- dicts ---- */

jinja_dict *jinja_dict_new(jinja_arena *a, size_t capacity)
{
    jinja_dict *d = jinja_alloc(a, sizeof *d);
    if (d == NULL)
        return NULL;
    *d = (jinja_dict){.capacity = capacity};
    if (capacity > 0 && (capacity > SIZE_MAX / sizeof *d->entries ||
                         (d->entries = jinja_alloc(a, capacity * sizeof *d->entries)) == NULL))
        return NULL;
    return d;
}

jinja_entry *jinja_dict_find_text(const jinja_dict *d, const char *key, size_t size)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->entries[i].key.type == JINJA_STRING && jinja_text_is(d->entries[i].key.as.string, key, size))
            return &d->entries[i];
    return NULL;
}

jinja_entry *jinja_dict_find(const jinja_dict *d, jinja_value key)
{
    if (key.type == JINJA_STRING)
        return jinja_dict_find_text(d, key.as.string->data, key.as.string->size);
    for (size_t i = 0; i < d->n; i++)
        if (jinja_equal(d->entries[i].key, key))
            return &d->entries[i];
    return NULL;
}

bool jinja_dict_set(jinja_arena *a, jinja_dict *d, jinja_value key, jinja_value value)
{
    jinja_entry *e = jinja_dict_find(d, key);
    if (e != NULL) {
        e->value = value;
        return true;
    }
    if (d->n == d->capacity) {
        const size_t room = d->capacity > 0 ? 2 * d->capacity : 4;
        jinja_entry *more = jinja_alloc(a, room * sizeof *more);
        if (more == NULL)
            return false;
        if (d->n > 0)
            memcpy(more, d->entries, d->n * sizeof *more);
        d->entries = more;
        d->capacity = room;
    }
    d->entries[d->n++] = (jinja_entry){key, value};
    return true;
}

/* ---- what values are ---- */

const char *jinja_type_name(jinja_value v)
{
    static const char *const names[] = {[JINJA_UNDEFINED] = "undefined", [JINJA_NONE] = "None",
                                        [JINJA_BOOL] = "bool",           [JINJA_INT] = "int",
                                        [JINJA_FLOAT] = "float",         [JINJA_STRING] = "str",
                                        [JINJA_LIST] = "list",           [JINJA_TUPLE] = "tuple",
                                        [JINJA_DICT] = "dict",           [JINJA_GENERATOR] = "generator",
                                        [JINJA_VIEW] = "dict view",      [JINJA_RANGE] = "range",
                                        [JINJA_NAMESPACE] = "namespace", [JINJA_LOOP] = "loop",
                                        [JINJA_MACRO] = "macro",         [JINJA_METHOD] = "method",
                                        [JINJA_FUNCTION] = "function"};
    return names[v.type];
}

bool jinja_truth(jinja_value v)
{
    switch (v.type) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v.as.boolean;
    case JINJA_INT:
        return v.as.integer != 0;
    case JINJA_FLOAT:
        return v.as.number != 0;
    case JINJA_STRING:
        return v.as.string->size > 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
    case JINJA_RANGE:
        return v.as.list->n > 0;
    case JINJA_DICT:
        return v.as.dict->n > 0;
    case JINJA_GENERATOR:
    case JINJA_NAMESPACE:
    case JINJA_LOOP:
    case JINJA_MACRO:
    case JINJA_METHOD:
    case JINJA_FUNCTION:
        break;
    }
    return true;
}

static int order_of(double a, double b)
{
    return a < b ? -1 : a > b;
}

/* Numbers of any two types; integers as such. */
static int compare_numbers(jinja_value a, jinja_value b)
{
    if (a.type != JINJA_FLOAT && b.type != JINJA_FLOAT) {
        const int64_t x = a.type == JINJA_INT ? a.as.integer : a.as.boolean;
        const int64_t y = b.type == JINJA_INT ? b.as.integer : b.as.boolean;
        return x < y ? -1 : x > y;
    }
    return order_of(jinja_as_double(a), jinja_as_double(b));
}

static bool equal(jinja_value a, jinja_value b, int depth)
{
    if (jinja_is_number(a) && jinja_is_number(b)) {
        const bool nan = (a.type == JINJA_FLOAT && a.as.number != a.as.number) ||
                         (b.type == JINJA_FLOAT && b.as.number != b.as.number);
        return !nan && compare_numbers(a, b) == 0;
    }
    if (a.type != b.type || depth > DEPTH)
        return false;
    switch (a.type) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return true;
    case JINJA_STRING:
        return a.as.string == b.as.string || jinja_text_is(a.as.string, b.as.string->data, b.as.string->size);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
        if (a.as.list->n != b.as.list->n)
            return false;
        for (size_t i = 0; i < a.as.list->n; i++)
            if (!equal(a.as.list->items[i], b.as.list->items[i], depth + 1))
                return false;
        return true;
    case JINJA_DICT:
        if (a.as.dict->n != b.as.dict->n)
            return false;
        for (size_t i = 0; i < a.as.dict->n; i++) {
            const jinja_entry *e = &a.as.dict->entries[i], *other = jinja_dict_find(b.as.dict, e->key);
            if (other == NULL || !equal(e->value, other->value, depth + 1))
                return false;
        }
        return true;
    default:
        return a.as.object == b.as.object;
    }
}

bool jinja_equal(jinja_value a, jinja_value b)
{
    return equal(a, b, 0);
}

bool jinja_compare(jinja_value a, jinja_value b, int *order)
{
    if (jinja_is_number(a) && jinja_is_number(b)) {
        *order = compare_numbers(a, b);
        return true;
    }
    if (a.type != JINJA_STRING || b.type != JINJA_STRING)
        return false;
    const jinja_string *s = a.as.string, *t = b.as.string;
    const int bytes = memcmp(s->data, t->data, s->size < t->size ? s->size : t->size); /* UTF-8 keeps the order */
    *order = bytes != 0 ? bytes : s->size < t->size ? -1 : s->size > t->size;
    return true;
}
