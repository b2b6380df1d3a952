/* One item through the network: log-probabilities, loss, coefficients, gradient. */
#ifndef DM_MODEL_LOSS_OBJECTIVE_H
#define DM_MODEL_LOSS_OBJECTIVE_H

#include "model/loss/loss.h"
#include "model/network/network.h"

/* Room for the per-token values of one item, placed once. */
typedef struct dm_objective {
    float *logp[2]; /* [actions] of chosen, rejected: policy */
    double *weight; /* [predictions] dL/dlogp, summed over the sides of a shared prefix */
    float *coef;    /* [predictions] the same, rounded once */
} dm_objective;

void dm_objective_place(dm_objective *o, dm_arena *arena, const dm_pack_size *max);

/* Forward: o->logp of both sides from the pack. */
void dm_objective_forward(dm_objective *o, dm_network *n, const float *w, const dm_pack *pack);

/* Log-probabilities of the reference's action tokens for chosen and rejected; second: of the second one, or NULL. */
typedef struct dm_objective_reference {
    const float *first[2], *second[2];
} dm_objective_reference;

/* The scores of the pack just run forward (dm_loss_pair_scores). */
void dm_objective_scores(const dm_objective *o, const dm_loss_options *loss, const dm_pack *pack,
                         const dm_objective_reference *reference, double s[2]);

/* Preference loss of the pack just run forward. `batch` as dm_loss_pair_of. Fills o->coef when gradient != 0. */
dm_loss_pair dm_objective_pair(dm_objective *o, const dm_loss_options *loss, const dm_pack *pack,
                               const dm_objective_reference *reference, const dm_loss_batch *batch, bool gradient);

/* Negative log-likelihood (summed, nats) of the chosen side; coefficients are -1/tokens. */
double dm_objective_sft(dm_objective *o, const dm_pack *pack, size_t tokens);

/* Adds the gradient of the coefficients to dw. */
void dm_objective_backward(dm_objective *o, dm_network *n, const float *w, float *dw, const dm_pack *pack);

/* The view of one side that the loss functions take. */
dm_loss_side dm_objective_side(const dm_objective *o, const dm_pack *pack, int side, const float *reference);

#endif
