/* simd/kernels/vec.h on AVX-512 F, VL, DQ and BW: one register is the vector, a mask register the mask. */
#ifndef DM_SIMD_KERNELS_VEC_AVX512_H
#define DM_SIMD_KERNELS_VEC_AVX512_H

#include <immintrin.h>

typedef __m512 vf;
typedef __m512i vi;
typedef __m256i vh;
typedef __mmask16 vm;

DM_INLINE vm vm_first(size_t n)
{
    return (vm)((1u << n) - 1);
}

/* ---- memory ---- */

DM_INLINE vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

DM_INLINE void vf_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}

DM_INLINE vf vf_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(vm_first(n), p);
}

DM_INLINE void vf_store_n(float *p, vf v, size_t n)
{
    _mm512_mask_storeu_ps(p, vm_first(n), v);
}

DM_INLINE vh vh_load(const uint16_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

DM_INLINE void vh_store(uint16_t *p, vh v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, v);
}

DM_INLINE vi vi_load(const uint32_t *p)
{
    return _mm512_loadu_si512(p);
}

DM_INLINE vi vi_load_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}

DM_INLINE vf vf_set1(float a)
{
    return _mm512_set1_ps(a);
}

DM_INLINE vi vi_set1(uint32_t a)
{
    return _mm512_set1_epi32((int)a);
}

/* ---- floats ---- */

#define DM_VF_OP2(name)                                                                                                \
    DM_INLINE vf vf_##name(vf a, vf b)                                                                                 \
    {                                                                                                                  \
        return _mm512_##name##_ps(a, b);                                                                               \
    }
DM_VF_OP2(add)
DM_VF_OP2(sub)
DM_VF_OP2(mul)
DM_VF_OP2(div)
DM_VF_OP2(max)
DM_VF_OP2(min)
#undef DM_VF_OP2

DM_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

DM_INLINE vf vf_sqrt(vf a)
{
    return _mm512_sqrt_ps(a);
}

DM_INLINE vf vf_neg(vf a)
{
    return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f));
}

DM_INLINE vf vf_abs(vf a)
{
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a);
}

DM_INLINE vm vf_gt(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

DM_INLINE vm vf_lt(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

DM_INLINE vm vf_is_nan(vf a)
{
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}

DM_INLINE vf vf_sel(vm m, vf a, vf b)
{
    return _mm512_mask_blend_ps(m, b, a);
}

/* ---- integers ---- */

DM_INLINE vi vf_bits(vf a)
{
    return _mm512_castps_si512(a);
}

DM_INLINE vf vi_float(vi a)
{
    return _mm512_castsi512_ps(a);
}

DM_INLINE vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}

DM_INLINE vi vi_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}

DM_INLINE vi vi_mul(vi a, vi b)
{
    return _mm512_mullo_epi32(a, b);
}

DM_INLINE vi vi_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}

DM_INLINE vi vi_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}

/* Counts in a register: as immediates they would have to be constants at -O0 too. */
DM_INLINE vi vi_shl(vi a, unsigned n)
{
    return _mm512_sllv_epi32(a, vi_set1(n));
}

DM_INLINE vi vi_shr(vi a, unsigned n)
{
    return _mm512_srlv_epi32(a, vi_set1(n));
}

DM_INLINE vi vi_sar(vi a, unsigned n)
{
    return _mm512_srav_epi32(a, vi_set1(n));
}

DM_INLINE vi vi_sel(vm m, vi a, vi b)
{
    return _mm512_mask_blend_epi32(m, b, a);
}

DM_INLINE vi vi_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}

/* ---- words of rows ---- */

DM_INLINE __m128i dm_words(const uint8_t *p, size_t stride, size_t i)
{
    int32_t w[4];

    for (size_t l = 0; l < 4; l++)
        memcpy(&w[l], p + (i + l) * stride, sizeof w[l]);
    return _mm_set_epi32(w[3], w[2], w[1], w[0]);
}

DM_INLINE vi vi_rows4(const uint8_t *p, size_t stride)
{
    const __m256i lo = _mm256_setr_m128i(dm_words(p, stride, 0), dm_words(p, stride, 4));
    const __m256i hi = _mm256_setr_m128i(dm_words(p, stride, 8), dm_words(p, stride, 12));

    return _mm512_inserti64x4(_mm512_castsi256_si512(lo), hi, 1);
}

/* The rows i, i + 4, i + 8 and i + 12 in a register, so that transposing inside 128 bits is all. */
DM_INLINE __m512i dm_row_quad(const uint8_t *p, size_t stride, size_t i)
{
    __m128i r[4];

    for (size_t l = 0; l < 4; l++)
        r[l] = _mm_loadu_si128((const __m128i *)(const void *)(p + (i + 4 * l) * stride));
    __m512i x = _mm512_castsi128_si512(r[0]);
    x = _mm512_inserti32x4(x, r[1], 1);
    x = _mm512_inserti32x4(x, r[2], 2);
    return _mm512_inserti32x4(x, r[3], 3);
}

DM_INLINE void vi_rows16(vi r[4], const uint8_t *p, size_t stride)
{
    const __m512i a = dm_row_quad(p, stride, 0), b = dm_row_quad(p, stride, 1);
    const __m512i c = dm_row_quad(p, stride, 2), d = dm_row_quad(p, stride, 3);
    const __m512i ab0 = _mm512_unpacklo_epi32(a, b), ab1 = _mm512_unpackhi_epi32(a, b);
    const __m512i cd0 = _mm512_unpacklo_epi32(c, d), cd1 = _mm512_unpackhi_epi32(c, d);

    r[0] = _mm512_unpacklo_epi64(ab0, cd0);
    r[1] = _mm512_unpackhi_epi64(ab0, cd0);
    r[2] = _mm512_unpacklo_epi64(ab1, cd1);
    r[3] = _mm512_unpackhi_epi64(ab1, cd1);
}

/* ---- 16-bit formats ---- */

DM_INLINE vi vi_of_u16(vh a)
{
    return _mm512_cvtepu16_epi32(a);
}

DM_INLINE vh vh_of_vi(vi a)
{
    return _mm512_cvtepi32_epi16(a);
}

DM_INLINE vf vf_of_f16(vh a)
{
    return _mm512_cvtph_ps(a);
}

DM_INLINE vh vh_of_f32(vf a)
{
    return _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

#endif
