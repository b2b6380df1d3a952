/* Checks and times the 16-bit formats: rows of every size, then every 16-bit pattern and every rounding boundary. */
#include <string.h>

#include "tests/checkasm/checkasm.h"

#define BF16_INFINITY 0x7f80
#define F16_INFINITY 0x7c00

typedef void (*widen_fn)(float *y, const uint16_t *x, size_t n);
typedef void (*narrow_fn)(uint16_t *y, const float *x, size_t n);

static void check_widen(ck *c, widen_fn ref, widen_fn k, size_t n)
{
    const uint16_t *x = ck_in_halves(c, n);
    const ck_floats y = ck_inout(c, n);

    ref(y.want, x, n);
    k(y.got, x, n);
    ck_same(c, "y", y, n);
}

static void check_narrow(ck *c, narrow_fn ref, narrow_fn k, size_t n, uint16_t infinity)
{
    const float *x = ck_in(c, n);
    const ck_halves y = ck_out_halves(c, n);

    ref(y.want, x, n);
    k(y.got, x, n);
    ck_same_halves(c, "y", y, n, infinity);
}

static void check_from_bf16(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    check_widen(c, ref->from_bf16, k->from_bf16, n);
}

static void check_from_f16(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    check_widen(c, ref->from_f16, k->from_f16, n);
}

static void check_to_bf16(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    check_narrow(c, ref->to_bf16, k->to_bf16, n, BF16_INFINITY);
}

static void check_to_f16(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    check_narrow(c, ref->to_f16, k->to_f16, n, F16_INFINITY);
}

/* ---- every pattern ---- */

/* 256 patterns at a time; what is narrowed is each value, the middle between it and the next, and the floats on both
 * sides of either. `unit` is the last place in f32 bits of the format's normal numbers. */
static void check_all(ck *c, widen_fn ref_widen, widen_fn widen, narrow_fn ref_narrow, narrow_fn narrow,
                      uint16_t infinity, uint32_t unit)
{
    enum { BLOCK = 256 };

    if (c->fill != CK_NOISE || c->place != CK_AT_END)
        return;
    for (uint32_t first = 0; first < 0x10000; first += BLOCK) {
        uint16_t x[BLOCK];
        for (uint32_t i = 0; i < BLOCK; i++)
            x[i] = (uint16_t)(first + i);
        ck_release(c, 0);
        c->n = first;
        const ck_floats y = ck_inout(c, BLOCK);
        ref_widen(y.want, x, BLOCK);
        widen(y.got, x, BLOCK);
        ck_same(c, "widened", y, BLOCK);
        for (uint32_t near = 0; near < 6; near++) {
            const uint32_t offset = (near < 3 ? 0 : unit / 2) + near % 3 - 1;
            float shifted[BLOCK];
            for (size_t i = 0; i < BLOCK; i++) {
                uint32_t bits;
                memcpy(&bits, &y.want[i], sizeof bits);
                bits += offset;
                memcpy(&shifted[i], &bits, sizeof bits);
            }
            ck_release(c, 2);
            const ck_halves h = ck_out_halves(c, BLOCK);
            ref_narrow(h.want, shifted, BLOCK);
            narrow(h.got, shifted, BLOCK);
            ck_same_halves(c, "narrowed", h, BLOCK, infinity);
        }
    }
}

static void check_all_bf16(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    (void)n;
    check_all(c, ref->from_bf16, k->from_bf16, ref->to_bf16, k->to_bf16, BF16_INFINITY, 0x10000);
}

/* Subnormals of f16 have their middles elsewhere: multiples of 2^-25. */
static void check_all_f16(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    (void)n;
    check_all(c, ref->from_f16, k->from_f16, ref->to_f16, k->to_f16, F16_INFINITY, 0x2000);
    if (c->fill != CK_NOISE || c->place != CK_AT_END)
        return;
    for (int i = 0; i < 2048; i++) {
        uint32_t bits;
        float x[3] = {(float)i * 0x1p-25f};
        memcpy(&bits, x, sizeof bits);
        const uint32_t below = bits ? bits - 1 : 0x80000000u, above = bits + 1;
        memcpy(&x[1], &below, sizeof below);
        memcpy(&x[2], &above, sizeof above);
        ck_release(c, 0);
        const ck_halves h = ck_out_halves(c, 3);
        ref->to_f16(h.want, x, 3);
        k->to_f16(h.got, x, 3);
        ck_same_halves(c, "narrowed subnormal", h, 3, F16_INFINITY);
    }
}

/* ---- times ---- */

static size_t bench_from_bf16(const dm_kernels *k, ck_bench *b)
{
    k->from_bf16(b->d, b->h, b->n);
    return b->n;
}

static size_t bench_to_bf16(const dm_kernels *k, ck_bench *b)
{
    k->to_bf16(b->h, b->a, b->n);
    return b->n;
}

static size_t bench_from_f16(const dm_kernels *k, ck_bench *b)
{
    k->from_f16(b->d, b->h, b->n);
    return b->n;
}

static size_t bench_to_f16(const dm_kernels *k, ck_bench *b)
{
    k->to_f16(b->h, b->a, b->n);
    return b->n;
}

const ck_kernel ck_convert_kernels[] = {
    {"from_bf16", check_from_bf16, bench_from_bf16, false},
    {"to_bf16", check_to_bf16, bench_to_bf16, false},
    {"from_f16", check_from_f16, bench_from_f16, false},
    {"to_f16", check_to_f16, bench_to_f16, false},
    {"all_bf16", check_all_bf16, NULL, true},
    {"all_f16", check_all_f16, NULL, true},
    {0},
};
