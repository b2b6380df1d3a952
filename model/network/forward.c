#include <string.h>

#include "core/numbers/numeric.h"
#include "model/network/layer.h"
#include "model/network/ops.h"
#include "simd/attention.h"
#include "simd/gemm.h"

/* y [rows, out] = x [rows, in] W^T, and what an adapter adds */
static void project(dm_network *n, const float *w, size_t layer, dm_projection p, const float *x, float *y, size_t rows)
{
    const dm_tensor *t = n->layout->layers[layer].projection[p];

    dm_weight_forward(n->e, n->size.precision, rows, x, dm_weight_of(w, t), y, t->rows);
    if (n->adapter)
        dm_lora_forward(n, layer, p, x, y, rows);
}

void dm_layer_norm(dm_network *n, const float *w, const dm_tensor *t, float *y, float *inv, const float *x, size_t rows)
{
    dm_op_rmsnorm(n->e, y, inv, x, dm_norm_weights(n, w, t), rows, t->cols, (float)n->c->eps);
}

/* Queries or keys: projection, bias, qk-norm, RoPE. raw is where the projection goes before the norm. */
static void queries(dm_network *n, const float *w, size_t layer, dm_projection p, const dm_tensor *norm, float *y,
                    float *raw, float *inv, const dm_network_rows *r)
{
    const bool k = p == DM_PROJECTION_K;
    const dm_config *c = n->c;
    const dm_tensor *bias = n->layout->layers[layer].bias[p];
    const size_t heads = k ? c->kv_heads : c->heads, width = heads * c->head_dim;
    const float *cosine, *sine;
    float *first = norm ? raw : y;

    project(n, w, layer, p, n->norm, first, r->rows);
    if (bias)
        dm_op_bias(n->e, first, dm_vector_of(w, bias), r->rows, bias->cols);
    dm_tap_put(n->tap, (int)layer, k ? "self_attn.k_proj.out" : "self_attn.q_proj.out", first, r->rows, width);
    if (norm) {
        dm_layer_norm(n, w, norm, y, inv, raw, r->rows * heads);
        dm_tap_put(n->tap, (int)layer, k ? "self_attn.k_norm.out" : "self_attn.q_norm.out", y, r->rows, width);
    }
    if (dm_layer_rope(n, layer, &cosine, &sine)) {
        dm_op_rope(n->e, y, cosine, sine, r->position, r->rows, heads, c->head_dim, false);
        dm_tap_put(n->tap, (int)layer, k ? "self_attn.k_rope.out" : "self_attn.q_rope.out", y, r->rows, width);
    }
}

/* The rows' keys and values go to their regions of the cache, and each region becomes a segment for attention. */
static void append_to_cache(dm_network *n, const dm_layer_activations *a, const dm_network_rows *r,
                            dm_attention *attention)
{
    const size_t hk = (size_t)n->c->kv_heads * n->c->head_dim;
    size_t row = 0;

    for (size_t i = 0; i < r->n_regions; i++) {
        const dm_cache_region *g = &r->regions[i];
        const size_t first = g->begin + g->past, end = first + g->rows;
        memcpy(a->k + first * hk, n->new_k + row * hk, g->rows * hk * sizeof(float));
        memcpy(a->v + first * hk, n->new_v + row * hk, g->rows * hk * sizeof(float));
        n->segments[i] = (dm_attention_segment){g->begin, end, 0, first};
        n->q_bases[i] = first - row;
        row += g->rows;
    }
    attention->segments = n->segments;
    attention->n_segments = r->n_regions;
    attention->q_bases = n->q_bases;
}

dm_attention dm_layer_attention(const dm_network *n, size_t layer, const dm_network_rows *r)
{
    const dm_config *c = n->c;
    const dm_layer_activations *a = &n->acts[layer];

    return (dm_attention){
        .heads = c->heads,
        .kv_heads = c->kv_heads,
        .head_dim = c->head_dim,
        .window = c->windowed[layer] ? c->window : 0,
        .scale = dm_query_scale(c),
        .segments = r->segments,
        .n_segments = r->n_segments,
        .q = a->q,
        .k = a->k,
        .v = a->v,
    };
}

/* Up to a->att, for all rows. */
static void attend(dm_network *n, const float *w, size_t layer, const dm_network_rows *r)
{
    const dm_engine *e = n->e;
    const dm_config *c = n->c;
    const dm_layer_tensors *o = &n->layout->layers[layer];
    const dm_layer_activations *a = &n->acts[layer];
    float *k = r->regions ? n->new_k : a->k, *v = r->regions ? n->new_v : a->v;

    dm_layer_norm(n, w, o->input_norm, n->norm, a->inv1, a->x, r->rows);
    dm_tap_put(n->tap, (int)layer, "input_layernorm.out", n->norm, r->rows, c->hidden);
    queries(n, w, layer, DM_PROJECTION_Q, o->q_norm, a->q, a->q_raw, a->q_inv, r);
    queries(n, w, layer, DM_PROJECTION_K, o->k_norm, k, a->k_raw, a->k_inv, r);
    project(n, w, layer, DM_PROJECTION_V, n->norm, v, r->rows);
    if (o->bias[DM_PROJECTION_V])
        dm_op_bias(e, v, dm_vector_of(w, o->bias[DM_PROJECTION_V]), r->rows, o->bias[DM_PROJECTION_V]->cols);
    dm_tap_put(n->tap, (int)layer, "self_attn.v_proj.out", v, r->rows, (size_t)c->kv_heads * c->head_dim);

    dm_attention attention = dm_layer_attention(n, layer, r);
    if (r->regions)
        append_to_cache(n, a, r, &attention);
    dm_attention_forward(e, &attention, a->att, n->attention);
    dm_tap_put(n->tap, (int)layer, "self_attn.attn.out", a->att, r->rows, (size_t)c->heads * c->head_dim);
    if (n->tap)
        n->tap->attended(n->tap->context, (int)layer, a->q, k, r->rows);
}

void dm_layer_forward(dm_network *n, const float *w, size_t layer, const dm_network_rows *r, float *out)
{
    const dm_engine *e = n->e;
    const dm_config *c = n->c;
    const dm_layer_tensors *o = &n->layout->layers[layer];
    const dm_layer_activations *a = &n->acts[layer];
    const bool narrow = dm_layer_is_narrow(n, layer, r);
    const size_t d = c->hidden, f = c->intermediate, hq = (size_t)c->heads * c->head_dim;
    const size_t rows = narrow ? r->n_wanted : r->rows;
    const int at = (int)layer;

    attend(n, w, layer, r);
    if (a->att_bf16)
        dm_op_to_bf16(e, a->att_bf16, a->att, r->rows * hq);
    if (narrow) {
        dm_op_gather(e, n->narrow, a->att, r->wanted, rows, hq);
        dm_op_gather(e, n->delta, a->x, r->wanted, rows, d);
        dm_tap_put(n->tap, (int)layer, "self_attn.attn.rows", n->narrow, rows, hq);
        dm_tap_put(n->tap, (int)layer, "rows", n->delta, rows, d);
    }
    project(n, w, layer, DM_PROJECTION_O, narrow ? n->narrow : a->att, o->attention_norm ? a->o_raw : a->mid, rows);
    if (o->bias[DM_PROJECTION_O])
        dm_op_bias(e, a->mid, dm_vector_of(w, o->bias[DM_PROJECTION_O]), rows, d);
    dm_tap_put(n->tap, at, "self_attn.o_proj.out", o->attention_norm ? a->o_raw : a->mid, rows, d);
    if (o->attention_norm) {
        dm_layer_norm(n, w, o->attention_norm, a->mid, a->o_inv, a->o_raw, rows);
        dm_tap_put(n->tap, at, "post_attention_layernorm.out", a->mid, rows, d);
    }
    dm_op_add(e, a->mid, narrow ? n->delta : a->x, rows * d);
    dm_tap_put(n->tap, at, "mid", a->mid, rows, d);

    dm_layer_norm(n, w, o->post_norm, n->norm, a->inv2, a->mid, rows);
    dm_tap_put(n->tap, at, o->attention_norm ? "pre_feedforward_layernorm.out" : "post_attention_layernorm.out",
               n->norm, rows, d);
    project(n, w, layer, DM_PROJECTION_GATE, n->norm, a->gate, rows);
    project(n, w, layer, DM_PROJECTION_UP, n->norm, a->up, rows);
    dm_tap_put(n->tap, at, "mlp.gate_proj.out", a->gate, rows, f);
    dm_tap_put(n->tap, at, "mlp.up_proj.out", a->up, rows, f);
    if (!out && !o->ffn_norm)
        return;
    dm_op_glu(e, dm_config_is_gemma(c), n->ffn, a->gate, a->up, rows * f);
    dm_tap_put(n->tap, at, "mlp.act.out", n->ffn, rows, f);
    project(n, w, layer, DM_PROJECTION_DOWN, n->ffn, o->ffn_norm ? a->f_raw : out, rows);
    dm_tap_put(n->tap, at, "mlp.down_proj.out", o->ffn_norm ? a->f_raw : out, rows, d);
    if (o->ffn_norm) {
        dm_layer_norm(n, w, o->ffn_norm, out ? out : n->delta, a->f_inv, a->f_raw, rows);
        dm_tap_put(n->tap, at, "post_feedforward_layernorm.out", out ? out : n->delta, rows, d);
    }
    if (out) {
        dm_op_add(e, out, a->mid, rows * d);
        dm_tap_put(n->tap, at, "out", out, rows, d);
    }
}

void dm_network_forward(dm_network *n, const float *w, const dm_network_rows *r)
{
    const size_t layers = n->c->layers;

    dm_weight_gather(n->e, n->acts[0].x, dm_weight_of(w, n->layout->embed), r->ids, r->rows);
    if (dm_config_is_gemma(n->c))
        dm_op_scale(n->e, n->acts[0].x, dm_embedding_scale(n->c), r->rows * n->c->hidden);
    dm_tap_put(n->tap, DM_TAP_OUTSIDE, "model.embed_tokens.out", n->acts[0].x, r->rows, n->c->hidden);
    for (size_t l = 0; l < layers; l++)
        dm_layer_forward(n, w, l, r, l + 1 < layers ? n->acts[l + 1].x : n->out);
}

dm_network_rows dm_network_rows_of(const dm_pack *pack)
{
    return (dm_network_rows){.ids = pack->ids,
                             .position = pack->position,
                             .rows = pack->rows,
                             .segments = pack->segments,
                             .n_segments = pack->n_segments,
                             .wanted = pack->prediction_row,
                             .n_wanted = pack->predictions};
}
