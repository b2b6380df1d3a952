#include "model/sampling.h"

#include <float.h>
#include <string.h>

#include "core/exact.h"
#include "core/numeric.h"
#include "core/philox.h"
#include "model/head.h"

void dm_sampler_place(dm_sampler *s, dm_arena *arena, size_t vocab)
{
    s->p = dm_arena_alloc(arena, vocab, sizeof *s->p);
    s->order = dm_arena_alloc(arena, vocab, sizeof *s->order);
    s->spare = dm_arena_alloc(arena, vocab, sizeof *s->spare);
}

dm_status dm_sampling_check(const dmpo_sampling *o, dm_error *err)
{
    if (!(o->temperature >= 0 && o->temperature <= 1e6))
        return dm_fail(err, DM_ERR_ARGUMENT, "--temperature %g is out of range; legal: 0 (greedy) or more",
                       o->temperature);
    if (o->top_k < 0)
        return dm_fail(err, DM_ERR_ARGUMENT, "--top-k %lld is out of range; legal: 0 (all) or more",
                       (long long)o->top_k);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return dm_fail(err, DM_ERR_ARGUMENT, "--top-p %g is out of range; legal: 0 < p <= 1", o->top_p);
    if (o->max_tokens < 0)
        return dm_fail(err, DM_ERR_ARGUMENT, "--max-tokens %lld is out of range; legal: 0 or more",
                       (long long)o->max_tokens);
    return DM_OK;
}

/* Merge sort, falling by logit and rising by id: stable, and no worse than n log n on any input. */
static void sort_ids(uint32_t *order, uint32_t *spare, const float *logits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    uint32_t *from = order, *to = spare;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t begin = 0; begin < n; begin += 2 * width) {
            const size_t middle = begin + width < n ? begin + width : n;
            const size_t end = middle + width < n ? middle + width : n;
            size_t a = begin, b = middle;
            for (size_t at = begin; at < end; at++)
                to[at] = b >= end || (a < middle && logits[from[a]] >= logits[from[b]]) ? from[a++] : from[b++];
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != order)
        memcpy(order, from, n * sizeof *order);
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
    return (logits[id] - state[0]) - dm_lse_log_sum(state);
}

static size_t draw(dm_sampler *s, const float *logits, size_t vocab, const dmpo_sampling *o, uint64_t position)
{
    size_t n = vocab, kept = 0;
    double sum = 0, cut = 0, at = 0;

    sort_ids(s->order, s->spare, logits, vocab);
    if (o->top_k > 0 && (uint64_t)o->top_k < n)
        n = (size_t)o->top_k;
    const double top = (double)logits[s->order[0]];
    for (size_t i = 0; i < n; i++) {
        s->p[i] = (float)dm_exp(((double)logits[s->order[i]] - top) / o->temperature);
        sum += (double)s->p[i];
    }
    while (kept < n && (kept == 0 || cut < o->top_p * sum))
        cut += (double)s->p[kept++];
    const double u = dm_random_uniform(o->seed, DM_RNG_SAMPLE, o->episode, position) * cut;
    for (size_t i = 0; i < kept; i++) {
        at += (double)s->p[i];
        if (u < at)
            return s->order[i];
    }
    return s->order[kept - 1];
}

int32_t dm_sample(dm_sampler *s, const dm_kernels *k, const float *logits, size_t vocab, const dmpo_sampling *o,
                  uint64_t position, float *logp)
{
    const size_t id = o->temperature > 0 ? draw(s, logits, vocab, o, position) : largest(logits, vocab);
    *logp = dm_token_logp(k, logits, vocab, id);
    return (int32_t)id;
}
