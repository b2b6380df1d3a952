/* Checks and times the kernels of stored weights: every type against tests/support/quantised.h. */
#include <math.h>
#include <stdint.h>

#include "core/numbers/numeric.h"
#include "tests/checkasm/checkasm.h"
#include "tests/support/check.h"
#include "tests/support/quantised.h"

static uint32_t random_of(void *ctx)
{
    return ck_random(ctx);
}

static size_t alignment_of(dm_dtype type)
{
    return type == DM_F32 ? 4 : type < DM_DTYPE_PLAIN ? 2 : 1;
}

/* A matrix of whole blocks. */
static const uint8_t *matrix(ck *c, dm_dtype type, size_t rows, size_t cols)
{
    uint8_t *p = ck_bytes(c, rows * (size_t)dm_dtype_bytes(type, cols), alignment_of(type));

    stored_random(p, type, rows * cols, (stored_fill)(c->fill % STORED_FILLS), random_of, c);
    ck_seal(c);
    return p;
}

static size_t whole(size_t n, size_t block)
{
    return (n + block - 1) / block * block;
}

/* ---- to f32 ---- */

static void check_widen(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    (void)ref;
    for (size_t t = 0; t < STORED_TYPES; t++) {
        const dm_dtype type = stored_types[t];
        const size_t block = dm_dtype_block(type), piece = block > 1 ? 32 : 1;
        const size_t first = ck_below(c, 11) * piece, count = (block > 1 ? n % 12 : n) * piece;
        const unsigned long before = c->differences;

        ck_release(c, 0);
        const uint8_t *row = matrix(c, type, 1, whole(first + count, block));
        const ck_floats y = ck_inout(c, count);
        for (size_t i = 0; i < count; i++)
            y.want[i] = stored_value(type, row, first + i);
        k->widen(y.got, type, row, first, count);
        ck_same(c, "y", y, count);
        if (c->differences != before)
            ck_differ(c, "%s, elements %zu to %zu", dm_dtype_name(type), first, first + count);
    }
}

/* ---- a few rows against a matrix ---- */

/* One type a case; the cases of a round see each of them some two hundred times. */
static void check_skinny_stored(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const dm_dtype type = stored_types[1 + ck_below(c, STORED_TYPES - 1)];
    const size_t block = dm_dtype_block(type), depth = block > 1 ? block * (1 + ck_below(c, 2)) : 1 + ck_below(c, 40);
    const size_t m = 1 + ck_below(c, DM_GEMM_SKINNY), lda = depth + ck_below(c, 4);
    const size_t columns = DM_GEMM_QUANTISED_MIN + n % 69, ldc = columns + ck_below(c, 4);
    const float *a = ck_in(c, (m - 1) * lda + depth);
    const uint8_t *w = matrix(c, type, columns, depth);
    const ck_floats y = ck_inout(c, (m - 1) * ldc + columns);
    const size_t row = (size_t)dm_dtype_bytes(type, depth);
    const int first = (int)ck_below(c, 2);
    const unsigned long before = c->differences;

    (void)ref;
    if (!k->skinny_quantised)
        return;
    for (size_t j = 0; j < columns; j++) {
        float values[512];
        for (size_t p = 0; p < depth; p++)
            values[p] = stored_value(type, w + j * row, p);
        for (size_t i = 0; i < m; i++) {
            float acc = first ? 0.0f : y.want[i * ldc + j];
            for (size_t p = 0; p < depth; p++)
                acc = fmaf(a[i * lda + p], values[p], acc);
            y.want[i * ldc + j] = acc;
            if (first)
                y.got[i * ldc + j] = NAN; /* must not be read */
        }
    }
    k->skinny_quantised(type, m, columns, depth, a, lda, w, row, y.got, ldc, first);
    ck_same(c, "C", y, (m - 1) * ldc + columns);
    if (c->differences != before)
        ck_differ(c, "%s, m %zu, columns %zu, k %zu, first %d", dm_dtype_name(type), m, columns, depth, first);
}

/* ---- times ---- */

static uint8_t blocks[1024 * sizeof(float)];

#define BENCH_WIDEN(name, type)                                                                                        \
    static size_t bench_widen_##name(const dm_kernels *k, ck_bench *b)                                                 \
    {                                                                                                                  \
        k->widen(b->d, type, blocks, 0, b->n);                                                                         \
        return b->n;                                                                                                   \
    }
BENCH_WIDEN(f16, DM_F16)
BENCH_WIDEN(q8_0, DM_Q8_0)
BENCH_WIDEN(q4_1, DM_Q4_1)
BENCH_WIDEN(q5_1, DM_Q5_1)
BENCH_WIDEN(q4_k, DM_Q4_K)
BENCH_WIDEN(q5_k, DM_Q5_K)
BENCH_WIDEN(q6_k, DM_Q6_K)
BENCH_WIDEN(q2_k, DM_Q2_K)
BENCH_WIDEN(q3_k, DM_Q3_K)

static void no_check(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    (void)c;
    (void)ref;
    (void)k;
    (void)n;
}

const ck_kernel ck_quantised_kernels[] = {
    {"widen", check_widen, bench_widen_f16, false},
    {"widen_q8_0", no_check, bench_widen_q8_0, true},
    {"widen_q4_1", no_check, bench_widen_q4_1, true},
    {"widen_q5_1", no_check, bench_widen_q5_1, true},
    {"widen_q4_k", no_check, bench_widen_q4_k, true},
    {"widen_q5_k", no_check, bench_widen_q5_k, true},
    {"widen_q6_k", no_check, bench_widen_q6_k, true},
    {"widen_q2_k", no_check, bench_widen_q2_k, true},
    {"widen_q3_k", no_check, bench_widen_q3_k, true},
    {"skinny_quantised", check_skinny_stored, NULL, false},
    {0},
};
