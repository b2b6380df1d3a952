/* The steps of a run: order of the data, batches, loss, gradient, update; evaluation. No allocation in here. */
#include <math.h>

#include "core/file.h"
#include "core/numeric.h"
#include "core/philox.h"
#include "core/system.h"
#include "model/network/ops.h"
#include "model/train/run.h"

#define EVALUATION ((int64_t)-1) /* in place of a step's number */

typedef struct totals { /* sums over items, in order */
    double loss, reward_chosen, reward_rejected, margin, accurate, logp_chosen, logp_rejected, nll, kl;
    int64_t tokens, actions;
} totals;

static int is_sft(const dm_run *r)
{
    return r->o.objective == DMPO_SFT;
}

static dm_pair_reference reference_of(const dm_references *ref, size_t item)
{
    dm_pair_reference out = {{NULL, NULL}, {NULL, NULL}};
    for (size_t side = 0; side < 2 && ref->logp; side++) {
        out.first[side] = ref->logp + ref->begin[2 * item + side];
        out.second[side] = ref->second ? ref->second + ref->begin[2 * item + side] : NULL;
    }
    return out;
}

static void count_pair(totals *t, const dm_pair_loss *l)
{
    t->loss += l->loss;
    t->reward_chosen += l->reward_chosen;
    t->reward_rejected += l->reward_rejected;
    t->margin += l->reward_chosen - l->reward_rejected;
    t->accurate += l->reward_chosen > l->reward_rejected;
    t->logp_chosen += l->logp_chosen;
    t->logp_rejected += l->logp_rejected;
}

static void count_tokens(totals *t, const dm_item *item)
{
    t->tokens += (int64_t)(item->chosen.n + item->rejected.n);
    t->actions += (int64_t)(item->chosen.n_actions + item->rejected.n_actions);
}

static dmpo_metrics means(const dm_run *r, const totals *t, size_t items)
{
    const double n = (double)items;
    dmpo_metrics m = {.tokens = t->tokens, .action_tokens = t->actions, .peak_memory = dm_rss_peak(), .kl = NAN};
    if (is_sft(r)) {
        m.loss = t->nll / (double)t->actions;
        m.logp_chosen = -t->nll / n;
        m.reward_chosen = m.reward_rejected = m.reward_margin = m.reward_accuracy = m.logp_rejected = NAN;
        return m;
    }
    m.loss = t->loss / n;
    m.reward_chosen = t->reward_chosen / n;
    m.reward_rejected = t->reward_rejected / n;
    m.reward_margin = t->margin / n;
    m.reward_accuracy = t->accurate / n;
    m.logp_chosen = t->logp_chosen / n;
    m.logp_rejected = t->logp_rejected / n;
    if (dm_loss_needs_mismatched(&r->loss))
        m.kl = t->kl / n;
    return m;
}

static dm_status non_finite(int64_t step, const dm_item *item, double loss, dm_error *err)
{
    const char *what = isnan(loss) ? "NaN" : "infinite";
    if (step == EVALUATION)
        return dm_fail(err, DM_ERR_NONFINITE, "evaluation: the loss is %s at item '%s'; try a smaller --lr or --beta",
                       what, item->id);
    return dm_fail(err, DM_ERR_NONFINITE,
                   "step %lld: the loss is %s at item '%s'; the weights were not touched; try a smaller --lr or --beta",
                   (long long)(step + 1), what, item->id);
}

/* kto's divergence from the sequences that stand for these items. */
static double mismatched_kl(dm_run *r, const dm_dataset *data, const uint32_t *items, size_t n)
{
    const int eval = data == &r->eval;
    const dm_dataset *mismatched = eval ? &r->eval_mismatched : &r->train_mismatched;
    const dm_references *ref = eval ? &r->ref_eval_mismatched : &r->ref_train_mismatched;
    double sum = 0;
    size_t sequences = 0;

    for (size_t j = 0; j < n; j++) {
        const dm_pair_reference reference = reference_of(ref, items[j]);
        dm_pack_build(&r->pack, &mismatched->items[items[j]], r->o.share_prefix);
        if (r->pack.predictions == 0)
            continue;
        dm_objective_forward(&r->objective, &r->network, r->w, &r->pack);
        for (int s = 0; s < 2; s++) {
            const dm_loss_side side = dm_objective_side(&r->objective, &r->pack, s, reference.first[s]);
            if (side.n == 0)
                continue;
            sum += dm_loss_side_score(&r->loss, &side);
            sequences++;
        }
    }
    return dm_kl_estimate(sum, sequences);
}

/* What a loss needs of the whole batch before any gradient: kto-pair every pair forward once, kto its divergence. */
static dm_batch_stats batch_statistics(dm_run *r, const dm_dataset *data, const dm_references *ref,
                                       const uint32_t *items, size_t n)
{
    if (dm_loss_needs_mismatched(&r->loss))
        return (dm_batch_stats){.pairs = n, .kl = mismatched_kl(r, data, items, n)};
    if (!dm_loss_needs_batch(&r->loss)) /* r->scores exists for these only */
        return (dm_batch_stats){.pairs = n};

    double *chosen = r->scores, *rejected = r->scores + r->scores_room;
    for (size_t j = 0; j < n; j++) {
        const dm_pair_reference reference = reference_of(ref, items[j]);
        double s[2];
        dm_pack_build(&r->pack, &data->items[items[j]], r->o.share_prefix);
        dm_objective_forward(&r->objective, &r->network, r->w, &r->pack);
        dm_objective_scores(&r->objective, &r->loss, &r->pack, &reference, s);
        chosen[j] = s[0];
        rejected[j] = s[1];
    }
    return dm_batch_stats_of(&r->loss, chosen, rejected, n);
}

/* Loss (and, with dw, gradient) of a list of items; sums go to *t. */
static dm_status run_items(dm_run *r, const dm_dataset *data, const dm_references *ref, const uint32_t *items, size_t n,
                           int64_t step, float *dw, totals *t, dm_error *err)
{
    size_t sft_tokens = 0;

    for (size_t j = 0; j < n; j++)
        sft_tokens += data->items[items[j]].chosen.n_actions;
    const dm_batch_stats stats = batch_statistics(r, data, ref, items, n);
    t->kl += stats.kl * (double)n;
    for (size_t j = 0; j < n; j++) {
        const dm_item *item = &data->items[items[j]];
        double loss;

        dm_pack_build(&r->pack, item, r->o.share_prefix);
        dm_objective_forward(&r->objective, &r->network, r->w, &r->pack);
        if (is_sft(r)) {
            loss = dm_objective_sft(&r->objective, &r->pack, sft_tokens);
            t->nll += loss;
        } else {
            const dm_pair_reference reference = reference_of(ref, items[j]);
            const dm_pair_loss l = dm_objective_pair(&r->objective, &r->loss, &r->pack, &reference, &stats, dw != NULL);
            loss = l.loss;
            count_pair(t, &l);
        }
        if (!isfinite(loss))
            return non_finite(step, item, loss, err);
        count_tokens(t, item);
        if (dw)
            dm_objective_backward(&r->objective, &r->network, r->w, dw, &r->pack);
    }
    return DM_OK;
}

dm_gradient dm_run_gradient_at(const dm_run *r)
{
    const dm_network *n = &r->network;
    const size_t floats = r->trained->floats;

    return n->late ? (dm_gradient){r->g, n->late, n->split, floats} : dm_gradient_whole(r->g, floats);
}

/* But for what begins at 0 anyway (dm_network_backward). */
static void clear_gradient(dm_run *r)
{
    const dm_gradient g = dm_run_gradient_at(r);
    const size_t behind =
        r->network.late ? dm_layout_begin(&r->layout, r->config.layers, r->config.layers) - g.split : 0;

    dm_op_zero(r->e, g.low, g.split);
    dm_op_zero(r->e, g.high + behind, g.n - g.split - behind);
}

static dm_status batch_gradient(dm_run *r, const uint32_t *items, size_t n, int64_t step, totals *t, dm_error *err)
{
    clear_gradient(r);
    return run_items(r, &r->train, &r->ref_train, items, n, step, r->g, t, err);
}

dm_status dm_run_gradient(dm_run *r, const uint32_t *items, size_t n, dmpo_metrics *out, dm_error *err)
{
    totals t = {0};
    const dm_status s = batch_gradient(r, items, n, 0, &t, err);
    if (s == DM_OK)
        *out = means(r, &t, n);
    return s;
}

dm_status dm_evaluate(dm_run *r, const dm_dataset *data, const dm_references *ref, dmpo_metrics *out, dm_error *err)
{
    /* In groups of the batch size, so that kto's and kto-pair's batch means the same as in training. */
    totals t = {0};
    uint32_t group[DM_EVAL_GROUP];
    const size_t most = r->o.batch < DM_EVAL_GROUP ? (size_t)r->o.batch : DM_EVAL_GROUP;
    const double start = dm_seconds();

    for (size_t i = 0; i < data->n; i += most) {
        const size_t n = data->n - i < most ? data->n - i : most;
        for (size_t j = 0; j < n; j++)
            group[j] = (uint32_t)(i + j);
        const dm_status s = run_items(r, data, ref, group, n, EVALUATION, NULL, &t, err);
        if (s != DM_OK)
            return s;
        dm_run_event(r, DMPO_EVENT_PROGRESS, NULL, (int64_t)(i + n), (int64_t)data->n, NULL);
    }
    *out = means(r, &t, data->n);
    out->seconds = dm_seconds() - start;
    out->tokens_per_second = (double)t.tokens / out->seconds;
    return DM_OK;
}

static void order_for(dm_run *r, int64_t epoch)
{
    if (r->order_epoch == epoch)
        return;
    for (size_t i = 0; i < r->train.n; i++)
        r->order[i] = (uint32_t)i;
    if (r->o.shuffle)
        dm_random_shuffle(r->order, r->train.n, r->o.seed, DM_RNG_SHUFFLE, (uint64_t)epoch);
    r->order_epoch = epoch;
}

dm_status dm_run_step(dm_run *r, int64_t step, dmpo_metrics *out, dm_error *err)
{
    const double start = dm_seconds();
    const size_t batch = (size_t)r->o.batch, first = (size_t)(step % r->steps_per_epoch) * batch;
    const size_t n = r->train.n - first < batch ? r->train.n - first : batch;
    totals t = {0};

    order_for(r, step / r->steps_per_epoch);
    const dm_status s = batch_gradient(r, r->order + first, n, step, &t, err);
    if (s != DM_OK)
        return s;
    const dm_gradient g = dm_run_gradient_at(r);
    const double norm = dm_grad_norm(r->e, &g, r->partial);
    if (!isfinite(norm))
        return dm_fail(err, DM_ERR_NONFINITE,
                       "step %lld: the gradient is not finite (batch of %zu items from '%s' to '%s'); the weights were "
                       "not touched",
                       (long long)(step + 1), n, r->train.items[r->order[first]].id,
                       r->train.items[r->order[first + n - 1]].id);

    const double clip = r->o.max_grad_norm;
    const double scale = clip > 0 && norm > clip ? clip / norm : 1.0;
    const double lr = dm_learning_rate(r->o.schedule, r->o.lr, step, r->warmup, r->steps);
    const dm_adamw_options adamw = {r->o.beta1, r->o.beta2, r->o.eps, r->o.weight_decay};
    dm_adamw_update(r->e, r->t, r->m, r->v, &g, &adamw, lr, scale, step + 1);

    *out = means(r, &t, n);
    out->step = step + 1;
    out->epoch = (double)(step + 1) / (double)r->steps_per_epoch;
    out->grad_norm = norm;
    out->lr = lr;
    out->seconds = dm_seconds() - start;
    out->tokens_per_second = (double)t.tokens / out->seconds;
    return DM_OK;
}

/* written: the line goes to metrics.jsonl. */
static dm_status evaluate_now(dm_run *r, int64_t step, int written, dmpo_metrics *out, dm_error *err)
{
    dm_run_event(r, DMPO_EVENT_PHASE, "evaluating", 0, (int64_t)r->eval.n, NULL);
    dm_status s = dm_evaluate(r, &r->eval, &r->ref_eval, out, err);
    if (s != DM_OK)
        return s;
    out->step = step;
    out->epoch = (double)step / (double)r->steps_per_epoch;
    if (written)
        s = dm_metrics_write(r, "eval", out, err);
    dm_run_event(r, DMPO_EVENT_EVAL, NULL, step, r->steps, out);
    return s;
}

static int evaluation_due(const dm_run *r, int64_t done)
{
    return r->eval.n && (done == 0 || done == r->steps || (r->o.eval_every && done % r->o.eval_every == 0));
}

/* What lies between two steps: the evaluation at `done` that a stopped run left out, or of a finished run its last one
 * again, for the result. */
static dm_status evaluate_first(dm_run *r, int64_t done, dmpo_train_result *result, dm_error *err)
{
    const int missing = evaluation_due(r, done) && result->after.step < done;
    dmpo_metrics *out = done == 0 ? &result->before : &result->after;

    return missing || (r->eval.n && done == r->steps) ? evaluate_now(r, done, missing, out, err) : DM_OK;
}

dm_status dm_run_steps(dm_run *r, int64_t first, dmpo_train_result *result, dm_error *err)
{
    dm_status s = evaluate_first(r, first, result, err);

    if (s != DM_OK)
        return s;
    result->steps = first;
    if (first < r->steps)
        dm_run_event(r, DMPO_EVENT_PHASE, "training", first, r->steps, NULL);
    for (int64_t step = first; step < r->steps; step++) {
        dmpo_metrics m;
        if ((s = dm_run_step(r, step, &m, err)) != DM_OK || (s = dm_metrics_write(r, "train", &m, err)) != DM_OK)
            return s;
        dm_run_event(r, DMPO_EVENT_STEP, NULL, step + 1, r->steps, &m);
        const int last = step + 1 == r->steps, due = evaluation_due(r, step + 1);
        if (due && !r->stop && (s = evaluate_now(r, step + 1, 1, &result->after, err)) != DM_OK)
            return s;
        if ((last || r->stop || (r->o.checkpoint_every && (step + 1) % r->o.checkpoint_every == 0)) &&
            (s = dm_checkpoint_write(r, step + 1, result, err)) != DM_OK)
            return s;
        result->steps = step + 1;
        if (r->stop && (!last || (due && result->after.step != r->steps)))
            return dm_fail(err, DM_ERR_INTERRUPTED,
                           "stopped after step %lld of %lld; --resume continues from %s/checkpoint",
                           (long long)(step + 1), (long long)r->steps, r->o.output);
    }
    return DM_OK;
}
