/* Formulas that work row by row: norms, RoPE, residuals, gated activations. */
#include <string.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"
#include "model/network/rope.h"
#include "model/truth/formula_internal.h"

void dm_compute_tokens(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_pack *p = &dm_eval_item(e)->pack;

    (void)begin;
    (void)end;
    for (size_t t = 0; t < p->rows; t++) {
        dm_put_exact(e, 0, t, p->ids[t]);
        dm_put_exact(e, 1, t, p->position[t]);
    }
}

static double sum_of(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

/* What a norm multiplies by. */
static double norm_weight(const dm_evaluation *e, const double *w, size_t i)
{
    return (e->g->o.layout->unit_offset != (dm_knob_of(e, DM_KNOB_UNIT) > 0) ? 1 : 0) + w[i];
}

/* 1 / sqrt(mean of x^2 + eps) */
static double inverse_rms(const dm_evaluation *e, const double *x, size_t n)
{
    const int where = (int)dm_knob_of(e, DM_KNOB_EPS), mean = (int)dm_knob_of(e, DM_KNOB_MEAN);
    const double sum = dm_dot(x, x, n).value, eps = e->g->o.config->eps;
    const double square = mean == 1 ? sum : mean == 2 ? sum / (double)(n - 1) : sum / (double)n;

    return where == 1 ? 1 / (sqrt(square) + eps) : 1 / sqrt(square + (where == 2 ? 0 : eps));
}

/* The same of column i over all rows: a mistake. */
static double inverse_rms_of_rows(const dm_evaluation *e, const double *x, size_t rows, size_t cols, size_t i)
{
    double sum = 0;

    for (size_t t = 0; t < rows; t++)
        sum += x[t * cols + i] * x[t * cols + i];
    return 1 / sqrt(sum / (double)rows + e->g->o.config->eps);
}

/* The sum of squares has no cancellation: its relative error is gamma_n, that of the root half of it. */
void dm_compute_norm(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t cols = dm_eval_out(e, 0)->cols, n = e->op->group;
    const int mean = (int)dm_knob_of(e, DM_KNOB_MEAN);

    for (size_t t = begin; t < end; t++)
        for (size_t at = t * cols; at < (t + 1) * cols; at += n) {
            const double *x = e->in[0] + at, centre = mean == 3 ? sum_of(x, n) / (double)n : 0;
            double inv = inverse_rms(e, x, n);
            if (mean == 3)
                inv = 1 / sqrt(1 / (inv * inv) - centre * centre);
            for (size_t i = 0; i < n; i++) {
                if (mean == 4)
                    inv = inverse_rms_of_rows(e, e->in[0], dm_eval_out(e, 0)->rows, cols, at - t * cols + i);
                const double w = norm_weight(e, e->in[1], i), y = (x[i] - centre) * inv * w;
                const double size =
                    (fabs(x[i]) + fabs(centre)) * inv * (fabs(e->in[1][i]) + (w != e->in[1][i] ? 1 : 0));
                dm_put(e, 0, at + i, (dm_total){y, size}, (double)n / 2 + 6, 0, 5, dm_nothing_more);
            }
        }
}

/* dx = inv (w dy - x inv^2 mean(w dy x)) */
void dm_compute_norm_dx(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t cols = dm_eval_out(e, 0)->cols, n = e->op->group;

    for (size_t t = begin; t < end; t++)
        for (size_t at = t * cols; at < (t + 1) * cols; at += n) {
            const double *dy = e->in[0] + at, *x = e->in[1] + at, inv = inverse_rms(e, x, n);
            dm_total mean = {0, 0};
            for (size_t i = 0; i < n; i++) {
                const double term = norm_weight(e, e->in[2], i) * dy[i] * x[i] / (double)n;
                mean.value += term;
                mean.size += fabs(term);
            }
            for (size_t i = 0; i < n; i++) {
                const double first = norm_weight(e, e->in[2], i) * dy[i] * inv;
                const double factor = dm_knob_of(e, DM_KNOB_PROJECTION) > 0 ? 0 : x[i] * inv * inv * inv;
                /* a product that is stored below the smallest number loses that much, times what comes after */
                const double lost = 4 * e->r.least * (1 + inv) * (1 + fabs(e->in[2][i]) + fabs(x[i]) * inv);
                dm_total y = {first - factor * mean.value, fabs(first) + fabs(factor) * mean.size};
                if (e->in[3] && !(dm_knob_of(e, DM_KNOB_INPUT) > 0)) {
                    y.value += e->in[3][at + i];
                    y.size += fabs(e->in[3][at + i]);
                }
                dm_put(e, 0, at + i, y, 2.5 * (double)n + 12, 0, 10, (dm_both){lost, lost});
            }
        }
}

void dm_compute_norm_dw(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t n = e->op->group;
    double *s = dm_eval_scratch(e, n), *a = dm_eval_scratch(e, n), terms = 0;

    (void)begin;
    (void)end;
    for (size_t p = 0; p + 1 < e->op->n_in && s && a; p += 2) {
        const size_t count = dm_node_count(dm_eval_in(e, p));
        terms += (double)(count / n);
        for (size_t at = 0; at < count; at += n) {
            const double *dy = e->in[p] + at, *x = e->in[p + 1] + at, inv = inverse_rms(e, x, n);
            for (size_t i = 0; i < n; i++) {
                const double term = dy[i] * x[i] * inv;
                s[i] += term;
                a[i] += fabs(term);
            }
        }
    }
    for (size_t i = 0; i < n && s && a; i++)
        dm_put(e, 0, i, (dm_total){s[i], a[i]}, terms + (double)n / 2 + 6, 0, 8 + (double)(e->op->n_in / 2),
               dm_nothing_more);
    free(s);
    free(a);
}

/* Of the layer's angles. */
static double frequency(const dm_evaluation *e, size_t i)
{
    const double theta = dm_knob_of(e, DM_KNOB_THETA);
    dm_config c = *e->g->o.config;

    if (theta < -1)
        return 0;
    if (theta < 0)
        c.rope = DM_ROPE_DEFAULT;
    if (theta > 0) {
        c.rope_theta *= theta;
        c.rope_local_theta *= theta;
    }
    return dm_rope_frequency(&c, e->op->rope, i);
}

/* Forward, and for ROPE_GRAD by the opposite angle. An implementation may have angles in f32: their error is some
 * roundings of position times frequency. */
void dm_compute_rope(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_config *c = e->g->o.config;
    const dm_pack *p = &dm_eval_item(e)->pack;
    const size_t cols = dm_eval_out(e, 0)->cols, d = e->op->group, half = d / 2;
    const double size = e->op->rope == DM_ROPE_MAIN && c->rope == DM_ROPE_YARN ? c->rope_attention : 1;
    const double sign = (e->op->formula == DM_FORMULA_ROPE_GRAD) != (dm_knob_of(e, DM_KNOB_SIGN) > 0) ? -1 : 1;
    const size_t step = dm_knob_of(e, DM_KNOB_PAIRING) > 0 ? 2 : 1, other = step == 2 ? 1 : half;
    double *cosine = dm_eval_scratch(e, half), *sine = dm_eval_scratch(e, half), *angle = dm_eval_scratch(e, half);

    for (size_t t = begin; t < end && cosine && sine && angle; t++) {
        for (size_t i = 0; i < half; i++) {
            angle[i] = ((double)p->position[t] + dm_knob_of(e, DM_KNOB_POSITION)) * frequency(e, i);
            cosine[i] = size * dm_cos(angle[i]);
            sine[i] = sign * size * dm_sin(angle[i]);
        }
        for (size_t at = t * cols; at < (t + 1) * cols; at += d)
            for (size_t i = 0; i < half; i++) {
                const double a = e->in[0][at + step * i], b = e->in[0][at + step * i + other];
                const double off = 6 * e->r.acc * angle[i] * size * (fabs(a) + fabs(b));
                dm_put(e, 0, at + step * i,
                       (dm_total){a * cosine[i] - b * sine[i], fabs(a * cosine[i]) + fabs(b * sine[i])}, 6, 0, 3,
                       (dm_both){off, off});
                dm_put(e, 0, at + step * i + other,
                       (dm_total){b * cosine[i] + a * sine[i], fabs(b * cosine[i]) + fabs(a * sine[i])}, 6, 0, 3,
                       (dm_both){off, off});
            }
    }
    free(cosine);
    free(sine);
    free(angle);
}

void dm_compute_gather(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_pack *p = &dm_eval_item(e)->pack;
    const size_t n = dm_eval_out(e, 0)->cols;

    for (size_t t = begin; t < end; t++)
        for (size_t i = 0; i < n; i++)
            dm_put_exact(e, 0, t * n + i, e->in[0][(size_t)p->prediction_row[t] * n + i]);
}

void dm_compute_scatter(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_pack *p = &dm_eval_item(e)->pack;
    const size_t n = dm_eval_out(e, 0)->cols, rows = dm_eval_out(e, 0)->rows;
    double *s = dm_eval_scratch(e, rows * n), *a = dm_eval_scratch(e, rows * n);

    (void)begin;
    (void)end;
    for (size_t t = 0; t < p->predictions && s && a; t++)
        dm_axpy(s + (size_t)p->prediction_row[t] * n, a + (size_t)p->prediction_row[t] * n, 1, e->in[0] + t * n, n);
    for (size_t i = 0; i < rows * n && s && a; i++)
        dm_put(e, 0, i, (dm_total){s[i], a[i]}, 2, 0, 1, dm_nothing_more);
    free(s);
    free(a);
}

/* x in this many bits, round to nearest even. */
static double rounded(double x, int bits)
{
    int exponent;
    const double fraction = frexp(x, &exponent);

    return bits ? ldexp(nearbyint(ldexp(fraction, bits)), exponent - bits) : x;
}

void dm_compute_add(const dm_evaluation *e, size_t begin, size_t end)
{
    const int bits = (int)dm_knob_of(e, DM_KNOB_ROUND), without = (int)dm_knob_of(e, DM_KNOB_INPUT);

    for (size_t i = begin; i < end; i++) {
        const double a = without == 1 ? 0 : rounded(e->in[0][i], bits);
        const double b = without == 2 ? 0 : rounded(e->in[1][i], bits);
        dm_put(e, 0, i, (dm_total){a + b, fabs(a) + fabs(b)}, 0, 0, 0, dm_nothing_more);
    }
}

static double hyperbolic_tangent(double x)
{
    if (fabs(x) > 20)
        return x < 0 ? -1 : 1;
    const double m = dm_expm1(2 * x);
    return m / (m + 2);
}

typedef struct activation {
    double value, slope;
    double value_size, slope_size; /* magnitudes of what they are sums of */
} activation;

/* silu(x) = x sigmoid(x); gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
static activation activation_of(const dm_evaluation *e, bool gelu, double x)
{
    const int other = (int)dm_knob_of(e, DM_KNOB_ACTIVATION);
    if (other == 2)
        return (activation){x / 2 * (1 + erf(x / sqrt(2))), 0, fabs(x), 1};
    if (other == 3)
        return (activation){x > 0 ? x : 0, 0, fabs(x), 1};
    gelu ^= other == 1;
    const double root = 0.79788456080286535588, cubic = 0.044715;

    if (!gelu) {
        const double s = dm_sigmoid(x);
        const double slope = dm_knob_of(e, DM_KNOB_PROJECTION) > 0 ? s : s * (1 + x * (1 - s));
        return (activation){x * s, slope, fabs(x) * s, s * (1 + fabs(x))};
    }
    const double t = hyperbolic_tangent(root * (x + cubic * x * x * x)), rest = root * (1 + 3 * cubic * x * x);
    return (activation){x / 2 * (1 + t), (1 + t) / 2 + x / 2 * (1 - t * t) * rest, fabs(x) / 2 * (1 + fabs(t)),
                        (1 + fabs(t)) / 2 + fabs(x) * rest};
}

/* Roundings of an exponential of x and what is made of it: fast ones err by some units for each unit of x. */
static double exponential_terms(double x)
{
    return 16 + 3 * fabs(x);
}

void dm_compute_glu(const dm_evaluation *e, size_t begin, size_t end)
{
    const bool gelu = dm_config_is_gemma(e->g->o.config);
    const int other = (int)dm_knob_of(e, DM_KNOB_ACTIVATION), gate = other == 4;

    for (size_t i = begin; i < end; i++) {
        const activation a = activation_of(e, gelu, e->in[gate][i]);
        const double up = other == 5 ? 1 : e->in[1 - gate][i];
        dm_put(e, 0, i, (dm_total){a.value * up, a.value_size * fabs(up)}, exponential_terms(e->in[0][i]), 0, 4,
               dm_nothing_more);
    }
}

void dm_compute_glu_grad(const dm_evaluation *e, size_t begin, size_t end)
{
    const bool gelu = dm_config_is_gemma(e->g->o.config);

    for (size_t i = begin; i < end; i++) {
        const double up = e->in[1][i], dh = e->in[2][i], n = exponential_terms(e->in[0][i]);
        const activation a = activation_of(e, gelu, e->in[0][i]);
        dm_put(e, 0, i, (dm_total){a.slope * up * dh, a.slope_size * fabs(up * dh)}, n + 8, 0, 8, dm_nothing_more);
        dm_put(e, 1, i, (dm_total){a.value * dh, a.value_size * fabs(dh)}, n, 0, 4, dm_nothing_more);
    }
}
