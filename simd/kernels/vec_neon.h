/* simd/kernels/vec.h on AArch64 NEON: four registers, lanes 0-3 in r0. (32-bit NEON flushes subnormals: never used.)
 * Maximum and minimum are compare and select: FMAX has other NaN and zero rules than simd/kernels/vec.h. */
#ifndef DM_SIMD_KERNELS_VEC_NEON_H
#define DM_SIMD_KERNELS_VEC_NEON_H

#include <arm_neon.h>

typedef struct vf {
    float32x4_t r0, r1, r2, r3;
} vf;

typedef struct vi {
    uint32x4_t r0, r1, r2, r3;
} vi;

typedef struct vh {
    uint16x8_t lo, hi;
} vh;

typedef vi vm; /* all bits of a lane */

/* One operation on the four registers. */
#define DM_OP1(op, a) op((a).r0), op((a).r1), op((a).r2), op((a).r3)
#define DM_OP2(op, a, b) op((a).r0, (b).r0), op((a).r1, (b).r1), op((a).r2, (b).r2), op((a).r3, (b).r3)
#define DM_OP3(op, a, b, c)                                                                                            \
    op((a).r0, (b).r0, (c).r0), op((a).r1, (b).r1, (c).r1), op((a).r2, (b).r2, (c).r2), op((a).r3, (b).r3, (c).r3)

DM_INLINE vi vi_set1(uint32_t a)
{
    const uint32x4_t r = vdupq_n_u32(a);

    return (vi){r, r, r, r};
}

DM_INLINE vm vm_first(size_t n)
{
    static const uint32_t index[VF] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const vi lane = {vld1q_u32(index), vld1q_u32(index + 4), vld1q_u32(index + 8), vld1q_u32(index + 12)};
    const vi count = vi_set1((uint32_t)n);

    return (vm){DM_OP2(vcltq_u32, lane, count)};
}

/* ---- memory ---- */

DM_INLINE vf vf_load(const float *p)
{
    return (vf){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}

DM_INLINE void vf_store(float *p, vf v)
{
    vst1q_f32(p, v.r0);
    vst1q_f32(p + 4, v.r1);
    vst1q_f32(p + 8, v.r2);
    vst1q_f32(p + 12, v.r3);
}

DM_INLINE vf vf_load_n(const float *p, size_t n)
{
    float lane[VF] = {0};

    memcpy(lane, p, n * sizeof *p);
    return vf_load(lane);
}

DM_INLINE void vf_store_n(float *p, vf v, size_t n)
{
    float lane[VF];

    vf_store(lane, v);
    memcpy(p, lane, n * sizeof *p);
}

DM_INLINE vh vh_load(const uint16_t *p)
{
    return (vh){vld1q_u16(p), vld1q_u16(p + 8)};
}

DM_INLINE void vh_store(uint16_t *p, vh v)
{
    vst1q_u16(p, v.lo);
    vst1q_u16(p + 8, v.hi);
}

DM_INLINE vi vi_load(const uint32_t *p)
{
    return (vi){vld1q_u32(p), vld1q_u32(p + 4), vld1q_u32(p + 8), vld1q_u32(p + 12)};
}

DM_INLINE vi vi_load_u8(const uint8_t *p)
{
    const uint8x16_t bytes = vld1q_u8(p);
    const uint16x8_t lo = vmovl_u8(vget_low_u8(bytes)), hi = vmovl_high_u8(bytes);

    return (vi){vmovl_u16(vget_low_u16(lo)), vmovl_high_u16(lo), vmovl_u16(vget_low_u16(hi)), vmovl_high_u16(hi)};
}

DM_INLINE vf vf_set1(float a)
{
    const float32x4_t r = vdupq_n_f32(a);

    return (vf){r, r, r, r};
}

/* ---- floats ---- */

#define DM_VF_OP2(name)                                                                                                \
    DM_INLINE vf vf_##name(vf a, vf b)                                                                                 \
    {                                                                                                                  \
        return (vf){DM_OP2(v##name##q_f32, a, b)};                                                                     \
    }
DM_VF_OP2(add)
DM_VF_OP2(sub)
DM_VF_OP2(mul)
DM_VF_OP2(div)
#undef DM_VF_OP2

DM_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return (vf){DM_OP3(vfmaq_f32, c, a, b)};
}

DM_INLINE vf vf_sqrt(vf a)
{
    return (vf){DM_OP1(vsqrtq_f32, a)};
}

DM_INLINE vf vf_neg(vf a)
{
    return (vf){DM_OP1(vnegq_f32, a)};
}

DM_INLINE vf vf_abs(vf a)
{
    return (vf){DM_OP1(vabsq_f32, a)};
}

DM_INLINE vm vf_gt(vf a, vf b)
{
    return (vm){DM_OP2(vcgtq_f32, a, b)};
}

DM_INLINE vm vf_lt(vf a, vf b)
{
    return (vm){DM_OP2(vcltq_f32, a, b)};
}

DM_INLINE vm vf_is_nan(vf a)
{
    const vm ordered = {DM_OP2(vceqq_f32, a, a)};

    return (vm){DM_OP1(vmvnq_u32, ordered)};
}

DM_INLINE vf vf_sel(vm m, vf a, vf b)
{
    return (vf){DM_OP3(vbslq_f32, m, a, b)};
}

DM_INLINE vf vf_max(vf a, vf b)
{
    return vf_sel(vf_gt(a, b), a, b);
}

DM_INLINE vf vf_min(vf a, vf b)
{
    return vf_sel(vf_lt(a, b), a, b);
}

/* ---- integers ---- */

DM_INLINE vi vf_bits(vf a)
{
    return (vi){DM_OP1(vreinterpretq_u32_f32, a)};
}

DM_INLINE vf vi_float(vi a)
{
    return (vf){DM_OP1(vreinterpretq_f32_u32, a)};
}

#define DM_VI_OP2(name, op)                                                                                            \
    DM_INLINE vi vi_##name(vi a, vi b)                                                                                 \
    {                                                                                                                  \
        return (vi){DM_OP2(op, a, b)};                                                                                 \
    }
DM_VI_OP2(add, vaddq_u32)
DM_VI_OP2(sub, vsubq_u32)
DM_VI_OP2(mul, vmulq_u32)
DM_VI_OP2(and, vandq_u32)
DM_VI_OP2(or, vorrq_u32)
DM_VI_OP2(xor, veorq_u32)
#undef DM_VI_OP2

/* Counts in a register (immediates would have to be constants at -O0 too); a negative one shifts right. */
#define DM_VI_SHIFT(name, sign, op)                                                                                    \
    DM_INLINE vi vi_##name(vi a, unsigned n)                                                                           \
    {                                                                                                                  \
        const int32x4_t count = vdupq_n_s32(sign(int32_t) n);                                                          \
        return (vi){op(a.r0, count), op(a.r1, count), op(a.r2, count), op(a.r3, count)};                               \
    }
#define DM_SAR(a, count) vreinterpretq_u32_s32(vshlq_s32(vreinterpretq_s32_u32(a), count))
DM_VI_SHIFT(shl, +, vshlq_u32)
DM_VI_SHIFT(shr, -, vshlq_u32)
DM_VI_SHIFT(sar, -, DM_SAR)
#undef DM_SAR
#undef DM_VI_SHIFT

DM_INLINE vi vi_sel(vm m, vi a, vi b)
{
    return (vi){DM_OP3(vbslq_u32, m, a, b)};
}

/* ---- words of rows ---- */

DM_INLINE vi vi_rows4(const uint8_t *p, size_t stride)
{
    uint32_t w[VF];

    for (size_t l = 0; l < VF; l++)
        memcpy(&w[l], p + l * stride, sizeof w[l]);
    return vi_load(w);
}

/* Four rows from i on, transposed. */
DM_INLINE void dm_rows4x4(uint32x4_t r[4], const uint8_t *p, size_t stride, size_t i)
{
    const uint32x4_t a = vreinterpretq_u32_u8(vld1q_u8(p + i * stride));
    const uint32x4_t b = vreinterpretq_u32_u8(vld1q_u8(p + (i + 1) * stride));
    const uint32x4_t c = vreinterpretq_u32_u8(vld1q_u8(p + (i + 2) * stride));
    const uint32x4_t d = vreinterpretq_u32_u8(vld1q_u8(p + (i + 3) * stride));
    const uint32x4x2_t ab = vtrnq_u32(a, b), cd = vtrnq_u32(c, d);

    r[0] = vcombine_u32(vget_low_u32(ab.val[0]), vget_low_u32(cd.val[0]));
    r[1] = vcombine_u32(vget_low_u32(ab.val[1]), vget_low_u32(cd.val[1]));
    r[2] = vcombine_u32(vget_high_u32(ab.val[0]), vget_high_u32(cd.val[0]));
    r[3] = vcombine_u32(vget_high_u32(ab.val[1]), vget_high_u32(cd.val[1]));
}

DM_INLINE void vi_rows16(vi r[4], const uint8_t *p, size_t stride)
{
    uint32x4_t a[4], b[4], c[4], d[4];

    dm_rows4x4(a, p, stride, 0);
    dm_rows4x4(b, p, stride, 4);
    dm_rows4x4(c, p, stride, 8);
    dm_rows4x4(d, p, stride, 12);
    for (size_t j = 0; j < 4; j++)
        r[j] = (vi){a[j], b[j], c[j], d[j]};
}

/* ---- 16-bit formats ---- */

DM_INLINE vi vi_of_u16(vh a)
{
    return (vi){vmovl_u16(vget_low_u16(a.lo)), vmovl_high_u16(a.lo), vmovl_u16(vget_low_u16(a.hi)),
                vmovl_high_u16(a.hi)};
}

DM_INLINE vh vh_of_vi(vi a)
{
    return (vh){vcombine_u16(vmovn_u32(a.r0), vmovn_u32(a.r1)), vcombine_u16(vmovn_u32(a.r2), vmovn_u32(a.r3))};
}

DM_INLINE vf vf_of_f16(vh a)
{
    const float16x8_t lo = vreinterpretq_f16_u16(a.lo), hi = vreinterpretq_f16_u16(a.hi);

    return (vf){vcvt_f32_f16(vget_low_f16(lo)), vcvt_high_f32_f16(lo), vcvt_f32_f16(vget_low_f16(hi)),
                vcvt_high_f32_f16(hi)};
}

DM_INLINE vh vh_of_f32(vf a)
{
    return (vh){vreinterpretq_u16_f16(vcombine_f16(vcvt_f16_f32(a.r0), vcvt_f16_f32(a.r1))),
                vreinterpretq_u16_f16(vcombine_f16(vcvt_f16_f32(a.r2), vcvt_f16_f32(a.r3)))};
}

#undef DM_OP1
#undef DM_OP2
#undef DM_OP3

#endif
