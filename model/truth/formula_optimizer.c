/* Clipping by the global norm, and AdamW (Loshchilov and Hutter 2019). */
#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"
#include "model/truth/formula_internal.h"

void dm_compute_clip(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_graph_options *o = &e->g->o;
    double sum = 0, n = 0;

    (void)begin;
    (void)end;
    for (size_t p = 0; p < e->op->n_in; p++) {
        const size_t count = dm_node_count(dm_eval_in(e, p));
        n += (double)count;
        sum += dm_dot(e->in[p], e->in[p], count).value;
    }
    const double norm = sqrt(sum), limit = o->max_grad_norm, divisor = norm + o->clip_eps;
    const double factor = limit > 0 && divisor > limit ? limit / divisor : 1;
    const dm_both g = dm_gamma(e, n / 2 + 8);
    dm_put(e, 0, 0, (dm_total){norm, norm}, n / 2 + 4, 0, 1, dm_nothing_more);
    /* near the limit either side of it is right */
    const bool near = limit > 0 && fabs(norm - limit) <= g.sound * norm + o->clip_eps;
    dm_put(e, 1, 0, (dm_total){factor, factor}, factor < 1 || near ? n / 2 + 8 : 0, 0, factor < 1 ? 2 : 0,
           dm_nothing_more);
}

/* b x + (1 - b) y; (1 - b) may come from b in the working precision. */
static void moment(const dm_evaluation *e, size_t i, double b, double y)
{
    const double x = e->in[0] ? e->in[0][i] : 0, off = 2 * e->r.acc * fabs(y);

    dm_put(e, 0, i, (dm_total){b * x + (1 - b) * y, fabs(b * x) + fabs((1 - b) * y)}, 8, 0, 3, (dm_both){off, off});
}

void dm_compute_adam_m(const dm_evaluation *e, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        moment(e, i, e->g->o.adamw.beta1, e->in[1][i] * e->in[2][0]);
}

void dm_compute_adam_v(const dm_evaluation *e, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        const double g = e->in[1][i] * e->in[2][0];
        moment(e, i, e->g->o.adamw.beta2, g * g);
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
    const double lr = e->g->o.lr, t = (double)e->g->o.t;
    const double first = correction(o->beta1, t), second = correction(o->beta2, t);

    for (size_t i = begin; i < end; i++) {
        const double w = e->in[0][i], m = e->in[1][i], v = e->in[2][i];
        const double decayed = w * (1 - lr * o->weight_decay), root = sqrt(v / second);
        const double step = lr * (m / first) / (root + o->eps);
        /* corrections from betas in the working precision */
        const double off = fabs(step) * 2 * e->r.acc * (1 / first + 1 / second);
        dm_put(e, 0, i, (dm_total){decayed - step, fabs(w) + fabs(step)}, 12, 0, 2, (dm_both){off, off});
    }
}
