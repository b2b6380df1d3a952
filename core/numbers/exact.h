/* Exact-bits math: the engine's own elementary functions.
 *
 * Built from IEEE +, -, *, /, sqrt, fma and integer operations only, so every compiler, ISA and libc
 * gives the same bits. Errors are stated in ulp of the result (tests/unit/core/test_exact.c measures them).
 * NaN in gives NaN out (payload unspecified, sign unspecified); overflow gives inf, underflow
 * rounds into the subnormals and to zero correctly within the stated bound. */
#ifndef DM_CORE_NUMBERS_EXACT_H
#define DM_CORE_NUMBERS_EXACT_H

/* f32; the largest errors over all 2^32 inputs (make exhaustive). The SIMD forms (simd/kernels/vmath.h) have the same
 * bits. */
float dm_expf(float x);     /* 0.89 ulp */
float dm_logf(float x);     /* 0.80 ulp; x < 0: NaN; 0: -inf */
float dm_sigmoidf(float x); /* 1.30 ulp; 1 / (1 + exp(-x)), monotone tails, no overflow */

/* f64, <= 2 ulp (sin and cos: for |x| <= 2^30, enough for any RoPE angle). For schedules, bias
 * corrections, RoPE angles and losses; scalar only. Beyond 2^30 sin and cos are NaN rather than inexact. */
double dm_exp(double x);
double dm_log(double x);
double dm_expm1(double x);
double dm_log1p(double x);
double dm_pow(double x, double y); /* x >= 0; <= 4 ulp for |y*log x| <= 100 */
double dm_sin(double x);
double dm_cos(double x);
double dm_sigmoid(double x);
double dm_log_sigmoid(double x); /* log(1 / (1 + exp(-x))), no overflow */

#endif
