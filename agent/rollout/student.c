#include "agent/rollout/student.h"

#include <math.h> /* sqrt (exact), isnan and NAN only */

#include "core/numbers/exact.h"

#define HALF_PI 0x1.921fb54442d18p0
#define FREEDOM_MAX ((size_t)1000000) /* beyond, the quantile stays the same to five digits */
#define STEPS 60
#define SURE 0.95
#define POWER 0.8

/* P(-t < T < t) for t = sqrt(freedom) tan(theta), as the finite sums that it is (Abramowitz and Stegun 26.7.3, 4). */
static double central(size_t freedom, double theta)
{
    const double sine = dm_sin(theta), cosine = dm_cos(theta), square = cosine * cosine;
    const int odd = freedom % 2 == 1;
    double term = odd ? cosine : 1, sum = 0;

    for (size_t k = odd ? 3 : 2; k <= freedom; k += 2) {
        sum += term;
        term *= square * (double)(k - 1) / (double)k;
    }
    return odd ? (theta + sine * sum) / HALF_PI : sine * sum;
}

double dm_t_within(size_t freedom, double inside)
{
    double low = 0, high = HALF_PI;

    freedom = freedom < FREEDOM_MAX ? freedom : FREEDOM_MAX;
    for (int i = 0; i < STEPS; i++) {
        const double middle = 0.5 * (low + high);
        if (central(freedom, middle) < inside)
            low = middle;
        else
            high = middle;
    }
    return sqrt((double)freedom) * dm_sin(low) / dm_cos(low);
}

double dm_t_quantile(size_t freedom)
{
    return dm_t_within(freedom, SURE);
}

double dm_t_outside(size_t freedom, double t)
{
    double low = 0, high = HALF_PI;

    freedom = freedom < FREEDOM_MAX ? freedom : FREEDOM_MAX;
    for (int i = 0; i < STEPS; i++) { /* the angle whose tangent is t / sqrt(freedom) */
        const double middle = 0.5 * (low + high);
        if (sqrt((double)freedom) * dm_sin(middle) < t * dm_cos(middle))
            low = middle;
        else
            high = middle;
    }
    const double outside = 1 - central(freedom, low);
    return outside > 0 ? outside : 0;
}

double dm_mean_of(const double *x, size_t n, double *squares)
{
    double sum = 0;

    *squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    const double mean = n > 0 ? sum / (double)n : NAN;
    for (size_t i = 0; i < n; i++)
        *squares += (x[i] - mean) * (x[i] - mean);
    return mean;
}

/* ---- comparisons ---- */

/* What of 2 t's sum must not be above sought sqrt(n) / deviation. */
static double reach(size_t n, size_t comparisons)
{
    return dm_t_within(n - 1, 1 - (1 - SURE) / (double)comparisons) + dm_t_within(n - 1, 2 * POWER - 1);
}

static int enough(size_t n, size_t comparisons, double ratio)
{
    return reach(n, comparisons) <= ratio * sqrt((double)n);
}

/* ratio: sought / deviation */
static size_t fewest(size_t comparisons, double ratio)
{
    size_t low = 1, high = 2;

    while (!enough(high, comparisons, ratio)) {
        if (high > FREEDOM_MAX)
            return 0;
        low = high;
        high *= 2;
    }
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (enough(middle, comparisons, ratio))
            high = middle;
        else
            low = middle;
    }
    return high;
}

dm_comparison dm_comparison_of(const double *x, size_t n, size_t comparisons, double sought)
{
    dm_comparison c = {
        .n = n, .mean = NAN, .deviation = NAN, .half = NAN, .wide = NAN, .p = NAN, .holm = NAN, .power = NAN};
    double squares;

    c.mean = dm_mean_of(x, n, &squares);
    if (n < 2)
        return c;
    c.deviation = sqrt(squares / (double)(n - 1));
    const double error = c.deviation / sqrt((double)n), away = fabs(c.mean);
    const double bound = dm_t_within(n - 1, 1 - (1 - SURE) / (double)comparisons);
    c.half = dm_t_quantile(n - 1) * error;
    c.wide = bound * error;
    if (!(c.deviation > 0)) { /* all alike */
        c.p = away > 0 ? 0 : 1;
        c.power = 1;
        c.needed = 2;
        return c;
    }
    c.p = dm_t_outside(n - 1, away / error);
    const double short_of = bound - sought / error;
    const double beyond = dm_t_outside(n - 1, fabs(short_of)) / 2;
    c.power = short_of > 0 ? beyond : 1 - beyond;
    c.needed = fewest(comparisons, sought / c.deviation);
    return c;
}

void dm_comparisons_holm(dm_comparison *c, size_t n)
{
    size_t left = 0;
    double last = 0;

    for (size_t i = 0; i < n; i++)
        left += !isnan(c[i].p);
    for (; left > 0; left--) {
        dm_comparison *least = NULL;
        for (size_t i = 0; i < n; i++)
            if (!isnan(c[i].p) && isnan(c[i].holm) && (!least || c[i].p < least->p))
                least = &c[i];
        if (!least)
            return;
        const double p = (double)left * least->p;
        last = p > last ? p : last;
        least->holm = last < 1 ? last : 1;
    }
}
