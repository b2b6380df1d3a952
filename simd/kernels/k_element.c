/* Element by element: add, scale, exp, sigmoid. */
#include "simd/kernels/vmath.h"

static void row_add(float *y, const float *x, size_t n)
{
    VF_EACH(i, m, n, vf_put(y + i, vf_add(vf_get(y + i, m), vf_get(x + i, m)), m));
}

static void row_scale(float *y, float a, size_t n)
{
    const vf va = vf_set1(a);

    VF_EACH(i, m, n, vf_put(y + i, vf_mul(vf_get(y + i, m), va), m));
}

static void row_exp(float *y, const float *x, size_t n)
{
    VF_EACH(i, m, n, vf_put(y + i, vf_exp(vf_get(x + i, m)), m));
}

static void row_sigmoid(float *y, const float *x, size_t n)
{
    VF_EACH(i, m, n, vf_put(y + i, vf_sigmoid(vf_get(x + i, m)), m));
}

#if HAVE_SLEEF
static void row_own_exp(float *y, const float *x, size_t n)
{
    VF_EACH(i, m, n, vf_put(y + i, vf_own_exp(vf_get(x + i, m)), m));
}

static void row_own_sigmoid(float *y, const float *x, size_t n)
{
    VF_EACH(i, m, n, vf_put(y + i, vf_own_sigmoid(vf_get(x + i, m)), m));
}
#endif

void DM_K_INIT(element)(dm_kernels *k)
{
    k->add = row_add;
    k->scale = row_scale;
    k->exp = row_exp;
    k->sigmoid = row_sigmoid;
#if HAVE_SLEEF
    k->own_exp = row_own_exp;
    k->own_sigmoid = row_own_sigmoid;
#endif
}
