/* Matrix products with every bit specified: C = A*B or C += A*B, any strides.
 *
 * The three orientations of training, as operands (simd/gemm_operand.h):
 *   forward          Y[T,out]  = X[T,in] * W^T            a = {X, in, 1}      b = {W, 1, in}   (W stored [out,in])
 *   data gradient    dX[T,in]  = dY[T,out] * W            a = {dY, out, 1}    b = {W, in, 1}
 *   weight gradient  dW[out,in] += dY^T * X               a = {dY, 1, out}    b = {X, in, 1}
 * Numeric order: see simd/kernels/gemm/gemm_kernel.h. C may not overlap A or B. k == 0: SET writes +0, ADD nothing. */
#ifndef DM_SIMD_GEMM_H
#define DM_SIMD_GEMM_H

#include "simd/engine.h"
#include "simd/gemm_operand.h"
#include "simd/precision.h"

typedef enum dm_gemm_mode { DM_GEMM_SET, DM_GEMM_ADD } dm_gemm_mode;

/* On all threads of the engine; not from inside a task. c: row-major, ldc >= n. */
void dm_gemm(const dm_engine *e, dm_precision precision, size_t m, size_t n, size_t k, dm_gemm_operand a,
             dm_gemm_operand b, float *c, size_t ldc, dm_gemm_mode mode);

/* The same with any right operand. */
void dm_gemm_right(const dm_engine *e, dm_precision precision, size_t m, size_t n, size_t k, dm_gemm_operand a,
                   dm_gemm_right_operand b, float *c, size_t ldc, dm_gemm_mode mode);

/* In f32 on the calling thread alone, for use inside a task: `pack` is e->pack_a[part]. */
void dm_gemm_local(const dm_kernels *kernels, float *pack, size_t m, size_t n, size_t k, dm_gemm_operand a,
                   dm_gemm_operand b, float *c, size_t ldc, dm_gemm_mode mode);

/* Floats that `pack` needs: a block of A, a panel of B, and where stored weights are widened. */
size_t dm_gemm_local_pack(const dm_kernels *kernels);

/* Floats of the engine's shared block of B. */
size_t dm_gemm_shared_pack(const dm_kernels *kernels);

/* Whether `other` gives the bits of a kernel of the bf16 product that is `known` to keep the contract: for a few
 * products of ordinary numbers, around 2^-126, and with infinities and NaN, whole tiles and edges. */
dm_status dm_gemm_bf16_agree(const dm_gemm_kernel *known, const dm_gemm_kernel *other, bool *agree, dm_error *err);

#endif
