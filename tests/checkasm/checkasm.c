/* Checks every kernel of every level that this machine has, bit for bit, and times them (after dav1d's checkasm).
 *
 *     checkasm [--isa LEVEL] [--kernel PREFIX] [--seed N] [--rounds N] [--bench] [--threads N]
 *
 * The scalar level is compared with plain loops (checkasm_ref.c), every other level with scalar; GEMM and attention,
 * whose blocking differs between levels, with plain loops everywhere. A round runs every size, fill and place once, on
 * the numbers of one seed: --seed, then the next ones. Inputs depend on that seed and the kernel's name alone, so that
 * neither --isa nor --kernel changes them; a failure names the seed to repeat it with. DMPO_TEST_FAST=1 makes it one
 * round. --bench then prints, when no check failed, the time for 1024 elements (GEMM and attention: 1024 multiply-adds)
 * and how many times faster than scalar that is. Kernels run on one thread; --threads is there because every test takes
 * it. */
#include "tests/checkasm/checkasm.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/threads.h"
#include "tests/support/check.h"

static const size_t large[] = {96, 127, 128, 129, 255, 257, 511, 1000, 1031};

#define SMALL 68 /* all sizes below */
#define ROUNDS 5
#define SIZES (SMALL + sizeof large / sizeof *large)

typedef struct options {
    const char *prefix, *isa;
    uint64_t seed, rounds;
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
                t->check(c, ref, k, c->n);
                ck_release(c, 0);
            }
}

/* One seed; true when every bit was right. */
static bool check_round(const ck_kernel *t, const dm_kernels *ref, const dm_kernels *k, uint64_t seed)
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
    return CK_MSG(c.differences == 0, "%s_%s: %lu differences; again: --isa %s --kernel %s --rounds 1 --seed %llu",
                  c.name, c.level, c.differences, c.level, c.name, (unsigned long long)seed);
}

static void check_kernel(const ck_kernel *t, const dm_kernels *ref, const dm_kernels *k, const options *o)
{
    for (uint64_t r = 0; r < o->rounds && check_round(t, ref, k, o->seed + r); r++)
        ;
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

/* Nanoseconds for 1024 elements: the median of samples of about 50 us, after a warm-up that also wakes wide
 * registers. */
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
            printf("%-18s %-7s %9.1f %9.2f\n", t->name, dm_isa_name((dm_isa)i), ns, scalar / ns);
            fflush(stdout);
        }
}

/* ---- command line ---- */

static int usage(const char *what, const char *value)
{
    fprintf(stderr,
            "checkasm: %s%s\n"
            "usage: checkasm [--isa LEVEL] [--kernel PREFIX] [--seed N] [--rounds N] [--bench] [--threads N]\n",
            what, value);
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
    uint64_t threads;

    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *value = argv[i + 1]; /* NULL after the last one */
        if (!strcmp(arg, "--bench")) {
            o->bench = true;
            continue;
        }
        if (strcmp(arg, "--isa") && strcmp(arg, "--kernel") && strcmp(arg, "--seed") && strcmp(arg, "--rounds") &&
            strcmp(arg, "--threads"))
            return usage("unknown option ", arg);
        if (!value)
            return usage("a value is missing after ", arg);
        if (!strcmp(arg, "--isa"))
            o->isa = value;
        else if (!strcmp(arg, "--kernel"))
            o->prefix = value;
        else if (!strcmp(arg, "--seed") && !number(value, 0, UINT64_MAX, &o->seed))
            return usage("--seed must be a number from 0, not ", value);
        else if (!strcmp(arg, "--rounds") && !number(value, 1, 1000000, &o->rounds))
            return usage("--rounds must be 1 to 1000000, not ", value);
        else if (!strcmp(arg, "--threads") && !number(value, 1, DM_THREADS_MAX, &threads))
            return usage("--threads must be 1 to 256, not ", value);
        i++;
    }
    return 0;
}

/* ---- what is checked and timed ---- */

#define KERNELS_MAX 64

static const ck_kernel *kernels[KERNELS_MAX];
static size_t n_kernels;

/* Takes the kernels whose name begins with the prefix. A kernel that the table has and the
 * checks do not is a failure. */
static void collect(const char *prefix)
{
    static const ck_kernel *const families[] = {ck_row_kernels,       ck_convert_kernels,   ck_gemm_kernels,
                                                ck_attention_kernels, ck_quantised_kernels, ck_bf16_kernels,
                                                ck_double_kernels};
    const size_t slots = (sizeof(dm_kernels) - offsetof(dm_kernels, skinny)) / sizeof(void (*)(void));
    size_t found = 0;

    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (const ck_kernel *t = families[f]; t->name; t++) {
            found += !t->own_sizes;
            if (n_kernels < KERNELS_MAX && strncmp(t->name, prefix, strlen(prefix)) == 0)
                kernels[n_kernels++] = t;
        }
    CK_MSG(found == slots, "the kernel table has %zu kernels, checkasm checks %zu of them", slots, found);
}

int main(int argc, char **argv)
{
    options o = {.prefix = "", .isa = getenv("DMPO_ISA"), .seed = 1, .rounds = getenv("DMPO_TEST_FAST") ? 1 : ROUNDS};
    static dm_kernels level[DM_ISA_COUNT], reference;
    bool wanted[DM_ISA_COUNT];
    dm_isa only = DM_ISA_COUNT;
    dm_error err;
    const int status = parse(&o, argc, argv);

    if (status)
        return status;
    collect(o.prefix);
    if (n_kernels == 0)
        return usage("no kernel's name begins with ", o.prefix);
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
    printf("seed %llu, rounds %llu\n", (unsigned long long)o.seed, (unsigned long long)o.rounds);
    catch_faults();
    for (size_t i = 0; i < n_kernels; i++)
        for (int l = 0; l < DM_ISA_COUNT; l++)
            if (wanted[l])
                check_kernel(kernels[i], l == DM_ISA_SCALAR ? &reference : &level[DM_ISA_SCALAR], &level[l], &o);
    if (o.bench && ck_failed > 0)
        printf("not timed: a check failed\n");
    if (o.bench && ck_failed == 0) {
        printf("%-18s %-7s %9s %9s\n", "kernel", "level", "ns/1024", "x scalar");
        for (size_t i = 0; i < n_kernels; i++)
            if (kernels[i]->bench)
                time_levels(kernels[i], level, wanted);
    }
    return ck_done("checkasm");
}
