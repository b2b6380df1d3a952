/* RMSNorm forward and backward, and the sums it is made of: along a row (dot) and down the columns. */
#include "simd/kernels/vec.h"

static float row_dot(const float *x, const float *y, size_t n)
{
    vf sum = vf_set1(0.0f);

    VF_EACH(i, m, n, sum = vf_keep(vf_fma(vf_get(x + i, m), vf_get(y + i, m), sum), sum, m));
    return vf_fold_sum(sum);
}

static float rmsnorm(float *y, const float *x, const float *w, size_t n, float eps)
{
    const float inv = 1.0f / sqrtf(row_dot(x, x, n) / (float)n + eps);
    const vf vinv = vf_set1(inv);

    VF_EACH(i, m, n, vf_put(y + i, vf_mul(vf_mul(vf_get(x + i, m), vinv), vf_get(w + i, m)), m));
    return inv;
}

static void rmsnorm_dx(float *dx, const float *dy, const float *x, const float *w, float inv, size_t n, int add)
{
    vf sum = vf_set1(0.0f);

    VF_EACH(i, m, n, {
        const vf a = vf_mul(vf_get(dy + i, m), vf_get(w + i, m));
        sum = vf_keep(vf_fma(a, vf_get(x + i, m), sum), sum, m);
    });
    const float c = vf_fold_sum(sum) * ((inv * inv) * inv) / (float)n;
    const vf vinv = vf_set1(inv), minus_c = vf_set1(-c);
    VF_EACH(i, m, n, {
        const vf a = vf_mul(vf_get(dy + i, m), vf_get(w + i, m));
        const vf r = vf_fma(minus_c, vf_get(x + i, m), vf_mul(a, vinv));
        vf_put(dx + i, add ? vf_add(vf_get(dx + i, m), r) : r, m);
    });
}

static void rmsnorm_dw(float *dw, const float *dy, const float *x, const float *inv, size_t rows, size_t stride,
                       size_t n)
{
    for (size_t t = 0; t < rows; t++, dy += stride, x += stride) {
        const vf vinv = vf_set1(inv[t]);
        VF_EACH(j, m, n, {
            const vf xn = vf_mul(vf_get(x + j, m), vinv);
            vf_put(dw + j, vf_fma(vf_get(dy + j, m), xn, vf_get(dw + j, m)), m);
        });
    }
}

static void column_sum(float *db, const float *dy, size_t rows, size_t stride, size_t n)
{
    for (size_t t = 0; t < rows; t++, dy += stride)
        VF_EACH(j, m, n, vf_put(db + j, vf_add(vf_get(db + j, m), vf_get(dy + j, m)), m));
}

void DM_K_INIT(norm)(dm_kernels *k)
{
    k->dot = row_dot;
    k->rmsnorm = rmsnorm;
    k->rmsnorm_dx = rmsnorm_dx;
    k->rmsnorm_dw = rmsnorm_dw;
    k->column_sum = column_sum;
}
