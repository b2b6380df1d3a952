/* Stored weights: products, gathering and widening have the bits of the plain fmaf loop over the values of
 * tests/support/quantised.h, for every type, level and thread count.
 *
 *     weight --widen TYPE COLS    rows of blocks on standard input, f32 on standard output
 *     (tests/python/interop_quant.py) */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "core/sha256.h"
#include "simd/engine.h"
#include "simd/weight.h"
#include "tests/support/amx_model.h"
#include "tests/support/check.h"
#include "tests/support/engines.h"
#include "tests/support/quantised.h"

static engines all;

static uint32_t random_of(void *ctx)
{
    (void)ctx;
    return test_random();
}

typedef struct shape {
    size_t m, rows, cols; /* cols: of blocks of 32 */
} shape;

/* A matrix that ends at a forbidden page, and its values. */
typedef struct matrix {
    guarded memory;
    dm_weight w;
    float *values;
} matrix;

static float *floats(size_t n)
{
    return ck_alloc((n + 1) * sizeof(float));
}

static matrix matrix_open(dm_dtype type, size_t rows, size_t cols, stored_fill fill)
{
    const size_t row = (size_t)dm_dtype_bytes(type, cols), bytes = rows * row;
    matrix x = {guarded_open((bytes + 3) / 4), {NULL, type, rows, cols}, floats(rows * cols)};
    uint8_t *data = (uint8_t *)x.memory.data + ((bytes + 3) / 4 * 4 - bytes);

    stored_random(data, type, rows * cols, fill, random_of, NULL);
    x.w.data = data;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            x.values[i * cols + j] = stored_value(type, data + i * row, j);
    return x;
}

static void matrix_close(matrix *x)
{
    guarded_close(&x->memory);
    free(x->values);
}

static void compare(const char *what, const dm_engine *e, const matrix *x, size_t m, const float *got,
                    const float *want, size_t n, size_t ld)
{
    size_t bad = 0;
    while (bad < n && same_bits(got[bad], want[bad]))
        bad++;
    if (bad == n)
        CK(bad == n);
    else
        CK_MSG(0, "%s %s %s, %u threads, %zu rows, W %zux%zu: [%zu][%zu] is %a, not %a", what, dm_dtype_name(x->w.type),
               dm_isa_name(e->k.isa), e->threads, m, x->w.rows, x->w.cols, bad / ld, bad % ld, (double)got[bad],
               (double)want[bad]);
}

/* One element of a product: a row or column of weights `stride` apart. */
static float element(dm_precision precision, float acc, size_t n, const float *a, const float *w, size_t stride)
{
    if (precision == DM_PRECISION_BF16)
        return amx_model_chain(acc, n, a, 1, w, stride);
    for (size_t i = 0; i < n; i++)
        acc = fmaf(a[i], w[i * stride], acc);
    return acc;
}

static void check_forward(const matrix *x, dm_precision precision, size_t m, size_t gap)
{
    const size_t rows = x->w.rows, cols = x->w.cols, ldy = rows + gap, size = (m - 1) * ldy + rows;
    guarded in = guarded_open(m * cols), got = guarded_open(size);
    float *want = floats(size);

    test_fill(in.data, m * cols, 0);
    for (size_t i = 0; i < size; i++)
        want[i] = NAN;
    for (size_t t = 0; t < m; t++)
        for (size_t o = 0; o < rows; o++)
            want[t * ldy + o] = element(precision, 0.0f, cols, in.data + t * cols, x->values + o * cols, 1);
    for (size_t i = 0; i < all.n; i++) {
        for (size_t j = 0; j < size; j++)
            got.data[j] = NAN; /* the gaps stay so */
        dm_weight_forward(&all.e[i], precision, m, in.data, x->w, got.data, ldy);
        compare("forward", &all.e[i], x, m, got.data, want, size, ldy);
    }
    guarded_close(&in);
    guarded_close(&got);
    free(want);
}

static void check_backward(const matrix *x, dm_precision precision, size_t m, size_t gap, dm_gemm_mode mode)
{
    const size_t rows = x->w.rows, cols = x->w.cols, lddy = rows + gap;
    guarded dy = guarded_open((m - 1) * lddy + rows), got = guarded_open(m * cols);
    float *want = floats(m * cols), *start = floats(m * cols);

    test_fill(dy.data, (m - 1) * lddy + rows, 0);
    test_fill(start, m * cols, 0);
    for (size_t t = 0; t < m; t++)
        for (size_t i = 0; i < cols; i++)
            want[t * cols + i] = element(precision, mode == DM_GEMM_SET ? 0.0f : start[t * cols + i], rows,
                                         dy.data + t * lddy, x->values + i, cols);
    for (size_t i = 0; i < all.n; i++) {
        memcpy(got.data, start, m * cols * sizeof(float));
        dm_weight_backward(&all.e[i], precision, m, dy.data, lddy, x->w, got.data, mode);
        compare("backward", &all.e[i], x, m, got.data, want, m * cols, cols);
    }
    guarded_close(&dy);
    guarded_close(&got);
    free(want);
    free(start);
}

static void check_rows(const matrix *x)
{
    const size_t rows = x->w.rows, cols = x->w.cols, n = 7;
    guarded got = guarded_open(n * cols), whole = guarded_open(rows * cols);
    float *want = floats(n * cols);
    int32_t ids[7];

    for (size_t t = 0; t < n; t++) {
        ids[t] = (int32_t)(t == 0 ? rows - 1 : test_random() % rows);
        memcpy(want + t * cols, x->values + (size_t)ids[t] * cols, cols * sizeof(float));
    }
    for (size_t i = 0; i < all.n; i++) {
        dm_weight_gather(&all.e[i], got.data, x->w, ids, n);
        compare("gather", &all.e[i], x, n, got.data, want, n * cols, cols);
        dm_weight_widen(&all.e[i], whole.data, x->w);
        compare("widen", &all.e[i], x, rows, whole.data, x->values, rows * cols, cols);
    }
    guarded_close(&got);
    guarded_close(&whole);
    free(want);
}

/* Rows of a matrix are a matrix. */
static void check_slice(const matrix *x)
{
    const size_t first = x->w.rows / 3, rows = x->w.rows - first;
    const matrix part = {x->memory, dm_weight_rows(x->w, first, rows), x->values + first * x->w.cols};

    CK(part.w.rows == rows && part.w.cols == x->w.cols && part.w.type == x->w.type);
    check_rows(&part);
}

static void check_type(dm_dtype type)
{
    /* Few rows, panels that are not full, blocks of GEMM (2 x 256 and more deep; more than nc wide). */
    static const shape shapes[] = {{1, 1, 1},    {2, 15, 3},   {1, 16, 18}, {3, 33, 8},   {4, 49, 5},  {5, 17, 2},
                                   {7, 31, 9},   {8, 64, 4},   {9, 70, 7},  {15, 40, 17}, {29, 13, 3}, {60, 37, 8},
                                   {113, 65, 2}, {230, 50, 1}, {1, 200, 1}, {64, 24, 50}};
    static const size_t fast[] = {2, 3, 6, 8, 11, 15};
    const int quick = getenv("DMPO_TEST_FAST") != NULL;
    const size_t n = quick ? sizeof fast / sizeof *fast : sizeof shapes / sizeof *shapes;

    for (size_t i = 0; i < n; i++) {
        const shape *s = &shapes[quick ? fast[i] : i];
        const size_t block = dm_dtype_block(type);
        const size_t cols = block == 1 ? s->cols * 32 - i % 3 * 5 : (s->cols * 32 + block - 1) / block * block;
        matrix x = matrix_open(type, s->rows, cols, i % 5 == 4 ? STORED_ANY : (stored_fill)(i % 3));
        for (dm_precision p = DM_PRECISION_F32;
             p <= (s->m * s->rows * cols < 40000 ? DM_PRECISION_BF16 : DM_PRECISION_F32);
             p++) { /* one element at a time takes its time */
            check_forward(&x, p, s->m, i % 2 * 3);
            check_backward(&x, p, s->m, i % 2 * 5, i % 3 ? DM_GEMM_SET : DM_GEMM_ADD);
        }
        check_rows(&x);
        check_slice(&x);
        matrix_close(&x);
    }
}

/* Two blocks of fixed bytes as the gguf package dequantises them (gguf.quants.dequantize), by the hash of the floats.
 * `scales`: the high bytes of the block's f16 numbers, of which a bit is cleared so that they are finite. */
static void check_golden(dm_dtype type, size_t scale, size_t scale2, const char *want)
{
    uint8_t raw[2 * 128];
    float y[512];
    char hex[DM_SHA256_HEX];
    uint32_t x = 1;
    const size_t size = dm_dtype_size(type);

    for (size_t i = 0; i < 2 * size; i++)
        raw[i] = (uint8_t)((x = x * 1103515245u + 12345u) >> 16);
    for (size_t b = 0; b < 2; b++) {
        raw[b * size + scale] &= 0xbf;
        raw[b * size + scale2] &= 0xbf;
    }
    for (size_t e = 0; e < all.n; e++) {
        dm_sha256 h;
        all.e[e].k.widen(y, type, raw, 0, 512);
        dm_sha256_init(&h);
        dm_sha256_update(&h, y, sizeof y); /* little-endian machines only: none other is supported */
        dm_sha256_finish(&h, hex);
        CK_MSG(strcmp(hex, want) == 0, "%s: %s", dm_dtype_name(type), hex);
    }
}

/* ---- the tool ---- */

static int widen_input(const char *name, const char *cols_text)
{
    const size_t cols = strtoul(cols_text, NULL, 10);
    dm_kernels k;
    dm_isa isa;
    dm_error err;
    size_t type = 0;

    while (type < DM_DTYPE_COUNT && strcmp(dm_dtype_name((dm_dtype)type), name) != 0)
        type++;
    if (type == DM_DTYPE_COUNT || cols == 0 || cols % dm_dtype_block((dm_dtype)type) != 0) {
        fprintf(stderr, "weight: not a type and whole blocks of it: %s, %s columns\n", name, cols_text);
        return 2;
    }
    if (dm_isa_choose(&isa, NULL, &err) != DM_OK) {
        fprintf(stderr, "weight: %s\n", err.message);
        return 2;
    }
    dm_kernels_init(&k, isa);
    const size_t bytes = (size_t)dm_dtype_bytes((dm_dtype)type, cols);
    float *row = floats((bytes + 3) / 4), *y = floats(cols);
    while (fread(row, 1, bytes, stdin) == bytes) {
        k.widen(y, (dm_dtype)type, row, 0, cols);
        fwrite(y, sizeof *y, cols, stdout);
    }
    free(row);
    free(y);
    return fflush(stdout) || ferror(stdin);
}

int main(int argc, char **argv)
{
    static const unsigned threads[] = {1, 2, 5};

    if (argc == 4 && strcmp(argv[1], "--widen") == 0)
        return widen_input(argv[2], argv[3]);
    const int status = engines_open(&all, argc, argv, threads, sizeof threads / sizeof *threads);
    if (status)
        return status;
    test_seed(1);
    for (size_t t = 0; t < STORED_TYPES; t++)
        check_type(stored_types[t]);
    check_golden(DM_Q2_K, 81, 83, "0f546580df88ea1d3c5d4f139ad8f063a37ce98675fa14032261a0b5a33e4a22");
    check_golden(DM_Q3_K, 109, 109, "19624ecb36c7681b0aba71d1adde3468b0d7dad2f506cd9334120644ca6a69cc");
    engines_close(&all);
    return ck_done("weight");
}
