/* Choosing a token from logits: greedy, temperature, top-k, top-p. */
#ifndef DM_MODEL_INFER_SAMPLING_H
#define DM_MODEL_INFER_SAMPLING_H

#include "core/arena.h"
#include "dmpo.h"
#include "simd/kernels/kernels.h"

typedef struct dm_sampler {
    float *p;        /* [vocab] */
    uint64_t *order; /* [vocab] key of the logit, id */
    uint64_t *spare; /* [vocab] */
} dm_sampler;

void dm_sampler_place(dm_sampler *s, dm_arena *arena, size_t vocab);

/* Refuses values outside their legal range. */
dm_status dm_sampling_check(const dmpo_sampling *o, dm_error *err);

/* What the caller gave, NULL for the defaults, as this version's struct. Refuses values outside their legal range. */
dm_status dm_sampling_read(dmpo_sampling *out, const dmpo_sampling *given, dm_error *err);

/* The token for `position`; *logp is its log-probability under the unmodified distribution (nats). Order of the
 * filters: temperature, top-k, top-p (the smallest set whose probability reaches top_p); then inverse CDF in falling
 * order with the uniform number of (seed, DM_RNG_SAMPLE, episode, position). Greedy: the largest logit, the smallest id
 * among equals. */
int32_t dm_sample(dm_sampler *s, const dm_kernels *k, const float *logits, size_t vocab, const dmpo_sampling *o,
                  uint64_t position, float *logp);

/* The log-probability of one token, in nats. */
float dm_token_logp(const dm_kernels *k, const float *logits, size_t vocab, size_t id);

#endif
