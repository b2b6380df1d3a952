#include "tests/support/amx_model.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DM_AMX_MODEL
#include "simd/kernels/gemm/amx.c"

static _Thread_local struct {
    bool configured;
    unsigned char tile[8][16][64];
} state;

static void need_tiles(int tile)
{
    if (!state.configured || tile < 0 || tile > 7) {
        fprintf(stderr, "amx_model: tile %d is used without a configuration: #UD on the machine\n", tile);
        exit(2);
    }
}

void amx_model_configure(const void *config)
{
    const unsigned char *c = config;
    bool whole = c[0] == 1 && c[1] == 0;

    for (int t = 0; t < 8; t++)
        whole = whole && c[16 + 2 * t] == 64 && c[17 + 2 * t] == 0 && c[48 + t] == 16;
    for (int i = 0; i < 14; i++)
        whole = whole && c[2 + i] == 0;
    if (!whole) {
        fprintf(stderr, "amx_model: eight tiles of 16 rows of 64 bytes are modelled, nothing else\n");
        exit(2);
    }
    memset(&state, 0, sizeof state);
    state.configured = true;
}

void amx_model_release(void)
{
    state.configured = false;
}

bool amx_model_is_configured(void)
{
    return state.configured;
}

void amx_model_zero(int tile)
{
    need_tiles(tile);
    memset(state.tile[tile], 0, sizeof state.tile[tile]);
}

void amx_model_load(int tile, const void *from, size_t stride)
{
    need_tiles(tile);
    for (size_t i = 0; i < 16; i++)
        memcpy(state.tile[tile][i], (const char *)from + i * stride, 64);
}

void amx_model_store(int tile, void *to, size_t stride)
{
    need_tiles(tile);
    for (size_t i = 0; i < 16; i++)
        memcpy((char *)to + i * stride, state.tile[tile][i], 64);
}

static float number(int tile, size_t row, size_t i) /* bf16, subnormal ones as zeros */
{
    uint16_t half;
    uint32_t bits;
    float x;

    memcpy(&half, state.tile[tile][row] + 2 * i, sizeof half);
    bits = (uint32_t)half << 16;
    if (!(bits & 0x7f800000))
        bits &= 0x80000000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float flush(float x)
{
    return fabsf(x) < FLT_MIN ? copysignf(0.0f, x) : x;
}

/* The sum in f64 is rounded to odd, which rounding to f32 cannot tell from the exact one. */
float amx_model_fma(float a, float b, float c)
{
    const double product = (double)a * (double)b, addend = (double)c, sum = product + addend;
    if (!isfinite(sum) || fabs(sum) > 0x1p-100)
        return fmaf(a, b, c);
    const double low = sum - product, lost = (product - (sum - low)) + (addend - low);
    int64_t bits;
    double odd;

    memcpy(&bits, &sum, sizeof bits);
    if (lost != 0.0 && !(bits & 1))
        bits += (lost > 0.0) == (sum > 0.0) ? 1 : -1;
    memcpy(&odd, &bits, sizeof odd);
    const float scaled = (float)(odd * 0x1p120); /* 2^-126 is 2^-6 here */
    if (scaled == 0.0f)
        return fmaf(a, b, c); /* an exact zero with its sign; below 2^-246 everything is flushed to the same */
    return fabsf(scaled) < 0x1p-6f ? copysignf(0.0f, scaled) : (float)((double)scaled * 0x1p-120);
}

float amx_model_round(float x)
{
    uint32_t bits;
    float down, up, y;

    if (isnan(x) || isinf(x))
        return x;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0xffff0000;
    memcpy(&down, &bits, sizeof down);
    bits += 0x10000;
    memcpy(&up, &bits, sizeof up); /* away from 0; infinity stands for 2^128 */
    const double below = fabs((double)x - (double)down), top = isinf(up) ? copysign(0x1p128, (double)x) : (double)up;
    const double above = fabs(top - (double)x);
    y = below < above || (below == above && bits >> 16 & 1) ? down : up; /* bits: up's; odd: down is even */
    return flush(y);
}

float amx_model_chain(float c, size_t k, const float *a, size_t rs, const float *b, size_t cs)
{
    for (size_t p = 0; p < k; p += DM_GEMM_BF16_STEP) {
        float sum[2] = {0.0f, 0.0f};
        for (size_t s = p; s < p + DM_GEMM_BF16_STEP; s++) {
            const float x = s < k ? amx_model_round(a[s * rs]) : 0.0f, y = s < k ? amx_model_round(b[s * cs]) : 0.0f;
            sum[s % 2] = amx_model_fma(x, y, sum[s % 2]);
        }
        c = flush(flush(c) + flush(sum[0] + sum[1]));
    }
    return c;
}

void amx_model_product(int c, int a, int b)
{
    need_tiles(c);
    for (size_t i = 0; i < 16; i++)
        for (size_t j = 0; j < 16; j++) {
            float sum, even = 0.0f, odd = 0.0f;
            for (size_t pair = 0; pair < 16; pair++) {
                even = amx_model_fma(number(a, i, 2 * pair), number(b, pair, 2 * j), even);
                odd = amx_model_fma(number(a, i, 2 * pair + 1), number(b, pair, 2 * j + 1), odd);
            }
            memcpy(&sum, state.tile[c][i] + 4 * j, sizeof sum);
            sum = flush(flush(sum) + flush(even + odd));
            memcpy(state.tile[c][i] + 4 * j, &sum, sizeof sum);
        }
}
