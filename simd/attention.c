#include "simd/attention.h"

#include "simd/attention_internal.h"
#include "simd/gemm.h"

#define FEW_ROWS 4u /* up to here each query row reads the keys where they are instead of packing them all */

/* ---- scratch ---- */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Sizes that no machine has stay that large, so that a 32-bit plan for long sequences fails instead of wrapping. */
#define NO_ROOM (SIZE_MAX / 2)

static size_t times(size_t a, size_t b)
{
    return b && a > NO_ROOM / b ? NO_ROOM : a * b;
}

static size_t place(dm_attention_plan *p, size_t count, size_t floats)
{
    const size_t at = p->total, size = times(count, floats);
    p->total = at < NO_ROOM - size ? at + size : NO_ROOM;
    return at;
}

/* Blocks of 28 rows and more keep a panel of keys busy for two tiles and more; a strip is four of them, or more when
 * there are fewer heads in flight than threads to feed. Every field grows with `longest`, so a plan for the longest
 * fits. */
dm_attention_plan dm_attention_layout(const dm_engine *e, size_t heads, size_t kv_heads, size_t head_dim,
                                      size_t longest, bool backward)
{
    const dm_gemm_kernel *g = &e->k.gemm;
    dm_attention_plan p = {.unit = round_up(28, g->nr), .batch = dm_min(kv_heads, dm_max(4, e->threads))};
    const size_t feed = (4 * e->threads + p.batch - 1) / p.batch;

    p.block = 2 * p.unit;
    p.strip = dm_min(dm_max(4, dm_min(feed, g->kc / p.unit)) * p.unit, round_up(longest, p.unit));
    p.width = round_up(longest, g->nr) + 16; /* 16: rows a power of two apart would share cache sets */
    p.width = round_up(p.width, 16);
    p.keys_size = times(dm_max(round_up(longest, g->nr), round_up(longest, g->mr)), head_dim);
    p.sums_size = times(longest, dm_max(round_up(head_dim, g->nr), round_up(head_dim, g->mr)));
    p.keys_size = round_up(p.keys_size, 16);
    p.sums_size = round_up(p.sums_size, 16);
    p.strip_size = times(p.strip, p.width);
    p.rows_size = round_up(p.strip * round_up(head_dim, g->nr), 16);
    p.own_sums = round_up(dm_max(round_up(p.block, g->mr), g->nr) * head_dim, 16);
    p.own_scores = p.own_sums + round_up(round_up(head_dim, g->mr) * g->nr, 16);

    p.k_scores = place(&p, p.batch, p.keys_size);
    if (backward) {
        p.v_scores = place(&p, p.batch, p.keys_size);
        p.k_sums = place(&p, p.batch, p.sums_size);
        p.p = place(&p, p.batch, p.strip_size);
        p.ds = place(&p, p.batch, p.strip_size);
        p.q_rows = place(&p, p.batch, p.rows_size);
        p.dout_rows = place(&p, p.batch, p.rows_size);
        p.own_size = p.own_scores;
    } else {
        p.v_sums = place(&p, p.batch, p.sums_size);
        p.own_size = p.own_scores + times(dm_max(p.block, heads / kv_heads), p.width);
    }
    p.own = place(&p, e->threads, p.own_size);
    p.total = dm_max(p.total, times(heads, p.width)); /* a few rows of one sequence: the scores of one row */
    return p;
}

size_t dm_attention_scratch(const dm_engine *e, size_t heads, size_t kv_heads, size_t head_dim, size_t longest,
                            size_t rows, bool backward)
{
    const size_t forward = dm_attention_layout(e, heads, kv_heads, head_dim, dm_min(longest, rows), 0).total;
    if (!backward)
        return forward;
    return dm_max(forward, dm_attention_layout(e, heads, kv_heads, head_dim, dm_min(longest, rows), 1).total);
}

/* ---- forward ---- */

typedef struct forward_task {
    const dm_engine *e;
    const dm_attention *a;
    float *out, *scratch;
    dm_attention_plan plan;
} forward_task;

/* One head, one block of query rows: scores, softmax, weighted sum of the values. */
static void forward_block(const forward_task *x, const dm_attention_sequence *s, unsigned part, size_t slot,
                          size_t head, dm_range rows)
{
    const dm_attention *a = x->a;
    const dm_kernels *k = &x->e->k;
    const dm_gemm_kernel *g = &k->gemm;
    const dm_attention_plan *plan = &x->plan;
    float *q = x->scratch + plan->own + part * plan->own_size, *strip = q + plan->own_scores;
    const size_t column = dm_attention_sequence_low(s, rows.begin) / g->nr * g->nr;
    const size_t at = (dm_attention_sequence_row(s, rows.begin) - s->q_base) * s->ldq + head * a->head_dim;
    const float scale = dm_attention_scale(a);

    g->pack(q, a->q + at, rows.end - rows.begin, a->head_dim, s->ldq, 1, g->mr);
    dm_attention_band_scores(g, s, q, x->scratch + plan->k_scores + slot * plan->keys_size, a->head_dim, rows, strip,
                             plan->width, column);
    for (size_t p = rows.begin; p < rows.end; p++) {
        const size_t low = dm_attention_sequence_low(s, p);
        k->softmax(strip + (p - rows.begin) * plan->width + (low - column), p + 1 - low, scale);
    }
    dm_attention_band_sums(g, s, x->e->pack_a[part], strip, plan->width, column,
                           x->scratch + plan->v_sums + slot * plan->sums_size, a->head_dim, rows, x->out + at, s->ldq);
}

/* The same in columns. */
static void forward_panel(const forward_task *x, const dm_attention_sequence *s, unsigned part, size_t slot,
                          size_t head, dm_range rows)
{
    const dm_attention *a = x->a;
    const dm_kernels *k = &x->e->k;
    const dm_attention_plan *plan = &x->plan;
    float *q = x->scratch + plan->own + part * plan->own_size, *panel = q + plan->own_scores;
    const size_t at = (dm_attention_sequence_row(s, rows.begin) - s->q_base) * s->ldq + head * a->head_dim;

    k->gemm.pack(q, a->q + at, rows.end - rows.begin, a->head_dim, s->ldq, 1, k->gemm.nr);
    dm_attention_panel_scores(&k->gemm, q, x->scratch + plan->k_scores + slot * plan->keys_size, a->head_dim, rows,
                              panel);
    dm_attention_panel_softmax(k, rows, panel, dm_attention_scale(a));
    dm_attention_panel_sums(k, s, panel, x->scratch + plan->v_sums + slot * plan->sums_size, a->head_dim, rows,
                            q + plan->own_sums, x->out + at, s->ldq);
}

/* Units are dealt out from the last rows, which see the most keys, to the first. */
static void forward_blocks(const forward_task *x, const dm_attention_sequence *s, unsigned part, unsigned parts)
{
    const dm_attention *a = x->a;
    const dm_attention_plan *plan = &x->plan;
    const dm_gemm_kernel *g = &x->e->k.gemm;
    const size_t group = a->heads / a->kv_heads;
    const int open = dm_attention_sequence_is_open(s);
    const size_t width = open ? g->mr : g->nr, unit = open ? g->nr : plan->block;
    const dm_range keys = dm_attention_sequence_share(s, width, part, parts);
    const size_t blocks = (s->length - s->first + unit - 1) / unit;

    for (size_t kv = 0; kv < a->kv_heads; kv += plan->batch) {
        const size_t batch = dm_min(plan->batch, a->kv_heads - kv);
        for (size_t slot = 0; slot < batch; slot++) {
            const size_t at = (kv + slot) * a->head_dim;
            dm_attention_pack_scores(g, s, x->scratch + plan->k_scores + slot * plan->keys_size, a->k + at, a->head_dim,
                                     keys, width);
            dm_attention_pack_sums(g, s, x->scratch + plan->v_sums + slot * plan->sums_size, a->v + at, a->head_dim,
                                   keys, width);
        }
        dm_pool_barrier(x->e->pool);
        for (size_t u = part; u < blocks * batch * group; u += parts) {
            const size_t block = blocks - 1 - u / (batch * group), slot = u % (batch * group) / group;
            const size_t begin = s->first + block * unit, head = (kv + slot) * group + u % group;
            const dm_range rows = {begin, dm_min(begin + unit, s->length)};
            if (open)
                forward_panel(x, s, part, slot, head, rows);
            else
                forward_block(x, s, part, slot, head, rows);
        }
        dm_pool_barrier(x->e->pool);
    }
}

/* Scores of one query row for the keys in r: the heads of a group share the keys, so they are the rows of one product.
 * r may begin in the prefix and end in the own rows. strip: the group's rows of scores, column 0 is key `low`. */
static void row_scores(const forward_task *x, const dm_attention_sequence *s, float *pack, size_t p, size_t low,
                       size_t kv, dm_range r, float *strip)
{
    const dm_attention *a = x->a;
    const size_t group = a->heads / a->kv_heads, d = a->head_dim;
    const float *q = a->q + (dm_attention_sequence_row(s, p) - s->q_base) * s->ldq;

    for (size_t j = r.begin; j < r.end;) {
        const size_t end = j < s->prefix ? dm_min(r.end, s->prefix) : r.end;
        const float *k = a->k + dm_attention_sequence_row(s, j) * s->ldk;
        dm_gemm_local(&x->e->k, pack, group, end - j, d, (dm_gemm_operand){q + kv * group * d, d, 1},
                      (dm_gemm_operand){k + kv * d, 1, s->ldk}, strip + (j - low), x->plan.width, DM_GEMM_SET);
        j = end;
    }
}

/* Columns [c, c + n) of the outputs of the query heads of `heads` kv heads from `kv` on. */
static void row_sums(const forward_task *x, const dm_attention_sequence *s, size_t p, size_t low, size_t kv,
                     size_t heads, size_t c, size_t n, const float *strip)
{
    const dm_attention *a = x->a;
    const size_t group = a->heads / a->kv_heads, d = a->head_dim;
    float *out = x->out + (dm_attention_sequence_row(s, p) - s->q_base) * s->ldq + kv * group * d + c;

    for (size_t j = low; j <= p;) {
        const size_t end = j < s->prefix ? dm_min(p + 1, s->prefix) : p + 1;
        x->e->k.weigh(out, strip + (j - low), x->plan.width,
                      a->v + dm_attention_sequence_row(s, j) * s->ldk + kv * d + c, s->ldk, end - j, heads, group, d, n,
                      j == low);
        j = end;
    }
}

/* A few rows against a long past (generation of one sequence): split over keys, then heads, then columns, so that two
 * threads are busy with three kv heads too. */
static void forward_few(const forward_task *x, const dm_attention_sequence *s, unsigned part, unsigned parts)
{
    const dm_attention *a = x->a;
    const dm_gemm_kernel *g = &x->e->k.gemm;
    float *pack = x->e->pack_a[part];
    const size_t panels = (a->head_dim + g->nr - 1) / g->nr, group = a->heads / a->kv_heads * x->plan.width;
    const float scale = dm_attention_scale(a);

    for (size_t p = s->first; p < s->length; p++) {
        const size_t low = dm_attention_sequence_low(s, p);
        const dm_range keys = dm_range_split(p + 1 - low, g->nr, part, parts);
        const dm_range heads = dm_range_split(a->heads, 1, part, parts);

        for (size_t kv = 0; kv < a->kv_heads; kv++)
            row_scores(x, s, pack, p, low, kv, (dm_range){low + keys.begin, low + keys.end}, x->scratch + kv * group);
        dm_pool_barrier(x->e->pool);
        for (size_t h = heads.begin; h < heads.end; h++)
            x->e->k.softmax(x->scratch + h * x->plan.width, p + 1 - low, scale);
        dm_pool_barrier(x->e->pool);
        for (size_t u = part; u < a->kv_heads * panels; u += parts) {
            const size_t kv = u / panels, c = u % panels * g->nr;
            row_sums(x, s, p, low, kv, 1, c, dm_min(g->nr, a->head_dim - c), x->scratch + kv * group);
        }
        dm_pool_barrier(x->e->pool);
    }
}

static int is_few(const dm_attention_sequence *s)
{
    return s->length - s->first <= FEW_ROWS;
}

/* Sequences with a few rows each (generation of many): a row of some kv heads is one thread's from scores to sums.
 * Takes as many heads as leave work for every thread: their values lie side by side. */
static void forward_many(const forward_task *x, size_t rows, unsigned part, unsigned parts)
{
    const dm_attention *a = x->a;
    const size_t group = a->heads / a->kv_heads, width = x->plan.width;
    const size_t batch =
        dm_max(1, dm_min(dm_min(a->kv_heads, x->plan.block / group), a->kv_heads * rows / (2 * parts)));
    float *pack = x->e->pack_a[part], *strip = x->scratch + x->plan.own + part * x->plan.own_size;
    const float scale = dm_attention_scale(a);
    size_t unit = 0;

    for (size_t i = 0; i < a->n_segments; i++) {
        const dm_attention_sequence s = dm_attention_sequence_of(a, i);
        for (size_t p = s.first; is_few(&s) && p < s.length; p++)
            for (size_t kv = 0; kv < a->kv_heads; kv += batch) {
                const size_t low = dm_attention_sequence_low(&s, p), heads = dm_min(batch, a->kv_heads - kv);
                if (unit++ % parts != part)
                    continue;
                for (size_t h = 0; h < heads; h++)
                    row_scores(x, &s, pack, p, low, kv + h, (dm_range){low, p + 1}, strip + h * group * width);
                for (size_t h = 0; h < heads * group; h++)
                    x->e->k.softmax(strip + h * width, p + 1 - low, scale);
                row_sums(x, &s, p, low, kv, heads, 0, a->head_dim, strip);
            }
    }
}

static void forward(void *ctx, unsigned part, unsigned parts)
{
    const forward_task *x = ctx;
    size_t rows = 0;

    for (size_t i = 0; i < x->a->n_segments; i++) {
        const dm_attention_sequence s = dm_attention_sequence_of(x->a, i);
        rows += is_few(&s) ? s.length - s.first : 0;
    }
    const int many = parts == 1 || rows * x->a->kv_heads >= 2 * parts;
    if (many && rows > 0) {
        forward_many(x, rows, part, parts);
        dm_pool_barrier(x->e->pool); /* the strips lie where others pack */
    }
    for (size_t i = 0; i < x->a->n_segments; i++) {
        const dm_attention_sequence s = dm_attention_sequence_of(x->a, i);
        if (!is_few(&s))
            forward_blocks(x, &s, part, parts);
        else if (!many)
            forward_few(x, &s, part, parts);
    }
}

/* Multiply-adds, as if every query saw all keys. */
static size_t work_of(const dm_attention *a)
{
    size_t work = 0;
    for (size_t i = 0; i < a->n_segments; i++) {
        const dm_attention_sequence s = dm_attention_sequence_of(a, i);
        work += (s.length - s.first) * s.length * 2 * a->heads * a->head_dim;
    }
    return work;
}

void dm_attention_forward(const dm_engine *e, const dm_attention *a, float *out, float *scratch)
{
    forward_task x = {.e = e, .a = a, .out = out, .scratch = scratch};

    x.plan = dm_attention_layout(e, a->heads, a->kv_heads, a->head_dim, dm_attention_longest(a), 0);
    dm_pool_run_sized(e->pool, work_of(a), forward, &x);
}
