/* The f64 functions. Methods: reduction with constants split so that the first step is exact (Cody and Waite
 * 1980), short polynomials, and the low part of the reduced argument carried along (after Tang 1989 and fdlibm). */
#include <math.h> /* fma and fabs only: these are exact */
#include <stdint.h>

#include "core/numbers/bits.h"
#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"

#define LOG2E 0x1.71547652b82fep0
#define LN2_HI 0x1.62e42fefa38p-1 /* 42 bits: times an exponent (11 bits) it is exact */
#define LN2_LO 0x1.ef35793c7673p-45
#define TWO_OVER_PI 0x1.45f306dc9c883p-1
#define PI_2_A 0x1.921fb54442d18p0 /* pi/2 = A + B + C + 2^-165 at most */
#define PI_2_B 0x1.1a62633145c07p-54
#define PI_2_C (-0x1.f1976b7ed8fbcp-110)
#define SQRT_HALF_BITS UINT64_C(0x3FE6A09E667F3BCD)
#define MAGIC 0x1.8p52 /* adding it leaves an integer in the low bits */

/* hi + lo, |lo| <= ulp(hi) / 2 */
typedef struct pair {
    double hi, lo;
} pair;

/* Exact for any a, b (Knuth). */
static inline pair two_sum(double a, double b)
{
    const double s = a + b, t = s - a;
    return (pair){s, (a - (s - t)) + (b - t)};
}

static inline pair two_product(double a, double b)
{
    const double p = a * b;
    return (pair){p, fma(a, b, -p)};
}

/* ---- exp ---- */

/* y * 2^k for y in [0.5, 2], |k| <= 1100: the first product is exact, the second rounds once. */
static double scale(double y, int k)
{
    const int k1 = k >> 1, k2 = k - k1;
    return y * dm_f64_from_bits((uint64_t)(k1 + 1023) << 52) * dm_f64_from_bits((uint64_t)(k2 + 1023) << 52);
}

/* exp(x + c) = 2^k * (1 + hi + lo) with |hi| <= 0.35, |lo| <= 0.08; |x| < 1100, c tiny. */
static pair exp_reduce(double x, double c, int *k)
{
    const double t = fma(x, LOG2E, MAGIC), n = t - MAGIC;
    *k = (int)(int64_t)(dm_f64_bits(t) - dm_f64_bits(MAGIC));
    const double a = fma(n, -LN2_HI, x); /* exact */
    const double b = fma(n, LN2_LO, -c);
    const double r = a - b, low = (a - r) - b;
    static const double inverse_factorial[] = {
        0x1.6124613a86d09p-33, 0x1.1eed8eff8d898p-29, 0x1.ae64567f544e4p-26, 0x1.27e4fb7789f5cp-22,
        0x1.71de3a556c734p-19, 0x1.a01a01a01a01ap-16, 0x1.a01a01a01a01ap-13, 0x1.6c16c16c16c17p-10,
        0x1.1111111111111p-7,  0x1.5555555555555p-5,  0x1.5555555555555p-3,  0x1p-1,
    };
    double q = inverse_factorial[0]; /* 1/13! ... 1/2! */
    for (int i = 1; i < 12; i++)
        q = fma(q, r, inverse_factorial[i]);
    return (pair){r, fma(q * r, r, fma(low, r, low))};
}

static double exp_pair(double x, double c)
{
    if (x > 710)
        return INFINITY;
    if (x < -746)
        return 0;
    int k;
    const pair m = exp_reduce(x, c, &k);
    const double s = 1 + m.hi;
    return scale(s + (((1 - s) + m.hi) + m.lo), k);
}

double dm_exp(double x)
{
    return x != x ? x : exp_pair(x, 0);
}

double dm_expm1(double x)
{
    if (x != x || fabs(x) < 0x1p-54)
        return x;
    if (x > 710)
        return INFINITY;
    if (x < -40)
        return -1;
    int k;
    const pair r = exp_reduce(x, 0, &k);
    const double m = r.hi + r.lo;
    if (k == 0)
        return m;
    if (k > 54)
        return scale(1 + m, k);
    const double power = dm_f64_from_bits((uint64_t)(k + 1023) << 52);
    return fma(power, m, power - 1);
}

double dm_sigmoid(double x)
{
    const double e = dm_exp(-fabs(x)), n = x >= 0 ? 1 : e;
    const double d = 1 + e, lost = (1 - d) + e; /* what rounding d dropped; exact */
    const double y = n / d;
    return y + (fma(-y, d, n) - y * lost) / d;
}

/* ---- log ---- */

/* x = 2^k * (1 + f), 1 + f in [sqrt(1/2), sqrt(2)]; x positive and finite. f is exact. */
static double log_split(double x, int *k)
{
    int bias = 0;
    if (x < DBL_MIN) {
        x *= 0x1p54;
        bias = 54;
    }
    const uint64_t b = dm_f64_bits(x);
    const int64_t e = (int64_t)(b - SQRT_HALF_BITS) >> 52;
    *k = (int)e - bias;
    return dm_f64_from_bits(b - ((uint64_t)e << 52)) - 1;
}

/* k ln 2 + log(1 + f) + c. With s = f / (2 + f): log(1 + f) = f - (f^2/2 - s (f^2/2 + R(s^2))); R: minimax fit,
 * error 2^-58. */
static double log_sum(double f, int k, double c)
{
    const double half = 0.5 * f * f, s = f / (2 + f), z = s * s;
    double r = 0x1.2f0d930f8475fp-3;
    r = fma(r, z, 0x1.39a0f486b9612p-3);
    r = fma(r, z, 0x1.74664631d9159p-3);
    r = fma(r, z, 0x1.c71c51e7da363p-3);
    r = fma(r, z, 0x1.2492494217cb3p-2);
    r = fma(r, z, 0x1.999999997fb2ep-2);
    r = fma(r, z, 0x1.5555555555593p-1);
    r *= z;
    return k * LN2_HI - ((half - (s * (half + r) + (k * LN2_LO + c))) - f);
}

double dm_log(double x)
{
    if (x < 0)
        return NAN;
    if (x == 0)
        return -INFINITY;
    if (!(x <= DBL_MAX))
        return x;
    int k;
    const double f = log_split(x, &k);
    return log_sum(f, k, 0);
}

double dm_log1p(double x)
{
    if (x < -1)
        return NAN;
    if (x == -1)
        return -INFINITY;
    if (!(x <= DBL_MAX) || fabs(x) < 0x1p-54)
        return x;
    if (x > -0.29 && x < 0.41)
        return log_sum(x, 0, 0);
    const double u = 1 + x;
    const double lost = x > 1 ? 1 - (u - x) : x - (u - 1); /* what rounding u dropped; exact */
    int k;
    const double f = log_split(u, &k);
    return log_sum(f, k, lost / u);
}

double dm_log_sigmoid(double x)
{
    return x >= 0 ? -dm_log1p(dm_exp(-x)) : x - dm_log1p(dm_exp(x));
}

/* ---- pow ---- */

/* log(x) to about 2^-65 of itself: the first two terms of 2s (1 + z/3 + z^2/5 + ...), z = s^2, in double-double. */
static pair log_pair(double x)
{
    int k;
    const double f = log_split(x, &k);
    const pair d = two_sum(2, f);
    const double s = f / d.hi;
    const double s_low = fma(-s, d.lo, fma(-s, d.hi, f)) / d.hi;
    pair z = two_product(s, s);
    z.lo += 2 * s * s_low;
    pair w = two_product(z.hi, 0x1.5555555555555p-2); /* z / 3 */
    w.lo += fma(z.lo, 0x1.5555555555555p-2, z.hi * 0x1.5555555555555p-56);
    double t = 1.0 / 27;
    for (int i = 25; i >= 5; i -= 2)
        t = fma(t, z.hi, 1.0 / i);
    t *= z.hi * z.hi;
    const pair u = two_sum(w.hi, t);
    pair sum = two_sum(1, u.hi);
    sum.lo += u.lo + w.lo;
    pair p = two_product(2 * s, sum.hi);
    p.lo += fma(2 * s, sum.lo, 2 * s_low * sum.hi);
    pair r = two_sum(k * LN2_HI, p.hi);
    r.lo += p.lo + k * LN2_LO;
    return two_sum(r.hi, r.lo);
}

double dm_pow(double x, double y)
{
    if (y == 0 || x == 1)
        return 1;
    if (x != x || y != y || x < 0)
        return NAN;
    if (x == 0 || x > DBL_MAX)
        return (x == 0) == (y > 0) ? 0 : INFINITY;
    if (fabs(y) > DBL_MAX)
        return (x < 1) == (y > 0) ? 0 : INFINITY;
    const pair l = log_pair(x);
    const double hi = y * l.hi;
    if (!(fabs(hi) < 1000))
        return hi > 0 ? INFINITY : 0;
    return exp_pair(hi, fma(y, l.hi, -hi) + y * l.lo);
}

/* ---- sin and cos ---- */

/* x = quadrant * pi/2 + hi + lo. |x| <= 2^30: n * PI_2_A has at most 83 bits, what is left of it below 1 is a
 * multiple of 2^-53, so the first step is exact. */
static pair reduce_angle(double x, unsigned *quadrant)
{
    const double t = fma(x, TWO_OVER_PI, MAGIC), n = t - MAGIC;
    *quadrant = (unsigned)dm_f64_bits(t) & 3u;
    const double a = fma(n, -PI_2_A, x);
    const pair b = two_product(n, PI_2_B);
    const pair r = two_sum(a, -b.hi);
    return two_sum(r.hi, fma(n, -PI_2_C, r.lo - b.lo));
}

/* Taylor series: on [0, pi/4] the first term left out is below 2^-62 (sin) and 2^-58 (cos) of the result. */
static double sin_small(pair r)
{
    const double z = r.hi * r.hi;
    double q = 0x1.952c77030ad4ap-49;
    q = fma(q, z, -0x1.ae7f3e733b81fp-41);
    q = fma(q, z, 0x1.6124613a86d09p-33);
    q = fma(q, z, -0x1.ae64567f544e4p-26);
    q = fma(q, z, 0x1.71de3a556c734p-19);
    q = fma(q, z, -0x1.a01a01a01a01ap-13);
    q = fma(q, z, 0x1.1111111111111p-7);
    q = fma(q, z, -0x1.5555555555555p-3);
    return r.hi + fma(q * z, r.hi, fma(-0.5 * z, r.lo, r.lo));
}

static double cos_small(pair r)
{
    const double z = r.hi * r.hi, half = 0.5 * z, w = 1 - half;
    double q = 0x1.ae7f3e733b81fp-45;
    q = fma(q, z, -0x1.93974a8c07c9dp-37);
    q = fma(q, z, 0x1.1eed8eff8d898p-29);
    q = fma(q, z, -0x1.27e4fb7789f5cp-22);
    q = fma(q, z, 0x1.a01a01a01a01ap-16);
    q = fma(q, z, -0x1.6c16c16c16c17p-10);
    q = fma(q, z, 0x1.5555555555555p-5);
    return w + (((1 - w) - half) + fma(q * z, z, -r.hi * r.lo));
}

/* sin(x + quarters * pi/2) */
static double sin_quarters(double x, unsigned quarters)
{
    if (!(fabs(x) <= 0x1p30))
        return NAN;
    unsigned quadrant;
    const pair r = reduce_angle(x, &quadrant);
    quarters += quadrant;
    const double y = quarters % 2 ? cos_small(r) : sin_small(r);
    return quarters & 2u ? -y : y;
}

double dm_sin(double x)
{
    return fabs(x) < 0x1p-27 ? x : sin_quarters(x, 0);
}

double dm_cos(double x)
{
    return sin_quarters(x, 1);
}
