/* A model that was split into files NAME-00001-of-0000N.gguf (llama.cpp's llama-gguf-split, and the gguf package): the
 * first has the metadata, each has some of the tensors and says which part it is of how many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/gguf_internal.h"

#define PARTS_MAX 9999
#define SUFFIX "-00001-of-00002.gguf"

static dm_status get(const dm_gguf *g, const char *key, int64_t absent, int64_t *out, dm_error *err)
{
    *out = absent;
    return dm_gguf_has(g, key) ? dm_gguf_i64(g, key, out, err) : DM_OK;
}

/* The path of part k (from 1) of n beside `path`, which is one's; NULL: no memory. */
static char *part_path(const char *path, int64_t k, int64_t n)
{
    const size_t size = strlen(path), stem = size - (sizeof SUFFIX - 1);
    char *out = malloc(size + 1);

    if (out) {
        memcpy(out, path, stem);
        snprintf(out + stem, size + 1 - stem, "-%05d-of-%05d.gguf", (int)k, (int)n);
    }
    return out;
}

/* Whether a path has the name of part k of n. */
static bool is_named(const char *path, int64_t k, int64_t n)
{
    char end[48];

    snprintf(end, sizeof end, "-%05d-of-%05d.gguf", (int)k, (int)n);
    const size_t size = strlen(path);
    return size > strlen(end) && strlen(end) == sizeof SUFFIX - 1 && strcmp(path + size - strlen(end), end) == 0;
}

static dm_status check_first(const dm_gguf *g, int64_t no, int64_t n, dm_error *err)
{
    dm_status s = DM_OK;

    if (n < 1 || n > PARTS_MAX || no < 0 || no >= n)
        return dm_fail(err, DM_ERR_INPUT, "%s: split.no is %lld and split.count %lld, must be a part of at most %d",
                       g->path, (long long)no, (long long)n, PARTS_MAX);
    if (!is_named(g->path, no + 1, n))
        return dm_fail(err, DM_ERR_INPUT,
                       "%s: is part %d of %d of a model, so its name must end with -%05d-of-%05d.gguf, as the names of "
                       "the other parts beside it do",
                       g->path, (int)no + 1, (int)n, (int)no + 1, (int)n);
    if (no > 0) {
        char *first = part_path(g->path, 1, n);
        s = dm_fail(err, DM_ERR_ARGUMENT, "%s: is part %d of %d of a model; name the first part, %s", g->path,
                    (int)no + 1, (int)n, first ? first : "-00001-of-");
        free(first);
    }
    return s;
}

/* Part k (from 1) of the model whose first part is g. */
static dm_status open_part(dm_gguf *g, int64_t k, int64_t n, dm_error *err)
{
    char *path = part_path(g->path, k, n);
    int64_t no = 0, count = 0;
    dm_status s = DM_OK;

    if (!path)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its parts", g->path);
    if (!dm_file_exists(path))
        s = dm_fail(err, DM_ERR_FILE, "%s: is missing: %s is part 1 of %d, which belong beside each other", path,
                    g->path, (int)n);
    if (s == DM_OK && (s = dm_gguf_open(&g->parts[k - 2], path, err)) == DM_OK) {
        const dm_gguf *part = g->parts[k - 2];
        g->n_parts++;
        if ((s = get(part, "split.no", -1, &no, err)) == DM_OK &&
            (s = get(part, "split.count", -1, &count, err)) == DM_OK && (no != k - 1 || count != n))
            s = dm_fail(err, DM_ERR_INPUT, "%s: must be part %d of %d, but its split.no is %lld and split.count %lld",
                        path, (int)k, (int)n, (long long)no, (long long)count);
    }
    free(path);
    return s;
}

static int compare_names(const void *a, const void *b)
{
    const dm_gguf_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The tensors of all parts as the first one's. */
static dm_status join(dm_gguf *g, int64_t claimed, dm_error *err)
{
    size_t n = g->n_tensors;

    for (size_t i = 0; i < g->n_parts; i++)
        n += g->parts[i]->n_tensors;
    if (claimed >= 0 && (uint64_t)claimed != n)
        return dm_fail(err, DM_ERR_INPUT, "%s: split.tensors.count is %lld, but its %zu parts have %zu tensors",
                       g->path, (long long)claimed, g->n_parts + 1, n);
    dm_gguf_tensor *tensors = realloc(g->tensors, (n + 1) * sizeof *tensors);
    if (tensors)
        g->tensors = tensors;
    const dm_gguf_tensor **by_name = realloc(g->by_name, (n + 1) * sizeof *by_name);
    if (by_name)
        g->by_name = by_name;
    if (!tensors || !by_name)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its parts", g->path);
    for (size_t i = 0; i < g->n_parts; i++) {
        memcpy(tensors + g->n_tensors, g->parts[i]->tensors, g->parts[i]->n_tensors * sizeof *tensors);
        g->n_tensors += g->parts[i]->n_tensors;
    }
    for (size_t i = 0; i < n; i++)
        by_name[i] = &tensors[i];
    qsort(by_name, n, sizeof *by_name, compare_names);
    for (size_t i = 1; i < n; i++)
        if (strcmp(by_name[i - 1]->name, by_name[i]->name) == 0)
            return dm_fail(err, DM_ERR_INPUT, "%s: tensor \"%.200s\" is in %s, too", by_name[i]->in->path,
                           by_name[i]->name, by_name[i - 1]->in->path);
    return DM_OK;
}

static dm_status open_parts(dm_gguf *g, dm_error *err)
{
    int64_t no = 0, n = 1, tensors = -1;
    dm_status s;

    if ((s = get(g, "split.count", 1, &n, err)) != DM_OK || n == 1 || (s = get(g, "split.no", 0, &no, err)) != DM_OK ||
        (s = get(g, "split.tensors.count", -1, &tensors, err)) != DM_OK || (s = check_first(g, no, n, err)) != DM_OK)
        return s;
    g->parts = calloc((size_t)n, sizeof(dm_gguf *));
    if (!g->parts)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its parts", g->path);
    for (int64_t k = 2; k <= n && s == DM_OK; k++)
        s = open_part(g, k, n, err);
    return s == DM_OK ? join(g, tensors, err) : s;
}

dm_status dm_gguf_open_whole(dm_gguf **out, const char *path, dm_error *err)
{
    dm_status s = dm_gguf_open(out, path, err);

    if (s == DM_OK && (s = open_parts(*out, err)) != DM_OK)
        dm_gguf_close(out);
    return s;
}

size_t dm_gguf_files(const dm_gguf *g)
{
    return 1 + g->n_parts;
}

const char *dm_gguf_file(const dm_gguf *g, size_t i)
{
    return i == 0 ? g->path : g->parts[i - 1]->path;
}

dm_status dm_gguf_sha256(const dm_gguf *g, char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_sha256 h;
    dm_status s = dm_file_sha256(g->path, hex, err);

    if (g->n_parts == 0 || s != DM_OK)
        return s;
    dm_sha256_init(&h);
    dm_sha256_update(&h, hex, DM_SHA256_HEX - 1);
    for (size_t i = 0; i < g->n_parts; i++) {
        if ((s = dm_file_sha256(g->parts[i]->path, hex, err)) != DM_OK)
            return s;
        dm_sha256_update(&h, hex, DM_SHA256_HEX - 1);
    }
    dm_sha256_finish(&h, hex);
    return DM_OK;
}
