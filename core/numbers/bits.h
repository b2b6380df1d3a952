/* The bits of floating-point numbers, and numbers from bits. */
#ifndef DM_CORE_NUMBERS_BITS_H
#define DM_CORE_NUMBERS_BITS_H

#include <stdint.h>
#include <string.h>

static inline uint32_t dm_f32_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float dm_f32_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint64_t dm_f64_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double dm_f64_from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
