#include "model/network/head.h"

#include <float.h>
#include <string.h>

#include "core/numbers/exact.h"
#include "core/numbers/foreign.h"
#include "core/numbers/numeric.h"
#include "model/network/network.h"
#include "model/network/ops.h"
#include "simd/gemm.h"

/* One chunk of the vocabulary, rows [first, first + count) of the head. Its logits lie in n->logits, or at their place
 * in there when all are kept. */
typedef struct head_task {
    dm_network *n;
    const int32_t *target;
    const float *coef;
    size_t predictions, first, count;
    float *logits;
    size_t ld;
} head_task;

static void chunk_logits(dm_network *n, const float *w, const head_task *t)
{
    const dm_weight head = dm_weight_rows(dm_weight_of(w, n->layout->head), t->first, t->count);
    dm_weight_forward(n->e, n->size.precision, t->predictions, n->hnorm, head, t->logits, t->ld);
}

static head_task head_of(dm_network *n, const int32_t *target, size_t predictions)
{
    return (head_task){.n = n,
                       .target = target,
                       .predictions = predictions,
                       .logits = n->logits,
                       .ld = dm_head_width(n->c->vocab, n->size.keep_logits)};
}

/* Moves to the chunk at `first`; 0 after the last. */
static int chunk_at(head_task *t, size_t first)
{
    const size_t vocab = t->n->c->vocab, chunk = dm_head_chunk(vocab);
    if (first >= vocab)
        return 0;
    t->first = first;
    t->count = vocab - first < chunk ? vocab - first : chunk;
    t->logits = t->n->logits + (t->n->size.keep_logits ? first : 0);
    return 1;
}

static void tap_chunk(const head_task *t, const char *name)
{
    const dm_tap *tap = t->n->tap;

    if (tap)
        tap->put(tap->context, &(dm_tapped){DM_TAP_OUTSIDE, name, t->logits, t->predictions, t->count, t->ld, t->first,
                                            t->n->c->vocab});
}

static int in_chunk(const head_task *t, size_t i)
{
    const size_t id = (size_t)t->target[i];
    return id >= t->first && id < t->first + t->count;
}

static void lse_rows(void *ctx, unsigned part, unsigned parts)
{
    const head_task *t = ctx;
    dm_network *n = t->n;
    const dm_range r = dm_range_split(t->predictions, 1, part, parts);
    for (size_t i = r.begin; i < r.end; i++) {
        const float *logits = t->logits + i * t->ld;
        n->e->k.lse_chunk(n->lse + i * DM_LSE_STATE, logits, t->count);
        if (in_chunk(t, i))
            n->target[i] = logits[(size_t)t->target[i] - t->first];
    }
}

static float log_of(float x)
{
#if HAVE_SLEEF
    return Sleef_logf_u10(x);
#else
    return dm_logf(x);
#endif
}

float dm_head_log_sum(const float *state)
{
    float lane[16];
    memcpy(lane, state + 1, sizeof lane);
    for (size_t width = 8; width > 0; width /= 2)
        for (size_t l = 0; l < width; l++)
            lane[l] += lane[l + width];
    return log_of(lane[0]);
}

void dm_head_forward(dm_network *n, const float *w, const int32_t *target, size_t predictions)
{
    head_task t = head_of(n, target, predictions);

    dm_op_rmsnorm(n->e, n->hnorm, n->hinv, n->out, dm_norm_weights(n, w, n->layout->norm), predictions, n->c->hidden,
                  (float)n->c->eps);
    dm_tap_put(n->tap, DM_TAP_OUTSIDE, "model.norm.out", n->hnorm, predictions, n->c->hidden);
    memset(n->lse, 0, predictions * DM_LSE_STATE * sizeof(float));
    for (size_t i = 0; i < predictions; i++)
        n->lse[i * DM_LSE_STATE] = -FLT_MAX;
    for (size_t first = 0; chunk_at(&t, first); first += t.count) {
        chunk_logits(n, w, &t);
        tap_chunk(&t, "lm_head.out");
        dm_pool_run_sized(n->e->pool, predictions * t.count, lse_rows, &t);
    }
    for (size_t i = 0; i < predictions; i++) {
        n->log_sum[i] = dm_head_log_sum(n->lse + i * DM_LSE_STATE);
        n->logp[i] = (n->target[i] - n->lse[i * DM_LSE_STATE]) - n->log_sum[i];
    }
    dm_tap_put(n->tap, DM_TAP_OUTSIDE, "logp", n->logp, 1, predictions);
}

static void grad_rows(void *ctx, unsigned part, unsigned parts)
{
    const head_task *t = ctx;
    dm_network *n = t->n;
    const dm_range r = dm_range_split(t->predictions, 1, part, parts);
    for (size_t i = r.begin; i < r.end; i++) {
        float *logits = t->logits + i * t->ld;
        n->e->k.logit_grad(logits, t->count, n->lse[i * DM_LSE_STATE], n->log_sum[i], t->coef[i]);
        if (in_chunk(t, i))
            logits[(size_t)t->target[i] - t->first] += t->coef[i];
    }
}

void dm_head_backward(dm_network *n, const float *w, float *dw, const int32_t *target, const float *coef,
                      size_t predictions)
{
    const size_t d = n->c->hidden;
    const dm_param_layout *l = n->layout;
    head_task t = head_of(n, target, predictions);

    t.coef = coef;
    for (size_t first = 0; chunk_at(&t, first); first += t.count) {
        const dm_weight head = dm_weight_rows(dm_weight_of(w, l->head), first, t.count);
        if (!n->size.keep_logits)
            chunk_logits(n, w, &t);
        dm_pool_run_sized(n->e->pool, predictions * t.count, grad_rows, &t);
        tap_chunk(&t, "lm_head.out.grad");
        dm_weight_backward(n->e, n->size.precision, predictions, t.logits, t.ld, head, n->dout,
                           first ? DM_GEMM_ADD : DM_GEMM_SET);
        if (!n->lora)
            dm_gemm(n->e, n->size.precision, t.count, d, predictions, (dm_gemm_operand){t.logits, 1, t.ld},
                    (dm_gemm_operand){n->hnorm, d, 1}, dm_gradient_of(n, dw, l->head) + first * d, d, DM_GEMM_ADD);
    }
    for (size_t i = 0; n->beside_slope && i < predictions; i++)
        for (size_t k = 0; k < d; k++)
            n->dout[i * d + k] += n->beside_slope[i] * n->beside_weight[k];
    dm_tap_put(n->tap, DM_TAP_OUTSIDE, "model.norm.out.grad", n->dout, predictions, d);
    dm_op_rmsnorm_backward(n->e, n->dout, dm_gradient_of(n, dw, l->norm), n->dout, n->out,
                           dm_norm_weights(n, w, l->norm), n->hinv, predictions, d, false);
    dm_tap_put(n->tap, (int)n->c->layers - 1, "out.grad", n->dout, predictions, d);
}

void dm_head_logits(dm_network *n, const float *w, size_t row0, size_t rows, float *logits)
{
    const size_t vocab = n->c->vocab, d = n->c->hidden;
    dm_op_rmsnorm(n->e, n->hnorm, NULL, n->out + row0 * d, dm_norm_weights(n, w, n->layout->norm), rows, d,
                  (float)n->c->eps);
    dm_weight_forward(n->e, n->size.precision, rows, n->hnorm, dm_weight_of(w, n->layout->head), logits, vocab);
}
