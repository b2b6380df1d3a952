/* Attention against the header's formulas written down row by row: bit for bit on every level and thread count; against
 * f64 and its finite differences; and trees, caches and single trajectories against each other. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "simd/attention.h"
#include "simd/engine.h"
#include "tests/support/check.h"
#include "tests/support/engines.h"

static engines all;
static dm_kernels scalar;

#define SEGMENTS 4

typedef struct sample {
    dm_attention a;
    dm_attention_segment segments[SEGMENTS];
    size_t rows, queries; /* packed rows; rows of q */
    guarded q, k, v, dout, out, dq, dk, dv;
    float *want, *want_dq, *want_dk, *want_dv;
} sample;

static size_t q_floats(const sample *s)
{
    return s->queries * s->a.heads * s->a.head_dim;
}

static size_t k_floats(const sample *s)
{
    return s->rows * s->a.kv_heads * s->a.head_dim;
}

static float *floats(size_t n)
{
    return ck_alloc((n + 1) * sizeof(float));
}

static sample sample_open(size_t heads, size_t kv_heads, size_t head_dim, size_t window,
                          const dm_attention_segment *segments, size_t n, size_t q_base, int fill)
{
    sample s = {.a = {.heads = heads,
                      .kv_heads = kv_heads,
                      .head_dim = head_dim,
                      .window = window,
                      .n_segments = n,
                      .q_base = q_base}};

    memcpy(s.segments, segments, n * sizeof *segments);
    s.rows = segments[n - 1].end;
    s.queries = s.rows - q_base;
    s.q = guarded_open(q_floats(&s));
    s.dout = guarded_open(q_floats(&s));
    s.out = guarded_open(q_floats(&s));
    s.dq = guarded_open(q_floats(&s));
    s.k = guarded_open(k_floats(&s));
    s.v = guarded_open(k_floats(&s));
    s.dk = guarded_open(k_floats(&s));
    s.dv = guarded_open(k_floats(&s));
    s.want = floats(q_floats(&s));
    s.want_dq = floats(q_floats(&s));
    s.want_dk = floats(k_floats(&s));
    s.want_dv = floats(k_floats(&s));
    test_fill(s.q.data, q_floats(&s), fill == 1 ? 0 : fill);
    test_fill(s.k.data, k_floats(&s), fill == 1 ? 0 : fill);
    test_fill(s.v.data, k_floats(&s), fill);
    test_fill(s.dout.data, q_floats(&s), fill == 2 ? 3 : fill);
    s.a.q = s.q.data;
    s.a.k = s.k.data;
    s.a.v = s.v.data;
    return s;
}

static void sample_close(sample *s)
{
    guarded *g[] = {&s->q, &s->k, &s->v, &s->dout, &s->out, &s->dq, &s->dk, &s->dv};
    for (size_t i = 0; i < sizeof g / sizeof *g; i++)
        guarded_close(g[i]);
    free(s->want);
    free(s->want_dq);
    free(s->want_dk);
    free(s->want_dv);
}

/* ---- the reference ---- */

static size_t row_of(const dm_attention_segment *s, size_t position)
{
    return position < s->prefix ? position : s->begin + position - s->prefix;
}

static float chain(const float *x, const float *y, size_t n)
{
    float acc = 0.0f;
    for (size_t i = 0; i < n; i++)
        acc = fmaf(x[i], y[i], acc);
    return acc;
}

/* One query row of one head; backward when there is a dout. p and ds hold a row of scores. */
static void reference_row(sample *x, const dm_attention_segment *s, size_t row, size_t h, int backward, float *p,
                          float *ds)
{
    const dm_attention *a = &x->a;
    const size_t d = a->head_dim, ldk = a->kv_heads * d, kv = h / (a->heads / a->kv_heads) * d;
    const size_t position = s->prefix + (row - s->begin);
    const size_t low = a->window && position >= a->window ? position - a->window + 1 : 0, n = position + 1 - low;
    const size_t at = (row - a->q_base) * a->heads * d + h * d;
    const float scale = (float)(1 / sqrt((double)d)), *q = a->q + at, *dout = x->dout.data + at;

    for (size_t j = 0; j < n; j++)
        p[j] = chain(q, a->k + row_of(s, low + j) * ldk + kv, d);
    scalar.softmax(p, n, scale);
    if (!backward) {
        for (size_t c = 0; c < d; c++) {
            float acc = 0.0f;
            for (size_t j = 0; j < n; j++)
                acc = fmaf(p[j], a->v[row_of(s, low + j) * ldk + kv + c], acc);
            x->want[at + c] = acc;
        }
        return;
    }
    for (size_t j = 0; j < n; j++)
        ds[j] = chain(dout, a->v + row_of(s, low + j) * ldk + kv, d);
    scalar.softmax_backward(ds, p, n, scale);
    for (size_t c = 0; c < d; c++) {
        float acc = 0.0f;
        for (size_t j = 0; j < n; j++) {
            const size_t key = row_of(s, low + j) * ldk + kv + c;
            acc = fmaf(ds[j], a->k[key], acc);
            x->want_dk[key] = fmaf(ds[j], q[c], x->want_dk[key]);
            x->want_dv[key] = fmaf(p[j], dout[c], x->want_dv[key]);
        }
        x->want_dq[at + c] = acc;
    }
}

static void reference(sample *x, int backward)
{
    float *p = floats(x->rows), *ds = floats(x->rows);

    for (size_t i = 0; i < q_floats(x); i++) {
        x->want[i] = 12345.0f; /* rows without a query stay what they were */
        x->want_dq[i] = 0.0f;
    }
    memset(x->want_dk, 0, k_floats(x) * sizeof(float));
    memset(x->want_dv, 0, k_floats(x) * sizeof(float));
    for (size_t i = 0; i < x->a.n_segments; i++)
        for (size_t h = 0; h < x->a.heads; h++)
            for (size_t row = x->segments[i].first; row < x->segments[i].end; row++)
                reference_row(x, &x->segments[i], row, h, backward, p, ds);
    free(p);
    free(ds);
}

/* ---- bit for bit ---- */

static void compare(const char *what, const dm_engine *e, const sample *s, const float *got, const float *want,
                    size_t n)
{
    size_t bad = 0;
    while (bad < n && same_bits(got[bad], want[bad]))
        bad++;
    if (bad == n)
        CK(bad == n);
    else
        CK_MSG(0,
               "%s %s, %u threads, heads %zu/%zu x %zu, window %zu, %zu rows, %zu segments: element %zu is %a, not %a",
               what, dm_isa_name(e->k.isa), e->threads, s->a.heads, s->a.kv_heads, s->a.head_dim, s->a.window, s->rows,
               s->a.n_segments, bad, (double)got[bad], (double)want[bad]);
}

static void run(const dm_engine *e, sample *s, int backward)
{
    const dm_attention *a = &s->a;
    const size_t n = dm_attention_scratch(e, a->heads, a->kv_heads, a->head_dim, s->rows, s->rows, backward);
    guarded scratch = guarded_open(n);

    memset(scratch.data, 0xFF, n * sizeof(float));
    s->a.segments = s->segments;
    if (backward) {
        memset(s->dq.data, 0xFF, q_floats(s) * sizeof(float));
        memset(s->dk.data, 0xFF, k_floats(s) * sizeof(float));
        memset(s->dv.data, 0xFF, k_floats(s) * sizeof(float));
        dm_attention_backward(e, a, s->dout.data, s->dq.data, s->dk.data, s->dv.data, scratch.data);
    } else {
        for (size_t i = 0; i < q_floats(s); i++)
            s->out.data[i] = 12345.0f;
        dm_attention_forward(e, a, s->out.data, scratch.data);
    }
    guarded_close(&scratch);
}

static void check(size_t heads, size_t kv_heads, size_t head_dim, size_t window, const dm_attention_segment *segments,
                  size_t n, size_t q_base, int fill)
{
    sample s = sample_open(heads, kv_heads, head_dim, window, segments, n, q_base, fill);

    for (int backward = 0; backward < 2; backward++) {
        reference(&s, backward);
        for (size_t i = 0; i < all.n; i++) {
            const dm_engine *e = &all.e[i];
            run(e, &s, backward);
            if (backward) {
                compare("dq", e, &s, s.dq.data, s.want_dq, q_floats(&s));
                compare("dk", e, &s, s.dk.data, s.want_dk, k_floats(&s));
                compare("dv", e, &s, s.dv.data, s.want_dv, k_floats(&s));
            } else {
                compare("out", e, &s, s.out.data, s.want, q_floats(&s));
            }
        }
    }
    sample_close(&s);
}

static void check_bits(void)
{
    static const size_t shapes[][3] = {{1, 1, 4},  {2, 1, 8},  {4, 2, 12},  {9, 3, 64}, {7, 1, 16},
                                       {3, 3, 80}, {5, 5, 20}, {2, 1, 128}, {12, 6, 4}};
    static const size_t windows[] = {0, 1, 5, 13, 40, 1000};
    static const dm_attention_segment layouts[][SEGMENTS] = {
        {{0, 1, 0, 0}},
        {{0, 37, 0, 0}},
        {{0, 70, 0, 33}},
        {{0, 130, 0, 0}},
        {{0, 40, 0, 0}, {40, 75, 40, 40}, {75, 91, 40, 75}},
        {{0, 33, 0, 0}, {33, 34, 33, 33}, {34, 99, 33, 40}},
        {{0, 20, 0, 0}, {20, 50, 0, 20}},
        {{0, 30, 0, 25}, {30, 50, 17, 30}, {50, 51, 50, 50}, {51, 60, 40, 60}},
    };
    static const size_t n_segments[] = {1, 1, 1, 1, 3, 3, 2, 4};

    for (unsigned i = 0; i < 72; i++) {
        const size_t *shape = shapes[i % 9];
        const size_t layout = i / 9 % 8;
        check(shape[0], shape[1], shape[2], windows[test_random() % 6], layouts[layout], n_segments[layout], 0,
              (int)(i % TEST_FILLS));
    }
    for (size_t rows = 1; rows < 9; rows++) /* a KV cache with 61 past rows */
        for (size_t w = 0; w < 6; w += 2) {
            const dm_attention_segment s = {0, 61 + rows, 0, 61};
            check(9, 3, 16, windows[w], &s, 1, 61, 0);
        }
    const dm_attention_segment longer = {0, 600, 0, 570}; /* more keys than a K block */
    check(3, 1, 40, 0, &longer, 1, 570, 1);
    check(2, 2, 8, 300, &longer, 1, 500, 1);
}

/* Sequences that continue together, each in its own region of one cache, give what each gives alone. */
static void check_together(size_t heads, size_t kv_heads, size_t d, size_t window, const size_t *past,
                           const size_t *rows, size_t n)
{
    const size_t room = 96, all_rows = n * room;
    dm_attention_segment segments[8];
    size_t q_bases[8], queries = 0;

    for (size_t i = 0; i < n; i++) {
        const size_t first = i * room + past[i];
        segments[i] = (dm_attention_segment){i * room, first + rows[i], 0, first};
        q_bases[i] = first - queries;
        queries += rows[i];
    }
    guarded q = guarded_open(queries * heads * d), out = guarded_open(queries * heads * d);
    guarded k = guarded_open(all_rows * kv_heads * d), v = guarded_open(all_rows * kv_heads * d);
    float *want = floats(queries * heads * d);
    test_fill(q.data, queries * heads * d, 0);
    test_fill(k.data, all_rows * kv_heads * d, 0);
    test_fill(v.data, all_rows * kv_heads * d, 0);
    for (size_t e = 0; e < all.n; e++) {
        const size_t size = dm_attention_scratch(&all.e[e], heads, kv_heads, d, room, all_rows, 0);
        guarded scratch = guarded_open(size);
        dm_attention a = {heads, kv_heads, d, window, segments, n, 0, q_bases, q.data, k.data, v.data, 0};
        dm_attention_forward(&all.e[e], &a, out.data, scratch.data);
        a.q_bases = NULL;
        a.n_segments = 1;
        for (size_t i = 0, row = 0; i < n; row += rows[i++]) {
            a.segments = &segments[i];
            a.q_base = segments[i].first;
            a.q = q.data + row * heads * d;
            dm_attention_forward(&all.e[e], &a, want + row * heads * d, scratch.data);
        }
        CK_MSG(memcmp(out.data, want, queries * heads * d * sizeof *want) == 0,
               "%zu sequences together on %s with %u threads, %zu heads on %zu", n, dm_isa_name(all.e[e].k.isa),
               all.e[e].threads, heads, kv_heads);
        guarded_close(&scratch);
    }
    free(want);
    guarded_close(&q);
    guarded_close(&out);
    guarded_close(&k);
    guarded_close(&v);
}

static void check_many(void)
{
    static const size_t past[] = {0, 1, 40, 95, 63, 17, 70, 31}, one[] = {1, 1, 1, 1, 1, 1, 1, 1};
    static const size_t some[] = {1, 30, 2, 1, 4, 60, 5, 1};

    for (size_t n = 1; n <= 8; n++) {
        check_together(9, 3, 16, n % 2 * 20, past, one, n);
        check_together(4, 1, 12, 0, past, some, n);
    }
}

/* ---- f64 ---- */

typedef struct exact {
    const sample *s;
    double *q, *k, *v;
} exact;

static double *widen(const float *x, size_t n)
{
    double *y = ck_alloc(n * sizeof *y);
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i];
    return y;
}

/* sum of out * dout; out is stored when asked for */
static double exact_forward(const exact *x, double *out)
{
    const dm_attention *a = &x->s->a;
    const size_t d = a->head_dim;
    double total = 0, p[64];

    for (size_t i = 0; i < a->n_segments; i++)
        for (size_t h = 0; h < a->heads; h++)
            for (size_t row = x->s->segments[i].first; row < x->s->segments[i].end; row++) {
                const dm_attention_segment *s = &x->s->segments[i];
                const size_t position = s->prefix + row - s->begin, at = (row * a->heads + h) * d;
                const size_t low = a->window && position >= a->window ? position - a->window + 1 : 0;
                const size_t kv = h / (a->heads / a->kv_heads);
                double sum = 0;
                for (size_t j = low; j <= position; j++) {
                    double dot = 0;
                    for (size_t c = 0; c < d; c++)
                        dot += x->q[at + c] * x->k[(row_of(s, j) * a->kv_heads + kv) * d + c];
                    sum += p[j] = exp(dot / sqrt((double)d));
                }
                for (size_t c = 0; c < d; c++) {
                    double y = 0;
                    for (size_t j = low; j <= position; j++)
                        y += p[j] / sum * x->v[(row_of(s, j) * a->kv_heads + kv) * d + c];
                    total += y * (double)x->s->dout.data[at + c];
                    if (out)
                        out[at + c] = y;
                }
            }
    return total;
}

static void check_near(const char *what, const float *got, const double *want, size_t n, double limit)
{
    double worst = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        worst += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        size += want[i] * want[i];
    }
    CK_MSG(worst <= limit * limit * size, "%s: relative error %g, limit %g", what, sqrt(worst / size), limit);
}

static void check_difference(const char *what, exact *x, double *input, const float *got, size_t n)
{
    double *want = malloc(n * sizeof *want);
    const double h = 1e-5;

    for (size_t i = 0; want && i < n; i++) {
        const double keep = input[i];
        input[i] = keep + h;
        want[i] = exact_forward(x, NULL);
        input[i] = keep - h;
        want[i] = (want[i] - exact_forward(x, NULL)) / (2 * h);
        input[i] = keep;
    }
    check_near(what, got, want, n, 1e-6);
    free(want);
}

static void check_f64(size_t window)
{
    static const dm_attention_segment tree[] = {{0, 9, 0, 0}, {9, 20, 9, 9}, {20, 26, 9, 20}};
    sample s = sample_open(4, 2, 6, window, tree, 3, 0, 0);
    exact x = {&s, widen(s.q.data, q_floats(&s)), widen(s.k.data, k_floats(&s)), widen(s.v.data, k_floats(&s))};
    double *out = widen(s.q.data, q_floats(&s));

    run(&all.e[0], &s, 0);
    run(&all.e[0], &s, 1);
    exact_forward(&x, out);
    check_near("out", s.out.data, out, q_floats(&s), 1e-6);
    check_difference("dq", &x, x.q, s.dq.data, q_floats(&s));
    check_difference("dk", &x, x.k, s.dk.data, k_floats(&s));
    check_difference("dv", &x, x.v, s.dv.data, k_floats(&s));
    free(out);
    free(x.q);
    free(x.k);
    free(x.v);
    sample_close(&s);
}

/* ---- the same rows in other company ---- */

/* A pair with 40 common leading tokens, packed as a tree, against its two trajectories, each alone; and the last rows
 * of a trajectory against a cache of the others. */
static void check_company(const dm_engine *e)
{
    static const dm_attention_segment tree[] = {{0, 40, 0, 0}, {40, 75, 40, 40}, {75, 91, 40, 75}};
    sample packed = sample_open(6, 2, 24, 0, tree, 3, 0, 0);
    const size_t ldq = 6 * 24, ldk = 2 * 24;

    run(e, &packed, 0);
    for (size_t branch = 1; branch < 3; branch++) {
        const size_t own = tree[branch].end - tree[branch].begin, at = tree[branch].begin;
        for (size_t past = 0; past < 40 + own; past += 39 + own) { /* all rows; the last */
            const dm_attention_segment line = {0, 40 + own, 0, past};
            sample alone = sample_open(6, 2, 24, 0, &line, 1, past, 0);
            float *whole = floats((40 + own) * ldq);

            memcpy(whole, packed.q.data, 40 * ldq * sizeof(float));
            memcpy(whole + 40 * ldq, packed.q.data + at * ldq, own * ldq * sizeof(float));
            memcpy(alone.q.data, whole + past * ldq, q_floats(&alone) * sizeof(float));
            memcpy(alone.k.data, packed.k.data, 40 * ldk * sizeof(float));
            memcpy(alone.k.data + 40 * ldk, packed.k.data + at * ldk, own * ldk * sizeof(float));
            memcpy(alone.v.data, packed.v.data, 40 * ldk * sizeof(float));
            memcpy(alone.v.data + 40 * ldk, packed.v.data + at * ldk, own * ldk * sizeof(float));
            memcpy(whole, packed.out.data, 40 * ldq * sizeof(float));
            memcpy(whole + 40 * ldq, packed.out.data + at * ldq, own * ldq * sizeof(float));
            run(e, &alone, 0);
            compare(past ? "cache" : "alone", e, &alone, alone.out.data, whole + past * ldq, q_floats(&alone));
            free(whole);
            sample_close(&alone);
        }
    }
    sample_close(&packed);
}

int main(int argc, char **argv)
{
    static const unsigned threads[] = {1, 2, 3, 8};
    const int status = engines_open(&all, argc, argv, threads, sizeof threads / sizeof *threads);
    if (status)
        return status;
    dm_kernels_init(&scalar, DM_ISA_SCALAR);
    test_seed(2);
    check_bits();
    check_many();
    check_f64(0);
    check_f64(5);
    for (size_t i = 0; i < all.n; i++)
        check_company(&all.e[i]);
    engines_close(&all);
    return ck_done("attention");
}
