#include "core/numbers/numeric.h"
#include "model/network/layer.h"
#include "model/network/ops.h"
#include "simd/attention.h"
#include "simd/gemm.h"

/* Of y [rows, out] = x [rows, in] W^T: the gradient of W (dW += dy^T x) or of its adapter, and dx (+)= dy W, unless dx
 * is NULL. */
static void project_backward(dm_network *n, const float *w, float *dw, size_t layer, dm_projection p, const float *dy,
                             const float *x, float *dx, dm_gemm_mode mode, size_t rows)
{
    const dm_tensor *t = n->layout->layers[layer].projection[p];
    float *gradient = dm_gradient_of(n, dw, t);

    if (gradient)
        dm_gemm(n->e, n->size.precision, t->rows, t->cols, rows, (dm_gemm_operand){dy, 1, t->rows},
                (dm_gemm_operand){x, t->cols, 1}, gradient, t->cols, DM_GEMM_ADD);
    if (dx)
        dm_weight_backward(n->e, n->size.precision, rows, dy, t->rows, dm_weight_of(w, t), dx, mode);
    if (n->adapter)
        dm_lora_backward(n, dw, layer, p, dy, x, dx, rows);
}

void dm_layer_norm_backward(dm_network *n, const float *w, float *dw, const dm_tensor *t, float *dx, const float *dy,
                            const float *x, const float *inv, size_t rows, bool add)
{
    dm_op_rmsnorm_backward(n->e, dx, dm_gradient_of(n, dw, t), dy, x, dm_norm_weights(n, w, t), inv, rows, t->cols,
                           add);
}

/* dx: dL/dout on prediction, dL/dmid on return. */
static void ffn_backward(dm_network *n, const float *w, float *dw, size_t layer, float *dx, size_t rows)
{
    const dm_engine *e = n->e;
    const dm_layer_activations *a = &n->acts[layer];
    const dm_layer_tensors *o = &n->layout->layers[layer];
    const size_t f = n->c->intermediate;
    const bool geglu = dm_config_is_gemma(n->c);
    const float *dy = dx;
    const int at = (int)layer;

    if (o->ffn_norm) {
        dm_layer_norm_backward(n, w, dw, o->ffn_norm, n->delta, dx, a->f_raw, a->f_inv, rows, false);
        dy = n->delta;
        dm_tap_put(n->tap, at, "mlp.down_proj.out.grad", dy, rows, n->c->hidden);
    }
    dm_op_glu(e, geglu, n->ffn, a->gate, a->up, rows * f);
    project_backward(n, w, dw, layer, DM_PROJECTION_DOWN, dy, n->ffn, n->dffn, DM_GEMM_SET, rows);
    dm_tap_put(n->tap, at, "mlp.act.out.grad", n->dffn, rows, f);
    dm_op_glu_backward(e, geglu, a->gate, a->up, n->dffn, rows * f);
    dm_tap_put(n->tap, at, "mlp.gate_proj.out.grad", a->gate, rows, f);
    dm_tap_put(n->tap, at, "mlp.up_proj.out.grad", a->up, rows, f);

    dm_layer_norm(n, w, o->post_norm, n->norm, NULL, a->mid, rows);
    project_backward(n, w, dw, layer, DM_PROJECTION_GATE, a->gate, n->norm, n->delta, DM_GEMM_SET, rows);
    project_backward(n, w, dw, layer, DM_PROJECTION_UP, a->up, n->norm, n->delta, DM_GEMM_ADD, rows);
    dm_tap_put(n->tap, at,
               o->attention_norm ? "pre_feedforward_layernorm.out.grad" : "post_attention_layernorm.out.grad", n->delta,
               rows, n->c->hidden);
    dm_layer_norm_backward(n, w, dw, o->post_norm, dx, n->delta, a->mid, a->inv2, rows, true);
    dm_tap_put(n->tap, at, "mid.grad", dx, rows, n->c->hidden);
}

/* dy is the gradient of the rotated, normed queries (or keys); in place it becomes that of the projection. */
static void queries_backward(dm_network *n, const float *w, float *dw, size_t layer, bool k, float *dy,
                             const float *raw, const float *inv, const dm_tensor *norm, const dm_network_rows *r)
{
    const size_t heads = k ? n->c->kv_heads : n->c->heads, width = heads * n->c->head_dim;
    const char *const projected = k ? "self_attn.k_proj.out.grad" : "self_attn.q_proj.out.grad";
    const char *const normed = k ? "self_attn.k_norm.out.grad" : "self_attn.q_norm.out.grad";
    const char *const turned = k ? "self_attn.k_rope.out.grad" : "self_attn.q_rope.out.grad";
    const float *cosine, *sine;

    if (dm_layer_rope(n, layer, &cosine, &sine)) {
        dm_tap_put(n->tap, (int)layer, turned, dy, r->rows, width);
        dm_op_rope(n->e, dy, cosine, sine, r->position, r->rows, heads, n->c->head_dim, true);
    }
    dm_tap_put(n->tap, (int)layer, norm ? normed : projected, dy, r->rows, width);
    if (norm) {
        dm_layer_norm_backward(n, w, dw, norm, dy, dy, raw, inv, r->rows * heads, false);
        dm_tap_put(n->tap, (int)layer, projected, dy, r->rows, width);
    }
}

/* From dL/dmid: n->datt, and the residual path's share of n->dx. */
static void output_backward(dm_network *n, const float *w, float *dw, size_t layer, const dm_network_rows *r)
{
    const dm_engine *e = n->e;
    const dm_layer_tensors *o = &n->layout->layers[layer];
    const dm_layer_activations *a = &n->acts[layer];
    const bool narrow = dm_layer_is_narrow(n, layer, r);
    const size_t rows = r->rows, d = n->c->hidden, hq = (size_t)n->c->heads * n->c->head_dim;
    const size_t late = narrow ? r->n_wanted : rows;
    const float *dmid = narrow ? n->dout : n->dx, *dy = dmid;

    if (o->attention_norm) {
        dm_layer_norm_backward(n, w, dw, o->attention_norm, n->delta, dmid, a->o_raw, a->o_inv, late, false);
        dy = n->delta;
        dm_tap_put(n->tap, (int)layer, "self_attn.o_proj.out.grad", dy, late, d);
    }
    if (o->bias[DM_PROJECTION_O] && !n->lora)
        dm_op_bias_backward(e, dm_gradient_of(n, dw, o->bias[DM_PROJECTION_O]), dy, late, d);
    if (!narrow) {
        if (a->att_bf16)
            dm_op_from_bf16(e, a->att, a->att_bf16, rows * hq);
        project_backward(n, w, dw, layer, DM_PROJECTION_O, dy, a->att, n->datt, DM_GEMM_SET, rows);
        dm_tap_put(n->tap, (int)layer, "self_attn.attn.out.grad", n->datt, rows, hq);
        return;
    }
    project_backward(n, w, dw, layer, DM_PROJECTION_O, dy, n->narrow, n->dq, DM_GEMM_SET, late); /* dq: a free place */
    dm_tap_put(n->tap, (int)layer, "self_attn.attn.rows.grad", n->dq, late, hq);
    dm_op_zero(e, n->datt, rows * hq);
    dm_op_zero(e, n->dx, rows * d);
    dm_op_scatter_add(e, n->datt, n->dq, r->wanted, r->n_wanted, hq);
    dm_op_scatter_add(e, n->dx, n->dout, r->wanted, r->n_wanted, d);
    dm_tap_put(n->tap, (int)layer, "self_attn.attn.out.grad", n->datt, rows, hq);
    dm_tap_put(n->tap, (int)layer, "residual.grad", n->dx, rows, d);
}

static void attention_backward(dm_network *n, const float *w, float *dw, size_t layer, const dm_network_rows *r)
{
    const dm_engine *e = n->e;
    const dm_config *c = n->c;
    const dm_layer_tensors *o = &n->layout->layers[layer];
    const dm_layer_activations *a = &n->acts[layer];
    const size_t rows = r->rows;
    float *const dy[] = {[DM_PROJECTION_Q] = n->dq, [DM_PROJECTION_K] = n->dk, [DM_PROJECTION_V] = n->dv};
    float *delta = n->lora && layer == 0 ? NULL : n->delta; /* no caller needs the embedding's gradient */

    output_backward(n, w, dw, layer, r);
    const dm_attention attention = dm_layer_attention(n, layer, r);
    dm_attention_backward(e, &attention, n->datt, n->dq, n->dk, n->dv, n->attention);
    dm_tap_put(n->tap, (int)layer, "self_attn.v_proj.out.grad", n->dv, rows, (size_t)c->kv_heads * c->head_dim);
    queries_backward(n, w, dw, layer, false, n->dq, a->q_raw, a->q_inv, o->q_norm, r);
    queries_backward(n, w, dw, layer, true, n->dk, a->k_raw, a->k_inv, o->k_norm, r);

    dm_layer_norm(n, w, o->input_norm, n->norm, NULL, a->x, rows);
    for (dm_projection p = DM_PROJECTION_Q; p <= DM_PROJECTION_V; p++) {
        project_backward(n, w, dw, layer, p, dy[p], n->norm, delta, p == DM_PROJECTION_Q ? DM_GEMM_SET : DM_GEMM_ADD,
                         rows);
        if (o->bias[p] && !n->lora)
            dm_op_bias_backward(e, dm_gradient_of(n, dw, o->bias[p]), dy[p], rows, o->bias[p]->cols);
    }
    if (!delta)
        return;
    dm_tap_put(n->tap, (int)layer, "input_layernorm.out.grad", delta, rows, c->hidden);
    dm_layer_norm_backward(n, w, dw, o->input_norm, n->dx, delta, a->x, a->inv1, rows, true);
    dm_tap_put(n->tap, layer ? (int)layer - 1 : DM_TAP_OUTSIDE, layer ? "out.grad" : "model.embed_tokens.out.grad",
               n->dx, rows, c->hidden);
}

void dm_layer_backward(dm_network *n, const float *w, float *dw, size_t layer, const dm_network_rows *r)
{
    const bool narrow = dm_layer_is_narrow(n, layer, r);

    ffn_backward(n, w, dw, layer, narrow ? n->dout : n->dx, narrow ? r->n_wanted : r->rows);
    attention_backward(n, w, dw, layer, r);
}

/* Activations were there. */
static void clear_gradients(const dm_network *n, size_t layer)
{
    const size_t begin = dm_param_layout_begin(n->layout, n->c->layers, layer);
    const size_t end = dm_param_layout_begin(n->layout, n->c->layers, layer + 1);

    dm_op_zero(n->e, n->late + (begin - n->split), end - begin);
}

void dm_network_backward(dm_network *n, const float *w, float *dw, const dm_network_rows *r)
{
    const dm_tap *tap = n->tap; /* of which nothing hears what is computed again */

    for (size_t l = n->c->layers; l-- > 0;) {
        if (l + 1 < n->size.recompute) { /* those of the last one that shares its activations are still there */
            n->tap = NULL;
            dm_layer_forward(n, w, l, r, NULL);
            n->tap = tap;
        }
        if (n->late)
            clear_gradients(n, l);
        dm_layer_backward(n, w, dw, l, r);
        if (n->layer_done)
            n->layer_done(n->layer_context, l);
    }
    if (!n->lora && dm_config_is_gemma(n->c))
        dm_op_scale(n->e, n->dx, dm_embedding_scale(n->c), r->rows * n->c->hidden);
    if (!n->lora)
        dm_op_scatter_add(n->e, dm_gradient_of(n, dw, n->layout->embed), n->dx, r->ids, r->rows, n->c->hidden);
}
