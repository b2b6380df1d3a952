#include "model/infer/sampling.h"

#include <float.h>
#include <string.h>

#include "core/numbers/bits.h"
#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"
#include "core/numbers/philox.h"
#include "model/api.h"
#include "model/network/head.h"

void dm_sampler_place(dm_sampler *s, dm_arena *arena, size_t vocab)
{
    s->p = dm_arena_alloc(arena, vocab, sizeof *s->p);
    s->order = dm_arena_alloc(arena, vocab, sizeof *s->order);
    s->spare = dm_arena_alloc(arena, vocab, sizeof *s->spare);
}

void dmpo_sampling_defaults(dmpo_sampling *sampling, size_t size)
{
    const dmpo_sampling defaults = {.size = sizeof defaults, .top_p = 1, .max_tokens = 256};

    sampling->size = size;
    dm_api_copy_out(sampling, &defaults, sizeof defaults, "dmpo_sampling", NULL);
}

dm_status dm_sampling_check(const dmpo_sampling *o, dm_error *err)
{
    if (!(o->temperature >= 0 && o->temperature <= 1e6))
        return dm_fail(err, DM_ERR_ARGUMENT, "`temperature` %g is out of range; legal: 0 (greedy) or more",
                       o->temperature);
    if (o->top_k < 0)
        return dm_fail(err, DM_ERR_ARGUMENT, "`top-k` %lld is out of range; legal: 0 (all) or more",
                       (long long)o->top_k);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return dm_fail(err, DM_ERR_ARGUMENT, "`top-p` %g is out of range; legal: 0 < p <= 1", o->top_p);
    if (o->max_tokens < 0)
        return dm_fail(err, DM_ERR_ARGUMENT, "`max-tokens` %lld is out of range; legal: 0 or more",
                       (long long)o->max_tokens);
    return DM_OK;
}

dm_status dm_sampling_read(dmpo_sampling *out, const dmpo_sampling *given, dm_error *err)
{
    dmpo_sampling_defaults(out, sizeof *out);
    if (!given)
        return DM_OK;
    if (given->size < 2 * sizeof given->size || given->size > 65536)
        return dm_fail(err, DM_ERR_ARGUMENT, "dmpo_sampling.size is %zu; dmpo_sampling_defaults sets it", given->size);
    memcpy(out, given, given->size < sizeof *out ? given->size : sizeof *out);
    return dm_sampling_check(out, err);
}

#define DIGIT 11 /* bits; three of them make a key */
#define DIGITS ((size_t)1 << DIGIT)

/* Ascends as the logit falls; -0 is +0. */
static uint32_t falling_key(float logit)
{
    const uint32_t bits = dm_f32_bits(logit + 0.0F);
    return bits >> 31 ? bits : ~bits & 0x7FFFFFFFu;
}

/* By falling logit, rising id among equals: a radix sort, least significant digit first, is stable. The ids end up in
 * the low halves of the result. */
static const uint64_t *sort_ids(dm_sampler *s, const float *logits, size_t n)
{
    uint32_t count[3][DIGITS] = {0};
    uint64_t *from = s->order, *to = s->spare;

    for (size_t i = 0; i < n; i++) {
        const uint32_t key = falling_key(logits[i]);
        from[i] = (uint64_t)key << 32 | i;
        for (int d = 0; d < 3; d++)
            count[d][key >> d * DIGIT & (DIGITS - 1)]++;
    }
    for (int d = 0; d < 3; d++) {
        uint32_t at = 0;
        for (size_t i = 0; i < DIGITS; i++) {
            const uint32_t next = at + count[d][i];
            count[d][i] = at;
            at = next;
        }
        for (size_t i = 0; i < n; i++)
            to[count[d][from[i] >> (32 + d * DIGIT) & (DIGITS - 1)]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

static size_t largest(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

/* As dm_head_forward computes it: the same chunks, so the same bits. */
float dm_token_logp(const dm_kernels *k, const float *logits, size_t vocab, size_t id)
{
    float state[DM_LSE_STATE] = {-FLT_MAX};
    const size_t chunk = dm_head_chunk(vocab);
    for (size_t i = 0; i < vocab; i += chunk)
        k->lse_chunk(state, logits + i, vocab - i < chunk ? vocab - i : chunk);
    return (logits[id] - state[0]) - dm_head_log_sum(state);
}

static size_t draw(dm_sampler *s, const float *logits, size_t vocab, const dmpo_sampling *o, uint64_t position)
{
    const uint64_t *order = sort_ids(s, logits, vocab);
    const size_t n = o->top_k > 0 && (uint64_t)o->top_k < vocab ? (size_t)o->top_k : vocab;
    const double top = (double)logits[(uint32_t)order[0]];
    size_t kept = 0;
    double sum = 0, cut = 0, at = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)(s->p[i] = (float)dm_exp(((double)logits[(uint32_t)order[i]] - top) / o->temperature));
    while (kept < n && (kept == 0 || cut < o->top_p * sum))
        cut += (double)s->p[kept++];
    const double u = dm_random_uniform(o->seed, DM_RNG_SAMPLE, o->episode, position) * cut;
    for (size_t i = 0; i < kept; i++) {
        at += (double)s->p[i];
        if (u < at)
            return (uint32_t)order[i];
    }
    return (uint32_t)order[kept - 1];
}

int32_t dm_sample(dm_sampler *s, const dm_kernels *k, const float *logits, size_t vocab, const dmpo_sampling *o,
                  uint64_t position, float *logp)
{
    const size_t id = o->temperature > 0 ? draw(s, logits, vocab, o, position) : largest(logits, vocab);
    *logp = dm_token_logp(k, logits, vocab, id);
    return (int32_t)id;
}
