/* The arithmetic of the bf16 product (simd/kernels/gemm/gemm_kernel.h) on one number, for machines without a mode that
 * flushes what is tiny after rounding. a, b: bf16 numbers, none subnormal; c: not subnormal. */
#ifndef DM_SIMD_KERNELS_GEMM_BF16_H
#define DM_SIMD_KERNELS_GEMM_BF16_H

#include <math.h>

static inline float dm_bf16_flush(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

/* A subnormal sum is exact, so it is tiny after rounding, too. */
static inline float dm_bf16_add(float x, float y)
{
    return dm_bf16_flush(x + y);
}

/* Only a result of at most 2^-126 can be tiny: 2^64 times it is rounded once, as if exponents had no end. Nothing
 * overflows, for where such a result is left, a * b and c are below 2^-98 and so, with |b| >= 2^-126, |a| < 2^28. */
static inline float dm_bf16_fma(float a, float b, float c)
{
    const float r = fmaf(a, b, c);

    if (!(fabsf(r) <= 0x1p-126f) || r == 0.0f)
        return r;
    return fabsf(fmaf(a * 0x1p64f, b, c * 0x1p64f)) < 0x1p-62f ? copysignf(0.0f, r) : r;
}

#endif
