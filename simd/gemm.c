#include "simd/gemm.h"

#include <string.h>

const char *const dm_precision_names[] = {[DM_PRECISION_F32] = "f32", [DM_PRECISION_BF16] = "bf16", NULL};

typedef struct product {
    const dm_engine *e;
    const dm_gemm_kernel *g;
    size_t m, n, k;
    dm_gemm_operand a;
    dm_gemm_right_operand b;
    float *c;
    size_t ldc;
    dm_gemm_mode mode;
} product;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t pieces(size_t n, size_t each)
{
    return n / each + (n % each != 0);
}

/* How long the pieces of n are: at most `most`, whole grains, and all about the same, because the last one costs a pass
 * over the other operand too. */
static size_t even(size_t n, size_t most, size_t grain)
{
    return n <= most ? most : smaller(most, pieces(pieces(n, pieces(n, most)), grain) * grain);
}

static void zero(size_t m, size_t n, float *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++)
        memset(c + i * ldc, 0, n * sizeof(float));
}

/* ---- room ---- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t block_of_a(const dm_gemm_kernel *g)
{
    return g->mc / g->mr * dm_gemm_panel(g, g->mr, g->kc);
}

static size_t local_pack(const dm_gemm_kernel *g)
{
    return block_of_a(g) + dm_gemm_panel(g, g->nr, g->kc) + dm_gemm_right_scratch(g);
}

static size_t shared_pack(const dm_gemm_kernel *g)
{
    return g->nc / g->nr * dm_gemm_panel(g, g->nr, g->kc);
}

size_t dm_gemm_local_pack(const dm_kernels *k)
{
    return larger(local_pack(&k->gemm), local_pack(&k->gemm_bf16));
}

size_t dm_gemm_shared_pack(const dm_kernels *k)
{
    return larger(shared_pack(&k->gemm), shared_pack(&k->gemm_bf16));
}

/* ---- one thread ---- */

static void enter(const dm_gemm_kernel *g)
{
    if (g->enter)
        g->enter();
}

static void leave(const dm_gemm_kernel *g)
{
    if (g->leave)
        g->leave();
}

/* A few contiguous rows against a weight matrix as it is stored: one pass over the weights, nothing packed. */
static bool is_skinny(size_t m, dm_gemm_operand a, const dm_gemm_right_operand *b)
{
    return m <= DM_GEMM_SKINNY && a.cs == 1 && (b->weights ? b->transposed : b->f32.rs == 1);
}

static void skinny(const dm_kernels *kernels, bool bf16, float *scratch, size_t m, size_t n, size_t k,
                   dm_gemm_operand a, const dm_gemm_right_operand *b, float *c, size_t ldc, dm_gemm_mode mode)
{
    if (b->weights)
        dm_gemm_right_skinny(kernels, bf16, scratch, m, n, a, b, c, ldc, mode == DM_GEMM_SET);
    else
        (bf16 ? kernels->skinny_bf16 : kernels->skinny)(m, n, k, a.data, a.rs, b->f32.data + b->first * b->f32.cs,
                                                        b->f32.cs, c, ldc, mode == DM_GEMM_SET);
}

/* Rows of A as they are multiplied without packing: themselves, or rounded into `room` floats; data NULL: they are too
 * many, or the level packs. */
static dm_gemm_operand skinny_rows(const dm_kernels *kernels, bool bf16, float *to, size_t room, size_t m, size_t k,
                                   dm_gemm_operand a)
{
    if (!bf16)
        return a;
    if (!kernels->skinny_bf16 || k > room / m)
        return (dm_gemm_operand){NULL, 0, 0};
    for (size_t i = 0; i < m; i++)
        kernels->round_bf16(to + i * k, a.data + i * a.rs, k);
    return (dm_gemm_operand){to, k, 1};
}

/* A is packed a block at a time; a panel of B is packed into L1, used by every tile of the block and forgotten. So
 * skinny products (a few tokens against a whole weight matrix) read B once and never write it back. */
static void local(const dm_kernels *kernels, const dm_gemm_kernel *g, float *pack, size_t m, size_t n, size_t k,
                  dm_gemm_operand a, const dm_gemm_right_operand *b, float *c, size_t ldc, dm_gemm_mode mode)
{
    float *pack_a = pack, *pack_b = pack_a + block_of_a(g), *scratch = pack_b + dm_gemm_panel(g, g->nr, g->kc);

    if (k == 0 && mode == DM_GEMM_SET)
        zero(m, n, c, ldc);
    if (k > 0 && is_skinny(m, a, b)) {
        const bool bf16 = g == &kernels->gemm_bf16;
        const dm_gemm_operand rows = skinny_rows(kernels, bf16, pack_a, block_of_a(g), m, k, a);
        if (rows.data) {
            skinny(kernels, bf16, scratch, m, n, k, rows, b, c, ldc, mode);
            return;
        }
    }
    enter(g);
    const size_t mc = even(m, g->mc, g->mr);
    for (size_t p = 0; p < k; p += g->kc) {
        const size_t depth = smaller(g->kc, k - p), panel = dm_gemm_panel(g, g->mr, depth);
        const bool first = p == 0 && mode == DM_GEMM_SET;
        for (size_t i = 0; i < m; i += mc) {
            const size_t rows = smaller(mc, m - i);
            dm_gemm_pack(g, g->finish_a, pack_a, a.data + i * a.rs + p * a.cs, rows, depth, a.rs, a.cs, g->mr);
            for (size_t j = 0; j < n; j += g->nr) {
                const size_t columns = smaller(g->nr, n - j);
                dm_gemm_right_pack(kernels, g, pack_b, scratch, b, p, depth, j, columns);
                const float *at = pack_a;
                for (size_t t = 0; t < rows; t += g->mr, at += panel)
                    g->micro(smaller(g->mr, rows - t), columns, depth, at, pack_b, c + (i + t) * ldc + j, ldc, first);
            }
        }
    }
    leave(g);
}

void dm_gemm_local(const dm_kernels *kernels, float *pack, size_t m, size_t n, size_t k, dm_gemm_operand a,
                   dm_gemm_operand b, float *c, size_t ldc, dm_gemm_mode mode)
{
    const dm_gemm_right_operand right = {.f32 = b};

    local(kernels, &kernels->gemm, pack, m, n, k, a, &right, c, ldc, mode);
}

/* ---- threads ---- */

static void by_columns(void *ctx, unsigned part, unsigned parts)
{
    const product *x = ctx;
    const dm_engine *e = x->e;
    const dm_range r = dm_range_split(x->n, x->g->nr, part, parts);
    dm_gemm_right_operand b = x->b;

    b.first += r.begin;
    if (r.begin < r.end)
        local(&e->k, x->g, e->pack_a[part], x->m, r.end - r.begin, x->k, x->a, &b, x->c + r.begin, x->ldc, x->mode);
}

/* The tile that comes next, while this one is computed: a chain starts with what C holds. */
static void prefetch_tile(const dm_gemm_kernel *g, const float *c, size_t ldc)
{
    for (size_t i = 0; i < g->mr; i++)
        for (size_t j = 0; j < g->nr; j += 16)
            __builtin_prefetch(c + i * ldc + j, 1, 3);
}

/* rows x columns of C from one packed block of B. */
static void multiply_block(const product *x, float *pack_a, dm_range rows, size_t j, size_t columns, size_t p,
                           size_t depth)
{
    const dm_gemm_kernel *g = x->g;
    const size_t panel_a = dm_gemm_panel(g, g->mr, depth), panel_b = dm_gemm_panel(g, g->nr, depth);
    const bool first = p == 0 && x->mode == DM_GEMM_SET;
    const size_t mc = even(rows.end - rows.begin, g->mc, g->mr);

    for (size_t i = rows.begin; i < rows.end; i += mc) {
        const size_t height = smaller(mc, rows.end - i);
        const float *b = x->e->pack_b;
        dm_gemm_pack(g, g->finish_a, pack_a, x->a.data + i * x->a.rs + p * x->a.cs, height, depth, x->a.rs, x->a.cs,
                     g->mr);
        for (size_t s = 0; s < columns; s += g->nr, b += panel_b) {
            const float *a = pack_a;
            for (size_t t = 0; t < height; t += g->mr, a += panel_a) {
                float *c = x->c + (i + t) * x->ldc + j + s;
                prefetch_tile(g, t + g->mr < height ? c + g->mr * x->ldc : x->c + i * x->ldc + j + s + g->nr, x->ldc);
                g->micro(smaller(g->mr, height - t), smaller(g->nr, columns - s), depth, a, b, c, x->ldc, first);
            }
        }
    }
}

/* Every thread packs a share of each block of B, then multiplies its own rows of A with all of it. */
static void by_rows(void *ctx, unsigned part, unsigned parts)
{
    const product *x = ctx;
    const dm_engine *e = x->e;
    const dm_gemm_kernel *g = x->g;
    const dm_range rows = dm_range_split(x->m, 2, part, parts);
    const size_t nc = even(x->n, g->nc, g->nr);
    float *scratch = e->pack_a[part] + block_of_a(g) + dm_gemm_panel(g, g->nr, g->kc);

    enter(g);
    for (size_t j = 0; j < x->n; j += nc) {
        const size_t columns = smaller(nc, x->n - j);
        const dm_range share = dm_range_split(columns, g->nr, part, parts);
        for (size_t p = 0; p < x->k; p += g->kc) {
            const size_t depth = smaller(g->kc, x->k - p);
            if (j > 0 || p > 0)
                dm_pool_barrier(e->pool); /* no thread reads the last block any more */
            dm_gemm_right_pack(&e->k, g, e->pack_b + share.begin / g->nr * dm_gemm_panel(g, g->nr, depth), scratch,
                               &x->b, p, depth, j + share.begin, share.end - share.begin);
            dm_pool_barrier(e->pool);
            multiply_block(x, e->pack_a[part], rows, j, columns, p, depth);
        }
    }
    leave(g);
}

/* Splitting rows balances to the row and packs B once; splitting columns suits few rows and needs no barrier. */
static bool rows_are_better(const dm_engine *e, const dm_gemm_kernel *g, size_t m, size_t n)
{
    const size_t panels = pieces(n, g->nr);

    return m >= 2 * g->mr * e->threads && pieces(m, e->threads) * panels <= m * pieces(panels, e->threads);
}

void dm_gemm_right(const dm_engine *e, dm_precision precision, size_t m, size_t n, size_t k, dm_gemm_operand a,
                   dm_gemm_right_operand b, float *c, size_t ldc, dm_gemm_mode mode)
{
    const dm_gemm_kernel *g = precision == DM_PRECISION_BF16 ? &e->k.gemm_bf16 : &e->k.gemm;
    product x = {e, g, m, n, k, a, b, c, ldc, mode};

    if (m == 0 || n == 0)
        return;
    if (k == 0) {
        if (mode == DM_GEMM_SET)
            zero(m, n, c, ldc);
        return;
    }
    dm_pool_run_sized(e->pool, (m > 8 ? m / 4 : 2) * n * k, rows_are_better(e, g, m, n) ? by_rows : by_columns, &x);
}

void dm_gemm(const dm_engine *e, dm_precision precision, size_t m, size_t n, size_t k, dm_gemm_operand a,
             dm_gemm_operand b, float *c, size_t ldc, dm_gemm_mode mode)
{
    dm_gemm_right(e, precision, m, n, k, a, (dm_gemm_right_operand){.f32 = b}, c, ldc, mode);
}
