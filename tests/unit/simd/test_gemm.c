/* Matrix products against the plain loop, bit for bit: all orientations, odd sizes, strides larger than needed, on
 * every level and for several thread counts, in f32 and bf16; bf16 by the model of AMX's tiles, too. Inputs and C end
 * at a forbidden page, C's gaps must stay as they are. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "simd/engine.h"
#include "simd/gemm.h"
#include "tests/support/amx_model.h"
#include "tests/support/check.h"
#include "tests/support/engines.h"

static engines all;

typedef struct shape {
    size_t m, n, k;
} shape;

/* How an operand of `rows` x `cols` lies in memory: 0 by rows, 1 by columns, 2 strided both ways. */
static dm_gemm_operand view(int layout, size_t rows, size_t cols, size_t gap, size_t *floats)
{
    dm_gemm_operand v = {.data = NULL};
    v.rs = layout == 0 ? cols + gap : layout == 1 ? 1 : 3;
    v.cs = layout == 0 ? 1 : layout == 1 ? rows + gap : 3 * rows + gap;
    *floats = rows && cols ? (rows - 1) * v.rs + (cols - 1) * v.cs + 1 : 0;
    return v;
}

static void reference_bf16(const shape *s, dm_gemm_operand a, dm_gemm_operand b, float *c, size_t ldc,
                           dm_gemm_mode mode)
{
    for (size_t i = 0; i < s->m; i++)
        for (size_t j = 0; j < s->n; j++) {
            const float *x = s->k ? a.data + i * a.rs : NULL, *y = s->k ? b.data + j * b.cs : NULL;
            c[i * ldc + j] = amx_model_chain(mode == DM_GEMM_SET ? 0.0f : c[i * ldc + j], s->k, x, a.cs, y, b.rs);
        }
}

static void reference(const shape *s, dm_gemm_operand a, dm_gemm_operand b, float *c, size_t ldc, dm_gemm_mode mode)
{
    for (size_t i = 0; i < s->m; i++)
        for (size_t j = 0; j < s->n; j++) {
            float acc = mode == DM_GEMM_SET ? 0.0f : c[i * ldc + j];
            for (size_t p = 0; p < s->k; p++)
                acc = fmaf(a.data[i * a.rs + p * a.cs], b.data[p * b.rs + j * b.cs], acc);
            c[i * ldc + j] = acc;
        }
}

static void compare(const char *what, const dm_engine *e, const shape *s, const float *got, const float *want,
                    size_t size, size_t ldc)
{
    size_t bad = 0;
    while (bad < size && memcmp(&got[bad], &want[bad], sizeof(float)) == 0)
        bad++;
    if (bad == size)
        CK(bad == size);
    else
        CK_MSG(0, "%s %s, %u threads, %zux%zux%zu: C[%zu][%zu] is %a, not %a", what, dm_isa_name(e->k.isa), e->threads,
               s->m, s->n, s->k, bad / ldc, bad % ldc, (double)got[bad], (double)want[bad]);
}

static void check(const shape *s, dm_precision precision, int layout_a, int layout_b, size_t gap, int fill,
                  dm_gemm_mode mode)
{
    size_t size_a, size_b;
    dm_gemm_operand a = view(layout_a, s->m, s->k, gap, &size_a), b = view(layout_b, s->k, s->n, gap, &size_b);
    const size_t ldc = s->n + gap, size_c = s->m && s->n ? (s->m - 1) * ldc + s->n : 0;
    guarded ga = guarded_open(size_a), gb = guarded_open(size_b), got = guarded_open(size_c);
    float *start = ck_alloc((size_c + 1) * sizeof(float)), *want = ck_alloc((size_c + 1) * sizeof(float));

    test_fill(ga.data, size_a, fill);
    test_fill(gb.data, size_b, fill == 2 ? 3 : fill);
    a.data = ga.data;
    b.data = gb.data;
    for (size_t i = 0; i < size_c; i++) /* SET must not read C, and no product the gaps */
        start[i] = mode == DM_GEMM_SET || i % ldc >= s->n ? NAN : test_uniform();
    memcpy(want, start, size_c * sizeof(float));
    (precision == DM_PRECISION_BF16 ? reference_bf16 : reference)(s, a, b, want, ldc, mode);
    for (size_t i = 0; i < all.n; i++) {
        const dm_engine *e = &all.e[i];
        memcpy(got.data, start, size_c * sizeof(float));
        dm_gemm(e, precision, s->m, s->n, s->k, a, b, got.data, ldc, mode);
        compare("gemm", e, s, got.data, want, size_c, ldc);
        if (precision == DM_PRECISION_BF16 || (i > 0 && all.e[i - 1].k.isa == e->k.isa))
            continue;
        memcpy(got.data, start, size_c * sizeof(float));
        dm_gemm_local(&e->k, e->pack_a[e->threads - 1], s->m, s->n, s->k, a, b, got.data, ldc, mode);
        compare("gemm_local", e, s, got.data, want, size_c, ldc);
    }
    free(start);
    free(want);
    guarded_close(&ga);
    guarded_close(&gb);
    guarded_close(&got);
}

static void check_random(unsigned count, dm_precision precision)
{
    static const size_t m[] = {0, 1, 2, 3, 5, 6, 7, 8, 13, 14, 15, 16, 17, 28, 29, 31, 59, 64, 113};
    static const size_t n[] = {0, 1, 2, 3, 7, 8, 11, 12, 13, 15, 16, 17, 23, 31, 32, 33, 47, 64, 65, 101};
    static const size_t k[] = {0, 1, 2, 3, 5, 8, 15, 16, 17, 31, 64, 127};
#define PICK(list) (list)[test_random() % (sizeof(list) / sizeof *(list))]

    for (unsigned i = 0; i < count; i++) {
        const shape s = {PICK(m), PICK(n), PICK(k)};
        check(&s, precision, (int)(i % 3), (int)(i / 3 % 3), test_random() % 2 * 5, (int)(test_random() % TEST_FILLS),
              test_random() % 2 ? DM_GEMM_SET : DM_GEMM_ADD);
    }
#undef PICK
}

/* Sizes around the blocks of each level, where a K block resumes and a second panel or block begins. */
static void check_blocks(dm_precision precision, size_t each)
{
    static const shape shapes[] = {
        {1, 33, 257},   {3, 70, 513},  {127, 40, 300}, {260, 33, 258}, {61, 1550, 20},
        {120, 780, 12}, {521, 37, 31}, {20, 40, 769},  {31, 33, 1600}, {8, 50, 1030},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i += each)
        for (int orientation = 0; orientation < 3; orientation++) /* forward, data gradient, weight gradient */
            check(&shapes[i], precision, orientation == 2, orientation == 0, 0, 1, i % 2 ? DM_GEMM_SET : DM_GEMM_ADD);
}

/* ---- AMX's driver by the model of its tiles ---- */

/* Two more engines: the first level's with AMX's kernel in small blocks, which fit any engine's buffers. */
static bool add_models(void)
{
    dm_error err;

    for (unsigned threads = 1; threads <= 3; threads += 2) {
        dm_engine *e = &all.e[all.n];
        if (!CK_MSG(dm_engine_open(e, all.e[0].k.isa, threads, &err) == DM_OK, "%s", err.message))
            return false;
        all.n++;
        amx_model_init(&e->k.gemm_bf16, e->k.gemm.pack);
        e->k.gemm_bf16.mc = e->k.gemm_bf16.kc = 64;
        e->k.gemm_bf16.nc = 96;
    }
    return true;
}

/* The same products, but those of an even and an odd step in each other's chain. */
static void finish_in_another_order(float *panel, size_t width, size_t k)
{
    for (size_t p = 1; p + 1 < k; p += 4)
        for (size_t i = 0; i < width; i++) {
            const float x = panel[p * width + i];
            panel[p * width + i] = panel[(p + 1) * width + i];
            panel[(p + 1) * width + i] = x;
        }
    all.e[0].k.gemm_bf16.finish_a(panel, width, k);
}

/* What decides at the opening of an engine whether AMX is used. */
static void check_agreement(void)
{
    dm_gemm_kernel model, other = all.e[0].k.gemm_bf16;
    bool agree = false;

    amx_model_init(&model, other.pack);
    CK(dm_gemm_bf16_agree(&all.e[0].k.gemm_bf16, &model, &agree, NULL) == DM_OK && agree);
    CK(!amx_model_is_configured());
    other.finish_a = other.finish_b = finish_in_another_order;
    CK(dm_gemm_bf16_agree(&all.e[0].k.gemm_bf16, &other, &agree, NULL) == DM_OK && !agree);
}

int main(int argc, char **argv)
{
    static const unsigned threads[] = {1, 2, 3, 8};
    const int status = engines_open(&all, argc, argv, threads, sizeof threads / sizeof *threads);
    if (status)
        return status;
    test_seed(1);
    check_random(360, DM_PRECISION_F32);
    check_blocks(DM_PRECISION_F32, 1);
    check_agreement();
    if (add_models()) {
        check_random(90, DM_PRECISION_BF16);
        check_blocks(DM_PRECISION_BF16, 3);
        CK(!amx_model_is_configured()); /* released */
    }
    engines_close(&all);
    return ck_done("gemm");
}
