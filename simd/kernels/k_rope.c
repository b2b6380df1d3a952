/* Rotary position embedding of one head: the plane (x[i], x[i + n/2]) turns by the angle i. */
#include "simd/kernels/vec.h"

static void rope(float *x, const float *c, const float *s, size_t n, int inverse)
{
    const size_t half = n / 2;
    float *y = x + half;

    VF_EACH(i, m, half, {
        const vf a = vf_get(x + i, m), b = vf_get(y + i, m), vc = vf_get(c + i, m), s0 = vf_get(s + i, m);
        const vf vs = inverse ? vf_neg(s0) : s0;
        vf_put(x + i, vf_fma(vf_neg(b), vs, vf_mul(a, vc)), m);
        vf_put(y + i, vf_fma(a, vs, vf_mul(b, vc)), m);
    });
}

void DM_K_INIT(rope)(dm_kernels *k)
{
    k->rope = rope;
}
