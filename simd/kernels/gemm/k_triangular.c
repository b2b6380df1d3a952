/* Products along the diagonal of a causal mask (simd/kernels/gemm/gemm_kernel.h: lanes, rows): what a row or column
 * does not see takes no step, and the tile stays in registers meanwhile. */
#include <stddef.h>

#include "core/numbers/numeric.h"
#include "simd/kernels/families.h"
#include "simd/kernels/gemm/gemm_kernel.h"
#include "simd/kernels/gemm/gemm_level.h"

/* Rows are taken GEMM_MR at a time; what is left, in powers of two. */
#define BY_ROWS(m, each)                                                                                               \
    while ((m) > 0) {                                                                                                  \
        if ((m) >= GEMM_MR) {                                                                                          \
            each(GEMM_MR);                                                                                             \
        } else if (GEMM_MR > 8 && (m) >= 8) {                                                                          \
            each(8);                                                                                                   \
        } else if (GEMM_MR > 4 && (m) >= 4) {                                                                          \
            each(4);                                                                                                   \
        } else if ((m) >= 2) {                                                                                         \
            each(2);                                                                                                   \
        } else {                                                                                                       \
            each(1);                                                                                                   \
        }                                                                                                              \
    }

/* ---- lanes ---- */

static inline __attribute__((always_inline)) void lanes_tile(const size_t m, size_t k, const float *a, const float *b,
                                                             float *c, size_t ldc, int first)
{
    gv acc[GEMM_MR][GEMM_NV], y[GEMM_NV];

#define ROW(i)                                                                                                         \
    for (size_t j = 0; i < m && j < GEMM_NV; j++)                                                                      \
        acc[i][j] = first ? gv_zero() : gv_load(c + i * ldc + j * GEMM_VL);
    GEMM_ROWS(ROW)
#undef ROW
    for (size_t p = 0; p < k; p++, a += GEMM_MR, b += GEMM_NR) {
        size_t below[GEMM_NV];
        for (size_t j = 0; j < GEMM_NV; j++) {
            below[j] = p < j * GEMM_VL ? 0 : p - j * GEMM_VL < GEMM_VL ? p - j * GEMM_VL : GEMM_VL;
            y[j] = gv_load(b + j * GEMM_VL);
        }
#define ROW(i)                                                                                                         \
    if (i < m) {                                                                                                       \
        const gv x = gv_set1(a + i);                                                                                   \
        for (size_t j = 0; j < GEMM_NV; j++)                                                                           \
            acc[i][j] = gv_fma_from(x, y[j], acc[i][j], below[j]);                                                     \
    }
        GEMM_ROWS(ROW)
#undef ROW
    }
#define ROW(i)                                                                                                         \
    for (size_t j = 0; i < m && j < GEMM_NV; j++)                                                                      \
        gv_store(c + i * ldc + j * GEMM_VL, acc[i][j]);
    GEMM_ROWS(ROW)
#undef ROW
}

static void lanes(size_t m, size_t k, const float *a, const float *b, float *c, size_t ldc, int first)
{
#define EACH(rows)                                                                                                     \
    lanes_tile(rows, k, a, b, c, ldc, first);                                                                          \
    m -= (rows), a += (rows), c += (rows)*ldc
    BY_ROWS(m, EACH)
#undef EACH
}

/* ---- rows ---- */

#define rows_load gv_load
#define rows_loadn gv_loadn
#define rows_storen gv_storen
#define rows_set1 gv_set1
#define rows_fma gv_fma
#define ROWS_V gv
#define ROWS_VL GEMM_VL

#define ROWS_TILE rows_whole
#define ROWS_NV GEMM_NV
#include "simd/kernels/gemm/triangular_rows.h"
#undef ROWS_TILE
#undef ROWS_NV

#define ROWS_TILE rows_one
#define ROWS_NV 1
#include "simd/kernels/gemm/triangular_rows.h"
#undef ROWS_TILE
#undef ROWS_NV
#undef ROWS_V
#undef ROWS_VL
#undef rows_load
#undef rows_loadn
#undef rows_storen
#undef rows_set1
#undef rows_fma

#if defined(DM_SIMD_AVX512)
/* Heads of eight columns: where a register of 512 bits takes two turns, half of one takes one. */
#define HALF 8
#define rows_load _mm256_loadu_ps
#define rows_loadn(p, n) _mm256_maskz_loadu_ps((__mmask8)((1u << (n)) - 1u), p)
#define rows_storen(p, x, n) _mm256_mask_storeu_ps(p, (__mmask8)((1u << (n)) - 1u), x)
#define rows_set1 _mm256_broadcast_ss
#define rows_fma _mm256_fmadd_ps
#define ROWS_TILE rows_half
#define ROWS_V __m256
#define ROWS_VL HALF
#define ROWS_NV 1
#include "simd/kernels/gemm/triangular_rows.h"
#endif

static void rows(size_t m, size_t n, size_t k, const float *a, size_t step, const float *b, float *c, size_t ldc,
                 ptrdiff_t late)
{
#define EACH(rows)                                                                                                     \
    SOME(rows)                                                                                                         \
    m -= (rows), a += (rows)*GEMM_NR, c += (rows)*ldc, late += (rows)
#ifdef HALF
#define SOME(rows)                                                                                                     \
    if (n <= HALF)                                                                                                     \
        rows_half(rows, n, k, a, step, b, c, ldc, late);                                                               \
    else if (n <= GEMM_VL)                                                                                             \
        rows_one(rows, n, k, a, step, b, c, ldc, late);                                                                \
    else                                                                                                               \
        rows_whole(rows, n, k, a, step, b, c, ldc, late);
#else
#define SOME(rows)                                                                                                     \
    if (n <= GEMM_VL)                                                                                                  \
        rows_one(rows, n, k, a, step, b, c, ldc, late);                                                                \
    else                                                                                                               \
        rows_whole(rows, n, k, a, step, b, c, ldc, late);
#endif
    BY_ROWS(m, EACH)
}

void GEMM_LEVEL(dm_k_triangular_init)(dm_kernels *k)
{
    k->lanes = lanes;
    k->rows = rows;
}
