/* The GEMM micro-kernel contract (after BLIS, docs/KernelsHowTo.md; our own rules where bits matter).
 *
 *   C[m x n] = A[m x k] * B[k x n]          (first != 0: start from +0; C is not read, it may hold NaN)
 *   C[m x n] = C + A * B                    (first == 0: the chain resumes from the value in C)
 *
 * Numeric order: every element is the chain acc = fma(a[i][p], b[p][j], acc), p ascending. Because a K
 * block resumes from C, blocking, packing, threads and ISA change nothing.
 *
 *   packed A: panels of `mr` rows, k-major:    a[p*mr + i]      (missing rows are zero-filled)
 *   packed B: panels of `nr` columns, k-major: b[p*nr + j]      (missing columns are zero-filled)
 *   C: row-major, ldc elements between rows, any alignment.
 *
 * The kernel handles edges: any 1 <= m <= mr, 1 <= n <= nr; nothing of C outside m x n is read or
 * written. Panels are 64-byte aligned. */
#ifndef DM_SIMD_KERNELS_GEMM_GEMM_KERNEL_H
#define DM_SIMD_KERNELS_GEMM_GEMM_KERNEL_H

#include <stddef.h>

#include "core/numbers/dtype.h"

typedef void (*dm_gemm_micro_fn)(size_t m, size_t n, size_t k, const float *a, const float *b, float *c, size_t ldc,
                                 int first);
/* Packs rows [0, rows) x [0, k) of an operand with element (i, p) at src[i*rs + p*cs] into panels of `width`
 * rows: dst[(i / width) * width*k + p*width + i % width]; the last panel is zero-filled to full width.
 * For B, "rows" are the columns of B: pass its strides swapped. */
typedef void (*dm_gemm_pack_fn)(float *dst, const float *src, size_t rows, size_t k, size_t rs, size_t cs,
                                size_t width);

/* C[m x n] (+)= A[m x k] * W[n x k]^T for m <= DM_GEMM_SKINNY, nothing packed: rows of A and of W are contiguous. W is
 * read once. first, order and edges as above. */
#define DM_GEMM_SKINNY 8
typedef void (*dm_gemm_skinny_fn)(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *w, size_t ldw,
                                  float *c, size_t ldc, int first);

/* The same with stored weights (core/numbers/dtype.h, not F32): rows of W of k elements lie `row` bytes apart, n of at
 * least DM_GEMM_QUANTISED_MIN. Every byte of W is read once for each group of rows of A that the level takes together,
 * 4 or 8. */
#define DM_GEMM_QUANTISED_MIN 32
typedef void (*dm_gemm_quantised_fn)(dm_dtype type, size_t m, size_t n, size_t k, const float *a, size_t lda,
                                     const void *w, size_t row, float *c, size_t ldc, int first);

/* Products along the diagonal of a causal mask. What does not take part adds nothing, not even a zero.
 *   lanes  C[m x nr] (+)= A[m x k] * B[k x nr]: column j takes part in steps p <= j only. A in panels of mr rows,
 *          k <= nr, m <= mr.
 *   rows   C[m x n] += A[m x k] * B[k x n]: row i takes part in steps p >= i + late only. Element (i, p) of A is
 *          a[p/nr*step + i*nr + p%nr]: A is panels of a packed B, turned around without moving them. Any m and k,
 *          1 <= n <= nr. */
typedef void (*dm_gemm_lanes_fn)(size_t m, size_t k, const float *a, const float *b, float *c, size_t ldc, int first);
typedef void (*dm_gemm_rows_fn)(size_t m, size_t n, size_t k, const float *a, size_t step, const float *b, float *c,
                                size_t ldc, ptrdiff_t late);

/* The bf16 product: inputs rounded to bf16, sums in f32, in the order of AMX's TDPBF16PS (Intel's SDM). Packing rounds
 * to nearest even (a NaN stays one), a subnormal becomes a zero of its sign. For each block of 32 steps of k, counted
 * from the product's first one; what the last lacks is +0:
 *
 *   e = the chain fma(a[i][p], b[p][j], e) over the block's even p ascending, from +0;  o = the same over the odd p
 *   C = C + (e + o)                              first != 0: C is +0 for the first block
 *
 * Every fma and every sum is f32, to nearest even; a result that is smaller than 2^-126 after rounding to 24 bits
 * becomes a zero of its sign, and a subnormal C counts as such a zero. Blocks of k are whole steps (kc % 32 == 0). */
#define DM_GEMM_BF16_STEP 32u

/* Turns a panel of `width`, as `pack` or pieces of it left it, into what the micro-kernel reads. */
typedef void (*dm_gemm_finish_fn)(float *panel, size_t width, size_t k);

typedef struct dm_gemm_kernel {
    size_t mr, nr;     /* register tile */
    size_t mc, kc, nc; /* cache blocks: mc multiple of mr, nc multiple of nr; data, not contract */
    dm_gemm_micro_fn micro;
    dm_gemm_pack_fn pack;
    dm_gemm_finish_fn finish_a, finish_b; /* NULL: panels are ready when they are packed */
    size_t grain;                         /* a panel has room for a multiple of so many steps of k, */
    size_t trailer;                       /* and for so many floats after them */
    void (*enter)(void), (*leave)(void);  /* before and after a thread's calls of micro; NULL: nothing to do */
} dm_gemm_kernel;

/* Floats from one panel to the next. */
static inline size_t dm_gemm_panel(const dm_gemm_kernel *g, size_t width, size_t k)
{
    return width * ((k + g->grain - 1) / g->grain * g->grain) + g->trailer;
}

#define DM_GEMM_MR_MAX 32
#define DM_GEMM_NR_MAX 64

#endif
