/* The right operand of a product, as GEMM packs it: f32 with strides, or stored weights. */
#ifndef DM_SIMD_GEMM_RIGHT_H
#define DM_SIMD_GEMM_RIGHT_H

#include "simd/weight.h"

typedef struct dm_right {
    dm_mat mat;         /* f32, unless ... */
    const dm_weight *w; /* ... this is not NULL */
    int transposed;     /* of w: B = W^T, else B = W */
    size_t first;       /* first column of B in the whole matrix */
} dm_right;

/* Packs rows [p, p + depth) of columns [j, j + columns) into panels of nr columns (simd/kernels/gemm_kernel.h). scratch:
 * dm_right_scratch floats. */
void dm_right_pack(const dm_kernels *k, float *dst, float *scratch, const dm_right *b, size_t p, size_t depth, size_t j,
                   size_t columns);

/* C [m, n] (+)= A * W^T with m <= DM_GEMM_SKINNY contiguous rows of A and columns [b->first, b->first + n) of W^T, whole
 * rows of W: nothing packed. */
void dm_right_skinny(const dm_kernels *k, float *scratch, size_t m, size_t n, dm_mat a, const dm_right *b, float *c,
                     size_t ldc, int first);

size_t dm_right_scratch(const dm_gemm_kernel *g);

/* dm_gemm with any right operand. */
void dm_gemm_right(const dm_engine *e, size_t m, size_t n, size_t k, dm_mat a, dm_right b, float *c, size_t ldc,
                   dm_gemm_mode mode);

#endif
