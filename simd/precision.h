/* How a product computes: f32 inputs and one chain of fma, or inputs rounded to bf16 in the order of the bf16 product
 * (simd/kernels/gemm/gemm_kernel.h). Operands and results are f32 in memory either way. */
#ifndef DM_SIMD_PRECISION_H
#define DM_SIMD_PRECISION_H

typedef enum dm_precision { DM_PRECISION_F32, DM_PRECISION_BF16 } dm_precision;
extern const char *const dm_precision_names[]; /* "f32", "bf16"; then NULL */

#endif
