/* The contract of simd/kernels/kernels.h as plain loops over arrays: nothing here is shared with the kernels but
 * core/exact. */
#include <math.h>
#include <string.h>

#include "core/numbers/exact.h"
#include "core/numbers/exact_coeffs.h"
#include "core/numbers/numeric.h"
#include "tests/checkasm/checkasm.h"

static float sum_of(float lane[16])
{
    for (size_t w = 8; w > 0; w /= 2)
        for (size_t l = 0; l < w; l++)
            lane[l] = lane[l] + lane[l + w];
    return lane[0];
}

static float maximum(float a, float b)
{
    return a > b ? a : b;
}

static float row_max(const float *x, size_t n)
{
    float lane[16];

    for (size_t l = 0; l < 16; l++)
        lane[l] = -INFINITY;
    for (size_t i = 0; i < n; i++)
        lane[i % 16] = maximum(x[i], lane[i % 16]);
    for (size_t w = 8; w > 0; w /= 2)
        for (size_t l = 0; l < w; l++)
            lane[l] = maximum(lane[l], lane[l + w]);
    return lane[0];
}

static float ref_dot(const float *x, const float *y, size_t n)
{
    float lane[16] = {0};

    for (size_t i = 0; i < n; i++)
        lane[i % 16] = fmaf(x[i], y[i], lane[i % 16]);
    return sum_of(lane);
}

static void ref_add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] + x[i];
}

static void ref_scale(float *y, float a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] * a;
}

static void ref_exp(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = dm_expf(x[i]);
}

static void ref_sigmoid(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = dm_sigmoidf(x[i]);
}

static float ref_rmsnorm(float *y, const float *x, const float *w, size_t n, float eps)
{
    const float ms = ref_dot(x, x, n) / (float)n, inv = 1.0f / sqrtf(ms + eps);

    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] * inv) * w[i];
    return inv;
}

static void ref_rmsnorm_dx(float *dx, const float *dy, const float *x, const float *w, float inv, size_t n, int add)
{
    float lane[16] = {0};

    for (size_t i = 0; i < n; i++)
        lane[i % 16] = fmaf(dy[i] * w[i], x[i], lane[i % 16]);
    float t = inv * inv;
    t = t * inv;
    float c = sum_of(lane) * t;
    c = c / (float)n;
    for (size_t i = 0; i < n; i++) {
        float r = (dy[i] * w[i]) * inv;
        r = fmaf(-c, x[i], r);
        dx[i] = add ? dx[i] + r : r;
    }
}

static void ref_rmsnorm_dw(float *dw, const float *dy, const float *x, const float *inv, size_t rows, size_t stride,
                           size_t n)
{
    for (size_t j = 0; j < n; j++)
        for (size_t t = 0; t < rows; t++)
            dw[j] = fmaf(dy[t * stride + j], x[t * stride + j] * inv[t], dw[j]);
}

static void ref_column_sum(float *db, const float *dy, size_t rows, size_t stride, size_t n)
{
    for (size_t j = 0; j < n; j++)
        for (size_t t = 0; t < rows; t++)
            db[j] = db[j] + dy[t * stride + j];
}

static void ref_rope(float *x, const float *c, const float *s, size_t n, int inverse)
{
    for (size_t i = 0; i < n / 2; i++) {
        const float a = x[i], b = x[i + n / 2];
        x[i] = inverse ? fmaf(b, s[i], a * c[i]) : fmaf(-b, s[i], a * c[i]);
        x[i + n / 2] = inverse ? fmaf(-a, s[i], b * c[i]) : fmaf(a, s[i], b * c[i]);
    }
}

static void ref_softmax(float *s, size_t n, float scale)
{
    float lane[16] = {0};

    for (size_t i = 0; i < n; i++)
        s[i] = s[i] * scale;
    const float m = row_max(s, n);
    for (size_t i = 0; i < n; i++) {
        s[i] = dm_expf(s[i] - m);
        lane[i % 16] = lane[i % 16] + s[i];
    }
    const float r = 1.0f / sum_of(lane);
    for (size_t i = 0; i < n; i++)
        s[i] = s[i] * r;
}

static void ref_softmax_backward(float *ds, const float *p, size_t n, float scale)
{
    const float d = ref_dot(p, ds, n);

    for (size_t i = 0; i < n; i++)
        ds[i] = (p[i] * (ds[i] - d)) * scale;
}

static void ref_swiglu(float *h, const float *g, const float *u, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h[i] = (g[i] * dm_sigmoidf(g[i])) * u[i];
}

static void ref_swiglu_backward(float *dg, float *du, const float *dh, const float *g, const float *u, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float gi = g[i], ui = u[i], s = dm_sigmoidf(gi);
        du[i] = dh[i] * (gi * s);
        dg[i] = (dh[i] * ui) * (s * fmaf(gi, 1.0f - s, 1.0f));
    }
}

static float ref_gelu_gate(float g, float c3)
{
    const float below = g > -16.0f ? g : -16.0f; /* a NaN goes through as kernels.h says: the comparisons are false */
    const float c = isnan(g) ? g : below < 16.0f ? below : 16.0f;

    return c * fmaf(c3, c * c, DM_GELU_C1);
}

static void ref_geglu(float *h, const float *g, const float *u, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h[i] = (g[i] * dm_sigmoidf(ref_gelu_gate(g[i], DM_GELU_C3))) * u[i];
}

static void ref_geglu_backward(float *dg, float *du, const float *dh, const float *g, const float *u, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float gi = g[i], ui = u[i], s = dm_sigmoidf(ref_gelu_gate(gi, DM_GELU_C3));
        du[i] = dh[i] * (gi * s);
        dg[i] = (dh[i] * ui) * (s * fmaf(ref_gelu_gate(gi, DM_GELU_3C3), 1.0f - s, 1.0f));
    }
}

static void ref_lse_chunk(float *state, const float *x, size_t n)
{
    const float cm = row_max(x, n);

    if (cm > state[0]) {
        const float f = dm_expf(state[0] - cm);
        for (size_t l = 0; l < 16; l++)
            state[1 + l] = state[1 + l] * f;
        state[0] = cm;
    }
    for (size_t i = 0; i < n; i++)
        state[1 + i % 16] = state[1 + i % 16] + dm_expf(x[i] - state[0]);
}

static void ref_logit_grad(float *l, size_t n, float max, float log_sum, float coef)
{
    for (size_t i = 0; i < n; i++)
        l[i] = -(coef * dm_expf((l[i] - max) - log_sum));
}

static void ref_adamw(float *w, float *m, float *v, const float *g, size_t n, const dm_adamw_step *s)
{
    for (size_t i = 0; i < n; i++) {
        const float gs = g[i] * s->scale;
        w[i] = w[i] * s->decay;
        m[i] = fmaf(s->one_minus_beta1, gs, s->beta1 * m[i]);
        v[i] = fmaf(s->one_minus_beta2, gs * gs, s->beta2 * v[i]);
        const float d = fmaf(sqrtf(v[i]), s->inv_sqrt_correction2, s->eps);
        w[i] = w[i] - (s->step_size * m[i]) / d;
    }
}

/* ---- 16-bit formats by their definition, in f64: p bits of precision, exponents from low to high ---- */

static double decode(uint16_t h, int p, int low)
{
    const int fraction_bits = p - 1, exponent = (h & 0x7fff) >> fraction_bits;
    const int fraction = h & ((1 << fraction_bits) - 1), all_ones = (1 << (15 - fraction_bits)) - 1;
    const double sign = h & 0x8000 ? -1.0 : 1.0;

    if (exponent == all_ones)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, low - fraction_bits);
    return sign * ldexp(fraction + (1 << fraction_bits), exponent - 1 + low - fraction_bits);
}

static uint16_t encode(float x, int p, int low, int high)
{
    const int fraction_bits = p - 1, all_ones = (1 << (15 - fraction_bits)) - 1;
    const uint16_t sign = signbit(x) ? 0x8000 : 0, infinity = (uint16_t)(all_ones << fraction_bits);
    int e;

    if (isnan(x))
        return (uint16_t)(infinity + 1);
    if (isinf(x) || x == 0.0f)
        return (uint16_t)(sign | (isinf(x) ? infinity : 0));
    frexp(fabs((double)x), &e);
    const int exponent = e - 1 < low ? low : e - 1;                                   /* of the unit's place */
    const double units = nearbyint(ldexp(fabs((double)x), fraction_bits - exponent)); /* to even */
    if (ldexp(units, exponent - fraction_bits) >= ldexp(1.0, high + 1))
        return (uint16_t)(sign | infinity);
    /* Units of a normal number count its leading bit: it is worth one exponent, as is a carry. */
    return (uint16_t)(sign | (((exponent - low) << fraction_bits) + (int)units));
}

static void ref_from_bf16(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (float)decode(x[i], 8, -126);
}

static void ref_to_bf16(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = encode(x[i], 8, -126, 127);
}

static void ref_from_f16(float *y, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (float)decode(x[i], 11, -14);
}

static void ref_to_f16(uint16_t *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = encode(x[i], 11, -14, 15);
}

static void ref_weigh(float *out, const float *p, size_t ldp, const float *v, size_t ldv, size_t keys, size_t heads,
                      size_t group, size_t d, size_t n, int first)
{
    for (size_t i = 0; i < heads * group; i++)
        for (size_t c = 0; c < n; c++) {
            float acc = first ? 0.0f : out[i * d + c];
            for (size_t j = 0; j < keys; j++)
                acc = fmaf(p[i * ldp + j], v[j * ldv + i / group * d + c], acc);
            out[i * d + c] = acc;
        }
}

static void ref_double_tile(double *c, const double *a, const double *b, size_t k)
{
    for (size_t i = 0; i < DM_DOUBLE_ROWS; i++)
        for (size_t j = 0; j < DM_DOUBLE_COLUMNS; j++)
            for (size_t first = 0; first < k; first += 32) {
                double sum = 0;
                for (size_t p = first; p < k && p < first + 32; p++)
                    sum += a[p * DM_DOUBLE_ROWS + i] * b[p * DM_DOUBLE_COLUMNS + j];
                c[i * DM_DOUBLE_COLUMNS + j] += sum;
            }
}

static void ref_double_exp(double *y, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double t = x[i] * DM_DOUBLE_LOG2E + DM_DOUBLE_EXP_MAGIC, whole = t - DM_DOUBLE_EXP_MAGIC;
        const double r = (x[i] - whole * DM_DOUBLE_LN2_HI) - whole * DM_DOUBLE_LN2_LO;
        double q = 0, factorial = 6227020800; /* 13! */
        for (int k = 13; k >= 2; factorial /= k--)
            q = k == 13 ? 1 / factorial : q * r + 1 / factorial;
        y[i] = isnan(x[i]) ? x[i] : x[i] < -708 ? 0 : ldexp(1 + (r + (r * r) * q), (int)whole);
    }
}

static void ref_double_dots(double *value, double *size, const double *x, const double *w, size_t stride, size_t d,
                            size_t n)
{
    for (size_t j = 0; j < n; j++) {
        double sum = 0, magnitude = 0;
        for (size_t i = 0; i < d; i++) {
            sum += x[i] * w[i * stride + j];
            magnitude += fabs(x[i] * w[i * stride + j]);
        }
        value[j] = sum;
        size[j] = magnitude;
    }
}

static void ref_double_share(double *s, size_t stride, const double *x, size_t row, size_t n, const double *w,
                             size_t ws, size_t count)
{
    for (size_t j = 0; j < count; j++)
        for (size_t m = 0; m < 4; m++)
            for (size_t i = 0; i < n; i++)
                s[m * stride + i] += w[m * ws + j] * (m ? fabs(x[j * row + i]) : x[j * row + i]);
}

void ck_reference(dm_kernels *k)
{
    *k = (dm_kernels){
        .isa = DM_ISA_SCALAR,
        .dot = ref_dot,
        .add = ref_add,
        .scale = ref_scale,
        .exp = ref_exp,
        .sigmoid = ref_sigmoid,
        .rmsnorm = ref_rmsnorm,
        .rmsnorm_dx = ref_rmsnorm_dx,
        .rmsnorm_dw = ref_rmsnorm_dw,
        .column_sum = ref_column_sum,
        .rope = ref_rope,
        .softmax = ref_softmax,
        .softmax_backward = ref_softmax_backward,
        .weigh = ref_weigh,
        .double_tile = ref_double_tile,
        .double_exp = ref_double_exp,
        .double_dots = ref_double_dots,
        .double_share = ref_double_share,
        .swiglu = ref_swiglu,
        .swiglu_backward = ref_swiglu_backward,
        .geglu = ref_geglu,
        .geglu_backward = ref_geglu_backward,
        .lse_chunk = ref_lse_chunk,
        .logit_grad = ref_logit_grad,
        .adamw = ref_adamw,
        .from_bf16 = ref_from_bf16,
        .to_bf16 = ref_to_bf16,
        .from_f16 = ref_from_f16,
        .to_f16 = ref_to_f16,
    };
}
