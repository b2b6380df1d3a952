/* A few rows against a weight matrix that is read once (generation): C[m x n] (+)= A[m x k] * W[n x k]^T, m <= 8, the
 * rows of W contiguous. Squares of VL x VL weights are turned around in registers and used at once, so that memory sees
 * one pass over W and nothing else. Every element is the chain of gemm_kernel.h, which is why lanes are columns of
 * C. */
#include <stddef.h>

#include "core/numbers/numeric.h"
#include "simd/kernels/families.h"
#include "simd/kernels/gemm/gemm_kernel.h"
#include "simd/kernels/gemm/gemm_level.h"

/* Blocks of VL columns taken together: enough chains in flight to hide the latency of fma in short registers. */
#define GROUPS (GEMM_VL < 8 ? 4 : 1)

/* A stream for each row is more than prefetchers follow. While a square is used, as much of the next rows, which lie
 * after these, comes into L2: L1 has no room for two times VL rows. From there 16 streams still need prefetch
 * instructions. */
static inline void prefetch(const float *square, const float *next, size_t ldw)
{
    for (size_t l = 0; l < GEMM_VL * GEMM_VL; l += 16)
        __builtin_prefetch(next + l, 0, 2);
    for (size_t l = 0; GEMM_VL >= 16 && l < GEMM_VL; l++)
        __builtin_prefetch(square + l * ldw + 2 * GEMM_VL, 0, 3);
}

static inline __attribute__((always_inline)) void multiply(const size_t m, gv *acc, const gv *r, size_t steps,
                                                           const float *a, size_t lda)
{
    for (size_t l = 0; l < steps; l++)
        for (size_t i = 0; i < m; i++)
            acc[i] = gv_fma(gv_set1(a + i * lda + l), r[l], acc[i]);
}

/* `groups` whole blocks of columns and, with groups == 1, also what is left (rows < VL). All but k and the strides are
 * constants or nearly so at every call. */
static inline __attribute__((always_inline)) void columns(const size_t m, const size_t groups, size_t rows, size_t k,
                                                          const float *a, size_t lda, const float *w, size_t ldw,
                                                          float *c, size_t ldc, int first)
{
    gv acc[GROUPS][DM_GEMM_SKINNY], r[GEMM_VL];
    size_t p = 0;

    for (size_t g = 0; g < groups; g++)
        for (size_t i = 0; i < m; i++)
            acc[g][i] = first ? gv_zero() : gv_loadn(c + i * ldc + g * GEMM_VL, rows);
    for (; rows == GEMM_VL && k - p >= GEMM_VL; p += GEMM_VL)
        for (size_t g = 0; g < groups; g++) {
            const float *square = w + g * GEMM_VL * ldw + p;
            prefetch(square, w + (groups + g) * GEMM_VL * ldw + p * GEMM_VL, ldw);
            for (size_t l = 0; l < GEMM_VL; l++)
                r[l] = gv_load(square + l * ldw);
            gv_transpose(r);
            multiply(m, acc[g], r, GEMM_VL, a + p, lda);
        }
    for (; p < k; p += GEMM_VL)
        for (size_t g = 0; g < groups; g++) {
            const size_t steps = k - p < GEMM_VL ? k - p : GEMM_VL;
            for (size_t l = 0; l < GEMM_VL; l++)
                r[l] = l < rows ? gv_loadn(w + (g * GEMM_VL + l) * ldw + p, steps) : gv_zero();
            gv_transpose(r);
            multiply(m, acc[g], r, steps, a + p, lda);
        }
    for (size_t g = 0; g < groups; g++)
        for (size_t i = 0; i < m; i++)
            gv_storen(c + i * ldc + g * GEMM_VL, acc[g][i], rows);
}

/* Whether whole blocks have code of their own: with AVX2 it is as fast without, and half as much is compiled; with
 * AVX-512 eight rows would be a sixth slower. */
#define OWN_LOOP(groups) ((groups) > 1 || GEMM_VL >= 16)

static inline __attribute__((always_inline)) void all_columns(const size_t m, const size_t groups, size_t n, size_t k,
                                                              const float *a, size_t lda, const float *w, size_t ldw,
                                                              float *c, size_t ldc, int first)
{
    size_t j = 0;

    for (; OWN_LOOP(groups) && n - j >= groups * GEMM_VL; j += groups * GEMM_VL)
        columns(m, groups, GEMM_VL, k, a, lda, w + j * ldw, ldw, c + j, ldc, first);
    for (; j < n; j += GEMM_VL)
        columns(m, 1, n - j < GEMM_VL ? n - j : GEMM_VL, k, a, lda, w + j * ldw, ldw, c + j, ldc, first);
}

#if GEMM_VL == DM_GEMM_SKINNY
/* As many rows as lanes: then lanes can be rows of A, weights are taken one by one, and nothing is turned around but A,
 * DEPTH steps of it at a time. */
#define DEPTH ((size_t)1024)
#define TILE 12 /* columns; with x and a weight they fill the registers */

static inline __attribute__((always_inline)) void row_tile(size_t k, const float (*a)[GEMM_VL], const float *w,
                                                           size_t ldw, float *c, size_t ldc, int first)
{
    float tile[TILE][GEMM_VL] = {{0}};
    gv acc[TILE];

    for (size_t i = 0; i < GEMM_VL && !first; i++)
        for (size_t j = 0; j < TILE; j++)
            tile[j][i] = c[i * ldc + j];
    for (size_t j = 0; j < TILE; j++)
        acc[j] = gv_load(tile[j]);
    for (size_t p = 0; p < k; p++) {
        const gv x = gv_load(a[p]);
        for (size_t j = 0; j < TILE && p % 16 == 0; j++)
            __builtin_prefetch(w + (TILE + j) * ldw + p, 0, 2);
        for (size_t j = 0; j < TILE; j++)
            acc[j] = gv_fma(x, gv_set1(w + j * ldw + p), acc[j]);
    }
    for (size_t j = 0; j < TILE; j++)
        gv_store(tile[j], acc[j]);
    for (size_t i = 0; i < GEMM_VL; i++)
        for (size_t j = 0; j < TILE; j++)
            c[i * ldc + j] = tile[j][i];
}

/* Columns [0, result). */
static size_t row_tiles(size_t n, size_t k, const float *a, size_t lda, const float *w, size_t ldw, float *c,
                        size_t ldc, int first)
{
    float turned[DEPTH][GEMM_VL];
    size_t j = 0;

    for (size_t p = 0; p < k; p += DEPTH) {
        const size_t depth = k - p < DEPTH ? k - p : DEPTH;
        for (size_t l = 0; l < depth; l++)
            for (size_t i = 0; i < GEMM_VL; i++)
                turned[l][i] = a[i * lda + p + l];
        for (j = 0; n - j >= TILE; j += TILE)
            row_tile(depth, turned, w + j * ldw + p, ldw, c + j, ldc, first && p == 0);
    }
    return j;
}
#endif

static void skinny(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *w, size_t ldw, float *c,
                   size_t ldc, int first)
{
#if GEMM_VL == DM_GEMM_SKINNY
    if (m == GEMM_VL) {
        const size_t done = row_tiles(n, k, a, lda, w, ldw, c, ldc, first);
        w += done * ldw;
        c += done;
        n -= done;
    }
#endif
    switch (m) {
#define CASE(i, groups)                                                                                                \
    case i:                                                                                                            \
        all_columns(i, groups, n, k, a, lda, w, ldw, c, ldc, first);                                                   \
        break;
        CASE(1, GROUPS)
        CASE(2, (GROUPS + 1) / 2)
        CASE(3, 1)
        CASE(4, 1)
        CASE(5, 1)
        CASE(6, 1)
        CASE(7, 1)
        CASE(8, 1)
#undef CASE
    }
}

void GEMM_LEVEL(dm_k_skinny_init)(dm_kernels *k)
{
    k->skinny = skinny;
}
