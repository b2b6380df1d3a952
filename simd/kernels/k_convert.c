/* bfloat16 and binary16 to f32 and back. */
#include "simd/kernels/vec.h"

static void from_bf16(float *y, const uint16_t *x, size_t n)
{
    VF_EACH(i, m, n, vf_put(y + i, vi_float(vi_shl(vi_of_u16(vh_get(x + i, m)), 16)), m));
}

/* Adding half a unit, less one when the kept part is even, carries exactly when rounding goes up. A NaN would carry
 * into infinity or beyond: it is cut and made quiet instead. */
static void to_bf16(uint16_t *y, const float *x, size_t n)
{
    VF_EACH(i, m, n, {
        const vf v = vf_get(x + i, m);
        const vi bits = vf_bits(v), cut = vi_shr(bits, 16);
        const vi bias = vi_add(vi_set1(0x7fff), vi_and(cut, vi_set1(1)));
        const vi rounded = vi_shr(vi_add(bits, bias), 16);
        vh_put(y + i, vh_of_vi(vi_sel(vf_is_nan(v), vi_or(cut, vi_set1(0x40)), rounded)), m);
    });
}

static void from_f16(float *y, const uint16_t *x, size_t n)
{
    VF_EACH(i, m, n, vf_put(y + i, vf_of_f16(vh_get(x + i, m)), m));
}

static void to_f16(uint16_t *y, const float *x, size_t n)
{
    VF_EACH(i, m, n, vh_put(y + i, vh_of_f32(vf_get(x + i, m)), m));
}

void DM_K_INIT(convert)(dm_kernels *k)
{
    k->from_bf16 = from_bf16;
    k->to_bf16 = to_bf16;
    k->from_f16 = from_f16;
    k->to_f16 = to_f16;
}
