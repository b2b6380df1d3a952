/* The GEMM micro-kernel and its packer, compiled once per level; the level's header says how wide a register is, how
 * many make a tile, and how to transpose a square of VL registers. The order of every sum is in gemm_kernel.h. */
#include "simd/kernels/gemm/gemm_kernel.h"

#include <stddef.h>

#include "core/numbers/numeric.h"
#include "simd/kernels/families.h"
#include "simd/kernels/gemm/gemm_level.h"

_Static_assert(GEMM_MR <= DM_GEMM_MR_MAX && GEMM_NR <= DM_GEMM_NR_MAX, "tile");
_Static_assert(GEMM_MC % GEMM_MR == 0 && GEMM_NC % GEMM_NR == 0, "blocks are whole tiles");
_Static_assert(GEMM_MC *GEMM_KC % 16 == 0, "what follows a block of A is 64-byte aligned");

/* ---- micro-kernel ---- */

/* Where they are: never a pointer beyond the row. */
static inline const float *column(const float *row, size_t n, size_t j)
{
    return row + (j * GEMM_VL < n ? j * GEMM_VL : n);
}

/* m and nv (registers across, of which n columns exist) are constants at every call, so that the tile lives in
 * registers and what is beyond costs nothing. */
static inline __attribute__((always_inline)) void tile(const size_t m, const size_t nv, size_t n, size_t k,
                                                       const float *a, const float *b, float *c, size_t ldc, int first)
{
    gv acc[GEMM_MR][GEMM_NV], y[GEMM_NV];

#define ZERO(i, j)                                                                                                     \
    if (j < nv)                                                                                                        \
        acc[i][j] = gv_zero();
#define LOAD(i, j)                                                                                                     \
    if (j < nv)                                                                                                        \
        acc[i][j] = gv_load(c + i * ldc + j * GEMM_VL);
#define LOADN(i, j)                                                                                                    \
    if (j < nv)                                                                                                        \
        acc[i][j] = gv_loadn(column(c + i * ldc, n, j), gemm_inside(n, j));
#define STORE(i, j)                                                                                                    \
    if (j < nv)                                                                                                        \
        gv_store(c + i * ldc + j * GEMM_VL, acc[i][j]);
#define STOREN(i, j)                                                                                                   \
    if (j < nv)                                                                                                        \
        gv_storen(c + i * ldc + (column(c, n, j) - c), acc[i][j], gemm_inside(n, j));
#define LOAD_B(i, j)                                                                                                   \
    if (j < nv)                                                                                                        \
        y[j] = gv_load(b + j * GEMM_VL);
#define FMA(i, j)                                                                                                      \
    if (j < nv)                                                                                                        \
        acc[i][j] = gv_fma(x, y[j], acc[i][j]);
#define ZERO_ROW(i) GEMM_COLS(ZERO, i)
#define LOAD_ROW(i)                                                                                                    \
    if (i < m) {                                                                                                       \
        GEMM_COLS(LOAD, i)                                                                                             \
    }
#define LOADN_ROW(i)                                                                                                   \
    if (i < m) {                                                                                                       \
        GEMM_COLS(LOADN, i)                                                                                            \
    }
#define STORE_ROW(i)                                                                                                   \
    if (i < m) {                                                                                                       \
        GEMM_COLS(STORE, i)                                                                                            \
    }
#define STOREN_ROW(i)                                                                                                  \
    if (i < m) {                                                                                                       \
        GEMM_COLS(STOREN, i)                                                                                           \
    }
#define FMA_ROW(i)                                                                                                     \
    if (i < m) {                                                                                                       \
        const gv x = gv_set1(a + i);                                                                                   \
        GEMM_COLS(FMA, i)                                                                                              \
    }

    if (first) {
        GEMM_ROWS(ZERO_ROW)
    } else if (n == GEMM_NR) {
        GEMM_ROWS(LOAD_ROW)
    } else {
        GEMM_ROWS(LOADN_ROW)
    }
    for (; k > 0; k--, a += GEMM_MR, b += GEMM_NR) {
        GEMM_COLS(LOAD_B, 0)
        GEMM_ROWS(FMA_ROW)
    }
    if (n == GEMM_NR) {
        GEMM_ROWS(STORE_ROW)
    } else {
        GEMM_ROWS(STOREN_ROW)
    }
}

static void micro(size_t m, size_t n, size_t k, const float *a, const float *b, float *c, size_t ldc, int first)
{
    switch (m) {
        GEMM_ROWS(GEMM_TILE)
    }
}

/* ---- packing ---- */

/* Rows lie next to each other (rs == 1): one k after the other, `rows` elements and zeros up to whole panels of `width`
 * that lie `panel` floats apart. Several panels at a time, because what is read then is longer than a cache line: with
 * the strides of matrices, single lines of many k fall into the same few sets. */
static void pack_copy(float *dst, const float *src, size_t rows, size_t k, size_t cs, size_t width, size_t panel)
{
    for (size_t p = 0; p < k; p++, src += cs, dst += width) {
        float *to = dst;
        for (size_t i = 0; i < rows; i += 16)
            __builtin_prefetch(src + 4 * cs + i, 0, 3);
        for (size_t begin = 0; begin < rows; begin += width, to += panel) {
            const float *from = src + begin;
            const size_t filled = rows - begin < width ? rows - begin : width;
            size_t i = 0;
            for (; filled - i >= GEMM_VL; i += GEMM_VL)
                gv_store(to + i, gv_load(from + i));
            if (i < filled) {
                const size_t lanes = width - i < GEMM_VL ? width - i : GEMM_VL;
                gv_storen(to + i, gv_loadn(from + i, filled - i), lanes);
                i += lanes;
            }
            for (; i < width; i++)
                to[i] = 0.0f;
        }
    }
}

/* Each row is contiguous (cs == 1): squares of VL rows and VL columns, turned around in registers. */
static void pack_transpose(float *dst, const float *src, size_t rows, size_t k, size_t rs, size_t width)
{
    for (size_t i = 0; i < width; i += GEMM_VL) {
        const size_t lanes = width - i < GEMM_VL ? width - i : GEMM_VL;
        const size_t filled = i >= rows ? 0 : rows - i < GEMM_VL ? rows - i : GEMM_VL;
        const float *from = src + (filled > 0 ? i * rs : 0);
        float *to = dst + i;
        gv r[GEMM_VL];

        for (size_t p = 0; p < k; p += GEMM_VL, to += GEMM_VL * width) {
            const size_t columns = k - p < GEMM_VL ? k - p : GEMM_VL;
            if (filled == GEMM_VL && columns == GEMM_VL) {
                for (size_t l = 0; l < GEMM_VL; l++)
                    r[l] = gv_load(from + l * rs + p);
            } else {
                for (size_t l = 0; l < GEMM_VL; l++)
                    r[l] = l < filled ? gv_loadn(from + l * rs + p, columns) : gv_zero();
            }
            gv_transpose(r);
            if (lanes == GEMM_VL && columns == GEMM_VL) {
                for (size_t l = 0; l < GEMM_VL; l++)
                    gv_store(to + l * width, r[l]);
            } else {
                for (size_t l = 0; l < columns; l++)
                    gv_storen(to + l * width, r[l], lanes);
            }
        }
    }
}

#define TOGETHER 8 /* panels */

static void pack(float *dst, const float *src, size_t rows, size_t k, size_t rs, size_t cs, size_t width)
{
    const size_t step = rs == 1 ? TOGETHER * width : width;

    for (size_t i = 0; i < rows; i += step, dst += step * k) {
        const size_t filled = rows - i < step ? rows - i : step;
        const float *from = src + i * rs;
        if (rs == 1) {
            pack_copy(dst, from, filled, k, cs, width, width * k);
        } else if (cs == 1) {
            pack_transpose(dst, from, filled, k, rs, width);
        } else {
            for (size_t p = 0; p < k; p++)
                for (size_t l = 0; l < width; l++)
                    dst[p * width + l] = l < filled ? from[l * rs + p * cs] : 0.0f;
        }
    }
}

void GEMM_LEVEL(dm_k_gemm_init)(dm_kernels *k)
{
    k->gemm = (dm_gemm_kernel){
        .mr = GEMM_MR,
        .nr = GEMM_NR,
        .mc = GEMM_MC,
        .kc = GEMM_KC,
        .nc = GEMM_NC,
        .micro = micro,
        .pack = pack,
        .grain = 1,
    };
}
