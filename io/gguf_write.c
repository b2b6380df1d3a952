#include "io/gguf_write.h"

#include <stdlib.h>
#include <string.h>

#include "core/files/output.h"
#include "io/gguf_internal.h"
#include "io/gguf_types.h"
#include "core/numbers/half.h"

enum { ALIGNMENT = 32, CHUNK = 4096 }; /* elements converted at a time: whole blocks */

/* ---- metadata ---- */

static void put(dm_text *t, uint64_t x, size_t size)
{
    char bytes[8];

    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(unsigned char)(x >> 8 * i);
    dm_text_add(t, bytes, size);
}

static void put_string(dm_text *t, const char *text, size_t size)
{
    put(t, size, 8);
    dm_text_add(t, text, size);
}

static void begin(dm_gguf_meta *m, const char *key, uint32_t kind)
{
    put_string(&m->bytes, key, strlen(key));
    put(&m->bytes, kind, 4);
    m->n++;
}

static void begin_array(dm_gguf_meta *m, const char *key, uint32_t element, size_t n)
{
    begin(m, key, DM_GGUF_ARRAY);
    put(&m->bytes, element, 4);
    put(&m->bytes, n, 8);
}

void dm_gguf_meta_free(dm_gguf_meta *m)
{
    dm_text_free(&m->bytes);
}

void dm_gguf_put_u32(dm_gguf_meta *m, const char *key, uint32_t x)
{
    begin(m, key, DM_GGUF_U32);
    put(&m->bytes, x, 4);
}

void dm_gguf_put_f32(dm_gguf_meta *m, const char *key, float x)
{
    begin(m, key, DM_GGUF_F32);
    put(&m->bytes, dm_f32_bits(x), 4);
}

void dm_gguf_put_bool(dm_gguf_meta *m, const char *key, bool x)
{
    begin(m, key, DM_GGUF_BOOL);
    put(&m->bytes, x, 1);
}

void dm_gguf_put_string(dm_gguf_meta *m, const char *key, const char *text, size_t size)
{
    begin(m, key, DM_GGUF_STRING);
    put_string(&m->bytes, text, size);
}

void dm_gguf_put_i32s(dm_gguf_meta *m, const char *key, const int32_t *x, size_t n)
{
    begin_array(m, key, DM_GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        put(&m->bytes, (uint32_t)x[i], 4);
}

void dm_gguf_put_f32s(dm_gguf_meta *m, const char *key, const float *x, size_t n)
{
    begin_array(m, key, DM_GGUF_F32, n);
    for (size_t i = 0; i < n; i++)
        put(&m->bytes, dm_f32_bits(x[i]), 4);
}

void dm_gguf_put_texts(dm_gguf_meta *m, const char *key, size_t n)
{
    begin_array(m, key, DM_GGUF_STRING, n);
}

void dm_gguf_put_text(dm_gguf_meta *m, const char *text, size_t size)
{
    put_string(&m->bytes, text, size);
}

static void copy_pair(dm_gguf_meta *m, const dm_gguf *g, const dm_gguf_pair *p)
{
    begin(m, g->text.data + p->key, p->kind);
    dm_text_add(&m->bytes, (const char *)g->head + p->begin, p->end - p->begin);
}

void dm_gguf_put_from(dm_gguf_meta *m, const dm_gguf *g, const char *prefix)
{
    for (size_t i = 0; i < g->n_pairs; i++)
        if (strncmp(g->text.data + g->pairs[i].key, prefix, strlen(prefix)) == 0)
            copy_pair(m, g, &g->pairs[i]);
}

void dm_gguf_put_pair(dm_gguf_meta *m, const dm_gguf *g, const char *key)
{
    for (size_t i = 0; i < g->n_pairs; i++)
        if (strcmp(g->text.data + g->pairs[i].key, key) == 0)
            copy_pair(m, g, &g->pairs[i]);
}

/* ---- the file ---- */

typedef struct writer {
    dm_output out;
    const dm_gguf_out *tensors;
    size_t n;
    dm_tensor_read read;
    void *context;
    dm_error *err;
} writer;

static size_t elements(const dm_gguf_out *t)
{
    return (size_t)(t->shape[0] * (t->dims == 2 ? t->shape[1] : 1));
}

static size_t padding(uint64_t size)
{
    return (size_t)((ALIGNMENT - size % ALIGNMENT) % ALIGNMENT);
}

static void make_header(dm_text *h, const writer *w, const dm_gguf_meta *m)
{
    uint64_t offset = 0;

    dm_text_add(h, "GGUF", 4);
    put(h, 3, 4);
    put(h, w->n, 8);
    put(h, m->n, 8);
    dm_text_add(h, m->bytes.data ? m->bytes.data : "", m->bytes.size);
    for (size_t i = 0; i < w->n; i++) {
        const dm_gguf_out *t = &w->tensors[i];
        const uint64_t size = dm_dtype_bytes(t->type, elements(t));
        put_string(h, t->name, strlen(t->name));
        put(h, t->dims, 4);
        for (unsigned d = 0; d < t->dims; d++)
            put(h, t->shape[d], 8);
        put(h, dm_gguf_type_number(t->type), 4);
        put(h, offset, 8);
        offset += size + padding(size);
    }
    while (!h->failed && padding(h->size))
        dm_text_add(h, "", 1);
}

static dm_status write_tensor(writer *w, size_t index, float *room)
{
    unsigned char bytes[CHUNK * 4] = {0};
    const dm_gguf_out *t = &w->tensors[index];
    const size_t count = elements(t);
    dm_status s = w->read(w->context, index, room, w->err);

    for (size_t done = 0; s == DM_OK && done < count;) {
        const size_t n = count - done < CHUNK ? count - done : CHUNK;
        const size_t good = dm_narrow(t->type, room + done, n, bytes);
        if (good < n)
            return dm_fail(w->err, DM_ERR_NONFINITE, "%s: tensor \"%s\": element %zu (%g) is not finite as %s",
                           w->out.path, t->name, done + good, (double)room[done + good], dm_dtype_name(t->type));
        s = dm_output_add(&w->out, bytes, (size_t)dm_dtype_bytes(t->type, n), w->err);
        done += n;
    }
    memset(bytes, 0, ALIGNMENT);
    return s == DM_OK ? dm_output_add(&w->out, bytes, padding(dm_dtype_bytes(t->type, count)), w->err) : s;
}

dm_status dm_gguf_write(const char *path, bool overwrite, const dm_gguf_meta *m, const dm_gguf_out *tensors, size_t n,
                        dm_tensor_read read, void *context, char hex[DM_SHA256_HEX], dm_error *err)
{
    writer w = {.tensors = tensors, .n = n, .read = read, .context = context, .err = err};
    dm_text header = {0};
    size_t most = 0;
    dm_status s;

    for (size_t i = 0; i < n; i++)
        if (elements(&tensors[i]) > most)
            most = elements(&tensors[i]);
    float *room = malloc((most + 1) * sizeof *room);
    make_header(&header, &w, m);
    if (!room || header.failed || m->bytes.failed) {
        s = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its header and its largest tensor", path);
    } else if ((s = dm_output_open_new(&w.out, path, overwrite, err)) == DM_OK) {
        s = dm_output_add(&w.out, header.data, header.size, err);
        dm_text_free(&header); /* a vocabulary is large */
        for (size_t i = 0; i < n && s == DM_OK; i++)
            s = write_tensor(&w, i, room);
        s = dm_output_close(&w.out, s, hex, err);
    }
    dm_text_free(&header);
    free(room);
    return s;
}
