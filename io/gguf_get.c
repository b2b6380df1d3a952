/* The metadata of a GGUF file by key, with the kinds that callers ask for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/gguf_internal.h"
#include "core/utf8.h"

static const char *const kind_names[DM_GGUF_KINDS] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                      "bool", "string", "array", "u64", "i64", "f64"};
static const unsigned char kind_sizes[DM_GGUF_KINDS] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

size_t dm_gguf_kind_size(uint32_t kind)
{
    return kind < DM_GGUF_KINDS ? kind_sizes[kind] : 0;
}

const char *dm_gguf_kind_name(uint32_t kind)
{
    return kind < DM_GGUF_KINDS ? kind_names[kind] : "unknown";
}

const char *dm_gguf_path(const dm_gguf *g)
{
    return g->path;
}

static const dm_gguf_pair *find(const dm_gguf *g, const char *key)
{
    for (size_t i = 0; i < g->n_pairs; i++)
        if (strcmp(g->text.data + g->pairs[i].key, key) == 0)
            return &g->pairs[i];
    return NULL;
}

bool dm_gguf_has(const dm_gguf *g, const char *key)
{
    return find(g, key) != NULL;
}

static dm_status get(const dm_gguf *g, const char *key, const char *wanted, const dm_gguf_pair **out, dm_error *err)
{
    *out = find(g, key);
    return *out ? DM_OK
                : dm_fail(err, DM_ERR_INPUT, "%s: key \"%s\" is missing, must be %s", dm_gguf_path(g), key, wanted);
}

static dm_status fail_kind(const dm_gguf *g, const char *key, const dm_gguf_pair *p, const char *wanted, dm_error *err)
{
    if (p->kind == DM_GGUF_ARRAY)
        return dm_fail(err, DM_ERR_INPUT, "%s: key \"%s\" is an array of %s, must be %s", dm_gguf_path(g), key,
                       dm_gguf_kind_name(p->element), wanted);
    return dm_fail(err, DM_ERR_INPUT, "%s: key \"%s\" is of kind %s, must be %s", dm_gguf_path(g), key,
                   dm_gguf_kind_name(p->kind), wanted);
}

static bool is_integer(uint32_t kind)
{
    return kind <= DM_GGUF_I32 || kind == DM_GGUF_U64 || kind == DM_GGUF_I64;
}

/* An integer of any width; false: over 2^63 - 1. */
static bool load_integer(uint32_t kind, const unsigned char *p, int64_t *out)
{
    switch (kind) {
    case DM_GGUF_U8:
        *out = p[0];
        break;
    case DM_GGUF_I8:
        *out = (int8_t)p[0];
        break;
    case DM_GGUF_U16:
        *out = (uint16_t)(p[0] | p[1] << 8);
        break;
    case DM_GGUF_I16:
        *out = (int16_t)(uint16_t)(p[0] | p[1] << 8);
        break;
    case DM_GGUF_U32:
        *out = dm_gguf_load32(p);
        break;
    case DM_GGUF_I32:
        *out = (int32_t)dm_gguf_load32(p);
        break;
    default: {
        const uint64_t x = dm_gguf_load64(p);
        *out = (int64_t)x;
        return kind == DM_GGUF_I64 || x <= INT64_MAX;
    }
    }
    return true;
}

static double load_float(uint32_t kind, const unsigned char *p)
{
    float f;
    double d;
    const uint32_t bits = dm_gguf_load32(p);

    if (kind == DM_GGUF_F32) {
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    }
    const uint64_t more = dm_gguf_load64(p);
    memcpy(&d, &more, sizeof d);
    return d;
}

static bool is_float(uint32_t kind)
{
    return kind == DM_GGUF_F32 || kind == DM_GGUF_F64;
}

static dm_status fail_large(const dm_gguf *g, const char *key, const char *limit, dm_error *err)
{
    return dm_fail(err, DM_ERR_INPUT, "%s: key \"%s\" holds an integer beyond %s", dm_gguf_path(g), key, limit);
}

dm_status dm_gguf_i64(const dm_gguf *g, const char *key, int64_t *out, dm_error *err)
{
    const char *wanted = "an integer";
    const dm_gguf_pair *p;
    const dm_status s = get(g, key, wanted, &p, err);

    if (s != DM_OK)
        return s;
    if (!is_integer(p->kind))
        return fail_kind(g, key, p, wanted, err);
    return load_integer(p->kind, g->head + p->value, out) ? DM_OK : fail_large(g, key, "2^63", err);
}

dm_status dm_gguf_f64(const dm_gguf *g, const char *key, double *out, dm_error *err)
{
    const char *wanted = "a number";
    const dm_gguf_pair *p;
    int64_t integer;
    const dm_status s = get(g, key, wanted, &p, err);

    if (s != DM_OK)
        return s;
    if (is_float(p->kind)) {
        *out = load_float(p->kind, g->head + p->value);
        return DM_OK;
    }
    if (!is_integer(p->kind))
        return fail_kind(g, key, p, wanted, err);
    if (!load_integer(p->kind, g->head + p->value, &integer))
        return fail_large(g, key, "2^63", err);
    *out = (double)integer;
    return DM_OK;
}

dm_status dm_gguf_bool(const dm_gguf *g, const char *key, bool *out, dm_error *err)
{
    const char *wanted = "a bool";
    const dm_gguf_pair *p;
    const dm_status s = get(g, key, wanted, &p, err);

    if (s != DM_OK)
        return s;
    if (p->kind != DM_GGUF_BOOL)
        return fail_kind(g, key, p, wanted, err);
    if (g->head[p->value] > 1)
        return dm_fail(err, DM_ERR_INPUT, "%s: key \"%s\" is a bool of value %u, must be 0 or 1", dm_gguf_path(g), key,
                       (unsigned)g->head[p->value]);
    *out = g->head[p->value] == 1;
    return DM_OK;
}

dm_status dm_gguf_string(const dm_gguf *g, const char *key, const char **out, dm_error *err)
{
    const char *wanted = "a string";
    const dm_gguf_pair *p;
    const dm_status s = get(g, key, wanted, &p, err);

    if (s != DM_OK)
        return s;
    if (p->kind != DM_GGUF_STRING)
        return fail_kind(g, key, p, wanted, err);
    const unsigned char *begin = g->head + p->value, *end = begin + p->count;
    for (const unsigned char *c = begin; c < end;) {
        const size_t n = dm_utf8_length(c, end);
        if (n == 0 || *c == '\0')
            return dm_fail(err, DM_ERR_INPUT, "%s: key \"%s\": byte %zu of the string is %s", dm_gguf_path(g), key,
                           (size_t)(c - begin), n ? "NUL" : "not valid UTF-8");
        c += n;
    }
    *out = g->text.data + p->text;
    return DM_OK;
}

/* An array and room for its elements, size bytes each. */
static dm_status get_array(const dm_gguf *g, const char *key, const char *wanted, bool (*fits)(uint32_t), size_t size,
                           const dm_gguf_pair **p, void **out, size_t *n, dm_error *err)
{
    const dm_status s = get(g, key, wanted, p, err);

    *out = NULL;
    *n = 0;
    if (s != DM_OK)
        return s;
    if ((*p)->kind != DM_GGUF_ARRAY || !fits((*p)->element))
        return fail_kind(g, key, *p, wanted, err);
    *n = (size_t)(*p)->count; /* at most the bytes of the file */
    *out = *n < SIZE_MAX / size ? malloc(*n * size + 1) : NULL;
    return *out ? DM_OK
                : dm_fail(err, DM_ERR_MEMORY, "%s: no memory for the %zu elements of key \"%s\"", dm_gguf_path(g), *n,
                          key);
}

static bool is_string(uint32_t kind)
{
    return kind == DM_GGUF_STRING;
}

dm_status dm_gguf_texts(const dm_gguf *g, const char *key, dm_gguf_text **out, size_t *n, dm_error *err)
{
    const dm_gguf_pair *p;
    void *room;
    const dm_status s = get_array(g, key, "an array of strings", is_string, sizeof **out, &p, &room, n, err);

    *out = room;
    if (s != DM_OK)
        return s;
    const unsigned char *at = g->head + p->value;
    for (size_t i = 0; i < *n; i++) { /* their lengths were checked at opening */
        (*out)[i] = (dm_gguf_text){(const char *)at + 8, (size_t)dm_gguf_load64(at)};
        at += 8 + (*out)[i].size;
    }
    return DM_OK;
}

dm_status dm_gguf_floats(const dm_gguf *g, const char *key, float **out, size_t *n, dm_error *err)
{
    const dm_gguf_pair *p;
    void *room;
    const dm_status s = get_array(g, key, "an array of floats", is_float, sizeof **out, &p, &room, n, err);

    *out = room;
    for (size_t i = 0; s == DM_OK && i < *n; i++)
        (*out)[i] = (float)load_float(p->element, g->head + p->value + i * dm_gguf_kind_size(p->element));
    return s;
}

dm_status dm_gguf_ints(const dm_gguf *g, const char *key, int32_t **out, size_t *n, dm_error *err)
{
    const dm_gguf_pair *p;
    void *room;
    const dm_status s = get_array(g, key, "an array of integers", is_integer, sizeof **out, &p, &room, n, err);

    *out = room;
    if (s != DM_OK)
        return s;
    for (size_t i = 0; i < *n; i++) {
        int64_t x;
        if (!load_integer(p->element, g->head + p->value + i * dm_gguf_kind_size(p->element), &x) || x < INT32_MIN ||
            x > INT32_MAX) {
            free(*out);
            *out = NULL;
            return fail_large(g, key, "32 bits", err);
        }
        (*out)[i] = (int32_t)x;
    }
    return DM_OK;
}
