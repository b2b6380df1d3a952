/* GEMM on AVX-512: 14 x 32, that is 28 accumulators, 2 registers of B and 1 broadcast element of A. */
#ifndef DM_SIMD_KERNELS_GEMM_GEMM_AVX512_H
#define DM_SIMD_KERNELS_GEMM_GEMM_AVX512_H

#include <immintrin.h>

#include "simd/kernels/gemm/gemm_mode.h"

#define GEMM_LEVEL(name) name##_avx512
#define GEMM_VL 16
#define GEMM_MR 14
#define GEMM_NV 2
#define GEMM_ROWS(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13)
#define GEMM_COLS(F, i) F(i, 0) F(i, 1)
#define GEMM_MODE 1  /* the processor can flush subnormals */
#define GEMM_MC 168  /* 168 x 512 floats of A: a third of a 1 MiB L2 */
#define GEMM_KC 512  /* 512 x 32 floats of B: 64 KiB, read in order from L2; longer chains touch C less often */
#define GEMM_NC 1536 /* 1.5 MiB of B in L3 */

typedef __m512 gv;

static inline __mmask16 gv_mask(size_t n)
{
    return (__mmask16)((1u << n) - 1u);
}

static inline gv gv_zero(void)
{
    return _mm512_setzero_ps();
}

static inline gv gv_set1(const float *p)
{
    return _mm512_set1_ps(*p);
}

static inline gv gv_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline gv gv_loadn(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(gv_mask(n), p);
}

static inline void gv_store(float *p, gv x)
{
    _mm512_storeu_ps(p, x);
}

static inline void gv_storen(float *p, gv x, size_t n)
{
    _mm512_mask_storeu_ps(p, gv_mask(n), x);
}

static inline gv gv_fma(gv x, gv y, gv z)
{
    return _mm512_fmadd_ps(x, y, z);
}

/* To bf16 and back, to nearest even; a NaN stays one. */
static inline gv gv_round(gv x)
{
    const __m512i bits = _mm512_castps_si512(x), keep = _mm512_set1_epi32((int)0xffff0000);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i near = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __m512i nan = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_mask_mov_epi32(near, is_nan, nan), keep));
}

static inline gv gv_add(gv x, gv y)
{
    return _mm512_add_ps(x, y);
}

/* In the lanes from n on; z in those below. */
static inline gv gv_fma_from(gv x, gv y, gv z, size_t n)
{
    return _mm512_mask3_fmadd_ps(x, y, z, (__mmask16)(0xffffu << n));
}

/* r becomes its transpose: pairs, then quads inside 128-bit blocks, then the blocks (Intel's optimization manual). */
static inline void gv_transpose(gv r[16])
{
    gv s[16];
#define QUAD(q)                                                                                                        \
    {                                                                                                                  \
        const __m512d t0 = _mm512_castps_pd(_mm512_unpacklo_ps(r[q], r[q + 1]));                                       \
        const __m512d t1 = _mm512_castps_pd(_mm512_unpackhi_ps(r[q], r[q + 1]));                                       \
        const __m512d t2 = _mm512_castps_pd(_mm512_unpacklo_ps(r[q + 2], r[q + 3]));                                   \
        const __m512d t3 = _mm512_castps_pd(_mm512_unpackhi_ps(r[q + 2], r[q + 3]));                                   \
        s[q] = _mm512_castpd_ps(_mm512_unpacklo_pd(t0, t2));                                                           \
        s[q + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(t0, t2));                                                       \
        s[q + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(t1, t3));                                                       \
        s[q + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(t1, t3));                                                       \
    }
    QUAD(0)
    QUAD(4)
    QUAD(8)
    QUAD(12)
#undef QUAD
#define BLOCKS(c)                                                                                                      \
    {                                                                                                                  \
        const gv u0 = _mm512_shuffle_f32x4(s[c], s[4 + c], 0x88), u1 = _mm512_shuffle_f32x4(s[c], s[4 + c], 0xdd);     \
        const gv v0 = _mm512_shuffle_f32x4(s[8 + c], s[12 + c], 0x88);                                                 \
        const gv v1 = _mm512_shuffle_f32x4(s[8 + c], s[12 + c], 0xdd);                                                 \
        r[c] = _mm512_shuffle_f32x4(u0, v0, 0x88);                                                                     \
        r[8 + c] = _mm512_shuffle_f32x4(u0, v0, 0xdd);                                                                 \
        r[4 + c] = _mm512_shuffle_f32x4(u1, v1, 0x88);                                                                 \
        r[12 + c] = _mm512_shuffle_f32x4(u1, v1, 0xdd);                                                                \
    }
    BLOCKS(0) BLOCKS(1) BLOCKS(2) BLOCKS(3)
#undef BLOCKS
}

#endif
