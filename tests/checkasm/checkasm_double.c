/* The kernels that traces are judged with, in double. */
#include <math.h>
#include <string.h>

#include "tests/checkasm/checkasm.h"

/* n doubles, which are numbers. */
static double *doubles(ck *c, size_t n)
{
    double *x = (double *)(void *)ck_bytes(c, n * sizeof *x, sizeof *x);

    for (size_t i = 0; i < n; i++) {
        const double number = ck_number(c);
        x[i] = isfinite(number) ? number : 1;
    }
    return x;
}

static const double *doubles_in(ck *c, size_t n)
{
    const double *x = doubles(c, n);

    ck_seal(c);
    return x;
}

static ck_floats doubles_inout(ck *c, size_t n) /* as floats, for comparison */
{
    double *want = doubles(c, n), *got = (double *)(void *)ck_bytes(c, n * sizeof *got, sizeof *got);

    memcpy(got, want, n * sizeof *got);
    return (ck_floats){(float *)(void *)want, (float *)(void *)got};
}

static void check_double_tile(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const double *a = doubles_in(c, n * DM_DOUBLE_ROWS), *b = doubles_in(c, n * DM_DOUBLE_COLUMNS);
    const size_t size = (size_t)DM_DOUBLE_ROWS * DM_DOUBLE_COLUMNS;
    const ck_floats out = doubles_inout(c, size);

    ref->double_tile((double *)(void *)out.want, a, b, n);
    k->double_tile((double *)(void *)out.got, a, b, n);
    ck_same(c, "c", out, 2 * size);
}

static size_t bench_double_tile(const dm_kernels *k, ck_bench *b)
{
    const size_t depth = b->n / (2 * DM_DOUBLE_COLUMNS);
    double c[DM_DOUBLE_ROWS * DM_DOUBLE_COLUMNS] = {0};

    k->double_tile(c, (const double *)(const void *)b->a, (const double *)(const void *)b->b, depth);
    return depth * DM_DOUBLE_COLUMNS;
}

/* Also that it is the exponential, as libm has it: the reference is the same formula. */
static void check_double_exp(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    double *x = doubles(c, n);

    for (size_t i = 0; i < n; i++)
        x[i] = i % 7 == 6 ? -800.0 : -fabs(x[i]) * (i % 3 == 2 ? 100 : 1);
    ck_seal(c);
    const ck_floats out = doubles_inout(c, n);
    ref->double_exp((double *)(void *)out.want, x, n);
    k->double_exp((double *)(void *)out.got, x, n);
    ck_same(c, "y", out, 2 * n);
    for (size_t i = 0; i < n; i++) {
        const double want = x[i] < -708 ? 0 : exp(x[i]), got = ((const double *)(const void *)out.got)[i];
        if (!(fabs(got - want) <= 0x1p-51 * want))
            ck_differ(c, "exp(%a) is %a, must be %a", x[i], got, want);
    }
}

static size_t bench_double_exp(const dm_kernels *k, ck_bench *b)
{
    const size_t n = b->n / 2;

    memset(b->a, 0, n * sizeof(double));
    k->double_exp((double *)(void *)b->d, (const double *)(const void *)b->a, n);
    return n;
}

static void check_double_dots(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const size_t d = 5, stride = n + ck_below(c, 5);
    const double *x = doubles_in(c, d), *w = doubles_in(c, d * stride);
    const ck_floats value = doubles_inout(c, n), size = doubles_inout(c, n);

    ref->double_dots((double *)(void *)value.want, (double *)(void *)size.want, x, w, stride, d, n);
    k->double_dots((double *)(void *)value.got, (double *)(void *)size.got, x, w, stride, d, n);
    ck_same(c, "value", value, 2 * n);
    ck_same(c, "size", size, 2 * n);
}

static size_t bench_double_dots(const dm_kernels *k, ck_bench *b)
{
    const size_t d = 8, n = b->n / (2 * d);
    double *out = (double *)(void *)b->d;

    k->double_dots(out, out + n, (const double *)(const void *)b->a, (const double *)(const void *)b->b, n, d, n);
    return d * n;
}

static void check_double_share(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
{
    const size_t stride = n + ck_below(c, 5), size = 3 * stride + n, count = ck_below(c, 5),
                 ws = count + ck_below(c, 3);
    const size_t row = n + ck_below(c, 3);
    const double *x = doubles_in(c, count * row), *w = doubles_in(c, 4 * ws);
    const ck_floats out = doubles_inout(c, size);

    ref->double_share((double *)(void *)out.want, stride, x, row, n, w, ws, count);
    k->double_share((double *)(void *)out.got, stride, x, row, n, w, ws, count);
    ck_same(c, "s", out, 2 * size);
}

static size_t bench_double_share(const dm_kernels *k, ck_bench *b)
{
    static const double w[32] = {1, 2, 3, 4};
    const size_t n = b->n / 16;

    k->double_share((double *)(void *)b->d, n, (const double *)(const void *)b->a, n, n, w, 8, 8);
    return 8 * n;
}

const ck_kernel ck_double_kernels[] = {
    {"double_tile", check_double_tile, bench_double_tile, false},
    {"double_exp", check_double_exp, bench_double_exp, false},
    {"double_dots", check_double_dots, bench_double_dots, false},
    {"double_share", check_double_share, bench_double_share, false},
    {0},
};
