/* Learning while acting: a run whose items are played, round after round, with the policy as it is then.
 *
 * A round asks its player for trajectories with advantages, computes the reference's log-probabilities of them, and
 * makes `passes` passes over them in batches. Nothing here knows what an environment is: the player is the caller's
 * (agent/online/online.h). A checkpoint stands between two rounds; what was played after it is played again, to the
 * same bits. */
#ifndef DM_MODEL_TRAIN_ROUNDS_H
#define DM_MODEL_TRAIN_ROUNDS_H

#include "model/loss/policy.h"
#include "model/train/critic.h"
#include "model/train/run.h"

typedef struct dm_run_player {
    void *context;
    /* Plays round `round` with r's weights: puts the items, at most policy->items, into r->train.data (what it held is
     * closed) and what sampling said and the advantages into policy->old and ->advantage, item after item; with a
     * critic, rewards of tokens in place of advantages. Items with nothing to learn may be left out. Fills
     * policy->episodes, ->sampled and ->reward. A caller that asks to stop makes it return DM_ERR_INTERRUPTED, on all
     * ranks. */
    dm_status (*play)(void *context, dm_run *r, int64_t round, dm_error *err);
    /* Plays held-out tasks: fills out->episodes, ->reward and ->seconds. NULL: no held-out tasks. */
    dm_status (*evaluate)(void *context, dm_run *r, dmpo_metrics *out, dm_error *err);
    dm_status (*begin)(void *context, dm_run *r, dm_error *err); /* the run is placed */
    void (*end)(void *context);                                  /* before it is closed */
} dm_run_player;

typedef struct dm_run_policy {
    dm_policy_options o; /* without AUTO */
    const char *place;   /* where the player writes its files; NULL: the run's output directory */
    dm_critic critic;    /* its options; placed like the rest */
    dm_run_player player;
    const char *identity; /* whatever else decides the numbers, as text */
    size_t items;         /* most trajectories of a round */
    size_t actions;       /* most action tokens of one */
    size_t
        sampling_bytes; /* that the player needs beside the arena, for the plan; it is set when the tokenizer is open */
    size_t (*measure)(void *context, const dm_run *r); /* gives them */
    int64_t rounds, passes;

    /* placed; item i has [begin[i], begin[i + 1]) of the first three */
    float *old, *reference;          /* [items * actions]; reference NULL where o.kl is 0 */
    double *advantage;               /* likewise; NaN: not chosen by the policy */
    size_t *begin;                   /* [items + 1] */
    double *slope;                   /* [actions] */
    float *initial;                  /* like the run's trained floats: the reference; NULL where o.kl is 0 */
    dm_policy_result *results, last; /* [batch]; of the item at hand */
    dm_policy_batch batch;

    /* of the round; digest: of the file of its episodes, where r is rank 0 */
    dm_digest digest;
    double playing;            /* seconds */
    int64_t episodes, sampled; /* sampled: tokens */
    double reward;
} dm_run_policy;

dm_status dm_run_open_policy(dm_run *r, const dm_engine *e, const dm_train_options *o, dm_run_policy *policy,
                             dmpo_event_fn event, void *context, dm_error *err);

/* As dm_train, with a player in place of data (model/train/train.c). */
dmpo_status dm_train_policy(dmpo_engine *engine, const dm_train_options *options, dm_run_policy *policy,
                            dmpo_event_fn event, void *context, dm_train_result *result, dmpo_error *error);

dmpo_status dm_plan_policy(dmpo_engine *engine, const dm_train_options *options, dm_run_policy *policy, dmpo_plan *plan,
                           dmpo_error *error);

/* ---- for the stages of a run ---- */
dm_status dm_run_open_rounds(dm_run *r, dm_error *err); /* in place of dm_run_open_data */
void dm_run_place_policy(dm_run *r, dm_arena *a, size_t batch);
dm_status dm_run_begin_rounds(dm_run *r, dm_error *err); /* keeps the initial policy, the reference */
void dm_run_end_rounds(dm_run *r);
/* Ready for the steps of round `round`: plays it with the weights as they are, then runs what its items need from the
 * reference and the critic. */
dm_status dm_run_round(dm_run *r, int64_t round, dm_error *err);
/* Held-out tasks under the current weights; all members are set, step and epoch to 0. */
dm_status dm_run_policy_evaluate(dm_run *r, dmpo_metrics *out, dm_error *err);
/* Rounds from step `first`, the beginning of one. */
dm_status dm_run_rounds(dm_run *r, int64_t first, dm_train_result *result, dm_error *err);

/* For model/train/step.c: the batch that begins; the loss of the item just run forward, with its coefficients for the
 * backward pass; the means of a batch's results. */
void dm_run_policy_batch(dm_run *r, const uint32_t *items, size_t n);
double dm_run_policy_item(dm_run *r, size_t shard, uint32_t index);
void dm_run_policy_means(const dm_run *r, size_t items, dmpo_metrics *out);

#endif
