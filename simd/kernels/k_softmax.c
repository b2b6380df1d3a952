/* Softmax of one row in place, and its backward; and of up to 16 rows at once that lie in columns, where the sums of 16
 * lanes are 16 vectors and no lane is idle. */
#include "simd/kernels/vmath.h"

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

/* ---- rows in columns ---- */

/* EACH_KEY runs the statement for every key j; `old` are the lanes that do not see it (0: none). */
#define EACH_KEY(j, old, full, keys, ...)                                                                              \
    do {                                                                                                               \
        size_t j = 0;                                                                                                  \
        for (; j < (full); j++) {                                                                                      \
            const size_t old = 0;                                                                                      \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
        for (; j < (keys); j++) {                                                                                      \
            const size_t old = j - (full) + 1;                                                                         \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    } while (0)

DM_INLINE vf seen(vf now, vf before, size_t old)
{
    return old == 0 ? now : vf_sel(vm_first(old), before, now);
}

/* The tree of vf_fold_sum, in each lane. */
DM_INLINE vf fold_vectors(vf acc[VF])
{
    for (int w = VF / 2; w > 0; w /= 2)
        for (int l = 0; l < w; l++)
            acc[l] = vf_add(acc[l], acc[l + w]);
    return acc[0];
}

/* The maximum needs no lanes: which of equals stays decides at most the sign of a zero that is subtracted. */
DM_INLINE void columns(float *s, size_t ld, const size_t lanes, size_t full, size_t keys, float scale)
{
    const vf vscale = vf_set1(scale), none = vf_set1(-INFINITY);
    vf top[4] = {none, none, none, none}, sum[VF];

    for (size_t l = 0; l < VF; l++)
        sum[l] = vf_set1(0.0f);
    size_t i = 0;
    for (; full - i >= 4; i += 4)
        for (size_t l = 0; l < 4; l++)
            top[l] = vf_max(vf_mul(vf_get(s + (i + l) * ld, lanes), vscale), top[l]);
    EACH_KEY(j, old, full - i, keys - i, {
        const vf x = vf_mul(vf_get(s + (i + j) * ld, lanes), vscale);
        top[0] = seen(vf_max(x, top[0]), top[0], old);
    });
    const vf max = vf_max(vf_max(top[0], top[1]), vf_max(top[2], top[3]));
    for (i = 0; full - i >= VF; i += VF)
        for (size_t l = 0; l < VF; l++) {
            float *at = s + (i + l) * ld;
            const vf e = vf_exp(vf_sub(vf_mul(vf_get(at, lanes), vscale), max));
            vf_put(at, e, lanes);
            sum[l] = vf_add(sum[l], e);
        }
    EACH_KEY(j, old, full - i, keys - i, {
        float *at = s + (i + j) * ld;
        const vf e = vf_exp(vf_sub(vf_mul(vf_get(at, lanes), vscale), max));
        vf_put(at, e, lanes);
        sum[j % VF] = seen(vf_add(sum[j % VF], e), sum[j % VF], old);
    });
    const vf r = vf_div(vf_set1(1.0f), fold_vectors(sum));
    for (size_t j = 0; j < keys; j++)
        vf_put(s + j * ld, vf_mul(vf_get(s + j * ld, lanes), r), lanes);
}

static void softmax_columns(float *s, size_t ld, size_t lanes, size_t full, size_t keys, float scale)
{
    if (lanes == VF)
        columns(s, ld, VF, full, keys, scale);
    else
        columns(s, ld, lanes, full, keys, scale);
}

DM_INLINE void columns_backward(float *ds, const float *p, size_t ld, const size_t lanes, size_t full, size_t keys,
                                float scale)
{
    const vf vscale = vf_set1(scale);
    vf sum[VF];
    size_t i = 0;

    for (size_t l = 0; l < VF; l++)
        sum[l] = vf_set1(0.0f);
    for (; full - i >= VF; i += VF)
        for (size_t l = 0; l < VF; l++)
            sum[l] = vf_fma(vf_get(p + (i + l) * ld, lanes), vf_get(ds + (i + l) * ld, lanes), sum[l]);
    EACH_KEY(j, old, full - i, keys - i, {
        const vf x = vf_fma(vf_get(p + (i + j) * ld, lanes), vf_get(ds + (i + j) * ld, lanes), sum[j % VF]);
        sum[j % VF] = seen(x, sum[j % VF], old);
    });
    const vf d = fold_vectors(sum);
    for (size_t j = 0; j < keys; j++) {
        const vf r = vf_mul(vf_get(p + j * ld, lanes), vf_sub(vf_get(ds + j * ld, lanes), d));
        vf_put(ds + j * ld, vf_mul(r, vscale), lanes);
    }
}

static void softmax_columns_backward(float *ds, const float *p, size_t ld, size_t lanes, size_t full, size_t keys,
                                     float scale)
{
    if (lanes == VF)
        columns_backward(ds, p, ld, VF, full, keys, scale);
    else
        columns_backward(ds, p, ld, lanes, full, keys, scale);
}

void DM_K_INIT(softmax)(dm_kernels *k)
{
    k->softmax = softmax;
    k->softmax_backward = softmax_backward;
    k->softmax_columns = softmax_columns;
    k->softmax_columns_backward = softmax_columns_backward;
}
