/* Every operation's backward against finite differences of the same operation in f64 (tests/support/gradients.h):
 * RMSNorm, linear and bias, embedding, q/k norm with RoPE, SwiGLU, attention, the fused head. Whole models and losses:
 * test_model_gradients.c. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "model/network/head.h"
#include "model/network/ops.h"
#include "simd/attention.h"
#include "simd/engine.h"
#include "simd/gemm.h"
#include "tests/support/check.h"
#include "tests/support/engines.h"
#include "tests/support/gradients.h"
#include "tests/support/reference64.h"

#define SEED 3
#define OP_LIMIT 2e-6
#define HEAD_LIMIT 1e-5 /* log-probabilities near -8: half a unit in their last place is 2.4e-7, relative in each p */

/* The engine's forward y against the problem's. */
static void check_forward(const char *what, problem *p, const float *y)
{
    value(p);
    near(what, y, p->y, p->dy.n, 0, OP_LIMIT);
}

/* ---- RMSNorm ---- */

static void rmsnorm(problem *p)
{
    f64_rmsnorm(p->y, p->x.d, p->w.d, p->rows, p->n, p->eps);
}

/* eps large enough to matter, and so that a row of one element has a gradient */
static void test_rmsnorm(const dm_engine *e, size_t rows, size_t n, double eps, int add)
{
    problem p = problem_open(rmsnorm, rows, n, n, rows * n, n, 0);
    array dw = random_array(n, 1), dx = random_array(rows * n, 1);
    const array dw0 = copy_of(dw), dx0 = copy_of(dx);
    float *y = floats(rows * n), *inv = floats(rows);

    p.eps = eps;
    dm_op_rmsnorm(e, y, inv, p.x.f, p.w.f, rows, n, (float)p.eps);
    check_forward("rmsnorm", &p, y);
    if (!add)
        memcpy(dx.f, p.dy.f, rows * n * sizeof(float)); /* in place */
    dm_op_rmsnorm_backward(e, dx.f, dw.f, add ? p.dy.f : dx.f, p.x.f, p.w.f, inv, rows, n, add);
    check_gradient("rmsnorm dx", &p, p.x, dx.f, add ? &dx0 : NULL, OP_LIMIT);
    check_gradient("rmsnorm dw", &p, p.w, dw.f, &dw0, OP_LIMIT);
    release(dw);
    release(dx);
    release(dw0);
    release(dx0);
    free(y);
    free(inv);
    problem_close(&p);
}

/* ---- linear, bias: the three orientations that a layer uses ---- */

static void linear(problem *p)
{
    f64_linear(p->y, p->x.d, p->w.d, p->b.d, p->rows, p->out, p->n);
}

static void test_linear(const dm_engine *e, size_t rows, size_t in, size_t out)
{
    problem p = problem_open(linear, rows, in, out, rows * in, out * in, out);
    array dw = random_array(out * in, 1), db = random_array(out, 1), dx = random_array(rows * in, 1);
    const array dw0 = copy_of(dw), db0 = copy_of(db), dx0 = copy_of(dx);
    float *y = floats(rows * out);

    dm_gemm(e, DM_PRECISION_F32, rows, out, in, (dm_gemm_operand){p.x.f, in, 1}, (dm_gemm_operand){p.w.f, 1, in}, y,
            out, DM_GEMM_SET);
    dm_op_bias(e, y, p.b.f, rows, out);
    check_forward("linear", &p, y);
    dm_gemm(e, DM_PRECISION_F32, rows, in, out, (dm_gemm_operand){p.dy.f, out, 1}, (dm_gemm_operand){p.w.f, in, 1},
            dx.f, in, DM_GEMM_ADD);
    check_gradient("linear dx", &p, p.x, dx.f, &dx0, OP_LIMIT);
    dm_gemm(e, DM_PRECISION_F32, rows, in, out, (dm_gemm_operand){p.dy.f, out, 1}, (dm_gemm_operand){p.w.f, in, 1},
            dx.f, in, DM_GEMM_SET);
    check_gradient("linear dx, set", &p, p.x, dx.f, NULL, OP_LIMIT);
    dm_gemm(e, DM_PRECISION_F32, out, in, rows, (dm_gemm_operand){p.dy.f, 1, out}, (dm_gemm_operand){p.x.f, in, 1},
            dw.f, in, DM_GEMM_ADD);
    check_gradient("linear dw", &p, p.w, dw.f, &dw0, OP_LIMIT);
    dm_op_bias_backward(e, db.f, p.dy.f, rows, out);
    check_gradient("bias db", &p, p.b, db.f, &db0, OP_LIMIT);
    release(dw);
    release(db);
    release(dx);
    release(dw0);
    release(db0);
    release(dx0);
    free(y);
    problem_close(&p);
}

/* ---- embedding ---- */

static const int32_t ids[] = {3, 0, 3, 6, 3, 1};
#define IDS (sizeof ids / sizeof *ids)

static void embedding(problem *p)
{
    for (size_t t = 0; t < p->rows; t++)
        memcpy(p->y + t * p->n, p->w.d + (size_t)ids[t] * p->n, p->n * sizeof(double));
}

static void test_embedding(const dm_engine *e, size_t n)
{
    problem p = problem_open(embedding, IDS, n, n, 0, 7 * n, 0);
    array dw = random_array(7 * n, 1);
    const array dw0 = copy_of(dw);
    float *y = floats(IDS * n);

    dm_op_gather(e, y, p.w.f, ids, IDS, n);
    check_forward("embedding", &p, y);
    dm_op_scatter_add(e, dw.f, p.dy.f, ids, IDS, n);
    check_gradient("embedding dw", &p, p.w, dw.f, &dw0, OP_LIMIT);
    release(dw);
    release(dw0);
    free(y);
    problem_close(&p);
}

/* ---- q/k norm and RoPE, as queries go through them: rows of heads ---- */

#define HEADS 3

static void normed_queries(problem *p)
{
    const dm_config *c = p->more;

    f64_rmsnorm(p->y, p->x.d, p->w.d, p->rows * HEADS, c->head_dim, p->eps);
    f64_rope(c, DM_ROPE_MAIN, p->y, p->rows, HEADS);
}

static void test_queries(const dm_engine *e, const dm_config *c, size_t rows)
{
    const size_t d = c->head_dim, wide = HEADS * d;
    problem p = problem_open(normed_queries, rows, d, wide, rows * wide, d, 0);
    dm_network tables = {.c = c, .size = {.longest = rows}, .rope = {{floats(rows * d), floats(rows * d)}}};
    float *y = floats(rows * wide), *dy = floats(rows * wide), *inv = floats(rows * HEADS), *dw = floats(d);
    uint32_t *position = calloc(rows, sizeof *position);

    p.more = (void *)(uintptr_t)c;
    p.eps = 0.25;
    dm_network_tables(&tables);
    for (uint32_t t = 0; position && t < rows; t++)
        position[t] = t;
    dm_op_rmsnorm(e, y, inv, p.x.f, p.w.f, rows * HEADS, d, (float)p.eps);
    dm_op_rope(e, y, tables.rope[0].cos, tables.rope[0].sin, position, rows, HEADS, d, 0);
    check_forward("q/k norm, rope", &p, y);
    memcpy(dy, p.dy.f, rows * wide * sizeof *dy);
    dm_op_rope(e, dy, tables.rope[0].cos, tables.rope[0].sin, position, rows, HEADS, d, 1);
    dm_op_rmsnorm_backward(e, dy, dw, dy, p.x.f, p.w.f, inv, rows * HEADS, d, 0);
    check_gradient("q/k norm, rope dx", &p, p.x, dy, NULL, OP_LIMIT);
    check_gradient("q/k norm, rope dw", &p, p.w, dw, NULL, OP_LIMIT);
    free(tables.rope[0].cos);
    free(tables.rope[0].sin);
    free(y);
    free(dy);
    free(inv);
    free(dw);
    free(position);
    problem_close(&p);
}

/* ---- SwiGLU, GeGLU ---- */

static void swiglu(problem *p)
{
    f64_swiglu(p->y, p->x.d, p->w.d, p->rows * p->n);
}

static void geglu(problem *p)
{
    f64_geglu(p->y, p->x.d, p->w.d, p->rows * p->n);
}

static void test_glu(const dm_engine *e, int is_geglu, size_t n)
{
    problem p = problem_open(is_geglu ? geglu : swiglu, 1, n, n, n, n, 0);
    const array gate = copy_of(p.x), up = copy_of(p.w);
    float *y = floats(n);

    dm_op_glu(e, is_geglu, y, p.x.f, p.w.f, n);
    check_forward(is_geglu ? "geglu" : "swiglu", &p, y);
    dm_op_glu_backward(e, is_geglu, gate.f, up.f, p.dy.f, n);
    check_gradient("glu dgate", &p, p.x, gate.f, NULL, OP_LIMIT);
    check_gradient("glu dup", &p, p.w, up.f, NULL, OP_LIMIT);
    release(gate);
    release(up);
    free(y);
    problem_close(&p);
}

/* ---- attention: x, w, b are q, k, v ---- */

static void attention(problem *p)
{
    const dm_attention *a = p->more;
    size_t row_of[64];

    for (size_t i = 0; i < a->n_segments; i++) {
        const dm_attention_segment *s = &a->segments[i];
        const size_t n = s->prefix + s->end - s->begin;
        for (size_t j = 0; j < n; j++)
            row_of[j] = j < s->prefix ? j : s->begin + j - s->prefix;
        f64_attention(p->y, p->x.d, p->w.d, p->b.d, row_of, n, a->heads, a->kv_heads, a->head_dim, a->window,
                      (double)a->head_dim);
    }
}

static void test_attention(const dm_engine *e, size_t heads, size_t kv_heads, size_t d, size_t window,
                           const dm_attention_segment *segments, size_t n)
{
    const size_t rows = segments[n - 1].end, hq = heads * d, hk = kv_heads * d;
    problem p = problem_open(attention, rows, d, hq, rows * hq, rows * hk, rows * hk);
    const dm_attention a = {.heads = heads,
                            .kv_heads = kv_heads,
                            .head_dim = d,
                            .window = window,
                            .segments = segments,
                            .n_segments = n,
                            .q = p.x.f,
                            .k = p.w.f,
                            .v = p.b.f};
    float *y = floats(rows * hq), *dq = floats(rows * hq), *dk = floats(rows * hk), *dv = floats(rows * hk);
    float *scratch = floats(dm_attention_scratch(e, heads, kv_heads, d, rows, rows, 1));

    p.more = (void *)(uintptr_t)&a;
    dm_attention_forward(e, &a, y, scratch);
    check_forward("attention", &p, y);
    dm_attention_backward(e, &a, p.dy.f, dq, dk, dv, scratch);
    check_gradient("attention dq", &p, p.x, dq, NULL, OP_LIMIT);
    check_gradient("attention dk", &p, p.w, dk, NULL, OP_LIMIT);
    check_gradient("attention dv", &p, p.b, dv, NULL, OP_LIMIT);
    free(y);
    free(dq);
    free(dk);
    free(dv);
    free(scratch);
    problem_close(&p);
}

/* ---- the head: a vocabulary of more than two chunks ---- */

#define HEAD_VOCAB (2 * DM_HEAD_VOCAB_CHUNK + 37)
static const int32_t targets[] = {0, 2047, 2048, 4132, 17, 4096};
#define PREDICTIONS (sizeof targets / sizeof *targets)

static void head(problem *p) /* w: norm, b: head */
{
    double *norm = f64_alloc(p->n), *logits = f64_alloc(HEAD_VOCAB);

    for (size_t i = 0; i < PREDICTIONS; i++) {
        f64_rmsnorm(norm, p->x.d + i * p->n, p->w.d, 1, p->n, p->eps);
        f64_linear(logits, norm, p->b.d, NULL, 1, HEAD_VOCAB, p->n);
        p->y[i] = f64_log_softmax(logits, HEAD_VOCAB, (size_t)targets[i]);
    }
    free(norm);
    free(logits);
}

/* A linear output beside the vocabulary, and how much each prediction's counts. */
static const float beside_weight[] = {0.5F, -1.25F, 0.75F, 2, -0.125F, 1}, beside_slope[] = {1, -0.5F, 0, 0.25F, 2, -1};

static double head_loss(const problem *p)
{
    double *norm = f64_alloc(p->n), sum = 0;

    for (size_t i = 0; i < PREDICTIONS; i++) {
        f64_rmsnorm(norm, p->x.d + i * p->n, p->w.d, 1, p->n, p->eps);
        sum += p->y[i] * p->dy.d[i];
        for (size_t k = 0; k < p->n; k++)
            sum += (double)beside_slope[i] * (double)beside_weight[k] * norm[k];
    }
    free(norm);
    return sum;
}

/* Rows of the head around the chunks' ends; what is left of it must cancel, as a softmax's gradient does. */
static void check_head_weights(problem *p, const float *dw)
{
    static const size_t sampled[] = {0, 1, 17, 2046, 2047, 2048, 2049, 4095, 4096, 4097, 4131, 4132};

    for (size_t i = 0; i < sizeof sampled / sizeof *sampled; i++) {
        const size_t at = sampled[i] * p->n;
        check_gradient("head dw", p, (array){.d = p->b.d + at, .n = p->n}, dw + at, NULL, HEAD_LIMIT);
    }
    for (size_t j = 0; j < p->n; j++) {
        double sum = 0, size = 0;
        for (size_t v = 0; v < HEAD_VOCAB; v++) {
            sum += (double)dw[v * p->n + j];
            size += fabs((double)dw[v * p->n + j]);
        }
        CK_MSG(fabs(sum) <= HEAD_LIMIT * size, "%s: head dw, column %zu sums to %g of %g", where, j, sum, size);
    }
}

static void test_head(const dm_engine *e, int keep_logits)
{
    enum { D = 6 };
    const dm_config c = {.hidden = D,
                         .intermediate = 1,
                         .layers = 1,
                         .heads = 1,
                         .kv_heads = 1,
                         .head_dim = 2,
                         .vocab = HEAD_VOCAB,
                         .max_positions = 16,
                         .eps = 0.25,
                         .rope_theta = 100};
    problem p = problem_open(head, PREDICTIONS, D, 1, PREDICTIONS * D, D, HEAD_VOCAB * D);
    machine m;

    p.eps = c.eps;
    p.loss = head_loss;
    machine_open(&m, e, &c, 0, keep_logits);
    m.n.beside_slope = beside_slope;
    m.n.beside_weight = beside_weight;
    memcpy(m.w.f + m.l.norm->offset, p.w.f, D * sizeof(float));
    memcpy(m.w.f + m.l.head->offset, p.b.f, HEAD_VOCAB * D * sizeof(float));
    memcpy(m.n.out, p.x.f, PREDICTIONS * D * sizeof(float));
    dm_head_forward(&m.n, m.w.f, targets, PREDICTIONS);
    check_forward("head logp", &p, m.n.logp);
    dm_head_backward(&m.n, m.w.f, m.dw, targets, p.dy.f, PREDICTIONS);
    check_gradient("head dx", &p, p.x, m.n.dout, NULL, HEAD_LIMIT);
    check_gradient("head norm dw", &p, p.w, m.dw + m.l.norm->offset, NULL, HEAD_LIMIT);
    check_head_weights(&p, m.dw + m.l.head->offset);
    machine_close(&m);
    problem_close(&p);
}

static void test_operations(const dm_engine *e)
{
    static const dm_attention_segment line[] = {{0, 21, 0, 0}};
    static const dm_attention_segment tree[] = {{0, 9, 0, 0}, {9, 20, 9, 9}, {20, 26, 9, 20}};
    static const dm_attention_segment apart[] = {{0, 12, 0, 0}, {12, 19, 0, 12}};
    static const size_t sizes[] = {1, 2, 15, 16, 17, 40};
    const dm_config plain = {.head_dim = 8, .rope_theta = 10000};
    const dm_config linear_rope = {.head_dim = 6, .rope_theta = 100, .rope = DM_ROPE_LINEAR, .rope_factor = 2.5};
    const dm_config llama3 = {.head_dim = 16,
                              .rope_theta = 5000,
                              .rope = DM_ROPE_LLAMA3,
                              .rope_factor = 8,
                              .rope_low = 1,
                              .rope_high = 4,
                              .rope_original = 64};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t n = sizes[i];
        test_rmsnorm(e, 1 + i, n, 0.25, 0);
        test_rmsnorm(e, 7 - i, n, 0.25, 1);
        test_linear(e, 1 + i, n, sizes[(i + 2) % 6]);
        test_embedding(e, n);
        test_glu(e, 0, n);
        test_glu(e, 1, n);
    }
    test_rmsnorm(e, 9, 64, 0x1p-20, 1);
    test_queries(e, &plain, 7);
    test_queries(e, &linear_rope, 12);
    test_queries(e, &llama3, 9);
    test_attention(e, 1, 1, 5, 0, line, 1);
    test_attention(e, 6, 2, 4, 0, line, 1);
    test_attention(e, 4, 2, 6, 4, line, 1);
    test_attention(e, 4, 2, 6, 0, tree, 3);
    test_attention(e, 3, 1, 8, 5, tree, 3);
    test_attention(e, 2, 2, 3, 1, tree, 3);
    test_attention(e, 4, 1, 2, 3, apart, 2);
    test_head(e, 0);
    test_head(e, 1);
}

int main(int argc, char **argv)
{
    static const unsigned threads[] = {2};
    static engines all;
    const int status = engines_open(&all, argc, argv, threads, 1);

    if (status)
        return status;
    for (size_t i = 0; i < all.n; i++) {
        test_seed(SEED);
        where = dm_isa_name(all.e[i].k.isa);
        test_operations(&all.e[i]);
    }
    printf("largest relative error %.2e\n", worst);
    engines_close(&all);
    return ck_done("gradients");
}
