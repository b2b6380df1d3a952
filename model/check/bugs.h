/* Known mistakes as changes of a formula: one row each in model/check/bugs.c. To add one, add a row, and where no knob
 * does what it needs, a knob in model/truth/. */
#ifndef DM_MODEL_CHECK_BUGS_H
#define DM_MODEL_CHECK_BUGS_H

#include "model/truth/graph.h"

/* What a mistake turns; the numbers are its value. */
typedef enum dm_knob {
    DM_KNOB_NONE,
    DM_KNOB_EPS,        /* norm: 1 outside of the root, 2 left out; adam_w: 1 inside the root, 2 before the correction,
                       * 3 correction outside of the root, 4 no root, 5 eps twice */
    DM_KNOB_MEAN,       /* norm: 1 a sum, 2 over n - 1, 3 centred first, 4 over rows */
    DM_KNOB_UNIT,       /* norm: 1 + w instead of w, or the reverse */
    DM_KNOB_WEIGHT,     /* linear: 1 not transposed, 2 without bias, 3 without the adapter; dx: 1 W transposed; dw: 1 */
    DM_KNOB_POWER,      /* scale: to this power; 0.001: left out */
    DM_KNOB_FACTOR,     /* scale: times this */
    DM_KNOB_HIDDEN,     /* attention: scale of the hidden width */
    DM_KNOB_POSITION,   /* rope: added to positions */
    DM_KNOB_SIGN,       /* rope: turned the other way; adam_w: 1 ascent, 2 times lr twice, 3 sign of m */
    DM_KNOB_PAIRING,    /* rope: neighbours are paired */
    DM_KNOB_THETA,      /* rope: base times this; -1: no scaling of frequencies; -2: not turned */
    DM_KNOB_MASK,       /* attention: keys after the row itself that it sees; -1: without itself */
    DM_KNOB_SEGMENTS,   /* attention: all rows before it */
    DM_KNOB_WINDOW,     /* attention: window plus this; 1000: none */
    DM_KNOB_GROUPS,     /* attention: 1 kv head h modulo kv heads; derivative: 2 dk, 3 dv of a group's first head alone,
                       * 4 heads' shares added modulo kv heads, 5 the mean of a group's shares */
    DM_KNOB_SOFTCAP,    /* attention: tanh at this */
    DM_KNOB_ROUND,      /* add: inputs rounded to this many bits */
    DM_KNOB_INPUT,      /* add: 1 or 2, left out; linear_dx: this pair left out; norm_dx: the residual's gradient 3 left
                       * out, 4 twice; embed_dw: 1 the head's share, 2 the embedding's left out, 3 a token's last row
                       * alone, 4 the mean of its rows; linear_dw: 5 every item's first row left out */
    DM_KNOB_ITEMS,      /* gradients of parameters: the last item's alone */
    DM_KNOB_ACTIVATION, /* glu: 1 the other one, 2 gelu by erf, 3 relu, 4 gate and up swapped, 5 without up */
    DM_KNOB_LABEL,      /* logp: 1 the row's own token, 2 the token after the next; logits_grad: 3 without the label, 4
                         * without softmax, 5 the row's own token, 6 of the probability */
    DM_KNOB_PHI,        /* phi: see model/truth/formula_loss.c */
    DM_KNOB_LOSS,       /* score, loss: likewise */
    DM_KNOB_PROJECTION, /* norm_dx, norm_dw, attention_grad, glu_grad: see what the rows write */
    DM_KNOB_CLIP,       /* clip: 1 sum of the tensors' norms, 2 largest value, 4 without the embedding, 5 without the
                         * root, 6 root of the mean, 7 raises; adam: 1 not applied, 2 for each tensor, 3 twice */
    DM_KNOB_MOMENT, /* adam_m, adam_v: 1 without 1 - beta, 2 the other beta, 3 decay in the gradient, 4 v of g, 5 g in
                         * bf16, 6 -g, 7 v of m, 8 v of |g|, 9 v of the tensor's mean */
    DM_KNOB_CORRECTION, /* adam_w: added to t; 1000 none, 1001 of m alone, 1002 of v alone, 1003 swapped */
    DM_KNOB_DECAY       /* adam_w: 1 left out, 2 not times lr, 3 added, 4 of the step */
} dm_knob;

typedef struct dm_bug {
    const char *name;
    const char *changes; /* what it changes, for people */
    const char *written; /* the formula with the mistake */
    dm_formula formula;
    dm_knob knob;
    double value;
} dm_bug;

extern const dm_bug dm_bugs[];
extern const size_t dm_bugs_count;

/* Not a row: the outputs are the right ones times a number (dm_finding.factor). */
extern const dm_bug dm_bug_scaled;

#endif
