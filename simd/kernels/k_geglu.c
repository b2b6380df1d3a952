/* GeGLU: h = gelu(g) * u in GELU's tanh form, and its backward. */
#include "simd/kernels/vmath.h"

/* Beyond 16 either way the sigmoid is 1 or 0 whatever g is, and g * g could overflow. */
DM_INLINE vf clamped(vf g)
{
    return vf_min(vf_set1(DM_GELU_MAX), vf_max(vf_set1(-DM_GELU_MAX), g));
}

DM_INLINE vf gate_of(vf c, vf square)
{
    return vf_sigmoid(vf_mul(c, vf_fma(vf_set1(DM_GELU_C3), square, vf_set1(DM_GELU_C1))));
}

static void geglu(float *h, const float *g, const float *u, size_t n)
{
    VF_EACH(i, m, n, {
        const vf vg = vf_get(g + i, m), c = clamped(vg);
        vf_put(h + i, vf_mul(vf_mul(vg, gate_of(c, vf_mul(c, c))), vf_get(u + i, m)), m);
    });
}

static void geglu_backward(float *dg, float *du, const float *dh, const float *g, const float *u, size_t n)
{
    const vf one = vf_set1(1.0f);

    VF_EACH(i, m, n, {
        const vf vg = vf_get(g + i, m), vu = vf_get(u + i, m), d = vf_get(dh + i, m);
        const vf c = clamped(vg), square = vf_mul(c, c), s = gate_of(c, square);
        const vf t = vf_mul(c, vf_fma(vf_set1(DM_GELU_3C3), square, vf_set1(DM_GELU_C1)));
        const vf slope = vf_mul(s, vf_fma(t, vf_sub(one, s), one));
        vf_put(du + i, vf_mul(d, vf_mul(vg, s)), m);
        vf_put(dg + i, vf_mul(vf_mul(d, vu), slope), m);
    });
}

void DM_K_INIT(geglu)(dm_kernels *k)
{
    k->geglu = geglu;
    k->geglu_backward = geglu_backward;
}
