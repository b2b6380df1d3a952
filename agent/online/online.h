/* Learning while acting: groups of episodes are played with the current policy, their rewards become advantages, the
 * policy learns from them, and so on (model/train/rounds.h). docs/losses.md, "Learning while acting", has the
 * formulas. */
#ifndef DM_AGENT_ONLINE_ONLINE_H
#define DM_AGENT_ONLINE_ONLINE_H

#include "agent/env/env.h"
#include "core/text.h"
#include "core/files/scratch.h"
#include "model/loss/policy.h"
#include "model/train/train.h"
#include "model/train/verify.h"

/* Each is a choice of baseline, ratio and aggregate, each of which has an option that overrides it; GiGPO also compares
 * steps that begin in the same state, and PPO has a critic in place of groups, of tokens or of turns. */
typedef enum dm_online_objective {
    DM_ONLINE_RLOO,
    DM_ONLINE_GRPO,
    DM_ONLINE_GIGPO,
    DM_ONLINE_PPO,
    DM_ONLINE_PPO_TURN
} dm_online_objective;

extern const char *const dm_online_objective_names[]; /* NULL-terminated, as are the next three */
extern const char *const dm_online_baseline_names[], *const dm_online_ratio_names[], *const dm_online_aggregate_names[];

typedef struct dm_online_options {
    const char *env;
    int objective;                          /* dm_online_objective */
    int split;                              /* dm_env_split, of the tasks that are learnt from */
    int64_t pool;                           /* the first so many tasks of the split are learnt from; 0: all */
    int64_t rounds, tasks, samples, passes; /* a round: `samples` episodes of each of `tasks` tasks, learnt from in
                                             * `passes` passes */
    uint64_t env_seed;
    int baseline, ratio, aggregate; /* of model/loss/policy.h */
    double clip_low, clip_high;     /* clip_high 0: as clip_low */
    double kl;
    bool drop_equal;    /* groups whose rewards are all equal are left out, instead of weighing 0 (DAPO) */
    int64_t resample;   /* so often further tasks are played in their place, at most */
    double step_weight; /* GiGPO: of the advantages of steps beside those of episodes */
    double discount;    /* GiGPO, PPO: of later rewards; negative: as the objective has it */
    double lambda;      /* PPO: of later errors of the values; negative: likewise */
    double value_weight, value_clip, value_lr; /* PPO, of model/train/critic.h */
    bool value_trunk;
    int64_t max_turns, max_tokens, at_once; /* as of dm_rollout_options */
    int eval_split;
    int64_t eval_tasks; /* held-out tasks, played greedily; 0: none */
} dm_online_options;

void dm_online_defaults(dm_online_options *o);

/* `train`: model, output, what decides the optimizer and where it runs; its data is not read. The output directory is
 * that of dmpo_train, and OUTPUT/episodes.jsonl has the episodes of the last round. */
dmpo_status dm_online(dmpo_engine *engine, const dm_online_options *options, const dm_train_options *train,
                      dmpo_event_fn event, void *context, dm_train_result *result, dmpo_error *error);

/* Computes steps of such a run again, as dm_verify_run: v->policy is not read. */
dm_status dm_online_verify(dmpo_engine *engine, const dm_online_options *options, const dm_train_options *train,
                           const dm_verify_options *v, const char *root, dm_verify_fn fn, void *context,
                           dmpo_event_fn event, void *event_context, dm_verify_result *result, dm_error *err);

/* ---- agent/online/online_ranks.c ---- */

typedef struct dm_online_copy { /* of a file of rank 0's, on another rank */
    dm_scratch beside;          /* rank 0: none */
    dm_path file;               /* in it */
} dm_online_copy;

/* Sends rank 0's `file` to all. *here: where this rank has it, until the copy is closed, after a failure too. */
dm_status dm_online_copy_open(dm_online_copy *c, const char *file, const char **here, dm_error *err);
void dm_online_copy_close(dm_online_copy *c);

/* What memory that run will need, as dm_plan_train; nothing is played. */
dmpo_status dm_online_plan(dmpo_engine *engine, const dm_online_options *options, const dm_train_options *train,
                           dmpo_plan *plan, dmpo_error *error);

/* ---- agent/online/resample.c ---- */

/* Appends the lines of a file's groups of `samples` episodes whose rewards differ to kept, until *groups is `most`. */
dm_status dm_online_keep(const char *path, size_t samples, size_t most, dm_text *kept, size_t *groups, dm_error *err);

/* ---- agent/online/advantage.c ---- */

struct dm_episodes;

/* Advantages of the turns of all episodes, NaN for one that is left out, to advantage[e][turn]: arrays of the caller.
 * Episodes of one task are a group. */
typedef struct dm_online_group {
    const struct dm_episode *const *episode; /* [n] */
    double *const *advantage;                /* [n][turns of the episode] */
    size_t n;
} dm_online_group;

/* In place of them each turn's reward, what it adds to the score. */
void dm_online_rewards(const dm_online_group *group);

double dm_online_discount(const dm_online_options *o); /* the objective's own, unless it is given */

dm_status dm_online_advantages(const dm_online_options *o, dm_policy_baseline baseline, const dm_online_group *group,
                               dm_error *err);

#endif
