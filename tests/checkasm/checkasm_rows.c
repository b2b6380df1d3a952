/* Checks and times the row kernels. Benches keep their data in range over any number of calls. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/checkasm/checkasm.h"

static void check_dot(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const float *x = ck_in(c, n), *y = ck_in(c, n);

    ck_same_value(c, "dot", ref->dot(x, y, n), k->dot(x, y, n));
}

static size_t bench_dot(const dm_kernels *k, ck_bench *b)
{
    b->d[0] = k->dot(b->a, b->b, b->n);
    return b->n;
}

/* ---- element by element ---- */

static void check_add(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const float *x = ck_in(c, n);
    const ck_floats y = ck_inout(c, n);

    ref->add(y.want, x, n);
    k->add(y.got, x, n);
    ck_same(c, "y", y, n);
}

static size_t bench_add(const dm_kernels *k, ck_bench *b)
{
    k->add(b->d, b->a, b->n);
    return b->n;
}

static void check_scale(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const ck_floats y = ck_inout(c, n);
    const float a = ck_number(c);

    ref->scale(y.want, a, n);
    k->scale(y.got, a, n);
    ck_same(c, "y", y, n);
}

static size_t bench_scale(const dm_kernels *k, ck_bench *b)
{
    k->scale(b->d, -1.0f, b->n);
    return b->n;
}

typedef void (*map_fn)(float *y, const float *x, size_t n);

static void check_map(ck *c, map_fn ref, map_fn k, size_t n)
{
    const ck_floats y = ck_inout(c, n);

    if (ck_random(c) & 1) { /* in place */
        ref(y.want, y.want, n);
        k(y.got, y.got, n);
    } else {
        const float *x = ck_in(c, n);
        ref(y.want, x, n);
        k(y.got, x, n);
    }
    ck_same(c, "y", y, n);
}

static void check_exp(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    check_map(c, ref->exp, k->exp, n);
}

static size_t bench_exp(const dm_kernels *k, ck_bench *b)
{
    k->exp(b->d, b->a, b->n);
    return b->n;
}

static void check_sigmoid(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    check_map(c, ref->sigmoid, k->sigmoid, n);
}

static size_t bench_sigmoid(const dm_kernels *k, ck_bench *b)
{
    k->sigmoid(b->d, b->a, b->n);
    return b->n;
}

/* ---- RMSNorm ---- */

static void check_rmsnorm(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const float *w = ck_in(c, n), *x = ck_in(c, n), eps = ck_below(c, 2) ? 1e-5f : 0.0f;
    const ck_floats y = ck_inout(c, n);
    const bool in_place = ck_random(c) & 1;

    const float want = ref->rmsnorm(y.want, in_place ? y.want : x, w, n, eps);
    const float got = k->rmsnorm(y.got, in_place ? y.got : x, w, n, eps);
    ck_same_value(c, "inv", want, got);
    ck_same(c, "y", y, n);
}

static size_t bench_rmsnorm(const dm_kernels *k, ck_bench *b)
{
    k->rmsnorm(b->d, b->a, b->b, b->n, 1e-5f);
    return b->n;
}

static void check_rmsnorm_dx(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const float *x = ck_in(c, n), *w = ck_in(c, n), *dy = ck_in(c, n), inv = ck_number(c);
    const ck_floats dx = ck_inout(c, n);
    const int add = ck_random(c) & 1;
    const bool in_place = !add && (ck_random(c) & 1);

    ref->rmsnorm_dx(dx.want, in_place ? dx.want : dy, x, w, inv, n, add);
    k->rmsnorm_dx(dx.got, in_place ? dx.got : dy, x, w, inv, n, add);
    ck_same(c, "dx", dx, n);
}

static size_t bench_rmsnorm_dx(const dm_kernels *k, ck_bench *b)
{
    k->rmsnorm_dx(b->d, b->a, b->b, b->c, 0.5f, b->n, 0);
    return b->n;
}

static size_t area(size_t rows, size_t stride, size_t n)
{
    return rows ? (rows - 1) * stride + n : 0;
}

static void check_rmsnorm_dw(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const size_t rows = ck_below(c, 6), stride = n + ck_below(c, 9), total = area(rows, stride, n);
    const float *dy = ck_in(c, total), *x = ck_in(c, total), *inv = ck_in(c, rows);
    const ck_floats dw = ck_inout(c, n);

    ref->rmsnorm_dw(dw.want, dy, x, inv, rows, stride, n);
    k->rmsnorm_dw(dw.got, dy, x, inv, rows, stride, n);
    ck_same(c, "dw", dw, n);
}

static size_t bench_rmsnorm_dw(const dm_kernels *k, ck_bench *b)
{
    k->rmsnorm_dw(b->d, b->a, b->b, b->c, 8, b->n / 8, b->n / 8);
    return b->n;
}

static void check_column_sum(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const size_t rows = ck_below(c, 6), stride = n + ck_below(c, 9);
    const float *dy = ck_in(c, area(rows, stride, n));
    const ck_floats db = ck_inout(c, n);

    ref->column_sum(db.want, dy, rows, stride, n);
    k->column_sum(db.got, dy, rows, stride, n);
    ck_same(c, "db", db, n);
}

static size_t bench_column_sum(const dm_kernels *k, ck_bench *b)
{
    k->column_sum(b->d, b->a, 8, b->n / 8, b->n / 8);
    return b->n;
}

/* ---- RoPE ---- */

static void check_rope(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const float *cosine = ck_in(c, n), *sine = ck_in(c, n);
    const ck_floats x = ck_inout(c, 2 * n);
    const int inverse = ck_random(c) & 1;

    ref->rope(x.want, cosine, sine, 2 * n, inverse);
    k->rope(x.got, cosine, sine, 2 * n, inverse);
    ck_same(c, "x", x, 2 * n);
}

static size_t bench_rope(const dm_kernels *k, ck_bench *b)
{
    for (size_t i = 0; i < b->n / 2; i++) { /* a rotation, so that x keeps its length */
        b->e[i] = 0.6f;
        b->e[b->n / 2 + i] = 0.8f;
    }
    k->rope(b->d, b->e, b->e + b->n / 2, b->n, 0);
    return b->n;
}

/* ---- softmax ---- */

static void check_softmax(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const ck_floats s = ck_inout(c, n);
    const float scale = ck_below(c, 4) ? ck_uniform(c, 0.05f, 2.0f) : ck_number(c);

    ref->softmax(s.want, n, scale);
    k->softmax(s.got, n, scale);
    ck_same(c, "s", s, n);
}

static size_t bench_softmax(const dm_kernels *k, ck_bench *b)
{
    k->softmax(b->d, b->n, 0.125f);
    return b->n;
}

static void check_softmax_backward(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const float *p = ck_in(c, n), scale = ck_number(c);
    const ck_floats ds = ck_inout(c, n);

    ref->softmax_backward(ds.want, p, n, scale);
    k->softmax_backward(ds.got, p, n, scale);
    ck_same(c, "ds", ds, n);
}

static size_t bench_softmax_backward(const dm_kernels *k, ck_bench *b)
{
    memcpy(b->d, b->a, b->n * sizeof *b->d);
    k->softmax_backward(b->d, b->b, b->n, 0.125f);
    return b->n;
}

/* The columns against rows: what column l sees of a matrix, one after the other. */
enum { COLUMN_KEYS = 128 };

typedef struct columns {
    size_t ld, lanes, full, keys, total;
} columns;

static columns some_columns(ck *c, size_t n)
{
    columns k = {.lanes = ck_below(c, 3) ? 1 + ck_below(c, 16) : 16};

    k.ld = k.lanes + ck_below(c, 20);
    k.full = 1 + (n < COLUMN_KEYS - 17 ? n : ck_below(c, COLUMN_KEYS - 17));
    k.keys = k.full + ck_below(c, k.lanes);
    k.total = (k.keys - 1) * k.ld + k.lanes;
    return k;
}

static size_t seen_by(const columns *k, size_t lane)
{
    return k->full + lane < k->keys ? k->full + lane : k->keys;
}

/* What lies between the columns of one key and the next must stay as it is. */
static void check_between_columns(ck *c, const columns *s, const ck_floats *x)
{
    for (size_t j = 0; j + 1 < s->keys; j++)
        for (size_t i = j * s->ld + s->lanes; i < (j + 1) * s->ld; i++)
            ck_same_value(c, "between columns", x->want[i], x->got[i]);
}

static void check_softmax_columns(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const columns s = some_columns(c, n);
    const ck_floats x = ck_inout(c, s.total);
    const float scale = ck_below(c, 4) ? ck_uniform(c, 0.05f, 2.0f) : ck_number(c);
    float row[COLUMN_KEYS];

    k->softmax_columns(x.got, s.ld, s.lanes, s.full, s.keys, scale);
    for (size_t l = 0; l < s.lanes; l++) {
        for (size_t j = 0; j < seen_by(&s, l); j++)
            row[j] = x.want[j * s.ld + l];
        ref->softmax(row, seen_by(&s, l), scale);
        for (size_t j = 0; j < seen_by(&s, l); j++)
            ck_same_value(c, "s", row[j], x.got[j * s.ld + l]);
    }
    check_between_columns(c, &s, &x);
}

static size_t bench_softmax_columns(const dm_kernels *k, ck_bench *b)
{
    const size_t keys = b->n / 16;
    k->softmax_columns(b->d, 16, 16, keys, keys, 0.125f);
    return keys * 16;
}

static void check_softmax_columns_backward(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const columns s = some_columns(c, n);
    const float *p = ck_in(c, s.total), scale = ck_number(c);
    const ck_floats ds = ck_inout(c, s.total);
    float row[COLUMN_KEYS], weight[COLUMN_KEYS];

    k->softmax_columns_backward(ds.got, p, s.ld, s.lanes, s.full, s.keys, scale);
    for (size_t l = 0; l < s.lanes; l++) {
        for (size_t j = 0; j < seen_by(&s, l); j++) {
            row[j] = ds.want[j * s.ld + l];
            weight[j] = p[j * s.ld + l];
        }
        ref->softmax_backward(row, weight, seen_by(&s, l), scale);
        for (size_t j = 0; j < seen_by(&s, l); j++)
            ck_same_value(c, "ds", row[j], ds.got[j * s.ld + l]);
    }
    check_between_columns(c, &s, &ds);
}

static size_t bench_softmax_columns_backward(const dm_kernels *k, ck_bench *b)
{
    const size_t keys = b->n / 16;
    memcpy(b->d, b->a, b->n * sizeof *b->d);
    k->softmax_columns_backward(b->d, b->b, 16, 16, keys, keys, 0.125f);
    return keys * 16;
}

/* ---- SwiGLU, GeGLU ---- */

typedef void (*glu_fn)(float *h, const float *g, const float *u, size_t n);
typedef void (*glu_backward_fn)(float *dg, float *du, const float *dh, const float *g, const float *u, size_t n);

static void check_glu(ck *c, glu_fn ref, glu_fn k, size_t n)
{
    const float *g = ck_in(c, n), *u = ck_in(c, n);
    const ck_floats h = ck_inout(c, n);
    const uint32_t in_place = ck_random(c) % 3;

    ref(h.want, in_place == 1 ? h.want : g, in_place == 2 ? h.want : u, n);
    k(h.got, in_place == 1 ? h.got : g, in_place == 2 ? h.got : u, n);
    ck_same(c, "h", h, n);
}

static void check_glu_backward(ck *c, glu_backward_fn ref, glu_backward_fn k, size_t n)
{
    const float *dh = ck_in(c, n), *g = ck_in(c, n), *u = ck_in(c, n);
    const ck_floats dg = ck_inout(c, n), du = ck_inout(c, n);
    const bool g_in_place = ck_random(c) & 1, u_in_place = ck_random(c) & 1;

    ref(dg.want, du.want, dh, g_in_place ? dg.want : g, u_in_place ? du.want : u, n);
    k(dg.got, du.got, dh, g_in_place ? dg.got : g, u_in_place ? du.got : u, n);
    ck_same(c, "dg", dg, n);
    ck_same(c, "du", du, n);
}

#define GLU(name)                                                                                                      \
    static void check_##name(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)                              \
    {                                                                                                                  \
        check_glu(c, ref->name, k->name, n);                                                                           \
    }                                                                                                                  \
    static size_t bench_##name(const dm_kernels *k, ck_bench *b)                                                       \
    {                                                                                                                  \
        k->name(b->d, b->a, b->b, b->n);                                                                               \
        return b->n;                                                                                                   \
    }                                                                                                                  \
    static void check_##name##_backward(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)                   \
    {                                                                                                                  \
        check_glu_backward(c, ref->name##_backward, k->name##_backward, n);                                            \
    }                                                                                                                  \
    static size_t bench_##name##_backward(const dm_kernels *k, ck_bench *b)                                            \
    {                                                                                                                  \
        k->name##_backward(b->d, b->e, b->a, b->b, b->c, b->n);                                                        \
        return b->n;                                                                                                   \
    }

GLU(swiglu)
GLU(geglu)

/* ---- values, weighed ---- */

/* n: columns of a head; the last of a row of keys ends where the memory does. */
static void check_weigh(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const size_t heads = 1 + ck_below(c, 5), group = 1 + ck_below(c, 3), d = n + ck_below(c, 5);
    const size_t keys = ck_below(c, 12), ldp = keys + ck_below(c, 4), ldv = heads * d + ck_below(c, 4);
    const size_t rows = heads * group, size = (rows - 1) * d + n;
    const float *p = ck_in(c, (rows - 1) * ldp + keys);
    const float *v = ck_in(c, keys ? (keys - 1) * ldv + (heads - 1) * d + n : 0);
    const ck_floats out = ck_inout(c, size);
    const int first = (int)ck_below(c, 2);

    ref->weigh(out.want, p, ldp, v, ldv, keys, heads, group, d, n, first);
    for (size_t i = 0; first && i < rows; i++) /* must not be read */
        for (size_t j = 0; j < n; j++)
            out.got[i * d + j] = NAN;
    k->weigh(out.got, p, ldp, v, ldv, keys, heads, group, d, n, first);
    ck_same(c, "out", out, size);
}

static size_t bench_weigh(const dm_kernels *k, ck_bench *b)
{
    const size_t d = 32, keys = b->n / (4 * d);
    k->weigh(b->d, b->a, keys, b->b, 4 * d, keys, 4, 1, d, d, 1);
    return keys * 4 * d;
}

/* ---- log-softmax in chunks ---- */

static void fresh_state(float *state)
{
    memset(state, 0, DM_LSE_STATE * sizeof *state);
    state[0] = -FLT_MAX;
}

static void check_lse_chunk(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const size_t first = n / 16 * 16;
    const float *a = ck_in(c, first), *b = ck_in(c, n);
    const ck_floats state = ck_inout(c, DM_LSE_STATE);

    if (ck_random(c) % 4) {
        fresh_state(state.want);
        fresh_state(state.got);
    }
    ref->lse_chunk(state.want, a, first);
    k->lse_chunk(state.got, a, first);
    ck_same(c, "state after the first chunk", state, DM_LSE_STATE);
    ref->lse_chunk(state.want, b, n);
    k->lse_chunk(state.got, b, n);
    ck_same(c, "state after the second chunk", state, DM_LSE_STATE);
}

static size_t bench_lse_chunk(const dm_kernels *k, ck_bench *b)
{
    fresh_state(b->d);
    k->lse_chunk(b->d, b->a, b->n);
    return b->n;
}

static void check_logit_grad(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const ck_floats l = ck_inout(c, n);
    const float max = ck_number(c), log_sum = ck_uniform(c, 0.0f, 12.0f), coef = ck_number(c);

    ref->logit_grad(l.want, n, max, log_sum, coef);
    k->logit_grad(l.got, n, max, log_sum, coef);
    ck_same(c, "l", l, n);
}

static size_t bench_logit_grad(const dm_kernels *k, ck_bench *b)
{
    k->logit_grad(b->d, b->n, 1.0f, 5.0f, 0.5f);
    return b->n;
}

/* ---- AdamW ---- */

static void check_adamw(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const float *g = ck_in(c, n), beta1 = ck_uniform(c, 0.0f, 1.0f), beta2 = ck_uniform(c, 0.9f, 1.0f);
    const ck_floats w = ck_inout(c, n), m = ck_inout(c, n);
    const ck_floats v = ck_random(c) % 4 ? ck_inout_abs(c, n) : ck_inout(c, n);
    const dm_adamw_step step = {
        .scale = ck_uniform(c, 0.0f, 1.0f),
        .beta1 = beta1,
        .one_minus_beta1 = 1.0f - beta1,
        .beta2 = beta2,
        .one_minus_beta2 = 1.0f - beta2,
        .decay = ck_uniform(c, 0.9f, 1.0f),
        .step_size = ck_uniform(c, 0.0f, 0.1f),
        .inv_sqrt_correction2 = ck_uniform(c, 1.0f, 32.0f),
        .eps = ck_below(c, 4) ? 1e-8f : 0.0f,
    };

    ref->adamw(w.want, m.want, v.want, g, n, &step);
    k->adamw(w.got, m.got, v.got, g, n, &step);
    ck_same(c, "w", w, n);
    ck_same(c, "m", m, n);
    ck_same(c, "v", v, n);
}

static size_t bench_adamw(const dm_kernels *k, ck_bench *b)
{
    const dm_adamw_step step = {1.0f, 0.9f, 0.1f, 0.999f, 0.001f, 1.0f, 1e-6f, 1.0f, 1e-8f};

    k->adamw(b->d, b->e, b->c, b->a, b->n, &step);
    return b->n;
}

#define KERNEL(name)                                                                                                   \
    {                                                                                                                  \
#name, check_##name, bench_##name, false                                                                       \
    }

const ck_kernel ck_row_kernels[] = {
    KERNEL(dot),
    KERNEL(add),
    KERNEL(scale),
    KERNEL(exp),
    KERNEL(sigmoid),
    KERNEL(rmsnorm),
    KERNEL(rmsnorm_dx),
    KERNEL(rmsnorm_dw),
    KERNEL(column_sum),
    KERNEL(rope),
    KERNEL(softmax),
    KERNEL(softmax_backward),
    KERNEL(softmax_columns),
    KERNEL(softmax_columns_backward),
    KERNEL(weigh),
    KERNEL(swiglu),
    KERNEL(swiglu_backward),
    KERNEL(geglu),
    KERNEL(geglu_backward),
    KERNEL(lse_chunk),
    KERNEL(logit_grad),
    KERNEL(adamw),
    {0},
};
