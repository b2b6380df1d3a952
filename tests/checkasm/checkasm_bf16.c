/* Checks and times the kernel of the bf16 product against simd/kernels/gemm/gemm_kernel.h: panels as they are packed,
 * finished, multiplied. The reference is tests/support/amx_model.h's one element at a time. */
#include <math.h>
#include <string.h>

#include "tests/checkasm/checkasm.h"
#include "tests/support/amx_model.h"

static const size_t depths[] = {0, 1, 2, 3, 15, 29, 30, 31, 32, 33, 34, 62, 63, 64, 65, 97};
#define DEPTHS (sizeof depths / sizeof *depths)

/* Numbers whose products lie around 2^-126, of both signs. */
static void set_near_the_end(ck *c, float *p, size_t n, uint32_t exponent)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (ck_random(c) & 0x807fffff) | (exponent + (uint32_t)ck_below(c, 13)) << 23;
        memcpy(p + i, &bits, sizeof bits);
    }
}

/* 2^-126 - 2^-150 where an odd column meets an even one, as a chain of two products: tiny after rounding, though the
 * digits of a subnormal round it to 2^-126. */
static void set_just_below(float *p, size_t width)
{
    for (size_t j = 0; j < width; j++) {
        p[j] = 0x1p-63f;
        p[2 * width + j] = j % 2 ? 0x1p-75f : -0x1p-75f;
    }
}

/* A panel as the packer leaves it, raw, and finished. */
static const float *panel(ck *c, const dm_gemm_kernel *g, dm_gemm_finish_fn finish, size_t k, size_t width, size_t used,
                          bool near_the_end, const float **raw)
{
    float *plain = ck_aligned(c, k * width);

    if (near_the_end)
        set_near_the_end(c, plain, k * width, 58);
    else
        ck_set(c, plain, k * width);
    if (near_the_end && k > 2)
        set_just_below(plain, width);
    for (size_t i = 0; i < k; i++)
        for (size_t j = used; j < width; j++)
            plain[i * width + j] = 0.0f;
    ck_seal(c);
    float *out = ck_aligned(c, dm_gemm_panel(g, width, k));
    if (k > 0) {
        memcpy(out, plain, k * width * sizeof *out);
        finish(out, width, k);
    }
    ck_seal(c);
    *raw = plain;
    return out;
}

static void check_tile(ck *c, const dm_gemm_kernel *g, size_t m, size_t n, size_t k, int first)
{
    const size_t ldc = n + ck_below(c, 20), total = (m - 1) * ldc + n;
    const bool near_the_end = ck_below(c, 3) == 0;
    const float *raw_a, *raw_b;

    ck_release(c, 0);
    const float *a = panel(c, g, g->finish_a, k, g->mr, m, near_the_end, &raw_a);
    const float *b = panel(c, g, g->finish_b, k, g->nr, n, near_the_end, &raw_b);
    const ck_floats y = ck_inout(c, total);
    if (near_the_end) {
        set_near_the_end(c, y.want, total, 0);
        memcpy(y.got, y.want, total * sizeof *y.got);
    }
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            float *want = y.want + i * ldc + j;
            if (first)
                y.got[i * ldc + j] = NAN; /* must not be read */
            *want = amx_model_chain(first ? 0.0f : *want, k, raw_a + i, g->mr, raw_b + j, g->nr);
        }
    if (g->enter)
        g->enter();
    g->micro(m, n, k, a, b, y.got, ldc, first);
    if (g->leave)
        g->leave();
    const unsigned long before = c->differences;
    ck_same(c, "C", y, total);
    if (c->differences != before)
        ck_differ(c, "m %zu, n %zu, k %zu, ldc %zu, first %d%s", m, n, k, ldc, first,
                  near_the_end ? ", around 2^-126" : "");
}

static void check_tiles(ck *c, const dm_gemm_kernel *g, size_t cases)
{
    for (size_t i = 0; i < cases; i++) {
        const size_t m = i % 4 ? 1 + ck_below(c, g->mr) : g->mr, n = i % 3 ? 1 + ck_below(c, g->nr) : g->nr;
        check_tile(c, g, m, n, depths[ck_below(c, DEPTHS)], (int)ck_below(c, 2));
    }
}

static void check_gemm_bf16(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    (void)ref;
    (void)n;
    check_tiles(c, &k->gemm_bf16, 24);
}

/* AMX's kernel by the model of its tiles: once, for it does not depend on the level. */
static void check_gemm_bf16_amx(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    dm_gemm_kernel g;

    (void)ref;
    (void)n;
    if (k->isa != DM_ISA_SCALAR)
        return;
    amx_model_init(&g, k->gemm.pack);
    check_tiles(c, &g, 6);
}

/* ---- rounding, and a few rows ---- */

static void check_round_bf16(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const ck_floats y = ck_inout(c, n);
    const float *x = ck_in(c, n);

    (void)ref;
    for (size_t i = 0; i < n; i++)
        y.want[i] = amx_model_round(x[i]);
    if (ck_below(c, 2)) {
        memcpy(y.got, x, n * sizeof *x);
        k->round_bf16(y.got, y.got, n);
    } else {
        k->round_bf16(y.got, x, n);
    }
    ck_same(c, "y", y, n);
}

static void check_skinny_bf16(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const size_t m = 1 + ck_below(c, DM_GEMM_SKINNY), depth = n < 100 ? depths[ck_below(c, DEPTHS)] : ck_below(c, 20);
    const size_t lda = depth + ck_below(c, 4), ldw = depth + ck_below(c, 4), ldc = n + ck_below(c, 4);
    float *a = ck_aligned(c, (m - 1) * lda + depth), *w = ck_aligned(c, n ? (n - 1) * ldw + depth : 0);
    const bool near_the_end = ck_below(c, 3) == 0;
    const int first = (int)ck_below(c, 2);
    const unsigned long before = c->differences;

    (void)ref;
    if (!k->skinny_bf16)
        return;
    (near_the_end ? set_near_the_end(c, a, (m - 1) * lda + depth, 58) : ck_set(c, a, (m - 1) * lda + depth));
    (near_the_end ? set_near_the_end(c, w, n ? (n - 1) * ldw + depth : 0, 58)
                  : ck_set(c, w, n ? (n - 1) * ldw + depth : 0));
    for (size_t i = 0; i < (m - 1) * lda + depth; i++)
        a[i] = amx_model_round(a[i]);
    const ck_floats y = ck_inout(c, (m - 1) * ldc + n);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            float *want = y.want + i * ldc + j;
            *want = amx_model_chain(first ? 0.0f : *want, depth, a + i * lda, 1, w + j * ldw, 1);
            if (first)
                y.got[i * ldc + j] = NAN; /* must not be read */
        }
    k->skinny_bf16(m, n, depth, a, lda, w, ldw, y.got, ldc, first);
    ck_same(c, "C", y, (m - 1) * ldc + n);
    if (c->differences != before)
        ck_differ(c, "m %zu, k %zu, lda %zu, ldw %zu, ldc %zu, first %d", m, depth, lda, ldw, ldc, first);
}

enum { BENCH_K = 256 };

static size_t bench_round_bf16(const dm_kernels *k, ck_bench *b)
{
    k->round_bf16(b->d, b->a, b->n);
    return b->n;
}

static size_t bench_skinny_bf16(const dm_kernels *k, ck_bench *b)
{
    static float w[DM_GEMM_NR_MAX * BENCH_K];

    (k->skinny_bf16 ? k->skinny_bf16 : k->skinny)(1, DM_GEMM_NR_MAX, BENCH_K, b->a, BENCH_K, w, BENCH_K, b->d,
                                                  DM_GEMM_NR_MAX, 1);
    return (size_t)DM_GEMM_NR_MAX * BENCH_K;
}

static size_t bench_gemm_bf16(const dm_kernels *k, ck_bench *b)
{
    static _Alignas(64) float x[(BENCH_K + 1) * DM_GEMM_NR_MAX], y[(BENCH_K + 1) * DM_GEMM_NR_MAX];
    static _Alignas(64) float tile[DM_GEMM_MR_MAX * DM_GEMM_NR_MAX];
    static dm_isa finished = DM_ISA_COUNT;
    const dm_gemm_kernel *g = &k->gemm_bf16;

    (void)b;
    if (finished != k->isa) { /* zeros, whose smallest magnitude is infinite, or whatever AMX has for them */
        memset(x, 0, sizeof x);
        memset(y, 0, sizeof y);
        g->finish_a(x, g->mr, BENCH_K);
        g->finish_b(y, g->nr, BENCH_K);
        finished = k->isa;
    }
    if (g->enter)
        g->enter();
    g->micro(g->mr, g->nr, BENCH_K, x, y, tile, g->nr, 0);
    if (g->leave)
        g->leave();
    return g->mr * g->nr * BENCH_K;
}

const ck_kernel ck_bf16_kernels[] = {
    {"gemm_bf16", check_gemm_bf16, bench_gemm_bf16, true},
    {"gemm_amx_model", check_gemm_bf16_amx, NULL, true},
    {"round_bf16", check_round_bf16, bench_round_bf16, false},
    {"skinny_bf16", check_skinny_bf16, bench_skinny_bf16, false},
    {0},
};
