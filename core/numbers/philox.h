/* Counter-based random numbers: Philox4x32-10 (Salmon et al., SC11, "Parallel random numbers: as easy
 * as 1, 2, 3"). A value is a pure function of (seed, purpose, counter): there is no state to save, so
 * resuming and threads cannot change it. */
#ifndef DM_CORE_NUMBERS_PHILOX_H
#define DM_CORE_NUMBERS_PHILOX_H

#include <stddef.h>
#include <stdint.h>

/* Part of the numerics contract: never renumber. */
typedef enum dm_random_purpose {
    DM_RNG_INIT = 1,    /* initial weights: counter = element, stream = tensor index */
    DM_RNG_SHUFFLE = 2, /* order of the training items: stream = epoch */
    DM_RNG_SAMPLE = 3,  /* sampling while generating: stream = episode, counter = position */
    DM_RNG_TEST = 4,    /* tests and benchmarks */
    DM_RNG_ENV = 5,     /* environments: seed = episode's, stream and counter are the environment's */
    DM_RNG_EXPLORE = 6, /* a random policy: stream = episode, counter = turn */
    DM_RNG_PAIRS = 7,   /* making pairs: stream 0 = which are kept, 1 + candidate = its degraded turns */
    DM_RNG_VERIFY = 9,  /* steps that dmpo verify chooses: an order of all of them, counter as drawn */
    DM_RNG_SEARCH = 10, /* which values a search tries: counter as drawn */
    DM_RNG_LORA = 8     /* a new adapter's A: counter = element, stream = tensor index */
} dm_random_purpose;

typedef struct dm_u32x4 {
    uint32_t v[4];
} dm_u32x4;

/* The raw block function, as in the reference implementation (Random123). */
dm_u32x4 dm_philox4x32_10(dm_u32x4 counter, const uint32_t key[2]);

/* key = {seed low, seed high ^ purpose * 0x9E3779B9},
 * counter = {counter low, counter high, stream low, stream high}. */
dm_u32x4 dm_random(uint64_t seed, dm_random_purpose purpose, uint64_t stream, uint64_t counter);

/* Uniform in [0, 1): the top 53 bits of a 64-bit word times 2^-53. */
double dm_random_uniform(uint64_t seed, dm_random_purpose purpose, uint64_t stream, uint64_t counter);

/* Uniform in [0, bound), bound >= 1, unbiased; takes as many counters as it needs, from *counter on. */
uint32_t dm_random_below(uint32_t bound, uint64_t seed, dm_random_purpose purpose, uint64_t stream, uint64_t *counter);

/* Standard normal by Box-Muller in f64 with the engine's own log, sqrt, sin and cos. */
double dm_random_normal(uint64_t seed, dm_random_purpose purpose, uint64_t stream, uint64_t counter);

/* Fisher-Yates permutation of order[0..n): index i is swapped with a uniform j <= i (dm_random_below
 * over successive counters). */
void dm_random_shuffle(uint32_t *order, size_t n, uint64_t seed, dm_random_purpose purpose, uint64_t stream);

#endif
