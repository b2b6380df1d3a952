/* The engine's elementary functions against libm (which does not share a line with them): error in ulp on a sample
 * of every binade, special values, and a hash of the results that every compiler, ISA and libc must reproduce.
 *
 *     exact                                   a few seconds
 *     exact --hashes                          all 2^32 inputs of what kernels compute, on every level: minutes
 *     exact --exhaustive [FUNCTION...]        that, and the error of all 2^32 inputs of the f32 functions: hours */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "core/files/file.h"
#include "core/numbers/exact.h"
#include "core/numbers/philox.h"
#include "core/sha256.h"
#include "core/system.h"
#include "simd/kernels/kernels.h"
#include "tests/support/check.h"

#define LIMIT 2.0 /* of the f64 functions, in ulp */

/* Of hash_inputs: a sample, and all 2^32 inputs. */
#define SAMPLE_EXP "3d779ac7c6ef544e6cdddf23282fc0f79f0bf8d15289828e866f1defa942995d"
#define SAMPLE_SIGMOID "f4041031a12aa83c4fe5c5e6412a1ec5da6353bf6e365c9144c38bdccd8b4dd6"
#define SAMPLE_LOG "d9e6340e6116c03e109c978baac7b1b5186e681a7a17b97b71b9052282936414"
#define ALL_EXP "96175020bb15836a819abd4ab42074edfa8a86f13ab685ed412b7395e81901b6"
#define ALL_SIGMOID "0e1bd102e5fe3fcfb129163c3f9a814a64244dcaa66913f2bd5c229f3c24ca3d"
#define ALL_LOG "ecee7769ce759084bcf9120fe174eeaee8624ce2e3e3f23367d9be6d428344b5"

/* The reference must be better than what it judges: x87's 64-bit significand on x86; elsewhere libm's double is
 * itself off by up to an ulp. */
#if LDBL_MANT_DIG >= 64 && defined(__x86_64__)
typedef long double wide;
#define WIDE(f) f##l
#define REFERENCE_ERROR 0.0
#else
typedef double wide;
#define WIDE(f) f
#define REFERENCE_ERROR 1.0
#endif

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- f32 ---- */

static double ref_sigmoid(double x)
{
    const double e = exp(-fabs(x));
    return (x >= 0 ? 1 : e) / (1 + e);
}

typedef struct f32_case {
    const char *name;
    float (*f)(float);
    double (*reference)(double);
    double limit; /* in ulp: what core/numbers/exact.h says */
    double worst;
    float worst_at;
    unsigned long wrong; /* NaN or infinity where there should be none, or the reverse */
} f32_case;

static f32_case f32_cases[] = {
    {.name = "exp", .f = dm_expf, .reference = exp, .limit = 0.89},
    {.name = "log", .f = dm_logf, .reference = log, .limit = 0.80},
    {.name = "sigmoid", .f = dm_sigmoidf, .reference = ref_sigmoid, .limit = 1.30},
};

#define F32_CASES (sizeof f32_cases / sizeof *f32_cases)

/* Distance in units of the last place of a float as large as `want`; infinity counts as 2^128. */
static double ulp_error(float got, double want)
{
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0 : INFINITY;
    const double end = 0x1p128, value = isinf(got) ? copysign(end, (double)got) : (double)got;
    want = fabs(want) > end ? copysign(end, want) : want;
    int e;
    frexp(want, &e);
    e = e - 24 < -149 ? -149 : e - 24 > 104 ? 104 : e - 24;
    return fabs(value - want) * ldexp(1, -e);
}

static void check_f32(f32_case *c, float x)
{
    const float got = c->f(x);
    const double error = ulp_error(got, c->reference((double)x));
    if (isinf(error))
        c->wrong++;
    else if (error > c->worst)
        c->worst = error, c->worst_at = x;
    else
        return;
    if (isinf(error) && c->wrong == 1)
        printf("%s(%a) = %a, want %a\n", c->name, (double)x, (double)got, c->reference((double)x));
}

static void report_f32(const f32_case *c)
{
    printf("f32 %-8s %.3f ulp at %a\n", c->name, c->worst, (double)c->worst_at);
    CK_MSG(c->wrong == 0, "%s: %lu results of the wrong kind", c->name, c->wrong);
    CK_MSG(c->worst <= c->limit, "%s: %.3f ulp at %a", c->name, c->worst, (double)c->worst_at);
}

/* Every exponent and sign, `each` random significands; then every binade's ends. */
static void sample_f32(unsigned each)
{
    for (size_t i = 0; i < F32_CASES; i++) {
        f32_case *c = &f32_cases[i];
        for (uint32_t top = 0; top < 512; top++) {
            for (unsigned n = 0; n < each; n++)
                check_f32(c, float_of(top << 23 | dm_random(1, DM_RNG_TEST, top, n).v[0] >> 9));
            for (uint32_t low = 0; low < 4; low++) {
                check_f32(c, float_of(top << 23 | low));
                check_f32(c, float_of(top << 23 | (0x7FFFFFu - low)));
            }
        }
        report_f32(c);
    }
}

/* ---- the same bits on every level ---- */

#define BLOCK ((uint32_t)4096)          /* inputs that follow each other */
#define STRIDE ((uint64_t)2039 * BLOCK) /* of a sample: a block of each binade, at another place in each */

static void map(float (*f)(float), float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = f(x[i]);
}

/* SHA-256 of the results, every NaN as 7fc00000, of a block of inputs at every `stride`th pattern of bits. */
static void hash_inputs(void (*kernel)(float *, const float *, size_t), float (*f)(float), uint64_t stride,
                        char hex[DM_SHA256_HEX])
{
    static float x[BLOCK], y[BLOCK];
    dm_sha256 h;

    dm_sha256_init(&h);
    for (uint64_t begin = 0; begin < UINT64_C(1) << 32; begin += stride) {
        for (uint32_t i = 0; i < BLOCK; i++)
            x[i] = float_of((uint32_t)begin + i);
        if (kernel)
            kernel(y, x, BLOCK);
        else
            map(f, y, x, BLOCK);
        for (uint32_t i = 0; i < BLOCK; i++)
            if (isnan(y[i]))
                y[i] = float_of(0x7FC00000u);
        dm_sha256_update(&h, y, sizeof y);
    }
    dm_sha256_finish(&h, hex);
}

static void check_level(const char *level, const dm_kernels *k, uint64_t stride)
{
    static const struct {
        const char *name;
        float (*f)(float);
        const char *sample, *all;
    } wanted[] = {
        {"exp", dm_expf, SAMPLE_EXP, ALL_EXP},
        {"sigmoid", dm_sigmoidf, SAMPLE_SIGMOID, ALL_SIGMOID},
        {"log", dm_logf, SAMPLE_LOG, ALL_LOG},
    };
    for (size_t i = 0; i < (k ? 2 : 3); i++) { /* no kernel takes logarithms */
        const char *want = stride == STRIDE ? wanted[i].sample : wanted[i].all;
        const double start = dm_seconds();
        char hex[DM_SHA256_HEX];
        hash_inputs(!k ? NULL : i == 0 ? k->exp : k->sigmoid, wanted[i].f, stride, hex);
        printf("%s %-8s %s%s\n", hex, wanted[i].name, level, stride == STRIDE ? "" : ", all inputs");
        CK_MSG(strcmp(hex, want) == 0, "%s, %s: the bits hash to %s, not to %s", wanted[i].name, level, hex, want);
        if (stride != STRIDE)
            fprintf(stderr, "%s, %s: all inputs in %.0f s\n", wanted[i].name, level, dm_seconds() - start);
    }
}

static void check_levels(uint64_t stride)
{
    for (int i = 0; i < DM_ISA_COUNT; i++) {
        dm_kernels k;
        if (!dm_isa_usable((dm_isa)i))
            continue;
        dm_kernels_init(&k, (dm_isa)i);
        check_level(dm_isa_name((dm_isa)i), &k, stride);
    }
    check_level("definition", NULL, stride);
}

/* ---- error ---- */

static int exhaustive(int count, char **chosen)
{
    check_levels(BLOCK);
    for (size_t i = 0; i < F32_CASES; i++) {
        f32_case *c = &f32_cases[i];
        bool wanted = count == 0;
        for (int k = 0; k < count; k++)
            wanted = wanted || strcmp(chosen[k], c->name) == 0;
        if (!wanted)
            continue;
        const double start = dm_seconds();
        for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits++) {
            check_f32(c, float_of((uint32_t)bits));
            if (bits % (1 << 26) == 0 && bits > 0) {
                const double done = (double)bits * 0x1p-32, spent = dm_seconds() - start;
                fprintf(stderr, "\r%-8s %3.0f %%, %4.0f s left ", c->name, 100 * done, spent / done - spent);
            }
        }
        fputc('\n', stderr);
        report_f32(c);
    }
    return ck_done("exact");
}

/* ---- f64 ---- */

static wide wide_exp(wide x)
{
    return WIDE(exp)(x);
}
static wide wide_log(wide x)
{
    return WIDE(log)(x);
}
static wide wide_expm1(wide x)
{
    return WIDE(expm1)(x);
}
static wide wide_log1p(wide x)
{
    return WIDE(log1p)(x);
}
static wide wide_sin(wide x)
{
    return WIDE(sin)(x);
}
static wide wide_cos(wide x)
{
    return WIDE(cos)(x);
}

static wide wide_sigmoid(wide x)
{
    const wide e = WIDE(exp)(-WIDE(fabs)(x));
    return (x >= 0 ? 1 : e) / (1 + e);
}

static wide wide_log_sigmoid(wide x)
{
    return x >= 0 ? -WIDE(log1p)(WIDE(exp)(-x)) : x - WIDE(log1p)(WIDE(exp)(x));
}

typedef struct f64_case {
    const char *name;
    double (*f)(double);
    wide (*reference)(wide);
    double low, high;               /* where the random arguments lie */
    int min_exponent, max_exponent; /* and which binades are sampled */
    bool positive;
} f64_case;

static const f64_case f64_cases[] = {
    {"exp", dm_exp, wide_exp, -745, 710, -60, 9, false},
    {"log", dm_log, wide_log, 0, 4, -1074, 1023, true},
    {"expm1", dm_expm1, wide_expm1, -3, 3, -1074, 9, false},
    {"log1p", dm_log1p, wide_log1p, -1, 3, -1074, 1023, true},
    {"sin", dm_sin, wide_sin, -100, 100, -1074, 29, false},
    {"cos", dm_cos, wide_cos, -100, 100, -1074, 29, false},
    {"sigmoid", dm_sigmoid, wide_sigmoid, -40, 40, -60, 8, false},
    {"log_sigmoid", dm_log_sigmoid, wide_log_sigmoid, -40, 40, -60, 9, false},
};

#define F64_CASES (sizeof f64_cases / sizeof *f64_cases)

static double ulp_error64(double got, wide want)
{
    if (isnan(got) || isinf(got) || fabs((double)want) >= DBL_MAX)
        return got == (double)want ? 0 : INFINITY;
    int e;
    WIDE(frexp)(want, &e);
    return (double)WIDE(ldexp)(WIDE(fabs)((wide)got - want), -(e - 53 < -1074 ? -1074 : e - 53));
}

typedef struct worst64 {
    double error, at, at2;
} worst64;

static void note(worst64 *w, double got, wide want, double x, double y)
{
    const double error = ulp_error64(got, want);
    if (error > w->error)
        *w = (worst64){error, x, y};
}

static void sample_f64(unsigned each)
{
    for (size_t i = 0; i < F64_CASES; i++) {
        const f64_case *c = &f64_cases[i];
        worst64 w = {0};
        for (unsigned n = 0; n < 200 * each; n++) {
            const double x = c->low + (c->high - c->low) * dm_random_uniform(2, DM_RNG_TEST, i, n);
            if (x != c->low)
                note(&w, c->f(x), c->reference((wide)x), x, 0);
        }
        for (int e = c->min_exponent; e <= c->max_exponent; e++)
            for (unsigned n = 0; n < each; n++) {
                double x = ldexp(1 + dm_random_uniform(3, DM_RNG_TEST, i, n), e);
                if (n % 2 && !c->positive)
                    x = -x;
                note(&w, c->f(x), c->reference((wide)x), x, 0);
            }
        printf("f64 %-11s %.3f ulp at %a\n", c->name, w.error, w.at);
        CK_MSG(w.error <= LIMIT + REFERENCE_ERROR, "%s: %.3f ulp at %a", c->name, w.error, w.at);
    }
}

static void sample_pow(unsigned count)
{
    worst64 w = {0};
    for (unsigned n = 0; n < count; n++) {
        const double l = -700 + 1400 * dm_random_uniform(4, DM_RNG_TEST, 0, n); /* y * log x */
        const double scale = ldexp(1, (int)(n % 60) - 50);
        const double x = n % 3 ? exp(scale * (dm_random_uniform(4, DM_RNG_TEST, 1, n) - 0.5))
                               : dm_random_uniform(4, DM_RNG_TEST, 1, n);
        const double y = x == 1 || x == 0 ? 3 : l / log(x);
        if (x > 0 && isfinite(y) && isfinite(x))
            note(&w, dm_pow(x, y), WIDE(pow)((wide)x, (wide)y), x, y);
        note(&w, dm_pow(0.9 + 0.1 * dm_random_uniform(4, DM_RNG_TEST, 2, n), 1 + n % 2000),
             WIDE(pow)((wide)(0.9 + 0.1 * dm_random_uniform(4, DM_RNG_TEST, 2, n)), (wide)(1 + n % 2000)), 0.9, n);
    }
    printf("f64 pow         %.3f ulp at (%a, %a)\n", w.error, w.at, w.at2);
    CK_MSG(w.error <= 2 * LIMIT + REFERENCE_ERROR, "pow: %.3f ulp at (%a, %a)", w.error, w.at, w.at2);
}

/* Arguments next to multiples of pi/2 lose most of their bits in the reduction. x87's own pi has 64 bits, but
 * the reference reduces exactly all the same. */
static void sample_near_quarter_turns(unsigned count)
{
    worst64 s = {0}, c = {0};
    for (unsigned n = 0; n < count; n++) {
        const double k = floor(dm_random_uniform(5, DM_RNG_TEST, 0, n) * ldexp(1, (int)(n % 30)));
        const double x = k * 1.5707963267948966;
        if (x > 0x1p30)
            continue;
        note(&s, dm_sin(x), wide_sin((wide)x), x, 0);
        note(&c, dm_cos(x), wide_cos((wide)x), x, 0);
    }
    CK_MSG(s.error <= LIMIT + REFERENCE_ERROR, "sin near k pi/2: %.3f ulp at %a", s.error, s.at);
    CK_MSG(c.error <= LIMIT + REFERENCE_ERROR, "cos near k pi/2: %.3f ulp at %a", c.error, c.at);
}

/* ---- special values ---- */

static bool same(double got, double want)
{
    if (isnan(want))
        return isnan(got);
    return got == want && signbit(got) == signbit(want);
}

static void specials_f32(void)
{
    const float inf = INFINITY, nan = NAN;
    const struct {
        float got, want;
    } t[] = {
        {dm_expf(0), 1},
        {dm_expf(-0.0f), 1},
        {dm_expf(inf), inf},
        {dm_expf(-inf), 0},
        {dm_expf(nan), nan},
        {dm_expf(89), inf},
        {dm_expf(-104), 0},
        {dm_expf(-103.5f), 0x1p-149f},
        {dm_expf(FLT_MAX), inf},
        {dm_logf(1), 0},
        {dm_logf(0), -inf},
        {dm_logf(-0.0f), -inf},
        {dm_logf(-1), nan},
        {dm_logf(-inf), nan},
        {dm_logf(inf), inf},
        {dm_logf(nan), nan},
        {dm_logf(-0x1p-149f), nan},
        {dm_sigmoidf(0), 0.5f},
        {dm_sigmoidf(inf), 1},
        {dm_sigmoidf(-inf), 0},
        {dm_sigmoidf(nan), nan},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        CK_MSG(same((double)t[i].got, (double)t[i].want), "f32 special value %zu: %a, want %a", i, (double)t[i].got,
               (double)t[i].want);
}

static void specials_f64(void)
{
    const double inf = INFINITY, nan = NAN;
    const struct {
        double got, want;
    } t[] = {
        {dm_exp(0), 1},
        {dm_exp(inf), inf},
        {dm_exp(-inf), 0},
        {dm_exp(nan), nan},
        {dm_exp(709.79), inf},
        {dm_exp(-745.2), 0},
        {dm_exp(-745), 0x1p-1074},
        {dm_log(1), 0},
        {dm_log(0), -inf},
        {dm_log(-1), nan},
        {dm_log(inf), inf},
        {dm_log(nan), nan},
        {dm_expm1(-0.0), -0.0},
        {dm_expm1(-inf), -1},
        {dm_expm1(inf), inf},
        {dm_log1p(-0.0), -0.0},
        {dm_log1p(-1), -inf},
        {dm_log1p(-1.5), nan},
        {dm_log1p(inf), inf},
        {dm_sin(-0.0), -0.0},
        {dm_sin(inf), nan},
        {dm_sin(0x1.1p30), nan},
        {dm_cos(0), 1},
        {dm_cos(nan), nan},
        {dm_sigmoid(0), 0.5},
        {dm_sigmoid(inf), 1},
        {dm_sigmoid(-inf), 0},
        {dm_sigmoid(nan), nan},
        {dm_log_sigmoid(inf), -0.0},
        {dm_log_sigmoid(-inf), -inf},
        {dm_log_sigmoid(-1e300), -1e300},
        {dm_log_sigmoid(nan), nan},
        {dm_pow(2, 10), 1024},
        {dm_pow(0, 0), 1},
        {dm_pow(nan, 0), 1},
        {dm_pow(1, nan), 1},
        {dm_pow(0, 2), 0},
        {dm_pow(0, -1), inf},
        {dm_pow(inf, 2), inf},
        {dm_pow(inf, -2), 0},
        {dm_pow(0.5, inf), 0},
        {dm_pow(0.5, -inf), inf},
        {dm_pow(2, inf), inf},
        {dm_pow(2, -inf), 0},
        {dm_pow(-1, 2), nan},
        {dm_pow(10, 400), inf},
        {dm_pow(10, -400), 0},
        {dm_pow(2, -1074), 0x1p-1074},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        CK_MSG(same(t[i].got, t[i].want), "f64 special value %zu: %a, want %a", i, t[i].got, t[i].want);
}

/* ---- the same bits everywhere ---- */

static void hash_f64(dm_sha256 *h, double y)
{
    uint64_t bits;
    memcpy(&bits, &y, sizeof bits);
    if (isnan(y))
        bits = UINT64_C(0x7FF8000000000000);
    unsigned char bytes[8];
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(bits >> (8 * i));
    dm_sha256_update(h, bytes, sizeof bytes);
}

/* Of the f64 functions; check_levels hashes the f32 ones. */
static void check_hashes(void)
{
    static const char want64[] = "acf89b50cb062a2856400ff7174b86989d44821d67fb41bc0a91ac3f86692932";
    char hex[DM_SHA256_HEX];
    dm_sha256 h;
    dm_sha256_init(&h);
    for (size_t i = 0; i < F64_CASES; i++)
        for (unsigned n = 0; n < 20000; n++) {
            const f64_case *c = &f64_cases[i];
            hash_f64(&h, c->f(c->low + (c->high - c->low) * dm_random_uniform(7, DM_RNG_TEST, i, n)));
        }
    for (unsigned n = 0; n < 20000; n++)
        hash_f64(&h,
                 dm_pow(4 * dm_random_uniform(8, DM_RNG_TEST, 0, n), 500 * dm_random_uniform(8, DM_RNG_TEST, 1, n)));
    dm_sha256_finish(&h, hex);
    CK_MSG(strcmp(hex, want64) == 0, "the f64 functions' bits hash to %s", hex);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--exhaustive") == 0)
        return exhaustive(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "--hashes") == 0) {
        check_levels(BLOCK);
        return ck_done("exact");
    }
    const unsigned effort = getenv("DMPO_TEST_FAST") ? 50 : 500;
    check_hashes();
    check_levels(STRIDE);
    specials_f32();
    specials_f64();
    sample_f32(effort);
    sample_f64(effort);
    sample_pow(200 * effort);
    sample_near_quarter_turns(200 * effort);
    return ck_done("exact");
}
