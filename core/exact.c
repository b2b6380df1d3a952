#include "core/exact.h"

#include <math.h> /* fma, fabs and the classification macros only: these are exact */
#include <stdint.h>

#include "core/bits.h"
#include "core/exact_coeffs.h"
#include "core/numeric.h"

/* ---- the three that simd/kernels/vmath.h repeats step by step: see core/exact_coeffs.h ---- */

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

/* ---- through f64, rounded once ---- */

float dm_tanhf(float x)
{
    const double a = fabs((double)x);
    if (a > 20) /* 1 - tanh is below half an ulp from 9.1 on */
        return x < 0 ? -1.0f : 1.0f;
    const double t = dm_expm1(2 * (double)x);
    return (float)(t / (t + 2));
}

float dm_expm1f(float x)
{
    return (float)dm_expm1((double)x);
}

float dm_log1pf(float x)
{
    return (float)dm_log1p((double)x);
}

/* 2/pi behind the binary point, enough for every float (Payne and Hanek 1983). */
static const uint32_t two_over_pi[] = {
    0xA2F9836Eu, 0x4E441529u, 0xFC2757D1u, 0xF534DDC0u, 0xDB629599u, 0x3C439041u, 0xFE5163ABu, 0xDEBBC561u,
};

/* 32 bits of 2/pi from bit `at` (0: the one worth 2^-1) on. */
static uint32_t window(unsigned at)
{
    const unsigned word = at / 32, shift = at % 32;
    const uint64_t two = (uint64_t)two_over_pi[word] << 32 | two_over_pi[word + 1];
    return (uint32_t)(two << shift >> 32);
}

/* |x| >= 2^30, finite: x = quadrant * pi/2 + the returned angle. In units of 2^-62 quarter turns u64 arithmetic
 * drops whole turns by itself, and so do the bits of 2/pi before the window, which make multiples of 4. */
static double reduce_large(float x, unsigned *quadrant)
{
    const uint32_t b = dm_f32_bits(fabsf(x));
    const uint64_t m = (b & 0x7FFFFFu) | 0x800000u;
    const unsigned at = (b >> 23) - 150 - 2; /* |x| = m * 2^(at + 2), so this bit of 2/pi is worth 2 in the product */
    const uint64_t turns = (m * window(at) << 32) + m * window(at + 32) + (m * window(at + 64) >> 32);
    const uint64_t whole = (turns + (UINT64_C(1) << 61)) >> 62;
    const int64_t rest = (int64_t)(turns - (whole << 62));
    const double angle = (double)rest * (0x1.921fb54442d18p0 * 0x1p-62);
    *quadrant = (unsigned)(x < 0 ? 0 - whole : whole) & 3u;
    return x < 0 ? -angle : angle;
}

/* sin(x + quarters * pi/2) */
static float sin_quarters(float x, unsigned quarters)
{
    if (!(fabsf(x) <= FLT_MAX))
        return NAN;
    double angle = (double)x;
    if (fabsf(x) >= 0x1p30f) {
        unsigned quadrant;
        angle = reduce_large(x, &quadrant);
        quarters += quadrant;
    }
    const double y = quarters % 2 ? dm_cos(angle) : dm_sin(angle);
    return (float)(quarters & 2u ? -y : y);
}

float dm_sinf(float x)
{
    return sin_quarters(x, 0);
}

float dm_cosf(float x)
{
    return sin_quarters(x, 1);
}
