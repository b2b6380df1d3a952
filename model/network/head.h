/* The vocabulary in chunks: no [rows, vocabulary] tensor ever exists while training. */
#ifndef DM_MODEL_NETWORK_HEAD_H
#define DM_MODEL_NETWORK_HEAD_H

#include <stdbool.h>
#include <stddef.h>

/* Part of the numerics contract: the online log-sum-exp rescales at chunk borders (simd/kernels/kernels.h,
 * lse_chunk). */
#define DM_HEAD_VOCAB_CHUNK ((size_t)2048)

static inline size_t dm_head_chunk(size_t vocab)
{
    return vocab < DM_HEAD_VOCAB_CHUNK ? vocab : DM_HEAD_VOCAB_CHUNK;
}

/* Floats of a row of logits. */
static inline size_t dm_head_width(size_t vocab, bool keep)
{
    return keep ? (vocab + 15) / 16 * 16 : dm_head_chunk(vocab);
}

/* log of the sum of a state's 16 lanes (simd/kernels/kernels.h, lse_chunk), folded 8, 4, 2, 1. */
float dm_head_log_sum(const float *state);

#endif
