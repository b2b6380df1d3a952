/* The bf16 product by f32 arithmetic: fma of bf16 numbers, which panels hold as f32, in the order of gemm_kernel.h. The
 * tile is that of the level's f32 kernel. The chain over the even steps of a block waits on the stack while that over
 * the odd ones has the registers; sums of C lie there, too, until the last block.
 *
 * x86 flushes what is tiny after rounding, as the contract wants it. Elsewhere plain IEEE arithmetic has the same bits
 * unless a product of two inputs may have digits below 2^-126: then a sum of products may be tiny, else it is a
 * multiple of something that is not. Behind each panel is its smallest magnitude but 0, which says so. */
#include <stdint.h>

#include "core/numbers/numeric.h"
#include "simd/kernels/gemm/bf16.h"
#include "simd/kernels/gemm/gemm_level.h"
#include "simd/kernels/vec.h"

#define STEP DM_GEMM_BF16_STEP

_Static_assert(GEMM_KC % DM_GEMM_BF16_STEP == 0, "blocks of k are whole steps");

/* ---- micro-kernel ---- */

#if GEMM_MODE
static inline gv gv_flush(gv x)
{
    return x; /* the mode does it */
}
#endif

#define EACH(F)                                                                                                        \
    for (size_t i = 0; i < m; i++)                                                                                     \
        for (size_t j = 0; j < nv; j++) {                                                                              \
            F                                                                                                          \
        }

/* m and nv (registers across, of which n columns exist) are constants at every call. */
static inline __attribute__((always_inline)) void tile(const size_t m, const size_t nv, size_t n, size_t k,
                                                       const float *a, const float *b, float *c, size_t ldc, int first)
{
    _Alignas(64) float sum[GEMM_MR * GEMM_NR], even[GEMM_MR * GEMM_NR];
    gv acc[GEMM_MR][GEMM_NV], y[GEMM_NV];

#define AT(array) (array + i * GEMM_NR + j * GEMM_VL)
#define ZERO(i, j)                                                                                                     \
    if (j < nv)                                                                                                        \
        acc[i][j] = gv_zero();
#define LOAD_B(i, j)                                                                                                   \
    if (j < nv)                                                                                                        \
        y[j] = gv_load(q + j * GEMM_VL);
#define FMA(i, j)                                                                                                      \
    if (j < nv)                                                                                                        \
        acc[i][j] = gv_fma(x, y[j], acc[i][j]);
#define PAD(i, j)                                                                                                      \
    if (j < nv)                                                                                                        \
        acc[i][j] = gv_add(acc[i][j], gv_zero());
#define KEEP(i, j)                                                                                                     \
    if (j < nv)                                                                                                        \
        gv_store(even + i * GEMM_NR + j * GEMM_VL, acc[i][j]);
#define SUM(i, j)                                                                                                      \
    if (j < nv) {                                                                                                      \
        float *at = sum + i * GEMM_NR + j * GEMM_VL;                                                                   \
        const gv both = gv_add(gv_load(even + i * GEMM_NR + j * GEMM_VL), acc[i][j]);                                  \
        gv_store(at, gv_flush(gv_add(gv_flush(gv_load(at)), both)));                                                   \
    }
#define ROW(F, i)                                                                                                      \
    if (i < m) {                                                                                                       \
        GEMM_COLS(F, i)                                                                                                \
    }
#define ZERO_ROW(i) ROW(ZERO, i)
#define PAD_ROW(i) ROW(PAD, i)
#define KEEP_ROW(i) ROW(KEEP, i)
#define SUM_ROW(i) ROW(SUM, i)
#define FMA_ROW(i)                                                                                                     \
    if (i < m) {                                                                                                       \
        const gv x = gv_set1(p + i);                                                                                   \
        GEMM_COLS(FMA, i)                                                                                              \
    }
/* The chain over the steps from, from + 2 ... of a block; zeros that fill it up turn -0 into +0. */
#define CHAIN(from)                                                                                                    \
    {                                                                                                                  \
        const float *p = a + from * GEMM_MR, *q = b + from * GEMM_NR;                                                  \
        GEMM_ROWS(ZERO_ROW)                                                                                            \
        for (size_t s = from; s < steps; s += 2, p += 2 * GEMM_MR, q += 2 * GEMM_NR) {                                 \
            GEMM_COLS(LOAD_B, 0)                                                                                       \
            GEMM_ROWS(FMA_ROW)                                                                                         \
        }                                                                                                              \
        if (steps < STEP - 1 + from) {                                                                                 \
            GEMM_ROWS(PAD_ROW)                                                                                         \
        }                                                                                                              \
    }

    if (first) {
        EACH(gv_store(AT(sum), gv_zero());)
    } else if (n == GEMM_NR) {
        EACH(gv_store(AT(sum), gv_load(c + i * ldc + j * GEMM_VL));)
    } else {
        EACH(const size_t lanes = gemm_inside(n, j);
             gv_store(AT(sum), lanes ? gv_loadn(c + i * ldc + j * GEMM_VL, lanes) : gv_zero());)
    }
    for (size_t steps; k > 0; k -= steps, a += steps * GEMM_MR, b += steps * GEMM_NR) {
        steps = k < STEP ? k : STEP;
        CHAIN(0)
        GEMM_ROWS(KEEP_ROW)
        CHAIN(1)
        GEMM_ROWS(SUM_ROW)
    }
    if (n == GEMM_NR) {
        EACH(gv_store(c + i * ldc + j * GEMM_VL, gv_load(AT(sum)));)
    } else {
        EACH(const size_t lanes = gemm_inside(n, j);
             if (lanes) gv_storen(c + i * ldc + j * GEMM_VL, gv_load(AT(sum)), lanes);)
    }
}

/* Not inlined: the compiler may move arithmetic over what sets the mode, but not calls. */
static __attribute__((noinline)) void multiply(size_t m, size_t n, size_t k, const float *a, const float *b, float *c,
                                               size_t ldc, int first)
{
    switch (m) {
        GEMM_ROWS(GEMM_TILE)
    }
}

#if GEMM_MODE

#define TRAILER 0

static void micro(size_t m, size_t n, size_t k, const float *a, const float *b, float *c, size_t ldc, int first)
{
    const unsigned before = gemm_mode_enter();
    multiply(m, n, k, a, b, c, ldc, first);
    gemm_mode_leave(before);
}

#else

#define TRAILER 16 /* keeps what follows aligned */

static float exact_chain(size_t from, size_t steps, const float *a, const float *b)
{
    float sum = 0.0f;

    for (size_t p = from; p < STEP; p += 2)
        sum = p < steps ? dm_bf16_fma(a[p * GEMM_MR], b[p * GEMM_NR], sum) : sum + 0.0f;
    return sum;
}

static void exact(size_t m, size_t n, size_t k, const float *a, const float *b, float *c, size_t ldc, int first)
{
    for (size_t p = 0; p < k; p += STEP, first = 0) {
        const size_t steps = k - p < STEP ? k - p : STEP;
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++) {
                const float *x = a + p * GEMM_MR + i, *y = b + p * GEMM_NR + j;
                const float both = dm_bf16_add(exact_chain(0, steps, x, y), exact_chain(1, steps, x, y));
                float *to = c + i * ldc + j;
                *to = dm_bf16_add(first ? 0.0f : dm_bf16_flush(*to), both);
            }
    }
}

static void micro(size_t m, size_t n, size_t k, const float *a, const float *b, float *c, size_t ldc, int first)
{
    /* Of bf16 numbers of at least x and y the product is a multiple of 2^-16 x y. */
    if (k == 0 || (double)a[GEMM_MR * k] * (double)b[GEMM_NR * k] >= 0x1p-110)
        multiply(m, n, k, a, b, c, ldc, first);
    else
        exact(m, n, k, a, b, c, ldc, first);
}

#endif

/* ---- panels ---- */

static void finish(float *panel, size_t width, size_t k)
{
    const size_t n = width * k;
#if GEMM_MODE
    VF_EACH(i, m, n, vf_put(panel + i, vf_round_bf16(vf_get(panel + i, m)), m));
#else
    float lane[VF], least = INFINITY;
    vf smallest = vf_set1(INFINITY);

    VF_EACH(i, m, n, {
        const vf v = vf_round_bf16(vf_get(panel + i, m)), size = vf_abs(v); /* past the end: 0 */
        vf_put(panel + i, v, m);
        smallest = vf_sel(vf_gt(size, vf_set1(0.0f)), vf_min(size, smallest), smallest);
    });
    vf_store(lane, smallest);
    for (size_t l = 0; l < VF; l++)
        least = lane[l] < least ? lane[l] : least;
    panel[n] = least;
#endif
}

void DM_K_INIT(gemm_bf16)(dm_kernels *k)
{
    k->gemm_bf16 = (dm_gemm_kernel){
        .mr = GEMM_MR,
        .nr = GEMM_NR,
        .mc = GEMM_MC,
        .kc = GEMM_KC,
        .nc = GEMM_NC,
        .micro = micro,
        .pack = k->gemm.pack,
        .finish_a = finish,
        .finish_b = finish,
        .grain = 1,
        .trailer = TRAILER,
    };
}
