/* Products in double, for judging traces (model/truth/product.h). Lanes are columns, so each element is one
 * chain over k, and products are rounded before they are added: the bits are the same at every level. */
#include <math.h>
#include <string.h>

#include "simd/kernels/vec.h"

/* Lanes of a vector, and rows that are taken together: what the registers hold. */
#if defined(DM_SIMD_AVX512)
#define LANES 8
#define ROWS 8
#elif defined(DM_SIMD_AVX2)
#define LANES 4
#define ROWS 2
#else
#define LANES 2
#define ROWS 1
#endif
#define VECTORS (DM_DOUBLE_COLUMNS / LANES)

typedef double vd __attribute__((vector_size(LANES * sizeof(double))));
typedef int64_t vl __attribute__((vector_size(LANES * sizeof(int64_t))));

static inline __attribute__((always_inline)) vd get(const double *p)
{
    vd v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline __attribute__((always_inline)) void put(double *p, vd v)
{
    memcpy(p, &v, sizeof v);
}

static inline __attribute__((always_inline)) void some_rows(double *c, const double *a, const double *b, size_t k)
{
    vd acc[ROWS][VECTORS];

#pragma GCC unroll 8
    for (size_t i = 0; i < ROWS; i++)
#pragma GCC unroll 8
        for (size_t j = 0; j < VECTORS; j++)
            acc[i][j] = (vd){0};
    for (size_t p = 0; p < k; p++, a += DM_DOUBLE_ROWS, b += DM_DOUBLE_COLUMNS)
#pragma GCC unroll 8
        for (size_t i = 0; i < ROWS; i++)
#pragma GCC unroll 8
            for (size_t j = 0; j < VECTORS; j++)
                acc[i][j] += a[i] * get(b + j * LANES);
#pragma GCC unroll 8
    for (size_t i = 0; i < ROWS; i++)
#pragma GCC unroll 8
        for (size_t j = 0; j < VECTORS; j++) {
            double *to = c + i * DM_DOUBLE_COLUMNS + j * LANES;
            put(to, get(to) + acc[i][j]);
        }
}

static void double_tile(double *c, const double *a, const double *b, size_t k)
{
    for (size_t p = 0; p < k; p += DM_DOUBLE_CHAIN)
        for (size_t i = 0; i < DM_DOUBLE_ROWS; i += ROWS)
            some_rows(c + i * DM_DOUBLE_COLUMNS, a + p * DM_DOUBLE_ROWS + i, b + p * DM_DOUBLE_COLUMNS,
                      k - p < DM_DOUBLE_CHAIN ? k - p : DM_DOUBLE_CHAIN);
}

/* x = n ln 2 + r, |r| <= ln 2 / 2; the first product is exact. Then exp(r) by Taylor, and n into the exponent. */
static inline __attribute__((always_inline)) vd exponential(vd x)
{
    static const double c[] = DM_DOUBLE_EXP_COEFFICIENTS;
    const vd magic = (vd){0} + DM_DOUBLE_EXP_MAGIC, t = x * DM_DOUBLE_LOG2E + magic, n = t - magic;
    const vd r = (x - n * DM_DOUBLE_LN2_HI) - n * DM_DOUBLE_LN2_LO;
    vd q = (vd){0} + c[0];

    for (size_t i = 1; i < sizeof c / sizeof *c; i++)
        q = q * r + c[i];
    const vd one = (vd){0} + 1, y = one + (r + (r * r) * q);
    const vl power = (vl)y + ((vl)t << 52), keep = (vl)(x >= (vd){0} + DM_DOUBLE_EXP_LEAST), nan = (vl)(x != x);

    return (vd)((power & keep) | ((vl)x & nan));
}

static void double_exp(double *y, const double *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        put(y + i, exponential(get(x + i)));
    if (i < n) {
        double rest[LANES] = {0};
        memcpy(rest, x + i, (n - i) * sizeof *rest);
        put(rest, exponential(get(rest)));
        memcpy(y + i, rest, (n - i) * sizeof *rest);
    }
}

static inline __attribute__((always_inline)) vd magnitude(vd x)
{
    return (vd)((vl)x & ((vl){0} + INT64_MAX));
}

/* Columns [j, j + width) of double_dots, width a multiple of LANES. */
static inline __attribute__((always_inline)) void some_dots(double *value, double *size, const double *x,
                                                            const double *w, size_t stride, size_t d, size_t vectors)
{
    vd s[4], a[4];

#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++)
        s[v] = a[v] = (vd){0};
    for (size_t i = 0; i < d; i++)
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            const vd t = x[i] * get(w + i * stride + v * LANES);
            s[v] += t;
            a[v] += magnitude(t);
        }
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++) {
        put(value + v * LANES, s[v]);
        put(size + v * LANES, a[v]);
    }
}

static void double_dots(double *value, double *size, const double *x, const double *w, size_t stride, size_t d,
                        size_t n)
{
    size_t j = 0;

    for (; j + 4 * LANES <= n; j += 4 * LANES)
        some_dots(value + j, size + j, x, w + j, stride, d, 4);
    for (; j + LANES <= n; j += LANES)
        some_dots(value + j, size + j, x, w + j, stride, d, 1);
    for (; j < n; j++) {
        value[j] = size[j] = 0;
        for (size_t i = 0; i < d; i++) {
            const double t = x[i] * w[i * stride + j];
            value[j] += t;
            size[j] += fabs(t);
        }
    }
}

/* `vectors` vectors of columns of double_share: the sums stay in registers. */
static inline __attribute__((always_inline)) void some_shares(double *s, size_t stride, const double *x, size_t row,
                                                              const double *w, size_t ws, size_t count, size_t vectors)
{
    vd sum[4][2];

#pragma GCC unroll 4
    for (size_t m = 0; m < 4; m++)
#pragma GCC unroll 2
        for (size_t v = 0; v < vectors; v++)
            sum[m][v] = get(s + m * stride + v * LANES);
    for (size_t j = 0; j < count; j++, x += row)
#pragma GCC unroll 2
        for (size_t v = 0; v < vectors; v++) {
            const vd t = get(x + v * LANES), a = magnitude(t);
            sum[0][v] += w[j] * t;
#pragma GCC unroll 4
            for (size_t m = 1; m < 4; m++)
                sum[m][v] += w[m * ws + j] * a;
        }
#pragma GCC unroll 4
    for (size_t m = 0; m < 4; m++)
#pragma GCC unroll 2
        for (size_t v = 0; v < vectors; v++)
            put(s + m * stride + v * LANES, sum[m][v]);
}

static void double_share(double *s, size_t stride, const double *x, size_t row, size_t n, const double *w, size_t ws,
                         size_t count)
{
    size_t i = 0;

    for (; i + 2 * LANES <= n; i += 2 * LANES)
        some_shares(s + i, stride, x + i, row, w, ws, count, 2);
    for (; i + LANES <= n; i += LANES)
        some_shares(s + i, stride, x + i, row, w, ws, count, 1);
    for (; i < n; i++)
        for (size_t j = 0; j < count; j++) {
            const double t = x[j * row + i];
            s[i] += w[j] * t;
            for (size_t m = 1; m < 4; m++)
                s[m * stride + i] += w[m * ws + j] * fabs(t);
        }
}

void DM_K_INIT(double)(dm_kernels *k)
{
    k->double_dots = double_dots;
    k->double_exp = double_exp;
    k->double_share = double_share;
    k->double_tile = double_tile;
}
