/* Statistics of episodes: the reward of a policy, its uncertainty, and the difference to another policy.
 *
 * Tasks are what is drawn at random, so intervals are over tasks: a task's value is the mean over its samples, the
 * interval that of Student's t distribution. Computed without libm: every digit is the same on every machine. */
#ifndef DM_AGENT_ROLLOUT_EVAL_H
#define DM_AGENT_ROLLOUT_EVAL_H

#include "agent/rollout/episode.h"

typedef struct dm_estimate {
    double mean;
    double half; /* the 95 % interval is mean - half to mean + half; NaN with fewer than two values */
    size_t n;
} dm_estimate;

dm_estimate dm_estimate_of(const double *x, size_t n); /* n == 0: mean NaN */

typedef struct dm_eval_task {
    const dm_episode *first;             /* an episode of it: says which task it is */
    double reward, best, worst, success; /* mean, largest, smallest reward of its samples; share with reward 1 */
    size_t samples;
} dm_eval_task;

typedef struct dm_eval {
    size_t episodes, tasks;
    size_t fewest, most; /* samples of a task */
    dm_estimate reward, success, best, worst;
    double turns, tokens;        /* an episode, means; tokens that the policy generated */
    size_t end[DM_EPISODE_ENDS]; /* number of episodes that ended in each way */
    double *by_turn;             /* [turn_limit + 1] mean score after so many turns, episodes that have ended with their
                           * reward; after 0 turns it is taken to be 0 */
    size_t turn_limit;           /* the longest episode's turns */
    dm_eval_task *task;          /* [tasks] ordered by environment, split, task and seed */
} dm_eval;

/* Refers to the episodes, which must outlive it. */
dm_status dm_eval_make(dm_eval *out, const dm_episodes *episodes, dm_error *err);
void dm_eval_free(dm_eval *e); /* fine on a zeroed struct */

/* Mean reward of `a` less that of `b`, task by task, over the tasks that both have. */
dm_status dm_eval_difference(dm_estimate *out, const dm_eval *a, const dm_eval *b, dm_error *err);

#endif
