#include "model/trace/import.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "io/npy.h"
#include "model/trace/writer.h"

#define ARRAYS_MAX (SIZE_MAX >> 1) /* bytes of an array or an archive; memory is the limit */

typedef struct import {
    dm_trace_writer w;
    const char *path;
} import;

static bool ends(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n > m && strcmp(text + n - m, end) == 0;
}

static dm_status add(void *context, const char *name, const void *bytes, size_t size, dm_error *err)
{
    import *k = context;
    char tensor[256];
    dm_npy a;
    dm_status s = dm_npy_parse(&a, bytes, size, name, err);

    if (s != DM_OK)
        return dm_fail_context(err, s, "%s", k->path);
    snprintf(tensor, sizeof tensor, "%.*s", (int)(strlen(name) - (ends(name, ".npy") ? 4 : 0)), name);
    double *x = malloc((size_t)(a.count + 1) * sizeof *x);
    if (!x)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %s", name);
    for (uint64_t i = 0; i < a.count; i++)
        x[i] = dm_npy_value(&a, i);
    const size_t cols = a.dims ? (size_t)a.shape[a.dims - 1] : 1, rows = cols ? (size_t)a.count / cols : 0;
    s = dm_trace_writer_add(&k->w, tensor, DM_F64, 2, rows, cols, x, err);
    free(x);
    if (s == DM_OK && a.dims) /* whole: a padded batch is known by it */
        dm_trace_writer_shape(&k->w, a.dims, a.shape);
    return s;
}

static dm_status add_file(import *k, const char *path, const char *name, dm_error *err)
{
    char *data = NULL;
    size_t size;
    dm_status s = dm_file_read(path, ARRAYS_MAX, &data, &size, err);

    if (s == DM_OK)
        s = ends(path, ".npz") ? dm_npz_each(data, size, path, add, k, err) : add(k, name, data, size, err);
    free(data);
    return s;
}

/* A directory: its .npy files. Returns how many there are, or without k only counts. */
static dm_status add_directory(import *k, const char *path, size_t *count, dm_error *err)
{
    DIR *dir = opendir(path);
    dm_status s = DM_OK;

    *count = 0;
    for (const struct dirent *e; dir && s == DM_OK && (e = readdir(dir)) != NULL;) {
        dm_path file;
        if (!ends(e->d_name, ".npy"))
            continue;
        ++*count;
        if (k && (s = dm_path_in(&file, path, e->d_name, err)) == DM_OK)
            s = add_file(k, file.text, e->d_name, err);
    }
    if (dir)
        closedir(dir);
    return s;
}

dm_status dm_trace_open(dm_st **out, const char *path, dm_error *err)
{
    const char *dir = getenv("TMPDIR");
import k = {.path = path };
    dm_path temporary;
    size_t files = 0;
    dm_status s = DM_OK;

    *out = NULL;
    if (!ends(path, ".npz") && !ends(path, ".npy") && (add_directory(NULL, path, &files, err) != DM_OK || files == 0))
        return dm_st_open(out, path, err);
    if ((s = dm_path_print(&temporary, err, "%s/dmpo-%ld.safetensors", dir ? dir : "/tmp", (long)getpid())) != DM_OK ||
        (s = dm_trace_writer_open(&k.w, temporary.text, true, (uint64_t)1 << 22, false, err)) != DM_OK)
        return s;
    s = files ? add_directory(&k, path, &files, err) : add_file(&k, path, path, err);
    s = dm_trace_writer_close(&k.w, s, NULL, err);
    if (s == DM_OK)
        s = dm_st_open(out, temporary.text, err);
    unlink(temporary.text);
    return s;
}
