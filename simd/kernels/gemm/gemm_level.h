/* The tile of the level that this object is compiled for. */
#ifndef DM_SIMD_KERNELS_GEMM_GEMM_LEVEL_H
#define DM_SIMD_KERNELS_GEMM_GEMM_LEVEL_H

#if defined(DM_SIMD_AVX512)
#include "simd/kernels/gemm/gemm_avx512.h"
#elif defined(DM_SIMD_AVX2)
#include "simd/kernels/gemm/gemm_avx2.h"
#elif defined(DM_SIMD_NEON)
#include "simd/kernels/gemm/gemm_neon.h"
#elif defined(DM_SIMD_SCALAR)
#include "simd/kernels/gemm/gemm_scalar.h"
#else
#error "compile with -DDM_SIMD_<LEVEL>=1"
#endif

#endif
