#include "model/formats/merge.h"

#include <stdlib.h>
#include <string.h>

#include "core/numbers/numeric.h"
#include "model/formats/adapter.h"
#include "model/network/ops.h"

dm_status dm_adapter_merge_open(dm_adapter_merge *m, const dm_engine *e, const char *path, const char *base,
                                dm_error *err)
{
    size_t most = 0;
    dm_status s;

    *m = (dm_adapter_merge){.e = e};
    if ((s = dm_loaded_model_open(&m->loaded, path, base, err)) != DM_OK)
        return s;
    const dm_param_layout *l = &m->loaded.lora.layout;
    if (!l->n)
        return dm_fail(err, DM_ERR_ARGUMENT, "%s: is not an adapter, so there is nothing to merge; leave `merge` out",
                       path);
    for (size_t i = 0; i < l->n; i++)
        most = l->tensors[i].rows * l->tensors[i].cols > most ? l->tensors[i].rows * l->tensors[i].cols : most;
    m->loaded.adapter = malloc(l->floats * sizeof(float));
    m->scaled = malloc(most * sizeof(float));
    if (!m->loaded.adapter || !m->scaled)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory for the adapter", path);
    return dm_loaded_model_read_adapter(&m->loaded, err);
}

void dm_adapter_merge_close(dm_adapter_merge *m)
{
    free(m->loaded.adapter);
    free(m->scaled);
    dm_loaded_model_close(&m->loaded);
    memset(m, 0, sizeof *m);
}

/* The adapter of a tensor by its name in the base: "base_model.model." + module + ".lora_A.weight". */
static const dm_lora_pair *pair_of(const dm_adapter_merge *m, const char *name)
{
    static const char before[] = "base_model.model.", after[] = ".lora_A.weight", weight[] = ".weight";
    const dm_config *c = dm_source_config(m->loaded.source);
    const size_t n = strlen(name), module = n > strlen(weight) ? n - strlen(weight) : 0;

    for (size_t l = 0; l < c->layers; l++)
        for (dm_projection p = DM_PROJECTION_Q; p < DM_PROJECTIONS; p++) {
            const dm_tensor *a = m->loaded.lora.pairs[l][p].a;
            if (a && strlen(a->name) == strlen(before) + module + strlen(after) &&
                memcmp(a->name + strlen(before), name, module) == 0)
                return &m->loaded.lora.pairs[l][p];
        }
    return NULL;
}

static dm_status read_merged(void *context, const char *name, float *out, dm_error *err)
{
    dm_adapter_merge *m = context;
    const dm_lora_pair *t = pair_of(m, name);
    const dm_status s = dm_source_read_f32(m->loaded.source, name, out, err);

    if (s != DM_OK || !t)
        return s;
    const float *a = m->loaded.adapter + t->a->offset, *b = m->loaded.adapter + t->b->offset;
    const size_t rows = t->b->rows, rank = t->b->cols, cols = t->a->cols;
    memcpy(m->scaled, b, rows * rank * sizeof *b);
    dm_op_scale(m->e, m->scaled, m->loaded.lora.scale, rows * rank);
    dm_gemm(m->e, DM_PRECISION_F32, rows, cols, rank, (dm_gemm_operand){m->scaled, rank, 1},
            (dm_gemm_operand){a, cols, 1}, out, cols, DM_GEMM_ADD);
    return DM_OK;
}

dm_weight_reader dm_weight_reader_of_merge(dm_adapter_merge *m)
{
    return (dm_weight_reader){read_merged, m};
}
