/* simd/kernels/vec.h on AVX2, FMA and F16C: lanes 0-7 in lo, 8-15 in hi; a mask is all bits of its lane. */
#ifndef DM_SIMD_KERNELS_VEC_AVX2_H
#define DM_SIMD_KERNELS_VEC_AVX2_H

#include <immintrin.h>

typedef struct vf {
    __m256 lo, hi;
} vf;

typedef struct vi {
    __m256i lo, hi;
} vi;

typedef __m256i vh;
typedef vi vm;

DM_INLINE vm vm_first(size_t n)
{
    const __m256i count = _mm256_set1_epi32((int)n);

    return (vm){_mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
                _mm256_cmpgt_epi32(count, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
}

/* ---- memory ---- */

DM_INLINE vf vf_load(const float *p)
{
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

DM_INLINE void vf_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v.lo);
    _mm256_storeu_ps(p + 8, v.hi);
}

DM_INLINE vf vf_load_n(const float *p, size_t n)
{
    const vm m = vm_first(n);

    return (vf){_mm256_maskload_ps(p, m.lo), n > 8 ? _mm256_maskload_ps(p + 8, m.hi) : _mm256_setzero_ps()};
}

DM_INLINE void vf_store_n(float *p, vf v, size_t n)
{
    const vm m = vm_first(n);

    _mm256_maskstore_ps(p, m.lo, v.lo);
    if (n > 8)
        _mm256_maskstore_ps(p + 8, m.hi, v.hi);
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
    return (vi){_mm256_loadu_si256((const __m256i *)(const void *)p),
                _mm256_loadu_si256((const __m256i *)(const void *)(p + 8))};
}

DM_INLINE vi vi_load_u8(const uint8_t *p)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);

    return (vi){_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes))};
}

DM_INLINE vf vf_set1(float a)
{
    return (vf){_mm256_set1_ps(a), _mm256_set1_ps(a)};
}

DM_INLINE vi vi_set1(uint32_t a)
{
    return (vi){_mm256_set1_epi32((int)a), _mm256_set1_epi32((int)a)};
}

/* ---- floats ---- */

#define DM_VF_OP2(name)                                                                                                \
    DM_INLINE vf vf_##name(vf a, vf b)                                                                                 \
    {                                                                                                                  \
        return (vf){_mm256_##name##_ps(a.lo, b.lo), _mm256_##name##_ps(a.hi, b.hi)};                                   \
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
    return (vf){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

DM_INLINE vf vf_sqrt(vf a)
{
    return (vf){_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)};
}

DM_INLINE vf vf_neg(vf a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);

    return (vf){_mm256_xor_ps(a.lo, sign), _mm256_xor_ps(a.hi, sign)};
}

DM_INLINE vf vf_abs(vf a)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);

    return (vf){_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}

#define DM_VF_COMPARE(name, predicate)                                                                                 \
    DM_INLINE vm vf_##name(vf a, vf b)                                                                                 \
    {                                                                                                                  \
        return (vm){_mm256_castps_si256(_mm256_cmp_ps(a.lo, b.lo, predicate)),                                         \
                    _mm256_castps_si256(_mm256_cmp_ps(a.hi, b.hi, predicate))};                                        \
    }
DM_VF_COMPARE(gt, _CMP_GT_OQ)
DM_VF_COMPARE(lt, _CMP_LT_OQ)
DM_VF_COMPARE(unordered, _CMP_UNORD_Q)
#undef DM_VF_COMPARE

DM_INLINE vm vf_is_nan(vf a)
{
    return vf_unordered(a, a);
}

DM_INLINE vf vf_sel(vm m, vf a, vf b)
{
    return (vf){_mm256_blendv_ps(b.lo, a.lo, _mm256_castsi256_ps(m.lo)),
                _mm256_blendv_ps(b.hi, a.hi, _mm256_castsi256_ps(m.hi))};
}

/* ---- integers ---- */

DM_INLINE vi vf_bits(vf a)
{
    return (vi){_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)};
}

DM_INLINE vf vi_float(vi a)
{
    return (vf){_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)};
}

#define DM_VI_OP2(name, op)                                                                                            \
    DM_INLINE vi vi_##name(vi a, vi b)                                                                                 \
    {                                                                                                                  \
        return (vi){op(a.lo, b.lo), op(a.hi, b.hi)};                                                                   \
    }
DM_VI_OP2(add, _mm256_add_epi32)
DM_VI_OP2(sub, _mm256_sub_epi32)
DM_VI_OP2(mul, _mm256_mullo_epi32)
DM_VI_OP2(and, _mm256_and_si256)
DM_VI_OP2(or, _mm256_or_si256)
DM_VI_OP2(xor, _mm256_xor_si256)
#undef DM_VI_OP2

/* Counts in a register: as immediates they would have to be constants at -O0 too. */
#define DM_VI_SHIFT(name, op)                                                                                          \
    DM_INLINE vi vi_##name(vi a, unsigned n)                                                                           \
    {                                                                                                                  \
        const __m256i count = _mm256_set1_epi32((int)n);                                                               \
        return (vi){op(a.lo, count), op(a.hi, count)};                                                                 \
    }
DM_VI_SHIFT(shl, _mm256_sllv_epi32)
DM_VI_SHIFT(shr, _mm256_srlv_epi32)
DM_VI_SHIFT(sar, _mm256_srav_epi32)
#undef DM_VI_SHIFT

DM_INLINE vi vi_sel(vm m, vi a, vi b)
{
    return (vi){_mm256_blendv_epi8(b.lo, a.lo, m.lo), _mm256_blendv_epi8(b.hi, a.hi, m.hi)};
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
    return (vi){_mm256_setr_m128i(dm_words(p, stride, 0), dm_words(p, stride, 4)),
                _mm256_setr_m128i(dm_words(p, stride, 8), dm_words(p, stride, 12))};
}

/* The rows i and i + 4 in a register, so that transposing inside 128 bits is all. */
DM_INLINE __m256i dm_row_pair(const uint8_t *p, size_t stride, size_t i)
{
    return _mm256_setr_m128i(_mm_loadu_si128((const __m128i *)(const void *)(p + i * stride)),
                             _mm_loadu_si128((const __m128i *)(const void *)(p + (i + 4) * stride)));
}

DM_INLINE void dm_rows8(__m256i r[4], const uint8_t *p, size_t stride, size_t i)
{
    const __m256i a = dm_row_pair(p, stride, i), b = dm_row_pair(p, stride, i + 1);
    const __m256i c = dm_row_pair(p, stride, i + 2), d = dm_row_pair(p, stride, i + 3);
    const __m256i ab0 = _mm256_unpacklo_epi32(a, b), ab1 = _mm256_unpackhi_epi32(a, b);
    const __m256i cd0 = _mm256_unpacklo_epi32(c, d), cd1 = _mm256_unpackhi_epi32(c, d);

    r[0] = _mm256_unpacklo_epi64(ab0, cd0);
    r[1] = _mm256_unpackhi_epi64(ab0, cd0);
    r[2] = _mm256_unpacklo_epi64(ab1, cd1);
    r[3] = _mm256_unpackhi_epi64(ab1, cd1);
}

DM_INLINE void vi_rows16(vi r[4], const uint8_t *p, size_t stride)
{
    __m256i lo[4], hi[4];

    dm_rows8(lo, p, stride, 0);
    dm_rows8(hi, p, stride, 8);
    for (size_t j = 0; j < 4; j++)
        r[j] = (vi){lo[j], hi[j]};
}

/* ---- 16-bit formats ---- */

DM_INLINE vi vi_of_u16(vh a)
{
    return (vi){_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)),
                _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1))};
}

DM_INLINE vh vh_of_vi(vi a)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(a.lo, a.hi), 0xd8); /* packs within 128-bit halves */
}

DM_INLINE vf vf_of_f16(vh a)
{
    return (vf){_mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1))};
}

DM_INLINE vh vh_of_f32(vf a)
{
    return _mm256_setr_m128i(_mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                             _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#endif
