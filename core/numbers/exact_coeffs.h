/* The steps of dm_expf, dm_logf and dm_sigmoidf, shared by the scalar form (core/numbers/exact.c) and the vector form
 * (simd/kernels/vmath.h). The order of operations below IS the definition: both forms do exactly this, so both give the
 * same bits. fma(a,b,c) rounds once; every other operation rounds by itself; u32 arithmetic wraps; bits() and
 * float() reinterpret. `c ? a : b` is a compare and a select (false for NaN), so nothing depends on how an ISA's
 * min and max treat NaN.
 *
 * exp(x), 2^n times a polynomial on [-ln2/2, ln2/2]; measured error 0.89 ulp over all 2^32 inputs:
 *     c  = x < EXP_MIN ? EXP_MIN : x;   c = c > EXP_MAX ? EXP_MAX : c
 *     t  = fma(c, LOG2E, EXP_MAGIC)             n = c * log2(e) to the nearest integer, in t's low bits
 *     k  = (i32)(bits(t) - bits(EXP_MAGIC))     n as an integer, -150 .. 128
 *     n  = t - EXP_MAGIC                        exact
 *     r  = fma(n, -LN2_HI, c)                   exact: LN2_HI has 15 bits, n has 8
 *     r  = fma(n, -LN2_LO, r)
 *     p  = EXP_C6
 *     p  = fma(p, r, EXP_C5); ... EXP_C4; EXP_C3; EXP_C2; fma(p, r, 1); fma(p, r, 1)
 *     k1 = k >> 1 (arithmetic);   k2 = k - k1
 *     y  = p * float((u32)(k1 + 127) << 23)     exact: p in [0.70, 1.42], |k1| <= 75
 *     y  = y * float((u32)(k2 + 127) << 23)     the one rounding into subnormals or to infinity
 *     exp(x) = x == x ? y : x
 *
 * log(x), x = 2^k * (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); measured error 0.80 ulp over all 2^32 inputs:
 *     s  = x < FLT_MIN                          subnormal, zero or negative (the last two are replaced below)
 *     v  = s ? x * 2^23 : x                     exact
 *     b  = bits(v)
 *     k  = (i32)(b - LOG_SQRT_HALF_BITS) >> 23  (arithmetic)
 *     f  = float(b - ((u32)k << 23)) - 1        exact
 *     n  = (float)k - (s ? 23 : 0)              exact
 *     q  = LOG_C8
 *     q  = fma(q, f, LOG_C7); ... LOG_C6; LOG_C5; LOG_C4; LOG_C3; LOG_C2; LOG_C1; LOG_C0
 *     z  = f * f
 *     y  = (q * f) * z
 *     y  = fma(n, LN2_LO, y)
 *     y  = fma(-0.5, z, y)
 *     y  = f + y
 *     y  = fma(n, LN2_HI, y)
 *     log(x) = x < 0: NaN; x == 0: -inf; x == +inf or NaN: x; else y
 *
 * sigmoid(x); measured error 1.30 ulp over all 2^32 inputs (without the correction 2.40):
 *     e  = exp(-|x|)
 *     n  = x >= 0 ? 1 : e
 *     d  = 1 + e
 *     l  = (1 - d) + e                          what rounding d dropped; exact
 *     q  = 1 / d
 *     t  = n * q
 *     u  = fma(-t, d, n)
 *     u  = fma(-t, l, u)
 *     sigmoid(x) = fma(u, q, t)
 *
 * Coefficients: weighted minimax fits (Lawson), each rounded to f32 and the rest refitted; the polynomial's own
 * relative error is 2^-28.2 (exp) and 2^-30.2 (log). */
#ifndef DM_CORE_NUMBERS_EXACT_COEFFS_H
#define DM_CORE_NUMBERS_EXACT_COEFFS_H

#define DM_LOG2E 0x1.715476p0f
#define DM_LN2_HI 0x1.62e4p-1f
#define DM_LN2_LO 0x1.7f7d1cp-20f

#define DM_EXP_MIN (-104.0f)   /* exp of this is 0 */
#define DM_EXP_MAX 89.0f       /* exp of this is infinite */
#define DM_EXP_MAGIC 0x1.8p23f /* 1.5 * 2^23: adding it leaves an integer in the low bits */
#define DM_EXP_MAGIC_BITS 0x4B400000u
#define DM_EXP_C2 0x1.fffffcp-2f
#define DM_EXP_C3 0x1.555492p-3f
#define DM_EXP_C4 0x1.5558aep-5f
#define DM_EXP_C5 0x1.12398p-7f
#define DM_EXP_C6 0x1.6a4f6ep-10f

#define DM_LOG_SQRT_HALF_BITS 0x3F3504F3u
#define DM_LOG_C0 0x1.555548p-2f
#define DM_LOG_C1 (-0x1.000006p-2f)
#define DM_LOG_C2 0x1.99a478p-3f
#define DM_LOG_C3 (-0x1.555c4ep-3f)
#define DM_LOG_C4 0x1.233b78p-3f
#define DM_LOG_C5 (-0x1.fc26acp-4f)
#define DM_LOG_C6 0x1.e6c03ep-4f
#define DM_LOG_C7 (-0x1.de1004p-4f)
#define DM_LOG_C8 0x1.1484e8p-4f

/* GELU's tanh form as x * sigmoid(x * (C1 + C3 * x * x)): 2 sqrt(2/pi), that times 0.044715, that times 3. */
#define DM_GELU_MAX 16.0f
#define DM_GELU_C1 0x1.988454p+0f
#define DM_GELU_C3 0x1.2444f2p-4f
#define DM_GELU_3C3 0x1.b6676cp-3f

#endif
