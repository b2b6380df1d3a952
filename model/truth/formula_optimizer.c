/* Clipping by the global norm, and AdamW (Loshchilov and Hutter 2019). */
#include <string.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"
#include "model/truth/running.h"

void dm_compute_clip(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_graph_options *o = &e->g->o;
    const int wrong = (int)dm_knob_of(e, DM_KNOB_CLIP);
    double sum = 0, n = 0, largest = 0;

    (void)begin;
    (void)end;
    for (size_t p = 0; p < e->op->n_in; p++) {
        const size_t count = dm_node_count(dm_eval_in(e, p));
        n += (double)count;
        const double square =
            wrong == 4 && strstr(dm_eval_in(e, p)->name, "embed") ? 0 : dm_dot(e->in[p], e->in[p], count).value;
        sum += wrong == 1 ? sqrt(square) : square;
        for (size_t i = 0; i < count && wrong == 2; i++)
            largest = fmax(largest, fabs(e->in[p][i]));
    }
    const double norm = wrong == 1 || wrong == 5 ? sum : sqrt(wrong == 6 ? sum / n : sum), limit = o->max_grad_norm;
    const double divisor = wrong == 2 ? largest : norm + o->clip_eps;
    const double factor = limit > 0 && (divisor > limit || wrong == 7) ? limit / divisor : 1;
    const dm_both g = dm_gamma(e, n / 2 + 8);
    /* squares, their sum in each tensor, and the sums of these one after the other may be stored; the root halves what
     * was before it */
    const double tensors = (double)e->op->n_in, stages = (tensors + 2) / 2;
    dm_put(e, 0, 0, (dm_total){norm, norm}, n / 2 + DM_FUNCTION, 0, stages, dm_nothing_more);
    /* near the limit either side of it is right */
    const bool near = limit > 0 && fabs(norm - limit) <= g.sound * norm + o->clip_eps;
    dm_put(e, 1, 0, (dm_total){factor, factor}, factor < 1 || near ? n / 2 + 2 * DM_FUNCTION : 0, 0,
           factor < 1 || near ? stages + 2 : 0, dm_nothing_more);
}

/* Of a moment whose new part has `stages` results that may be stored. */
static dm_terms moment_terms(const dm_evaluation *e, double stages)
{
    return dm_terms_of(e, stages + 3, 0, stages + 1);
}

/* b x + (1 - b) y; (1 - b) may come from a rounded b. */
static void moment(const dm_evaluation *e, size_t i, double b, double y, double size, const dm_terms *terms)
{
    const int wrong = (int)dm_knob_of(e, DM_KNOB_MOMENT);
    const dm_adamw_options *o = &e->g->o.adamw;
    if (wrong == 2)
        b = e->op->formula == DM_FORMULA_ADAM_M ? o->beta2 : o->beta1;
    const double rest = wrong == 1 ? 1 : 1 - b;
    const double x = e->in[0] ? e->in[0][i] : 0, off = 2 * e->r.acc * size;

    dm_put_terms(e, 0, i, (dm_total){b * x + rest * y, fabs(b * x) + fabs(rest) * size}, terms, (dm_both){off, off});
}

/* What the gradient is multiplied by. */
static double factor_of(const dm_evaluation *e)
{
    const size_t n = dm_node_count(dm_eval_in(e, 1));
    const double limit = e->g->o.max_grad_norm;

    switch ((int)dm_knob_of(e, DM_KNOB_CLIP)) {
    case 1:
        return 1;
    case 2:
        return fmin(1, limit / sqrt(dm_dot(e->in[1], e->in[1], n).value));
    case 3:
        return e->in[2][0] * e->in[2][0];
    default:
        return e->in[2][0];
    }
}

/* The gradient, and the magnitude of what it is the sum of. */
static dm_total gradient_of(const dm_evaluation *e, size_t i, double factor)
{
    const int wrong = (int)dm_knob_of(e, DM_KNOB_MOMENT);
    const double g = wrong == 5   ? dm_in_bits(e->in[1][i] * factor, 8)
                     : wrong == 6 ? -e->in[1][i] * factor
                                  : e->in[1][i] * factor;
    const double decay = dm_knob_of(e, DM_KNOB_MOMENT) == 3 && e->in[3] ? e->g->o.adamw.weight_decay * e->in[3][i] : 0;

    return (dm_total){g + decay, fabs(g) + fabs(decay)};
}

void dm_compute_adam_m(const dm_evaluation *e, size_t begin, size_t end)
{
    const double factor = factor_of(e);
    const dm_terms terms = moment_terms(e, 1);

    for (size_t i = begin; i < end; i++) {
        const dm_total g = gradient_of(e, i, factor);
        moment(e, i, e->g->o.adamw.beta1, g.value, g.size, &terms);
    }
}

void dm_compute_adam_v(const dm_evaluation *e, size_t begin, size_t end)
{
    const double factor = factor_of(e);
    const dm_terms terms = moment_terms(e, 3);
    const int wrong = (int)dm_knob_of(e, DM_KNOB_MOMENT);
    const size_t n = dm_node_count(dm_eval_in(e, 1));
    const double mean = wrong == 9 ? dm_dot(e->in[1], e->in[1], n).value / (double)n * factor * factor : 0;

    for (size_t i = begin; i < end; i++) {
        dm_total g = gradient_of(e, i, factor);
        const bool plain = wrong == 4 || wrong == 8 || wrong == 9;
        if (wrong == 7) {
            g.value *= 1 - e->g->o.adamw.beta1;
            g.size *= 1 - e->g->o.adamw.beta1;
        }
        if (wrong == 8)
            g.value = g.size;
        if (wrong == 9)
            g = (dm_total){mean, mean};
        moment(e, i, e->g->o.adamw.beta2, plain ? g.value : g.value * g.value, plain ? g.size : g.size * g.size,
               &terms);
    }
}

/* 1 - beta^t */
static double correction(double beta, double t)
{
    return -dm_expm1(t * dm_log(beta));
}

void dm_compute_adam_w(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_adamw_options *o = &e->g->o.adamw;
    const double moved = dm_knob_of(e, DM_KNOB_CORRECTION), lr = e->g->o.lr, t = (double)e->g->o.t;
    const double time = moved >= 1000 ? t : t + moved;
    const int which = moved >= 1000 ? (int)moved - 1000 : -1; /* 0 none, 1 of m alone, 2 of v alone, 3 swapped */
    const double first = which == 0 || which == 2 ? 1 : correction(which == 3 ? o->beta2 : o->beta1, time);
    const double second = which == 0 || which == 1 ? 1 : correction(which == 3 ? o->beta1 : o->beta2, time);
    const int eps = (int)dm_knob_of(e, DM_KNOB_EPS), decay = (int)dm_knob_of(e, DM_KNOB_DECAY);
    const int wrong = (int)dm_knob_of(e, DM_KNOB_SIGN);
    const double rest = decay == 1 || decay == 4 ? 1 : 1 - (decay == 2 ? 1 : decay == 3 ? -lr : lr) * o->weight_decay;
    const double sign = (wrong == 1 ? -1 : wrong == 2 ? lr : 1) * (decay == 4 ? 1 + o->weight_decay : 1);

    const dm_terms terms = dm_terms_of(e, 3, 0, 2);

    for (size_t i = begin; i < end; i++) {
        const double w = e->in[0][i], m = e->in[1][i], v = e->in[2][i];
        const double decayed = w * rest, root = sqrt(v / second);
        const double divisor = eps == 1   ? sqrt(v / second + o->eps)
                               : eps == 2 ? (sqrt(v) + o->eps) / sqrt(second)
                               : eps == 3 ? sqrt(v) / second + o->eps
                               : eps == 4 ? v / second + o->eps
                               : eps == 5 ? root + 2 * o->eps
                                          : root + o->eps;
        const double step = wrong == 3 ? lr * ((m > 0) - (m < 0)) : sign * lr * (m / first) / divisor;
        /* corrections from betas in the working precision, to a power and from 1; then m / first, v / second and its
         * root, with eps, quotient, with lr: six roundings, a half of those before the root */
        const double power = (DM_POWER + 1 + t) * e->r.acc,
                     off =
                         fabs(step) * (power * (1 / first + 0.5 / second) + 6 * e->r.out + 3 * DM_FUNCTION * e->r.acc);
        dm_put_terms(e, 0, i, (dm_total){decayed - step, fabs(w) + fabs(step)}, &terms, (dm_both){off, off});
    }
}
