/* Forward and backward of the Llama family over one packed sequence.
 *
 * Per layer (Touvron et al. 2023; d hidden, f intermediate, R rows):
 *     n = rmsnorm(x);  q, k, v = n Wq^T, n Wk^T, n Wv^T (+ biases);  q, k = qk-norm (Qwen3), RoPE
 *     mid = x + attention(q, k, v) Wo^T
 *     n = rmsnorm(mid);  out = mid + (silu(n Wg^T) * (n Wu^T)) Wd^T
 * Gemma 3: mid = x + rmsnorm(attention ...), out = mid + rmsnorm(gelu(...) ...), x = embedding * sqrt(d).
 * The backward is derived by hand, in reverse; there is no tape. Of the first `recompute` layers only the input is kept
 * and the layer is run again before its backward: the same bits, one layer's activations instead of all of theirs.
 *
 * Only the rows that a prediction needs (dm_pack's predictions) go through the last layer after its attention.
 *
 * When a batch is one pack, no gradient has to outlive it, and the layers' gradients can lie where activations were
 * (dm_network_size.overlay): activations grow upwards from layer 0, gradients, in the layout's order, end at the top,
 * as low as every layer's begin after its own activations. What was above these its backward no longer needs.
 *
 * Numeric order of gradients: weight gradients are chains over the packed rows ascending (in the last layer after its
 * attention and in the head: over the predictions ascending) that resume from what dw holds (the batch's earlier
 * items), in the order head, final norm, layers from last to first (FFN norm, down, gate, up, post norm, attention
 * norm, o, q, k, v, biases, qk-norms, input norm), embedding. Data gradients: gate then up; q, then k, then v. */
#ifndef DM_MODEL_NETWORK_NETWORK_H
#define DM_MODEL_NETWORK_NETWORK_H

#include <math.h>

#include "model/network/params.h"
#include "model/network/lora.h"
#include "model/network/pack.h"
#include "model/network/tap.h"
#include "simd/precision.h"
#include "simd/weight.h"
#include "simd/engine.h"

typedef struct dm_layer_activations {     /* activations of one layer that its backward reads */
    float *x;                             /* [R, d] input */
    float *inv1;                          /* [R] 1/rms of x */
    float *q, *k, *v;                     /* [R, heads*head_dim], [R, kv_heads*head_dim] x 2, as attention sees them */
    float *q_raw, *k_raw, *q_inv, *k_inv; /* before the qk-norm and its 1/rms; Qwen3 only */
    float *att;           /* [R, heads*head_dim]; bf16: every layer's in one place, until the next one's */
    uint16_t *att_bf16;   /* bf16: the layer's own, rounded: products alone read it */
    float *mid;           /* [R, d]; from here on [predictions, ...] in a narrow last layer */
    float *inv2;          /* [R] */
    float *gate, *up;     /* [R, f] */
    float *o_raw, *o_inv; /* [R, d], [R] the attention's output before its norm; Gemma 3 only */
    float *f_raw, *f_inv; /* the FFN's likewise */
} dm_layer_activations;

typedef struct dm_network_angles {
    float *cos, *sin; /* [longest, head_dim/2]; NULL: no layer uses them */
} dm_network_angles;

typedef enum dm_network_mode {
    DM_NETWORK_TRAIN,   /* forward and backward of packs */
    DM_NETWORK_SCORE,   /* forward of packs only: one layer's activations */
    DM_NETWORK_GENERATE /* forward with a KV cache */
} dm_network_mode;

typedef struct dm_network_size {
    dm_network_mode mode;
    size_t rows;            /* most packed rows (TRAIN, SCORE), most rows computed at once (GENERATE) */
    size_t cache;           /* GENERATE: rows of the cache, all regions together */
    size_t predictions;     /* most predictions */
    size_t longest;         /* longest logical sequence */
    uint32_t recompute;     /* layers, from the first, of which only the input is kept */
    uint32_t rank;          /* largest of the adapters that it will compute with; 0: none */
    bool overlay;           /* TRAIN: the layers' gradients lie where activations were (below) */
    bool keep_logits;       /* of the whole vocabulary, for the head's backward */
    dm_precision precision; /* of the products with weights and adapters */
} dm_network_size;

typedef struct dm_network {
    const dm_engine *e;
    const dm_config *c;
    const dm_param_layout *layout;
    const dm_lora *lora;  /* the adapter; NULL: none. Set after placing (model/formats/loaded_model.h) */
    const float *adapter; /* its values; NULL: switched off */
    const dm_tap *tap;    /* who listens; NULL: no one */
    dm_network_size size;
    dm_network_angles rope[2];  /* DM_ROPE_MAIN, DM_ROPE_LOCAL */
    dm_layer_activations *acts; /* [layers] */
    float *out;                 /* [predictions, d] of the last layer */
    float *narrow;              /* [predictions, heads*head_dim] att of the wanted rows */
    float *unit;                /* [max(d, head_dim)] 1 + a norm's weights; Gemma 3 only */
    /* scratch of a layer */
    float *norm, *delta;  /* [R, d] */
    float *new_k, *new_v; /* [R, kv_heads*head_dim] on their way into the cache; GENERATE only */
    float *dx;            /* [R, d] */
    float *ffn, *dffn;    /* [R, f] */
    float *datt, *dq, *dk, *dv;
    float *low;  /* [R, rank] */
    float *late; /* [layout.floats - split] overlay: the gradient's floats from `split` on, where layer 0's begin */
    size_t split;
    float *attention;
    dm_attention_segment *segments; /* [DM_CACHE_REGIONS_MAX] GENERATE: what attention sees of each region, */
    size_t *q_bases;                /* and where its queries are */
    /* head */
    float *hnorm, *hinv; /* [predictions, d], [predictions] */
    float *dout;         /* [predictions, d] */
    /* A linear output beside the vocabulary: dm_head_backward adds its slopes times its weights. NULL: none. */
    const float *beside_slope, *beside_weight; /* [predictions], [d] */
    float *logits;  /* [predictions, chunk], or [predictions, vocab] when they are kept; where the layers' scratch is */
    float *lse;     /* [predictions, DM_LSE_STATE] */
    float *log_sum; /* [predictions] log sum exp(logit - maximum) */
    float *target;  /* [predictions] logit of the target */
    float *logp;    /* [predictions] */
    /* Called once the gradient of a layer, and of all after it, has got this backward's share; NULL: nobody asks. */
    void (*layer_done)(void *context, size_t layer);
    void *layer_context;
} dm_network;

/* Rows of one sequence among others (GENERATE): they continue a region of the cache. */
typedef struct dm_cache_region {
    size_t begin; /* the region's first row in the cache */
    size_t past;  /* rows in there already */
    size_t rows;
} dm_cache_region;

#define DM_CACHE_REGIONS_MAX ((size_t)256)

/* What runs through the network at once. */
typedef struct dm_network_rows {
    const int32_t *ids;       /* [rows] */
    const uint32_t *position; /* [rows] logical, for RoPE */
    size_t rows;
    const dm_attention_segment *segments; /* TRAIN, SCORE: how attention sees the rows */
    size_t n_segments;
    const dm_cache_region *regions; /* GENERATE: whose the rows are, in order */
    size_t n_regions;               /* <= DM_CACHE_REGIONS_MAX */
    const int32_t *wanted;          /* [n_wanted] the rows whose output is asked for; NULL: all */
    size_t n_wanted;
} dm_network_rows;

/* Of an array `w` of the layout that t is in. */
static inline const float *dm_vector_of(const float *w, const dm_tensor *t)
{
    return w + t->offset;
}

/* What a norm multiplies by: its weights, or for Gemma 3 1 + them, in n->unit until the next call. */
static inline const float *dm_norm_weights(dm_network *n, const float *w, const dm_tensor *t)
{
    const float *stored = dm_vector_of(w, t);

    if (!n->layout->unit_offset)
        return stored;
    for (size_t i = 0; i < t->cols; i++)
        n->unit[i] = 1.0f + stored[i];
    return n->unit;
}

static inline float dm_embedding_scale(const dm_config *c)
{
    return (float)sqrt((double)c->hidden);
}

/* Of attention's scores; 0: the usual one. */
static inline float dm_query_scale(const dm_config *c)
{
    return c->query_scalar > 0 ? (float)(1.0 / sqrt(c->query_scalar)) : 0;
}

static inline dm_weight dm_weight_of(const float *w, const dm_tensor *t)
{
    return (dm_weight){w + t->offset, t->type, t->rows, t->cols};
}

/* Where a tensor's gradient goes: dw, an array of the base's layout, except what lies over activations. NULL: the base
 * is not trained. */
static inline float *dm_gradient_of(const dm_network *n, float *dw, const dm_tensor *t)
{
    if (n->lora)
        return NULL;
    return n->late && t->offset >= n->split ? n->late + (t->offset - n->split) : dw + t->offset;
}

/* Lays the network out in the arena (measuring or real; acts itself is part of it). After a real placement
 * dm_network_tables fills the RoPE tables. Floats that `dm_network_place` asks for are those of the plan. */
void dm_network_place(dm_network *n, dm_arena *arena, const dm_engine *e, const dm_config *c,
                      const dm_param_layout *layout, const dm_network_size *size);
void dm_network_tables(dm_network *n);

/* Runs the rows through all layers; n->out holds the wanted rows of the result, in their order. GENERATE: appends each
 * region's keys and values to its region of the cache. */
void dm_network_forward(dm_network *n, const float *w, const dm_network_rows *rows);

/* Head: n->logp[i] = log softmax(rmsnorm(out[i]) W^T)[target[i]], in nats. */
void dm_head_forward(dm_network *n, const float *w, const int32_t *target, size_t predictions);

/* Gradient of sum_i coef[i] * logp[i] after dm_head_forward of the same predictions: adds to dw, writes n->dout. dw is
 * an array of the base's layout, or with an adapter (n->lora) of the adapter's: then the base's weights have no
 * gradient. */
void dm_head_backward(dm_network *n, const float *w, float *dw, const int32_t *target, const float *coef,
                      size_t predictions);

/* Full logits [rows, vocab] of n->out[row0 .. row0+rows): for generation and comparisons. */
void dm_head_logits(dm_network *n, const float *w, size_t row0, size_t rows, float *logits);

/* A pack as rows: the predictions' rows are wanted. */
dm_network_rows dm_network_rows_of(const dm_pack *pack);

/* Backward of dm_network_forward of the same rows from n->dout; adds to dw. In an overlay the layers' gradients begin
 * at 0, and the others must have been made 0 by the caller. */
void dm_network_backward(dm_network *n, const float *w, float *dw, const dm_network_rows *rows);

#endif
