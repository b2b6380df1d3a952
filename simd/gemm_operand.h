/* The operands of a product: strided f32 matrices, and weight matrices as they are stored. */
#ifndef DM_SIMD_GEMM_OPERAND_H
#define DM_SIMD_GEMM_OPERAND_H

#include <stdbool.h>

#include "core/numbers/dtype.h"
#include "simd/kernels/kernels.h"

/* A strided view: element (i, j) at data[i*rs + j*cs]. */
typedef struct dm_gemm_operand {
    const float *data;
    size_t rs, cs;
} dm_gemm_operand;

/* A weight matrix [rows, cols] as it is stored, row-major, rows of dm_dtype_bytes(type, cols) bytes; cols is a multiple
 * of the type's block. F32 data is aligned like floats, F16 and BF16 to 2 bytes, blocks need no alignment. */
typedef struct dm_weight {
    const void *data;
    dm_dtype type; /* F32, F16, BF16 or quantised */
    size_t rows, cols;
} dm_weight;

/* Rows [first, first + rows) of w. */
dm_weight dm_weight_rows(dm_weight w, size_t first, size_t rows);

/* The right operand of a product, as GEMM packs it: f32 with strides, or stored weights. */
typedef struct dm_gemm_right_operand {
    dm_gemm_operand f32;      /* unless ... */
    const dm_weight *weights; /* ... this is not NULL */
    bool transposed;          /* of weights: B = W^T, else B = W */
    size_t first;             /* first column of B in the whole matrix */
} dm_gemm_right_operand;

/* Packs rows [0, rows) x [0, k) of an operand with element (i, p) at src[i*rs + p*cs] into panels of `width` rows that
 * g's micro-kernel reads: finish is finish_a or finish_b of g. */
void dm_gemm_pack(const dm_gemm_kernel *g, dm_gemm_finish_fn finish, float *dst, const float *src, size_t rows,
                  size_t k, size_t rs, size_t cs, size_t width);

/* Packs rows [p, p + depth) of columns [j, j + columns) into panels of g->nr columns. scratch: dm_gemm_right_scratch
 * floats. */
void dm_gemm_right_pack(const dm_kernels *k, const dm_gemm_kernel *g, float *dst, float *scratch,
                        const dm_gemm_right_operand *b, size_t p, size_t depth, size_t j, size_t columns);

/* C [m, n] (+)= A * W^T with m <= DM_GEMM_SKINNY contiguous rows of A and columns [b->first, b->first + n) of W^T,
 * whole rows of W: nothing packed. first: C begins at +0, else it is resumed. bf16: the bf16 product, A is rounded. */
void dm_gemm_right_skinny(const dm_kernels *k, bool bf16, float *scratch, size_t m, size_t n, dm_gemm_operand a,
                          const dm_gemm_right_operand *b, float *c, size_t ldc, bool first);

size_t dm_gemm_right_scratch(const dm_gemm_kernel *g);

#endif
