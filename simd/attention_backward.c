#include "simd/attention.h"

#include <string.h>

#include "simd/attention_internal.h"

typedef struct backward_task {
    const dm_engine *e;
    const dm_attention *a;
    const float *dout;
    float *dq, *dk, *dv, *scratch;
    dm_attention_plan plan;
} backward_task;

/* One head's strip of query rows: where its P and dS lie and which key their column 0 is. */
typedef struct strip {
    dm_range rows;
    size_t column;
    float *p, *ds;   /* rows plan.width apart, or (open sequences) panels of nr rows, one after another */
    float *q, *dout; /* its query rows packed for sums: panels of nr columns, plan.strip rows deep */
} strip;

static strip strip_of(const backward_task *x, const dm_attention_sequence *s, size_t slot, dm_range rows)
{
    const dm_attention_plan *plan = &x->plan;
    const size_t nr = x->e->k.gemm.nr;
    return (strip){
        .rows = rows,
        .column = dm_attention_sequence_low(s, rows.begin) / nr * nr,
        .p = x->scratch + plan->p + slot * plan->strip_size,
        .ds = x->scratch + plan->ds + slot * plan->strip_size,
        .q = x->scratch + plan->q_rows + slot * plan->rows_size,
        .dout = x->scratch + plan->dout_rows + slot * plan->rows_size,
    };
}

/* Rows of the strip from `at` on (a head's column of q or dout), packed for sums. */
static void pack_rows(const backward_task *x, const dm_attention_sequence *s, float *dst, const float *src, size_t at,
                      size_t rows)
{
    const dm_gemm_kernel *g = &x->e->k.gemm;
    for (size_t c = 0; c < x->a->head_dim; c += g->nr)
        g->pack(dst + c * x->plan.strip + at * g->nr, src + c, dm_min(g->nr, x->a->head_dim - c), rows, 1, s->ldq,
                g->nr);
}

/* Some rows of a strip: P again as in forward, dP, dS, and their rows of dq. */
static void query_rows(const backward_task *x, const dm_attention_sequence *s, unsigned part, size_t slot, size_t head,
                       const strip *t, dm_range rows)
{
    const dm_attention *a = x->a;
    const dm_kernels *k = &x->e->k;
    const dm_gemm_kernel *g = &k->gemm;
    const dm_attention_plan *plan = &x->plan;
    float *packed = x->scratch + plan->own + part * plan->own_size;
    const size_t n = rows.end - rows.begin, at = rows.begin - t->rows.begin, d = a->head_dim;
    const size_t offset = (dm_attention_sequence_row(s, rows.begin) - s->q_base) * s->ldq + head * d;
    float *p = t->p + at * plan->width, *ds = t->ds + at * plan->width;
    const float scale = dm_attention_scale(a);

    g->pack(packed, a->q + offset, n, d, s->ldq, 1, g->mr);
    dm_attention_band_scores(g, s, packed, x->scratch + plan->k_scores + slot * plan->keys_size, d, rows, p,
                             plan->width, t->column);
    g->pack(packed, x->dout + offset, n, d, s->ldq, 1, g->mr);
    dm_attention_band_scores(g, s, packed, x->scratch + plan->v_scores + slot * plan->keys_size, d, rows, ds,
                             plan->width, t->column);
    for (size_t i = 0; i < n; i++) {
        const size_t low = dm_attention_sequence_low(s, rows.begin + i), seen = rows.begin + i + 1 - low;
        const size_t from = i * plan->width + (low - t->column);
        k->softmax(p + from, seen, scale);
        k->softmax_backward(ds + from, p + from, seen, scale);
    }
    dm_attention_band_sums(g, s, x->e->pack_a[part], ds, plan->width, t->column,
                           x->scratch + plan->k_sums + slot * plan->sums_size, d, rows, x->dq + offset, s->ldq);
    pack_rows(x, s, t->q, a->q + offset, at, n);
    pack_rows(x, s, t->dout, x->dout + offset, at, n);
}

/* The same in columns, for the rows of one panel. */
static void query_panel(const backward_task *x, const dm_attention_sequence *s, unsigned part, size_t slot, size_t head,
                        const strip *t, dm_range rows)
{
    const dm_attention *a = x->a;
    const dm_kernels *k = &x->e->k;
    const dm_attention_plan *plan = &x->plan;
    const dm_gemm_kernel *g = &k->gemm;
    float *packed = x->scratch + plan->own + part * plan->own_size;
    const size_t n = rows.end - rows.begin, at = rows.begin - t->rows.begin, d = a->head_dim;
    const size_t offset = (dm_attention_sequence_row(s, rows.begin) - s->q_base) * s->ldq + head * d;
    float *p = t->p + at * plan->width, *ds = t->ds + at * plan->width;
    const float scale = dm_attention_scale(a);

    g->pack(packed, a->q + offset, n, d, s->ldq, 1, g->nr);
    dm_attention_panel_scores(g, packed, x->scratch + plan->k_scores + slot * plan->keys_size, d, rows, p);
    dm_attention_panel_softmax(k, rows, p, scale);
    g->pack(packed, x->dout + offset, n, d, s->ldq, 1, g->nr);
    dm_attention_panel_scores(g, packed, x->scratch + plan->v_scores + slot * plan->keys_size, d, rows, ds);
    dm_attention_panel_softmax_backward(k, rows, ds, p, scale);
    dm_attention_panel_sums(k, s, ds, x->scratch + plan->k_sums + slot * plan->sums_size, d, rows,
                            packed + plan->own_sums, x->dq + offset, s->ldq);
    pack_rows(x, s, t->q, a->q + offset, at, n);
    pack_rows(x, s, t->dout, x->dout + offset, at, n);
}

/* key_tile of a strip in columns. */
static void key_tile_of_panels(const backward_task *x, const dm_attention_sequence *s, const strip *t,
                               const float *weights, const float *rows, size_t j, size_t m, float *dst)
{
    const dm_kernels *k = &x->e->k;
    const size_t nr = k->gemm.nr, d = x->a->head_dim;

    for (size_t c = 0; c < d; c += nr)
        k->rows(m, dm_min(nr, d - c), t->rows.end - t->rows.begin, weights + j * nr, nr * x->plan.width,
                rows + c * x->plan.strip, dst + c, s->ldk, (ptrdiff_t)j - (ptrdiff_t)t->rows.begin);
}

/* dst[j] += sum over the strip's rows that see key j, ascending, of weights[p][j] * rows[p], for a tile of m keys. */
static void key_tile(const backward_task *x, const dm_attention_sequence *s, float *pack, const strip *t,
                     const float *weights, const float *rows, size_t j, size_t m, float *dst)
{
    const dm_gemm_kernel *g = &x->e->k.gemm;
    const size_t width = x->plan.width, d = x->a->head_dim;
    const size_t t0 = dm_max(t->rows.begin, j), t1 = dm_min(t->rows.end, j + m - 1 + s->window);

    if (t0 >= t1)
        return;
    g->pack(pack, weights + (t0 - t->rows.begin) * width + (j - t->column), m, t1 - t0, 1, width, g->mr);
    for (size_t c = 0; c < d; c += g->nr)
        dm_attention_band_tile(g, m, dm_min(g->nr, d - c), (ptrdiff_t)j, (ptrdiff_t)(j + s->window - 1), t0, t1, pack,
                               rows + c * x->plan.strip + (t0 - t->rows.begin) * g->nr, dst + c, s->ldk);
}

/* Keys [j, end) of one kv head: continues their chains of dk and dv over the rows of this strip. */
static void key_rows(const backward_task *x, const dm_attention_sequence *s, unsigned part, size_t kv, const strip *t,
                     size_t j, size_t end)
{
    const size_t mr = x->e->k.gemm.mr;
    float *pack = x->e->pack_a[part];

    while (j < end) {
        const size_t m = dm_min(mr, (j < s->prefix ? dm_min(s->prefix, end) : end) - j);
        const size_t at = dm_attention_sequence_row(s, j) * s->ldk + kv * x->a->head_dim;
        if (dm_attention_sequence_is_open(s)) {
            key_tile_of_panels(x, s, t, t->ds, t->q, j, m, x->dk + at);
            key_tile_of_panels(x, s, t, t->p, t->dout, j, m, x->dv + at);
        } else {
            key_tile(x, s, pack, t, t->ds, t->q, j, m, x->dk + at);
            key_tile(x, s, pack, t, t->p, t->dout, j, m, x->dv + at);
        }
        j += m;
    }
}

/* One strip of query rows for the head number `member` of each group in the batch. */
static void backward_strip(const backward_task *x, const dm_attention_sequence *s, unsigned part, unsigned parts,
                           size_t kv, size_t batch, size_t member, dm_range rows)
{
    const dm_attention *a = x->a;
    const dm_attention_plan *plan = &x->plan;
    const int open = dm_attention_sequence_is_open(s);
    const size_t group = a->heads / a->kv_heads, low = dm_attention_sequence_low(s, rows.begin);
    const size_t unit = open ? x->e->k.gemm.nr : plan->unit, units = (rows.end - rows.begin + unit - 1) / unit;
    const size_t blocks = (rows.end - low + plan->block - 1) / plan->block;

    for (size_t u = part; u < units * batch; u += parts) {
        const size_t slot = u % batch, begin = rows.begin + u / batch * unit, head = (kv + slot) * group + member;
        const dm_range some = {begin, dm_min(begin + unit, rows.end)};
        const strip t = strip_of(x, s, slot, rows);
        if (open)
            query_panel(x, s, part, slot, head, &t, some);
        else
            query_rows(x, s, part, slot, head, &t, some);
    }
    dm_pool_barrier(x->e->pool);
    for (size_t u = part; u < blocks * batch; u += parts) {
        const size_t slot = u % batch, begin = low + u / batch * plan->block;
        const strip t = strip_of(x, s, slot, rows);
        key_rows(x, s, part, kv + slot, &t, begin, dm_min(begin + plan->block, rows.end));
    }
    dm_pool_barrier(x->e->pool);
}

static void backward_segment(const backward_task *x, const dm_attention_sequence *s, unsigned part, unsigned parts)
{
    const dm_attention *a = x->a;
    const dm_attention_plan *plan = &x->plan;
    const dm_gemm_kernel *g = &x->e->k.gemm;
    const size_t width = dm_attention_sequence_is_open(s) ? g->mr : g->nr;
    const dm_range keys = dm_attention_sequence_share(s, width, part, parts);

    for (size_t kv = 0; kv < a->kv_heads; kv += plan->batch) {
        const size_t batch = dm_min(plan->batch, a->kv_heads - kv);
        for (size_t slot = 0; slot < batch; slot++) {
            const float *k = a->k + (kv + slot) * a->head_dim, *v = a->v + (kv + slot) * a->head_dim;
            dm_attention_pack_scores(g, s, x->scratch + plan->k_scores + slot * plan->keys_size, k, a->head_dim, keys,
                                     width);
            dm_attention_pack_scores(g, s, x->scratch + plan->v_scores + slot * plan->keys_size, v, a->head_dim, keys,
                                     width);
            dm_attention_pack_sums(g, s, x->scratch + plan->k_sums + slot * plan->sums_size, k, a->head_dim, keys,
                                   width);
        }
        dm_pool_barrier(x->e->pool);
        for (size_t member = 0; member < a->heads / a->kv_heads; member++)
            for (size_t p = s->first; p < s->length; p += plan->strip)
                backward_strip(x, s, part, parts, kv, batch, member, (dm_range){p, dm_min(p + plan->strip, s->length)});
    }
}

/* Chains of dk and dv resume from memory, so they start at +0 there; rows without a query have no dq. */
static void clear(const backward_task *x, const dm_attention_segment *s, unsigned part, unsigned parts)
{
    const dm_attention *a = x->a;
    const size_t ldk = a->kv_heads * a->head_dim, ldq = a->heads * a->head_dim;
    const dm_range rows = dm_range_split(s->end - s->begin, 1, part, parts);
    const size_t idle = dm_max(s->begin, a->q_base);

    memset(x->dk + (s->begin + rows.begin) * ldk, 0, (rows.end - rows.begin) * ldk * sizeof(float));
    memset(x->dv + (s->begin + rows.begin) * ldk, 0, (rows.end - rows.begin) * ldk * sizeof(float));
    if (part == 0 && idle < s->first)
        memset(x->dq + (idle - a->q_base) * ldq, 0, (s->first - idle) * ldq * sizeof(float));
}

static void backward(void *ctx, unsigned part, unsigned parts)
{
    const backward_task *x = ctx;

    for (size_t i = 0; i < x->a->n_segments; i++)
        clear(x, &x->a->segments[i], part, parts);
    for (size_t i = 0; i < x->a->n_segments; i++) {
        const dm_attention_sequence s = dm_attention_sequence_of(x->a, i);
        if (s.first < s.length)
            backward_segment(x, &s, part, parts);
    }
}

void dm_attention_backward(const dm_engine *e, const dm_attention *a, const float *dout, float *dq, float *dk,
                           float *dv, float *scratch)
{
    backward_task x = {.e = e, .a = a, .dout = dout, .dq = dq, .dk = dk, .dv = dv, .scratch = scratch};

    x.plan = dm_attention_layout(e, a->heads, a->kv_heads, a->head_dim, dm_attention_longest(a), 1);
    dm_pool_run_sized(e->pool, SIZE_MAX, backward, &x);
}
