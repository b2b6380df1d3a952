/* Log-softmax over a vocabulary that exists one chunk at a time: running log-sum-exp, then the gradient. */
#include "simd/kernels/vmath.h"

static void lse_chunk(float *state, const float *logits, size_t n)
{
    vf top = vf_set1(-INFINITY), sum = vf_load(state + 1);

    VF_EACH(i, m, n, top = vf_keep(vf_max(vf_get(logits + i, m), top), top, m));
    const float chunk_max = vf_fold_max(top);
    if (chunk_max > state[0]) {
        vf factor = vf_exp(vf_set1(state[0] - chunk_max));
        sum = vf_mul(sum, factor);
        state[0] = chunk_max;
    }
    const vf vmax = vf_set1(state[0]);
    VF_EACH(i, m, n, sum = vf_keep(vf_add(sum, vf_exp(vf_sub(vf_get(logits + i, m), vmax))), sum, m));
    vf_store(state + 1, sum);
}

static void logit_grad(float *l, size_t n, float max, float log_sum, float coef)
{
    const vf vmax = vf_set1(max), vlog = vf_set1(log_sum), vcoef = vf_set1(coef);

    VF_EACH(i, m, n, {
        const vf p = vf_exp(vf_sub(vf_sub(vf_get(l + i, m), vmax), vlog));
        vf_put(l + i, vf_neg(vf_mul(vcoef, p)), m);
    });
}

void DM_K_INIT(head)(dm_kernels *k)
{
    k->lse_chunk = lse_chunk;
    k->logit_grad = logit_grad;
}
