#include "model/formats/rope_factors.h"

#include <math.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"

static const double pi = 3.14159265358979323846;

/* Turns per token of inverse frequency i. */
static double turns(const dm_config *c, size_t i)
{
    return 1.0 / dm_pow(c->rope_theta, (double)(2 * i) / (double)c->head_dim) / (2.0 * pi);
}

double dm_rope_factor(const dm_config *c, size_t i)
{
    const double ratio = (double)c->rope_original * turns(c, i);

    if (ratio < c->rope_low)
        return c->rope_factor;
    if (ratio > c->rope_high)
        return 1;
    const double smooth = (ratio - c->rope_low) / (c->rope_high - c->rope_low);
    return 1.0 / ((1.0 - smooth) / c->rope_factor + smooth);
}

static bool gives(const dm_config *c, const float *factors)
{
    for (size_t i = 0; i < c->head_dim / 2; i++)
        if (!(fabs(dm_rope_factor(c, i) - (double)factors[i]) <= 1e-5 * (double)factors[i]))
            return false;
    return true;
}

/* Between the frequencies that stay and those that are divided by the whole factor, 1 / factor is linear in the
 * frequency; two points there give low, high and the original length up to a common scale, low being 1. */
static bool fit(dm_config *c, const float *factors)
{
    const double whole = c->rope_factor;
    size_t found = 0;
    double smooth[2] = {0}, turn[2] = {0};

    for (size_t i = 0; i < c->head_dim / 2; i++) {
        const double f = (double)factors[i];
        if (!(f > 1.0001 && f < whole * 0.9999))
            continue;
        const size_t k = found ? 1 : 0; /* the first and the last */
        smooth[k] = (1.0 / f - 1.0 / whole) / (1.0 - 1.0 / whole);
        turn[k] = turns(c, i);
        found++;
    }
    if (found < 2)
        return false;
    const double slope = (smooth[0] - smooth[1]) / (turn[0] - turn[1]), below = slope * turn[0] - smooth[0];
    const double original = slope / below;
    if (!(below > 0 && original >= 1 && original <= INT32_MAX))
        return false;
    c->rope_low = 1;
    c->rope_high = 1 + 1 / below;
    c->rope_original = (uint32_t)(original + 0.5);
    return gives(c, factors);
}

bool dm_rope_from_factors(dm_config *c, const float *factors, uint32_t original)
{
    double most = 1;

    for (size_t i = 0; i < c->head_dim / 2; i++) {
        if (!(factors[i] >= 1.0f && factors[i] <= 1e9f))
            return false;
        if ((double)factors[i] > most)
            most = (double)factors[i];
    }
    if (most <= 1)
        return true; /* nothing is scaled */
    c->rope = DM_ROPE_LLAMA3;
    c->rope_factor = most;
    c->rope_low = 1;
    c->rope_high = 4;
    c->rope_original = original;
    if (original && gives(c, factors))
        return true;
    for (c->rope_original = 8192; c->rope_original >= 64; c->rope_original /= 2)
        if (gives(c, factors))
            return true;
    for (c->rope_original = 16384; c->rope_original <= 1u << 20; c->rope_original *= 2)
        if (gives(c, factors))
            return true;
    return fit(c, factors);
}
