/* The steps of a run: order of the data, batches, loss, gradient, update; evaluation. No allocation in here. */
#include <math.h>

#include "core/files/file.h"
#include "core/numbers/numeric.h"
#include "core/numbers/philox.h"
#include "core/system.h"
#include "model/network/ops.h"
#include "model/train/rounds.h"

#define EVALUATION ((int64_t)-1) /* in place of a step's number */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

typedef struct totals { /* sums over items, in order */
    double loss, reward_chosen, reward_rejected, margin, accurate, logp_chosen, logp_rejected, nll, kl;
    int64_t tokens, actions;
    int64_t chosen, rejected, pairs; /* sides that there are, and items that have both */
} totals;

static int is_sft(const dm_run *r)
{
    return r->options.objective == DM_OBJECTIVE_SFT;
}

static dm_objective_reference reference_of(const dm_run_references *ref, size_t item)
{
    dm_objective_reference out = {{NULL, NULL}, {NULL, NULL}};
    for (size_t side = 0; side < 2 && ref->logp; side++) {
        out.first[side] = ref->logp + ref->begin[2 * item + side];
        out.second[side] = ref->second ? ref->second + ref->begin[2 * item + side] : NULL;
    }
    return out;
}

static void count_loss(totals *t, const dm_loss_pair *l, bool both)
{
    t->loss += l->loss;
    t->reward_chosen += l->reward_chosen;
    t->reward_rejected += l->reward_rejected;
    t->margin += l->reward_chosen - l->reward_rejected;
    t->accurate += both && l->reward_chosen > l->reward_rejected;
    t->logp_chosen += l->logp_chosen;
    t->logp_rejected += l->logp_rejected;
}

static void count_item(const dm_run *r, totals *t, const dm_data_item *item, const dm_loss_pair *result)
{
    const bool both = item->chosen.n > 0 && item->rejected.n > 0;

    t->chosen += item->chosen.n > 0;
    t->rejected += item->rejected.n > 0;
    t->pairs += both;
    t->tokens += (int64_t)(item->chosen.n + item->rejected.n);
    t->actions += (int64_t)(item->chosen.n_actions + item->rejected.n_actions);
    if (is_sft(r))
        t->nll += result->loss;
    else
        count_loss(t, result, both);
}

/* NaN where there was nothing to take a mean of. */
static double mean(double sum, int64_t n)
{
    return n ? sum / (double)n : NAN;
}

static dmpo_metrics means(const dm_run *r, const totals *t, size_t items)
{
    const double n = (double)items;
    dmpo_metrics m = {.tokens = t->tokens, .action_tokens = t->actions, .peak_memory = dm_rss_peak(), .kl = NAN};
    if (r->policy) {
        dm_run_policy_means(r, items, &m);
        return m;
    }
    if (is_sft(r)) {
        m.loss = t->nll / (double)t->actions;
        m.logp_chosen = -t->nll / n;
        m.reward_chosen = m.reward_rejected = m.reward_margin = m.reward_accuracy = m.logp_rejected = NAN;
        return m;
    }
    m.loss = t->loss / n;
    m.reward_chosen = mean(t->reward_chosen, t->chosen);
    m.reward_rejected = mean(t->reward_rejected, t->rejected);
    m.reward_margin = t->pairs == t->chosen && t->pairs == t->rejected ? mean(t->margin, t->pairs)
                                                                       : m.reward_chosen - m.reward_rejected;
    m.reward_accuracy = mean(t->accurate, t->pairs);
    m.logp_chosen = mean(t->logp_chosen, t->chosen);
    m.logp_rejected = mean(t->logp_rejected, t->rejected);
    if (dm_loss_needs_mismatched(&r->loss))
        m.kl = t->kl / n;
    return m;
}

static dm_status non_finite(int64_t step, const dm_data_item *item, double loss, dm_error *err)
{
    const char *what = isnan(loss) ? "NaN" : "infinite";
    if (step == EVALUATION)
        return dm_fail(err, DM_ERR_NONFINITE, "evaluation: the loss is %s at item '%s'; try a smaller `lr` or `beta`",
                       what, item->id);
    return dm_fail(err, DM_ERR_NONFINITE,
                   "step %lld: the loss is %s at item '%s'; the weights were not touched; try a smaller `lr` or `beta`",
                   (long long)(step + 1), what, item->id);
}

/* This rank's items of a batch of n, shard after shard: the first one, and the next one after j; n: there is none. */
static size_t first_item(const dm_run *r, size_t n)
{
    return smaller(r->ranks.shards.begin, n);
}

static size_t next_item(const dm_run *r, size_t j, size_t n)
{
    const size_t shards = (size_t)r->options.shards, next = j % shards + 1;

    if (j + shards < n)
        return j + shards;
    return next < r->ranks.shards.end && next < n ? next : n;
}

static void forward(dm_run *r, const dm_data_item *item)
{
    dm_pack_build(&r->memory.pack, item, r->options.share_prefix);
    if (r->memory.pack.predictions)
        dm_objective_forward(&r->memory.objective, &r->memory.network, r->memory.weights, &r->memory.pack);
}

static dm_status share_scores(dm_run *r, size_t n, dm_error *err)
{
    dm_status s = DM_OK;

    for (int side = 0; s == DM_OK && side < 2; side++)
        s = dm_run_share_items(r, r->memory.scores[side], sizeof *r->memory.scores[side], n, err);
    return s;
}

/* kto's divergence from the sequences that stand for these items. */
static dm_status mismatched_kl(dm_run *r, const dm_run_set *set, const uint32_t *items, size_t n, double *kl,
                               dm_error *err)
{
    double sum = 0;
    size_t sequences = 0;

    for (size_t j = first_item(r, n); j < n; j = next_item(r, j, n)) {
        const dm_objective_reference reference = reference_of(&set->mismatched_reference, items[j]);
        forward(r, &set->mismatched.items[items[j]]);
        for (int s = 0; s < 2; s++) {
            const dm_loss_side side = dm_objective_side(&r->memory.objective, &r->memory.pack, s, reference.first[s]);
            r->memory.scores[s][j] = side.n ? dm_loss_side_score(&r->loss, &side) : 0;
        }
    }
    const dm_status s = share_scores(r, n, err);
    for (size_t j = 0; j < n; j++) {
        const dm_data_item *item = &set->mismatched.items[items[j]];
        const size_t actions[] = {item->chosen.n_actions, item->rejected.n_actions};
        for (int side = 0; side < 2; side++) {
            if (actions[side] == 0)
                continue;
            sum += r->memory.scores[side][j];
            sequences++;
        }
    }
    *kl = dm_loss_kl_estimate(sum, sequences);
    return s;
}

/* How many trajectories the items have: a labelled completion is one, a pair two. */
static size_t sides_of(const dm_run_set *set, const uint32_t *items, size_t n)
{
    size_t sides = 0;

    for (size_t j = 0; j < n; j++)
        sides += (size_t)(set->data.items[items[j]].chosen.n > 0) + (size_t)(set->data.items[items[j]].rejected.n > 0);
    return sides;
}

/* What a loss needs of the whole batch before any gradient: kto-pair every pair forward once, kto its divergence. */
static dm_status batch_statistics(dm_run *r, const dm_run_set *set, const uint32_t *items, size_t n, dm_loss_batch *out,
                                  dm_error *err)
{
    *out = (dm_loss_batch){.pairs = n};
    if (dm_loss_needs_mismatched(&r->loss)) {
        out->examples = sides_of(set, items, n);
        return mismatched_kl(r, set, items, n, &out->kl, err);
    }
    if (!dm_loss_needs_batch(&r->loss)) /* r->memory.scores exists for these only */
        return DM_OK;
    for (size_t j = first_item(r, n); j < n; j = next_item(r, j, n)) {
        const dm_objective_reference reference = reference_of(&set->reference, items[j]);
        double s[2];
        forward(r, &set->data.items[items[j]]);
        dm_objective_scores(&r->memory.objective, &r->loss, &r->memory.pack, &reference, s);
        r->memory.scores[0][j] = s[0];
        r->memory.scores[1][j] = s[1];
    }
    const dm_status s = share_scores(r, n, err);
    if (s == DM_OK)
        *out = dm_loss_batch_of(&r->loss, r->memory.scores[0], r->memory.scores[1], n);
    return s;
}

dm_gradient dm_run_gradient_at(const dm_run *r)
{
    const dm_network *n = &r->memory.network;
    const size_t floats = r->models.trained_layout->floats;

    return n->late ? (dm_gradient){r->memory.gradient, n->late, n->split, floats}
                   : dm_gradient_whole(r->memory.gradient, floats);
}

/* But for what begins at 0 anyway (dm_network_backward). */
static void clear_gradient(dm_run *r)
{
    const dm_gradient g = dm_run_gradient_at(r);
    const size_t behind =
        r->memory.network.late
            ? dm_param_layout_begin(&r->models.layout, r->models.config.layers, r->models.config.layers) - g.split
            : 0;

    dm_op_zero(r->engine, g.low, g.split);
    dm_op_zero(r->engine, g.high + behind, g.n - g.split - behind);
}

static void watch_item(dm_run *r, size_t j)
{
    r->watch->item(r->watch->context, j);
    r->memory.network.tap = &r->watch->tap;
}

/* What item j of a batch comes to (SFT: loss is the negative log-likelihood); with dw its gradient is added there. */
static dm_loss_pair run_item(dm_run *r, const dm_run_set *set, size_t j, uint32_t index, const dm_loss_batch *stats,
                             size_t sft_tokens, float *dw)
{
    const dm_objective_reference reference = reference_of(&set->reference, index);
    dm_loss_pair out;

    if (r->watch && dw)
        watch_item(r, j);

    forward(r, &set->data.items[index]);
    if (r->policy) {
        out = (dm_loss_pair){.loss = dm_run_policy_item(r, j % (size_t)r->options.shards, index)};
    } else if (is_sft(r)) {
        out = (dm_loss_pair){.loss = dm_objective_sft(&r->memory.objective, &r->memory.pack, sft_tokens),
                             .d_chosen = -1.0 / (double)sft_tokens};
        out.logp_chosen = -out.loss;
    } else {
        out = dm_objective_pair(&r->memory.objective, &r->loss, &r->memory.pack, &reference, stats, dw != NULL);
    }
    if (r->watch && dw)
        r->watch->scored(r->watch->context, j, &out, stats, &reference);
    if (dw && (isfinite(out.loss) || r->ranks.count > 1)) /* the other ranks wait for its gradient */
        dm_objective_backward(&r->memory.objective, &r->memory.network, r->memory.weights, dw, &r->memory.pack);
    r->memory.network.tap = NULL;
    return out;
}

/* Where the gradient of this rank's i-th shard is to be computed, made 0 for it. */
static float *begin_shard(dm_run *r, size_t i)
{
    float *dw = i ? r->memory.level[dm_shard_level(i)] : r->memory.gradient;

    if (i)
        dm_op_zero(r->engine, dw, r->models.trained_layout->floats);
    else
        clear_gradient(r);
    return dw;
}

static void layer_done(void *context, size_t layer)
{
    dm_run_gradient_ready(context, layer + 1);
}

/* This rank's items: their losses, and with `gradient` their gradients. The first loss that is not finite ends it. */
static void run_own_items(dm_run *r, const dm_run_set *set, const uint32_t *items, size_t n, const dm_loss_batch *stats,
                          size_t sft_tokens, bool gradient)
{
    const size_t shards = (size_t)r->options.shards, own = smaller(r->ranks.shards.end, n) - first_item(r, n);
    dm_network *network = &r->memory.network;
    float *dw = NULL;

    for (size_t j = first_item(r, n); j < n; j = next_item(r, j, n)) {
        const size_t i = j % shards - r->ranks.shards.begin; /* of this rank's shards */
        const bool last = next_item(r, j, n) == n;
        if (gradient && j < shards)
            dw = begin_shard(r, i);
        if (gradient && last && r->ranks.count > 1) {
            network->layer_done = layer_done;
            network->layer_context = r;
        }
        r->memory.results[j] = run_item(r, set, j, items[j], stats, sft_tokens, dw);
        if (r->policy)
            r->policy->results[j] = r->policy->last;
        network->layer_done = NULL;
        if (!isfinite(r->memory.results[j].loss) && r->ranks.count == 1)
            return;
        if (gradient && j + shards >= n && (!last || r->ranks.count == 1)) /* else dm_run_gradient_ready has done it */
            dm_shard_merge(r->engine, r->memory.level, i, own, 0, r->models.trained_layout->floats);
    }
}

/* Loss (and gradient) of a list of items; sums go to *t, in the order of the list. */
static dm_status run_items(dm_run *r, const dm_run_set *set, const uint32_t *items, size_t n, int64_t step, totals *t,
                           dm_error *err)
{
    const bool gradient = step != EVALUATION;
    dm_loss_pair *results = r->memory.results;
    dm_loss_batch stats;
    size_t sft_tokens = 0;
    dm_status s = batch_statistics(r, set, items, n, &stats, err);

    if (s != DM_OK)
        return s;
    for (size_t j = 0; j < n; j++) {
        sft_tokens += set->data.items[items[j]].chosen.n_actions;
        results[j].loss = 0;
    }
    if (r->policy)
        dm_run_policy_batch(r, items, n);
    if (gradient)
        dm_run_gradient_begin(r, n);
    run_own_items(r, set, items, n, &stats, sft_tokens, gradient);
    if ((gradient && (s = dm_run_gradient_end(r, err)) != DM_OK) ||
        (s = dm_run_share_items(r, results, sizeof *results, n, err)) != DM_OK ||
        (r->policy && (s = dm_run_share_items(r, r->policy->results, sizeof *r->policy->results, n, err)) != DM_OK))
        return s;
    t->kl += stats.kl * (double)n;
    for (size_t j = 0; j < n; j++) {
        const dm_data_item *item = &set->data.items[items[j]];
        if (!isfinite(results[j].loss))
            return dm_ranks_fail_together(non_finite(step, item, results[j].loss, err));
        count_item(r, t, item, &results[j]);
    }
    return DM_OK;
}

dm_status dm_run_gradient(dm_run *r, const uint32_t *items, size_t n, dmpo_metrics *out, dm_error *err)
{
    totals t = {0};
    const dm_status s = run_items(r, &r->train, items, n, 0, &t, err);
    if (s == DM_OK)
        *out = means(r, &t, n);
    return s;
}

static dm_status evaluate(dm_run *r, dmpo_metrics *out, dm_error *err)
{
    /* In groups of the batch size, so that kto's and kto-pair's batch means the same as in training. */
    totals t = {0};
    uint32_t group[DM_EVAL_GROUP];
    const size_t most = r->options.batch < DM_EVAL_GROUP ? (size_t)r->options.batch : DM_EVAL_GROUP;
    const double start = dm_seconds();

    for (size_t i = 0; i < r->eval.data.n; i += most) {
        const size_t n = r->eval.data.n - i < most ? r->eval.data.n - i : most;
        for (size_t j = 0; j < n; j++)
            group[j] = (uint32_t)(i + j);
        const dm_status s = run_items(r, &r->eval, group, n, EVALUATION, &t, err);
        if (s != DM_OK)
            return s;
        dm_run_event(r, DMPO_EVENT_PROGRESS, NULL, (int64_t)(i + n), (int64_t)r->eval.data.n, NULL);
    }
    *out = means(r, &t, r->eval.data.n);
    out->seconds = dm_seconds() - start;
    out->tokens_per_second = (double)t.tokens / out->seconds;
    return DM_OK;
}

/* Steps of one pass over the items, which are shuffled anew for each. */
static int64_t pass_steps(const dm_run *r)
{
    return r->policy ? r->steps_per_epoch / r->policy->passes : r->steps_per_epoch;
}

int64_t dm_run_epoch(const dm_run *r, int64_t step)
{
    return step / pass_steps(r);
}

const uint32_t *dm_run_batch(dm_run *r, int64_t step, size_t *n)
{
    const size_t batch = (size_t)r->options.batch, first = (size_t)(step % pass_steps(r)) * batch;
    const size_t left = r->train.data.n > first ? r->train.data.n - first : 0; /* none: a round had fewer items */
    const int64_t epoch = dm_run_epoch(r, step);

    *n = left < batch ? left : batch;
    if (r->memory.order_epoch != epoch) {
        for (size_t i = 0; i < r->train.data.n; i++)
            r->memory.order[i] = (uint32_t)i;
        if (r->options.shuffle)
            dm_random_shuffle(r->memory.order, r->train.data.n, r->options.seed, DM_RNG_SHUFFLE, (uint64_t)epoch);
        r->memory.order_epoch = epoch;
    }
    return r->memory.order + first;
}

dm_status dm_run_step(dm_run *r, int64_t step, dmpo_metrics *out, dm_error *err)
{
    size_t n;
    const uint32_t *items = dm_run_batch(r, step, &n);

    if (n == 0) {
        *out = (dmpo_metrics){.step = step + 1};
        return DM_OK;
    }
    const dm_status s = dm_run_learn(r, items, n, step, out, err);
    return s == DM_OK && r->policy && r->policy->critic.o.on
               ? dm_critic_update(r, n, out->lr / r->options.lr, step + 1, err)
               : s;
}

dm_status dm_run_learn(dm_run *r, const uint32_t *items, size_t n, int64_t step, dmpo_metrics *out, dm_error *err)
{
    const double start = dm_seconds();
    totals t = {0};

    dm_status s = run_items(r, &r->train, items, n, step, &t, err);
    if (s != DM_OK)
        return s;
    double norm;
    if ((s = dm_run_norm(r, &norm, err)) != DM_OK)
        return s;
    if (!isfinite(norm))
        return dm_ranks_fail_together(dm_fail(
            err, DM_ERR_NONFINITE,
            "step %lld: the gradient is not finite (batch of %zu items from '%s' to '%s'); the weights were not touched",
            (long long)(step + 1), n, r->train.data.items[items[0]].id, r->train.data.items[items[n - 1]].id));

    const double clip = r->options.max_grad_norm;
    const double scale = clip > 0 && norm > clip ? clip / norm : 1.0;
    if (r->watch)
        r->watch->clipped(r->watch->context, norm, scale);
    const double lr = dm_learning_rate(r->options.schedule, r->options.lr, step, r->warmup, r->steps);
    const dm_adamw_options adamw = {r->options.beta1, r->options.beta2, r->options.eps, r->options.weight_decay};
    if ((s = dm_run_update(r, &adamw, lr, scale, step + 1, err)) != DM_OK)
        return s;

    *out = means(r, &t, n);
    out->step = step + 1;
    out->epoch = (double)(step + 1) / (double)r->steps_per_epoch;
    out->grad_norm = norm;
    out->lr = lr;
    out->seconds = dm_seconds() - start;
    out->tokens_per_second = (double)t.tokens / out->seconds;
    return DM_OK;
}

dm_status dm_run_evaluate(dm_run *r, int64_t step, dmpo_metrics *out, dm_error *err)
{
    dm_run_event(r, DMPO_EVENT_PHASE, "evaluating", 0, (int64_t)r->eval.data.n, NULL);
    const dm_status s = r->policy ? dm_run_policy_evaluate(r, out, err) : evaluate(r, out, err);
    out->step = step;
    out->epoch = (double)step / (double)r->steps_per_epoch;
    return s;
}

/* written: the line goes to metrics.jsonl. */
static dm_status evaluate_now(dm_run *r, int64_t step, int written, dmpo_metrics *out, dm_error *err)
{
    dm_status s = dm_run_evaluate(r, step, out, err);
    if (s != DM_OK)
        return s;
    if (written && r->ranks.self == 0)
        s = dm_metrics_write(r, "eval", out, err);
    dm_run_event(r, DMPO_EVENT_EVAL, NULL, step, r->steps, out);
    return s;
}

static int evaluation_due(const dm_run *r, int64_t done)
{
    return r->eval.data.n &&
           (done == 0 || done == r->steps || (r->options.eval_every && done % r->options.eval_every == 0));
}

/* What lies between two steps: the evaluation at `done` that a stopped run left out, or of a finished run its last one
 * again, for the result. */
static dm_status evaluate_first(dm_run *r, int64_t done, dm_train_result *result, dm_error *err)
{
    const int missing = evaluation_due(r, done) && result->after.step < done;
    dmpo_metrics *out = done == 0 ? &result->before : &result->after;

    return missing || (r->eval.data.n && done == r->steps) ? evaluate_now(r, done, missing, out, err) : DM_OK;
}

dm_status dm_run_steps(dm_run *r, int64_t first, dm_train_result *result, dm_error *err)
{
    dm_status s = evaluate_first(r, first, result, err);

    if (s != DM_OK)
        return s;
    result->steps = first;
    if (first < r->steps)
        dm_run_event(r, DMPO_EVENT_PHASE, "training", first, r->steps, NULL);
    for (int64_t step = first; step < r->steps; step++) {
        dmpo_metrics m;
        if ((s = dm_run_step(r, step, &m, err)) != DM_OK ||
            (r->ranks.self == 0 && ((s = dm_metrics_write(r, "train", &m, err)) != DM_OK ||
                                    (s = dm_run_transcript_add(r, &m, err)) != DM_OK)))
            return s;
        dm_run_event(r, DMPO_EVENT_STEP, NULL, step + 1, r->steps, &m);
        if ((s = dm_run_share_stop(r, err)) != DM_OK)
            return s;
        const int last = step + 1 == r->steps, due = evaluation_due(r, step + 1);
        if (due && !r->stop &&
            ((s = evaluate_now(r, step + 1, 1, &result->after, err)) != DM_OK ||
             (s = dm_run_share_stop(r, err)) != DM_OK))
            return s;
        if ((last || r->stop || (r->options.checkpoint_every && (step + 1) % r->options.checkpoint_every == 0)) &&
            (s = dm_checkpoint_write(r, step + 1, result, err)) != DM_OK)
            return s;
        result->steps = step + 1;
        if (r->stop && (!last || (due && result->after.step != r->steps)))
            return dm_ranks_fail_together(dm_fail(
                err, DM_ERR_INTERRUPTED, "stopped after step %lld of %lld; `resume` continues from %s/checkpoint",
                (long long)(step + 1), (long long)r->steps, r->options.output));
    }
    return DM_OK;
}
