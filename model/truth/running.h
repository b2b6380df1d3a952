/* Running error analysis (Wilkinson; Higham, Accuracy and Stability, 2002, section 3.3): a value with bounds for how
 * far an honest implementation's may be from it.
 *
 * A formula is written as elementary operations. Each may be a kernel of its own, so its result may be rounded to the
 * type that is stored; nothing is counted by hand. Sums inside of one operation have dm_gamma's two bounds. */
#ifndef DM_MODEL_TRUTH_RUNNING_H
#define DM_MODEL_TRUTH_RUNNING_H

#include "core/numbers/exact.h"
#include "model/truth/formula_internal.h"

typedef struct dm_running {
    double v, sound, likely;
} dm_running;

static inline dm_running dm_exactly(double v)
{
    return (dm_running){v, 0, 0};
}

/* Roundings of a function: 2 units in the last place, which CUDA's and C's keep for exp, log, tanh, erf, sin, cos, sqrt
 * and division; powers have 4. A fast exponential errs by 2 + 1.17 |x| units more (CUDA's __expf). */
#define DM_FUNCTION 4
#define DM_POWER 8

static inline double dm_exponential(double x)
{
    return DM_FUNCTION + 3 * fabs(x);
}

/* x after an operation whose addends have the magnitude `size` in sum: computed, then stored. */
static inline dm_running dm_after(const dm_rounding *r, dm_running x, double size)
{
    const double u = r->out > r->acc ? r->out + r->acc : r->acc, lost = r->least + r->flush;

    return (dm_running){x.v, x.sound + u * (size + x.sound) + lost, x.likely + u * (size + x.likely) + lost};
}

/* A constant of the configuration, which is rounded when it is stored. */
static inline dm_running dm_constant(const dm_rounding *r, double v)
{
    return dm_after(r, dm_exactly(v), fabs(v));
}

static inline dm_running dm_times(const dm_rounding *r, dm_running a, dm_running b)
{
    const double v = a.v * b.v, x = fabs(a.v), y = fabs(b.v);

    return dm_after(r,
                    (dm_running){v, x * b.sound + y * a.sound + a.sound * b.sound,
                                 x * b.likely + y * a.likely + a.likely * b.likely},
                    fabs(v));
}

static inline dm_running dm_plus(const dm_rounding *r, dm_running a, dm_running b)
{
    return dm_after(r, (dm_running){a.v + b.v, a.sound + b.sound, a.likely + b.likely}, fabs(a.v) + fabs(b.v));
}

static inline dm_running dm_minus(const dm_rounding *r, dm_running a, dm_running b)
{
    return dm_plus(r, a, (dm_running){-b.v, b.sound, b.likely});
}

/* A function's value where its argument's error has moved it so far, with `units` roundings of its own. */
static inline dm_running dm_function(const dm_rounding *r, double v, double sound, double likely, double units)
{
    const double own = units * r->acc * fabs(v);

    return dm_after(r, (dm_running){v, sound + own, likely + own}, fabs(v));
}

/* 1 / b, b > 0 */
static inline dm_running dm_inverse(const dm_rounding *r, dm_running b)
{
    const double v = 1 / b.v;
    const dm_running y = {v, b.sound < b.v ? v * b.sound / (b.v - b.sound) : INFINITY,
                          b.likely < b.v ? v * b.likely / (b.v - b.likely) : INFINITY};

    return dm_function(r, v, y.sound, y.likely, DM_FUNCTION);
}

static inline dm_running dm_root(const dm_rounding *r, dm_running a)
{
    const double v = sqrt(a.v);
    const dm_running y = {v, v > 0 ? fmin(a.sound / v, sqrt(a.sound)) : sqrt(a.sound),
                          v > 0 ? fmin(a.likely / v, sqrt(a.likely)) : sqrt(a.likely)};

    return dm_function(r, v, y.sound, y.likely, DM_FUNCTION);
}

/* At least exp(x) - 1, x >= 0. */
static inline double dm_growth(double x)
{
    return x < 1 ? x + x * x : expm1(x);
}

/* v: exp(a.v) */
static inline dm_running dm_exp_of(const dm_rounding *r, dm_running a, double v)
{
    return dm_function(r, v, v * dm_growth(a.sound), v * dm_growth(a.likely), dm_exponential(a.v));
}

/* One operation that adds n terms, each with an error: their errors' sums are given in t. */
static inline dm_running dm_sum_run(const dm_evaluation *e, dm_running t, double size, double n)
{
    const dm_both g = dm_gamma(e, n);

    return dm_after(&e->r,
                    (dm_running){t.v, t.sound + g.sound * (size + t.sound), t.likely + g.likely * (size + t.likely)},
                    fabs(t.v));
}

/* Element i of output o; size: the magnitudes of what it is the sum of, for its conditioning. */
static inline void dm_put_run(const dm_evaluation *e, size_t o, size_t i, dm_running y, double size)
{
    i -= e->first[o];
    e->out[o][i] = y.v;
    if (!e->sound)
        return;
    e->sound[o][i] = y.sound;
    e->likely[o][i] = y.likely;
    e->size[o][i] = size;
}

#endif
