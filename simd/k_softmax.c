/* Softmax of one row in place, and its backward. */
#include "simd/vmath.h"

static void softmax(float *s, size_t n, float scale)
{
    const vf vscale = vf_set1(scale);
    vf top = vf_set1(-INFINITY), sum = vf_set1(0.0f);

    VF_EACH(i, m, n, {
        const vf x = vf_mul(vf_get(s + i, m), vscale);
        vf_put(s + i, x, m);
        top = vf_keep(vf_max(x, top), top, m);
    });
    const vf vmax = vf_set1(vf_fold_max(top));
    VF_EACH(i, m, n, {
        const vf e = vf_exp(vf_sub(vf_get(s + i, m), vmax));
        vf_put(s + i, e, m);
        sum = vf_keep(vf_add(sum, e), sum, m);
    });
    const vf r = vf_set1(1.0f / vf_fold_sum(sum));
    VF_EACH(i, m, n, vf_put(s + i, vf_mul(vf_get(s + i, m), r), m));
}

static void softmax_backward(float *ds, const float *p, size_t n, float scale)
{
    const vf vscale = vf_set1(scale);
    vf sum = vf_set1(0.0f);

    VF_EACH(i, m, n, sum = vf_keep(vf_fma(vf_get(p + i, m), vf_get(ds + i, m), sum), sum, m));
    const vf d = vf_set1(vf_fold_sum(sum));
    VF_EACH(i, m, n, {
        const vf r = vf_mul(vf_get(p + i, m), vf_sub(vf_get(ds + i, m), d));
        vf_put(ds + i, vf_mul(r, vscale), m);
    });
}

void DM_K_INIT(softmax)(dm_kernels *k)
{
    k->softmax = softmax;
    k->softmax_backward = softmax_backward;
}
