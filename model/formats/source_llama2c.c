/* A model in a llama2.c file: f32 tensors one after the other. */
#include <stdlib.h>

#include "model/formats/gguf_names.h"
#include "model/formats/llama2c.h"
#include "model/formats/source_internal.h"

/* Bytes of one part; the tables of angles can be larger than any tensor. */
static uint64_t bytes_of(const dm_source *s, size_t part)
{
    if (part == DM_LLAMA2C_ANGLES)
        return (uint64_t)s->config.max_positions * s->config.head_dim * 4; /* below 2^31 * 2^31 * 4 = 2^64 */
    return (uint64_t)s->layout.tensors[part].rows * s->layout.tensors[part].cols * 4;
}

static dm_status place(dm_source *s, const size_t *order, size_t n, size_t begin, dm_error *err)
{
    uint64_t at = begin;

    for (size_t i = 0; i < n; i++) {
        const uint64_t bytes = bytes_of(s, order[i]);
        if (bytes > s->in.size - at)
            return dm_fail(err, DM_ERR_INPUT, "%s: has %llu bytes, by its llama2.c header there must be more", s->path,
                           (unsigned long long)s->in.size);
        if (order[i] != DM_LLAMA2C_ANGLES)
            s->tensors[order[i]] =
                (dm_source_tensor){.type = DM_F32,
                                   .heads = dm_gguf_paired_heads(&s->config, s->layout.tensors[order[i]].name),
                                   .offset = at};
        at += bytes;
    }
    if (at != s->in.size)
        return dm_fail(err, DM_ERR_INPUT, "%s: has %llu bytes, by its llama2.c header there must be %llu", s->path,
                       (unsigned long long)s->in.size, (unsigned long long)at);
    return DM_OK;
}

dm_status dm_source_open_llama2c(dm_source *s, bool *known, dm_error *err)
{
    size_t begin;
    int version;
    unsigned char head[DM_LLAMA2C_HEADER];
    size_t size;
    dm_status status = dm_llama2c_head(&s->in, head, &size, s->path, err);

    *known = true;
    if (status != DM_OK ||
        (status = dm_llama2c_header(&s->config, &version, &begin, known, head, size, s->path, err)) != DM_OK ||
        !*known || (status = dm_param_layout_build(&s->layout, &s->config, err)) != DM_OK)
        return status;
    size_t *order = calloc(s->layout.n + 1, sizeof *order);
    s->tensors = calloc(s->layout.n, sizeof *s->tensors);
    if (order && s->tensors)
        status = place(s, order, dm_llama2c_order(order, &s->layout, &s->config, version), begin, err);
    else
        status = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for the list of tensors", s->path);
    free(order);
    return status;
}
