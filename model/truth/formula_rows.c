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

/* What a norm multiplies by. */
static double norm_weight(const dm_evaluation *e, const double *w, size_t i)
{
    return (e->g->o.layout->unit_offset ? 1 : 0) + w[i];
}

/* 1 / sqrt(mean of x^2 + eps) */
static double inverse_rms(const dm_evaluation *e, const double *x, size_t n)
{
    return 1 / sqrt(dm_dot(x, x, n).value / (double)n + e->g->o.config->eps);
}

/* The sum of squares has no cancellation: its relative error is gamma_n, that of the root half of it. */
void dm_compute_norm(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t cols = dm_eval_out(e, 0)->cols, n = e->op->group;

    for (size_t t = begin; t < end; t++)
        for (size_t at = t * cols; at < (t + 1) * cols; at += n) {
            const double *x = e->in[0] + at, inv = inverse_rms(e, x, n);
            for (size_t i = 0; i < n; i++) {
                const double w = norm_weight(e, e->in[1], i), y = x[i] * inv * w;
                const double size = fabs(x[i]) * inv * (fabs(e->in[1][i]) + (w != e->in[1][i] ? 1 : 0));
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
                const double factor = x[i] * inv * inv * inv;
                /* a product that is stored below the smallest number loses that much, times what comes after */
                const double lost = 4 * e->r.least * (1 + inv) * (1 + fabs(e->in[2][i]) + fabs(x[i]) * inv);
                dm_total y = {first - factor * mean.value, fabs(first) + fabs(factor) * mean.size};
                if (e->in[3]) {
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

/* Forward, and for ROPE_GRAD by the opposite angle. An implementation may have angles in f32: their error is some
 * roundings of position times frequency. */
void dm_compute_rope(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_config *c = e->g->o.config;
    const dm_pack *p = &dm_eval_item(e)->pack;
    const size_t cols = dm_eval_out(e, 0)->cols, d = e->op->group, half = d / 2;
    const double size = e->op->rope == DM_ROPE_MAIN && c->rope == DM_ROPE_YARN ? c->rope_attention : 1;
    const double sign = e->op->formula == DM_FORMULA_ROPE_GRAD ? -1 : 1;
    double *cosine = dm_eval_scratch(e, half), *sine = dm_eval_scratch(e, half), *angle = dm_eval_scratch(e, half);

    for (size_t t = begin; t < end && cosine && sine && angle; t++) {
        for (size_t i = 0; i < half; i++) {
            angle[i] = (double)p->position[t] * dm_rope_frequency(c, e->op->rope, i);
            cosine[i] = size * dm_cos(angle[i]);
            sine[i] = sign * size * dm_sin(angle[i]);
        }
        for (size_t at = t * cols; at < (t + 1) * cols; at += d)
            for (size_t i = 0; i < half; i++) {
                const double a = e->in[0][at + i], b = e->in[0][at + half + i];
                const double off = 6 * e->r.acc * angle[i] * size * (fabs(a) + fabs(b));
                dm_put(e, 0, at + i, (dm_total){a * cosine[i] - b * sine[i], fabs(a * cosine[i]) + fabs(b * sine[i])},
                       6, 0, 3, (dm_both){off, off});
                dm_put(e, 0, at + half + i,
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

void dm_compute_add(const dm_evaluation *e, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        const double a = e->in[0][i], b = e->in[1][i];
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
static activation activation_of(bool gelu, double x)
{
    const double root = 0.79788456080286535588, cubic = 0.044715;

    if (!gelu) {
        const double s = dm_sigmoid(x), slope = s * (1 + x * (1 - s));
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

    for (size_t i = begin; i < end; i++) {
        const activation a = activation_of(gelu, e->in[0][i]);
        const double up = e->in[1][i];
        dm_put(e, 0, i, (dm_total){a.value * up, a.value_size * fabs(up)}, exponential_terms(e->in[0][i]), 0, 4,
               dm_nothing_more);
    }
}

void dm_compute_glu_grad(const dm_evaluation *e, size_t begin, size_t end)
{
    const bool gelu = dm_config_is_gemma(e->g->o.config);

    for (size_t i = begin; i < end; i++) {
        const double up = e->in[1][i], dh = e->in[2][i], n = exponential_terms(e->in[0][i]);
        const activation a = activation_of(gelu, e->in[0][i]);
        dm_put(e, 0, i, (dm_total){a.slope * up * dh, a.slope_size * fabs(up * dh)}, n + 8, 0, 8, dm_nothing_more);
        dm_put(e, 1, i, (dm_total){a.value * dh, a.value_size * fabs(dh)}, n, 0, 4, dm_nothing_more);
    }
}
