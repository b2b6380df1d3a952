#include "tests/support/quantised.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

const dm_dtype stored_types[STORED_TYPES] = {DM_F32,  DM_F16,  DM_BF16, DM_Q8_0, DM_Q4_0, DM_Q4_1, DM_Q5_0,
                                             DM_Q5_1, DM_Q4_K, DM_Q5_K, DM_Q6_K, DM_Q2_K, DM_Q3_K};

static unsigned stored_u16(const uint8_t *p)
{
    return p[0] | (unsigned)p[1] << 8;
}

static double stored_f16(const uint8_t *p)
{
    const unsigned h = stored_u16(p), exponent = h >> 10 & 31, fraction = h & 1023;
    const double x = exponent == 31  ? (fraction ? NAN : INFINITY)
                     : exponent == 0 ? ldexp(fraction, -24)
                                     : ldexp(1024 + fraction, (int)exponent - 25);
    return h >> 15 ? -x : x;
}

static double stored_bf16(const uint8_t *p)
{
    const unsigned h = stored_u16(p), exponent = h >> 7 & 255, fraction = h & 127;
    const double x = exponent == 255 ? (fraction ? NAN : INFINITY)
                     : exponent == 0 ? ldexp(fraction, -133)
                                     : ldexp(128 + fraction, (int)exponent - 134);
    return h >> 15 ? -x : x;
}

static int stored_nibble(const uint8_t *codes, size_t i, size_t half)
{
    return i < half ? codes[i] & 15 : codes[i - half] >> 4;
}

/* d * q + m of element i of 32 with a fifth bit or without */
static double stored_value32(dm_dtype type, const uint8_t *b, size_t i)
{
    const int has_min = type == DM_Q4_1 || type == DM_Q5_1, five = type == DM_Q5_0 || type == DM_Q5_1;
    const uint8_t *rest = b + (has_min ? 4 : 2);
    int q;

    if (type == DM_Q8_0)
        q = rest[i] < 128 ? rest[i] : rest[i] - 256;
    else
        q = stored_nibble(rest + (five ? 4 : 0), i, 16) + (five ? (rest[i / 8] >> i % 8 & 1) * 16 : 0);
    if (type == DM_Q4_0)
        q -= 8;
    if (type == DM_Q5_0)
        q -= 16;
    return stored_f16(b) * q + (has_min ? stored_f16(b + 2) : -0.0);
}

static double stored_value256(dm_dtype type, const uint8_t *b, size_t i)
{
    if (type == DM_Q6_K) {
        const size_t half = i / 128, at = i % 128;
        const uint8_t *low = b + 64 * half, *top = b + 128 + 32 * half;
        const int q = stored_nibble(low, at, 64) + (top[at % 32] >> at / 32 * 2 & 3) * 16 - 32;
        const int scale = b[192 + i / 16] < 128 ? b[192 + i / 16] : b[192 + i / 16] - 256;
        return stored_f16(b + 208) * scale * q - 0.0;
    }
    if (type == DM_Q2_K || type == DM_Q3_K) {
        const size_t half = i / 128, quarter = i % 128 / 32, k = i / 16;
        const int two = b[(type == DM_Q2_K ? 16 : 32) + 32 * half + i % 32] / (1 << 2 * quarter) % 4;
        if (type == DM_Q2_K)
            return stored_f16(b + 80) * (b[k] % 16) * two - stored_f16(b + 82) * (b[k] / 16);
        const int low = k < 8 ? b[96 + k] % 16 : b[96 + k - 8] / 16, high = b[104 + k % 4] / (1 << 2 * (k / 4)) % 4;
        const int three = two + (b[i % 32] / (1 << i / 32) % 2 ? 0 : -4);
        return stored_f16(b + 108) * (low + 16 * high - 32) * three - 0.0;
    }
    const uint8_t *s = b + 4, *codes = b + (type == DM_Q4_K ? 16 : 48);
    const size_t j = i / 32;
    const int scale = j < 4 ? s[j] % 64 : s[j + 4] % 16 + s[j - 4] / 64 * 16;
    const int minimum = j < 4 ? s[j + 4] % 64 : s[j + 4] / 16 + s[j] / 64 * 16;
    int q = stored_nibble(codes + j / 2 * 32, i % 64, 32);
    if (type == DM_Q5_K)
        q += (b[16 + i % 32] >> j & 1) * 16;
    return stored_f16(b) * scale * q - stored_f16(b + 2) * minimum;
}

float stored_value(dm_dtype type, const void *row, size_t i)
{
    const size_t block = dm_dtype_block(type);
    const uint8_t *b = (const uint8_t *)row + i / block * dm_dtype_size(type);
    float x;

    switch (type) {
    case DM_F32:
        memcpy(&x, b, sizeof x);
        return x;
    case DM_F16:
        return (float)stored_f16(b);
    case DM_BF16:
        return (float)stored_bf16(b);
    default:
        return (float)(block == 32 ? stored_value32(type, b, i % 32) : stored_value256(type, b, i % 256));
    }
}

static void stored_fill_half(uint8_t *p, stored_fill fill, uint32_t random)
{
    unsigned h = random & 0xffff;

    if (fill == STORED_USUAL)
        h = (h & 0x83ff) | (7 + (random >> 16) % 8) << 10;
    else if (fill == STORED_SUBNORMAL)
        h &= random >> 16 & 3 ? 0x83ff : 0x8000;
    else if (fill == STORED_FINITE && (h & 0x7c00) == 0x7c00)
        h ^= 0x4000;
    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

void stored_random(void *row, dm_dtype type, size_t n, stored_fill fill, uint32_t (*random)(void *), void *ctx)
{
    const size_t blocks = n / dm_dtype_block(type), size = dm_dtype_size(type);
    const int has_min = type == DM_Q4_1 || type == DM_Q5_1 || type == DM_Q4_K || type == DM_Q5_K || type == DM_Q2_K;
    const size_t scales = type == DM_Q6_K ? 208 : type == DM_Q3_K ? 108 : type == DM_Q2_K ? 80 : 0;
    uint8_t *p = row;

    for (size_t b = 0; b < blocks; b++, p += size) {
        for (size_t i = 0; i < size; i++)
            p[i] = (uint8_t)random(ctx);
        if (type == DM_F32) {
            p[3] = (uint8_t)((p[3] & 0x80) | (fill == STORED_USUAL ? 0x3e : p[3] % 0x7f));
        } else if (type == DM_BF16) {
            if (fill == STORED_USUAL)
                p[1] = (uint8_t)((p[1] & 0x80) | 0x3d);
            else if (fill == STORED_FINITE)
                p[1] ^= (p[1] & 0x7f) == 0x7f ? 1 : 0;
        } else {
            stored_fill_half(p + scales, fill, random(ctx));
            if (has_min)
                stored_fill_half(p + scales + 2, fill, random(ctx));
        }
    }
}
