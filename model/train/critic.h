/* The critic of a run of rounds: the value of a state is one linear function of the network's last hidden state, after
 * its norm, at the position that predicts the next token. Its weights begin at 0 and have an optimizer of their own;
 * all in f64, sums in order; its gradient adds up by shards as the network's (model/train/shards.h). On several ranks
 * values and gradients are divided by items, and each rank has all weights. */
#ifndef DM_MODEL_TRAIN_CRITIC_H
#define DM_MODEL_TRAIN_CRITIC_H

#include "model/loss/policy.h"
#include "model/train/run.h"

typedef struct dm_critic_options {
    bool on;
    bool by_turn;                              /* the states are those before turns, not those before tokens */
    bool trunk;                                /* the network learns from the values' loss, too */
    double discount, lambda, weight, clip, lr; /* of dm_value_gae; of the loss; 0: no clip; the weights' own rate */
} dm_critic_options;

typedef struct dm_critic {
    dm_critic_options o;
    size_t width; /* hidden + 1: the last weight is the constant */

    /* placed */
    double *weight, *mean, *square; /* [width] each, one after another; AdamW's moments */
    double *slope;                  /* [shards][width] gradient of the batch */
    double *old, *target;           /* of each action token, like dm_run_policy's; target NaN: no state that counts */
    double *room;                   /* [4 * actions] */
    float *value_slope, *trunk;     /* [actions] predictions, [hidden]: for dm_network */
    size_t states;                  /* of the batch */
} dm_critic;

void dm_critic_place(dm_critic *c, dm_arena *a, size_t hidden, size_t shards, size_t items, size_t actions);

/* Back to the weights before the first step. */
void dm_critic_restart(dm_critic *c);

/* With policy->advantage holding each token's reward (NaN: not chosen): values of all states under the weights as they
 * are, advantages by GAE in place of the rewards, targets; then the advantages are centred over the round's states, as
 * the baseline says. */
dm_status dm_critic_round(dm_run *r, dm_error *err);

void dm_critic_batch(dm_run *r, const uint32_t *items, size_t n);
/* The loss of the values of the item just run forward; adds to its shard's gradient, and sets the network's. */
double dm_critic_item(dm_run *r, size_t shard, uint32_t index);
/* After a batch of n items. factor: of the learning rate; step from 1. */
dm_status dm_critic_update(dm_run *r, size_t n, double factor, int64_t step, dm_error *err);

#endif
