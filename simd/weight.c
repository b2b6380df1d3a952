#include "simd/weight.h"

/* W or its transpose as GEMM takes it: f32 needs no widening. */
static dm_gemm_right_operand right(const dm_weight *w, bool transposed)
{
    if (w->type == DM_F32)
        return (dm_gemm_right_operand){.f32 = {w->data, transposed ? 1 : w->cols, transposed ? w->cols : 1}};
    return (dm_gemm_right_operand){.weights = w, .transposed = transposed};
}

void dm_weight_forward(const dm_engine *e, dm_precision precision, size_t m, const float *x, dm_weight w, float *y,
                       size_t ldy)
{
    dm_gemm_right(e, precision, m, w.rows, w.cols, (dm_gemm_operand){x, w.cols, 1}, right(&w, true), y, ldy,
                  DM_GEMM_SET);
}

void dm_weight_backward(const dm_engine *e, dm_precision precision, size_t m, const float *dy, size_t lddy, dm_weight w,
                        float *dx, dm_gemm_mode mode)
{
    dm_gemm_right(e, precision, m, w.cols, w.rows, (dm_gemm_operand){dy, lddy, 1}, right(&w, false), dx, w.cols, mode);
}

typedef struct gather {
    const dm_kernels *k;
    float *x;
    dm_weight w;
    const int32_t *ids; /* NULL: every row in its order */
    size_t n;
} gather;

static void gather_rows(void *ctx, unsigned part, unsigned parts)
{
    const gather *g = ctx;
    const dm_range r = dm_range_split(g->n, 1, part, parts);

    for (size_t t = r.begin; t < r.end; t++) {
        const size_t row = g->ids ? (size_t)g->ids[t] : t;
        g->k->widen(g->x + t * g->w.cols, g->w.type, dm_weight_rows(g->w, row, 1).data, 0, g->w.cols);
    }
}

void dm_weight_widen(const dm_engine *e, float *out, dm_weight w)
{
    gather g = {&e->k, out, w, NULL, w.rows};
    dm_pool_run_sized(e->pool, g.n * w.cols, gather_rows, &g);
}

void dm_weight_gather(const dm_engine *e, float *x, dm_weight w, const int32_t *ids, size_t n)
{
    gather g = {&e->k, x, w, ids, n};
    dm_pool_run_sized(e->pool, n * w.cols, gather_rows, &g);
}
