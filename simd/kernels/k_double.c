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

static inline __attribute__((always_inline)) vd get(const double *p)
{
    vd v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline __attribute__((always_inline)) void some_rows(double *c, const double *a, const double *b, size_t k)
{
    vd acc[ROWS][VECTORS];

#pragma GCC unroll 8
    for (size_t i = 0; i < ROWS; i++)
#pragma GCC unroll 8
        for (size_t j = 0; j < VECTORS; j++)
            acc[i][j] = get(c + i * DM_DOUBLE_COLUMNS + j * LANES);
    for (size_t p = 0; p < k; p++, a += DM_DOUBLE_ROWS, b += DM_DOUBLE_COLUMNS)
#pragma GCC unroll 8
        for (size_t i = 0; i < ROWS; i++)
#pragma GCC unroll 8
            for (size_t j = 0; j < VECTORS; j++)
                acc[i][j] += a[i] * get(b + j * LANES);
#pragma GCC unroll 8
    for (size_t i = 0; i < ROWS; i++)
#pragma GCC unroll 8
        for (size_t j = 0; j < VECTORS; j++)
            memcpy(c + i * DM_DOUBLE_COLUMNS + j * LANES, &acc[i][j], sizeof(vd));
}

static void double_tile(double *c, const double *a, const double *b, size_t k)
{
    for (size_t i = 0; i < DM_DOUBLE_ROWS; i += ROWS)
        some_rows(c + i * DM_DOUBLE_COLUMNS, a + i, b, k);
}

static void double_share(double *restrict s, size_t stride, const double *restrict x, size_t n, const double *w)
{
    double *restrict size = s + stride, *restrict sound = s + 2 * stride, *restrict likely = s + 3 * stride;
    const double w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];

    for (size_t i = 0; i < n; i++) {
        const double m = fabs(x[i]);
        s[i] += w0 * x[i];
        size[i] += w1 * m;
        sound[i] += w2 * m;
        likely[i] += w3 * m;
    }
}

void DM_K_INIT(double)(dm_kernels *k)
{
    k->double_share = double_share;
    k->double_tile = double_tile;
}
