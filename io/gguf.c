/* Opening a GGUF file: everything that it claims is checked against what the file holds. */
#include <stdlib.h>
#include <string.h>

#include "core/numbers/block.h"
#include "io/gguf_internal.h"
#include "io/gguf_types.h"

#define NESTING 4 /* arrays in arrays */
#define NAME_BYTES 65535u
#define HEAD_BYTES ((size_t)64 << 10) /* read at least at a time while parsing */

/* Position of the parser. `what` and `name` say what is being read, for messages. */
typedef struct cursor {
    dm_gguf *g;
    size_t at;
    const char *what;
    const char *name;
    dm_error *err;
} cursor;

static dm_status fail(const cursor *c, const char *why)
{
    return c->name ? dm_fail(c->err, DM_ERR_INPUT, "%s: byte %zu: %s \"%.200s\": %s", c->g->path, c->at, c->what,
                             c->name, why)
                   : dm_fail(c->err, DM_ERR_INPUT, "%s: byte %zu: %s: %s", c->g->path, c->at, c->what, why);
}

static uint64_t left(const cursor *c)
{
    return c->g->in.size - c->at;
}

/* Moves over `size` bytes, at most left(c), which are in g->head then. That grows by half, so that moving it takes time
 * in proportion to its size. */
static dm_status take(cursor *c, uint64_t size)
{
    dm_gguf *g = c->g;

    if (g->head_size - c->at < size) {
        const uint64_t end = c->at + size, ahead = (uint64_t)g->head_size + g->head_size / 2 + HEAD_BYTES;
        const uint64_t want = end > ahead ? end : ahead < g->in.size ? ahead : g->in.size;
        unsigned char *head = want <= SIZE_MAX / 2 ? dm_pages_alloc((size_t)want) : NULL;
        if (!head)
            return dm_fail(c->err, DM_ERR_MEMORY, "%s: no memory for its header", g->path);
        if (g->head_size)
            memcpy(head, g->head, g->head_size);
        const dm_status s =
            dm_input_read(&g->in, head + g->head_size, (size_t)want - g->head_size, g->head_size, c->err);
        dm_pages_free(s == DM_OK ? g->head : head, s == DM_OK ? g->head_size : (size_t)want);
        if (s != DM_OK)
            return s;
        g->head = head;
        g->head_size = (size_t)want;
    }
    c->at += (size_t)size;
    return DM_OK;
}

static dm_status read32(cursor *c, uint32_t *out)
{
    if (left(c) < 4)
        return fail(c, "the file ends here");
    const dm_status s = take(c, 4);
    if (s == DM_OK)
        *out = dm_gguf_load32(c->g->head + c->at - 4);
    return s;
}

static dm_status read64(cursor *c, uint64_t *out)
{
    if (left(c) < 8)
        return fail(c, "the file ends here");
    const dm_status s = take(c, 8);
    if (s == DM_OK)
        *out = dm_gguf_load64(c->g->head + c->at - 8);
    return s;
}

/* The length of a string and where its bytes begin; moves the cursor past it. */
static dm_status read_string(cursor *c, size_t *begin, size_t *size)
{
    uint64_t n = 0;
    const dm_status s = read64(c, &n);

    if (s != DM_OK)
        return s;
    if (n > left(c))
        return dm_fail(c->err, DM_ERR_INPUT,
                       "%s: byte %zu: %s%s%.200s: a string of %llu bytes, but the file has %llu after this", c->g->path,
                       c->at - 8, c->what, c->name ? " " : "", c->name ? c->name : "", (unsigned long long)n,
                       (unsigned long long)left(c));
    *begin = c->at;
    *size = (size_t)n;
    return take(c, n);
}

/* Copies a string and appends a NUL; *offset: its place in g->text. */
static dm_status keep(cursor *c, size_t begin, size_t size, size_t *offset)
{
    dm_text *t = &c->g->text;

    *offset = t->size;
    dm_text_add(t, (const char *)c->g->head + begin, size);
    dm_text_add(t, "", 1);
    return t->failed ? dm_fail(c->err, DM_ERR_MEMORY, "%s: no memory for its header", c->g->path) : DM_OK;
}

/* A key or a tensor's name. */
static dm_status read_name(cursor *c, size_t *offset)
{
    size_t begin = 0, size = 0;
    const dm_status s = read_string(c, &begin, &size);

    if (s != DM_OK)
        return s;
    if (size == 0 || size > NAME_BYTES)
        return fail(c, size ? "a name of more than 65535 bytes" : "an empty name");
    if (memchr(c->g->head + begin, '\0', size))
        return fail(c, "a name with a NUL in it");
    return keep(c, begin, size, offset);
}

/* Moves over a value of this kind; *count: an array's elements or a string's bytes, *value: where they begin. */
static dm_status skip_value(cursor *c, uint32_t kind, int depth, uint32_t *element, uint64_t *count, size_t *value)
{
    dm_status s;

    *element = 0;
    *count = 1;
    *value = c->at;
    if (kind >= DM_GGUF_KINDS)
        return dm_fail(c->err, DM_ERR_INPUT, "%s: byte %zu: %s \"%.200s\": %u is not a kind of value (legal: 0 to %d)",
                       c->g->path, c->at, c->what, c->name, (unsigned)kind, DM_GGUF_KINDS - 1);
    if (kind == DM_GGUF_STRING) {
        size_t size = 0;
        s = read_string(c, value, &size);
        *count = size;
        return s;
    }
    if (kind != DM_GGUF_ARRAY) {
        if (left(c) < dm_gguf_kind_size(kind))
            return fail(c, "the file ends here");
        return take(c, dm_gguf_kind_size(kind));
    }
    if ((s = read32(c, element)) != DM_OK || (s = read64(c, count)) != DM_OK)
        return s;
    *value = c->at;
    /* the least an element takes: a string its length, an array its kind and length */
    const size_t least = *element == DM_GGUF_STRING  ? 8
                         : *element == DM_GGUF_ARRAY ? 12
                         : *element < DM_GGUF_KINDS  ? dm_gguf_kind_size(*element)
                                                     : 1;
    if (*count > left(c) / least)
        return dm_fail(c->err, DM_ERR_INPUT,
                       "%s: byte %zu: %s \"%.200s\": an array of %llu elements, but the file has %llu bytes after this",
                       c->g->path, c->at - 8, c->what, c->name, (unsigned long long)*count,
                       (unsigned long long)left(c));
    if (*element < DM_GGUF_KINDS && dm_gguf_kind_size(*element))
        return take(c, *count * least);
    if (depth >= NESTING)
        return fail(c, "arrays in arrays, too deep");
    for (uint64_t i = 0; i < *count || (i == 0 && *element >= DM_GGUF_KINDS); i++) {
        uint32_t inner;
        uint64_t n;
        size_t at;
        if ((s = skip_value(c, *element, depth + 1, &inner, &n, &at)) != DM_OK)
            return s;
    }
    return DM_OK;
}

/* Room for one more in an array of `n` that grows by doubling. */
static void *grow(cursor *c, void *array, size_t n, size_t size, dm_status *s)
{
    if (n && (n & (n - 1)))
        return array;
    void *more = n < SIZE_MAX / 4 / size ? realloc(array, (n ? 2 * n : 1) * size) : NULL;
    *s = more ? DM_OK : dm_fail(c->err, DM_ERR_MEMORY, "%s: no memory for its header", c->g->path);
    return more ? more : array;
}

static dm_status read_pair(cursor *c)
{
    dm_gguf *g = c->g;
    dm_gguf_pair p = {0};
    dm_status s = DM_OK;

    c->what = "the next key";
    c->name = NULL;
    g->pairs = grow(c, g->pairs, g->n_pairs, sizeof *g->pairs, &s);
    if (s != DM_OK || (s = read_name(c, &p.key)) != DM_OK)
        return s;
    c->what = "key";
    c->name = g->text.data + p.key;
    if ((s = read32(c, &p.kind)) != DM_OK)
        return s;
    p.begin = c->at;
    if ((s = skip_value(c, p.kind, 0, &p.element, &p.count, &p.value)) != DM_OK)
        return s;
    p.end = c->at;
    if (p.kind == DM_GGUF_STRING && (s = keep(c, p.value, (size_t)p.count, &p.text)) != DM_OK)
        return s;
    g->pairs[g->n_pairs++] = p;
    return DM_OK;
}

/* name holds an offset until all names are there (the text moves while it grows), data the offset in the file's
 * data. */
typedef struct raw_tensor {
    size_t name;
    uint32_t type, dims;
    uint64_t shape[DM_GGUF_DIMS], offset;
} raw_tensor;

static dm_status read_tensor(cursor *c, raw_tensor *t)
{
    dm_status s;

    memset(t, 0, sizeof *t);
    c->what = "the next tensor";
    c->name = NULL;
    if ((s = read_name(c, &t->name)) != DM_OK)
        return s;
    c->what = "tensor";
    c->name = c->g->text.data + t->name;
    if ((s = read32(c, &t->dims)) != DM_OK)
        return s;
    if (t->dims < 1 || t->dims > DM_GGUF_DIMS)
        return dm_fail(c->err, DM_ERR_INPUT, "%s: byte %zu: tensor \"%.200s\" has %u dimensions, must be 1 to %d",
                       c->g->path, c->at - 4, c->name, (unsigned)t->dims, DM_GGUF_DIMS);
    for (uint32_t i = 0; i < t->dims; i++)
        if ((s = read64(c, &t->shape[i])) != DM_OK)
            return s;
    if ((s = read32(c, &t->type)) != DM_OK)
        return s;
    return read64(c, &t->offset);
}

static int compare_pairs(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static int compare_names(const void *a, const void *b)
{
    const dm_gguf_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int compare_places(const void *a, const void *b)
{
    const dm_gguf_tensor *const *x = a, *const *y = b;

    if ((*x)->offset != (*y)->offset)
        return (*x)->offset < (*y)->offset ? -1 : 1;
    return (*x)->size < (*y)->size ? -1 : (*x)->size > (*y)->size;
}

static dm_status check_keys(const cursor *c)
{
    const dm_gguf *g = c->g;
    const char **keys = malloc((g->n_pairs + 1) * sizeof *keys);
    dm_status s = DM_OK;

    if (!keys)
        return dm_fail(c->err, DM_ERR_MEMORY, "%s: no memory for its header", g->path);
    for (size_t i = 0; i < g->n_pairs; i++)
        keys[i] = g->text.data + g->pairs[i].key;
    qsort(keys, g->n_pairs, sizeof *keys, compare_pairs);
    for (size_t i = 1; i < g->n_pairs && s == DM_OK; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            s = dm_fail(c->err, DM_ERR_INPUT, "%s: key \"%.200s\" occurs twice", g->path, keys[i]);
    free(keys);
    return s;
}

static dm_status read_alignment(const cursor *c)
{
    dm_gguf *g = c->g;
    int64_t value = 32;
    dm_status s = DM_OK;

    if (dm_gguf_has(g, "general.alignment") && (s = dm_gguf_i64(g, "general.alignment", &value, c->err)) != DM_OK)
        return s;
    if (value < 1 || value > (int64_t)1 << 30 || (value & (value - 1)))
        return dm_fail(c->err, DM_ERR_INPUT, "%s: key \"general.alignment\" is %lld, must be a power of two up to 2^30",
                       g->path, (long long)value);
    g->alignment = (uint64_t)value;
    return DM_OK;
}

static void type_text(char out[24], uint32_t number)
{
    char digits[12];
    size_t n = 0, used = 5;

    memcpy(out, "type ", 5);
    do
        digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    while (n)
        out[used++] = digits[--n];
    out[used] = '\0';
}

/* Elements, bytes and place of a tensor; `begin`: where the file's data is. */
static dm_status place_tensor(const cursor *c, dm_gguf_tensor *t, const raw_tensor *raw, uint64_t begin)
{
    const dm_gguf *g = c->g;
    const dm_gguf_type type = dm_gguf_type_of(raw->type);
    const uint64_t room = g->in.size - begin;

    t->in = &g->in;
    t->dims = raw->dims;
    t->type = type.type;
    memcpy(t->shape, raw->shape, sizeof t->shape);
    t->count = 1;
    for (unsigned i = 0; i < t->dims; i++) {
        if (t->shape[i] && t->count > INT64_MAX / t->shape[i])
            return dm_fail(c->err, DM_ERR_INPUT, "%s: tensor \"%.200s\": the product of its dimensions is over 2^63",
                           g->path, t->name);
        t->count *= t->shape[i];
    }
    if (type.name) {
        if (t->shape[0] % type.block)
            return dm_fail(c->err, DM_ERR_INPUT,
                           "%s: tensor \"%.200s\": rows of %llu elements are not a multiple of %s's blocks of %u",
                           g->path, t->name, (unsigned long long)t->shape[0], type.name, (unsigned)type.block);
        if (t->count / type.block > INT64_MAX / type.size)
            return dm_fail(c->err, DM_ERR_INPUT, "%s: tensor \"%.200s\": %llu elements are more than a file holds",
                           g->path, t->name, (unsigned long long)t->count);
        t->size = t->count / type.block * type.size;
    }
    if (raw->offset % g->alignment)
        return dm_fail(c->err, DM_ERR_INPUT,
                       "%s: tensor \"%.200s\": offset %llu is not a multiple of the alignment %llu", g->path, t->name,
                       (unsigned long long)raw->offset, (unsigned long long)g->alignment);
    if (raw->offset > room || t->size > room - raw->offset)
        return dm_fail(c->err, DM_ERR_INPUT,
                       "%s: tensor \"%.200s\": %llu bytes at offset %llu, but the file has %llu bytes of data", g->path,
                       t->name, (unsigned long long)t->size, (unsigned long long)raw->offset, (unsigned long long)room);
    t->offset = begin + raw->offset;
    return DM_OK;
}

/* Refuses a name that occurs twice and tensors that overlap. */
static dm_status check_tensors(const cursor *c)
{
    dm_gguf *g = c->g;

    g->by_name = malloc((g->n_tensors + 1) * sizeof *g->by_name);
    if (!g->by_name)
        return dm_fail(c->err, DM_ERR_MEMORY, "%s: no memory for its header", g->path);
    for (size_t i = 0; i < g->n_tensors; i++)
        g->by_name[i] = &g->tensors[i];
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_places);
    for (size_t i = 1; i < g->n_tensors; i++) {
        const dm_gguf_tensor *a = g->by_name[i - 1], *b = g->by_name[i];
        if (b->offset - a->offset < a->size && b->size)
            return dm_fail(c->err, DM_ERR_INPUT, "%s: tensors \"%.200s\" and \"%.200s\" overlap", g->path, a->name,
                           b->name);
    }
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_names);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (strcmp(g->by_name[i - 1]->name, g->by_name[i]->name) == 0)
            return dm_fail(c->err, DM_ERR_INPUT, "%s: tensor \"%.200s\" occurs twice", g->path, g->by_name[i]->name);
    return DM_OK;
}

/* The texts of unknown types follow the names. */
static dm_status finish_tensors(cursor *c, const raw_tensor *raw)
{
    dm_gguf *g = c->g;
    const size_t names = g->text.size;
    char text[24];
    dm_status s = DM_OK;

    for (size_t i = 0; i < g->n_tensors; i++)
        if (!dm_gguf_type_of(raw[i].type).name) {
            type_text(text, raw[i].type);
            dm_text_add(&g->text, text, strlen(text) + 1);
        }
    if (g->text.failed)
        return dm_fail(c->err, DM_ERR_MEMORY, "%s: no memory for its header", g->path);
    const uint64_t begin = (c->at + (g->alignment - 1)) & ~(g->alignment - 1);
    if (g->n_tensors && begin > g->in.size)
        return dm_fail(c->err, DM_ERR_INPUT, "%s: the file ends at byte %llu, before the tensors' data", g->path,
                       (unsigned long long)g->in.size);
    size_t at = names;
    for (size_t i = 0; i < g->n_tensors && s == DM_OK; i++) {
        dm_gguf_tensor *t = &g->tensors[i];
        t->name = g->text.data + raw[i].name;
        t->type_name = dm_gguf_type_of(raw[i].type).name;
        if (!t->type_name) {
            t->type_name = g->text.data + at;
            at += strlen(t->type_name) + 1;
        }
        s = place_tensor(c, t, &raw[i], begin);
    }
    return s == DM_OK ? check_tensors(c) : s;
}

static dm_status parse(cursor *c, raw_tensor **raw)
{
    dm_gguf *g = c->g;
    uint32_t magic = 0, version = 0;
    uint64_t n_tensors = 0, n_pairs = 0;
    dm_status s;

    if ((s = read32(c, &magic)) != DM_OK)
        return s;
    if (memcmp(g->head, "GGUF", 4) != 0)
        return dm_fail(c->err, DM_ERR_INPUT, "%s: is not a GGUF file: it does not begin with \"GGUF\"", g->path);
    if ((s = read32(c, &version)) != DM_OK)
        return s;
    if (version && (version & 0xFFFF) == 0)
        return dm_fail(c->err, DM_ERR_UNSUPPORTED, "%s: a big-endian GGUF file; only little-endian ones are read",
                       g->path);
    if (version != 2 && version != 3)
        return dm_fail(c->err, DM_ERR_UNSUPPORTED, "%s: GGUF version %u is not supported; 2 and 3 are", g->path,
                       (unsigned)version);
    if ((s = read64(c, &n_tensors)) != DM_OK || (s = read64(c, &n_pairs)) != DM_OK)
        return s;
    if (n_tensors > left(c) / 24 || n_pairs > left(c) / 13) /* the least that each takes */
        return dm_fail(c->err, DM_ERR_INPUT, "%s: claims %llu tensors and %llu keys, but has only %llu bytes", g->path,
                       (unsigned long long)n_tensors, (unsigned long long)n_pairs, (unsigned long long)g->in.size);
    for (uint64_t i = 0; i < n_pairs; i++)
        if ((s = read_pair(c)) != DM_OK)
            return s;
    c->name = NULL;
    if ((s = check_keys(c)) != DM_OK || (s = read_alignment(c)) != DM_OK)
        return s;
    for (uint64_t i = 0; i < n_tensors; i++) {
        *raw = grow(c, *raw, (size_t)i, sizeof **raw, &s);
        if (s != DM_OK || (s = read_tensor(c, &(*raw)[i])) != DM_OK)
            return s;
    }
    g->n_tensors = (size_t)n_tensors;
    g->tensors = calloc(g->n_tensors + 1, sizeof *g->tensors);
    if (!g->tensors)
        return dm_fail(c->err, DM_ERR_MEMORY, "%s: no memory for its header", g->path);
    return finish_tensors(c, *raw);
}

dm_status dm_gguf_open(dm_gguf **out, const char *path, dm_error *err)
{
    dm_gguf *g = calloc(1, sizeof *g);
    raw_tensor *raw = NULL;

    *out = NULL;
    if (g)
        g->path = strdup(path);
    if (!g || !g->path) {
        free(g);
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory to open it", path);
    }
    dm_status s = dm_input_open(&g->in, g->path, err);
    if (s == DM_OK && g->in.size < 24)
        s = dm_fail(err, DM_ERR_INPUT, "%s: has %llu bytes, less than a GGUF header", path,
                    (unsigned long long)g->in.size);
    if (s == DM_OK) {
        cursor c = {.g = g, .what = "the header", .err = err};
        s = parse(&c, &raw);
    }
    free(raw);
    if (s != DM_OK)
        dm_gguf_close(&g);
    *out = g;
    return s;
}

void dm_gguf_close(dm_gguf **g)
{
    if (!g || !*g)
        return;
    for (size_t i = 0; i < (*g)->n_parts; i++)
        dm_gguf_close(&(*g)->parts[i]);
    free((*g)->parts);
    dm_input_close(&(*g)->in);
    dm_pages_free((*g)->head, (*g)->head_size);
    dm_text_free(&(*g)->text);
    free((*g)->pairs);
    free((*g)->tensors);
    free((*g)->by_name);
    free((*g)->path);
    free(*g);
    *g = NULL;
}

size_t dm_gguf_count(const dm_gguf *g)
{
    return g->n_tensors;
}

const dm_gguf_tensor *dm_gguf_at(const dm_gguf *g, size_t i)
{
    return &g->tensors[i];
}

const dm_gguf_tensor *dm_gguf_find(const dm_gguf *g, const char *name)
{
    for (size_t low = 0, high = g->n_tensors; low < high;) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(name, g->by_name[middle]->name);
        if (order == 0)
            return g->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
