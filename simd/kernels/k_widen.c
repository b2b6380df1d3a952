/* Stored weights to f32, lanes along the row: fma(q, d, m) of core/numbers/dtype.h. A quantised row is cut into pieces
 * of 32 elements, which for the K types are eighths of a block. */
#include "simd/kernels/vec.h"

#define PIECE 32

/* ---- what blocks are made of ---- */

DM_INLINE vf all_f16(const uint8_t *p)
{
    uint16_t bits;

    memcpy(&bits, p, sizeof bits);
    return vf_of_f16(vh_of_vi(vi_set1(bits)));
}

/* 16 codes below 2^23, less an offset, scaled: as the last places of 2^23 they are floats after one subtraction. */
DM_INLINE void put(float *y, vi codes, float offset, vf d, vf m)
{
    const vf q = vf_sub(vi_float(vi_or(codes, vi_set1(0x4b000000))), vf_set1(0x1p23f + offset));

#if defined(DM_SIMD_SCALAR)
    vf_store(y, vf_add(vf_mul(q, d), m)); /* the same: q * d is exact; fmaf may be a slow function here */
#else
    vf_store(y, vf_fma(q, d, m));
#endif
}

DM_INLINE vi low_nibbles(vi bytes)
{
    return vi_and(bytes, vi_set1(15));
}

DM_INLINE vi high_nibbles(vi bytes)
{
    return vi_shr(bytes, 4);
}

/* Lane i: bit `first` + i of the word, as 16 or 0. */
DM_INLINE vi fifth_bits(uint32_t word, unsigned first)
{
    static const uint32_t to_top[VF] = {1u << 31, 1u << 30, 1u << 29, 1u << 28, 1u << 27, 1u << 26, 1u << 25, 1u << 24,
                                        1u << 23, 1u << 22, 1u << 21, 1u << 20, 1u << 19, 1u << 18, 1u << 17, 1u << 16};

    return vi_shl(vi_shr(vi_mul(vi_set1(word >> first), vi_load(to_top)), 31), 4);
}

/* Two bits of each byte, put above a nibble. */
DM_INLINE vi two_bits(vi bytes, unsigned shift)
{
    return vi_shl(vi_and(vi_shr(bytes, shift), vi_set1(3)), 4);
}

/* ---- blocks of 32 ---- */

static void q8_0(float *y, const uint8_t *block)
{
    const vf d = all_f16(block), m = vf_set1(-0.0f);

    for (size_t i = 0; i < PIECE; i += VF) /* as unsigned numbers, 128 larger */
        put(y + i, vi_and(vi_add(vi_load_u8(block + 2 + i), vi_set1(128)), vi_set1(255)), 128, d, m);
}

DM_INLINE void nibbles(float *y, const uint8_t *codes, float offset, vf d, vf m)
{
    const vi bytes = vi_load_u8(codes);

    put(y, low_nibbles(bytes), offset, d, m);
    put(y + VF, high_nibbles(bytes), offset, d, m);
}

static void q4_0(float *y, const uint8_t *block)
{
    nibbles(y, block + 2, 8, all_f16(block), vf_set1(-0.0f));
}

static void q4_1(float *y, const uint8_t *block)
{
    nibbles(y, block + 4, 0, all_f16(block), all_f16(block + 2));
}

DM_INLINE void five_bits(float *y, const uint8_t *top, float offset, vf d, vf m)
{
    const vi bytes = vi_load_u8(top + 4);
    uint32_t bits;

    memcpy(&bits, top, sizeof bits);
    put(y, vi_or(low_nibbles(bytes), fifth_bits(bits, 0)), offset, d, m);
    put(y + VF, vi_or(high_nibbles(bytes), fifth_bits(bits, 16)), offset, d, m);
}

static void q5_0(float *y, const uint8_t *block)
{
    five_bits(y, block + 2, 16, all_f16(block), vf_set1(-0.0f));
}

static void q5_1(float *y, const uint8_t *block)
{
    five_bits(y, block + 4, 0, all_f16(block), all_f16(block + 2));
}

/* ---- eighths of a block of 256 ---- */

/* Scale and minimum of an eighth: 6 bits each, of the last four eighths the upper two beside the first four's. */
DM_INLINE void k_scales(const uint8_t *block, size_t eighth, vf *d, vf *m)
{
    const uint8_t *s = block + 4;
    const size_t i = eighth % 4;
    const int scale = eighth < 4 ? s[i] & 63 : (s[8 + i] & 15) | s[i] >> 6 << 4;
    const int minimum = eighth < 4 ? s[4 + i] & 63 : s[8 + i] >> 4 | s[4 + i] >> 6 << 4;

    *d = vf_mul(all_f16(block), vf_set1((float)scale));
    *m = vf_neg(vf_mul(all_f16(block + 2), vf_set1((float)minimum)));
}

static void q4_k(float *y, const uint8_t *block, size_t eighth)
{
    const uint8_t *codes = block + 16 + eighth / 2 * PIECE;
    vf d, m;

    k_scales(block, eighth, &d, &m);
    for (size_t i = 0; i < PIECE; i += VF) {
        const vi bytes = vi_load_u8(codes + i);
        put(y + i, eighth % 2 ? high_nibbles(bytes) : low_nibbles(bytes), 0, d, m);
    }
}

static void q5_k(float *y, const uint8_t *block, size_t eighth)
{
    const uint8_t *top = block + 16, *codes = block + 48 + eighth / 2 * PIECE;
    vf d, m;

    k_scales(block, eighth, &d, &m);
    for (size_t i = 0; i < PIECE; i += VF) {
        const vi bytes = vi_load_u8(codes + i), bit = vi_shr(vi_load_u8(top + i), (unsigned)eighth);
        put(y + i, vi_or(eighth % 2 ? high_nibbles(bytes) : low_nibbles(bytes), vi_shl(vi_and(bit, vi_set1(1)), 4)), 0,
            d, m);
    }
}

/* Halves of 128 elements: the low nibbles of 64 bytes, then their high ones, and two bits of 32 bytes. */
static void q6_k(float *y, const uint8_t *block, size_t eighth)
{
    const size_t half = eighth / 4, quarter = eighth % 4;
    const uint8_t *codes = block + half * 64 + quarter % 2 * PIECE, *top = block + 128 + half * PIECE;
    const vf d = all_f16(block + 208), m = vf_set1(-0.0f);

    for (size_t i = 0; i < PIECE; i += VF) {
        const vi bytes = vi_load_u8(codes + i), bits = two_bits(vi_load_u8(top + i), 2 * (unsigned)quarter);
        int8_t scale;
        memcpy(&scale, block + 192 + 2 * eighth + i / VF, 1);
        put(y + i, vi_or(quarter < 2 ? low_nibbles(bytes) : high_nibbles(bytes), bits), 32,
            vf_mul(d, vf_set1((float)scale)), m);
    }
}

/* Halves of 128 elements: two bits of 32 bytes for each quarter. Scales and minima of 4 bits, of each 16. */
static void q2_k(float *y, const uint8_t *block, size_t eighth)
{
    const uint8_t *codes = block + 16 + eighth / 4 * PIECE;
    const vf d = all_f16(block + 80), dmin = all_f16(block + 82);

    for (size_t i = 0; i < PIECE; i += VF) {
        const uint8_t scales = block[2 * eighth + i / VF];
        const vi bits = vi_and(vi_shr(vi_load_u8(codes + i), 2 * (unsigned)(eighth % 4)), vi_set1(3));
        put(y + i, bits, 0, vf_mul(d, vf_set1((float)(scales & 15))),
            vf_neg(vf_mul(dmin, vf_set1((float)(scales >> 4)))));
    }
}

/* The same two bits, and one of 32 bytes for each eighth. 16 scales of 6 bits: eight bytes with two low nibbles each,
 * then four with the upper two bits. */
static void q3_k(float *y, const uint8_t *block, size_t eighth)
{
    const uint8_t *codes = block + 32 + eighth / 4 * PIECE, *s = block + 96;
    const vf d = all_f16(block + 108), m = vf_set1(-0.0f);

    for (size_t i = 0; i < PIECE; i += VF) {
        const size_t k = 2 * eighth + i / VF;
        const int scale = (s[k % 8] >> k / 8 * 4 & 15) | (s[8 + k % 4] >> k / 4 * 2 & 3) << 4;
        const vi bits = vi_and(vi_shr(vi_load_u8(codes + i), 2 * (unsigned)(eighth % 4)), vi_set1(3));
        const vi top = vi_and(vi_shr(vi_load_u8(block + i), (unsigned)eighth), vi_set1(1));
        put(y + i, vi_or(bits, vi_shl(top, 2)), 4, vf_mul(d, vf_set1((float)(scale - 32))), m);
    }
}

/* ---- rows ---- */

static void halves(float *y, const uint16_t *x, size_t n, int brain)
{
    if (brain)
        VF_EACH(i, m, n, vf_put(y + i, vi_float(vi_shl(vi_of_u16(vh_get(x + i, m)), 16)), m));
    else
        VF_EACH(i, m, n, vf_put(y + i, vf_of_f16(vh_get(x + i, m)), m));
}

/* A block of 32 is one piece, one of 256 eight. */
#define PIECES(name, size)                                                                                             \
    for (; n > 0; n -= PIECE, y += PIECE, piece++)                                                                     \
        name(y, bytes + piece * (size));                                                                               \
    break
#define EIGHTHS(name, size)                                                                                            \
    for (; n > 0; n -= PIECE, y += PIECE, piece++)                                                                     \
        name(y, bytes + piece / 8 * (size), piece % 8);                                                                \
    break

static void widen(float *y, dm_dtype type, const void *row, size_t first, size_t n)
{
    const uint8_t *bytes = row;
    size_t piece = first / PIECE;

    switch (type) {
    case DM_F32:
        memcpy(y, bytes + first * sizeof *y, n * sizeof *y);
        break;
    case DM_F16:
    case DM_BF16:
        halves(y, (const uint16_t *)row + first, n, type == DM_BF16);
        break;
    case DM_Q8_0:
        PIECES(q8_0, 34);
    case DM_Q4_0:
        PIECES(q4_0, 18);
    case DM_Q4_1:
        PIECES(q4_1, 20);
    case DM_Q5_0:
        PIECES(q5_0, 22);
    case DM_Q5_1:
        PIECES(q5_1, 24);
    case DM_Q4_K:
        EIGHTHS(q4_k, 144);
    case DM_Q5_K:
        EIGHTHS(q5_k, 176);
    case DM_Q6_K:
        EIGHTHS(q6_k, 210);
    case DM_Q2_K:
        EIGHTHS(q2_k, 84);
    case DM_Q3_K:
        EIGHTHS(q3_k, 110);
    default:
        break;
    }
}

void DM_K_INIT(widen)(dm_kernels *k)
{
    k->widen = widen;
}
