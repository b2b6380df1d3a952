/* Clipping by the global norm, and AdamW (Loshchilov and Hutter 2019). */
#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"
#include "model/truth/formula_internal.h"

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
        const double square = dm_dot(e->in[p], e->in[p], count).value;
        sum += wrong == 1 ? sqrt(square) : square;
        for (size_t i = 0; i < count && wrong == 2; i++)
            largest = fmax(largest, fabs(e->in[p][i]));
    }
    const double norm = wrong == 1 ? sum : sqrt(sum), limit = o->max_grad_norm;
    const double divisor = wrong == 2 ? largest : norm + o->clip_eps;
    const double factor = limit > 0 && divisor > limit ? limit / divisor : 1;
    const dm_both g = dm_gamma(e, n / 2 + 8);
    dm_put(e, 0, 0, (dm_total){norm, norm}, n / 2 + 4, 0, 1, dm_nothing_more);
    /* near the limit either side of it is right */
    const bool near = limit > 0 && fabs(norm - limit) <= g.sound * norm + o->clip_eps;
    dm_put(e, 1, 0, (dm_total){factor, factor}, factor < 1 || near ? n / 2 + 8 : 0, 0, factor < 1 ? 2 : 0,
           dm_nothing_more);
}

/* b x + (1 - b) y; (1 - b) may come from b in the working precision. */
static void moment(const dm_evaluation *e, size_t i, double b, double y, double size)
{
    const int wrong = (int)dm_knob_of(e, DM_KNOB_MOMENT);
    const dm_adamw_options *o = &e->g->o.adamw;
    if (wrong == 2)
        b = e->op->formula == DM_FORMULA_ADAM_M ? o->beta2 : o->beta1;
    const double rest = wrong == 1 ? 1 : 1 - b;
    const double x = e->in[0] ? e->in[0][i] : 0, off = 2 * e->r.acc * size;

    dm_put(e, 0, i, (dm_total){b * x + rest * y, fabs(b * x) + fabs(rest) * size}, 8, 0, 3, (dm_both){off, off});
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
    default:
        return e->in[2][0];
    }
}

/* The gradient, and the magnitude of what it is the sum of. */
static dm_total gradient_of(const dm_evaluation *e, size_t i, double factor)
{
    const double decay = dm_knob_of(e, DM_KNOB_MOMENT) == 3 && e->in[3] ? e->g->o.adamw.weight_decay * e->in[3][i] : 0;

    return (dm_total){e->in[1][i] * factor + decay, fabs(e->in[1][i] * factor) + fabs(decay)};
}

void dm_compute_adam_m(const dm_evaluation *e, size_t begin, size_t end)
{
    const double factor = factor_of(e);

    for (size_t i = begin; i < end; i++) {
        const dm_total g = gradient_of(e, i, factor);
        moment(e, i, e->g->o.adamw.beta1, g.value, g.size);
    }
}

void dm_compute_adam_v(const dm_evaluation *e, size_t begin, size_t end)
{
    const double factor = factor_of(e);

    for (size_t i = begin; i < end; i++) {
        const dm_total g = gradient_of(e, i, factor);
        const bool plain = dm_knob_of(e, DM_KNOB_MOMENT) == 4;
        moment(e, i, e->g->o.adamw.beta2, plain ? g.value : g.value * g.value, plain ? g.size : g.size * g.size);
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
    const double moved = dm_knob_of(e, DM_KNOB_CORRECTION), lr = e->g->o.lr, t = (double)e->g->o.t + moved;
    const double first = moved >= 1000 ? 1 : correction(o->beta1, t);
    const double second = moved >= 1000 ? 1 : correction(o->beta2, t);
    const int eps = (int)dm_knob_of(e, DM_KNOB_EPS), decay = (int)dm_knob_of(e, DM_KNOB_DECAY);
    const double rest = decay == 1 ? 1 : 1 - (decay == 2 ? 1 : lr) * o->weight_decay;
    const double sign = dm_knob_of(e, DM_KNOB_SIGN) > 0 ? -1 : 1;

    for (size_t i = begin; i < end; i++) {
        const double w = e->in[0][i], m = e->in[1][i], v = e->in[2][i];
        const double decayed = w * rest, root = sqrt(v / second);
        const double divisor = eps == 1   ? sqrt(v / second + o->eps)
                               : eps == 2 ? (sqrt(v) + o->eps) / sqrt(second)
                                          : root + o->eps;
        const double step = sign * lr * (m / first) / divisor;
        /* corrections from betas in the working precision */
        const double off = fabs(step) * 2 * e->r.acc * (1 / first + 1 / second);
        dm_put(e, 0, i, (dm_total){decayed - step, fabs(w) + fabs(step)}, 12, 0, 2, (dm_both){off, off});
    }
}
