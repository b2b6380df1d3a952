/* Checks and times attention against simd/attention.h: every chain of the header as a plain loop over one row. Random
 * trees, windows and shapes; thread counts and long sequences are test_attention's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/numeric.h"
#include "simd/attention.h"
#include "tests/checkasm/checkasm.h"

#define ROWS 75    /* most packed rows */
#define PROBLEMS 5 /* for each fill and place */

/* A level's engine, opened when it is first needed. */
static dm_engine engine[DM_ISA_COUNT];

static void close_engines(void)
{
    for (int i = 0; i < DM_ISA_COUNT; i++)
        dm_engine_close(&engine[i]);
}

static const dm_engine *engine_of(const dm_kernels *k)
{
    static bool registered;
    dm_error err;

    if (!registered)
        atexit(close_engines);
    registered = true;
    if (engine[k->isa].threads == 0 && dm_engine_open(&engine[k->isa], k->isa, 1, &err) != DM_OK) {
        fprintf(stderr, "checkasm: %s\n", err.message);
        exit(1);
    }
    return &engine[k->isa];
}

/* ---- the header's formulas ---- */

static float chain(const float *x, const float *y, size_t n)
{
    float acc = 0.0f;

    for (size_t i = 0; i < n; i++)
        acc = fmaf(x[i], y[i], acc);
    return acc;
}

/* What one head's query row sees: keys of the logical positions low .. low + n - 1. */
typedef struct view {
    const dm_attention_segment *s;
    size_t low, n, q, column, ldk; /* q: offset of the row in q; column: of the kv head in a row of k */
} view;

static view view_of(const dm_attention *a, const dm_attention_segment *s, size_t row, size_t head)
{
    const size_t position = s->prefix + (row - s->begin), d = a->head_dim;
    const size_t low = a->window && position >= a->window ? position - a->window + 1 : 0;

    return (view){.s = s,
                  .low = low,
                  .n = position + 1 - low,
                  .q = (row * a->heads + head) * d,
                  .column = head / (a->heads / a->kv_heads) * d,
                  .ldk = a->kv_heads * d};
}

static size_t key(const view *v, size_t j)
{
    const size_t position = v->low + j, prefix = v->s->prefix;

    return (position < prefix ? position : v->s->begin + (position - prefix)) * v->ldk + v->column;
}

static void probabilities(const dm_kernels *k, const dm_attention *a, const view *v, float *p)
{
    for (size_t j = 0; j < v->n; j++)
        p[j] = chain(a->q + v->q, a->k + key(v, j), a->head_dim);
    k->softmax(p, v->n, (float)(1 / sqrt((double)a->head_dim)));
}

static void forward_row(const dm_kernels *k, const dm_attention *a, const view *v, float *out)
{
    float p[ROWS];

    probabilities(k, a, v, p);
    for (size_t c = 0; c < a->head_dim; c++) {
        float acc = 0.0f;
        for (size_t j = 0; j < v->n; j++)
            acc = fmaf(p[j], a->v[key(v, j) + c], acc);
        out[v->q + c] = acc;
    }
}

static void backward_row(const dm_kernels *k, const dm_attention *a, const view *v, const float *dout, float *dq,
                         float *dk, float *dv)
{
    const float *q = a->q + v->q, *dy = dout + v->q;
    float p[ROWS], ds[ROWS];

    probabilities(k, a, v, p);
    for (size_t j = 0; j < v->n; j++)
        ds[j] = chain(dy, a->v + key(v, j), a->head_dim);
    k->softmax_backward(ds, p, v->n, (float)(1 / sqrt((double)a->head_dim)));
    for (size_t c = 0; c < a->head_dim; c++) {
        float acc = 0.0f;
        for (size_t j = 0; j < v->n; j++) {
            const size_t at = key(v, j) + c;
            acc = fmaf(ds[j], a->k[at], acc);
            dk[at] = fmaf(ds[j], q[c], dk[at]);
            dv[at] = fmaf(p[j], dy[c], dv[at]);
        }
        dq[v->q + c] = acc;
    }
}

/* Forward into out, or, with dout, backward into the other three. */
typedef struct result {
    float *out, *dq, *dk, *dv;
    const float *dout;
} result;

static void reference(const dm_kernels *k, const dm_attention *a, const result *r)
{
    for (size_t i = 0; i < a->n_segments; i++)
        for (size_t h = 0; h < a->heads; h++)
            for (size_t row = a->segments[i].first; row < a->segments[i].end; row++) {
                const view v = view_of(a, &a->segments[i], row, h);
                if (r->dout)
                    backward_row(k, a, &v, r->dout, r->dq, r->dk, r->dv);
                else
                    forward_row(k, a, &v, r->out);
            }
}

/* ---- random cases ---- */

typedef struct problem {
    dm_attention a;
    dm_attention_segment segments[3];
    size_t rows, q_floats, k_floats;
} problem;

/* One trajectory, perhaps without its first queries, or two branches after a common prefix. */
static void random_problem(ck *c, problem *x)
{
    static const size_t shapes[][3] = {{1, 1, 1}, {1, 1, 7}, {2, 1, 5}, {4, 2, 16}, {3, 3, 12}, {6, 2, 34}, {2, 2, 39}};
    const size_t *shape = shapes[ck_below(c, sizeof shapes / sizeof *shapes)];
    const size_t first = 1 + ck_below(c, 40), own[2] = {1 + ck_below(c, 20), 1 + ck_below(c, 15)};

    *x = (problem){.a = {.heads = shape[0], .kv_heads = shape[1], .head_dim = shape[2]}};
    if (ck_below(c, 2))
        x->a.window = 1 + ck_below(c, 50);
    x->segments[0] = (dm_attention_segment){0, first, 0, ck_below(c, 2) ? ck_below(c, first + 1) : 0};
    x->segments[1] = (dm_attention_segment){first, first + own[0], first, first};
    x->segments[2] = (dm_attention_segment){first + own[0], first + own[0] + own[1], first, first + own[0]};
    x->a.n_segments = ck_below(c, 2) ? 3 : 1;
    x->rows = x->segments[x->a.n_segments - 1].end;
    x->q_floats = x->rows * x->a.heads * x->a.head_dim;
    x->k_floats = x->rows * x->a.kv_heads * x->a.head_dim;
    x->a.q = ck_in(c, x->q_floats);
    x->a.k = ck_in(c, x->k_floats);
    x->a.v = ck_in(c, x->k_floats);
}

static float *scratch_of(ck *c, const dm_engine *e, const problem *x, int backward)
{
    const dm_attention *a = &x->a;
    const size_t n = dm_attention_scratch(e, a->heads, a->kv_heads, a->head_dim, x->rows, x->rows, backward);
    float *scratch = ck_aligned(c, n);

    memset(scratch, 0xff, n * sizeof *scratch);
    return scratch;
}

static void report(ck *c, const problem *x, unsigned long before)
{
    if (c->differences != before)
        ck_differ(c, "heads %zu/%zu x %zu, window %zu, %zu rows, first %zu, %zu segments", x->a.heads, x->a.kv_heads,
                  x->a.head_dim, x->a.window, x->rows, x->segments[0].first, x->a.n_segments);
}

static void check_forward(ck *c, const dm_kernels *ref, const dm_engine *e)
{
    const unsigned long before = c->differences;
    problem x;

    random_problem(c, &x);
    x.a.segments = x.segments;
    const ck_floats out = ck_inout(c, x.q_floats);
    reference(ref, &x.a, &(result){.out = out.want});
    dm_attention_forward(e, &x.a, out.got, scratch_of(c, e, &x, 0));
    ck_same(c, "out", out, x.q_floats);
    report(c, &x, before);
}

static void check_backward(ck *c, const dm_kernels *ref, const dm_engine *e)
{
    const unsigned long before = c->differences;
    problem x;

    random_problem(c, &x);
    x.a.segments = x.segments;
    const float *dout = ck_in(c, x.q_floats);
    const ck_floats dq = ck_inout(c, x.q_floats), dk = ck_inout(c, x.k_floats), dv = ck_inout(c, x.k_floats);
    memset(dq.want, 0, x.q_floats * sizeof(float)); /* all rows of the result are defined, so all are written */
    memset(dk.want, 0, x.k_floats * sizeof(float));
    memset(dv.want, 0, x.k_floats * sizeof(float));
    reference(ref, &x.a, &(result){.dq = dq.want, .dk = dk.want, .dv = dv.want, .dout = dout});
    dm_attention_backward(e, &x.a, dout, dq.got, dk.got, dv.got, scratch_of(c, e, &x, 1));
    ck_same(c, "dq", dq, x.q_floats);
    ck_same(c, "dk", dk, x.k_floats);
    ck_same(c, "dv", dv, x.k_floats);
    report(c, &x, before);
}

static void check_attention(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    (void)n;
    for (int i = 0; i < PROBLEMS; i++, ck_release(c, 0))
        check_forward(c, ref, engine_of(k));
}

static void check_attention_backward(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    (void)n;
    for (int i = 0; i < PROBLEMS; i++, ck_release(c, 0))
        check_backward(c, ref, engine_of(k));
}

/* ---- times: 128 tokens, 4 heads on 2 of 32 ---- */

enum { T = 128, HEADS = 4, KV_HEADS = 2, DIM = 32, SCRATCH = 1 << 17 };

static float bench_q[T * HEADS * DIM], bench_k[T * KV_HEADS * DIM], bench_v[T * KV_HEADS * DIM];
static float bench_y[T * HEADS * DIM], bench_dk[T * KV_HEADS * DIM], bench_dv[T * KV_HEADS * DIM];
static _Alignas(64) float bench_scratch[SCRATCH];
static const dm_attention_segment bench_segment = {0, T, 0, 0};

static dm_attention bench_problem(const dm_engine *e)
{
    if (dm_attention_scratch(e, HEADS, KV_HEADS, DIM, T, T, 1) > SCRATCH) {
        fprintf(stderr, "checkasm: attention needs more scratch than its bench has\n");
        exit(1);
    }
    for (size_t i = 0; i < sizeof bench_q / sizeof *bench_q; i++)
        bench_q[i] = (float)(i % 61) / 61.0f - 0.5f;
    for (size_t i = 0; i < sizeof bench_k / sizeof *bench_k; i++) {
        bench_k[i] = (float)(i % 53) / 53.0f - 0.5f;
        bench_v[i] = (float)(i % 47) / 47.0f - 0.5f;
    }
    return (dm_attention){.heads = HEADS,
                          .kv_heads = KV_HEADS,
                          .head_dim = DIM,
                          .segments = &bench_segment,
                          .n_segments = 1,
                          .q = bench_q,
                          .k = bench_k,
                          .v = bench_v};
}

static size_t bench_attention(const dm_kernels *k, ck_bench *b)
{
    const dm_engine *e = engine_of(k);
    const dm_attention a = bench_problem(e);

    (void)b;
    dm_attention_forward(e, &a, bench_y, bench_scratch);
    return (size_t)2 * HEADS * DIM * (T * (T + 1) / 2); /* two products over the lower triangle */
}

static size_t bench_attention_backward(const dm_kernels *k, ck_bench *b)
{
    const dm_engine *e = engine_of(k);
    const dm_attention a = bench_problem(e);

    (void)b;
    dm_attention_backward(e, &a, bench_q, bench_y, bench_dk, bench_dv, bench_scratch);
    return (size_t)5 * HEADS * DIM * (T * (T + 1) / 2); /* scores again, dP, dQ, dK, dV */
}

const ck_kernel ck_attention_kernels[] = {
    {"attention", check_attention, bench_attention, true},
    {"attention_backward", check_attention_backward, bench_attention_backward, true},
    {0},
};
