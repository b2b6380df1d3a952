/* From logits to the loss, and from the loss to the gradient of the logits. */
#include <string.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"
#include "model/truth/running.h"

/* Of a row of logits: d = x - max, exp(d), their sum, its logarithm; each may be stored. */
typedef struct spread {
    double max;
    dm_running log_sum;
} spread;

/* power: [n] for exponentials */
static spread spread_of(const dm_evaluation *e, const double *x, size_t n, double *power)
{
    const dm_rounding *r = &e->r;
    spread s = {.max = x[0]};
    double sum = 0, off = 0;

    for (size_t i = 1; i < n; i++)
        s.max = x[i] > s.max ? x[i] : s.max;
    for (size_t i = 0; i < n; i++)
        power[i] = x[i] - s.max;
    e->exp(power, power, n);
    for (size_t i = 0; i < n; i++) {
        const double distance = s.max - x[i];
        sum += power[i];
        off +=
            power[i] * (r->acc * (distance + dm_exponential(distance)) + r->out * (distance + 1)) + r->least + r->flush;
    }
    const dm_running t = dm_sum_run(e, (dm_running){sum, off, off}, sum, (double)n);
    s.log_sum = dm_function(r, dm_log(sum), t.sound < sum ? -log1p(-t.sound / sum) : INFINITY,
                            t.likely < sum ? -log1p(-t.likely / sum) : INFINITY, DM_FUNCTION);
    return s;
}

/* (x - max) - log_sum */
static dm_running logp_of(const dm_evaluation *e, const spread *s, double x)
{
    return dm_minus(&e->r, dm_minus(&e->r, dm_exactly(x), dm_exactly(s->max)), s->log_sum);
}

/* The target of a prediction. */
static size_t label_of(const dm_evaluation *e, const dm_pack *p, size_t t)
{
    const int wrong = (int)dm_knob_of(e, DM_KNOB_LABEL);
    const size_t row = (size_t)p->prediction_row[t];

    if (wrong == 1)
        return (size_t)p->ids[row];
    if (wrong == 2)
        return (size_t)p->ids[row + 2 < p->rows ? row + 2 : p->rows - 1];
    return (size_t)p->prediction_target[t];
}

void dm_compute_logp(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_pack *p = &dm_eval_item(e)->pack;
    const size_t vocab = dm_eval_in(e, 0)->cols;
    double *power = dm_eval_scratch(e, vocab);

    for (size_t t = begin; t < end && power; t++) {
        const double *x = e->in[0] + t * vocab, target = x[label_of(e, p, t)];
        const spread s = spread_of(e, x, vocab, power);
        dm_put_run(e, 0, t, logp_of(e, &s, target), fabs(target) + 2 * fabs(s.max) + s.log_sum.v);
    }
    free(power);
}

void dm_compute_logits_grad(const dm_evaluation *e, size_t begin, size_t end)
{
    const int wrong = (int)dm_knob_of(e, DM_KNOB_LABEL);
    const dm_pack *p = &dm_eval_item(e)->pack;
    const size_t vocab = dm_eval_in(e, 0)->cols;
    double *power = dm_eval_scratch(e, vocab);

    for (size_t t = begin; t < end && power; t++) {
        const double *x = e->in[0] + t * vocab;
        const spread s = spread_of(e, x, vocab, power);
        const size_t label =
            wrong == 5 ? (size_t)p->ids[(size_t)p->prediction_row[t]] : (size_t)p->prediction_target[t];
        dm_running coef = dm_exactly(e->in[1][t]);
        for (size_t i = 0; i < vocab; i++)
            power[i] = (x[i] - s.max) - s.log_sum.v;
        e->exp(power, power, vocab);
        if (wrong == 6)
            coef = dm_times(&e->r, coef, dm_exp_of(&e->r, logp_of(e, &s, x[label]), power[label]));
        for (size_t i = 0; i < vocab; i++) {
            /* coef hot - coef exp(logp) */
            const double hot = wrong == 3 ? 0 : label == i;
            dm_running probability = dm_exp_of(&e->r, logp_of(e, &s, x[i]), power[i]);
            if (wrong == 4)
                probability = dm_exactly(0);
            const dm_running soft = dm_times(&e->r, coef, probability);
            dm_put_run(e, 0, t * vocab + i, dm_minus(&e->r, hot > 0 ? coef : dm_exactly(0), soft),
                       fabs(coef.v) * (hot + probability.v));
        }
    }
    free(power);
}

static const dm_data_trajectory *side_of(const dm_evaluation *e, int s)
{
    return s ? &dm_eval_item(e)->item->rejected : &dm_eval_item(e)->item->chosen;
}

/* The weight of token i in turn k, which is w without a mistake. */
static double mistaken(const dm_evaluation *e, const dm_data_trajectory *t, size_t k, size_t i, double w)
{
    const dm_loss_options *o = &e->g->o.loss;

    switch ((int)dm_knob_of(e, DM_KNOB_PHI)) {
    case 1:
        return dm_loss_phi_of(o->phi == DM_PHI_CODE ? DM_PHI_PRINTED : DM_PHI_CODE, o->gamma, k, t->n_turns);
    case 2:
        return w * o->gamma;
    case 3:
        return k ? w : 0;
    case 4:
        return w / (double)(t->turns[k].end - t->turns[k].begin);
    case 5:
        return w / (double)t->n_turns;
    case 6:
        return i + 1 < t->turns[k].end ? w : 0;
    case 8:
        return 1;
    default:
        return w;
    }
}

void dm_compute_phi(const dm_evaluation *e, size_t begin, size_t end)
{
    (void)begin;
    (void)end;
    for (int s = 0; s < 2; s++) {
        const dm_data_trajectory *t = side_of(e, s);
        const dm_pack_side *p = &dm_eval_item(e)->pack.side[s];
        const dm_loss_side view = {.n = p->n, .turn_of = p->turn_of, .turns = p->turns};
        if (p->n == 0)
            continue;
        for (size_t i = 0; i < t->n; i++)
            dm_put_exact(e, (size_t)s, i, i && i < t->turns[0].begin && dm_knob_of(e, DM_KNOB_PHI) == 7 ? 1 : 0);
        for (size_t k = 0, action = 0; k < t->n_turns; k++)
            for (size_t i = t->turns[k].begin; i < t->turns[k].end; i++, action++) {
                const double w = mistaken(e, t, k, i, dm_loss_token_weight(&e->g->o.loss, &view, action));
                /* 1 - gamma^n loses what gamma^n is close to 1 by */
                const double gamma = e->g->o.loss.gamma, lost = gamma > 0 && gamma < 1 ? 1 / (1 - gamma) : 1;
                /* three powers of gamma, by multiplication or as functions, two differences, a quotient, a product: six
                 * of these results may be stored */
                dm_put(e, (size_t)s, i, (dm_total){w, w * lost}, 3 * (DM_POWER + (double)t->n_turns) + 4, 0, 6,
                       dm_nothing_more);
            }
    }
}

/* Token of action i of a side. */
static size_t token_of(const dm_data_trajectory *t, size_t action)
{
    for (size_t k = 0; k < t->n_turns; k++) {
        const size_t n = t->turns[k].end - t->turns[k].begin;
        if (action < n)
            return t->turns[k].begin + action;
        action -= n;
    }
    return 0;
}

typedef struct weighted {
    dm_total score, logp, first, second;
} weighted;

static void plus(dm_total *s, double x)
{
    s->value += x;
    s->size += fabs(x);
}

static weighted weighted_of(const dm_evaluation *e, int s)
{
    const dm_pack_side *p = &dm_eval_item(e)->pack.side[s];
    const double *phi = e->in[1 + s], *reference = e->in[3 + s], *second = e->in[5 + s];
    weighted w = {{0, 0}, {0, 0}, {0, 0}, {0, 0}};

    for (size_t i = 0; i < p->n; i++) {
        const double logp = e->in[0][p->prediction[i]], weight = phi[token_of(side_of(e, s), i)];
        const double r = reference && dm_knob_of(e, DM_KNOB_LOSS) != 1 ? reference[i] : 0;
        w.score.value += weight * (logp - r);
        w.score.size += weight * (fabs(logp) + fabs(r));
        plus(&w.logp, logp);
        plus(&w.first, weight * r);
        if (second)
            plus(&w.second, weight * second[i]);
    }
    return w;
}

void dm_compute_score(const dm_evaluation *e, size_t begin, size_t end)
{
    double first[2], second[2], shift[2] = {0, 0}, size[2] = {0, 0};

    (void)begin;
    (void)end;
    const weighted w[2] = {weighted_of(e, 0), weighted_of(e, 1)};
    for (int s = 0; s < 2; s++) {
        first[s] = w[s].first.value;
        second[s] = w[s].second.value;
        size[s] = w[s].score.size;
    }
    if (e->in[5]) {
        dm_loss_mixture_shifts(&e->g->o.loss, first, second, shift);
        for (int s = 0; s < 2; s++)
            size[s] += w[s].first.size + w[s].second.size + w[1 - s].first.size + w[1 - s].second.size;
    }
    for (size_t o = 0; o < 2; o++) {
        const size_t s = dm_knob_of(e, DM_KNOB_LOSS) == 2 ? 1 - o : o;
        const double n = (double)dm_eval_item(e)->pack.side[s].n;
        dm_put(e, 0, o, (dm_total){w[s].score.value - shift[s], size[s]}, n + 4 + (e->in[5] ? 3 * n + 16 : 0), 0, 2,
               dm_nothing_more);
        dm_put(e, 0, 2 + o, w[s].logp, n, 0, 0, dm_nothing_more);
    }
}

/* ---- loss ---- */

typedef struct result {
    double loss;
    double *d; /* [items, 2] */
} result;

static size_t actions(const dm_evaluation *e)
{
    size_t n = 0;

    for (size_t i = 0; i < e->g->o.n_items; i++)
        n += e->g->items[i].pack.side[0].n;
    return n;
}

/* score: [4] of each item */
static void loss_of(const dm_evaluation *e, const double *score, double *s_w, double *s_l, result *r)
{
    const int wrong = (int)dm_knob_of(e, DM_KNOB_LOSS);
    dm_loss_options changed = e->g->o.loss;
    const dm_loss_options *o = &changed;
    const size_t n = e->g->o.n_items;
    const double tokens = wrong == 6 ? (double)n : (double)actions(e);

    if (wrong == 4)
        changed.beta = 1;
    dm_loss_batch batch = {.pairs = n};

    r->loss = 0;
    for (size_t i = 0; i < n; i++) {
        s_w[i] = score[4 * i + (wrong == 3)];
        s_l[i] = score[4 * i + (wrong != 3)];
        const dm_graph_item *t = &e->g->items[i];
        batch.examples += (size_t)(t->item->chosen.n > 0) + (size_t)(t->item->rejected.n > 0);
    }
    if (o->objective == DM_OBJECTIVE_SFT) {
        for (size_t i = 0; i < n; i++) {
            r->loss -= score[4 * i + 2] / tokens;
            r->d[2 * i] = -1 / tokens;
            r->d[2 * i + 1] = 0;
        }
        return;
    }
    if (dm_loss_needs_batch(o))
        batch = dm_loss_batch_of(o, s_w, s_l, n);
    if (dm_loss_needs_mismatched(o))
        batch.kl = e->in[n] ? e->in[n][0] : 0;
    for (size_t i = 0; i < n; i++) {
        const dm_pack *p = &e->g->items[i].pack;
        const bool both = p->side[0].n && p->side[1].n, chosen = p->side[0].n > 0;
        const dm_loss_pair l = both ? dm_loss_pair_of(o, s_w[i], s_l[i], &batch)
                                    : dm_loss_labelled_of(o, chosen ? s_w[i] : s_l[i], chosen, &batch);
        r->loss += l.loss / (double)n;
        if (o->sft_weight > 0 && chosen)
            r->loss -= o->sft_weight / (double)p->side[0].n * score[4 * i + 2] / (double)n;
        r->d[2 * i] = wrong == 3 ? l.d_rejected : l.d_chosen;
        r->d[2 * i + 1] = wrong == 3 ? l.d_chosen : l.d_rejected;
    }
    for (size_t i = 0; i < 2 * n && wrong == 5; i++)
        r->d[i] *= (double)n;
    r->loss *= wrong == 5 ? (double)n : 1;
    for (size_t i = 0; i < 2 * n; i++) {
        const double full = (i % 2 ? o->beta : -o->beta) / (double)n;
        r->d[i] = wrong == 7 ? r->d[i] / o->beta : wrong == 8 ? full - r->d[i] : r->d[i];
        r->d[i] = wrong == 9 && i % 2 ? -r->d[i] : r->d[i];
    }
}

/* Scores in float and their rounding move the loss: the links are monotone in each score, so the two ends of what the
 * scores may be in `acc` are computed as well. */
void dm_compute_loss(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t n = e->g->o.n_items;
    double *memory = dm_eval_scratch(e, 16 * n), *at = memory;

    (void)begin;
    (void)end;
    if (!memory)
        return;
    double *score = at, *moved = at + 4 * n, *s_w = at + 8 * n, *s_l = at + 9 * n;
    result r = {.d = at + 10 * n}, low = {.d = at + 12 * n}, high = {.d = at + 14 * n};
    for (size_t i = 0; i < n; i++)
        memcpy(score + 4 * i, e->in[i], 4 * sizeof *score);
    loss_of(e, score, s_w, s_l, &r);
    for (int sign = -1; sign <= 1; sign += 2) {
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < 4; k++) {
                /* a difference, products with beta and a length, another difference: each computed and stored */
                const double off = 4 * (e->r.acc + e->r.out) * (fabs(score[4 * i]) + fabs(score[4 * i + 1]));
                moved[4 * i + k] = score[4 * i + k] + (k == 1 ? -sign : sign) * (k < 2 ? off : 0);
            }
        loss_of(e, moved, s_w, s_l, sign < 0 ? &low : &high);
    }
    const double off = fmax(fabs(high.loss - r.loss), fabs(low.loss - r.loss));
    double size = 1;
    for (size_t i = 0; i < n; i++)
        size += e->g->o.loss.objective == DM_OBJECTIVE_SFT ? fabs(score[4 * i + 2]) / (double)actions(e) : 0;
    /* log(1 + exp(-m)): three functions; each pair's loss is stored, and the sum of them before it is divided */
    dm_put(e, 0, 0, (dm_total){r.loss, fabs(r.loss) + size}, (double)n + 2 + 3 * DM_FUNCTION, 0, 4,
           (dm_both){off, off});
    for (size_t i = 0; i < 2 * n; i++) {
        const double d = fmax(fabs(high.d[i] - r.d[i]), fabs(low.d[i] - r.d[i]));
        /* beta / n times 1 / (1 + exp(m)): a power, a sum, a quotient, two products */
        const double m = e->g->o.loss.beta * (fabs(score[4 * (i / 2)]) + fabs(score[4 * (i / 2) + 1]));
        dm_put(e, 1, i, (dm_total){r.d[i], fabs(r.d[i])}, dm_exponential(m) + DM_FUNCTION + 4, 0, 5, (dm_both){d, d});
    }
    free(memory);
}

void dm_compute_coef(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_pack *p = &dm_eval_item(e)->pack;
    const dm_loss_options *o = &e->g->o.loss;
    const double *d = e->in[0] + 2 * (size_t)e->op->item;
    const int wrong = (int)dm_knob_of(e, DM_KNOB_PHI);
    double *s = dm_eval_scratch(e, p->predictions), *a = dm_eval_scratch(e, p->predictions);

    (void)begin;
    (void)end;
    for (int side = 0; side < 2 && s && a; side++)
        for (size_t i = 0; i < p->side[side].n; i++) {
            const size_t at = p->side[side].prediction[i];
            const double phi = e->in[1 + side][token_of(side_of(e, side), i)];
            double w = d[side] * (wrong == 8 ? phi != 0 : phi);
            if (wrong == 9)
                w /= (double)p->side[side].n;
            if (wrong == 10 && side == 1)
                w = 0;
            if (side == 0 && o->sft_weight > 0)
                w -= o->sft_weight / (double)p->side[0].n / (double)e->g->o.n_items;
            s[at] += w;
            a[at] += fabs(w);
        }
    for (size_t i = 0; i < p->predictions && s && a; i++) /* two sides' products, and sft's share: a sum of three */
        dm_put(e, 0, i, (dm_total){s[i], a[i]}, 6, 0, 2, dm_nothing_more);
    free(s);
    free(a);
}
