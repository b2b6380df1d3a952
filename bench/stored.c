/* Products with stored weights: a few rows against a matrix read once (generation), and many rows (prompts, training),
 * next to the same matrix in f32.
 *
 *     stored [--quick] [--isa NAME] [--threads N]
 *
 * Skinny products: weights/s and the bytes of W read for them. Prompts: 256 rows, forward and data gradient, as the
 * time of the f32 product over ours. JSON lines on stdout, a table on stderr: medians of samples taken in turn. */
#include <stdio.h>

#include "bench/bench.h"
#include "simd/weight.h"

static const dm_dtype types[] = {DM_F32,  DM_F16,  DM_BF16, DM_Q8_0, DM_Q4_0, DM_Q4_1, DM_Q5_0,
                                 DM_Q5_1, DM_Q4_K, DM_Q5_K, DM_Q6_K, DM_Q2_K, DM_Q3_K};
#define TYPES (sizeof types / sizeof *types)

static double budget = 0.4; /* seconds for each line */
static char machine[128];

typedef struct job {
    const dm_engine *e;
    dm_weight w[TYPES];
    size_t m;
    const float *x;
    float *y;
    int backward;
} job;

static void run(const job *j, size_t type)
{
    const dm_weight w = j->w[type];
    if (j->backward)
        dm_weight_backward(j->e, DM_PRECISION_F32, j->m, j->x, w.rows, w, j->y, DM_GEMM_SET);
    else
        dm_weight_forward(j->e, DM_PRECISION_F32, j->m, j->x, w, j->y, w.rows);
}

/* Seconds of every type, samples taken in turn so that all see the same machine. */
static void measure(const job *j, sampled out[TYPES])
{
    static double seconds[TYPES][SAMPLES_MAX];
    double spent = 0;
    size_t n = 0;

    for (size_t t = 0; t < TYPES; t++)
        run(j, t); /* warm */
    while (n < 3 || (n < SAMPLES_MAX && spent < budget * TYPES)) {
        for (size_t t = 0; t < TYPES; t++) {
            const double start = bench_seconds();
            double end = start;
            size_t calls = 0;
            do {
                run(j, t);
                calls++;
                end = bench_seconds();
            } while (end - start < 1e-4);
            seconds[t][n] = (end - start) / (double)calls;
            spent += end - start;
        }
        n++;
    }
    for (size_t t = 0; t < TYPES; t++)
        out[t] = summary(seconds[t], n);
}

static void *random_bytes(size_t n)
{
    uint8_t *p = NULL;
    if (posix_memalign((void **)&p, 64, n + 64) != 0) {
        fprintf(stderr, "stored: no memory for %zu bytes\n", n);
        exit(1);
    }
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (uint8_t)(state >> 24) & 0x3f; /* as floats and as scales: small and positive */
    }
    return p;
}

static void report(const job *j, const char *shape)
{
    sampled s[TYPES];

    measure(j, s);
    for (size_t t = 0; t < TYPES; t++) {
        const dm_weight w = j->w[t];
        const double weights = (double)(w.rows * w.cols), bytes = (double)(w.rows * dm_dtype_bytes(w.type, w.cols));
        const double rate = weights / s[t].median, of_f32 = s[0].median / s[t].median;
        printf(
            "{\"bench\":\"stored\",\"machine\":\"%s\",\"isa\":\"%s\",\"threads\":%u,\"shape\":\"%s\",\"type\":\"%s\","
            "\"seconds\":%.4g,\"low\":%.4g,\"high\":%.4g,\"gweights\":%.3f,\"gbytes\":%.2f,\"gflops\":%.1f,"
            "\"times_f32\":%.3f}\n",
            machine, dm_isa_name(j->e->k.isa), j->e->threads, shape, dm_dtype_name(w.type), s[t].median, s[t].low,
            s[t].high, rate / 1e9, bytes / s[t].median / 1e9, 2 * (double)j->m * rate / 1e9, of_f32);
        fprintf(stderr, "%-28s %-5s %8.2f G weights/s %7.1f GB/s %8.1f GFLOP/s  x%.2f of F32\n", shape,
                dm_dtype_name(w.type), rate / 1e9, bytes / s[t].median / 1e9, 2 * (double)j->m * rate / 1e9, of_f32);
    }
    fflush(stdout);
}

static void bench_shape(const dm_engine *e, size_t m, size_t rows, size_t cols, int backward)
{
    const size_t bytes = rows * cols * sizeof(float);
    job j = {.e = e, .m = m, .backward = backward};
    void *w = random_bytes(bytes), *x = random_bytes(m * (rows + cols) * sizeof(float));
    char shape[64];

    j.x = x;
    j.y = random_bytes(m * (rows + cols) * sizeof(float));
    for (size_t t = 0; t < TYPES; t++)
        j.w[t] = (dm_weight){w, types[t], rows, cols};
    snprintf(shape, sizeof shape, "%zux%zux%zu%s", m, rows, cols, backward ? " backward" : "");
    report(&j, shape);
    free(w);
    free(x);
    free(j.y);
}

static int fail(const char *message)
{
    fprintf(stderr, "stored: %s\n", message);
    return 2;
}

int main(int argc, char **argv)
{
    const char *isa_name = NULL, *threads_name = getenv("DMPO_THREADS");
    int quick = 0;
    dm_isa isa;
    dm_error err;
    dm_engine e;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            quick = 1;
        else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc)
            isa_name = argv[++i];
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            threads_name = argv[++i];
        else
            return fail("usage: stored [--quick] [--isa NAME] [--threads N]");
    }
    const unsigned threads = threads_name ? (unsigned)strtoul(threads_name, NULL, 10) : dm_cpu_count();
    if (dm_isa_choose(&isa, isa_name, &err) != DM_OK || dm_engine_open(&e, isa, threads, &err) != DM_OK)
        return fail(err.message);
    if (quick)
        budget = 0.03;
    dm_cpu_name(machine, sizeof machine);
    fprintf(stderr, "%s, %s, %u threads\n", machine, dm_isa_name(isa), threads);
    for (size_t m = 1; m <= 8; m *= 2) /* as many weights as a small model has, so that no cache holds them in f32 */
        bench_shape(&e, m, quick ? 8192 : 49152, 768, 0);
    bench_shape(&e, 256, 1536, 768, 0);
    bench_shape(&e, 256, 1536, 768, 1);
    dm_engine_close(&e);
    return 0;
}
