/* What the benchmarks share: the FMA peak of one core, order statistics of samples, the machine's name. */
#ifndef DM_BENCH_BENCH_H
#define DM_BENCH_BENCH_H

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "config.h"
#include "core/cpu.h"
#include "core/files/file.h"
#include "core/system.h"

/* ---- the clock ---- */

/* The wall's, or with DMPO_BENCH_CPU set the processor time of this process: on a machine that others use too, and for
 * one thread only. */
static inline double bench_seconds(void)
{
    static int cpu = -1;
    if (cpu < 0)
        cpu = getenv("DMPO_BENCH_CPU") != NULL;
    return cpu ? (double)clock() / CLOCKS_PER_SEC : dm_seconds();
}

/* ---- the peak ---- */

#define CHAINS 12 /* independent sums: more than latency times units on every core we know */

#define PEAK_LOOP(type, set, fma)                                                                                      \
    type acc[CHAINS];                                                                                                  \
    const type x = set(0.999f), y = set(0.001f);                                                                       \
    for (int i = 0; i < CHAINS; i++)                                                                                   \
        acc[i] = set((float)i);                                                                                        \
    for (size_t n = 0; n < steps; n++) {                                                                               \
        acc[0] = fma(acc[0], x, y), acc[1] = fma(acc[1], x, y), acc[2] = fma(acc[2], x, y);                            \
        acc[3] = fma(acc[3], x, y), acc[4] = fma(acc[4], x, y), acc[5] = fma(acc[5], x, y);                            \
        acc[6] = fma(acc[6], x, y), acc[7] = fma(acc[7], x, y), acc[8] = fma(acc[8], x, y);                            \
        acc[9] = fma(acc[9], x, y), acc[10] = fma(acc[10], x, y), acc[11] = fma(acc[11], x, y);                        \
    }                                                                                                                  \
    memcpy(out, acc, sizeof acc);

static float bench_sink[CHAINS * 16];

static inline float same(float x)
{
    return x;
}

static void peak_scalar(float *out, size_t steps)
{
    PEAK_LOOP(float, same, fmaf)
}

#if HAVE_AVX2
__attribute__((target("avx2,fma"))) static void peak_avx2(float *out, size_t steps)
{
    PEAK_LOOP(__m256, _mm256_set1_ps, _mm256_fmadd_ps)
}
#endif

#if HAVE_AVX512
__attribute__((target("avx512f"))) static void peak_avx512(float *out, size_t steps)
{
    PEAK_LOOP(__m512, _mm512_set1_ps, _mm512_fmadd_ps)
}
#endif

#if HAVE_NEON
static inline float32x4_t fma_neon(float32x4_t a, float32x4_t b, float32x4_t c)
{
    return vfmaq_f32(c, a, b);
}

static void peak_neon(float *out, size_t steps)
{
    PEAK_LOOP(float32x4_t, vdupq_n_f32, fma_neon)
}
#endif

/* flop/s of one core now, from about 100 microseconds */
static inline double peak_now(dm_isa isa)
{
    void (*loop)(float *, size_t) = peak_scalar;
    size_t lanes = 1, steps = 4000;
#if HAVE_AVX2
    if (isa == DM_ISA_AVX2)
        loop = peak_avx2, lanes = 8, steps = 60000;
#endif
#if HAVE_AVX512
    if (isa == DM_ISA_AVX512 || isa == DM_ISA_AMX)
        loop = peak_avx512, lanes = 16, steps = 60000;
#endif
#if HAVE_NEON
    if (isa == DM_ISA_NEON)
        loop = peak_neon, lanes = 4, steps = 60000;
#endif
    const double start = bench_seconds();
    loop(bench_sink, steps);
    return 2.0 * CHAINS * (double)(lanes * steps) / (bench_seconds() - start);
}

/* ---- samples ---- */

#define SAMPLES_MAX 201

typedef struct sampled {
    double median, low, high;
} sampled;

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static sampled summary(double *x, size_t n)
{
    qsort(x, n, sizeof *x, by_value);
    return (sampled){x[n / 2], x[n / 10], x[n - 1 - n / 10]};
}

#endif
