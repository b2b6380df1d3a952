#include "core/numbers/narrow.h"

#include <math.h>

#include <stdbool.h>

#include "core/numbers/numeric.h"
#include "core/numbers/half.h"

static void store(unsigned char *out, uint32_t bits, size_t size)
{
    for (size_t b = 0; b < size; b++)
        out[b] = (unsigned char)(bits >> 8 * b);
}

/* To the nearest integer, halves away from zero, as C's roundf does; |x| <= 127.5. */
static int round_away(float x)
{
    const float a = fabsf(x);
    const int whole = (int)a, n = whole + (a - (float)whole >= 0.5f);
    return x < 0 ? -n : n;
}

/* A block of Q8_0: the scale is the largest magnitude / 127 in f16, the integers come from the scale in f32 (GGML's
 * quantize_row_q8_0_ref). */
static bool narrow_q8_0(const float *x, unsigned char *out)
{
    float most = 0;

    for (int i = 0; i < 32; i++) {
        if (!isfinite(x[i]))
            return false;
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    }
    const float d = most / 127.0f, inverse = d > 0 ? 1.0f / d : 0.0f;
    const uint16_t scale = dm_float_to_f16(d);
    store(out, scale, 2);
    for (int i = 0; i < 32; i++) /* a scale so small that its inverse overflows is zero in f16 */
        out[2 + i] = isfinite(inverse) ? (unsigned char)(signed char)round_away(x[i] * inverse) : 0;
    return (scale & 0x7C00) != 0x7C00;
}

size_t dm_narrow(dm_dtype type, const float *x, size_t n, unsigned char *out)
{
    const size_t size = dm_dtype_size(type);

    if (type == DM_Q8_0) {
        for (size_t i = 0; i < n; i += 32, out += size)
            if (!narrow_q8_0(x + i, out))
                return i;
        return n;
    }
    for (size_t i = 0; i < n; i++, out += size) {
        const uint32_t bits = type == DM_F32    ? dm_f32_bits(x[i])
                              : type == DM_BF16 ? dm_float_to_bf16(x[i])
                                                : dm_float_to_f16(x[i]);
        const uint32_t exponent = type == DM_F32 ? 0x7F800000 : type == DM_BF16 ? 0x7F80 : 0x7C00;
        if ((bits & exponent) == exponent)
            return i;
        store(out, bits, size);
    }
    return n;
}
