/* The 16-lane virtual vector in which kernels are written: once, compiled for every instruction set.
 *
 * The build compiles each k_*.c here and in gemm/ once per level with one of DM_SIMD_SCALAR, DM_SIMD_AVX2,
 * DM_SIMD_AVX512 or DM_SIMD_NEON defined to 1; this header then selects the registers. Every operation means the same
 * on each lane and level, bit for bit (a NaN's payload and sign excepted):
 *
 *   vf  16 floats         vi  16 32-bit integers, wrapping         vh  16 uint16_t         vm  a mask of 16 lanes
 *
 *   vf_load, vf_store     16 elements, no alignment
 *   vf_load_n, vf_store_n 0 <= n <= 16 elements: memory past them is not touched; lanes past them load +0
 *   vf_fma(a, b, c)       a*b + c rounded once; vf_add, sub, mul, div, sqrt round to nearest
 *   vf_max(a, b)          a > b ? a : b: equal (also +0, -0) or unordered gives b. vf_min: a < b ? a : b
 *   vf_neg, vf_abs        the sign bit alone
 *   vf_gt, vf_lt          false on NaN; vf_is_nan
 *   vf_sel(m, a, b)       m ? a : b for each lane; vi_sel
 *   vm_first(n)           true in lanes 0 .. n-1
 *   vf_bits, vi_float     the same bits as integers, as floats
 *   vi_shl, vi_shr, vi_sar  by 0 .. 31 bits: left, right logical, right arithmetic
 *   vi_mul                the low 32 bits of the product
 *   vi_load, vi_load_u8   16 words; 16 bytes, widened with zeros
 *   vi_rows4(p, stride)   lane i: the word at p + i * stride, no alignment
 *   vi_rows16(r, p, stride)  the same for r[0 .. 3] at p, p + 4, p + 8, p + 12
 *   vi_of_u16, vh_of_vi   widen with zeros; keep the low 16 bits (the high ones must be zero)
 *   vf_of_f16, vh_of_f32  IEEE binary16: exact; round to nearest even, overflow to infinity */
#ifndef DM_SIMD_KERNELS_VEC_H
#define DM_SIMD_KERNELS_VEC_H

#include <math.h> /* fmaf, sqrtf, fabsf: exact */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/numbers/numeric.h"
#include "simd/kernels/families.h"

#define VF 16 /* lanes */

#if defined(__GNUC__)
#define DM_INLINE static inline __attribute__((always_inline, unused))
#else
#define DM_INLINE static inline
#endif

#if defined(DM_SIMD_AVX512)
#define DM_SIMD_NAME avx512
#include "simd/kernels/vec_avx512.h"
#elif defined(DM_SIMD_AVX2)
#define DM_SIMD_NAME avx2
#include "simd/kernels/vec_avx2.h"
#elif defined(DM_SIMD_NEON)
#define DM_SIMD_NAME neon
#include "simd/kernels/vec_neon.h"
#elif defined(DM_SIMD_SCALAR)
#define DM_SIMD_NAME scalar
#include "simd/kernels/vec_scalar.h"
#else
#error "compile with DM_SIMD_SCALAR, DM_SIMD_AVX2, DM_SIMD_AVX512 or DM_SIMD_NEON defined"
#endif

/* The one function that a family exports: void DM_K_INIT(norm)(dm_kernels *k) is dm_k_norm_init_avx2 and so on. */
#define DM_K_PASTE(family, isa) dm_k_##family##_init_##isa
#define DM_K_NAME(family, isa) DM_K_PASTE(family, isa)
#define DM_K_INIT(family) DM_K_NAME(family, DM_SIMD_NAME)

/* ---- a row of n elements: groups of 16, then the tail ----
 * VF_EACH(i, m, n, statement) runs the statement for i = 0, 16, 32 ... with m the elements in the group: a constant
 * 16, and once the rest. vf_get, vf_put and vf_keep take that m and cost nothing extra while it is constant. */
#define VF_EACH(i, m, n, ...)                                                                                          \
    do {                                                                                                               \
        size_t i = 0;                                                                                                  \
        for (; (n)-i >= VF; i += VF) {                                                                                 \
            const size_t m = VF;                                                                                       \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
        if (i < (n)) {                                                                                                 \
            const size_t m = (n)-i;                                                                                    \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    } while (0)

DM_INLINE vf vf_get(const float *p, size_t m)
{
    return m == VF ? vf_load(p) : vf_load_n(p, m);
}

DM_INLINE void vf_put(float *p, vf v, size_t m)
{
    if (m == VF)
        vf_store(p, v);
    else
        vf_store_n(p, v, m);
}

/* The new accumulator where the group has an element, the old one past it: a sum must not see the zeros that
 * vf_get loads there (fma(0, 0, -0) is +0). */
DM_INLINE vf vf_keep(vf now, vf before, size_t m)
{
    return m == VF ? now : vf_sel(vm_first(m), now, before);
}

DM_INLINE vh vh_get(const uint16_t *p, size_t m)
{
    uint16_t tail[VF] = {0};

    if (m == VF)
        return vh_load(p);
    memcpy(tail, p, m * sizeof *p);
    return vh_load(tail);
}

DM_INLINE void vh_put(uint16_t *p, vh v, size_t m)
{
    uint16_t tail[VF];

    if (m == VF) {
        vh_store(p, v);
        return;
    }
    vh_store(tail, v);
    memcpy(p, tail, m * sizeof *p);
}

/* To bf16 and back, to nearest even; a NaN stays one, and what is subnormal then becomes a zero of its sign. */
DM_INLINE vf vf_round_bf16(vf v)
{
    const vi bits = vf_bits(v), odd = vi_and(vi_shr(bits, 16), vi_set1(1)), keep = vi_set1(0xffff0000u);
    const vi near = vi_and(vi_add(bits, vi_add(vi_set1(0x7fff), odd)), keep);
    const vi zero = vi_and(near, vi_set1(0x80000000u)), nan = vi_and(vi_or(bits, vi_set1(0x400000)), keep);
    const vi flushed = vi_sel(vf_lt(vf_abs(vi_float(near)), vf_set1(0x1p-126f)), zero, near);

    return vi_float(vi_sel(vf_is_nan(v), nan, flushed));
}

/* ---- from 16 lanes to one: the tree of simd/kernels/kernels.h, written once so that no level invents its own ---- */

DM_INLINE float vf_fold_sum(vf v)
{
    float lane[VF];

    vf_store(lane, v);
    for (int w = VF / 2; w > 0; w /= 2)
        for (int l = 0; l < w; l++)
            lane[l] += lane[l + w];
    return lane[0];
}

DM_INLINE float vf_fold_max(vf v)
{
    float lane[VF];

    vf_store(lane, v);
    for (int w = VF / 2; w > 0; w /= 2)
        for (int l = 0; l < w; l++)
            lane[l] = lane[l] > lane[l + w] ? lane[l] : lane[l + w];
    return lane[0];
}

#endif
