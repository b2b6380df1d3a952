/* Parameters of a model: one contiguous array with a table of named tensors.
 *
 * What is trained is f32, and gradients and optimizer moments use arrays of the same layout. Weights that stay as they
 * are may keep the type in which they are stored, matrices only: vectors are f32 always. Every tensor starts on 64
 * bytes; the padding between tensors is zero and stays zero. */
#ifndef DM_MODEL_NETWORK_PARAMS_H
#define DM_MODEL_NETWORK_PARAMS_H

#include <stddef.h>

#include "core/arena.h"
#include "core/numbers/dtype.h"
#include "model/network/config.h"

#define DM_TENSOR_NAME 96

typedef struct dm_tensor {
    char name[DM_TENSOR_NAME]; /* Hugging Face's, "model.layers.0.self_attn.q_proj.weight" */
    dm_dtype type;
    size_t offset;     /* floats (4 bytes) from the array's begin */
    size_t rows, cols; /* [rows, cols] row-major; a vector is [1, cols] */
    unsigned dims;     /* 1 or 2, as stored in files */
} dm_tensor;

/* Its shape in files: `dims` values, rows first. */
static inline void dm_tensor_shape(const dm_tensor *t, uint64_t shape[2])
{
    shape[0] = t->dims == 2 ? t->rows : t->cols;
    shape[1] = t->cols;
}

/* d hidden, f intermediate, hq heads*head_dim, hk kv_heads*head_dim */
typedef enum dm_projection {
    DM_PROJECTION_Q,    /* [hq, d] */
    DM_PROJECTION_K,    /* [hk, d] */
    DM_PROJECTION_V,    /* [hk, d] */
    DM_PROJECTION_O,    /* [d, hq] */
    DM_PROJECTION_GATE, /* [f, d] */
    DM_PROJECTION_UP,   /* [f, d] */
    DM_PROJECTION_DOWN, /* [d, f] */
    DM_PROJECTIONS
} dm_projection;

/* A layer's tensors; NULL where the architecture has none. */
typedef struct dm_layer_tensors {
    const dm_tensor *projection[DM_PROJECTIONS];
    const dm_tensor *bias[DM_PROJECTION_O + 1]; /* of q, k, v: [hq] [hk] [hk], Qwen2; of o too: [d], attention_bias */
    const dm_tensor *q_norm, *k_norm;           /* [head_dim], Qwen3 and Gemma 3 */
    const dm_tensor *input_norm, *post_norm;    /* [d] before the attention, before the FFN */
    const dm_tensor *attention_norm, *ffn_norm; /* [d] after the attention, after the FFN: Gemma 3 */
} dm_layer_tensors;

typedef struct dm_param_layout {
    dm_tensor *tensors; /* [n], in file order: embedding, layers, norm, head */
    size_t n;
    dm_layer_tensors *layers;             /* [config.layers] */
    const dm_tensor *embed, *norm, *head; /* head == embed when tied */
    size_t floats;                        /* length of the array, padding included */
    size_t parameters;                    /* without padding */
    bool unit_offset;                     /* a norm's weights are 1 + what is stored: Gemma 3 */
} dm_param_layout;

/* Where a layer's tensors begin in an array of the base's layout; of `layers`: where those of the last one end. */
static inline size_t dm_param_layout_begin(const dm_param_layout *l, size_t layers, size_t layer)
{
    return layer < layers ? l->layers[layer].input_norm->offset : l->norm->offset;
}

/* Builds the table, all f32, with malloc; dm_param_layout_free gives it back (fine on a zeroed struct). */
dm_status dm_param_layout_build(dm_param_layout *out, const dm_config *c, dm_error *err);
/* Gives the tensors their offsets, by their types. For code that changes the types. */
void dm_param_layout_place(dm_param_layout *layout);
void dm_param_layout_free(dm_param_layout *layout);

/* The tensor of that name; NULL: there is none. */
const dm_tensor *dm_param_layout_find(const dm_param_layout *layout, const char *name);

/* Fills w with seeded initial weights: normal(0, std) for matrices (embedding and projections), 1 (Gemma 3: 0) for
 * norms, 0 for biases. Element i of tensor t is dm_random_normal(seed, DM_RNG_INIT, t, i) * std, rounded once. */
void dm_weights_init(float *w, const dm_param_layout *layout, uint64_t seed, double std);

#endif
