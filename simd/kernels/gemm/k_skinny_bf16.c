/* A few rows against a weight matrix that is read once, as k_skinny.c, in the order of the bf16 product. Where the
 * processor flushes as the product wants it; elsewhere packing, which knows the smallest magnitudes, does the same. */
#include <stddef.h>

#include "core/numbers/numeric.h"
#include "simd/kernels/gemm/gemm_level.h"
#include "simd/kernels/vec.h"

static void round_bf16(float *y, const float *x, size_t n)
{
    VF_EACH(i, m, n, vf_put(y + i, vf_round_bf16(vf_get(x + i, m)), m));
}

#if GEMM_MODE

#define STEP DM_GEMM_BF16_STEP

/* While a square is used, as much of the next rows comes into L2, and 16 streams' next lines into L1 (k_skinny.c). */
static inline void prefetch(const float *square, const float *next, size_t ldw)
{
    for (size_t l = 0; l < GEMM_VL * GEMM_VL; l += 16)
        __builtin_prefetch(next + l, 0, 2);
    for (size_t l = 0; GEMM_VL >= 16 && l < GEMM_VL; l++)
        __builtin_prefetch(square + l * ldw + 2 * GEMM_VL, 0, 3);
}

/* Rows of W, as many steps of each, become as many registers of one step. */
static inline __attribute__((always_inline)) void turn(gv r[GEMM_VL], size_t rows, size_t steps, const float *w,
                                                       size_t ldw)
{
    if (rows == GEMM_VL && steps == GEMM_VL)
        for (size_t l = 0; l < GEMM_VL; l++)
            r[l] = gv_round(gv_load(w + l * ldw));
    else
        for (size_t l = 0; l < GEMM_VL; l++)
            r[l] = l < rows ? gv_round(gv_loadn(w + l * ldw, steps)) : gv_zero();
    gv_transpose(r);
}

/* m is a constant at every call. */
static inline __attribute__((always_inline)) void columns(const size_t m, size_t rows, size_t k, const float *a,
                                                          size_t lda, const float *w, size_t ldw, float *c, size_t ldc,
                                                          int first)
{
    gv sum[DM_GEMM_SKINNY], chain[2][DM_GEMM_SKINNY], r[GEMM_VL];

    for (size_t i = 0; i < m; i++)
        sum[i] = first ? gv_zero() : gv_loadn(c + i * ldc, rows);
    for (size_t p = 0; p < k; p += STEP) {
        const size_t steps = k - p < STEP ? k - p : STEP;
        for (size_t i = 0; i < m; i++)
            chain[0][i] = chain[1][i] = gv_zero();
        for (size_t s = p; s < p + steps; s += GEMM_VL) {
            const size_t count = p + steps - s < GEMM_VL ? p + steps - s : GEMM_VL;
            prefetch(w + s, w + GEMM_VL * ldw + s * GEMM_VL, ldw);
            turn(r, rows, count, w + s, ldw);
            for (size_t l = 0; l < count; l++)
                for (size_t i = 0; i < m; i++)
                    chain[l % 2][i] = gv_fma(gv_set1(a + i * lda + s + l), r[l], chain[l % 2][i]);
        }
        for (size_t i = 0; i < m; i++) { /* zeros that fill a block up turn -0 into +0 */
            if (steps < STEP - 1)
                chain[0][i] = gv_add(chain[0][i], gv_zero());
            if (steps < STEP)
                chain[1][i] = gv_add(chain[1][i], gv_zero());
            sum[i] = gv_add(sum[i], gv_add(chain[0][i], chain[1][i]));
        }
    }
    for (size_t i = 0; i < m; i++)
        gv_storen(c + i * ldc, sum[i], rows);
}

static __attribute__((noinline)) void multiply(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *w,
                                               size_t ldw, float *c, size_t ldc, int first)
{
    for (size_t j = 0; j < n; j += GEMM_VL) {
        const size_t rows = n - j < GEMM_VL ? n - j : GEMM_VL;
        switch (m) {
#define CASE(i)                                                                                                        \
    case i:                                                                                                            \
        columns(i, rows, k, a, lda, w + j * ldw, ldw, c + j, ldc, first);                                              \
        break;
            CASE(1)
            CASE(2)
            CASE(3)
            CASE(4)
            CASE(5)
            CASE(6)
            CASE(7)
            CASE(8)
#undef CASE
        }
    }
}

static void few_rows(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *w, size_t ldw, float *c,
                     size_t ldc, int first)
{
    const unsigned before = gemm_mode_enter();
    multiply(m, n, k, a, lda, w, ldw, c, ldc, first);
    gemm_mode_leave(before);
}

#endif

void DM_K_INIT(skinny_bf16)(dm_kernels *k)
{
    k->round_bf16 = round_bf16;
#if GEMM_MODE
    k->skinny_bf16 = few_rows;
#else
    k->skinny_bf16 = NULL;
#endif
}
