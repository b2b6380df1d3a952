#include "model/trace/writer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/json_writer.h"

#define COPY ((size_t)1 << 16)

static dm_status put_at(dm_trace_writer *w, const void *data, size_t size, uint64_t at, dm_error *err)
{
    for (size_t done = 0; done < size;) {
        const ssize_t n = pwrite(w->file.fd, (const char *)data + done, size - done, (off_t)(at + done));
        if (n < 0 && errno != EINTR)
            return dm_fail(err, DM_ERR_FILE, "%s: cannot write: %s", w->file.path, strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return DM_OK;
}

dm_status dm_trace_writer_open(dm_trace_writer *w, const char *path, bool overwrite, uint64_t reserve, bool statistics,
                               dm_error *err)
{
    *w = (dm_trace_writer){.file = {.fd = -1}, .reserved = (reserve + 63) / 64 * 64, .statistics = statistics};
    return dm_output_open_new(&w->file, path, overwrite, err);
}

static dm_trace_tensor *next_tensor(dm_trace_writer *w, const char *name, dm_dtype type, unsigned dims, size_t rows,
                                    size_t cols)
{
    if (w->n == w->room) {
        const size_t room = w->room ? 2 * w->room : 256;
        dm_trace_tensor *more = realloc(w->tensors, room * sizeof *more);
        if (!more)
            return NULL;
        w->tensors = more;
        w->room = room;
    }
    dm_trace_tensor *t = &w->tensors[w->n];
    *t = (dm_trace_tensor){.type = type,
                           .dims = dims,
                           .shape = {dims == 2 ? rows : cols, cols},
                           .begin = w->at,
                           .size = (uint64_t)rows * cols * dm_dtype_size(type),
                           .least = INFINITY,
                           .most = -INFINITY};
    const size_t size = strlen(name) + 1;
    t->name = malloc(size);
    if (!t->name)
        return NULL;
    memcpy(t->name, name, size);
    w->n++;
    if (!w->statistics)
        w->at += t->size;
    return t;
}

typedef struct measure {
    dm_sha256 hash;
    double sum, squares;
    uint64_t n;
} measure;

static void look(dm_trace_tensor *t, measure *m, const void *data, size_t count)
{
    dm_sha256_update(&m->hash, data, count * dm_dtype_size(t->type));
    for (size_t i = 0; i < count; i++) {
        const double x = t->type == DM_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
        if (!isfinite(x)) {
            t->wrong++;
            continue;
        }
        t->least = x < t->least ? x : t->least;
        t->most = x > t->most ? x : t->most;
        m->sum += x;
        m->squares += x * x;
        m->n++;
    }
}

static void finish(dm_trace_tensor *t, measure *m)
{
    dm_sha256_finish(&m->hash, t->sha256);
    t->mean = m->n ? m->sum / (double)m->n : 0;
    t->rms = m->n ? sqrt(m->squares / (double)m->n) : 0;
}

dm_status dm_trace_writer_add(dm_trace_writer *w, const char *name, dm_dtype type, unsigned dims, size_t rows,
                              size_t cols, const void *data, dm_error *err)
{
    dm_trace_tensor *t = next_tensor(w, name, type, dims, rows, cols);
    measure m = {0};

    if (!t)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the list of tensors");
    dm_sha256_init(&m.hash);
    look(t, &m, data, rows * cols);
    finish(t, &m);
    return w->statistics ? DM_OK : put_at(w, data, (size_t)t->size, w->reserved + t->begin, err);
}

/* A tensor that was written in pieces, read once more. */
static dm_status measure_written(dm_trace_writer *w, dm_trace_tensor *t, dm_error *err)
{
    float part[COPY / sizeof(float)];
    measure m = {0};

    dm_sha256_init(&m.hash);
    for (uint64_t done = 0; done < t->size;) {
        const size_t most = t->size - done < sizeof part ? (size_t)(t->size - done) : sizeof part;
        const ssize_t n = pread(w->file.fd, part, most, (off_t)(w->reserved + t->begin + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || n % (ssize_t)sizeof *part)
            return dm_fail(err, DM_ERR_FILE, "%s: cannot read back: %s", w->file.path, strerror(errno));
        look(t, &m, part, (size_t)n / sizeof *part);
        done += (uint64_t)n;
    }
    finish(t, &m);
    return DM_OK;
}

void dm_trace_writer_shape(dm_trace_writer *w, unsigned dims, const uint64_t *shape)
{
    dm_trace_tensor *t = &w->tensors[w->n - 1];

    t->dims = dims;
    memcpy(t->shape, shape, dims * sizeof *shape);
}

dm_status dm_trace_writer_columns(dm_trace_writer *w, const char *name, size_t rows, size_t width, size_t first,
                                  size_t cols, const float *x, size_t ld, dm_error *err)
{
    dm_trace_tensor *t = first ? &w->tensors[w->n - 1] : next_tensor(w, name, DM_F32, 2, rows, width);
    dm_status s = DM_OK;

    if (!t)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the list of tensors");
    if (w->statistics)
        return DM_OK; /* columns come in no order that a hash could be taken in */
    for (size_t i = 0; i < rows && s == DM_OK; i++)
        s = put_at(w, x + i * ld, cols * sizeof *x, w->reserved + t->begin + (i * width + first) * sizeof *x, err);
    return s == DM_OK && first + cols == width ? measure_written(w, t, err) : s;
}

static void header_text(dm_text *out, const dm_trace_writer *w, const dm_text *manifest)
{
    dm_json_writer j = {.out = out};

    dm_json_open_object(&j, NULL);
    dm_json_open_object(&j, "__metadata__");
    dm_json_put_string(&j, "format", "pt");
    if (manifest)
        dm_json_put_bytes(&j, "manifest", manifest->data, manifest->size);
    dm_json_close_value(&j);
    for (size_t i = 0; i < w->n && !w->statistics; i++) {
        const dm_trace_tensor *t = &w->tensors[i];
        dm_json_open_object(&j, t->name);
        dm_json_put_string(&j, "dtype", dm_dtype_name(t->type));
        dm_json_open_array(&j, "shape");
        for (unsigned d = 0; d < t->dims; d++)
            dm_json_put_uint(&j, NULL, t->shape[d]);
        dm_json_close_value(&j);
        dm_json_open_array(&j, "data_offsets");
        dm_json_put_uint(&j, NULL, t->begin);
        dm_json_put_uint(&j, NULL, t->begin + t->size);
        dm_json_close_value(&j);
        dm_json_close_value(&j);
    }
    dm_json_close_value(&j);
}

static dm_status put_header(dm_trace_writer *w, const dm_text *manifest, dm_error *err)
{
    dm_text t = {0};
    unsigned char size[8];
    const uint64_t room = w->reserved - sizeof size;
    dm_status s = DM_OK;

    header_text(&t, w, manifest);
    if (!t.failed && t.size > room)
        s = dm_fail(err, DM_ERR_INTERNAL,
                    "the header of a trace has %zu bytes, more than the %llu that were left for it", t.size,
                    (unsigned long long)room);
    while (!t.failed && s == DM_OK && t.size < room)
        dm_text_add(&t, "                ", room - t.size < 16 ? (size_t)(room - t.size) : 16);
    if (t.failed)
        s = dm_fail(err, DM_ERR_MEMORY, "no memory for the header of a trace");
    for (size_t i = 0; i < sizeof size; i++)
        size[i] = (unsigned char)(room >> (8 * i) & 0xff);
    if (s == DM_OK && (s = put_at(w, size, sizeof size, 0, err)) == DM_OK)
        s = put_at(w, t.data, t.size, sizeof size, err);
    dm_text_free(&t);
    return s;
}

dm_status dm_trace_writer_close(dm_trace_writer *w, dm_status status, const dm_text *manifest, dm_error *err)
{
    if (status == DM_OK && manifest && manifest->failed)
        status = dm_fail(err, DM_ERR_MEMORY, "no memory for the manifest of a trace");
    if (status == DM_OK)
        status = put_header(w, manifest, err);
    status = dm_output_close(&w->file, status, NULL, err);
    for (size_t i = 0; i < w->n; i++)
        free(w->tensors[i].name);
    free(w->tensors);
    memset(w, 0, sizeof *w);
    return status;
}
