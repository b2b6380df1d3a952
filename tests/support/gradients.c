#include "tests/support/gradients.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "model/network/params.h"
#include "simd/engine.h"
#include "tests/support/check.h"
#include "tests/support/engines.h"
#include "tests/support/reference64.h"

#define STEP 1e-5 /* errors of the differences: about STEP^2 and 1e-16 / STEP */

static int32_t chosen_ids[CHOSEN] = {1, 5, 2, 9, 9, 4, 7, 3, 0, 10, 6, 2, 8};
static int32_t rejected_ids[REJECTED] = {1, 5, 2, 9, 9, 4, 0, 7, 7, 3, 10};
static dm_span chosen_turns[] = {{2, 4}, {6, 9}, {11, 13}}, rejected_turns[] = {{2, 4}, {6, 8}};
const dm_data_item pair = {
    .id = "pair",
    .chosen = {.ids = chosen_ids, .n = CHOSEN, .turns = chosen_turns, .n_turns = 3, .n_actions = 7},
    .rejected = {.ids = rejected_ids, .n = REJECTED, .turns = rejected_turns, .n_turns = 2, .n_actions = 4}};

const char *where;
double worst;

float *floats(size_t n)
{
    float *p = NULL;

    if (posix_memalign((void **)(void *)&p, 64, (n + 16) * sizeof *p) != 0) {
        perror("posix_memalign");
        exit(2);
    }
    memset(p, 0, (n + 16) * sizeof *p);
    return p;
}

array random_array(size_t n, double size)
{
    array a = {floats(n), f64_alloc(n), n};

    for (size_t i = 0; i < n; i++)
        a.d[i] = a.f[i] = (float)(size * (double)test_uniform());
    return a;
}

array copy_of(array a)
{
    array b = {floats(a.n), f64_alloc(a.n), a.n};

    memcpy(b.f, a.f, a.n * sizeof *b.f);
    memcpy(b.d, a.d, a.n * sizeof *b.d);
    return b;
}

void release(array a)
{
    free(a.f);
    free(a.d);
}

static double dot(const double *x, const double *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

double norm(const double *x, size_t n)
{
    return sqrt(dot(x, x, n));
}

void near(const char *what, const float *got, const double *want, size_t n, double floor, double limit)
{
    double error = 0;

    for (size_t i = 0; i < n; i++)
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
    const double size = fmax(norm(want, n), floor), d = error == 0 ? 0 : sqrt(error) / size; /* inf and NaN fail */
    worst = d <= worst ? worst : d;
    CK_MSG(d <= limit, "%s: %s: relative error %.2e, limit %.0e", where, what, d, limit);
}

double value(problem *p)
{
    p->forward(p);
    return p->loss ? p->loss(p) : dot(p->y, p->dy.d, p->dy.n);
}

double slope(problem *p, double *x)
{
    const double keep = *x;

    *x = keep + STEP;
    const double above = value(p);
    *x = keep - STEP;
    const double below = value(p);
    *x = keep;
    return (above - below) / (2 * STEP);
}

void check_gradient(const char *what, problem *p, array x, const float *got, const array *base, double limit)
{
    double *want = f64_alloc(x.n);

    for (size_t i = 0; i < x.n; i++)
        want[i] = slope(p, &x.d[i]) + (base ? base->d[i] : 0);
    near(what, got, want, x.n, 0, limit);
    free(want);
}

problem problem_open(void (*forward)(problem *), size_t rows, size_t n, size_t out, size_t x, size_t w, size_t b)
{
    return (problem){.forward = forward,
                     .x = random_array(x, 1.5),
                     .w = random_array(w, 0.7),
                     .b = random_array(b, 0.7),
                     .dy = random_array(rows * out, 1),
                     .y = f64_alloc(rows * out),
                     .rows = rows,
                     .n = n,
                     .out = out};
}

void problem_close(problem *p)
{
    release(p->x);
    release(p->w);
    release(p->b);
    release(p->dy);
    free(p->y);
}

static void place(machine *m, dm_arena *arena, const dm_engine *e, const dm_network_size *size, const dm_pack_size *max)
{
    dm_network_place(&m->n, arena, e, &m->c, &m->l, size);
    dm_pack_place(&m->pack, arena, max);
    dm_objective_place(&m->objective, arena, max);
}

static void check_opened(dm_status s, const dm_error *err)
{
    if (s != DM_OK) {
        fprintf(stderr, "%s\n", err->message);
        exit(2);
    }
}

void machine_open(machine *m, const dm_engine *e, const dm_config *c, uint32_t recompute, int keep_logits)
{
    const dm_pack_size max = dm_pack_measure(&pair, 0);
    const dm_network_size size = {.mode = DM_NETWORK_TRAIN,
                                  .rows = max.rows,
                                  .predictions = max.predictions,
                                  .longest = max.longest,
                                  .recompute = recompute,
                                  .keep_logits = keep_logits};
    dm_arena measure = dm_arena_measure();
    dm_error err = {0};

    *m = (machine){.c = *c};
    check_opened(dm_param_layout_build(&m->l, &m->c, &err), &err);
    place(m, &measure, e, &size, &max);
    check_opened(dm_arena_open(&m->arena, measure.peak, &err), &err);
    place(m, &m->arena, e, &size, &max);
    dm_network_tables(&m->n);
    m->w = random_array(m->l.floats, 0.6);
    m->dw = floats(m->l.floats);
}

void machine_close(machine *m)
{
    dm_arena_close(&m->arena);
    dm_param_layout_free(&m->l);
    release(m->w);
    free(m->dw);
}
