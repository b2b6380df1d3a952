/* A model in a GGUF file: its tensors under Hugging Face's names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/formats/gguf_names.h"
#include "model/formats/source_internal.h"

static const char by[] = "its metadata";

static dm_source_found found_of(const dm_gguf *g, const dm_gguf_tensor *t)
{
    dm_source_found f = {.name = t->name, .path = dm_gguf_path(g), .dims = t->dims};

    for (unsigned i = 0; i < t->dims; i++)
        f.shape[i] = t->shape[t->dims - 1 - i]; /* GGUF has the row length first */
    return f;
}

static bool is_weight(dm_dtype type)
{
    return type == DM_F32 || type == DM_F16 || type == DM_BF16 || (type >= DM_DTYPE_PLAIN && type < DM_DTYPE_COUNT);
}

static dm_status check_type(const dm_gguf *g, const dm_gguf_tensor *t, dm_error *err)
{
    if (is_weight(t->type))
        return DM_OK;
    return dm_fail(err, DM_ERR_UNSUPPORTED,
                   "%s: tensor \"%s\": %s%s is not supported; F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, "
                   "Q3_K, Q4_K, Q5_K and Q6_K are",
                   dm_gguf_path(g), t->name, strncmp(t->type_name, "type ", 5) == 0 ? "" : "type ", t->type_name);
}

/* Every tensor there with its shape and a type that is read, no other. */
static dm_status match(dm_source *s, bool *used, dm_error *err)
{
    const dm_gguf *g = s->gguf;
    dm_status status;

    for (size_t i = 0; i < s->layout.n; i++) {
        const dm_tensor *t = &s->layout.tensors[i];
        char name[DM_TENSOR_NAME];
        dm_gguf_name(name, &s->config, t->name);
        const dm_gguf_tensor *found = dm_gguf_find(g, name);
        const dm_source_found f = found ? found_of(g, found) : (dm_source_found){0};
        if ((status = dm_source_check_shape(t, name, found ? &f : NULL, s->path, by, err)) != DM_OK || !found ||
            (status = check_type(g, found, err)) != DM_OK)
            return status;
        used[found - dm_gguf_at(g, 0)] = true;
        s->tensors[i] = (dm_source_tensor){.type = found->type,
                                           .heads = dm_gguf_paired_heads(&s->config, t->name),
                                           .shift = dm_gguf_is_offset(&s->config, t) ? -1.0f : 0,
                                           .in = found->in,
                                           .offset = found->offset};
        if (t->dims == 1 && found->type >= DM_DTYPE_PLAIN)
            return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: tensor \"%s\": a vector of type %s is not supported",
                           dm_gguf_path(g), name, found->type_name);
    }
    for (size_t i = 0; i < dm_gguf_count(g); i++) {
        const dm_source_found f = found_of(g, dm_gguf_at(g, i));
        if (!used[i] && strcmp(f.name, DM_GGUF_ROPE_FACTORS) != 0)
            return dm_source_fail_extra(&f, &s->config, by, err);
    }
    return DM_OK;
}

dm_status dm_source_open_gguf(dm_source *s, dm_error *err)
{
    dm_status status;

    if ((status = dm_gguf_open_whole(&s->gguf, s->path, err)) != DM_OK ||
        (status = dm_source_gguf_config(&s->config, s->gguf, err)) != DM_OK ||
        (status = dm_param_layout_build(&s->layout, &s->config, err)) != DM_OK)
        return status;
    bool *used = calloc(dm_gguf_count(s->gguf) + 1, sizeof *used);
    s->tensors = calloc(s->layout.n, sizeof *s->tensors);
    status = used && s->tensors ? match(s, used, err)
                                : dm_fail(err, DM_ERR_MEMORY, "%s: no memory for the list of tensors", s->path);
    free(used);
    return status;
}
