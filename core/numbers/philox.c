#include "core/numbers/philox.h"

#include <math.h> /* sqrt only: exact */

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"

#define ROUNDS 10
#define MULTIPLIER_0 UINT64_C(0xD2511F53)
#define MULTIPLIER_1 UINT64_C(0xCD9E8D57)
#define WEYL_0 0x9E3779B9u /* golden ratio */
#define WEYL_1 0xBB67AE85u /* sqrt(3) - 1 */
#define TWO_PI 0x1.921fb54442d18p2

dm_u32x4 dm_philox4x32_10(dm_u32x4 counter, const uint32_t key[2])
{
    uint32_t k0 = key[0], k1 = key[1];
    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t p0 = MULTIPLIER_0 * counter.v[0], p1 = MULTIPLIER_1 * counter.v[2];
        counter = (dm_u32x4){{
            (uint32_t)(p1 >> 32) ^ counter.v[1] ^ k0,
            (uint32_t)p1,
            (uint32_t)(p0 >> 32) ^ counter.v[3] ^ k1,
            (uint32_t)p0,
        }};
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    return counter;
}

dm_u32x4 dm_random(uint64_t seed, dm_random_purpose purpose, uint64_t stream, uint64_t counter)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32) ^ ((uint32_t)purpose * WEYL_0)};
    const dm_u32x4 block = {{(uint32_t)counter, (uint32_t)(counter >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
    return dm_philox4x32_10(block, key);
}

static double unit(uint32_t low, uint32_t high)
{
    return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

double dm_random_uniform(uint64_t seed, dm_random_purpose purpose, uint64_t stream, uint64_t counter)
{
    const dm_u32x4 r = dm_random(seed, purpose, stream, counter);
    return unit(r.v[0], r.v[1]);
}

double dm_random_normal(uint64_t seed, dm_random_purpose purpose, uint64_t stream, uint64_t counter)
{
    const dm_u32x4 r = dm_random(seed, purpose, stream, counter);
    const double u = 1 - unit(r.v[0], r.v[1]); /* (0, 1]: log is finite */
    return sqrt(-2 * dm_log(u)) * dm_cos(TWO_PI * unit(r.v[2], r.v[3]));
}

/* Lemire 2019: the high word of random * bound; the few low words that would favour some results draw again. */
uint32_t dm_random_below(uint32_t bound, uint64_t seed, dm_random_purpose purpose, uint64_t stream, uint64_t *counter)
{
    const uint32_t unfair = (0 - bound) % bound;
    uint64_t product;
    do
        product = (uint64_t)dm_random(seed, purpose, stream, (*counter)++).v[0] * bound;
    while ((uint32_t)product < unfair);
    return (uint32_t)(product >> 32);
}

void dm_random_shuffle(uint32_t *order, size_t n, uint64_t seed, dm_random_purpose purpose, uint64_t stream)
{
    uint64_t counter = 0;
    for (size_t i = n; i-- > 1;) {
        const uint32_t j = dm_random_below((uint32_t)i + 1, seed, purpose, stream, &counter);
        const uint32_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}
