/* GEMM on AVX2 + FMA: 6 x 16, that is 12 accumulators, 2 registers of B and 1 broadcast element of A. */
#ifndef DM_SIMD_KERNELS_GEMM_GEMM_AVX2_H
#define DM_SIMD_KERNELS_GEMM_GEMM_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#include "simd/kernels/gemm/gemm_mode.h"

#define GEMM_LEVEL(name) name##_avx2
#define GEMM_VL 8
#define GEMM_MR 6
#define GEMM_NV 2
#define GEMM_ROWS(F) F(0) F(1) F(2) F(3) F(4) F(5)
#define GEMM_COLS(F, i) F(i, 0) F(i, 1)
#define GEMM_MODE 1  /* the processor can flush subnormals */
#define GEMM_MC 96   /* 96 x 512 floats of A: 192 KiB of L2 */
#define GEMM_KC 512  /* 512 x 16 floats of B: a 32 KiB L1, or L2 in order */
#define GEMM_NC 1536 /* 1.5 MiB of B in L3 */

typedef __m256 gv;

static inline __m256i gv_mask(size_t n)
{
    static const int32_t lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(lanes + 8 - n));
}

static inline gv gv_zero(void)
{
    return _mm256_setzero_ps();
}

static inline gv gv_set1(const float *p)
{
    return _mm256_broadcast_ss(p);
}

static inline gv gv_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline gv gv_loadn(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, gv_mask(n));
}

static inline void gv_store(float *p, gv x)
{
    _mm256_storeu_ps(p, x);
}

/* In halves: a masked store takes some twenty operations on AMD before Zen 4. */
static inline void gv_storen(float *p, gv x, size_t n)
{
    __m128 low = _mm256_castps256_ps128(x);
    if (n >= 8) {
        _mm256_storeu_ps(p, x);
        return;
    }
    if (n & 4) {
        _mm_storeu_ps(p, low);
        low = _mm256_extractf128_ps(x, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, low);
        low = _mm_movehl_ps(low, low);
        p += 2;
    }
    if (n & 1)
        _mm_store_ss(p, low);
}

static inline gv gv_fma(gv x, gv y, gv z)
{
    return _mm256_fmadd_ps(x, y, z);
}

/* To bf16 and back, to nearest even; a NaN stays one. */
static inline gv gv_round(gv x)
{
    const __m256i bits = _mm256_castps_si256(x), keep = _mm256_set1_epi32((int)0xffff0000);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i near = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_blendv_epi8(near, nan, is_nan), keep));
}

static inline gv gv_add(gv x, gv y)
{
    return _mm256_add_ps(x, y);
}

/* In the lanes from n on; z in those below. */
static inline gv gv_fma_from(gv x, gv y, gv z, size_t n)
{
    return _mm256_blendv_ps(_mm256_fmadd_ps(x, y, z), z, _mm256_castsi256_ps(gv_mask(n)));
}

/* r becomes its transpose: pairs, then quads inside 128-bit blocks, then the blocks. */
static inline void gv_transpose(gv r[8])
{
    gv s[8];
#define QUAD(q)                                                                                                        \
    {                                                                                                                  \
        const __m256d t0 = _mm256_castps_pd(_mm256_unpacklo_ps(r[q], r[q + 1]));                                       \
        const __m256d t1 = _mm256_castps_pd(_mm256_unpackhi_ps(r[q], r[q + 1]));                                       \
        const __m256d t2 = _mm256_castps_pd(_mm256_unpacklo_ps(r[q + 2], r[q + 3]));                                   \
        const __m256d t3 = _mm256_castps_pd(_mm256_unpackhi_ps(r[q + 2], r[q + 3]));                                   \
        s[q] = _mm256_castpd_ps(_mm256_unpacklo_pd(t0, t2));                                                           \
        s[q + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(t0, t2));                                                       \
        s[q + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(t1, t3));                                                       \
        s[q + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(t1, t3));                                                       \
    }
    QUAD(0)
    QUAD(4)
#undef QUAD
#define BLOCKS(c)                                                                                                      \
    r[c] = _mm256_permute2f128_ps(s[c], s[4 + c], 0x20);                                                               \
    r[4 + c] = _mm256_permute2f128_ps(s[c], s[4 + c], 0x31);
    BLOCKS(0) BLOCKS(1) BLOCKS(2) BLOCKS(3)
#undef BLOCKS
}

#endif
