/* One training step as a list of operations on named tensors, in execution order: what a trace holds (docs/trace.md).
 *
 * The list follows from the model's configuration, the items of the batch, how they are packed, and the options of loss
 * and optimizer. An operation says which formula (model/truth/formula.h) makes its outputs from its inputs. */
#ifndef DM_MODEL_TRUTH_GRAPH_H
#define DM_MODEL_TRUTH_GRAPH_H

#include "io/data/dataset.h"
#include "model/loss/loss.h"
#include "model/network/lora.h"
#include "model/network/pack.h"
#include "model/train/optimizer.h"

/* inputs -> outputs; ids, positions and segments are those of the operation's item */
typedef enum dm_formula {
    DM_FORMULA_TOKENS,    /* -> ids [R], position [R] */
    DM_FORMULA_EMBED,     /* W [V, d] -> scale * W[ids] [R, d] */
    DM_FORMULA_NORM,      /* x [R, n*group], w [group] -> x / sqrt(mean x^2 + eps) * w, a group at a time */
    DM_FORMULA_LINEAR,    /* x [R, k], W [n, k] (, bias [n]) (, us [R, r], B [n, r]) -> x W^T + bias + us B^T */
    DM_FORMULA_LORA_DOWN, /* x [R, k], A [r, k] -> scale * x A^T */
    DM_FORMULA_ROPE,      /* x -> every head turned by its row's position, halves paired */
    /* q, k, v -> softmax(scale * q k^T) v; maximum and log-sum-exp [R, heads] of scale * q k^T */
    DM_FORMULA_ATTENTION,
    DM_FORMULA_GATHER,      /* x [R, n] -> the predictions' rows [P, n] */
    DM_FORMULA_ADD,         /* a, b -> a + b */
    DM_FORMULA_GLU,         /* gate, up -> act(gate) * up */
    DM_FORMULA_LOGP,        /* logits [P, V] -> logits[target] - log-sum-exp [P] */
    DM_FORMULA_PHI,         /* -> the weight of every token, chosen [n], rejected [n]; 0 outside of turns */
    DM_FORMULA_SCORE,       /* logp [P], phi x 2, reference x 2 (, second x 2) -> s of both sides, sums of logp [4] */
    DM_FORMULA_LOSS,        /* score of each item, (kl [1]) -> loss [1], dL/ds [items, 2] */
    DM_FORMULA_COEF,        /* dL/ds, phi x 2 -> dL/dlogp [P] */
    DM_FORMULA_LOGITS_GRAD, /* logits, dL/dlogp -> dL/dlogp * (onehot(target) - softmax(logits)) */
    DM_FORMULA_LINEAR_DX,   /* (dy [R, n], W [n, k]) ... -> sum of dy W */
    DM_FORMULA_NORM_DX,     /* dy, x, w (, add) -> the norm's derivative (+ add) */
    DM_FORMULA_SCATTER,     /* x [P, n] -> [R, n]: the sum of each row's predictions */
    DM_FORMULA_GLU_GRAD,    /* gate, up, dh -> dgate, dup */
    DM_FORMULA_ATTENTION_GRAD, /* q, k, v, dout -> dq, dk, dv */
    DM_FORMULA_ROPE_GRAD,      /* dy -> turned back */
    DM_FORMULA_LORA_DUS,       /* dy [R, n], B [n, r] -> scale * dy B */
    DM_FORMULA_LINEAR_DW,      /* (dy [R, n], x [R, k]) of each item -> sum of dy^T x [n, k] */
    DM_FORMULA_BIAS_DW,        /* dy [R, n] of each item -> column sums [n] */
    DM_FORMULA_NORM_DW,        /* (dy, x) of each item -> sum over rows and groups of dy * x / rms [group] */
    DM_FORMULA_EMBED_DW,       /* dx of each item (, (dlogits, x) of each item when tied) -> [V, d] */
    DM_FORMULA_CLIP,           /* every gradient -> global L2 norm [1], factor [1] */
    DM_FORMULA_ADAM_M,         /* m (none: 0), g, factor, w -> beta1 m + (1 - beta1) factor g */
    DM_FORMULA_ADAM_V,         /* v (none: 0), g, factor, w -> beta2 v + (1 - beta2) (factor g)^2 */
    DM_FORMULA_ADAM_W, /* w, m, v -> w (1 - lr decay) - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps) */
    DM_FORMULA_COUNT
} dm_formula;

const char *dm_formula_name(dm_formula f); /* "linear" ... */

#define DM_NODE_NONE UINT32_MAX

typedef struct dm_node { /* a tensor of the step */
    char *name;          /* without the prefix step.N/ */
    size_t rows, cols;
    unsigned dims;          /* 2, or 1: [cols] */
    uint32_t maker;         /* the operation that makes it; DM_NODE_NONE: it is given */
    uint32_t last;          /* the last operation that reads it; DM_NODE_NONE: none does */
    const dm_tensor *param; /* given parameters, and moments of theirs: whose; else NULL */
    int layer;              /* -1: outside of layers */
} dm_node;

typedef struct dm_op {
    dm_formula formula;
    int item, layer;               /* -1: of the whole step; outside of layers */
    uint32_t in, n_in, out, n_out; /* ranges of graph.links */
    size_t group;                  /* NORM*: columns that are normed together; ROPE*: head_dim */
    bool bias, adapter, add, tied, decay;
    double scale;
    dm_rope_use rope;
} dm_op;

typedef struct dm_graph_item {
    const dm_data_item *item;
    dm_pack pack;
    dm_arena arena; /* of the pack */
} dm_graph_item;

typedef struct dm_graph_options {
    const dm_config *config;
    const dm_param_layout *layout; /* of the base's weights */
    const dm_lora *lora;           /* NULL: every weight is trained */
    const dm_data_item *items;     /* all of the data; `order` picks */
    const uint32_t *order;         /* [n_items]; NULL: as they come */
    size_t n_items;
    bool share_prefix;
    bool narrow;       /* the last layer goes on with the predictions' rows alone after its attention */
    bool forward_only; /* up to log-probabilities */
    dm_loss_options loss;
    dm_adamw_options adamw;
    double lr, max_grad_norm, clip_eps; /* factor: min(1, max / (norm + clip_eps)) */
    int64_t t;                          /* the optimizer's step, from 1 */
} dm_graph_options;

typedef struct dm_graph {
    dm_graph_options o;
    dm_graph_item *items;
    dm_node *nodes;
    dm_op *ops;
    uint32_t *links;
    size_t n_nodes, n_ops, n_links, room_nodes, room_ops, room_links;
    uint32_t *table; /* of names, open addressing */
    size_t table_size;
    uint32_t *weight, *gradient, *m, *v, *new_m, *new_v, *new_w; /* [trained tensors], weight [layout.n] */
    const dm_param_layout *trained;
    bool failed;       /* memory ran out */
    uint32_t *adapter; /* [lora.layout.n] given values of an adapter */
} dm_graph;

/* Allocates with malloc; what `o` points at must live as long as *g. dm_graph_free accepts a zeroed struct. */
dm_status dm_graph_build(dm_graph *g, const dm_graph_options *o, dm_error *err);
void dm_graph_free(dm_graph *g);

uint32_t dm_graph_find(const dm_graph *g, const char *name); /* DM_NODE_NONE: no such tensor */

static inline size_t dm_node_count(const dm_node *n)
{
    return n->rows * n->cols;
}

static inline uint32_t dm_op_in(const dm_graph *g, const dm_op *op, size_t i)
{
    return g->links[op->in + i];
}

static inline uint32_t dm_op_out(const dm_graph *g, const dm_op *op, size_t i)
{
    return g->links[op->out + i];
}

#endif
