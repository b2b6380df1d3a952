#include "model/optimizer.h"

#include <math.h>

#include "core/exact.h"
#include "core/numeric.h"

#define NORM_CHUNK ((size_t)4096) /* part of the numerics contract */
#define UPDATE_GRAIN ((size_t)1024)

double dm_learning_rate(dmpo_schedule schedule, double lr, int64_t s, int64_t warmup, int64_t total)
{
    const double pi = 3.14159265358979323846;

    if (s < warmup)
        return lr * ((double)(s + 1) / (double)warmup);
    const double r = total > warmup ? (double)(s - warmup) / (double)(total - warmup) : 0;
    switch (schedule) {
    case DMPO_LINEAR:
        return lr * (1 - r);
    case DMPO_COSINE:
        return lr * ((1 + dm_cos(pi * r)) / 2);
    default:
        return lr;
    }
}

typedef struct norm_task {
    const dm_engine *e;
    const float *g;
    size_t n;
    float *partial;
} norm_task;

static void norm_part(void *context, unsigned part, unsigned parts)
{
    const norm_task *t = context;
    const dm_range chunks = dm_split((t->n + NORM_CHUNK - 1) / NORM_CHUNK, 1, part, parts);

    for (size_t i = chunks.begin; i < chunks.end; i++) {
        const float *x = t->g + i * NORM_CHUNK;
        const size_t rest = t->n - i * NORM_CHUNK;
        t->partial[i] = t->e->k.dot(x, x, rest < NORM_CHUNK ? rest : NORM_CHUNK);
    }
}

double dm_grad_norm(const dm_engine *e, const float *g, size_t n, float *partial)
{
    norm_task task = {e, g, n, partial};
    double sum = 0;

    dm_pool_run_sized(e->pool, n, norm_part, &task);
    for (size_t i = 0; i < (n + NORM_CHUNK - 1) / NORM_CHUNK; i++)
        sum += (double)partial[i];
    return sqrt(sum);
}

typedef struct adamw_task {
    const dm_engine *e;
    float *w, *m, *v;
    const float *g;
    size_t n;
    dm_adamw_step step;
} adamw_task;

static void adamw_part(void *context, unsigned part, unsigned parts)
{
    const adamw_task *t = context;
    const dm_range r = dm_split(t->n, UPDATE_GRAIN, part, parts);

    t->e->k.adamw(t->w + r.begin, t->m + r.begin, t->v + r.begin, t->g + r.begin, r.end - r.begin, &t->step);
}

/* 1 - beta^t */
static double bias_correction(double beta, int64_t t)
{
    return -dm_expm1((double)t * dm_log(beta));
}

void dm_adamw_update(const dm_engine *e, float *w, float *m, float *v, const float *g, size_t n,
                     const dm_adamw_options *o, double lr, double scale, int64_t t)
{
    adamw_task task = {
        .e = e,
        .w = w,
        .m = m,
        .v = v,
        .g = g,
        .n = n,
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
    dm_pool_run_sized(e->pool, n, adamw_part, &task);
}
