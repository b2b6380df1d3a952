#include "model/formats/merge.h"

#include <stdlib.h>
#include <string.h>

#include "core/numeric.h"
#include "model/formats/adapter.h"
#include "model/network/ops.h"

dm_status dm_adapter_merge_open(dm_adapter_merge *m, const dm_engine *e, const char *path, dm_error *err)
{
    size_t most = 0;
    dm_status s;

    *m = (dm_adapter_merge){.e = e};
    if ((s = dm_loaded_model_open(&m->origin, path, err)) != DM_OK)
        return s;
    const dm_layout *l = &m->origin.lora.layout;
    if (!l->n)
        return dm_fail(err, DM_ERR_ARGUMENT, "%s: is no adapter, there is nothing to merge; leave `merge` out", path);
    for (size_t i = 0; i < l->n; i++)
        most = l->tensors[i].rows * l->tensors[i].cols > most ? l->tensors[i].rows * l->tensors[i].cols : most;
    m->origin.adapter = malloc(l->floats * sizeof(float));
    m->scaled = malloc(most * sizeof(float));
    if (!m->origin.adapter || !m->scaled)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory for the adapter", path);
    return dm_loaded_model_read_adapter(&m->origin, err);
}

void dm_adapter_merge_close(dm_adapter_merge *m)
{
    free(m->origin.adapter);
    free(m->scaled);
    dm_loaded_model_close(&m->origin);
    memset(m, 0, sizeof *m);
}

/* The adapter of a tensor by its name in the base: "base_model.model." + module + ".lora_A.weight". */
static const dm_lora_pair *pair_of(const dm_adapter_merge *m, const char *name)
{
    static const char before[] = "base_model.model.", after[] = ".lora_A.weight", weight[] = ".weight";
    const dm_config *c = dm_source_config(m->origin.source);
    const size_t n = strlen(name), module = n > strlen(weight) ? n - strlen(weight) : 0;

    for (size_t l = 0; l < c->layers; l++)
        for (dm_projection p = DM_Q; p < DM_PROJECTIONS; p++) {
            const dm_tensor *a = m->origin.lora.pair[l][p].a;
            if (a && strlen(a->name) == strlen(before) + module + strlen(after) &&
                memcmp(a->name + strlen(before), name, module) == 0)
                return &m->origin.lora.pair[l][p];
        }
    return NULL;
}

static dm_status read_merged(void *context, const char *name, float *out, dm_error *err)
{
    dm_adapter_merge *m = context;
    const dm_lora_pair *t = pair_of(m, name);
    const dm_status s = dm_source_read_f32(m->origin.source, name, out, err);

    if (s != DM_OK || !t)
        return s;
    const float *a = m->origin.adapter + t->a->offset, *b = m->origin.adapter + t->b->offset;
    const size_t rows = t->b->rows, rank = t->b->cols, cols = t->a->cols;
    memcpy(m->scaled, b, rows * rank * sizeof *b);
    dm_op_scale(m->e, m->scaled, m->origin.lora.scale, rows * rank);
    dm_gemm(m->e, rows, cols, rank, (dm_mat){m->scaled, rank, 1}, (dm_mat){a, cols, 1}, out, cols, DM_GEMM_ADD);
    return DM_OK;
}

dm_weights_from dm_weights_merged(dm_adapter_merge *m)
{
    return (dm_weights_from){read_merged, m};
}
