/* Opening: checks every claim of header and index before a tensor can be read. */
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/safetensors_internal.h"

#define HEADER_MAX ((uint64_t)100 * 1000 * 1000) /* bytes, as in the reference implementation */
#define SHARDS_MAX 1000

static const struct {
    const char *name;
    unsigned bits; /* of one element */
} types[] = {
    /* dm_dtype's plain types in their order */
    {"F32", 32},
    {"F16", 16},
    {"BF16", 16},
    {"F64", 64},
    {"I64", 64},
    {"I32", 32},
    {"U8", 8},
    /* not read, but their sizes are checked */
    {"BOOL", 8},
    {"I8", 8},
    {"I16", 16},
    {"U16", 16},
    {"U32", 32},
    {"U64", 64},
    {"F8_E4M3", 8},
    {"F8_E5M2", 8},
    {"F8_E8M0", 8},
    {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8},
    {"F6_E2M3", 6},
    {"F6_E3M2", 6},
    {"F4", 4},
    {"C64", 64},
};

/* ---- one file ---- */

static dm_status open_file(dm_st_file *f, dm_error *err)
{
    unsigned char head[8];
    dm_status st = dm_input_open(&f->in, f->path, err);

    if (st != DM_OK)
        return st;
    if (f->in.size < 8)
        return dm_fail(err, DM_ERR_INPUT,
                       "%s: %llu bytes are too few for a safetensors file: the first 8 hold the "
                       "header's length",
                       f->path, (unsigned long long)f->in.size);
    if ((st = dm_input_read(&f->in, head, sizeof head, 0, err)) != DM_OK)
        return st;
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | head[i];
    if (length > HEADER_MAX)
        return dm_fail(err, DM_ERR_INPUT,
                       "%s: header length %llu is over the limit of %llu bytes (is this a "
                       "safetensors file?)",
                       f->path, (unsigned long long)length, (unsigned long long)HEADER_MAX);
    if (length > f->in.size - 8)
        return dm_fail(err, DM_ERR_INPUT, "%s: header length %llu reaches past the end of the file (%llu bytes)",
                       f->path, (unsigned long long)length, (unsigned long long)f->in.size);
    f->data = 8 + length;

    char *text = malloc((size_t)length + 1);
    const size_t name_size = strlen(f->path) + sizeof " (header)";
    char *name = malloc(name_size);
    if (!text || !name) {
        st = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for a header of %llu bytes", f->path,
                     (unsigned long long)length);
    } else {
        snprintf(name, name_size, "%s (header)", f->path);
        st = dm_input_read(&f->in, text, (size_t)length, 8, err);
        if (st == DM_OK)
            st = dm_json_parse(&f->header, text, (size_t)length, name, err);
    }
    free(name);
    free(text);
    if (st != DM_OK)
        return st;
    if (dm_json_root(f->header)->type != DM_JSON_OBJECT)
        return dm_json_fail(f->header, dm_json_root(f->header), err, "the header must be a JSON object");
    return DM_OK;
}

static dm_status check_metadata(const dm_st_file *f, const dm_json *m, dm_error *err)
{
    if (m->type != DM_JSON_OBJECT)
        return dm_json_fail(f->header, m, err, "\"__metadata__\" must be an object of strings");
    for (const dm_json *c = m->child; c; c = c->next)
        if (c->type != DM_JSON_STRING)
            return dm_json_fail(f->header, c, err, "\"__metadata__\": \"%.80s\" must be a string", c->key);
    return DM_OK;
}

/* Fills t from {"dtype", "shape", "data_offsets"}; its file's data begin and size are known. */
static dm_status read_entry(const dm_st_file *f, const dm_json *v, dm_st_tensor *t, dm_error *err)
{
    const dm_json_doc *doc = f->header;

    if (v->key_length == 0 || strlen(v->key) != v->key_length)
        return dm_json_fail(doc, v, err, "a tensor's name must not be empty or hold NUL");
    t->name = v->key;
    if (v->type != DM_JSON_OBJECT)
        return dm_json_fail(doc, v, err, "tensor \"%.200s\" must be an object with dtype, shape and data_offsets",
                            t->name);
    for (const dm_json *c = v->child; c; c = c->next)
        if (strcmp(c->key, "dtype") != 0 && strcmp(c->key, "shape") != 0 && strcmp(c->key, "data_offsets") != 0)
            return dm_json_fail(doc, c, err, "tensor \"%.200s\": unknown key \"%.80s\"", t->name, c->key);

    const dm_json *dtype = dm_json_get(v, "dtype"), *shape = dm_json_get(v, "shape");
    const dm_json *range = dm_json_get(v, "data_offsets");
    if (!dtype || dtype->type != DM_JSON_STRING)
        return dm_json_fail(doc, dtype ? dtype : v, err,
                            "tensor \"%.200s\": \"dtype\" must be a string such as \"F32\"", t->name);
    t->type_name = dtype->text;
    t->type = DM_DTYPE_COUNT;
    uint64_t bits = 0;
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++)
        if (dm_json_is(dtype, types[i].name)) {
            bits = types[i].bits;
            t->type = i < DM_DTYPE_PLAIN ? (dm_dtype)i : DM_DTYPE_COUNT;
        }

    if (!shape || shape->type != DM_JSON_ARRAY)
        return dm_json_fail(doc, shape ? shape : v, err, "tensor \"%.200s\": \"shape\" must be an array of sizes",
                            t->name);
    if (shape->length > DM_ST_DIMS)
        return dm_json_fail(doc, shape, err, "tensor \"%.200s\": has %zu dimensions, at most %d are read", t->name,
                            shape->length, DM_ST_DIMS);
    t->count = 1;
    for (const dm_json *s = shape->child; s; s = s->next) {
        if (s->type != DM_JSON_NUMBER || !s->is_integer || s->integer < 0)
            return dm_json_fail(doc, s, err, "tensor \"%.200s\": a size must be an integer, at least 0", t->name);
        const uint64_t size = (uint64_t)s->integer;
        t->shape[t->dims++] = size;
        if (size != 0 && t->count > INT64_MAX / 64 / size)
            return dm_json_fail(doc, shape, err, "tensor \"%.200s\": the shape's product is too large", t->name);
        t->count *= size;
    }

    if (!range || range->type != DM_JSON_ARRAY || range->length != 2)
        return dm_json_fail(doc, range ? range : v, err, "tensor \"%.200s\": \"data_offsets\" must be [begin, end]",
                            t->name);
    const dm_json *b = range->child, *e = b->next;
    if (!b->is_integer || !e->is_integer || b->integer < 0 || e->integer < b->integer)
        return dm_json_fail(doc, range, err,
                            "tensor \"%.200s\": \"data_offsets\" must be integers with 0 <= begin <= end", t->name);
    if ((uint64_t)e->integer > f->in.size - f->data)
        return dm_json_fail(doc, range, err,
                            "tensor \"%.200s\": ends at data byte %lld, but the file has only %llu (is it "
                            "cut off?)",
                            t->name, (long long)e->integer, (unsigned long long)(f->in.size - f->data));
    t->begin = f->data + (uint64_t)b->integer;
    t->end = f->data + (uint64_t)e->integer;
    if (bits && (t->count * bits % 8 != 0 || t->count * bits / 8 != t->end - t->begin))
        return dm_json_fail(doc, range, err,
                            "tensor \"%.200s\": %llu elements of %s take %llu bytes, data_offsets hold %llu", t->name,
                            (unsigned long long)t->count, t->type_name, (unsigned long long)(t->count * bits / 8),
                            (unsigned long long)(t->end - t->begin));
    return DM_OK;
}

static int compare_place(const void *a, const void *b)
{
    const dm_st_tensor *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name); /* empty ones at the same place */
}

/* tensors[0..n) of file f, sorted by place: each byte of the data belongs to exactly one. */
static dm_status check_cover(const dm_st_file *f, const dm_st_tensor *tensors, size_t n, dm_error *err)
{
    uint64_t at = f->data;

    for (size_t i = 0; i < n; i++) {
        if (tensors[i].begin < at)
            return dm_fail(err, DM_ERR_INPUT, "%s: tensors \"%.200s\" and \"%.200s\" overlap at data byte %llu",
                           f->path, tensors[i - 1].name, tensors[i].name,
                           (unsigned long long)(tensors[i].begin - f->data));
        if (tensors[i].begin > at)
            return dm_fail(
                err, DM_ERR_INPUT, "%s: data bytes %llu to %llu before tensor \"%.200s\" belong to no tensor", f->path,
                (unsigned long long)(at - f->data), (unsigned long long)(tensors[i].begin - f->data), tensors[i].name);
        at = tensors[i].end;
    }
    if (at != f->in.size)
        return dm_fail(err, DM_ERR_INPUT, "%s: the last %llu bytes belong to no tensor", f->path,
                       (unsigned long long)(f->in.size - at));
    return DM_OK;
}

static dm_status grow(dm_st *s, size_t more, dm_error *err)
{
    if (s->tensors != NULL && s->n + more <= s->capacity)
        return DM_OK;
    const size_t wanted = s->n + more > 0 ? s->n + more : 1; /* a file may have no tensor */
    const size_t capacity = wanted > 2 * s->capacity ? wanted : 2 * s->capacity;
    dm_st_tensor *t = capacity <= SIZE_MAX / sizeof *t ? realloc(s->tensors, capacity * sizeof *t) : NULL;
    if (!t)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the names of %zu tensors", capacity);
    s->tensors = t;
    s->capacity = capacity;
    return DM_OK;
}

/* Opens file `index` of the set and appends its tensors. */
static dm_status add_file(dm_st *s, size_t index, dm_error *err)
{
    dm_st_file *f = &s->files[index];
    const size_t first = s->n;
    dm_status st = open_file(f, err);

    if (st == DM_OK)
        st = grow(s, dm_json_root(f->header)->length, err);
    if (st != DM_OK)
        return st;
    for (const dm_json *v = dm_json_root(f->header)->child; v; v = v->next) {
        if (strcmp(v->key, "__metadata__") == 0) {
            st = check_metadata(f, v, err);
        } else {
            dm_st_tensor *t = &s->tensors[s->n++];
            *t = (dm_st_tensor){.file = (unsigned)index};
            st = read_entry(f, v, t, err);
        }
        if (st != DM_OK)
            return st;
    }
    if (s->n > first)
        qsort(s->tensors + first, s->n - first, sizeof *s->tensors, compare_place);
    return check_cover(f, s->tensors + first, s->n - first, err);
}

/* ---- sets ---- */

static int compare_name(const void *a, const void *b)
{
    return strcmp((*(const dm_st_tensor *const *)a)->name, (*(const dm_st_tensor *const *)b)->name);
}

static dm_status index_names(dm_st *s, dm_error *err)
{
    s->by_name = malloc((s->n + 1) * sizeof *s->by_name);
    if (!s->by_name)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the names of %zu tensors", s->n);
    for (size_t i = 0; i < s->n; i++)
        s->by_name[i] = &s->tensors[i];
    if (s->n)
        qsort(s->by_name, s->n, sizeof *s->by_name, compare_name);
    for (size_t i = 1; i < s->n; i++) {
        const dm_st_tensor *a = s->by_name[i - 1], *b = s->by_name[i];
        if (strcmp(a->name, b->name) == 0) /* in one file the header's keys are distinct */
            return dm_fail(err, DM_ERR_INPUT, "tensor \"%.200s\" is in two files, %s and %s", a->name,
                           s->files[a->file].path, s->files[b->file].path);
    }
    return DM_OK;
}

static dm_status new_files(dm_st *s, size_t n, dm_error *err)
{
    s->files = calloc(n, sizeof *s->files);
    if (!s->files)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu files", n);
    s->n_files = n;
    return DM_OK;
}

/* "dir/name" with dir the first dir_size bytes of path (its '/' included). */
static char *sibling(const char *path, size_t dir_size, const char *name)
{
    const size_t size = strlen(name) + 1;
    char *out = malloc(dir_size + size);

    if (out) {
        memcpy(out, path, dir_size);
        memcpy(out + dir_size, name, size);
    }
    return out;
}

/* Which distinct files weight_map names, in order of appearance; shard[i] is that of its i-th entry. */
static dm_status list_shards(const dm_json_doc *doc, const dm_json *map, const char **names, size_t *n, unsigned *shard,
                             dm_error *err)
{
    unsigned at = 0;

    *n = 0;
    for (const dm_json *v = map->child; v; v = v->next, shard++) {
        if (v->type != DM_JSON_STRING || v->length == 0 || strlen(v->text) != v->length)
            return dm_json_fail(doc, v, err, "\"%.200s\": must be the name of a safetensors file", v->key);
        if (strchr(v->text, '/') || strcmp(v->text, "..") == 0 || strcmp(v->text, ".") == 0)
            return dm_json_fail(doc, v, err, "\"%.200s\": \"%.200s\" must be a plain file name, without a path", v->key,
                                v->text);
        if (!*n || strcmp(names[at], v->text) != 0) { /* neighbours mostly share a file */
            for (at = 0; at < *n && strcmp(names[at], v->text) != 0; at++)
                ;
            if (at == *n && *n == SHARDS_MAX)
                return dm_json_fail(doc, v, err, "more than %d files", SHARDS_MAX);
            if (at == *n)
                names[(*n)++] = v->text;
        }
        *shard = at;
    }
    return DM_OK;
}

/* Every entry is in the shard it names, and every tensor has an entry. */
static dm_status check_index(const dm_st *s, const dm_json_doc *doc, const dm_json *map, const unsigned *shard,
                             dm_error *err)
{
    bool *has_entry = calloc(s->n + 1, sizeof *has_entry);
    dm_status st = has_entry ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "no memory for the names of %zu tensors", s->n);

    for (const dm_json *v = map->child; v && st == DM_OK; v = v->next, shard++) {
        const dm_st_tensor *t = strlen(v->key) == v->key_length ? dm_st_find(s, v->key) : NULL;
        if (!t)
            st = dm_json_fail(doc, v, err, "tensor \"%.200s\" is not in %s", v->key, s->files[*shard].path);
        else if (t->file != *shard)
            st = dm_json_fail(doc, v, err, "tensor \"%.200s\" is in %s, not in %s", v->key, s->files[t->file].path,
                              s->files[*shard].path);
        else
            has_entry[t - s->tensors] = true;
    }
    for (size_t i = 0; i < s->n && st == DM_OK; i++)
        if (!has_entry[i])
            st = dm_json_fail(doc, map, err, "tensor \"%.200s\" of %s is not in the index", s->tensors[i].name,
                              s->files[s->tensors[i].file].path);
    free(has_entry);
    return st;
}

static dm_status open_shards(dm_st *s, const char *path, const dm_json_doc *doc, const char **names, unsigned *shard,
                             dm_error *err)
{
    const dm_json *map = dm_json_get(dm_json_root(doc), "weight_map");
    const char *slash = strrchr(path, '/');
    const size_t dir_size = slash ? (size_t)(slash - path) + 1 : 0;
    size_t n;
    dm_status st = list_shards(doc, map, names, &n, shard, err);

    if (st == DM_OK)
        st = new_files(s, n, err);
    for (size_t i = 0; i < n && st == DM_OK; i++) {
        char *file = sibling(path, dir_size, names[i]);
        s->files[i].path = file;
        if (!file)
            return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu file names", n);
        if (!dm_file_exists(file))
            return dm_fail(err, DM_ERR_FILE, "%s: is missing, but %s names it", file, path);
        st = add_file(s, i, err);
    }
    if (st == DM_OK)
        st = index_names(s, err);
    return st == DM_OK ? check_index(s, doc, map, shard, err) : st;
}

static dm_status open_index(dm_st *s, const char *path, dm_error *err)
{
    dm_json_doc *doc;
    dm_status st = dm_json_read(&doc, path, err);

    if (st != DM_OK)
        return st;
    const dm_json *map = dm_json_get(dm_json_root(doc), "weight_map");
    if (!map || map->type != DM_JSON_OBJECT || map->length == 0) {
        st = dm_json_fail(doc, map ? map : dm_json_root(doc), err,
                          "\"weight_map\" must be an object that gives each tensor's file");
    } else {
        const char **names = malloc(SHARDS_MAX * sizeof *names);
        unsigned *shard = calloc(map->length, sizeof *shard);
        st = names && shard ? open_shards(s, path, doc, names, shard, err)
                            : dm_fail(err, DM_ERR_MEMORY, "%s: no memory for %zu tensors", path, map->length);
        free(names);
        free(shard);
    }
    dm_json_close(&doc);
    return st;
}

static dm_status open_single(dm_st *s, const char *path, dm_error *err)
{
    dm_status st = new_files(s, 1, err);

    if (st != DM_OK)
        return st;
    s->files[0].path = sibling(path, 0, path);
    if (!s->files[0].path)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for a file name");
    st = add_file(s, 0, err);
    return st == DM_OK ? index_names(s, err) : st;
}

static dm_status open_directory(dm_st *s, const char *path, dm_error *err)
{
    dm_path name;
    dm_status st = dm_path_in(&name, path, "model.safetensors", err);

    if (st != DM_OK)
        return st;
    if (dm_file_exists(name.text))
        return open_single(s, name.text, err);
    if ((st = dm_path_in(&name, path, "model.safetensors.index.json", err)) != DM_OK)
        return st;
    if (dm_file_exists(name.text))
        return open_index(s, name.text, err);
    if ((st = dm_path_in(&name, path, "pytorch_model.bin", err)) != DM_OK)
        return st;
    if (dm_file_exists(name.text))
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "%s: a pickle, which can run code and is not read; save the model as model.safetensors "
                       "(save_pretrained of transformers does)",
                       name.text);
    return dm_fail(err, DM_ERR_FILE, "%s: holds no model.safetensors and no model.safetensors.index.json", path);
}

dm_status dm_st_open(dm_st **out, const char *path, dm_error *err)
{
    static const char suffix[] = ".index.json";
    const size_t length = strlen(path);
    dm_status st;

    *out = NULL;
    dm_st *s = calloc(1, sizeof *s);
    if (!s)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory to open it", path);
    if (dm_dir_exists(path))
        st = open_directory(s, path, err);
    else if (length >= sizeof suffix - 1 && strcmp(path + length - (sizeof suffix - 1), suffix) == 0)
        st = open_index(s, path, err);
    else
        st = open_single(s, path, err);
    if (st != DM_OK)
        dm_st_close(&s);
    *out = s;
    return st;
}

void dm_st_close(dm_st **st)
{
    if (!st || !*st)
        return;
    dm_st *s = *st;
    for (size_t i = 0; i < s->n_files; i++) {
        dm_input_close(&s->files[i].in);
        dm_json_close(&s->files[i].header);
        free(s->files[i].path);
    }
    free(s->files);
    free(s->tensors);
    free(s->by_name);
    free(s);
    *st = NULL;
}

size_t dm_st_count(const dm_st *st)
{
    return st->n;
}

const dm_st_tensor *dm_st_at(const dm_st *st, size_t i)
{
    return &st->tensors[i];
}

const dm_st_tensor *dm_st_find(const dm_st *st, const char *name)
{
    size_t low = 0, high = st->n;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(st->by_name[middle]->name, name);
        if (order == 0)
            return st->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const char *dm_st_path(const dm_st *st, const dm_st_tensor *t)
{
    return st->files[t->file].path;
}

dm_status dm_st_sha256(const dm_st *st, char hex[DM_SHA256_HEX], dm_error *err)
{
    return st->n_files == 1 ? dm_input_sha256(&st->files[0].in, hex, err)
                            : dm_fail(err, DM_ERR_INTERNAL, "a hash of %zu files", st->n_files);
}

const char *dm_st_metadata(const dm_st *st, const char *key)
{
    for (size_t i = 0; i < st->n_files; i++) {
        const dm_json *v = dm_json_get(dm_json_get(dm_json_root(st->files[i].header), "__metadata__"), key);
        if (v)
            return v->text;
    }
    return NULL;
}
