/* The bf16 product on AMX's tiles. On the machine the operations of simd/kernels/gemm/amx.c are instructions; a test
 * compiles the same file with a model of them in C (tests/support/amx_model.c). */
#ifndef DM_SIMD_KERNELS_GEMM_AMX_H
#define DM_SIMD_KERNELS_GEMM_AMX_H

#include "simd/kernels/gemm/gemm_kernel.h"

/* pack: the level's packer of f32 panels. */
void dm_k_gemm_bf16_init_amx(dm_gemm_kernel *g, dm_gemm_pack_fn pack);

#endif
