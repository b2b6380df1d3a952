/* Log-probabilities of given trajectories: a run that only goes forward. */
#include <math.h>
#include <stdlib.h>

#include "core/numbers/numeric.h"
#include "model/api.h"
#include "model/train/train.h"

static dm_status check_finite(const char *who, const float *logp, size_t n, const dmpo_scored *s, dm_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(logp[i]))
            return dm_fail(err, DM_ERR_NONFINITE, "item '%s', %s: the %s's log-probability of action token %zu is %s",
                           s->id, s->side, who, i, isnan(logp[i]) ? "NaN" : "infinite");
    return DM_OK;
}

/* Sums over the turns; action tokens lie turn after turn. */
static void sum_turns(const dm_data_trajectory *t, const float *logp, const float *reference, dmpo_turn *turn)
{
    for (size_t k = 0; k < t->n_turns; k++) {
        const size_t n = t->turns[k].end - t->turns[k].begin;
        turn[k] = (dmpo_turn){.begin = t->turns[k].begin, .end = t->turns[k].end};
        for (size_t i = 0; i < n; i++) {
            turn[k].logp += (double)logp[i];
            turn[k].reference_logp += reference ? (double)reference[i] : 0.0;
        }
        logp += n;
        reference = reference ? reference + n : NULL;
    }
}

/* Side `side` of item `index`, which has just been run forward. */
static dm_status report_side(const dm_run *r, size_t index, int side, dmpo_turn *turn, dmpo_scored *out, dm_error *err)
{
    const dm_data_item *item = &r->train.data.items[index];
    const dm_data_trajectory *t = side ? &item->rejected : &item->chosen;
    const float *reference =
        r->train.reference.logp ? r->train.reference.logp + r->train.reference.begin[2 * index + (size_t)side] : NULL;
    const dm_loss_side view = dm_objective_side(&r->memory.objective, &r->memory.pack, side, reference);

    *out = (dmpo_scored){.item = (int64_t)index,
                         .id = item->id,
                         .ids = t->ids,
                         .tokens = t->n,
                         .actions = view.n,
                         .side = side                  ? "rejected"
                                 : r->train.data.pairs ? "chosen"
                                                       : "sft",
                         .turn = turn,
                         .turns = t->n_turns,
                         .logp = view.logp,
                         .reference_logp = reference,
                         .reward = NAN};
    dm_status s = check_finite("policy", view.logp, view.n, out, err);
    if (s == DM_OK && reference)
        s = check_finite("reference", reference, view.n, out, err);
    if (s != DM_OK)
        return s;
    sum_turns(t, view.logp, reference, turn);
    out->logp_sum = dm_loss_side_logp(&view);
    if (!reference)
        return DM_OK;
    out->reference_logp_sum = dm_loss_side_logp(&(dm_loss_side){.n = view.n, .logp = reference});
    if (r->options.objective != DM_OBJECTIVE_SFT)
        out->reward = r->loss.beta * dm_loss_side_score(&r->loss, &view);
    return DM_OK;
}

/* The item whose pack was built, on its rank: rank 0 gets every one's log-probabilities. */
static dm_status compute(dm_run *r, size_t item, dm_error *err)
{
    static const char what[] = "log-probabilities of an item";
    const unsigned owner = (unsigned)(item % r->ranks.count), self = r->ranks.self;
    dm_status s = DM_OK;

    if (self == owner)
        dm_objective_forward(&r->memory.objective, &r->memory.network, r->memory.weights, &r->memory.pack);
    for (int side = 0; side < 2 && s == DM_OK && owner > 0 && (self == owner || self == 0); side++) {
        float *logp = r->memory.objective.logp[side];
        const size_t bytes = r->memory.pack.side[side].n * sizeof *logp;
        s = self ? dm_ranks_send(0, DM_RANK_ITEMS, logp, bytes, what, err)
                 : dm_ranks_receive(owner, DM_RANK_ITEMS, logp, bytes, what, err);
    }
    return s;
}

static dm_status score_items(dm_run *r, dmpo_turn *turn, dmpo_score_fn score, void *context, dm_error *err)
{
    const int sides = r->train.data.pairs ? 2 : 1;

    dm_run_event(r, DMPO_EVENT_PHASE, "scoring", 0, (int64_t)r->train.data.n, NULL);
    for (size_t i = 0; i < r->train.data.n; i++) {
        dm_pack_build(&r->memory.pack, &r->train.data.items[i], r->options.share_prefix);
        const dm_status computed = compute(r, i, err);
        if (computed != DM_OK)
            return computed;
        for (int side = 0; side < sides && r->ranks.self == 0; side++) {
            if (r->memory.pack.side[side].n == 0) /* of a completion with a label */
                continue;
            dmpo_scored scored;
            const dm_status s = report_side(r, i, side, turn, &scored, err);
            if (s != DM_OK)
                return s;
            if (score(context, &scored))
                r->stop = 1;
        }
        dm_run_event(r, DMPO_EVENT_PROGRESS, NULL, (int64_t)i + 1, (int64_t)r->train.data.n, NULL);
        if (r->stop && i + 1 < r->train.data.n)
            return dm_fail(err, DM_ERR_INTERRUPTED, "stopped after %zu of %zu items", i + 1, r->train.data.n);
    }
    return DM_OK;
}

static size_t most_turns(const dm_dataset *data)
{
    size_t most = 0;
    for (size_t i = 0; i < data->n; i++) {
        const dm_data_item *item = &data->items[i];
        most = item->chosen.n_turns > most ? item->chosen.n_turns : most;
        most = item->rejected.n_turns > most ? item->rejected.n_turns : most;
    }
    return most;
}

static dm_status run_score(dm_run *r, dmpo_score_fn score, void *context, dm_error *err)
{
    dm_status s;

    if ((s = dm_run_agree(r, dm_run_place(r, err), err)) != DM_OK || (s = dm_run_reference(r, err)) != DM_OK)
        return s;
    if (r->options.reference && !r->models.same_base[0] && /* it ran in the policy's place */
        (s = dm_loaded_model_read_base(r->memory.weights, &r->models.layout, &r->models.policy, err)) != DM_OK)
        return s;
    dmpo_turn *turn = calloc(most_turns(&r->train.data), sizeof *turn);
    if (!turn)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the sums of %zu turns", most_turns(&r->train.data));
    s = score_items(r, turn, score, context, err);
    free(turn);
    return s;
}

dmpo_status dm_score(dmpo_engine *engine, const dm_train_options *options, dmpo_score_fn score, void *score_context,
                     dmpo_event_fn event, void *event_context, dmpo_error *error)
{
    dm_error err = {0};
    dm_train_options o = *options;
    dm_run run;

    o.eval_data = NULL;
    if (o.reference2)
        return dm_api_report(
            error, dm_fail(&err, DM_ERR_ARGUMENT, "scores are against one reference; leave `reference2` out"), &err);
    dm_status s = dm_run_open_score(&run, &engine->e, &o, event, event_context, &err);
    s = dm_run_agree(&run, s, &err);
    if (s == DM_OK)
        s = run_score(&run, score, score_context, &err);
    dm_run_close(&run);
    return dm_api_report(error, s, &err);
}

dmpo_status dmpo_score(dmpo_engine *engine, const dmpo_train_options *options, dmpo_score_fn score, void *score_context,
                       dmpo_event_fn event, void *event_context, dmpo_error *error)
{
    return dm_score(engine, dm_train_options_values(options), score, score_context, event, event_context, error);
}
