/* The tile of the level that this object is compiled for, and what its micro-kernels share. */
#ifndef DM_SIMD_KERNELS_GEMM_GEMM_LEVEL_H
#define DM_SIMD_KERNELS_GEMM_GEMM_LEVEL_H

#include <stddef.h>

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

#define GEMM_NR (GEMM_VL * GEMM_NV)

/* Elements of register j that lie inside n columns. */
static inline size_t gemm_inside(size_t n, size_t j)
{
    const size_t begin = j * GEMM_VL;
    return n <= begin ? 0 : n - begin < GEMM_VL ? n - begin : GEMM_VL;
}

/* With GEMM_ROWS the cases of a switch over m: the file's tile() with constant rows and registers across. */
#define GEMM_TILE(i)                                                                                                   \
    case i + 1:                                                                                                        \
        if (n <= GEMM_VL)                                                                                              \
            tile(i + 1, 1, n, k, a, b, c, ldc, first);                                                                 \
        else                                                                                                           \
            tile(i + 1, GEMM_NV, n, k, a, b, c, ldc, first);                                                           \
        break;

#endif
