/* How fast the matrix products and attention are, next to what the core can do.
 *
 *     kernels [--quick] [--isa NAME] [--threads N]
 *
 * The FMA peak of one core is measured beside every sample, in registers only, so that a share of it means something on
 * a machine whose clock moves. JSON lines on stdout, the same as a table on stderr: medians, and the range from the
 * 10th to the 90th percentile. With OpenBLAS installed, its sgemm runs beside ours, each on one thread. */
#include <stdarg.h>
#include <stdio.h>

#include "bench/bench.h"
#include "simd/attention.h"
#include "simd/gemm.h"

typedef struct job {
    dm_engine *e;
    size_t m, n, k;
    dm_gemm_operand a, b;
    float *c;
    size_t ldc;
    dm_gemm_mode mode;
    dm_attention attention;
    float *dq, *dk, *dv, *scratch;
    const float *dout;
    void *blas;
} job;

typedef void (*job_fn)(const job *j);

typedef struct timing {
    sampled seconds, peak; /* peak: flop/s measured beside each sample */
} timing;

static double budget = 0.5; /* seconds for each line */

static timing measure(job_fn fn, const job *j)
{
    double seconds[SAMPLES_MAX], peaks[SAMPLES_MAX], spent = 0;
    size_t n = 0;

    fn(j); /* warm: caches, pages, clock */
    while (n < 3 || (n < SAMPLES_MAX && spent < budget)) {
        peaks[n] = peak_now(j->e->k.isa);
        double start = bench_seconds(), end = start;
        size_t calls = 0;
        do { /* a sample is at least 100 microseconds long */
            fn(j);
            calls++;
            end = bench_seconds();
        } while (end - start < 1e-4);
        seconds[n++] = (end - start) / (double)calls;
        spent += end - start;
    }
    return (timing){summary(seconds, n), summary(peaks, n)};
}

/* ---- output ---- */

static char machine[128];

static void json(const char *bench, const dm_engine *e, const char *shape, const timing *t, const char *fmt, ...)
    DM_PRINTF(5, 6);

static void json(const char *bench, const dm_engine *e, const char *shape, const timing *t, const char *fmt, ...)
{
    va_list args;
    printf("{\"bench\":\"%s\",\"machine\":\"%s\",\"isa\":\"%s\",\"threads\":%u,\"shape\":\"%s\",\"seconds\":%.4g,"
           "\"low\":%.4g,\"high\":%.4g",
           bench, machine, dm_isa_name(e->k.isa), e->threads, shape, t->seconds.median, t->seconds.low,
           t->seconds.high);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    puts("}");
    fflush(stdout);
}

static float *random_floats(size_t n)
{
    float *x = NULL;
    if (posix_memalign((void **)&x, 64, n * sizeof *x) != 0) {
        fprintf(stderr, "kernels: no memory for %zu floats\n", n);
        exit(1);
    }
    unsigned state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) * 0x1p-23f - 1.0f;
    }
    return x;
}

/* ---- matrix products ---- */

static void run_gemm(const job *j)
{
    dm_gemm(j->e, DM_PRECISION_F32, j->m, j->n, j->k, j->a, j->b, j->c, j->ldc, j->mode);
}

/* Weak: where libdl is a library of its own and not linked, there is no OpenBLAS to compare with. */
extern void *dlopen(const char *file, int mode) __attribute__((weak));
extern void *dlsym(void *handle, const char *name) __attribute__((weak));

typedef void (*sgemm_fn)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                         const float *b, int ldb, float beta, float *c, int ldc);

static void *find_blas(void)
{
    void *lib = dlopen && dlsym ? dlopen("libopenblas.so.0", 2 /* RTLD_NOW */) : NULL;
    if (!lib)
        return NULL;
    void *threads = dlsym(lib, "openblas_set_num_threads");
    if (threads) {
        void (*set)(int);
        memcpy(&set, &threads, sizeof set);
        set(1);
    }
    return dlsym(lib, "cblas_sgemm");
}

static void run_blas(const job *j)
{
    sgemm_fn sgemm;
    const int ta = j->a.cs != 1, tb = j->b.cs != 1;
    memcpy(&sgemm, &j->blas, sizeof sgemm);
    sgemm(101, 111 + ta, 111 + tb, (int)j->m, (int)j->n, (int)j->k, 1.0f, j->a.data, (int)(ta ? j->a.cs : j->a.rs),
          j->b.data, (int)(tb ? j->b.cs : j->b.rs), j->mode == DM_GEMM_ADD, j->c, (int)j->ldc);
}

static void bench_gemm_shape(dm_engine *one, dm_engine *many, void *blas, const char *orientation, size_t m, size_t n,
                             size_t k)
{
    const int weight = orientation[0] == 'w', forward = orientation[0] == 'f';
    float *a = random_floats(m * k), *b = random_floats(k * n), *c = random_floats(m * n);
    job j = {.e = one, .m = m, .n = n, .k = k, .c = c, .ldc = n, .mode = weight ? DM_GEMM_ADD : DM_GEMM_SET};
    char shape[96];

    j.a = weight ? (dm_gemm_operand){a, 1, m} : (dm_gemm_operand){a, k, 1};
    j.b = forward ? (dm_gemm_operand){b, 1, k} : (dm_gemm_operand){b, n, 1};
    snprintf(shape, sizeof shape, "%zux%zux%zu %s", m, n, k, orientation);
    const double flops = 2.0 * (double)m * (double)n * (double)k;
    const timing t = measure(run_gemm, &j);
    const double rate = flops / t.seconds.median, share = rate / t.peak.median;
    json("gemm", one, shape, &t, ",\"gflops\":%.1f,\"peak_gflops\":%.1f,\"share\":%.3f", rate / 1e9,
         t.peak.median / 1e9, share);
    fprintf(stderr, "%-30s %8.1f GFLOP/s  %5.1f %% of peak  (%.3f-%.3f ms)", shape, rate / 1e9, 100 * share,
            1e3 * t.seconds.low, 1e3 * t.seconds.high);
    if (many) {
        j.e = many;
        const timing u = measure(run_gemm, &j);
        const double speedup = t.seconds.median / u.seconds.median, all = u.peak.median * many->threads;
        json("gemm", many, shape, &u, ",\"gflops\":%.1f,\"speedup\":%.3f,\"share\":%.3f",
             flops / u.seconds.median / 1e9, speedup, flops / u.seconds.median / all);
        fprintf(stderr, "  x%.2f on %u threads, %.1f %% (%.3f-%.3f ms)", speedup, many->threads,
                100 * flops / u.seconds.median / all, 1e3 * u.seconds.low, 1e3 * u.seconds.high);
    }
    if (blas) {
        j.e = one;
        j.blas = blas;
        const timing u = measure(run_blas, &j);
        json("openblas", one, shape, &u, ",\"gflops\":%.1f,\"share\":%.3f", flops / u.seconds.median / 1e9,
             flops / u.seconds.median / u.peak.median);
        fprintf(stderr, "  OpenBLAS %.1f", flops / u.seconds.median / 1e9);
    }
    fputc('\n', stderr);
    free(a);
    free(b);
    free(c);
}

static void bench_gemm(dm_engine *one, dm_engine *many, void *blas, int quick)
{
    static const size_t layers[][2] = {{576, 576}, {576, 1536}, {1536, 576}, {288, 288},
                                       {288, 768}, {768, 288},  {768, 768},  {576, 192}};
    const size_t tokens = 512, count = quick ? 2 : sizeof layers / sizeof *layers;

    bench_gemm_shape(one, many, blas, "data", 1024, 1024, 1024);
    for (size_t i = 0; i < count; i++) {
        const size_t in = layers[i][0], out = layers[i][1];
        bench_gemm_shape(one, many, blas, "forward", tokens, out, in);
        bench_gemm_shape(one, many, blas, "data", tokens, in, out);
        bench_gemm_shape(one, many, blas, "weight", out, in, tokens);
    }
}

/* ---- a few tokens against a weight matrix that no cache holds ---- */

typedef struct sweep {
    const job *j;
    size_t floats;
} sweep;

static void read_part(void *ctx, unsigned part, unsigned parts)
{
    const sweep *s = ctx;
    const dm_range r = dm_range_split(s->floats, 1024, part, parts);
    for (size_t i = r.begin; i < r.end; i += 1024)
        bench_sink[part % 16] += s->j->e->k.dot(s->j->b.data + i, s->j->a.data, r.end - i < 1024 ? r.end - i : 1024);
}

static void run_read(const job *j)
{
    sweep s = {j, j->n * j->k};
    dm_pool_run(j->e->pool, read_part, &s);
}

static void bench_skinny(dm_engine *e, int quick)
{
    const size_t in = 768, out = quick ? 16384 : 49152;
    float *w = random_floats(in * out), *x = random_floats(8 * in + 1024), *y = random_floats(8 * out);
    job j = {.e = e, .m = 1, .n = out, .k = in, .a = {x, in, 1}, .b = {w, 1, in}, .c = y, .ldc = out};
    const double bytes = (double)(in * out * sizeof(float));
    const timing read = measure(run_read, &j);
    char shape[64];

    snprintf(shape, sizeof shape, "%.0f MB", bytes / 1e6);
    json("read", e, shape, &read, ",\"gbytes\":%.2f", bytes / read.seconds.median / 1e9);
    fprintf(stderr, "%-30s %8.1f GB/s on %u threads  (%.3f-%.3f ms)\n", "memory read",
            bytes / read.seconds.median / 1e9, e->threads, 1e3 * read.seconds.low, 1e3 * read.seconds.high);
    for (j.m = 1; j.m <= 8; j.m *= 2) {
        const timing t = measure(run_gemm, &j);
        snprintf(shape, sizeof shape, "%zux%zux%zu", j.m, out, in);
        json("skinny", e, shape, &t, ",\"gbytes\":%.2f,\"of_read\":%.3f", bytes / t.seconds.median / 1e9,
             read.seconds.median / t.seconds.median);
        fprintf(stderr, "%-30s %8.1f GB/s of weights, %3.0f %% of reading them  (%.3f-%.3f ms)\n", shape,
                bytes / t.seconds.median / 1e9, 100 * read.seconds.median / t.seconds.median, 1e3 * t.seconds.low,
                1e3 * t.seconds.high);
    }
    free(w);
    free(x);
    free(y);
}

/* ---- attention ---- */

static void run_forward(const job *j)
{
    dm_attention_forward(j->e, &j->attention, j->c, j->scratch);
}

static void run_backward(const job *j)
{
    dm_attention_backward(j->e, &j->attention, j->dout, j->dq, j->dk, j->dv, j->scratch);
}

static void attention_line(const char *what, job *j, dm_engine *one, dm_engine *many, job_fn fn, double flops,
                           double bytes)
{
    const dm_attention *a = &j->attention;
    char shape[96];

    j->e = one;
    const timing t = measure(fn, j);
    snprintf(shape, sizeof shape, "%s %zu of %zu, %zu/%zu x %zu", what, a->segments[0].end - a->q_base,
             a->segments[0].end, a->heads, a->kv_heads, a->head_dim);
    json("attention", one, shape, &t, ",\"gflops\":%.1f,\"share\":%.3f,\"gbytes\":%.2f", flops / t.seconds.median / 1e9,
         flops / t.seconds.median / t.peak.median, bytes / t.seconds.median / 1e9);
    fprintf(stderr, "%-40s %9.3f ms  (%.3f-%.3f)  %5.1f %% of peak, keys and values at %.1f GB/s", shape,
            1e3 * t.seconds.median, 1e3 * t.seconds.low, 1e3 * t.seconds.high,
            100 * flops / t.seconds.median / t.peak.median, bytes / t.seconds.median / 1e9);
    if (many) {
        j->e = many;
        const timing u = measure(fn, j);
        json("attention", many, shape, &u, ",\"gflops\":%.1f,\"speedup\":%.3f,\"share\":%.3f",
             flops / u.seconds.median / 1e9, t.seconds.median / u.seconds.median,
             flops / u.seconds.median / (u.peak.median * many->threads));
        fprintf(stderr, "  x%.2f on %u threads (%.3f-%.3f ms)", t.seconds.median / u.seconds.median, many->threads,
                1e3 * u.seconds.low, 1e3 * u.seconds.high);
    }
    fputc('\n', stderr);
}

static void bench_attention(dm_engine *one, dm_engine *many, size_t rows, size_t past)
{
    const size_t heads = 9, kv_heads = 3, d = 64, all = past + rows;
    const dm_attention_segment segment = {0, all, 0, past};
    dm_engine *widest = many ? many : one;
    const size_t scratch = dm_attention_scratch(widest, heads, kv_heads, d, all, all, 1);
    job j = {.c = random_floats(rows * heads * d),
             .dq = random_floats(rows * heads * d),
             .dk = random_floats(all * kv_heads * d),
             .dv = random_floats(all * kv_heads * d),
             .scratch = random_floats(scratch)};
    float *q = random_floats(rows * heads * d), *k = random_floats(all * kv_heads * d);
    float *v = random_floats(all * kv_heads * d), *dout = random_floats(rows * heads * d);
    const double seen = (double)rows * (double)past + (double)rows * (double)(rows + 1) / 2;
    const double product = 2.0 * seen * (double)(heads * d), bytes = 2.0 * (double)(all * kv_heads * d) * sizeof(float);

    j.attention = (dm_attention){heads, kv_heads, d, 0, &segment, 1, past, NULL, q, k, v, 0};
    j.dout = dout;
    attention_line("forward", &j, one, many, run_forward, 2 * product, bytes);
    if (past == 0) {
        attention_line("backward", &j, one, many, run_backward, 5 * product, bytes);
        fprintf(stderr, "%-40s %9.1f MiB of scratch\n", "", (double)scratch * sizeof(float) / 1048576);
    }
    float *owned[] = {j.c, j.dq, j.dk, j.dv, j.scratch, q, k, v, dout};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
}

/* ---- */

static int fail(const char *message)
{
    fprintf(stderr, "kernels: %s\n", message);
    return 2;
}

int main(int argc, char **argv)
{
    const char *isa_name = NULL, *threads_name = getenv("DMPO_THREADS");
    int quick = 0;
    dm_isa isa;
    dm_error err;
    dm_engine one, many;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            quick = 1;
        else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc)
            isa_name = argv[++i];
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            threads_name = argv[++i];
        else
            return fail("usage: kernels [--quick] [--isa NAME] [--threads N]");
    }
    const unsigned threads = threads_name ? (unsigned)strtoul(threads_name, NULL, 10) : dm_cpu_count();
    if (dm_isa_choose(&isa, isa_name, &err) != DM_OK || dm_engine_open(&one, isa, 1, &err) != DM_OK ||
        dm_engine_open(&many, isa, threads, &err) != DM_OK)
        return fail(err.message);
    if (quick)
        budget = 0.05;
    dm_cpu_name(machine, sizeof machine);
    double peaks[51];
    for (size_t i = 0; i < 51; i++)
        peaks[i] = peak_now(isa);
    const timing peak = {.seconds = summary(peaks, 51)};
    printf("{\"bench\":\"peak\",\"machine\":\"%s\",\"isa\":\"%s\",\"threads\":1,\"gflops\":%.1f,\"low\":%.1f,\"high\":%"
           ".1f}\n",
           machine, dm_isa_name(isa), peak.seconds.median / 1e9, peak.seconds.low / 1e9, peak.seconds.high / 1e9);
    fprintf(stderr, "%s, %s: one core's FMA peak %.1f GFLOP/s (%.1f-%.1f)\n", machine, dm_isa_name(isa),
            peak.seconds.median / 1e9, peak.seconds.low / 1e9, peak.seconds.high / 1e9);

    dm_engine *wide = threads > 1 ? &many : NULL;
    bench_gemm(&one, wide, find_blas(), quick);
    bench_skinny(&one, quick);
    if (wide)
        bench_skinny(wide, quick);
    bench_attention(&one, wide, 512, 0);
    if (!quick)
        bench_attention(&one, wide, 2048, 0);
    bench_attention(&one, wide, 1, 1024);
    bench_attention(&one, wide, 1, 4095);
    dm_engine_close(&one);
    dm_engine_close(&many);
    return 0;
}
