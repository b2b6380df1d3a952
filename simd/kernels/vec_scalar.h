/* simd/kernels/vec.h in plain C: sixteen lanes in an array. Its results are the specification of every other level. */
#ifndef DM_SIMD_KERNELS_VEC_SCALAR_H
#define DM_SIMD_KERNELS_VEC_SCALAR_H

#include "core/numbers/bits.h"

typedef struct vf {
    float l[VF];
} vf;

typedef struct vi {
    uint32_t l[VF];
} vi;

typedef struct vh {
    uint16_t l[VF];
} vh;

typedef vi vm; /* 0 or 1 */

#define DM_LANES(type, expression)                                                                                     \
    do {                                                                                                               \
        type r_;                                                                                                       \
        for (int l = 0; l < VF; l++)                                                                                   \
            r_.l[l] = expression;                                                                                      \
        return r_;                                                                                                     \
    } while (0)

DM_INLINE vm vm_first(size_t n)
{
    DM_LANES(vm, (size_t)l < n);
}

/* ---- memory ---- */

DM_INLINE vf vf_load(const float *p)
{
    DM_LANES(vf, p[l]);
}

DM_INLINE void vf_store(float *p, vf v)
{
    memcpy(p, v.l, sizeof v.l);
}

DM_INLINE vf vf_load_n(const float *p, size_t n)
{
    vf r = {{0}};

    memcpy(r.l, p, n * sizeof *p);
    return r;
}

DM_INLINE void vf_store_n(float *p, vf v, size_t n)
{
    memcpy(p, v.l, n * sizeof *p);
}

DM_INLINE vh vh_load(const uint16_t *p)
{
    DM_LANES(vh, p[l]);
}

DM_INLINE void vh_store(uint16_t *p, vh v)
{
    memcpy(p, v.l, sizeof v.l);
}

DM_INLINE vi vi_load(const uint32_t *p)
{
    DM_LANES(vi, p[l]);
}

DM_INLINE vi vi_load_u8(const uint8_t *p)
{
    DM_LANES(vi, p[l]);
}

DM_INLINE vf vf_set1(float a)
{
    DM_LANES(vf, a);
}

DM_INLINE vi vi_set1(uint32_t a)
{
    DM_LANES(vi, a);
}

/* ---- floats ---- */

DM_INLINE vf vf_add(vf a, vf b)
{
    DM_LANES(vf, a.l[l] + b.l[l]);
}

DM_INLINE vf vf_sub(vf a, vf b)
{
    DM_LANES(vf, a.l[l] - b.l[l]);
}

DM_INLINE vf vf_mul(vf a, vf b)
{
    DM_LANES(vf, a.l[l] * b.l[l]);
}

DM_INLINE vf vf_div(vf a, vf b)
{
    DM_LANES(vf, a.l[l] / b.l[l]);
}

DM_INLINE vf vf_max(vf a, vf b)
{
    DM_LANES(vf, a.l[l] > b.l[l] ? a.l[l] : b.l[l]);
}

DM_INLINE vf vf_min(vf a, vf b)
{
    DM_LANES(vf, a.l[l] < b.l[l] ? a.l[l] : b.l[l]);
}

DM_INLINE vf vf_fma(vf a, vf b, vf c)
{
    DM_LANES(vf, fmaf(a.l[l], b.l[l], c.l[l]));
}

DM_INLINE vf vf_sqrt(vf a)
{
    DM_LANES(vf, sqrtf(a.l[l]));
}

DM_INLINE vf vf_neg(vf a)
{
    DM_LANES(vf, -a.l[l]);
}

DM_INLINE vf vf_abs(vf a)
{
    DM_LANES(vf, fabsf(a.l[l]));
}

DM_INLINE vm vf_gt(vf a, vf b)
{
    DM_LANES(vm, a.l[l] > b.l[l]);
}

DM_INLINE vm vf_lt(vf a, vf b)
{
    DM_LANES(vm, a.l[l] < b.l[l]);
}

DM_INLINE vm vf_is_nan(vf a)
{
    DM_LANES(vm, a.l[l] != a.l[l]);
}

DM_INLINE vf vf_sel(vm m, vf a, vf b)
{
    DM_LANES(vf, m.l[l] ? a.l[l] : b.l[l]);
}

/* ---- integers ---- */

DM_INLINE vi vf_bits(vf a)
{
    DM_LANES(vi, dm_f32_bits(a.l[l]));
}

DM_INLINE vf vi_float(vi a)
{
    DM_LANES(vf, dm_f32_from_bits(a.l[l]));
}

DM_INLINE vi vi_add(vi a, vi b)
{
    DM_LANES(vi, a.l[l] + b.l[l]);
}

DM_INLINE vi vi_sub(vi a, vi b)
{
    DM_LANES(vi, a.l[l] - b.l[l]);
}

DM_INLINE vi vi_mul(vi a, vi b)
{
    DM_LANES(vi, a.l[l] * b.l[l]);
}

DM_INLINE vi vi_and(vi a, vi b)
{
    DM_LANES(vi, a.l[l] & b.l[l]);
}

DM_INLINE vi vi_or(vi a, vi b)
{
    DM_LANES(vi, a.l[l] | b.l[l]);
}

DM_INLINE vi vi_xor(vi a, vi b)
{
    DM_LANES(vi, a.l[l] ^ b.l[l]);
}

DM_INLINE vi vi_shl(vi a, unsigned n)
{
    DM_LANES(vi, a.l[l] << n);
}

DM_INLINE vi vi_shr(vi a, unsigned n)
{
    DM_LANES(vi, a.l[l] >> n);
}

DM_INLINE vi vi_sar(vi a, unsigned n)
{
    DM_LANES(vi, a.l[l] >> n | ~(~0u >> n) * (a.l[l] >> 31)); /* without >> of a negative number */
}

DM_INLINE vi vi_sel(vm m, vi a, vi b)
{
    DM_LANES(vi, m.l[l] ? a.l[l] : b.l[l]);
}

/* ---- words of rows ---- */

DM_INLINE vi vi_rows4(const uint8_t *p, size_t stride)
{
    vi r;

    for (size_t l = 0; l < VF; l++)
        memcpy(&r.l[l], p + l * stride, sizeof r.l[l]);
    return r;
}

DM_INLINE void vi_rows16(vi r[4], const uint8_t *p, size_t stride)
{
    for (size_t j = 0; j < 4; j++)
        r[j] = vi_rows4(p + 4 * j, stride);
}

/* ---- 16-bit formats ---- */

DM_INLINE vi vi_of_u16(vh a)
{
    DM_LANES(vi, a.l[l]);
}

DM_INLINE vh vh_of_vi(vi a)
{
    DM_LANES(vh, (uint16_t)a.l[l]);
}

/* A subnormal is its fraction times 2^-24; every other number gets its exponent moved by 127 - 15. */
DM_INLINE float dm_f32_of_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = h >> 10 & 31, fraction = h & 1023;

    if (exponent == 0)
        return dm_f32_from_bits(sign | dm_f32_bits((float)fraction * 0x1p-24f));
    return dm_f32_from_bits(sign | (exponent == 31 ? 255 : exponent + (127 - 15)) << 23 | fraction << 13);
}

/* Rounds by carrying into the bit above: from the largest subnormal to a normal and from 65520 to infinity alike. */
DM_INLINE uint16_t dm_f16_of_f32(float x)
{
    const uint32_t bits = dm_f32_bits(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;

    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00); /* a quiet NaN */
    if (magnitude >= 0x47800000)          /* 2^16 and more */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude >= 0x38800000) /* 2^-14 and more: normal */
        return (uint16_t)(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
    /* 1/2 has its last place at 2^-24, the unit of subnormals: this addition rounds to it. */
    return (uint16_t)(sign | (dm_f32_bits(dm_f32_from_bits(magnitude) + 0.5f) - 0x3f000000));
}

DM_INLINE vf vf_of_f16(vh a)
{
    DM_LANES(vf, dm_f32_of_f16(a.l[l]));
}

DM_INLINE vh vh_of_f32(vf a)
{
    DM_LANES(vh, dm_f16_of_f32(a.l[l]));
}

#undef DM_LANES

#endif
