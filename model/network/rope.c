/* Rotary position embedding (Su et al. 2021): the angles of a model's layers, in f64. */
#include "model/network/rope.h"

#include <math.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"

static const double pi = 3.14159265358979323846;

static double plain_frequency(double theta, uint32_t head_dim, size_t i)
{
    return 1.0 / dm_pow(theta, (double)(2 * i) / (double)head_dim);
}

/* llama3: transformers' _compute_llama3_parameters */
static double llama3_frequency(const dm_config *c, double plain)
{
    const double wave = 2.0 * pi / plain, original = (double)c->rope_original;

    if (wave > original / c->rope_low)
        return plain / c->rope_factor;
    if (wave >= original / c->rope_high) {
        const double smooth = (original / wave - c->rope_low) / (c->rope_high - c->rope_low);
        return (1.0 - smooth) * plain / c->rope_factor + smooth * plain;
    }
    return plain;
}

/* The index of the frequency that turns so many times within the original length. */
static double turning(const dm_config *c, double turns)
{
    return (double)c->head_dim * dm_log((double)c->rope_original / (turns * (2.0 * pi))) /
           (2.0 * dm_log(c->rope_theta));
}

/* YaRN (Peng et al. 2023, arXiv 2309.00071): frequencies that turn often stay, those that turn rarely are divided by
 * the factor, those between are mixed. */
static double yarn_frequency(const dm_config *c, double plain, size_t i)
{
    double low = turning(c, c->rope_fast), high = turning(c, c->rope_slow);

    if (c->rope_whole) {
        low = floor(low);
        high = ceil(high);
    }
    low = low > 0 ? low : 0;
    high = high < (double)(c->head_dim - 1) ? high : (double)(c->head_dim - 1);
    if (!(low < high) && !(low > high))
        high += 0.001;
    double ramp = ((double)i - low) / (high - low);
    ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
    const double kept = 1.0 - ramp;
    return plain / c->rope_factor * (1.0 - kept) + plain * kept;
}

double dm_rope_frequency(const dm_config *c, dm_rope_use use, size_t i)
{
    const double plain = plain_frequency(use == DM_ROPE_LOCAL ? c->rope_local_theta : c->rope_theta, c->head_dim, i);

    if (use == DM_ROPE_LOCAL)
        return plain;
    switch (c->rope) {
    case DM_ROPE_LINEAR:
        return plain / c->rope_factor;
    case DM_ROPE_LLAMA3:
        return llama3_frequency(c, plain);
    case DM_ROPE_YARN:
        return yarn_frequency(c, plain, i);
    default:
        return plain;
    }
}

double dm_rope_yarn_attention(double factor)
{
    return factor > 1 ? 0.1 * dm_log(factor) + 1.0 : 1.0;
}

void dm_rope_tables(float *cosine, float *sine, size_t positions, const dm_config *c, dm_rope_use use)
{
    const size_t half = c->head_dim / 2;
    const double scale = use == DM_ROPE_MAIN && c->rope == DM_ROPE_YARN ? c->rope_attention : 1.0;

    for (size_t i = 0; i < half; i++) {
        const double frequency = dm_rope_frequency(c, use, i);
        for (size_t p = 0; p < positions; p++) {
            cosine[p * half + i] = (float)(dm_cos((double)p * frequency) * scale);
            sine[p * half + i] = (float)(dm_sin((double)p * frequency) * scale);
        }
    }
}
