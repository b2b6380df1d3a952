/* AdamW, the learning-rate schedule and the gradient norm. */
#ifndef DM_MODEL_TRAIN_OPTIMIZER_H
#define DM_MODEL_TRAIN_OPTIMIZER_H

#include <stddef.h>
#include <stdint.h>

#include "simd/engine.h"

#define DM_NORM_CHUNK ((size_t)4096) /* part of the numerics contract */

typedef enum dm_lr_schedule { DM_SCHEDULE_CONSTANT, DM_SCHEDULE_LINEAR, DM_SCHEDULE_COSINE } dm_lr_schedule;

/* Learning rate of step s (from 0) of `total`: linear warm-up lr*min(1, (s+1)/warmup), then constant, or linear or
 * cosine decay to 0 over the steps that remain: with r = (s - warmup)/(total - warmup): linear lr*(1-r), cosine
 * lr*(1+cos(pi r))/2 (as transformers' get_*_schedule_with_warmup, at its step s+1 in the warm-up). f64. */
double dm_learning_rate(dm_lr_schedule schedule, double lr, int64_t s, int64_t warmup, int64_t total);

typedef struct dm_gradient { /* of n values, in one piece or two */
    float *low, *high;       /* [0, split) and [split, n) */
    size_t split, n;
} dm_gradient;

static inline dm_gradient dm_gradient_whole(float *g, size_t n)
{
    return (dm_gradient){g, g + n, n, n};
}

/* Global L2 norm: chunks of 4096 floats, each a lanes16 dot in f32, partial sums added in order in f64. `partial` is
 * scratch for (n + 4095) / 4096 floats. */
double dm_grad_norm(const dm_engine *e, const dm_gradient *g, float *partial);
/* From the chunks' partial sums. */
double dm_grad_norm_of(const float *partial, size_t chunks);

typedef struct dm_adamw_options {
    double beta1, beta2, eps, weight_decay;
} dm_adamw_options;

/* Step t (from 1) on all g->n parameters; scale multiplies the gradient (clipping). Bias corrections in f64, rounded
 * once. */
void dm_adamw_update(const dm_engine *e, float *w, float *m, float *v, const dm_gradient *g, const dm_adamw_options *o,
                     double lr, double scale, int64_t t);

#endif
