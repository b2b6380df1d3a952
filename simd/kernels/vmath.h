/* exp and sigmoid on 16 lanes: the operations of core/numbers/exact_coeffs.h in the same order, so the same bits. A
 * build with SLEEF takes its exp instead (core/numbers/foreign.h). */
#ifndef DM_SIMD_KERNELS_VMATH_H
#define DM_SIMD_KERNELS_VMATH_H

#include "core/numbers/exact_coeffs.h"
#include "core/numbers/foreign.h"
#include "simd/kernels/vec.h"

/* Sixteen lanes in an array are a long function: inlined everywhere it cost a fifth of the time of a build. */
#if defined(DM_SIMD_SCALAR) && defined(__GNUC__)
#define DM_MATH static __attribute__((noinline, unused))
#else
#define DM_MATH DM_INLINE
#endif

DM_INLINE vf vf_power_of_two(vi k)
{
    return vi_float(vi_shl(vi_add(k, vi_set1(127)), 23));
}

/* A NaN needs no select at the end: it passes the clamps (the second operand of vf_max, vf_min) and every product. */
DM_MATH vf vf_own_exp(vf x)
{
    const vf one = vf_set1(1.0f), magic = vf_set1(DM_EXP_MAGIC);
    const vf c = vf_min(vf_set1(DM_EXP_MAX), vf_max(vf_set1(DM_EXP_MIN), x));
    const vf t = vf_fma(c, vf_set1(DM_LOG2E), magic);
    const vi k = vi_sub(vf_bits(t), vi_set1(DM_EXP_MAGIC_BITS));
    const vf n = vf_sub(t, magic);
    vf r = vf_fma(n, vf_set1(-DM_LN2_HI), c);
    r = vf_fma(n, vf_set1(-DM_LN2_LO), r);
    vf p = vf_set1(DM_EXP_C6);
    p = vf_fma(p, r, vf_set1(DM_EXP_C5));
    p = vf_fma(p, r, vf_set1(DM_EXP_C4));
    p = vf_fma(p, r, vf_set1(DM_EXP_C3));
    p = vf_fma(p, r, vf_set1(DM_EXP_C2));
    p = vf_fma(p, r, one);
    p = vf_fma(p, r, one);
#if defined(DM_SIMD_AVX512)
    (void)k; /* p * 2^n, rounded once: as the two products below, of which the first is exact */
    return _mm512_scalef_ps(p, n);
#else
    const vi k1 = vi_sar(k, 1), k2 = vi_sub(k, k1);
    return vf_mul(vf_mul(p, vf_power_of_two(k1)), vf_power_of_two(k2));
#endif
}

/* From e = exp(-|x|). */
DM_INLINE vf vf_sigmoid_of(vf x, vf e)
{
    const vf one = vf_set1(1.0f);
    const vf n = vf_sel(vf_lt(x, vf_set1(0.0f)), e, one); /* on NaN the rest is NaN either way */
    const vf d = vf_add(one, e), lost = vf_add(vf_sub(one, d), e);
    const vf q = vf_div(one, d), t = vf_mul(n, q), minus_t = vf_neg(t);
    const vf u = vf_fma(minus_t, lost, vf_fma(minus_t, d, n));
    return vf_fma(u, q, t);
}

DM_MATH vf vf_own_sigmoid(vf x)
{
    return vf_sigmoid_of(x, vf_own_exp(vf_neg(vf_abs(x))));
}

#if HAVE_SLEEF
DM_MATH vf vf_exp(vf x)
{
#if defined(DM_SIMD_AVX512)
    return Sleef_expf16_u10avx512f(x);
#elif defined(DM_SIMD_AVX2)
    return (vf){Sleef_expf8_u10avx2(x.lo), Sleef_expf8_u10avx2(x.hi)};
#elif defined(DM_SIMD_NEON)
    return (vf){Sleef_expf4_u10advsimd(x.r0), Sleef_expf4_u10advsimd(x.r1), Sleef_expf4_u10advsimd(x.r2),
                Sleef_expf4_u10advsimd(x.r3)};
#else
    for (size_t i = 0; i < VF; i++)
        x.l[i] = Sleef_expf_u10(x.l[i]);
    return x;
#endif
}

DM_MATH vf vf_sigmoid(vf x)
{
    return vf_sigmoid_of(x, vf_exp(vf_neg(vf_abs(x))));
}
#else
DM_INLINE vf vf_exp(vf x)
{
    return vf_own_exp(x);
}

DM_INLINE vf vf_sigmoid(vf x)
{
    return vf_own_sigmoid(x);
}
#endif

#endif
