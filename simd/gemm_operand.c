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

/* B = W^T: a panel is nr rows of W. */
static void pack_rows(const dm_kernels *k, float *dst, float *scratch, const dm_weight *w, size_t p, size_t depth,
                      size_t j, size_t columns)
{
    const dm_gemm_kernel *g = &k->gemm;

    for (size_t i = 0; i < columns; i += g->nr, dst += g->nr * depth) {
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
static void pack_columns(const dm_kernels *k, float *dst, float *scratch, const dm_weight *w, size_t p, size_t depth,
                         size_t j, size_t columns)
{
    const dm_gemm_kernel *g = &k->gemm;
    const size_t whole = g->nr < SPAN ? SPAN / g->nr * g->nr : g->nr;

    for (size_t i = 0; i < columns; i += whole) {
        const size_t span = smaller(whole, columns - i);
        for (size_t q = 0; q < depth; q += g->nr) {
            const size_t rows = smaller(g->nr, depth - q);
            size_t stride;
            const float *from = widen(k, scratch, w, p + q, rows, j + i, span, &stride);
            for (size_t l = 0; l < span; l += g->nr)
                g->pack(dst + (i + l) * depth + q * g->nr, from + l, smaller(g->nr, span - l), rows, 1, stride, g->nr);
        }
    }
}

void dm_gemm_right_pack(const dm_kernels *k, float *dst, float *scratch, const dm_gemm_right_operand *b, size_t p,
                        size_t depth, size_t j, size_t columns)
{
    const dm_gemm_operand m = b->f32;

    j += b->first;
    if (!b->weights)
        k->gemm.pack(dst, m.data + p * m.rs + j * m.cs, columns, depth, m.cs, m.rs, k->gemm.nr);
    else if (b->transposed)
        pack_rows(k, dst, scratch, b->weights, p, depth, j, columns);
    else
        pack_columns(k, dst, scratch, b->weights, p, depth, j, columns);
}

void dm_gemm_right_skinny(const dm_kernels *k, float *scratch, size_t m, size_t n, dm_gemm_operand a,
                          const dm_gemm_right_operand *b, float *c, size_t ldc, bool first)
{
    const dm_weight w = dm_weight_rows(*b->weights, b->first, n);

    if (k->skinny_quantised && n >= DM_GEMM_QUANTISED_MIN) {
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
            k->skinny(m, rows, span, a.data + q, a.rs, from, stride, c + i, ldc, first && q == 0);
        }
    }
}
