/* exp and sigmoid of f32: how fast, and how far from the exact value. A build with SLEEF (configure --with-sleef) has
 * its functions and the engine's own side by side.
 *
 *     functions [--isa NAME]
 *
 * JSON lines on standard output, a table on standard error: nanoseconds for 1024 numbers, the median of 201 samples,
 * and the largest error in ulp over 2^20 numbers in [-87, 88] against libm in f64. */
#include <stdio.h>

#include "bench/bench.h"
#include "core/numbers/foreign.h"
#include "core/numbers/philox.h"
#include "simd/kernels/kernels.h"

#define N 1024
#define ROUNDS 1024 /* of N numbers, for errors */

typedef void (*function)(float *y, const float *x, size_t n);

static double exact_exp(double x)
{
    return exp(x);
}

static double exact_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void numbers(float *x, uint64_t round)
{
    for (size_t i = 0; i < N; i++)
        x[i] = (float)(dm_random_uniform(1, DM_RNG_TEST, round, i) * 175.0 - 87.0);
}

static double largest_error(function f, double (*exact)(double))
{
    static float x[N], y[N];
    double worst = 0;

    for (uint64_t r = 0; r < ROUNDS; r++) {
        numbers(x, r);
        f(y, x, N);
        for (size_t i = 0; i < N; i++) {
            const double want = exact((double)x[i]), ulp = ldexp(1.0, ilogb(want) - 23);
            worst = fmax(worst, fabs((double)y[i] - want) / ulp);
        }
    }
    return worst;
}

static double time_of(function f)
{
    static float x[N], y[N];
    double samples[SAMPLES_MAX];

    numbers(x, 0);
    for (size_t s = 0; s < SAMPLES_MAX; s++) {
        const double start = bench_seconds();
        for (int i = 0; i < 200; i++)
            f(y, x, N);
        samples[s] = (bench_seconds() - start) / 200 * 1e9;
    }
    return summary(samples, SAMPLES_MAX).median;
}

static void row(const char *who, const char *name, dm_isa isa, function f, double (*exact)(double))
{
    const double ns = time_of(f), error = largest_error(f, exact);

    printf("{\"bench\":\"functions\",\"function\":\"%s\",\"of\":\"%s\",\"isa\":\"%s\",\"ns\":%.1f,\"ulp\":%.3f}\n",
           name, who, dm_isa_name(isa), ns, error);
    fprintf(stderr, "%-8s %-6s %-7s %8.1f ns for 1024  %6.3f ulp\n", name, who, dm_isa_name(isa), ns, error);
}

int main(int argc, char **argv)
{
    const char *who = DM_FOREIGN_MATH ? DM_FOREIGN_MATH : "own";
    dm_kernels k;
    dm_isa isa;
    dm_error err;

    if ((argc != 1 && argc != 3) || (argc == 3 && strcmp(argv[1], "--isa") != 0) ||
        dm_isa_choose(&isa, argc == 3 ? argv[2] : NULL, &err) != DM_OK) {
        fprintf(stderr, "usage: functions [--isa NAME]\n");
        return 2;
    }
    dm_kernels_init(&k, isa);
#if HAVE_SLEEF
    row("own", "exp", isa, k.own_exp, exact_exp);
    row("own", "sigmoid", isa, k.own_sigmoid, exact_sigmoid);
#endif
    row(who, "exp", isa, k.exp, exact_exp);
    row(who, "sigmoid", isa, k.sigmoid, exact_sigmoid);
    return 0;
}
