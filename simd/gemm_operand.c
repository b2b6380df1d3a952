#include "simd/gemm_operand.h"

dm_weight dm_weight_rows(dm_weight w, size_t first, size_t rows)
{
    return (dm_weight){(const char *)w.data + first * dm_dtype_bytes(w.type, w.cols), w.type, rows, w.cols};
}

/* Rows of weights are widened a rectangle at a time into scratch that stays in L1, and packed from there. */
#define SPAN 128u /* columns of W */
#define PIECE 32u /* what dm_kernels.widen cuts quantised rows into */

size_t dm_gemm_right_scratch(const dm_gemm_kernel *g)
{
    return g->nr * (SPAN + 2 * PIECE);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* At most nr rows and SPAN columns of W as f32: where element (row, column) is, in rows *stride floats apart. */
static const float *widen(const dm_kernels *k, float *scratch, const dm_weight *w, size_t row, size_t rows,
                          size_t column, size_t columns, size_t *stride)
{
    const size_t grain = dm_dtype_block(w->type) > 1 ? PIECE : 1;
    const size_t begin = column / grain * grain, end = (column + columns + grain - 1) / grain * grain;

    *stride = end - begin;
    for (size_t i = 0; i < rows; i++)
        k->widen(scratch + i * *stride, w->type, dm_weight_rows(*w, row + i, 1).data, begin, *stride);
    return scratch + (column - begin);
}

static void finish_panels(dm_gemm_finish_fn finish, float *dst, size_t rows, size_t k, size_t width, size_t panel)
{
    for (size_t i = 0; finish && i < rows; i += width, dst += panel)
        finish(dst, width, k);
}

void dm_gemm_pack(const dm_gemm_kernel *g, dm_gemm_finish_fn finish, float *dst, const float *src, size_t rows,
                  size_t k, size_t rs, size_t cs, size_t width)
{
    const size_t panel = dm_gemm_panel(g, width, k);

    if (panel == width * k)
        g->pack(dst, src, rows, k, rs, cs, width);
    else
        for (size_t i = 0; i < rows; i += width)
            g->pack(dst + i / width * panel, src + i * rs, smaller(width, rows - i), k, rs, cs, width);
    finish_panels(finish, dst, rows, k, width, panel);
}

/* B = W^T: a panel is nr rows of W. */
static void pack_rows(const dm_kernels *k, const dm_gemm_kernel *g, float *dst, float *scratch, const dm_weight *w,
                      size_t p, size_t depth, size_t j, size_t columns)
{
    for (size_t i = 0; i < columns; i += g->nr, dst += dm_gemm_panel(g, g->nr, depth)) {
        const size_t rows = smaller(g->nr, columns - i);
        for (size_t q = 0; q < depth; q += SPAN) {
            const size_t span = smaller(SPAN, depth - q);
            size_t stride;
            const float *from = widen(k, scratch, w, j + i, rows, p + q, span, &stride);
            g->pack(dst + q * g->nr, from, rows, span, stride, 1, g->nr);
        }
    }
}

/* B = W: a panel is nr columns of W. Spans of whole panels, so that pieces are widened once. */
static void pack_columns(const dm_kernels *k, const dm_gemm_kernel *g, float *dst, float *scratch, const dm_weight *w,
                         size_t p, size_t depth, size_t j, size_t columns)
{
    const size_t whole = g->nr < SPAN ? SPAN / g->nr * g->nr : g->nr, panel = dm_gemm_panel(g, g->nr, depth);

    for (size_t i = 0; i < columns; i += whole) {
        const size_t span = smaller(whole, columns - i);
        for (size_t q = 0; q < depth; q += g->nr) {
            const size_t rows = smaller(g->nr, depth - q);
            size_t stride;
            const float *from = widen(k, scratch, w, p + q, rows, j + i, span, &stride);
            for (size_t l = 0; l < span; l += g->nr)
                g->pack(dst + (i + l) / g->nr * panel + q * g->nr, from + l, smaller(g->nr, span - l), rows, 1, stride,
                        g->nr);
        }
    }
}

void dm_gemm_right_pack(const dm_kernels *k, const dm_gemm_kernel *g, float *dst, float *scratch,
                        const dm_gemm_right_operand *b, size_t p, size_t depth, size_t j, size_t columns)
{
    const dm_gemm_operand m = b->f32;

    j += b->first;
    if (!b->weights) {
        dm_gemm_pack(g, g->finish_b, dst, m.data + p * m.rs + j * m.cs, columns, depth, m.cs, m.rs, g->nr);
        return;
    }
    (b->transposed ? pack_rows : pack_columns)(k, g, dst, scratch, b->weights, p, depth, j, columns);
    finish_panels(g->finish_b, dst, columns, depth, g->nr, dm_gemm_panel(g, g->nr, depth));
}

void dm_gemm_right_skinny(const dm_kernels *k, bool bf16, float *scratch, size_t m, size_t n, dm_gemm_operand a,
                          const dm_gemm_right_operand *b, float *c, size_t ldc, bool first)
{
    const dm_weight w = dm_weight_rows(*b->weights, b->first, n);

    if (!bf16 && k->skinny_quantised && n >= DM_GEMM_QUANTISED_MIN) {
        k->skinny_quantised(w.type, m, n, w.cols, a.data, a.rs, w.data, (size_t)dm_dtype_bytes(w.type, w.cols), c, ldc,
                            first);
        return;
    }
    for (size_t i = 0; i < n; i += k->gemm.nr) {
        const size_t rows = smaller(k->gemm.nr, n - i);
        for (size_t q = 0; q < w.cols; q += SPAN) {
            const size_t span = smaller(SPAN, w.cols - q);
            size_t stride;
            const float *from = widen(k, scratch, &w, i, rows, q, span, &stride);
            (bf16 ? k->skinny_bf16 : k->skinny)(m, rows, span, a.data + q, a.rs, from, stride, c + i, ldc,
                                                first && q == 0);
        }
    }
}
