/* For tests that run on every engine this machine can open: the options --isa and --threads (DMPO_ISA, DMPO_THREADS),
 * inputs that provoke under- and overflow, and buffers that end at an inaccessible page. */
#ifndef DM_TESTS_SUPPORT_ENGINES_H
#define DM_TESTS_SUPPORT_ENGINES_H

#include <stddef.h>
#include <stdint.h>

#include "simd/engine.h"

#define TEST_ENGINES 32

typedef struct engines {
    dm_engine e[TEST_ENGINES];
    size_t n;
} engines;

/* One engine for each level and thread count, or only for those that the options name. */
int engines_open(engines *all, int argc, char **argv, const unsigned *counts, size_t n_counts);
void engines_close(engines *all);

/* ---- inputs ---- */

void test_seed(uint64_t seed);
uint32_t test_random(void); /* xorshift64* (Vigna 2016) */
float test_uniform(void);

/* 0: noise; 1: wide exponents; 2 and 3: tiny, of one sign (the other one for 3), so that products of the two
 * underflow to -0; 4: noise with many zeros of both signs. */
#define TEST_FILLS 5
void test_fill(float *x, size_t n, int fill);

/* ---- memory ---- */

typedef struct guarded {
    float *data; /* the floats end where the forbidden page begins */
    void *map;
    size_t size;
} guarded;

guarded guarded_open(size_t floats);
void guarded_close(guarded *g);
int same_bits(float a, float b);

#endif
