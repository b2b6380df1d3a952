#include "core/numbers/exact.h"

#include <math.h> /* fma, fabs and the classification macros only: these are exact */
#include <stdint.h>

#include "core/numbers/bits.h"
#include "core/numbers/exact_coeffs.h"
#include "core/numbers/numeric.h"

/* The f32 functions, which simd/kernels/vmath.h repeats step by step: see core/numbers/exact_coeffs.h. */

float dm_expf(float x)
{
    if (x != x)
        return x;
    float c = x < DM_EXP_MIN ? DM_EXP_MIN : x;
    c = c > DM_EXP_MAX ? DM_EXP_MAX : c;
    const float t = fmaf(c, DM_LOG2E, DM_EXP_MAGIC);
    const int32_t k = (int32_t)(dm_f32_bits(t) - DM_EXP_MAGIC_BITS);
    const float n = t - DM_EXP_MAGIC;
    float r = fmaf(n, -DM_LN2_HI, c);
    r = fmaf(n, -DM_LN2_LO, r);
    float p = DM_EXP_C6;
    p = fmaf(p, r, DM_EXP_C5);
    p = fmaf(p, r, DM_EXP_C4);
    p = fmaf(p, r, DM_EXP_C3);
    p = fmaf(p, r, DM_EXP_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    const int32_t k1 = k >> 1, k2 = k - k1;
    const float y = p * dm_f32_from_bits((uint32_t)(k1 + 127) << 23);
    return y * dm_f32_from_bits((uint32_t)(k2 + 127) << 23);
}

float dm_logf(float x)
{
    if (x < 0)
        return NAN;
    if (x == 0)
        return -INFINITY;
    if (!(x <= FLT_MAX))
        return x;
    const int subnormal = x < FLT_MIN;
    const uint32_t b = dm_f32_bits(subnormal ? x * 0x1p23f : x);
    const int32_t k = (int32_t)(b - DM_LOG_SQRT_HALF_BITS) >> 23;
    const float f = dm_f32_from_bits(b - ((uint32_t)k << 23)) - 1.0f;
    const float n = (float)k - (subnormal ? 23.0f : 0.0f);
    float q = DM_LOG_C8;
    q = fmaf(q, f, DM_LOG_C7);
    q = fmaf(q, f, DM_LOG_C6);
    q = fmaf(q, f, DM_LOG_C5);
    q = fmaf(q, f, DM_LOG_C4);
    q = fmaf(q, f, DM_LOG_C3);
    q = fmaf(q, f, DM_LOG_C2);
    q = fmaf(q, f, DM_LOG_C1);
    q = fmaf(q, f, DM_LOG_C0);
    const float z = f * f;
    float y = (q * f) * z;
    y = fmaf(n, DM_LN2_LO, y);
    y = fmaf(-0.5f, z, y);
    y = f + y;
    return fmaf(n, DM_LN2_HI, y);
}

float dm_sigmoidf(float x)
{
    const float e = dm_expf(-fabsf(x)), n = x >= 0 ? 1.0f : e;
    const float d = 1.0f + e, lost = (1.0f - d) + e;
    const float q = 1.0f / d, t = n * q;
    const float u = fmaf(-t, lost, fmaf(-t, d, n));
    return fmaf(u, q, t);
}
