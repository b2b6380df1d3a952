#include "model/train/optimizer.h"

#include <math.h>
#include <string.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"

#define UPDATE_GRAIN ((size_t)1024)

double dm_learning_rate(dm_lr_schedule schedule, double lr, int64_t s, int64_t warmup, int64_t total)
{
    const double pi = 3.14159265358979323846;

    if (s < warmup)
        return lr * ((double)(s + 1) / (double)warmup);
    const double r = total > warmup ? (double)(s - warmup) / (double)(total - warmup) : 0;
    switch (schedule) {
    case DM_SCHEDULE_LINEAR:
        return lr * (1 - r);
    case DM_SCHEDULE_COSINE:
        return lr * ((1 + dm_cos(pi * r)) / 2);
    default:
        return lr;
    }
}

typedef struct norm_task {
    const dm_engine *e;
    const dm_gradient *g;
    float *partial;
} norm_task;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Values [begin, begin + n); in `copy` when they lie in both pieces. */
static const float *values_at(const dm_gradient *g, size_t begin, size_t n, float *copy)
{
    if (begin >= g->split)
        return g->high + (begin - g->split);
    if (begin + n <= g->split)
        return g->low + begin;
    const size_t first = g->split - begin;
    memcpy(copy, g->low + begin, first * sizeof *copy);
    memcpy(copy + first, g->high, (n - first) * sizeof *copy);
    return copy;
}

static void norm_part(void *context, unsigned part, unsigned parts)
{
    const norm_task *t = context;
    const dm_range chunks = dm_range_split((t->g->n + DM_NORM_CHUNK - 1) / DM_NORM_CHUNK, 1, part, parts);
    float copy[DM_NORM_CHUNK];

    for (size_t i = chunks.begin; i < chunks.end; i++) {
        const size_t begin = i * DM_NORM_CHUNK, n = smaller(DM_NORM_CHUNK, t->g->n - begin);
        const float *x = values_at(t->g, begin, n, copy);
        t->partial[i] = t->e->k.dot(x, x, n);
    }
}

double dm_grad_norm_of(const float *partial, size_t chunks)
{
    double sum = 0;

    for (size_t i = 0; i < chunks; i++)
        sum += (double)partial[i];
    return sqrt(sum);
}

double dm_grad_norm(const dm_engine *e, const dm_gradient *g, float *partial)
{
    norm_task task = {e, g, partial};

    dm_pool_run_sized(e->pool, g->n, norm_part, &task);
    return dm_grad_norm_of(partial, (g->n + DM_NORM_CHUNK - 1) / DM_NORM_CHUNK);
}

typedef struct adamw_task {
    const dm_engine *e;
    float *w, *m, *v;
    const dm_gradient *g;
    dm_adamw_step step;
} adamw_task;

/* Values [begin, end), whose gradient begins at g. */
static void update(const adamw_task *t, size_t begin, size_t end, const float *g)
{
    if (begin < end)
        t->e->k.adamw(t->w + begin, t->m + begin, t->v + begin, g, end - begin, &t->step);
}

static void adamw_part(void *context, unsigned part, unsigned parts)
{
    const adamw_task *t = context;
    const dm_gradient *g = t->g;
    const dm_range r = dm_range_split(g->n, UPDATE_GRAIN, part, parts);
    const size_t high = r.begin > g->split ? r.begin : g->split;

    update(t, r.begin, smaller(r.end, g->split), g->low + r.begin);
    update(t, high, r.end, g->high + (high - g->split));
}

/* 1 - beta^t */
static double bias_correction(double beta, int64_t t)
{
    return -dm_expm1((double)t * dm_log(beta));
}

void dm_adamw_update(const dm_engine *e, float *w, float *m, float *v, const dm_gradient *g, const dm_adamw_options *o,
                     double lr, double scale, int64_t t)
{
    adamw_task task = {
        .e = e,
        .w = w,
        .m = m,
        .v = v,
        .g = g,
        .step =
            {
                .scale = (float)scale,
                .beta1 = (float)o->beta1,
                .one_minus_beta1 = (float)(1 - o->beta1),
                .beta2 = (float)o->beta2,
                .one_minus_beta2 = (float)(1 - o->beta2),
                .decay = (float)(1 - lr * o->weight_decay),
                .step_size = (float)(lr / bias_correction(o->beta1, t)),
                .inv_sqrt_correction2 = (float)(1 / sqrt(bias_correction(o->beta2, t))),
                .eps = (float)o->eps,
            },
    };
    dm_pool_run_sized(e->pool, g->n, adamw_part, &task);
}
