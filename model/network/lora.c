/* An adapter's tensors, and what it adds to a projection, forward and backward. */
#include "model/network/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/numeric.h"
#include "core/numbers/philox.h"
#include "model/network/layer.h"
#include "model/network/ops.h"

#define ROW(name, path)                                                                                                \
    {                                                                                                                  \
        name, name "_proj", path, path ".lora_A.out", path ".lora_A.out.grad"                                          \
    }
static const struct {
    const char *name, *module, *path, *lowered, *lowered_grad;
} projections[DM_PROJECTIONS] = {
    [DM_PROJECTION_Q] = ROW("q", "self_attn.q_proj"),    [DM_PROJECTION_K] = ROW("k", "self_attn.k_proj"),
    [DM_PROJECTION_V] = ROW("v", "self_attn.v_proj"),    [DM_PROJECTION_O] = ROW("o", "self_attn.o_proj"),
    [DM_PROJECTION_GATE] = ROW("gate", "mlp.gate_proj"), [DM_PROJECTION_UP] = ROW("up", "mlp.up_proj"),
    [DM_PROJECTION_DOWN] = ROW("down", "mlp.down_proj"),
};

const char *dm_projection_name(dm_projection p)
{
    return projections[p].name;
}

const char *dm_projection_module(dm_projection p)
{
    return projections[p].module;
}

static const dm_tensor *add(dm_param_layout *l, size_t layer, dm_projection p, const char *which, size_t rows,
                            size_t cols)
{
    dm_tensor *t = &l->tensors[l->n++];

    *t = (dm_tensor){.type = DM_F32, .rows = rows, .cols = cols, .dims = 2};
    snprintf(t->name, sizeof t->name, "base_model.model.model.layers.%zu.%s.%s.weight", layer, projections[p].path,
             which);
    return t;
}

/* [rows, cols] of a projection's weight */
static void shape_of(const dm_config *c, dm_projection p, size_t *rows, size_t *cols)
{
    const size_t d = c->hidden, f = c->intermediate;
    const size_t hq = (size_t)c->heads * c->head_dim, hk = (size_t)c->kv_heads * c->head_dim;

    *rows = p == DM_PROJECTION_Q                               ? hq
            : p == DM_PROJECTION_K || p == DM_PROJECTION_V     ? hk
            : p == DM_PROJECTION_GATE || p == DM_PROJECTION_UP ? f
                                                               : d;
    *cols = p == DM_PROJECTION_O ? hq : p == DM_PROJECTION_DOWN ? f : d;
}

dm_status dm_lora_build(dm_lora *out, const dm_lora_options *o, const dm_config *c, dm_error *err)
{
    const double r = (double)o->rank;
    size_t rows, cols;

    *out = (dm_lora){.o = *o, .exact_scale = o->alpha / (o->stabilised ? sqrt(r) : r)};
    out->scale = (float)out->exact_scale;
    out->layout.tensors = calloc((size_t)2 * DM_PROJECTIONS * c->layers, sizeof *out->layout.tensors);
    out->pairs = calloc(c->layers, sizeof *out->pairs);
    if (!out->layout.tensors || !out->pairs) {
        dm_lora_free(out);
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the adapter's table of tensors");
    }
    for (size_t l = 0; l < c->layers; l++)
        for (dm_projection p = DM_PROJECTION_Q; p < DM_PROJECTIONS; p++) {
            shape_of(c, p, &rows, &cols);
            if (o->targets >> p & 1)
                out->pairs[l][p] = (dm_lora_pair){add(&out->layout, l, p, "lora_A", o->rank, cols),
                                                  add(&out->layout, l, p, "lora_B", rows, o->rank)};
        }
    dm_param_layout_place(&out->layout);
    return DM_OK;
}

void dm_lora_free(dm_lora *lora)
{
    dm_param_layout_free(&lora->layout);
    free(lora->pairs);
    memset(lora, 0, sizeof *lora);
}

void dm_lora_init(float *w, const dm_lora *lora, uint64_t seed)
{
    memset(w, 0, lora->layout.floats * sizeof *w);
    for (size_t i = 0; i < lora->layout.n; i += 2) { /* A, B, A, B, ... */
        const dm_tensor *t = &lora->layout.tensors[i];
        const double bound = 1.0 / sqrt((double)t->cols);
        for (size_t j = 0; j < t->rows * t->cols; j++)
            w[t->offset + j] = (float)((2.0 * dm_random_uniform(seed, DM_RNG_LORA, i, j) - 1.0) * bound);
    }
}

/* ---- in the network ---- */

/* n->low [rows, r] = (x A^T) * s */
static void lower(dm_network *n, const dm_tensor *a, const float *x, size_t rows)
{
    dm_gemm(n->e, n->size.precision, rows, a->rows, a->cols, (dm_gemm_operand){x, a->cols, 1},
            (dm_gemm_operand){n->adapter + a->offset, 1, a->cols}, n->low, a->rows, DM_GEMM_SET);
    dm_op_scale(n->e, n->low, n->lora->scale, rows * a->rows);
}

void dm_lora_forward(dm_network *n, size_t layer, dm_projection p, const float *x, float *y, size_t rows)
{
    const dm_lora_pair *t = &n->lora->pairs[layer][p];

    if (!t->a)
        return;
    lower(n, t->a, x, rows);
    dm_tap_put(n->tap, (int)layer, projections[p].lowered, n->low, rows, t->a->rows);
    dm_gemm(n->e, n->size.precision, rows, t->b->rows, t->b->cols, (dm_gemm_operand){n->low, t->b->cols, 1},
            (dm_gemm_operand){n->adapter + t->b->offset, 1, t->b->cols}, y, t->b->rows, DM_GEMM_ADD);
}

void dm_lora_backward(dm_network *n, float *dw, size_t layer, dm_projection p, const float *dy, const float *x,
                      float *dx, size_t rows)
{
    const dm_lora_pair *t = &n->lora->pairs[layer][p];

    if (!t->a)
        return;
    const size_t r = t->a->rows, in = t->a->cols, out = t->b->rows;
    lower(n, t->a, x, rows);
    dm_gemm(n->e, n->size.precision, out, r, rows, (dm_gemm_operand){dy, 1, out}, (dm_gemm_operand){n->low, r, 1},
            dw + t->b->offset, r, DM_GEMM_ADD);
    dm_gemm(n->e, n->size.precision, rows, r, out, (dm_gemm_operand){dy, out, 1},
            (dm_gemm_operand){n->adapter + t->b->offset, r, 1}, n->low, r, DM_GEMM_SET);
    dm_op_scale(n->e, n->low, n->lora->scale, rows * r);
    dm_tap_put(n->tap, (int)layer, projections[p].lowered_grad, n->low, rows, r);
    dm_gemm(n->e, n->size.precision, r, in, rows, (dm_gemm_operand){n->low, 1, r}, (dm_gemm_operand){x, in, 1},
            dw + t->a->offset, in, DM_GEMM_ADD);
    if (dx)
        dm_gemm(n->e, n->size.precision, rows, in, r, (dm_gemm_operand){n->low, r, 1},
                (dm_gemm_operand){n->adapter + t->a->offset, in, 1}, dx, in, DM_GEMM_ADD);
}
