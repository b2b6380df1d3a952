/* Policy gradients: from the log-probabilities of sampled tokens and their advantages to a coefficient for each token.
 * docs/losses.md, "Learning while acting", gives each formula and its source. All arithmetic in f64 with the engine's
 * own functions, sums in token order. */
#ifndef DM_MODEL_LOSS_POLICY_H
#define DM_MODEL_LOSS_POLICY_H

#include <stdbool.h>
#include <stddef.h>

/* How a group's rewards become advantages. AUTO: by the objective, here and below. */
typedef enum dm_policy_baseline {
    DM_BASELINE_AUTO,
    DM_BASELINE_MEAN_STD,      /* (R - mean) / deviation with n - 1: GRPO */
    DM_BASELINE_MEAN,          /* R - mean: Dr. GRPO */
    DM_BASELINE_LEAVE_ONE_OUT, /* R - mean of the group's other rewards: RLOO */
    DM_BASELINE_NONE           /* R */
} dm_policy_baseline;

/* What is clipped: the ratio of each token's probability to that when it was sampled; the geometric mean of a
 * trajectory's (GSPO); none: the log-probability itself is weighed (REINFORCE); the product of a turn's, the ratio of
 * its probability. */
typedef enum dm_policy_ratio {
    DM_RATIO_AUTO,
    DM_RATIO_TOKEN,
    DM_RATIO_SEQUENCE,
    DM_RATIO_NONE,
    DM_RATIO_TURN
} dm_policy_ratio;

/* The weight of a token in the batch's loss, N trajectories of n_i tokens: 1 / (N n_i); 1 / sum of n_i; 1 / N. With
 * the ratio of turns n_i counts turns, and the weight is that of a turn. */
typedef enum dm_policy_aggregate {
    DM_AGGREGATE_AUTO,
    DM_AGGREGATE_MEAN,
    DM_AGGREGATE_TOKEN,
    DM_AGGREGATE_SUM
} dm_policy_aggregate;

typedef struct dm_policy_options {
    dm_policy_baseline baseline;
    dm_policy_ratio ratio;
    dm_policy_aggregate aggregate;
    double clip_low, clip_high; /* the ratio counts within [1 - clip_low, 1 + clip_high] */
    double kl;                  /* weight of the divergence from the reference; 0: no divergence */
} dm_policy_options;

/* Advantages of n rewards of one group: all 0 where the rewards are equal. */
void dm_policy_advantages(dm_policy_baseline baseline, const double *reward, size_t n, double *advantage);
bool dm_policy_equal(const double *reward, size_t n);

typedef struct dm_policy_trajectory {
    size_t n;
    const float *logp;       /* [n] now, nats */
    const float *old;        /* [n] when they were sampled */
    const float *reference;  /* [n] under the reference; NULL where kl is 0 */
    const double *advantage; /* [n] NaN: a token that the policy did not choose, which counts nowhere */
    const size_t *turn_of;   /* [n] ascending number of each token's turn; NULL unless the ratio is of turns */
} dm_policy_trajectory;

typedef struct dm_policy_batch {
    size_t trajectories, tokens; /* that count, of the whole batch; with the ratio of turns, turns in place of tokens */
} dm_policy_batch;

typedef struct dm_policy_result {
    double loss;                  /* the trajectory's part: the batch's loss is the sum of these */
    double kl;                    /* sum over its tokens of exp(d) - d - 1, d = reference - logp (Schulman's k3) */
    double ratio_low, ratio_high; /* of its tokens */
    size_t tokens, clipped;       /* that count; of these, those whose gradient the clip removes */
    double logp;                  /* sum over its tokens */
} dm_policy_result;

/* How many of the tokens count. */
size_t dm_policy_tokens(const double *advantage, size_t n);
/* How many turns have one that counts. */
size_t dm_policy_turns(const double *advantage, const size_t *turn_of, size_t n);

/* Loss of one trajectory, options without AUTO, and its derivatives by each log-probability to slope[n]. At old ==
 * logp every ratio is exactly 1, at reference == logp the divergence and its derivative exactly 0. */
dm_policy_result dm_policy_loss(const dm_policy_options *o, const dm_policy_trajectory *t, const dm_policy_batch *batch,
                                double *slope);

#endif
