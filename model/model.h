/* Parameters of a model: one contiguous f32 array with a table of named tensors.
 *
 * Gradients and optimizer moments use arrays of the same layout. Every tensor starts on 16 floats; the padding
 * between tensors is zero and stays zero. */
#ifndef DM_MODEL_MODEL_H
#define DM_MODEL_MODEL_H

#include <stddef.h>

#include "core/arena.h"
#include "core/sha256.h"
#include "model/config.h"

#define DM_TENSOR_NAME 96
#define DM_NO_TENSOR ((size_t)-1)

typedef struct dm_tensor {
    char name[DM_TENSOR_NAME]; /* Hugging Face's, "model.layers.0.self_attn.q_proj.weight" */
    size_t offset;             /* floats from the array's begin */
    size_t rows, cols;         /* [rows, cols] row-major; a vector is [1, cols] */
    unsigned dims;             /* 1 or 2, as stored in files */
} dm_tensor;

/* Offsets (floats) of a layer's tensors; DM_NO_TENSOR where the architecture has none. d hidden, f intermediate,
 * hq heads*head_dim, hk kv_heads*head_dim. */
typedef struct dm_layer_offsets {
    size_t input_norm;             /* [d] */
    size_t q, k, v;                /* [hq, d] [hk, d] [hk, d] */
    size_t q_bias, k_bias, v_bias; /* [hq] [hk] [hk], Qwen2 */
    size_t q_norm, k_norm;         /* [head_dim], Qwen3 */
    size_t o;                      /* [d, hq] */
    size_t post_norm;              /* [d] */
    size_t gate, up, down;         /* [f, d] [f, d] [d, f] */
} dm_layer_offsets;

typedef struct dm_layout {
    dm_tensor *tensors; /* [n], in file order: embedding, layers, norm, head */
    size_t n;
    dm_layer_offsets *layer;  /* [config.layers] */
    size_t embed, norm, head; /* head == embed when tied */
    size_t floats;            /* length of the array, padding included */
    size_t parameters;        /* without padding */
} dm_layout;

/* Builds the table with malloc; dm_layout_free gives it back (fine on a zeroed struct). */
dm_status dm_layout_build(dm_layout *out, const dm_config *c, dm_error *err);
void dm_layout_free(dm_layout *layout);

/* Reads the weights in `dir` into w[layout->floats]. Missing, extra (but for lm_head of a tied model and rotary
 * inv_freq buffers) or misshapen tensors are errors that name tensor, found and expected shape; NaN weights name the
 * tensor. */
dm_status dm_weights_read(float *w, const dm_layout *layout, const dm_config *c, const char *dir, dm_error *err);

/* The checks of dm_weights_read on names and shapes, without reading a value. */
dm_status dm_weights_check(const dm_layout *layout, const dm_config *c, const char *dir, dm_error *err);

/* Writes dir/model.safetensors (F32), atomically; hex receives its SHA-256. */
dm_status dm_weights_write(const float *w, const dm_layout *layout, const char *dir, char hex[DM_SHA256_HEX],
                           dm_error *err);

/* Fills w with seeded initial weights: normal(0, std) for matrices (embedding and projections), 1 for norms, 0 for
 * biases. Element i of tensor t is dm_random_normal(seed, DM_RNG_INIT, t, i) * std, rounded once. */
void dm_weights_init(float *w, const dm_layout *layout, uint64_t seed, double std);

#endif
