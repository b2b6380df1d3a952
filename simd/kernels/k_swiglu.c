/* SwiGLU: h = g * sigmoid(g) * u, and its backward. */
#include "simd/kernels/vmath.h"

static void swiglu(float *h, const float *g, const float *u, size_t n)
{
    VF_EACH(i, m, n, {
        const vf vg = vf_get(g + i, m);
        vf_put(h + i, vf_mul(vf_mul(vg, vf_sigmoid(vg)), vf_get(u + i, m)), m);
    });
}

static void swiglu_backward(float *dg, float *du, const float *dh, const float *g, const float *u, size_t n)
{
    const vf one = vf_set1(1.0f);

    VF_EACH(i, m, n, {
        const vf vg = vf_get(g + i, m), vu = vf_get(u + i, m), d = vf_get(dh + i, m);
        const vf s = vf_sigmoid(vg);
        const vf slope = vf_mul(s, vf_fma(vg, vf_sub(one, s), one));
        vf_put(du + i, vf_mul(d, vf_mul(vg, s)), m);
        vf_put(dg + i, vf_mul(vf_mul(d, vu), slope), m);
    });
}

void DM_K_INIT(swiglu)(dm_kernels *k)
{
    k->swiglu = swiglu;
    k->swiglu_backward = swiglu_backward;
}
