#include "simd/weight.h"

#include <string.h>

dm_weight dm_weight_rows(dm_weight w, size_t first, size_t rows)
{
    return (dm_weight){(const char *)w.data + first * dm_dtype_bytes(w.type, w.cols), w.type, rows, w.cols};
}

void dm_weight_forward(const dm_engine *e, size_t m, const float *x, dm_weight w, float *y, size_t ldy)
{
    dm_gemm(e, m, w.rows, w.cols, (dm_mat){x, w.cols, 1}, (dm_mat){w.data, 1, w.cols}, y, ldy, DM_GEMM_SET);
}

void dm_weight_backward(const dm_engine *e, size_t m, const float *dy, size_t lddy, dm_weight w, float *dx,
                        dm_gemm_mode mode)
{
    dm_gemm(e, m, w.cols, w.rows, (dm_mat){dy, lddy, 1}, (dm_mat){w.data, w.cols, 1}, dx, w.cols, mode);
}

typedef struct gather {
    float *x;
    dm_weight w;
    const int32_t *ids;
    size_t n;
} gather;

static void gather_rows(void *ctx, unsigned part, unsigned parts)
{
    const gather *g = ctx;
    const dm_range r = dm_split(g->n, 1, part, parts);
    for (size_t t = r.begin; t < r.end; t++)
        memcpy(g->x + t * g->w.cols, dm_weight_rows(g->w, (size_t)g->ids[t], 1).data, g->w.cols * sizeof(float));
}

void dm_weight_gather(const dm_engine *e, float *x, dm_weight w, const int32_t *ids, size_t n)
{
    gather g = {x, w, ids, n};
    dm_pool_run_sized(e->pool, n * w.cols, gather_rows, &g);
}
