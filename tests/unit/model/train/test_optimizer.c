/* AdamW, the gradient norm and the schedules against what their definitions say in f64; and the same bits from 1 to 8
 * threads on every level. What a training step makes of them (clipping, warm-up): test_train.c. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "dmpo.h"
#include "model/train/optimizer.h"
#include "tests/support/check.h"
#include "tests/support/engines.h"

#define CHUNK ((size_t)4096) /* of the norm, by the numerics contract */

static engines all;

/* ---- schedules ---- */

/* Learning rate 1: by mpmath from the formulas in model/train/optimizer.h. */
static const struct {
    dm_lr_schedule schedule;
    int64_t step, warmup, total;
    double lr;
} rates[] = {
    {DM_SCHEDULE_CONSTANT, 0, 0, 1, 1},
    {DM_SCHEDULE_CONSTANT, 0, 3, 10, 1.0 / 3},
    {DM_SCHEDULE_CONSTANT, 1, 3, 10, 2.0 / 3},
    {DM_SCHEDULE_CONSTANT, 2, 3, 10, 1},
    {DM_SCHEDULE_CONSTANT, 9, 3, 10, 1},
    {DM_SCHEDULE_CONSTANT, 6, 7, 7, 1},
    {DM_SCHEDULE_LINEAR, 0, 0, 4, 1},
    {DM_SCHEDULE_LINEAR, 3, 0, 4, 0.25},
    {DM_SCHEDULE_LINEAR, 9, 10, 100, 1},
    {DM_SCHEDULE_LINEAR, 10, 10, 100, 1},
    {DM_SCHEDULE_LINEAR, 55, 10, 100, 0.5},
    {DM_SCHEDULE_LINEAR, 99, 10, 100, 0.011111111111111112},
    {DM_SCHEDULE_LINEAR, 4, 5, 5, 1},
    {DM_SCHEDULE_COSINE, 0, 0, 4, 1},
    {DM_SCHEDULE_COSINE, 1, 0, 4, 0.85355339059327376},
    {DM_SCHEDULE_COSINE, 2, 0, 4, 0.5},
    {DM_SCHEDULE_COSINE, 3, 0, 4, 0.14644660940672624},
    {DM_SCHEDULE_COSINE, 4, 10, 100, 0.5},
    {DM_SCHEDULE_COSINE, 10, 10, 100, 1},
    {DM_SCHEDULE_COSINE, 40, 10, 100, 0.75},
    {DM_SCHEDULE_COSINE, 55, 10, 100, 0.5},
    {DM_SCHEDULE_COSINE, 99, 10, 100, 0.00030458649045213493},
};

static void test_rates(void)
{
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        const double got = dm_learning_rate(rates[i].schedule, 1, rates[i].step, rates[i].warmup, rates[i].total);
        CK_MSG(fabs(got - rates[i].lr) <= 1e-15, "schedule %d, step %lld of %lld, warm-up %lld: %.17g, must be %.17g",
               rates[i].schedule, (long long)rates[i].step, (long long)rates[i].total, (long long)rates[i].warmup, got,
               rates[i].lr);
        CK(dm_learning_rate(rates[i].schedule, 2e-6, rates[i].step, rates[i].warmup, rates[i].total) == 2e-6 * got);
    }
}

/* Up to the given rate in the warm-up, never up after it, never 0 or below while there are steps. */
static void test_rates_run(dm_lr_schedule schedule, int64_t warmup, int64_t total)
{
    const double lr = 3e-4, pi = 3.14159265358979323846;
    double before = 0;

    for (int64_t s = 0; s < total; s++) {
        const double got = dm_learning_rate(schedule, lr, s, warmup, total);
        const double r = (double)(s - warmup) / (double)(total - warmup);
        const double want = s < warmup                         ? lr * (double)(s + 1) / (double)warmup
                            : schedule == DM_SCHEDULE_CONSTANT ? lr
                            : schedule == DM_SCHEDULE_LINEAR   ? lr - lr * r
                                                               : lr / 2 + lr / 2 * cos(pi * r);
        CK_MSG(fabs(got - want) <= 4e-16 * lr && got > 0 && got <= lr &&
                   (s < warmup ? got > before : s == warmup || got <= before),
               "schedule %d, step %lld of %lld, warm-up %lld: %.17g, must be %.17g", schedule, (long long)s,
               (long long)total, (long long)warmup, got, want);
        before = got;
    }
    CK(warmup == 0 || dm_learning_rate(schedule, lr, warmup - 1, warmup, total) == lr);
}

static void test_schedules(void)
{
    test_rates();
    for (int schedule = DM_SCHEDULE_CONSTANT; schedule <= DM_SCHEDULE_COSINE; schedule++)
        for (int64_t total = 1; total <= 1000; total = total * 3 + 1)
            for (int64_t warmup = 0; warmup <= total; warmup += 1 + total / 7)
                test_rates_run((dm_lr_schedule)schedule, warmup, total);
}

/* ---- gradient norm ---- */

/* The contract as plain loops: 16 lanes in each chunk, chunks in order in f64. */
static double contract_norm(const float *g, size_t n)
{
    double sum = 0;

    for (size_t begin = 0; begin < n; begin += CHUNK) {
        const size_t end = n - begin < CHUNK ? n : begin + CHUNK;
        float lane[16] = {0};
        for (size_t i = begin; i < end; i++)
            lane[(i - begin) % 16] = fmaf(g[i], g[i], lane[(i - begin) % 16]);
        for (size_t w = 8; w > 0; w /= 2)
            for (size_t l = 0; l < w; l++)
                lane[l] += lane[l + w];
        sum += (double)lane[0];
    }
    return sqrt(sum);
}

static double plain_norm(const float *g, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)g[i] * (double)g[i];
    return sqrt(sum);
}

/* On every engine, from memory that ends where it must. */
static void check_norm(const float *values, size_t n, double want)
{
    guarded partial = guarded_open((n + CHUNK - 1) / CHUNK);

    for (size_t piece = 0; piece <= 4; piece++) { /* in one piece, and in two */
        const size_t split = n - n * piece / 4;
        guarded low = guarded_open(split), high = guarded_open(n - split);
        const dm_gradient g = {low.data, high.data, split, n};
        memcpy(low.data, values, split * sizeof *values);
        memcpy(high.data, values + split, (n - split) * sizeof *values);
        for (size_t i = 0; i < all.n; i++) {
            const double got = dm_grad_norm(&all.e[i], &g, partial.data);
            CK_MSG(got == want || (isnan(got) && isnan(want)), "norm of %zu + %zu, %s, %u threads: %a, must be %a",
                   split, n - split, dm_isa_name(all.e[i].k.isa), all.e[i].threads, got, want);
        }
        guarded_close(&low);
        guarded_close(&high);
    }
    guarded_close(&partial);
}

static void test_norm(void)
{
    static const size_t sizes[] = {0,    1,    15,   16,    17,    1000,  4095,  4096,
                                   4097, 8191, 8192, 12300, 36864, 40961, 65536, 150001};
    float *g = ck_alloc(sizes[15] * sizeof *g);

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int fill = 0; fill < TEST_FILLS; fill++) {
            const size_t n = sizes[s];
            test_fill(g, n, fill);
            const double want = contract_norm(g, n), plain = plain_norm(g, n);
            check_norm(g, n, want);
            if (fill == 0 || fill == 4) /* the other fills underflow in f32 */
                CK_MSG(fabs(want - plain) <= 2e-7 * plain, "norm of %zu: %.9g, in f64 %.9g", n, want, plain);
        }
    test_fill(g, 5000, 0);
    g[4999] = INFINITY;
    check_norm(g, 5000, INFINITY);
    g[17] = NAN;
    check_norm(g, 5000, NAN);
    free(g);
}

/* ---- AdamW ---- */

typedef struct adam { /* f64 */
    double *w, *m, *v;
} adam;

typedef struct state { /* f32; of one engine */
    float *w, *m, *v;
} state;

/* torch.optim.AdamW, after its documentation */
static void plain_step(adam *a, const float *g, size_t n, const dm_adamw_options *o, double lr, double scale, int64_t t)
{
    for (size_t i = 0; i < n; i++) {
        const double gradient = (double)g[i] * scale;
        a->w[i] -= lr * o->weight_decay * a->w[i];
        a->m[i] = o->beta1 * a->m[i] + (1 - o->beta1) * gradient;
        a->v[i] = o->beta2 * a->v[i] + (1 - o->beta2) * gradient * gradient;
        const double m = a->m[i] / (1 - pow(o->beta1, (double)t)), v = a->v[i] / (1 - pow(o->beta2, (double)t));
        a->w[i] -= lr * m / (sqrt(v) + o->eps);
    }
}

/* |got - want| / |want - base| (L2); base NULL: 0. floor: the least that the error counts against. */
static double relative_error(const float *got, const double *want, const float *base, size_t n, double floor)
{
    double error = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        const double d = (double)got[i] - want[i], s = want[i] - (base ? (double)base[i] : 0);
        error += d * d;
        size += s * s;
    }
    return error == 0 ? 0 : sqrt(error) / fmax(sqrt(size), floor);
}

static state state_open(const float *w, size_t n)
{
    const state s = {ck_alloc(n * sizeof *w), calloc(n + 1, sizeof *w), calloc(n + 1, sizeof *w)};

    if (!s.m || !s.v) {
        perror("calloc");
        exit(2);
    }
    memcpy(s.w, w, n * sizeof *w);
    return s;
}

static void state_close(state *s)
{
    free(s->w);
    free(s->m);
    free(s->v);
}

static bool same_state(const state *a, const state *b, size_t n)
{
    return memcmp(a->w, b->w, n * sizeof(float)) == 0 && memcmp(a->m, b->m, n * sizeof(float)) == 0 &&
           memcmp(a->v, b->v, n * sizeof(float)) == 0;
}

static double worst[2]; /* of the change of the weights, of the moments */

/* `steps` steps from step `first` on: engine 0 against f64, all others against engine 0. */
static void check_adamw(size_t n, const dm_adamw_options *o, double lr, double scale, int64_t first, int64_t steps)
{
    float *w0 = ck_alloc(n * sizeof *w0), *g = ck_alloc(n * sizeof *g);
    adam want = {ck_alloc(n * sizeof(double)), ck_alloc(n * sizeof(double)), ck_alloc(n * sizeof(double))};
    state got[TEST_ENGINES];

    test_fill(w0, n, 0);
    for (size_t i = 0; i < n; i++) {
        want.w[i] = (double)w0[i];
        want.m[i] = want.v[i] = 0;
    }
    for (size_t e = 0; e < all.n; e++)
        got[e] = state_open(w0, n);
    for (int64_t t = first; t < first + steps; t++) {
        test_fill(g, n, t % 3 == 2 ? 4 : 0); /* sometimes with zeros */
        plain_step(&want, g, n, o, lr, scale, t);
        for (size_t e = 0; e < all.n; e++) { /* the first in one piece, others in two */
            const size_t split = n - n * e / all.n;
            const dm_gradient both = {g, g + split, split, n};
            dm_adamw_update(&all.e[e], got[e].w, got[e].m, got[e].v, &both, o, lr, scale, t);
        }
    }
    const double error = relative_error(got[0].w, want.w, w0, n, lr * sqrt((double)n)); /* steps may cancel */
    const double moments =
        fmax(relative_error(got[0].m, want.m, NULL, n, 0), relative_error(got[0].v, want.v, NULL, n, 0));
    worst[0] = fmax(worst[0], error);
    worst[1] = fmax(worst[1], moments);
    CK_MSG(error <= 2e-5 && moments <= 1e-6,
           "AdamW, %zu parameters, beta %g %g, steps %lld to %lld: error %.2e, of moments %.2e", n, o->beta1, o->beta2,
           (long long)first, (long long)(first + steps - 1), error, moments);
    for (size_t e = 1; e < all.n; e++)
        CK_MSG(same_state(&got[0], &got[e], n), "AdamW, %zu parameters: %s with %u threads has other bits", n,
               dm_isa_name(all.e[e].k.isa), all.e[e].threads);
    for (size_t e = 0; e < all.n; e++)
        state_close(&got[e]);
    free(w0);
    free(g);
    free(want.w);
    free(want.m);
    free(want.v);
}

static void test_adamw(void)
{
    static const dm_adamw_options options[] = {
        {0.9, 0.999, 1e-8, 0}, {0.9, 0.95, 1e-8, 0.1}, {0, 0.99, 1e-6, 0}, {0.9, 0.999999, 1e-3, 0.01}};
    static const size_t sizes[] = {0, 1, 17, 1023, 1024, 1025, 5000, 20011};
    const int64_t steps = getenv("DMPO_TEST_FAST") ? 5 : 25;

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t o = 0; o < sizeof options / sizeof *options; o++)
            check_adamw(sizes[s], &options[o], 0.01, s % 2 ? 1 : 0.37, 1, steps);
    check_adamw(3000, &options[0], 0.01, 1, 1000000, 3); /* corrections are all but 1, the moments still small */
}

/* A clipping factor is a factor: a power of two may as well be applied beforehand. Without gradient nothing moves but
 * by decay; with rate 0 nothing at all. */
static void test_adamw_special(void)
{
    enum { N = 777 };
    const dm_adamw_options plain = {0.9, 0.999, 1e-8, 0}, decaying = {0.9, 0.999, 1e-8, 0.5};
    float w0[N], g[N], small[N], zero[N] = {0};

    test_fill(w0, N, 0);
    test_fill(g, N, 0);
    for (size_t i = 0; i < N; i++)
        small[i] = g[i] * 0.125f;
    for (size_t e = 0; e < all.n; e++) {
        state a = state_open(w0, N), b = state_open(w0, N), c = state_open(w0, N), d = state_open(w0, N);
        bool decayed = true, still = true, bounded = true;
        const dm_gradient given = dm_gradient_whole(g, N), smaller = dm_gradient_whole(small, N);
        const dm_gradient none = dm_gradient_whole(zero, N);
        dm_adamw_update(&all.e[e], a.w, a.m, a.v, &given, &plain, 0.01, 0.125, 1);
        dm_adamw_update(&all.e[e], b.w, b.m, b.v, &smaller, &plain, 0.01, 1, 1);
        CK(same_state(&a, &b, N));
        dm_adamw_update(&all.e[e], c.w, c.m, c.v, &none, &decaying, 0.5, 1, 1);
        dm_adamw_update(&all.e[e], d.w, d.m, d.v, &given, &decaying, 0, 1, 1);
        for (size_t i = 0; i < N; i++) {
            decayed = decayed && c.w[i] == w0[i] * 0.75f && c.m[i] == 0 && c.v[i] == 0;
            still = still && d.w[i] == w0[i];
            bounded =
                bounded && fabs((double)a.w[i] - (double)w0[i]) <= 0.01 * 1.0001; /* the first step is lr, or less */
        }
        CK(decayed);
        CK(still);
        CK(bounded);
        state_close(&a);
        state_close(&b);
        state_close(&c);
        state_close(&d);
    }
}

int main(int argc, char **argv)
{
    static const unsigned threads[] = {1, 2, 3, 4, 5, 6, 7, 8};
    const int status = engines_open(&all, argc, argv, threads, sizeof threads / sizeof *threads);

    if (status)
        return status;
    test_seed(5);
    test_schedules();
    test_norm();
    test_adamw();
    test_adamw_special();
    printf("AdamW: largest error %.2e of the weights' change, %.2e of the moments\n", worst[0], worst[1]);
    engines_close(&all);
    return ck_done("optimizer");
}
