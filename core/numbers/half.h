/* 16-bit floats: binary16 and bfloat16 to f32 (exact) and back (round to nearest even), in integers only. */
#ifndef DM_CORE_NUMBERS_HALF_H
#define DM_CORE_NUMBERS_HALF_H

#include "core/numbers/bits.h"

static inline float dm_bf16_to_float(uint16_t h)
{
    return dm_f32_from_bits((uint32_t)h << 16);
}

static inline uint16_t dm_float_to_bf16(float x)
{
    const uint32_t bits = dm_f32_bits(x);

    if ((bits & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(bits >> 16 | 0x40); /* a NaN stays one */
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static inline float dm_f16_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = h >> 10 & 0x1F, fraction = h & 0x3FF;

    if (exponent == 0x1F)
        return dm_f32_from_bits(sign | 0x7F800000 | fraction << 13);
    if (exponent == 0) {
        if (fraction == 0)
            return dm_f32_from_bits(sign);
        for (exponent = 1; !(fraction & 0x400); exponent--) /* subnormal: f32 has room for its exponent */
            fraction <<= 1;
        fraction &= 0x3FF;
    }
    return dm_f32_from_bits(sign | (exponent + (127 - 15)) << 23 | fraction << 13);
}

static inline uint16_t dm_float_to_f16(float x)
{
    const uint32_t bits = dm_f32_bits(x), magnitude = bits & 0x7FFFFFFF;
    const uint32_t sign = bits >> 16 & 0x8000;

    if (magnitude > 0x7F800000)
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x477FF000) /* 65520 and over round to infinity */
        return (uint16_t)(sign | 0x7C00);
    if (magnitude >= 0x38800000) /* normal: rebias, round the 13 lost bits; a carry runs into the exponent */
        return (uint16_t)(sign | (magnitude - 0x38000000 + 0xFFF + (magnitude >> 13 & 1)) >> 13);
    if (magnitude < 0x33000000) /* under half of the smallest subnormal */
        return (uint16_t)sign;
    const uint32_t shift = 126 - (magnitude >> 23), fraction = (magnitude & 0x7FFFFF) | 0x800000;
    const uint32_t kept = fraction >> shift, rest = fraction & ((1u << shift) - 1), half = 1u << (shift - 1);
    return (uint16_t)(sign | (kept + (rest > half || (rest == half && (kept & 1)))));
}

#endif
