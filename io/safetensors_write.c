/* Writing: header, then data through a small buffer. */
#include <stdlib.h>
#include <string.h>

#include "core/files/output.h"
#include "io/json.h"
#include "io/safetensors.h"

enum { CHUNK = 4096 }; /* elements converted at a time */

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

typedef struct writer {
    dm_output *out;
    const dm_st_out *tensors;
    size_t n;
    dm_tensor_read read; /* NULL: every tensor has its data */
    void *context;
    float *room; /* for the largest tensor that is read */
} writer;

static dm_status write_tensor(const writer *w, size_t index, dm_error *err)
{
    unsigned char bytes[CHUNK * 4];
    const dm_st_out *t = &w->tensors[index];
    const float *data = t->data;
    uint64_t count = 0;
    dm_status st;

    count_elements(t, &count);
    if (w->read) {
        if ((st = w->read(w->context, index, w->room, err)) != DM_OK)
            return st;
        data = w->room;
    }
    for (uint64_t done = 0; done < count;) {
        const size_t n = count - done < CHUNK ? (size_t)(count - done) : CHUNK;
        const size_t good = dm_narrow(t->type, data + done, n, bytes);
        if (good < n)
            return dm_fail(err, DM_ERR_NONFINITE, "%s: tensor \"%.200s\": element %llu (%g) is not finite as %s",
                           w->out->path, t->name, (unsigned long long)(done + good), (double)data[done + good],
                           dm_dtype_name(t->type));
        if ((st = dm_output_add(w->out, bytes, (size_t)dm_dtype_bytes(t->type, n), err)) != DM_OK)
            return st;
        done += n;
    }
    return DM_OK;
}

static dm_status write_content(const writer *w, const dm_text *header, dm_error *err)
{
    dm_status st = dm_output_add(w->out, header->data, header->size, err);

    for (int pass = 0; pass < 2; pass++) /* the order of place() */
        for (size_t i = 0; i < w->n && st == DM_OK; i++)
            if ((w->tensors[i].type == DM_F32) == (pass == 0))
                st = write_tensor(w, i, err);
    return st;
}

/* Room for the largest tensor. */
static dm_status make_room(writer *w, const char *path, dm_error *err)
{
    uint64_t most = 0, count = 0;

    for (size_t i = 0; w->read && i < w->n; i++)
        if (count_elements(&w->tensors[i], &count) && count > most)
            most = count;
    w->room = most < SIZE_MAX / sizeof(float) - 1 ? malloc(((size_t)most + 1) * sizeof(float)) : NULL;
    return w->room ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its largest tensor", path);
}

dm_status dm_st_write_from(const char *path, const dm_st_out *tensors, size_t n, const char *const (*metadata)[2],
                           size_t n_metadata, dm_tensor_read read, void *context, char hex[DM_SHA256_HEX],
                           dm_error *err)
{
    dm_output out = {0};
    writer w = {&out, tensors, n, read, context, NULL};
    dm_text header = {0};
    uint64_t *begin = n < SIZE_MAX / sizeof *begin ? malloc((n + 1) * sizeof *begin) : NULL;
    dm_status st;

    if (!begin) {
        st = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for a header of %zu tensors", path, n);
    } else if ((st = place(path, tensors, n, begin, err)) == DM_OK) {
        make_header(&header, tensors, n, begin, metadata, n_metadata);
        st = header.failed ? dm_fail(err, DM_ERR_MEMORY, "%s: no memory for a header of %zu tensors", path, n)
                           : make_room(&w, path, err);
        if (st == DM_OK && (st = dm_output_open(&out, path, err)) == DM_OK)
            st = dm_output_close(&out, write_content(&w, &header, err), hex, err);
    }
    free(begin);
    free(w.room);
    dm_text_free(&header);
    return st;
}

dm_status dm_st_write(const char *path, const dm_st_out *tensors, size_t n, const char *const (*metadata)[2],
                      size_t n_metadata, char hex[DM_SHA256_HEX], dm_error *err)
{
    return dm_st_write_from(path, tensors, n, metadata, n_metadata, NULL, NULL, hex, err);
}
