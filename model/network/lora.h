/* LoRA (Hu et al. 2021, arXiv 2106.09685): the base's weights stay as they are, and to the projections that are chosen
 * a product of two skinny matrices is added,
 *
 *     y = x W^T + s (x A^T) B^T        A [r, in], B [out, r], s = alpha / r  (rank-stabilised: alpha / sqrt(r))
 *
 * Numeric order: u = x A^T, a chain over `in`; us = u * s, one rounding; then y's chain over W continues over us B^T,
 * its `rank` terms ascending. Gradients: dB += dy^T us; du = (dy B) * s, rounded after the chain and after the product;
 * dA += du^T x; dx's chain continues over du A after that over W. All as in simd/gemm.h, s rounded once from f64. */
#ifndef DM_MODEL_NETWORK_LORA_H
#define DM_MODEL_NETWORK_LORA_H

#include "model/network/params.h"

#define DM_LORA_RANK_MAX 1024
#define DM_LORA_ALL ((1u << DM_PROJECTIONS) - 1) /* every projection */

typedef struct dm_lora_options {
    uint32_t rank;    /* >= 1; 0: no adapter */
    double alpha;     /* > 0 */
    bool stabilised;  /* s = alpha / sqrt(rank) (Kalajdzievski 2023, arXiv 2312.03732) */
    unsigned targets; /* bit 1 << dm_projection of each projection that has one */
} dm_lora_options;

typedef struct dm_lora_pair {
    const dm_tensor *a, *b; /* NULL: this projection has none */
} dm_lora_pair;

typedef struct dm_lora {
    dm_lora_options o;
    dm_param_layout layout;                /* the adapter's tensors, PEFT's names; layer, embed, norm, head are unset */
    dm_lora_pair (*pairs)[DM_PROJECTIONS]; /* [layers] */
    double exact_scale;                    /* alpha / rank, or alpha / sqrt(rank) */
    float scale;                           /* the same, rounded: what the engine multiplies by */
} dm_lora;

const char *dm_projection_name(dm_projection p);   /* "q" ... "down" */
const char *dm_projection_module(dm_projection p); /* "q_proj" ... "down_proj", as PEFT's target_modules */

/* The table of an adapter to a model of that configuration, with malloc; dm_lora_free gives it back (fine on a zeroed
 * struct). */
dm_status dm_lora_build(dm_lora *out, const dm_lora_options *o, const dm_config *c, dm_error *err);
void dm_lora_free(dm_lora *lora);

/* A new adapter: B is 0, so that the policy is the base; element i of A's tensor t is uniform in (-1, 1) / sqrt(in)
 * (PEFT's kaiming_uniform with a = sqrt(5)): (2 * dm_random_uniform(seed, DM_RNG_LORA, t, i) - 1) / sqrt(in), f64,
 * rounded once. */
void dm_lora_init(float *w, const dm_lora *lora, uint64_t seed);

#endif
