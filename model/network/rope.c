#include "model/network/rope.h"

#include "core/exact.h"

/* Inverse frequency i of the head, in f64 (Su et al. 2021; llama3: transformers' _compute_llama3_parameters). */
static double rope_frequency(const dm_config *c, size_t i)
{
    const double pi = 3.14159265358979323846;
    const double plain = 1.0 / dm_pow(c->rope_theta, (double)(2 * i) / (double)c->head_dim);

    if (c->rope == DM_ROPE_LINEAR)
        return plain / c->rope_factor;
    if (c->rope == DM_ROPE_LLAMA3) {
        const double wave = 2.0 * pi / plain, original = (double)c->rope_original;
        if (wave > original / c->rope_low)
            return plain / c->rope_factor;
        if (wave >= original / c->rope_high) {
            const double smooth = (original / wave - c->rope_low) / (c->rope_high - c->rope_low);
            return (1.0 - smooth) * plain / c->rope_factor + smooth * plain;
        }
    }
    return plain;
}

void dm_rope_tables(float *cos, float *sin, size_t positions, const dm_config *c)
{
    const size_t half = c->head_dim / 2;

    for (size_t i = 0; i < half; i++) {
        const double frequency = rope_frequency(c, i);
        for (size_t p = 0; p < positions; p++) {
            cos[p * half + i] = (float)dm_cos((double)p * frequency);
            sin[p * half + i] = (float)dm_sin((double)p * frequency);
        }
    }
}
