/* GEMM on AArch64 NEON: 8 x 12, that is 24 accumulators, 3 registers of B and 1 element of A. */
#ifndef DM_SIMD_KERNELS_GEMM_GEMM_NEON_H
#define DM_SIMD_KERNELS_GEMM_GEMM_NEON_H

#include <arm_neon.h>
#include <stddef.h>

#define GEMM_LEVEL(name) name##_neon
#define GEMM_VL 4
#define GEMM_MR 8
#define GEMM_NV 3
#define GEMM_ROWS(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)
#define GEMM_COLS(F, i) F(i, 0) F(i, 1) F(i, 2)
#define GEMM_MODE 0 /* it judges tininess before rounding: other bits */
#define GEMM_MC 120 /* 120 x 256 floats of A: 120 KiB of L2 */
#define GEMM_KC 256 /* 256 x 12 floats of B: 12 KiB of L1 */
#define GEMM_NC 768 /* 0.75 MiB of B */

typedef float32x4_t gv;

static inline gv gv_zero(void)
{
    return vdupq_n_f32(0.0f);
}

static inline gv gv_set1(const float *p)
{
    return vld1q_dup_f32(p);
}

static inline gv gv_load(const float *p)
{
    return vld1q_f32(p);
}

static inline void gv_store(float *p, gv x)
{
    vst1q_f32(p, x);
}

static inline gv gv_loadn(const float *p, size_t n)
{
    gv x = gv_zero();
    if (n > 0)
        x = vld1q_lane_f32(p, x, 0);
    if (n > 1)
        x = vld1q_lane_f32(p + 1, x, 1);
    if (n > 2)
        x = vld1q_lane_f32(p + 2, x, 2);
    if (n > 3)
        x = vld1q_lane_f32(p + 3, x, 3);
    return x;
}

static inline void gv_storen(float *p, gv x, size_t n)
{
    if (n > 0)
        vst1q_lane_f32(p, x, 0);
    if (n > 1)
        vst1q_lane_f32(p + 1, x, 1);
    if (n > 2)
        vst1q_lane_f32(p + 2, x, 2);
    if (n > 3)
        vst1q_lane_f32(p + 3, x, 3);
}

static inline gv gv_fma(gv x, gv y, gv z)
{
    return vfmaq_f32(z, x, y);
}

static inline gv gv_add(gv x, gv y)
{
    return vaddq_f32(x, y);
}

/* Subnormal numbers become zeros of their sign. */
static inline gv gv_flush(gv x)
{
    const uint32x4_t kept = vorrq_u32(vcageq_f32(x, vdupq_n_f32(0x1p-126f)), vdupq_n_u32(0x80000000u));
    return vreinterpretq_f32_u32(
        vandq_u32(vreinterpretq_u32_f32(x), vorrq_u32(kept, vmvnq_u32(vceqq_f32(x, x))))); /* a NaN stays */
}

/* In the lanes from n on; z in those below. */
static inline gv gv_fma_from(gv x, gv y, gv z, size_t n)
{
    static const uint32_t lanes[8] = {0, 0, 0, 0, ~0u, ~0u, ~0u, ~0u};
    return vbslq_f32(vld1q_u32(lanes + 4 - n), vfmaq_f32(z, x, y), z);
}

/* r becomes its transpose. */
static inline void gv_transpose(gv r[4])
{
    const float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

#endif
