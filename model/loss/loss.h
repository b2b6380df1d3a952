/* The preference losses as functions of scalars: from per-token log-probabilities to a coefficient for each action
 * token.
 *
 * DMPO (arXiv 2406.14868, equations 14, 15 and the authors' code): for a trajectory with T turns,
 *     s = sum_t phi(t, T) * l_t,   l_t = sum over the turn's tokens of (log pi - log pi_ref),
 *     phi(t, T) = gamma^t (1 - gamma^(T-t)) / (1 - gamma^T);  gamma = 1: (T-t)/T;  gamma = 0: phi(0) = 1, else 0.
 * dmpo-token counts action tokens instead of turns; dpo and kto have phi = 1. The printed form drops gamma^t.
 * All arithmetic in f64 with the engine's own functions, sums in token order. docs/losses.md gives each formula. */
#ifndef DM_MODEL_LOSS_LOSS_H
#define DM_MODEL_LOSS_LOSS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

/* In the order of their names in model/train/options.c; the numbers are in the identity of runs. */
typedef enum dm_objective_kind {
    DM_OBJECTIVE_SFT,
    DM_OBJECTIVE_DMPO,
    DM_OBJECTIVE_DMPO_TOKEN,
    DM_OBJECTIVE_DPO,
    DM_OBJECTIVE_KTO
} dm_objective_kind;
typedef enum dm_loss_link {
    DM_LINK_SIGMOID,
    DM_LINK_ROBUST,
    DM_LINK_HINGE,
    DM_LINK_IPO,
    DM_LINK_KTO_PAIR,
    DM_LINK_APO_ZERO,
    DM_LINK_APO_DOWN,
    DM_LINK_NCA_PAIR,
    DM_LINK_SPPO_HARD,
    DM_LINK_EXO_PAIR,
    DM_LINK_BCO_PAIR,
    DM_LINK_DISCOPOP,
    DM_LINK_SIMPO, /* without a reference, per token */
    DM_LINKS
} dm_loss_link;
typedef enum dm_loss_phi { /* gamma^t (1-gamma^(T-t)) / (1-gamma^T), or without gamma^t */
                           DM_PHI_CODE,
                           DM_PHI_PRINTED
} dm_loss_phi;
typedef enum dm_alpha_mode { DM_ALPHA_ADAPTIVE, DM_ALPHA_FIXED } dm_alpha_mode;
typedef enum dm_alpha_pairing { DM_PAIRING_OWN, DM_PAIRING_CROSSED } dm_alpha_pairing;

typedef struct dm_loss_options {
    dm_objective_kind objective;
    dm_loss_link link;
    dm_loss_phi phi;
    double beta, gamma, label_smoothing, sft_weight;
    bool length_normalised;
    double margin, temperature; /* of simpo and discopop */
    bool mixed;                 /* the loss is the sum of the links by these weights, whatever `link` */
    double mix[DM_LINKS];
    double desirable_weight, undesirable_weight; /* kto */
    bool two_references;                         /* what follows counts */
    dm_alpha_mode alpha_mode;
    double alpha;
    dm_alpha_pairing alpha_pairing;
    double trust_region;
} dm_loss_options;

/* Refuses values outside their legal range, naming option, value and range. */
dm_status dm_loss_check(const dm_loss_options *o, dm_error *err);

/* phi(t, T); 1 for T == 1. 1 - gamma^n by expm1/log1p, so gamma near 1 loses nothing. 0 <= t < T. */
double dm_loss_phi_of(dm_loss_phi form, double gamma, size_t t, size_t T);

/* One side of a pair (or an SFT trajectory). */
typedef struct dm_loss_side {
    size_t n;              /* action tokens */
    const size_t *turn_of; /* [n] ascending turn number of each token, 0 .. turns-1 */
    size_t turns;
    const float *logp;      /* [n] policy, nats */
    const float *reference; /* [n] reference; NULL in SFT */
    const float *second;    /* [n] second reference; NULL: there is one */
} dm_loss_side;

/* Weight of token i in s: phi of its turn (or of i), over n when length_normalised, and with simpo. */
double dm_loss_token_weight(const dm_loss_options *o, const dm_loss_side *side, size_t i);

typedef struct dm_loss_pair {
    double loss; /* nats, of this pair, SFT term included; mean over the batch is the batch's */
    double reward_chosen, reward_rejected; /* beta * s */
    double logp_chosen, logp_rejected;     /* plain sums over the action tokens */
    double d_chosen, d_rejected;           /* dL/ds of each side for the mean over the batch (1/pairs included) */
} dm_loss_pair;

/* s of one side, against `reference`. */
double dm_loss_side_score(const dm_loss_options *o, const dm_loss_side *side);
double dm_loss_side_logp(const dm_loss_side *side); /* sum of logp, token order, f64 */

/* s of both sides, chosen first. With second references against the mixture of both (model/loss/loss_mixture.c). */
void dm_loss_pair_scores(const dm_loss_options *o, const dm_loss_side *chosen, const dm_loss_side *rejected,
                         double s[2]);

/* Two references (MRPO, arXiv 2405.16388). first[side], second[side]: the weighted sums of their log-probabilities of
 * chosen and rejected. shift[side] becomes log mixture - first[side], where
 *     log mixture = -log(a_1 exp(-first) + a_2 exp(-second')),   second' = second, clipped to first (1 +- band(side)).
 */
void dm_loss_mixture_shifts(const dm_loss_options *o, const double first[2], const double second[2], double shift[2]);

/* What kto-pair needs of every pair before any gradient. Its divergences max(mean s, 0) are functions of the policy and
 * pass gradients, as in TRL's code (the golden gradient norms are those). kto's, from other sequences, is a constant.
 * The rest reads `pairs` only: the items of the batch. */
typedef struct dm_loss_batch {
    size_t pairs;
    double mean_chosen, mean_rejected;   /* of s (log-ratios, not rewards) */
    double slope_chosen, slope_rejected; /* sums of sigmoid' over the pairs' chosen and rejected terms */
    double kl;                           /* kto: dm_loss_kl_estimate of the batch */
    size_t examples;                     /* kto: sides, whose mean the loss is; 0: two of every pair */
} dm_loss_batch;

/* From all scores of a batch, pairs >= 1; sums in their order. For links that do not need them the scores may be
 * NULL. */
dm_loss_batch dm_loss_batch_of(const dm_loss_options *o, const double *s_w, const double *s_l, size_t pairs);

/* max(0, mean log-ratio of the batch's mismatched sequences), from their sum; 0 when there are none. NaN stays NaN. */
double dm_loss_kl_estimate(double sum, size_t sequences);

/* False for simpo: its scores are those against a reference whose log-probabilities are all 0. */
bool dm_loss_needs_reference(const dm_loss_options *o);

/* True for kto: its kl comes from mismatched sequences (model/loss/mismatch.h). */
bool dm_loss_needs_mismatched(const dm_loss_options *o);

/* True when gradients need dm_loss_batch of the whole batch first (kto-pair): the trainer then runs every pair
 * forward, and again with gradients. */
bool dm_loss_needs_batch(const dm_loss_options *o);

/* Loss and derivatives of one pair from its scores s_w, s_l. Does not include the SFT term. */
dm_loss_pair dm_loss_pair_of(const dm_loss_options *o, double s_w, double s_l, const dm_loss_batch *batch);

/* kto: those of a completion with a label, from its score. What belongs to the other side is 0. The sum over a batch
 * of `loss`, with that of pairs, divided by its items is the mean over its examples. */
dm_loss_pair dm_loss_labelled_of(const dm_loss_options *o, double s, bool desirable, const dm_loss_batch *batch);

#endif
