#include "io/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/half.h"

static uint32_t u16_at(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32_at(const unsigned char *p)
{
    return u16_at(p) | u16_at(p + 2) << 16;
}

/* What follows 'key': in the header, or NULL. */
static const char *value_of(const char *header, const char *key)
{
    char quoted[32];

    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    if (!at)
        return NULL;
    at += strlen(quoted);
    return at + strspn(at, " ");
}

static dm_status read_type(dm_npy *out, const char *descr, const char *name, dm_error *err)
{
    static const struct {
        const char *text;
        char kind;
        size_t size;
    } types[] = {{"<f4", 'f', 4}, {"<f8", 'f', 8}, {"<f2", 'f', 2}, {"<i4", 'i', 4},
                 {"<i8", 'i', 8}, {"|i1", 'i', 1}, {"|u1", 'u', 1}, {"|b1", 'u', 1}};

    for (size_t i = 0; descr && *descr == '\'' && i < sizeof types / sizeof *types; i++)
        if (strncmp(descr + 1, types[i].text, 3) == 0 && descr[4] == '\'') {
            out->kind = types[i].kind;
            out->size = types[i].size;
            return DM_OK;
        }
    return dm_fail(err, DM_ERR_UNSUPPORTED,
                   "%s: its 'descr' %.20s is not supported; <f2, <f4, <f8, <i4, <i8, |i1, |u1 and |b1 are", name,
                   descr ? descr : "is missing:");
}

static dm_status read_shape(dm_npy *out, const char *shape, bool fortran, const char *name, dm_error *err)
{
    const uint64_t most = (uint64_t)1 << 40; /* whether the file has them is seen afterwards */
    uint64_t sizes[DM_NPY_DIMS];

    out->dims = 0;
    out->count = 1;
    if (!shape || *shape++ != '(')
        return dm_fail(err, DM_ERR_INPUT, "%s: its header has no 'shape'", name);
    for (shape += strspn(shape, " "); *shape != ')'; shape += strspn(shape, ", ")) {
        uint64_t n = 0;
        if (*shape < '0' || *shape > '9' || out->dims == DM_NPY_DIMS)
            return dm_fail(err, DM_ERR_INPUT, "%s: its 'shape' must have at most %d sizes", name, DM_NPY_DIMS);
        for (; *shape >= '0' && *shape <= '9'; shape++) {
            if (n > most)
                return dm_fail(err, DM_ERR_INPUT, "%s: its 'shape' has more elements than the file", name);
            n = n * 10 + (uint64_t)(*shape - '0');
        }
        if (n && out->count > most / n)
            return dm_fail(err, DM_ERR_INPUT, "%s: its 'shape' has more elements than the file", name);
        out->count *= n;
        sizes[out->dims++] = n;
        if (*shape != ',' && *shape != ')' && *shape != ' ')
            return dm_fail(err, DM_ERR_INPUT, "%s: its 'shape' is not a tuple of sizes", name);
    }
    for (unsigned i = 0; i < out->dims; i++)
        out->shape[i] = sizes[fortran ? out->dims - 1 - i : i];
    return DM_OK;
}

dm_status dm_npy_parse(dm_npy *out, const void *bytes, size_t size, const char *name, dm_error *err)
{
    const unsigned char *b = bytes;

    *out = (dm_npy){.kind = 'f'};
    if (size < 12 || memcmp(b, "\x93NUMPY", 6) != 0 || b[6] < 1 || b[6] > 3)
        return dm_fail(err, DM_ERR_INPUT, "%s: not a .npy file of version 1, 2 or 3", name);
    const size_t begin = b[6] == 1 ? 10 : 12, length = b[6] == 1 ? u16_at(b + 8) : u32_at(b + 8);
    if (length > size - begin || length > 65536)
        return dm_fail(err, DM_ERR_INPUT, "%s: its header of %zu bytes does not fit", name, length);
    char *header = malloc(length + 1);
    if (!header)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the header of %s", name);
    memcpy(header, b + begin, length);
    header[length] = 0;
    const char *order = value_of(header, "fortran_order");
    const size_t room = size - begin - length;
    dm_status s = read_type(out, value_of(header, "descr"), name, err);
    if (s == DM_OK && (!order || (strncmp(order, "True", 4) != 0 && strncmp(order, "False", 5) != 0)))
        s = dm_fail(err, DM_ERR_INPUT, "%s: its 'fortran_order' must be True or False", name);
    if (s == DM_OK)
        s = read_shape(out, value_of(header, "shape"), *order == 'T', name, err);
    free(header);
    if (s == DM_OK && out->count * out->size != room)
        s = dm_fail(err, DM_ERR_INPUT, "%s: %zu bytes of data, its shape needs %llu", name, room,
                    (unsigned long long)(out->count * out->size));
    out->data = b + begin + length;
    return s;
}

double dm_npy_value(const dm_npy *a, uint64_t i)
{
    const unsigned char *p = a->data + i * a->size;
    uint64_t bits = 0;
    double d;
    float f;

    for (size_t k = 0; k < a->size; k++)
        bits |= (uint64_t)p[k] << (8 * k);
    if (a->kind == 'u')
        return (double)bits;
    if (a->kind == 'i')
        return a->size == 8 ? (double)(int64_t)bits : a->size == 4 ? (double)(int32_t)bits : (double)(int8_t)bits;
    if (a->size == 2)
        return dm_f16_to_float((uint16_t)bits);
    if (a->size == 4) {
        const uint32_t word = (uint32_t)bits;
        memcpy(&f, &word, sizeof f);
        return f;
    }
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* ---- archives ---- */

#define END_SIZE 22u
#define ENTRY_SIZE 46u
#define LOCAL_SIZE 30u

/* Of the archive's end, its central directory; NULL: there is none. */
static const unsigned char *find_end(const unsigned char *b, size_t size)
{
    for (size_t back = END_SIZE; back <= size && back <= END_SIZE + 65535; back++)
        if (memcmp(b + size - back, "PK\5\6", 4) == 0)
            return b + size - back;
    return NULL;
}

/* The bytes of an entry of the central directory. */
static dm_status entry_bytes(const unsigned char *b, size_t size, const unsigned char *e, const char *name,
                             const unsigned char **data, size_t *length, dm_error *err)
{
    const size_t packed = u32_at(e + 20), plain = u32_at(e + 24), local = u32_at(e + 42);

    if (u16_at(e + 10) != 0)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: compressed entries are not supported; np.savez writes plain ones",
                       name);
    if (local > size || size - local < LOCAL_SIZE || memcmp(b + local, "PK\3\4", 4) != 0)
        return dm_fail(err, DM_ERR_INPUT, "%s: an entry lies outside of the archive", name);
    const size_t begin = LOCAL_SIZE + u16_at(b + local + 26) + u16_at(b + local + 28);
    if (packed != plain || begin > size - local || plain > size - local - begin)
        return dm_fail(err, DM_ERR_INPUT, "%s: an entry lies outside of the archive", name);
    *data = b + local + begin;
    *length = plain;
    return DM_OK;
}

dm_status dm_npz_each(const void *bytes, size_t size, const char *name, dm_npz_entry entry, void *context,
                      dm_error *err)
{
    const unsigned char *b = bytes, *end = find_end(b, size);

    if (!end)
        return dm_fail(err, DM_ERR_INPUT, "%s: not a .npz archive", name);
    const size_t n = u16_at(end + 10);
    size_t at = u32_at(end + 16);
    for (size_t i = 0; i < n; i++) {
        char text[256];
        const unsigned char *data = NULL;
        size_t length = 0;
        if (at > size || size - at < ENTRY_SIZE || memcmp(b + at, "PK\1\2", 4) != 0)
            return dm_fail(err, DM_ERR_INPUT, "%s: its directory is broken at entry %zu", name, i);
        const size_t words = u16_at(b + at + 28), rest = u16_at(b + at + 30) + u16_at(b + at + 32);
        if (size - at - ENTRY_SIZE < words + rest || words >= sizeof text)
            return dm_fail(err, DM_ERR_INPUT, "%s: its directory is broken at entry %zu", name, i);
        memcpy(text, b + at + ENTRY_SIZE, words);
        text[words] = 0;
        dm_status s = entry_bytes(b, size, b + at, name, &data, &length, err);
        if (s != DM_OK || (s = entry(context, text, data, length, err)) != DM_OK)
            return s;
        at += ENTRY_SIZE + words + rest;
    }
    return DM_OK;
}
