/* Writing: header, then data through a small buffer, into a temporary file that is renamed when all of it is on disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "io/half.h"
#include "io/json.h"
#include "io/safetensors.h"

enum { CHUNK = 4096 }; /* elements converted at a time */

typedef struct writer {
    const char *path; /* for messages: the file that the caller asked for */
    int fd;
    dm_sha256 hash;
    dm_error *err;
} writer;

static dm_status write_all(writer *w, const void *data, size_t size)
{
    dm_sha256_update(&w->hash, data, size);
    for (size_t done = 0; done < size;) {
        const ssize_t n = write(w->fd, (const char *)data + done, size - done);
        if (n < 0 && errno != EINTR)
            return dm_fail(w->err, DM_ERR_FILE, "%s: cannot write: %s", w->path, strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return DM_OK;
}

static bool count_elements(const dm_st_out *t, uint64_t *count)
{
    *count = 1;
    if (t->dims > DM_ST_DIMS || t->type > DM_BF16)
        return false;
    for (unsigned i = 0; i < t->dims; i++) {
        if (t->shape[i] != 0 && *count > INT64_MAX / 8 / t->shape[i])
            return false;
        *count *= t->shape[i];
    }
    return true;
}

/* Data begin of each tensor: F32 first, so that whatever the counts are each one is aligned to its size. */
static dm_status place(const char *path, const dm_st_out *tensors, size_t n, uint64_t *begin, dm_error *err)
{
    uint64_t at = 0;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n; i++) {
            uint64_t count;
            if ((tensors[i].type == DM_F32) != (pass == 0))
                continue;
            if (!count_elements(&tensors[i], &count) || at > INT64_MAX - 4 * count)
                return dm_fail(err, DM_ERR_ARGUMENT,
                               "%s: tensor \"%.200s\": must be F32, F16 or BF16 with at most %d "
                               "dimensions and a size that fits a file",
                               path, tensors[i].name, DM_ST_DIMS);
            begin[i] = at;
            at += count * dm_dtype_size(tensors[i].type);
        }
    return DM_OK;
}

static void add_string(dm_text *t, const char *s)
{
    dm_text_json_string(t, s, strlen(s));
}

/* The length and the JSON, padded to 8. */
static void make_header(dm_text *t, const dm_st_out *tensors, size_t n, const uint64_t *begin,
                        const char *const (*metadata)[2], size_t n_metadata)
{
    dm_text_add(t, "\0\0\0\0\0\0\0\0", 8);
    dm_text_print(t, "{\"__metadata__\":{\"format\":\"pt\"");
    for (size_t i = 0; i < n_metadata; i++) {
        dm_text_add(t, ",", 1);
        add_string(t, metadata[i][0]);
        dm_text_add(t, ":", 1);
        add_string(t, metadata[i][1]);
    }
    dm_text_add(t, "}", 1);
    for (size_t i = 0; i < n; i++) {
        uint64_t count = 0;
        count_elements(&tensors[i], &count);
        dm_text_add(t, ",", 1);
        add_string(t, tensors[i].name);
        dm_text_print(t, ":{\"dtype\":\"%s\",\"shape\":[", dm_dtype_name(tensors[i].type));
        for (unsigned d = 0; d < tensors[i].dims; d++)
            dm_text_print(t, "%s%llu", d ? "," : "", (unsigned long long)tensors[i].shape[d]);
        dm_text_print(t, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin[i],
                      (unsigned long long)(begin[i] + count * dm_dtype_size(tensors[i].type)));
    }
    dm_text_add(t, "}", 1);
    while (!t->failed && t->size % 8 != 0)
        dm_text_add(t, " ", 1);
    if (!t->failed)
        for (int i = 0; i < 8; i++)
            t->data[i] = (char)(unsigned char)((uint64_t)(t->size - 8) >> 8 * i);
}

static dm_status write_tensor(writer *w, const dm_st_out *t)
{
    unsigned char bytes[CHUNK * 4];
    const size_t size = dm_dtype_size(t->type);
    uint64_t count = 0;

    count_elements(t, &count);
    for (uint64_t done = 0; done < count;) {
        const size_t n = count - done < CHUNK ? (size_t)(count - done) : CHUNK;
        for (size_t i = 0; i < n; i++) {
            const float x = t->data[done + i];
            uint32_t bits;
            bool finite = isfinite(x);
            if (t->type == DM_F32) {
                bits = dm_float_to_bits(x);
            } else if (t->type == DM_BF16) {
                bits = dm_float_to_bf16(x);
                finite = finite && (bits & 0x7F80) != 0x7F80;
            } else {
                bits = dm_float_to_f16(x);
                finite = finite && (bits & 0x7C00) != 0x7C00;
            }
            if (!finite)
                return dm_fail(w->err, DM_ERR_NONFINITE, "%s: tensor \"%.200s\": element %llu (%g) is not finite as %s",
                               w->path, t->name, (unsigned long long)(done + i), (double)x, dm_dtype_name(t->type));
            for (size_t b = 0; b < size; b++)
                bytes[i * size + b] = (unsigned char)(bits >> 8 * b);
        }
        const dm_status st = write_all(w, bytes, n * size);
        if (st != DM_OK)
            return st;
        done += n;
    }
    return DM_OK;
}

static dm_status write_content(writer *w, const dm_text *header, const dm_st_out *tensors, size_t n)
{
    dm_status st = write_all(w, header->data, header->size);

    for (int pass = 0; pass < 2; pass++) /* the order of place() */
        for (size_t i = 0; i < n && st == DM_OK; i++)
            if ((tensors[i].type == DM_F32) == (pass == 0))
                st = write_tensor(w, &tensors[i]);
    return st;
}

/* Creates `temporary`, fills it, and renames it over w->path. A failure leaves neither. */
static dm_status write_file(writer *w, const char *temporary, const dm_text *header, const dm_st_out *tensors, size_t n)
{
    w->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0)
        return dm_fail(w->err, DM_ERR_FILE, "%s: cannot create %s: %s", w->path, temporary, strerror(errno));
    dm_status st = write_content(w, header, tensors, n);
    if (st == DM_OK && fsync(w->fd) != 0)
        st = dm_fail(w->err, DM_ERR_FILE, "%s: cannot write: %s", w->path, strerror(errno));
    if (close(w->fd) != 0 && st == DM_OK)
        st = dm_fail(w->err, DM_ERR_FILE, "%s: cannot write: %s", w->path, strerror(errno));
    if (st == DM_OK)
        st = dm_rename_durable(temporary, w->path, w->err);
    if (st != DM_OK)
        unlink(temporary);
    return st;
}

dm_status dm_st_write(const char *path, const dm_st_out *tensors, size_t n, const char *const (*metadata)[2],
                      size_t n_metadata, char hex[DM_SHA256_HEX], dm_error *err)
{
    writer w = {.path = path, .err = err};
    dm_text header = {0}, temporary = {0};
    uint64_t *begin = n < SIZE_MAX / sizeof *begin ? malloc((n + 1) * sizeof *begin) : NULL;
    dm_status st;

    dm_sha256_init(&w.hash);
    dm_text_print(&temporary, "%s.tmp-%ld", path, (long)getpid());
    if (!begin) {
        st = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for a header of %zu tensors", path, n);
    } else if ((st = place(path, tensors, n, begin, err)) == DM_OK) {
        make_header(&header, tensors, n, begin, metadata, n_metadata);
        st = header.failed || temporary.failed
                 ? dm_fail(err, DM_ERR_MEMORY, "%s: no memory for a header of %zu tensors", path, n)
                 : write_file(&w, temporary.data, &header, tensors, n);
    }
    if (st == DM_OK && hex)
        dm_sha256_finish(&w.hash, hex);
    free(begin);
    dm_text_free(&header);
    dm_text_free(&temporary);
    return st;
}
