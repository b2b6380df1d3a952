#include "core/numeric.h"
#include "model/layer.h"
#include "model/ops.h"
#include "simd/attention.h"
#include "simd/gemm.h"

/* dx [rows, in] (+)= dy [rows, out] * w [out, in] */
static void data_gradient(const dm_engine *e, float *dx, const float *dy, const float *w, size_t rows, size_t out,
                          size_t in, dm_gemm_mode mode)
{
    dm_gemm(e, rows, in, out, (dm_mat){dy, out, 1}, (dm_mat){w, in, 1}, dx, in, mode);
}

/* dw [out, in] += dy [rows, out]^T * x [rows, in] */
static void weight_gradient(const dm_engine *e, float *dw, const float *dy, const float *x, size_t rows, size_t out,
                            size_t in)
{
    dm_gemm(e, out, in, rows, (dm_mat){dy, 1, out}, (dm_mat){x, in, 1}, dw, in, DM_GEMM_ADD);
}

/* dx: dL/dout on entry, dL/dmid on return. */
static void ffn_backward(dm_network *n, const float *w, float *dw, const dm_layer_offsets *o, const dm_acts *a,
                         float *dx, size_t rows)
{
    const dm_engine *e = n->e;
    const size_t d = n->c->hidden, f = n->c->intermediate;

    dm_op_swiglu(e, n->ffn, a->gate, a->up, rows * f);
    weight_gradient(e, dw + o->down, dx, n->ffn, rows, d, f);
    data_gradient(e, n->dffn, dx, w + o->down, rows, d, f, DM_GEMM_SET);
    dm_op_swiglu_backward(e, a->gate, a->up, n->dffn, rows * f);

    dm_op_rmsnorm(e, n->norm, NULL, a->mid, w + o->post_norm, rows, d, (float)n->c->eps);
    weight_gradient(e, dw + o->gate, a->gate, n->norm, rows, f, d);
    weight_gradient(e, dw + o->up, a->up, n->norm, rows, f, d);
    data_gradient(e, n->delta, a->gate, w + o->gate, rows, f, d, DM_GEMM_SET);
    data_gradient(e, n->delta, a->up, w + o->up, rows, f, d, DM_GEMM_ADD);
    dm_op_rmsnorm_backward(e, dx, dw + o->post_norm, n->delta, a->mid, w + o->post_norm, a->inv2, rows, d, 1);
}

/* dy is the gradient of the rotated, normed queries (or keys); in place it becomes that of the projection. */
static void queries_backward(dm_network *n, const float *w, float *dw, float *dy, const float *raw, const float *inv,
                             size_t norm, size_t heads, const dm_rows *r)
{
    dm_op_rope(n->e, dy, n->cos, n->sin, r->position, r->rows, heads, n->c->head_dim, 1);
    if (norm != DM_NO_TENSOR)
        dm_op_rmsnorm_backward(n->e, dy, dw + norm, dy, raw, w + norm, inv, r->rows * heads, n->c->head_dim, 0);
}

/* From dL/dmid: n->datt, and the residual path's share of n->dx. */
static void output_backward(dm_network *n, const float *w, float *dw, size_t layer, const dm_rows *r)
{
    const dm_engine *e = n->e;
    const dm_layer_offsets *o = &n->layout->layer[layer];
    const size_t rows = r->rows, d = n->c->hidden, hq = (size_t)n->c->heads * n->c->head_dim;

    if (!dm_layer_is_narrow(n, layer, r)) {
        weight_gradient(e, dw + o->o, n->dx, n->acts[layer].att, rows, d, hq);
        data_gradient(e, n->datt, n->dx, w + o->o, rows, d, hq, DM_GEMM_SET);
        return;
    }
    weight_gradient(e, dw + o->o, n->dout, n->narrow, r->n_wanted, d, hq);
    data_gradient(e, n->dq, n->dout, w + o->o, r->n_wanted, d, hq, DM_GEMM_SET); /* dq: not in use yet */
    dm_op_zero(e, n->datt, rows * hq);
    dm_op_zero(e, n->dx, rows * d);
    dm_op_scatter_add(e, n->datt, n->dq, r->wanted, r->n_wanted, hq);
    dm_op_scatter_add(e, n->dx, n->dout, r->wanted, r->n_wanted, d);
}

static void attention_backward(dm_network *n, const float *w, float *dw, size_t layer, const dm_rows *r)
{
    const dm_engine *e = n->e;
    const dm_config *c = n->c;
    const dm_layer_offsets *o = &n->layout->layer[layer];
    const dm_acts *a = &n->acts[layer];
    const size_t rows = r->rows, d = c->hidden;
    const size_t hq = (size_t)c->heads * c->head_dim, hk = (size_t)c->kv_heads * c->head_dim;

    output_backward(n, w, dw, layer, r);
    const dm_attention attention = {
        .heads = c->heads,
        .kv_heads = c->kv_heads,
        .head_dim = c->head_dim,
        .window = c->windowed[layer] ? c->window : 0,
        .segments = r->segments,
        .n_segments = r->n_segments,
        .q_base = 0,
        .q = a->q,
        .k = a->k,
        .v = a->v,
    };
    dm_attention_backward(e, &attention, n->datt, n->dq, n->dk, n->dv, n->attention);
    queries_backward(n, w, dw, n->dq, a->q_raw, a->q_inv, o->q_norm, c->heads, r);
    queries_backward(n, w, dw, n->dk, a->k_raw, a->k_inv, o->k_norm, c->kv_heads, r);

    dm_op_rmsnorm(e, n->norm, NULL, a->x, w + o->input_norm, rows, d, (float)c->eps);
    weight_gradient(e, dw + o->q, n->dq, n->norm, rows, hq, d);
    weight_gradient(e, dw + o->k, n->dk, n->norm, rows, hk, d);
    weight_gradient(e, dw + o->v, n->dv, n->norm, rows, hk, d);
    if (c->qkv_bias) {
        dm_op_bias_backward(e, dw + o->q_bias, n->dq, rows, hq);
        dm_op_bias_backward(e, dw + o->k_bias, n->dk, rows, hk);
        dm_op_bias_backward(e, dw + o->v_bias, n->dv, rows, hk);
    }
    data_gradient(e, n->delta, n->dq, w + o->q, rows, hq, d, DM_GEMM_SET);
    data_gradient(e, n->delta, n->dk, w + o->k, rows, hk, d, DM_GEMM_ADD);
    data_gradient(e, n->delta, n->dv, w + o->v, rows, hk, d, DM_GEMM_ADD);
    dm_op_rmsnorm_backward(e, n->dx, dw + o->input_norm, n->delta, a->x, w + o->input_norm, a->inv1, rows, d, 1);
}

void dm_layer_backward(dm_network *n, const float *w, float *dw, size_t layer, const dm_rows *r)
{
    const int narrow = dm_layer_is_narrow(n, layer, r);

    ffn_backward(n, w, dw, &n->layout->layer[layer], &n->acts[layer], narrow ? n->dout : n->dx,
                 narrow ? r->n_wanted : r->rows);
    attention_backward(n, w, dw, layer, r);
}

void dm_network_backward(dm_network *n, const float *w, float *dw, const dm_rows *r)
{
    for (size_t l = n->c->layers; l-- > 0;) {
        if (l + 1 < n->size.recompute) /* those of the last one that shares its activations are still there */
            dm_layer_forward(n, w, l, r, NULL);
        dm_layer_backward(n, w, dw, l, r);
    }
    dm_op_scatter_add(n->e, dw + n->layout->embed, n->dx, r->ids, r->rows, n->c->hidden);
}
