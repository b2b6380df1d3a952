/* Checks and times the GEMM micro-kernel and packer of a level against simd/kernels/gemm/gemm_kernel.h. Tiles differ
 * between levels, so the reference is not scalar's kernel but the contract itself: a chain of fmaf for each element. */
#include <math.h>
#include <string.h>

#include "core/numbers/numeric.h"
#include "tests/checkasm/checkasm.h"

static const size_t depths[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 67};
#define DEPTHS (sizeof depths / sizeof *depths)

/* ---- micro-kernel ---- */

static void product(size_t m, size_t n, size_t k, const float *a, size_t mr, const float *b, size_t nr, float *c,
                    size_t ldc, int first)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            float acc = first ? 0.0f : c[i * ldc + j];
            for (size_t p = 0; p < k; p++)
                acc = fmaf(a[p * mr + i], b[p * nr + j], acc);
            c[i * ldc + j] = acc;
        }
}

/* A panel as the packer leaves it: rows beyond `used` are zero. */
static const float *panel(ck *c, size_t k, size_t width, size_t used)
{
    float *p = ck_aligned(c, k * width);

    ck_set(c, p, k * width);
    for (size_t i = 0; i < k; i++)
        for (size_t j = used; j < width; j++)
            p[i * width + j] = 0.0f;
    ck_seal(c);
    return p;
}

static void check_tile(ck *c, const dm_gemm_kernel *g, size_t m, size_t n, size_t k, int first)
{
    const size_t ldc = n + ck_below(c, 20), total = (m - 1) * ldc + n;

    ck_release(c, 0);
    const float *a = panel(c, k, g->mr, m), *b = panel(c, k, g->nr, n);
    const ck_floats y = ck_inout(c, total);
    for (size_t i = 0; i < m && first; i++)
        for (size_t j = 0; j < n; j++)
            y.want[i * ldc + j] = y.got[i * ldc + j] = NAN; /* must not be read */
    product(m, n, k, a, g->mr, b, g->nr, y.want, ldc, first);
    g->micro(m, n, k, a, b, y.got, ldc, first);
    const unsigned long before = c->differences;
    ck_same(c, "C", y, total);
    if (c->differences != before)
        ck_differ(c, "m %zu, n %zu, k %zu, ldc %zu, first %d", m, n, k, ldc, first);
}

/* Every m, n, k and first with the first fill; with the others every m and n, the rest by chance. */
static void check_gemm_micro(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const dm_gemm_kernel *g = &k->gemm;

    (void)ref;
    (void)n;
    for (size_t i = 1; i <= g->mr; i++)
        for (size_t j = 1; j <= g->nr; j++)
            if (c->fill == CK_NOISE && c->place == CK_AT_END)
                for (size_t d = 0; d < 2 * DEPTHS; d++)
                    check_tile(c, g, i, j, depths[d / 2], (int)d & 1);
            else
                check_tile(c, g, i, j, depths[ck_below(c, DEPTHS)], (int)ck_below(c, 2));
}

/* ---- packer ---- */

static void check_panel(ck *c, const dm_gemm_kernel *g, size_t width, size_t rows, size_t k, size_t rs, size_t cs)
{
    const size_t panels = (rows + width - 1) / width, total = panels * width * k;

    ck_release(c, 0);
    const float *src = ck_in(c, rows && k ? (rows - 1) * rs + (k - 1) * cs + 1 : 0);
    const ck_floats dst = {ck_aligned(c, total), ck_aligned(c, total)};
    for (size_t i = 0; i < panels * width; i++)
        for (size_t p = 0; p < k; p++)
            dst.want[i / width * width * k + p * width + i % width] = i < rows ? src[i * rs + p * cs] : 0.0f;
    memset(dst.got, 0x55, total * sizeof *dst.got);
    g->pack(dst.got, src, rows, k, rs, cs, width);
    const unsigned long before = c->differences;
    ck_same(c, "panel", dst, total);
    if (c->differences != before)
        ck_differ(c, "width %zu, rows %zu, k %zu, rs %zu, cs %zu", width, rows, k, rs, cs);
}

static void check_gemm_pack(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const dm_gemm_kernel *g = &k->gemm;
    const size_t widths[] = {g->mr, g->nr};

    (void)ref;
    (void)n;
    for (size_t w = 0; w < 2; w++)
        for (size_t rows = 0; rows <= 2 * widths[w] + 3; rows++) {
            const size_t d = depths[ck_below(c, DEPTHS)], gap = ck_below(c, 4);
            check_panel(c, g, widths[w], rows, d, d + gap, 1);                 /* row-major */
            check_panel(c, g, widths[w], rows, d, 1, rows + gap);              /* column-major */
            check_panel(c, g, widths[w], rows, d % 8, 8 * (gap + 1), gap + 1); /* neither */
        }
}

/* ---- a few rows against a matrix as it is stored ---- */

static void check_gemm_skinny(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const size_t m = 1 + ck_below(c, DM_GEMM_SKINNY), depth = n < 100 ? depths[ck_below(c, DEPTHS)] : ck_below(c, 20);
    const size_t lda = depth + ck_below(c, 4), ldw = depth + ck_below(c, 4), ldc = n + ck_below(c, 4);
    const float *a = ck_in(c, (m - 1) * lda + depth), *w = ck_in(c, n ? (n - 1) * ldw + depth : 0);
    const ck_floats y = ck_inout(c, (m - 1) * ldc + n);
    const int first = (int)ck_below(c, 2);
    const unsigned long before = c->differences;

    (void)ref;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            float acc = first ? 0.0f : y.want[i * ldc + j];
            for (size_t p = 0; p < depth; p++)
                acc = fmaf(a[i * lda + p], w[j * ldw + p], acc);
            y.want[i * ldc + j] = acc;
            if (first)
                y.got[i * ldc + j] = NAN; /* must not be read */
        }
    k->skinny(m, n, depth, a, lda, w, ldw, y.got, ldc, first);
    ck_same(c, "C", y, (m - 1) * ldc + n);
    if (c->differences != before)
        ck_differ(c, "m %zu, k %zu, lda %zu, ldw %zu, ldc %zu, first %d", m, depth, lda, ldw, ldc, first);
}

/* ---- products along a diagonal ---- */

static void check_gemm_lanes(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const dm_gemm_kernel *g = &k->gemm;
    const size_t m = 1 + ck_below(c, g->mr), depth = ck_below(c, g->nr + 1), ldc = g->nr + ck_below(c, 20);
    const int first = (int)ck_below(c, 2);
    const float *a = panel(c, depth, g->mr, m), *b = panel(c, depth, g->nr, g->nr);
    const ck_floats y = ck_inout(c, (m - 1) * ldc + g->nr);
    const unsigned long before = c->differences;

    (void)ref;
    (void)n;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < g->nr; j++) {
            float acc = first ? 0.0f : y.want[i * ldc + j];
            for (size_t p = 0; p < depth && p <= j; p++)
                acc = fmaf(a[p * g->mr + i], b[p * g->nr + j], acc);
            y.want[i * ldc + j] = acc;
            if (first)
                y.got[i * ldc + j] = NAN; /* must not be read */
        }
    k->lanes(m, depth, a, b, y.got, ldc, first);
    ck_same(c, "C", y, (m - 1) * ldc + g->nr);
    if (c->differences != before)
        ck_differ(c, "m %zu, k %zu, ldc %zu, first %d", m, depth, ldc, first);
}

static void check_gemm_rows(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const dm_gemm_kernel *g = &k->gemm;
    const size_t m = ck_below(c, 2 * g->mr), depth = ck_below(c, 3 * g->nr + 1), columns = 1 + ck_below(c, g->nr);
    const size_t ldc = columns + ck_below(c, 20), total = m ? (m - 1) * ldc + columns : 0;
    const size_t step = m * g->nr + ck_below(c, 20), panels = (depth + g->nr - 1) / g->nr;
    const ptrdiff_t late = (ptrdiff_t)ck_below(c, 4 * g->nr) - (ptrdiff_t)g->nr;
    const float *a = ck_in(c, panels * step), *b = panel(c, depth, g->nr, columns);
    const ck_floats y = ck_inout(c, total);
    const unsigned long before = c->differences;

    (void)ref;
    (void)n;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < columns; j++)
            for (size_t p = 0; p < depth; p++)
                if ((ptrdiff_t)p >= (ptrdiff_t)i + late)
                    y.want[i * ldc + j] =
                        fmaf(a[p / g->nr * step + i * g->nr + p % g->nr], b[p * g->nr + j], y.want[i * ldc + j]);
    k->rows(m, columns, depth, a, step, b, y.got, ldc, late);
    ck_same(c, "C", y, total);
    if (c->differences != before)
        ck_differ(c, "m %zu, n %zu, k %zu, step %zu, ldc %zu, late %td", m, columns, depth, step, ldc, late);
}

/* ---- times: one full tile over k = 256; one panel, transposing and not; one row against 64 ---- */

enum { BENCH_K = 256 };
static _Alignas(64) float bench_a[BENCH_K * DM_GEMM_NR_MAX], bench_b[BENCH_K * DM_GEMM_NR_MAX];

static size_t bench_gemm_micro(const dm_kernels *k, ck_bench *b)
{
    static _Alignas(64) float tile[DM_GEMM_MR_MAX * DM_GEMM_NR_MAX];
    const dm_gemm_kernel *g = &k->gemm;

    (void)b;
    g->micro(g->mr, g->nr, BENCH_K, bench_a, bench_b, tile, g->nr, 0);
    return g->mr * g->nr * BENCH_K;
}

static size_t bench_gemm_pack(const dm_kernels *k, ck_bench *b)
{
    const dm_gemm_kernel *g = &k->gemm;

    (void)b;
    g->pack(bench_b, bench_a, g->nr, BENCH_K, BENCH_K, 1, g->nr);
    g->pack(bench_b, bench_a, g->nr, BENCH_K, 1, g->nr, g->nr);
    return 2 * g->nr * BENCH_K;
}

static size_t bench_gemm_skinny(const dm_kernels *k, ck_bench *b)
{
    k->skinny(1, DM_GEMM_NR_MAX, BENCH_K, bench_a, BENCH_K, bench_b, BENCH_K, b->d, DM_GEMM_NR_MAX, 1);
    return (size_t)DM_GEMM_NR_MAX * BENCH_K;
}

static size_t bench_gemm_lanes(const dm_kernels *k, ck_bench *b)
{
    static _Alignas(64) float tile[DM_GEMM_MR_MAX * DM_GEMM_NR_MAX];
    const dm_gemm_kernel *g = &k->gemm;

    (void)b;
    k->lanes(g->mr, g->nr, bench_a, bench_b, tile, g->nr, 0);
    return g->mr * g->nr * g->nr;
}

static size_t bench_gemm_rows(const dm_kernels *k, ck_bench *b)
{
    static _Alignas(64) float tile[DM_GEMM_MR_MAX * DM_GEMM_NR_MAX];
    const dm_gemm_kernel *g = &k->gemm;

    (void)b;
    k->rows(g->mr, g->nr, BENCH_K, bench_a, g->mr * g->nr, bench_b, tile, g->nr, -(ptrdiff_t)g->mr);
    return g->mr * g->nr * BENCH_K;
}

const ck_kernel ck_gemm_kernels[] = {
    {"gemm_micro", check_gemm_micro, bench_gemm_micro, true},
    {"gemm_pack", check_gemm_pack, bench_gemm_pack, true},
    {"gemm_skinny", check_gemm_skinny, bench_gemm_skinny, false},
    {"gemm_lanes", check_gemm_lanes, bench_gemm_lanes, false},
    {"gemm_rows", check_gemm_rows, bench_gemm_rows, false},
    {0},
};
