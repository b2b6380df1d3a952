/* Checks every kernel of every level that this machine has, bit for bit, and times them (after dav1d's checkasm).
 *
 *     checkasm [--isa LEVEL] [--threads N] [--seed N] [--bench] [NAME]
 *
 * The scalar level is compared with plain loops (checkasm_ref.c), every other level with scalar. NAME: only kernels
 * whose name contains it; inputs depend on the seed and the kernel alone, so a filter does not change them.
 * --bench prints "name level nanoseconds ratio" for each: time for 1024 elements (GEMM: 1024 multiply-adds), and how
 * many times faster than scalar that is; only when no check failed. */
#include "tests/checkasm.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/threads.h"
#include "tests/check.h"

static const ck_kernel *const families[] = {ck_row_kernels, ck_convert_kernels, ck_gemm_kernels};
static const size_t large[] = {96, 127, 128, 129, 255, 257, 511, 1000, 1031};

#define SMALL 68 /* all sizes below */
#define SIZES (SMALL + sizeof large / sizeof *large)

typedef struct options {
    const char *filter, *isa;
    uint64_t seed;
    bool bench;
} options;

/* ---- checks; a fault inside a kernel comes back here ---- */

static sigjmp_buf fault_return;
static volatile sig_atomic_t fault_armed;

static void on_fault(int signal_number)
{
    if (fault_armed)
        siglongjmp(fault_return, signal_number);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void catch_faults(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction action = {.sa_handler = on_fault};

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
}

static const char *signal_name(int number)
{
    return number == SIGSEGV ? "SIGSEGV" : number == SIGBUS ? "SIGBUS" : number == SIGILL ? "SIGILL" : "SIGFPE";
}

static uint64_t seed_of(const char *name, uint64_t seed)
{
    for (; *name; name++)
        seed = (seed ^ (unsigned char)*name) * 0x100000001b3u;
    return seed;
}

static void check_sizes(ck *c, const ck_kernel *t, const dm_kernels *ref, const dm_kernels *k)
{
    for (size_t s = 0; s < (t->own_sizes ? 1 : SIZES); s++)
        for (int fill = 0; fill < CK_FILLS; fill++)
            for (int place = 0; place < CK_PLACES; place++) {
                c->n = s < SMALL ? s : large[s - SMALL];
                c->fill = (ck_fill)fill;
                c->place = (ck_place)place;
                c->slots = 0;
                t->check(c, ref, k, c->n);
            }
}

static void check_kernel(const ck_kernel *t, const dm_kernels *ref, const dm_kernels *k, uint64_t seed)
{
    static ck c; /* survives siglongjmp */

    c = (ck){.random = seed_of(t->name, seed), .name = t->name, .level = dm_isa_name(k->isa)};
    const int fault = sigsetjmp(fault_return, 1);
    if (fault == 0) {
        fault_armed = 1;
        check_sizes(&c, t, ref, k);
    } else {
        ck_differ(&c, "%s", signal_name(fault));
    }
    fault_armed = 0;
    CK_MSG(c.differences == 0, "%s_%s: %lu differences", c.name, c.level, c.differences);
}

/* ---- times ---- */

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds for 1024 elements: the median of samples of about 50 us, after a warm-up that also wakes wide registers.
 */
static double time_kernel(const ck_kernel *t, const dm_kernels *k)
{
    enum { N = 1024, SAMPLES = 41 };
    static _Alignas(64) float data[5][N];
    static uint16_t halves[N];
    ck_bench b = {N, data[0], data[1], data[2], data[3], data[4], halves};
    double samples[SAMPLES];
    size_t calls = 1, work = 0;

    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < 5; j++)
            data[j][i] = (float)((i * 37 + j * 101) % 257 + 1) / 257.0f;
        halves[i] = (uint16_t)(0x3800 + i);
    }
    for (double start = now_ns(), end = start; end - start < 5e4; calls *= 2) {
        start = now_ns();
        for (size_t i = 0; i < calls; i++)
            work = t->bench(k, &b);
        end = now_ns();
    }
    for (size_t s = 0; s < SAMPLES; s++) {
        const double start = now_ns();
        for (size_t i = 0; i < calls; i++)
            work = t->bench(k, &b);
        samples[s] = (now_ns() - start) / (double)calls;
    }
    qsort(samples, SAMPLES, sizeof *samples, compare_doubles);
    return samples[SAMPLES / 2] * 1024.0 / (double)work;
}

static void time_levels(const ck_kernel *t, const dm_kernels *level, const bool *wanted)
{
    const double scalar = time_kernel(t, &level[DM_ISA_SCALAR]);

    for (int i = 0; i < DM_ISA_COUNT; i++)
        if (wanted[i]) {
            const double ns = i == DM_ISA_SCALAR ? scalar : time_kernel(t, &level[i]);
            printf("%s %s %.1f %.2f\n", t->name, dm_isa_name((dm_isa)i), ns, scalar / ns);
            fflush(stdout);
        }
}

/* ---- command line ---- */

static int usage(const char *what, const char *value)
{
    fprintf(stderr, "checkasm: %s%s\nusage: checkasm [--isa LEVEL] [--threads N] [--seed N] [--bench] [NAME]\n", what,
            value);
    return 2;
}

static bool number(const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char *end;

    errno = 0;
    const unsigned long long v = strtoull(text, &end, 0);
    *out = v;
    return errno == 0 && end != text && *end == '\0' && *text != '-' && v >= low && v <= high;
}

static int parse(options *o, int argc, char **argv)
{
    uint64_t threads = 1;

    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        const bool takes_value = !strcmp(arg, "--isa") || !strcmp(arg, "--threads") || !strcmp(arg, "--seed");
        if (takes_value && i + 1 == argc)
            return usage("a value is missing after ", arg);
        if (!strcmp(arg, "--isa"))
            o->isa = argv[++i];
        else if (!strcmp(arg, "--threads") && !number(argv[++i], 1, DM_THREADS_MAX, &threads))
            return usage("--threads must be 1 to 256, not ", argv[i]);
        else if (!strcmp(arg, "--seed") && !number(argv[++i], 0, UINT64_MAX, &o->seed))
            return usage("--seed must be a number, not ", argv[i]);
        else if (!strcmp(arg, "--bench"))
            o->bench = true;
        else if (arg[0] == '-' && !takes_value)
            return usage("unknown option ", arg);
        else if (arg[0] != '-')
            o->filter = arg;
    }
    return 0;
}

static bool selected(const options *o, const ck_kernel *t)
{
    return !o->filter || strstr(t->name, o->filter);
}

int main(int argc, char **argv)
{
    options o = {.seed = 1, .isa = getenv("DMPO_ISA")};
    static dm_kernels level[DM_ISA_COUNT], reference;
    bool wanted[DM_ISA_COUNT];
    dm_error err;
    int status = parse(&o, argc, argv);

    if (status)
        return status;
    dm_isa only = DM_ISA_COUNT;
    if ((o.isa && dm_isa_choose(&only, o.isa, &err)) || dm_float_env_check(&err)) {
        fprintf(stderr, "checkasm: %s\n", err.message);
        return 2;
    }
    ck_reference(&reference);
    for (int i = 0; i < DM_ISA_COUNT; i++) {
        wanted[i] = dm_isa_usable((dm_isa)i) && (only == DM_ISA_COUNT || only == (dm_isa)i);
        if (i == DM_ISA_SCALAR || wanted[i])
            dm_kernels_init(&level[i], (dm_isa)i);
    }
    printf("seed %llu\n", (unsigned long long)o.seed);
    catch_faults();
    for (int i = 0; i < DM_ISA_COUNT; i++)
        for (size_t f = 0; f < sizeof families / sizeof *families && wanted[i]; f++)
            for (const ck_kernel *t = families[f]; t->name; t++)
                if (selected(&o, t))
                    check_kernel(t, i == DM_ISA_SCALAR ? &reference : &level[DM_ISA_SCALAR], &level[i], o.seed);
    if (ck_passed + ck_failed == 0)
        return usage("no kernel's name contains ", o.filter);
    for (size_t f = 0; f < sizeof families / sizeof *families && o.bench && ck_failed == 0; f++)
        for (const ck_kernel *t = families[f]; t->name; t++)
            if (t->bench && selected(&o, t))
                time_levels(t, level, wanted);
    if (o.bench && ck_failed > 0)
        printf("not timed: a check failed\n");
    return ck_done("checkasm");
}
