#include "model/train/rounds.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/system.h"

/* ---- opening and placing ---- */

static int64_t batches_of(const dm_run *r, size_t items)
{
    const int64_t n = (int64_t)items, batch = r->options.batch;
    return n / batch + (n % batch != 0);
}

dm_status dm_run_open_rounds(dm_run *r, dm_error *err)
{
    dm_run_policy *p = r->policy;
    const size_t positions = r->models.config.max_positions;
    const dm_status s = dm_run_open_tokenizer(r, err);

    if (s != DM_OK)
        return s;
    if (!r->data.tokenizer)
        return dm_fail(err, DM_ERR_INPUT, "%s: has no tokenizer (tokenizer.json), which an agent's words need",
                       r->options.model);
    if ((size_t)r->options.max_length > positions)
        r->options.max_length = (int64_t)positions;
    const size_t length = (size_t)r->options.max_length;
    p->actions = p->actions < length ? p->actions : length;
    r->data.pack_max =
        (dm_pack_size){.rows = length, .predictions = p->actions, .longest = length, .actions = {p->actions, 0}};
    r->steps_per_epoch = p->passes * batches_of(r, p->items);
    r->steps = p->rounds * r->steps_per_epoch;
    r->warmup = r->options.warmup_steps >= 0 ? r->options.warmup_steps
                                             : (int64_t)ceil(r->options.warmup_ratio * (double)r->steps);
    p->sampling_bytes = p->measure(p->player.context, r);
    return DM_OK;
}

void dm_run_place_policy(dm_run *r, dm_arena *a, size_t batch)
{
    dm_run_policy *p = r->policy;
    const size_t n = p->items * p->actions;

    p->old = dm_arena_alloc(a, n, sizeof *p->old);
    p->advantage = dm_arena_alloc(a, n, sizeof *p->advantage);
    p->begin = dm_arena_alloc(a, p->items + 1, sizeof *p->begin);
    p->slope = dm_arena_alloc(a, p->actions, sizeof *p->slope);
    p->results = dm_arena_alloc(a, batch, sizeof *p->results);
    if (p->critic.o.on)
        dm_critic_place(&p->critic, a, r->models.config.hidden, (size_t)r->options.shards, p->items, p->actions);
    p->reference = p->o.kl > 0 ? dm_arena_alloc(a, n, sizeof *p->reference) : NULL;
    p->initial = p->o.kl > 0 ? dm_arena_alloc(a, r->models.trained_layout->floats, sizeof *p->initial) : NULL;
}

dm_status dm_run_begin_rounds(dm_run *r, dm_error *err)
{
    dm_run_policy *p = r->policy;

    if (p->initial)
        memcpy(p->initial, r->memory.trained, r->models.trained_layout->floats * sizeof *p->initial);
    return p->player.begin(p->player.context, r, err);
}

void dm_run_end_rounds(dm_run *r)
{
    if (r->policy)
        r->policy->player.end(r->policy->player.context);
}

/* ---- the reference ---- */

static void swap_policies(dm_run *r)
{
    float *a = r->memory.trained, *b = r->policy->initial;

    for (size_t i = 0; i < r->models.trained_layout->floats; i++) {
        const float x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

/* Forward with the initial policy's values in the place of the trained ones. */
static dm_status run_reference(dm_run *r, dm_error *err)
{
    dm_run_policy *p = r->policy;
    const size_t n = r->train.data.n;

    swap_policies(r);
    for (size_t i = r->ranks.self; i < n; i += r->ranks.count) {
        dm_pack_build(&r->memory.pack, &r->train.data.items[i], r->options.share_prefix);
        dm_objective_forward(&r->memory.objective, &r->memory.network, r->memory.weights, &r->memory.pack);
        memcpy(p->reference + p->begin[i], r->memory.objective.logp[0],
               r->memory.pack.side[0].n * sizeof *p->reference);
    }
    swap_policies(r);
    const dm_run_parts parts = {p->reference, sizeof *p->reference, p->begin, 1, n, p->begin[n]};
    return dm_run_share_parts(r, &parts, DM_REFERENCE_PARTS, err);
}

/* ---- a batch ---- */

/* Turns of an item that count. */
static size_t turns_of(const dm_data_item *item, const double *advantage)
{
    const dm_data_trajectory *t = &item->chosen;
    size_t turns = 0;

    for (size_t k = 0, at = 0; k < t->n_turns; at += t->turns[k].end - t->turns[k].begin, k++)
        turns += dm_policy_tokens(advantage + at, t->turns[k].end - t->turns[k].begin) > 0;
    return turns;
}

void dm_run_policy_batch(dm_run *r, const uint32_t *items, size_t n)
{
    dm_run_policy *p = r->policy;

    p->batch = (dm_policy_batch){.trajectories = n};
    for (size_t j = 0; j < n; j++) {
        const size_t begin = p->begin[items[j]];
        p->batch.tokens += p->o.ratio == DM_RATIO_TURN
                               ? turns_of(&r->train.data.items[items[j]], p->advantage + begin)
                               : dm_policy_tokens(p->advantage + begin, p->begin[items[j] + 1] - begin);
    }
    if (p->critic.o.on)
        dm_critic_batch(r, items, n);
}

double dm_run_policy_item(dm_run *r, size_t shard, uint32_t index)
{
    dm_run_policy *p = r->policy;
    const dm_objective *o = &r->memory.objective;
    const size_t begin = p->begin[index];
    const dm_policy_trajectory t = {.n = r->memory.pack.side[0].n,
                                    .logp = o->logp[0],
                                    .old = p->old + begin,
                                    .reference = p->reference ? p->reference + begin : NULL,
                                    .advantage = p->advantage + begin,
                                    .turn_of = r->memory.pack.side[0].turn_of};

    p->last = dm_policy_loss(&p->o, &t, &p->batch, p->slope);
    for (size_t i = 0; i < r->memory.pack.predictions; i++)
        o->coef[i] = 0;
    for (size_t i = 0; i < t.n; i++)
        o->coef[r->memory.pack.side[0].prediction[i]] = (float)p->slope[i];
    if (p->critic.o.on)
        p->last.loss += dm_critic_item(r, shard, index);
    return p->last.loss;
}

void dm_run_policy_means(const dm_run *r, size_t items, dmpo_metrics *out)
{
    const dm_run_policy *p = r->policy;
    double logp = 0, kl = 0;
    size_t tokens = 0, clipped = 0;

    *out = (dmpo_metrics){.tokens = out->tokens,
                          .action_tokens = out->action_tokens,
                          .peak_memory = out->peak_memory,
                          .reward_chosen = NAN,
                          .reward_rejected = NAN,
                          .reward_margin = NAN,
                          .reward_accuracy = NAN,
                          .logp_rejected = NAN,
                          .ratio_low = HUGE_VAL,
                          .episodes = p->episodes,
                          .reward = p->reward};
    for (size_t j = 0; j < items; j++) {
        const dm_policy_result *x = &p->results[j];
        out->loss += x->loss;
        logp += x->logp;
        kl += x->kl;
        tokens += x->tokens;
        clipped += x->clipped;
        out->ratio_low = x->ratio_low < out->ratio_low ? x->ratio_low : out->ratio_low;
        out->ratio_high = x->ratio_high > out->ratio_high ? x->ratio_high : out->ratio_high;
    }
    out->logp_chosen = logp / (double)items;
    out->kl = p->reference ? kl / (double)tokens : NAN;
    out->clipped = (double)clipped / (double)tokens;
}

/* ---- rounds ---- */

dm_status dm_run_policy_evaluate(dm_run *r, dmpo_metrics *out, dm_error *err)
{
    *out = (dmpo_metrics){.loss = NAN,
                          .reward_chosen = NAN,
                          .reward_rejected = NAN,
                          .reward_margin = NAN,
                          .reward_accuracy = NAN,
                          .logp_chosen = NAN,
                          .logp_rejected = NAN,
                          .kl = NAN,
                          .ratio_low = NAN,
                          .ratio_high = NAN,
                          .clipped = NAN};
    return r->policy->player.evaluate(r->policy->player.context, r, out, err);
}

static dm_status evaluate(dm_run *r, int64_t step, dmpo_metrics *out, dm_error *err)
{
    dm_status s = dm_run_evaluate(r, step, out, err);

    if (s != DM_OK)
        return s;
    out->peak_memory = dm_rss_peak();
    if (r->ranks.self == 0)
        s = dm_metrics_write(r, "eval", out, err);
    dm_run_event(r, DMPO_EVENT_EVAL, NULL, step, r->steps, out);
    return s;
}

/* The evaluation between two rounds, unless a stopped run made it already. */
static dm_status evaluate_if_due(dm_run *r, int64_t step, dm_train_result *result, dm_error *err)
{
    const int64_t round = step / r->steps_per_epoch, every = r->options.eval_every;
    dmpo_metrics *out = step == 0 ? &result->before : &result->after;

    if (!r->policy->player.evaluate || out->step >= step)
        return DM_OK;
    return step == 0 || step == r->steps || (every && round % every == 0) ? evaluate(r, step, out, err) : DM_OK;
}

dm_status dm_run_round(dm_run *r, int64_t round, dm_error *err)
{
    dm_run_policy *p = r->policy;
    const double start = dm_seconds();
    dm_status s = p->player.play(p->player.context, r, round, err);

    p->playing = dm_seconds() - start;
    r->memory.order_epoch = -1; /* other items */
    if (s == DM_OK && p->reference)
        s = run_reference(r, err);
    return s == DM_OK && p->critic.o.on ? dm_critic_round(r, err) : s;
}

/* Steps of batches that have no item leave a record, and nothing else. */
static dm_status learn(dm_run *r, int64_t round, dm_train_spent *spent, dm_error *err)
{
    const int64_t first = round * r->steps_per_epoch;

    for (int64_t step = first; step < first + r->steps_per_epoch; step++) {
        dmpo_metrics m;
        dm_status s = dm_run_step(r, step, &m, err);
        if (s == DM_OK && r->ranks.self == 0 && m.tokens)
            s = dm_metrics_write(r, "train", &m, err);
        if (s == DM_OK && r->ranks.self == 0)
            s = dm_run_transcript_add(r, &m, err);
        if (s != DM_OK)
            return s;
        spent->learnt += m.tokens;
        if (m.tokens)
            dm_run_event(r, DMPO_EVENT_STEP, NULL, step + 1, r->steps, &m);
    }
    return DM_OK;
}

static dm_status stopped(const dm_run *r, int64_t step, dm_error *err)
{
    return dm_ranks_fail_together(
        dm_fail(err, DM_ERR_INTERRUPTED, "stopped after round %lld of %lld; `resume` continues from %s/checkpoint",
                (long long)(step / r->steps_per_epoch), (long long)r->policy->rounds, r->options.output));
}

dm_status dm_run_rounds(dm_run *r, int64_t first, dm_train_result *result, dm_error *err)
{
    dm_run_policy *p = r->policy;
    dm_error none = {0};
    int64_t saved = first;
    dm_status s = DM_OK;

    result->steps = first;
    while (s == DM_OK && result->steps < r->steps) {
        const int64_t round = result->steps / r->steps_per_epoch, every = r->options.checkpoint_every;
        if ((s = evaluate_if_due(r, result->steps, result, err)) != DM_OK)
            break;
        const double start = dm_seconds();
        dm_run_event(r, DMPO_EVENT_PHASE, "playing", 0, (int64_t)p->items, NULL);
        if ((s = dm_run_round(r, round, err)) != DM_OK)
            break;
        result->spent.playing += p->playing;
        result->spent.episodes += p->episodes;
        result->spent.sampled += p->sampled;
        dm_run_event(r, DMPO_EVENT_PHASE, "learning", result->steps, r->steps, NULL);
        if ((s = learn(r, round, &result->spent, err)) != DM_OK || (s = dm_run_share_stop(r, err)) != DM_OK)
            break;
        result->spent.learning += dm_seconds() - start - p->playing;
        result->steps += r->steps_per_epoch;
        if (r->stop || result->steps == r->steps || (every && (round + 1) % every == 0)) {
            s = dm_checkpoint_write(r, result->steps, result, err);
            saved = result->steps;
        }
        if (s == DM_OK && r->stop && result->steps < r->steps)
            return stopped(r, result->steps, err);
    }
    if (s == DM_OK)
        s = evaluate_if_due(r, r->steps, result, err);
    if (s != DM_ERR_INTERRUPTED || !r->stop) /* a rank that does not answer is no stop */
        return s;
    if (result->steps > saved && (s = dm_checkpoint_write(r, result->steps, result, &none)) != DM_OK)
        return dm_fail(err, s, "%s", none.message);
    return stopped(r, result->steps, err);
}
