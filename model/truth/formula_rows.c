/* Formulas that work row by row: norms, RoPE, residuals, gated activations. */
#include <string.h>

#include "core/numbers/numeric.h"
#include "model/network/rope.h"
#include "model/truth/running.h"

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

/* What one group of elements shares. */
typedef struct norm_group {
    dm_running inverse; /* 1 / sqrt(mean of x^2 + eps): squares, mean, sum with eps, root, quotient */
    dm_running slope;   /* the derivative by the mean of x^2, shared by n: sum(w dy x) / 2 inverse^3 / n */
} norm_group;

static dm_running inverse_run(const dm_evaluation *e, const double *x, size_t n)
{
    const dm_rounding *r = &e->r;
    const double square = dm_dot(x, x, n).value, count = (double)n;
    const dm_running each = {square, r->out * square + count * (r->least + r->flush),
                             r->out * square + count * (r->least + r->flush)};
    const dm_running mean = dm_times(r, dm_sum_run(e, each, square, count), dm_exactly(1 / count));
    dm_running y = dm_inverse(r, dm_root(r, dm_plus(r, mean, dm_exactly(e->g->o.config->eps))));

    y.v = inverse_rms(e, x, n);
    return y;
}

static dm_running weight_run(const dm_evaluation *e, const double *w, size_t i)
{
    const double v = norm_weight(e, w, i);

    return v == w[i] ? dm_exactly(v) : dm_plus(&e->r, dm_exactly(1), dm_exactly(w[i]));
}

/* (x inverse) w */
void dm_compute_norm(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t cols = dm_eval_out(e, 0)->cols, n = e->op->group;
    const int mean = (int)dm_knob_of(e, DM_KNOB_MEAN);

    for (size_t t = begin; t < end; t++)
        for (size_t at = t * cols; at < (t + 1) * cols; at += n) {
            const double *x = e->in[0] + at, centre = mean == 3 ? sum_of(x, n) / (double)n : 0;
            dm_running inv = inverse_run(e, x, n);
            if (mean == 3)
                inv.v = 1 / sqrt(1 / (inv.v * inv.v) - centre * centre);
            for (size_t i = 0; i < n; i++) {
                if (mean == 4)
                    inv.v = inverse_rms_of_rows(e, e->in[0], dm_eval_out(e, 0)->rows, cols, at - t * cols + i);
                const dm_running w = weight_run(e, e->in[1], i);
                const dm_running from =
                    mean == 3 ? dm_minus(&e->r, dm_exactly(x[i]), dm_constant(&e->r, centre)) : dm_exactly(x[i]);
                const dm_running y = dm_times(&e->r, dm_times(&e->r, from, inv), w);
                dm_put_run(e, 0, at + i, y,
                           (fabs(x[i]) + fabs(centre)) * inv.v * (fabs(e->in[1][i]) + (w.v != e->in[1][i])));
            }
        }
}

/* w dy */
static dm_running weighed(const dm_evaluation *e, const double *dy, size_t i)
{
    if (dm_knob_of(e, DM_KNOB_PROJECTION) == 2)
        return dm_exactly(dy[i]);
    return dm_times(&e->r, dm_exactly(dy[i]), weight_run(e, e->in[2], i));
}

static norm_group norm_slope(const dm_evaluation *e, const double *dy, const double *x, size_t n)
{
    const dm_rounding *r = &e->r;
    norm_group g = {.inverse = inverse_run(e, x, n)};
    dm_running sum = {0, 0, 0};
    double size = 0;

    for (size_t i = 0; i < n; i++) {
        const dm_running t = dm_times(r, weighed(e, dy, i), dm_exactly(x[i]));
        sum = (dm_running){sum.v + t.v, sum.sound + t.sound, sum.likely + t.likely};
        size += fabs(t.v);
    }
    sum = dm_sum_run(e, sum, size, (double)n);
    const dm_running cube = dm_times(r, dm_times(r, g.inverse, g.inverse), g.inverse);
    g.slope = dm_times(r, dm_times(r, dm_times(r, sum, dm_exactly(0.5)), cube), dm_exactly(1 / (double)n));
    return g;
}

/* (w dy) inverse - 2 x slope (+ add): what reverse differentiation of dm_compute_norm gives */
void dm_compute_norm_dx(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t cols = dm_eval_out(e, 0)->cols, n = e->op->group;
    const dm_rounding *r = &e->r;

    for (size_t t = begin; t < end; t++)
        for (size_t at = t * cols; at < (t + 1) * cols; at += n) {
            const double *dy = e->in[0] + at, *x = e->in[1] + at;
            norm_group g = norm_slope(e, dy, x, n);
            if (dm_knob_of(e, DM_KNOB_PROJECTION) == 1)
                g.slope.v = 0;
            if (dm_knob_of(e, DM_KNOB_PROJECTION) == 3)
                g.slope = dm_times(r, g.slope, dm_inverse(r, g.inverse));
            for (size_t i = 0; i < n; i++) {
                const dm_running first = dm_times(r, weighed(e, dy, i), g.inverse);
                const dm_running second = dm_times(r, dm_exactly(2 * x[i]), g.slope);
                double size = fabs(first.v) + fabs(second.v);
                dm_running y = dm_minus(r, first, second);
                if (e->in[3] && dm_knob_of(e, DM_KNOB_INPUT) != 3) {
                    /* three addends in whatever order: a partial sum is no larger than all of them */
                    const double add = e->in[3][at + i] * (dm_knob_of(e, DM_KNOB_INPUT) == 4 ? 2 : 1);
                    size += fabs(add);
                    y = dm_after(r, (dm_running){y.v + add, y.sound, y.likely}, size + fabs(add));
                }
                dm_put_run(e, 0, at + i, y, size);
            }
        }
}

/* sum of dy (x inverse); items' shares are stored and added one after the other */
void dm_compute_norm_dw(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t n = e->op->group;
    double *sum = dm_eval_scratch(e, 4 * n), terms = 0;

    (void)begin;
    (void)end;
    if (!sum)
        return;
    double *a = sum + n, *sound = sum + 2 * n, *likely = sum + 3 * n;
    for (size_t p = dm_first_item(e, 2); p + 1 < e->op->n_in; p += 2) {
        const size_t count = dm_node_count(dm_eval_in(e, p));
        terms += (double)(count / n);
        for (size_t at = 0; at < count; at += n) {
            const double *dy = e->in[p] + at, *x = e->in[p + 1] + at;
            const dm_running inv = dm_knob_of(e, DM_KNOB_PROJECTION) > 0 ? dm_exactly(1) : inverse_run(e, x, n);
            for (size_t i = 0; i < n; i++) {
                const dm_running t = dm_times(&e->r, dm_exactly(dy[i]), dm_times(&e->r, dm_exactly(x[i]), inv));
                sum[i] += t.v;
                a[i] += fabs(t.v);
                sound[i] += t.sound;
                likely[i] += t.likely;
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        dm_put(e, 0, i, (dm_total){sum[i], a[i]}, terms, 0, (double)(e->op->n_in / 2), (dm_both){sound[i], likely[i]});
    free(sum);
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

/* a cos - b sin and b cos + a sin; for ROPE_GRAD by the opposite angle. An implementation may have angles in the type
 * of sums: the exponent is rounded, which moves the frequency by its logarithm, then come a power, a quotient, up to 4
 * operations of rope_scaling, and the product with the position. */
void dm_compute_rope(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_config *c = e->g->o.config;
    const dm_pack *p = &dm_eval_item(e)->pack;
    const dm_rounding *r = &e->r;
    const size_t cols = dm_eval_out(e, 0)->cols, d = e->op->group, half = d / 2;
    const double size = e->op->rope == DM_ROPE_MAIN && c->rope == DM_ROPE_YARN ? c->rope_attention : 1;
    const double sign = (e->op->formula == DM_FORMULA_ROPE_GRAD) != (dm_knob_of(e, DM_KNOB_SIGN) > 0) ? -1 : 1;
    const size_t step = dm_knob_of(e, DM_KNOB_PAIRING) > 0 ? 2 : 1, other = step == 2 ? 1 : half;
    dm_running *turn = calloc(2 * half, sizeof *turn), *cosine = turn, *sine = turn ? turn + half : NULL;

    if (!turn)
        *e->failed = true;
    for (size_t t = begin; t < end && turn; t++) {
        for (size_t i = 0; i < half; i++) {
            const double f = frequency(e, i), angle = ((double)p->position[t] + dm_knob_of(e, DM_KNOB_POSITION)) * f;
            const double off = size * angle * r->acc * (f > 0 ? fabs(dm_log(f)) + DM_POWER + 6 : 0);
            cosine[i] = dm_function(r, size * dm_cos(angle), off, off, DM_FUNCTION + 1);
            sine[i] = dm_function(r, sign * size * dm_sin(angle), off, off, DM_FUNCTION + 1);
        }
        for (size_t at = t * cols; at < (t + 1) * cols; at += d)
            for (size_t i = 0; i < half; i++) {
                const size_t one = at + step * i, two = one + other;
                const dm_running a = dm_exactly(e->in[0][one]), b = dm_exactly(e->in[0][two]);
                const dm_running ac = dm_times(r, a, cosine[i]), bs = dm_times(r, b, sine[i]);
                const dm_running bc = dm_times(r, b, cosine[i]), as = dm_times(r, a, sine[i]);
                dm_put_run(e, 0, one, dm_minus(r, ac, bs), fabs(ac.v) + fabs(bs.v));
                dm_put_run(e, 0, two, dm_plus(r, bc, as), fabs(bc.v) + fabs(as.v));
            }
    }
    free(turn);
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
    const dm_terms terms = dm_terms_of(e, 2, 0, 1);
    for (size_t i = 0; i < rows * n && s && a; i++)
        dm_put_terms(e, 0, i, (dm_total){s[i], a[i]}, &terms, dm_nothing_more);
    free(s);
    free(a);
}

void dm_compute_add(const dm_evaluation *e, size_t begin, size_t end)
{
    const int bits = (int)dm_knob_of(e, DM_KNOB_ROUND), without = (int)dm_knob_of(e, DM_KNOB_INPUT);
    const dm_terms terms = dm_terms_of(e, 0, 0, 0);

    for (size_t i = begin; i < end; i++) {
        const double a = without == 1 ? 0 : dm_in_bits(e->in[0][i], bits);
        const double b = without == 2 ? 0 : dm_in_bits(e->in[1][i], bits);
        dm_put_terms(e, 0, i, (dm_total){a + b, fabs(a) + fabs(b)}, &terms, dm_nothing_more);
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
    dm_running value, slope;
    double value_size, slope_size; /* magnitudes of what they are sums of */
} activation;

/* x s with s = 1 / (1 + exp(-x)), for x < 0 with both sides times exp(x); its slope is s (1 + x (1 - s)) */
static activation silu(const dm_rounding *r, double x, double exponential)
{
    const dm_running one = dm_exactly(1), power = dm_exp_of(r, dm_exactly(-fabs(x)), exponential);
    const dm_running part = dm_inverse(r, dm_plus(r, one, power)), s = x < 0 ? dm_times(r, power, part) : part;
    const dm_running rest = dm_plus(r, one, dm_times(r, dm_exactly(x), dm_minus(r, one, s)));

    return (activation){dm_times(r, dm_exactly(x), s), dm_times(r, s, rest), fabs(x) * s.v, s.v * (1 + fabs(x))};
}

/* x/2 (1 + t) with t = tanh(sqrt(2/pi) (x + 0.044715 x^3)); its slope is (1 + t) / 2 + x/2 (1 - t^2) rest, rest the
 * slope of tanh's argument */
static activation gelu_tanh(const dm_rounding *r, double x)
{
    const dm_running one = dm_exactly(1), half = dm_exactly(x / 2), root = dm_constant(r, 0.79788456080286535588);
    const dm_running cubic = dm_constant(r, 0.044715), square = dm_times(r, dm_exactly(x), dm_exactly(x));
    const dm_running argument =
        dm_times(r, root, dm_plus(r, dm_exactly(x), dm_times(r, cubic, dm_times(r, square, dm_exactly(x)))));
    const double v = hyperbolic_tangent(argument.v), steep = 1 - v * v;
    const dm_running t = dm_function(r, v, fmin(1, steep * exp(2 * argument.sound)) * argument.sound,
                                     fmin(1, steep * exp(2 * argument.likely)) * argument.likely, DM_FUNCTION);
    const dm_running plus = dm_plus(r, one, t), minus = dm_minus(r, one, dm_times(r, t, t));
    const dm_running rest = dm_times(r, root, dm_plus(r, one, dm_times(r, dm_times(r, dm_exactly(3), cubic), square)));
    const dm_running bent = dm_times(r, dm_times(r, half, minus), rest);

    return (activation){dm_times(r, half, plus), dm_plus(r, dm_times(r, dm_exactly(0.5), plus), bent),
                        fabs(x) / 2 * (1 + fabs(v)), (1 + fabs(v)) / 2 + fabs(x) * rest.v};
}

/* exponential: exp(-|x|) */
static activation activation_of(const dm_evaluation *e, bool gelu, double x, double exponential)
{
    const int other = (int)dm_knob_of(e, DM_KNOB_ACTIVATION), slope = (int)dm_knob_of(e, DM_KNOB_PROJECTION);
    activation a = gelu != (other == 1) ? gelu_tanh(&e->r, x) : silu(&e->r, x, exponential);

    if (other == 2)
        a.value.v = x / 2 * (1 + erf(x / sqrt(2)));
    if (other == 3)
        a.value.v = x > 0 ? x : 0;
    const double s = slope >= 1 && slope <= 3 ? dm_sigmoid(x) : 0;
    switch (slope) {
    case 1:
        a.slope.v = s;
        break;
    case 2:
        a.slope.v = s * (1 - s);
        break;
    case 3:
        a.slope.v = s * (1 - x * (1 - s));
        break;
    case 4:
        a.slope.v = (1 + erf(x / sqrt(2))) / 2 + x * exp(-x * x / 2) * 0.39894228040143267794;
        break;
    default:
        break;
    }
    return a;
}

#define BLOCK ((size_t)256)

/* exp(-|x|) of the BLOCK of elements that begins at i, if one does; y: [BLOCK] */
static void exponentials(const dm_evaluation *e, const double *x, size_t i, size_t begin, size_t end, double *y)
{
    const size_t n = end - i < BLOCK ? end - i : BLOCK;

    if ((i - begin) % BLOCK)
        return;
    for (size_t k = 0; k < n; k++)
        y[k] = -fabs(x[i + k]);
    e->exp(y, y, n);
}

void dm_compute_glu(const dm_evaluation *e, size_t begin, size_t end)
{
    const bool gelu = dm_config_is_gemma(e->g->o.config);
    const int other = (int)dm_knob_of(e, DM_KNOB_ACTIVATION), gate = other == 4;
    double y[BLOCK];

    for (size_t i = begin; i < end; i++) {
        exponentials(e, e->in[gate], i, begin, end, y);
        const activation a = activation_of(e, gelu, e->in[gate][i], y[(i - begin) % BLOCK]);
        const double up = other == 5 ? 1 : e->in[1 - gate][i];
        dm_put_run(e, 0, i, dm_times(&e->r, a.value, dm_exactly(up)), a.value_size * fabs(up));
    }
}

void dm_compute_glu_grad(const dm_evaluation *e, size_t begin, size_t end)
{
    const bool gelu = dm_config_is_gemma(e->g->o.config);
    const dm_rounding *r = &e->r;

    const int wrong = (int)dm_knob_of(e, DM_KNOB_PROJECTION);
    double y[BLOCK];

    for (size_t i = begin; i < end; i++) {
        exponentials(e, e->in[0], i, begin, end, y);
        const double up = wrong == 6 ? 1 : e->in[1][i], dh = e->in[2][i];
        const activation a = activation_of(e, gelu, e->in[0][i], y[(i - begin) % BLOCK]);
        const dm_running d_act = dm_times(r, dm_exactly(dh), dm_exactly(up));
        const dm_running value = wrong == 5 ? dm_exactly(e->in[0][i]) : a.value;
        dm_put_run(e, wrong == 7, i, dm_times(r, d_act, a.slope), a.slope_size * fabs(up * dh));
        dm_put_run(e, wrong != 7, i, dm_times(r, dm_exactly(dh), value), a.value_size * fabs(dh));
    }
}
