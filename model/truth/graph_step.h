/* What the parts of a step's graph share: the tensors that later parts read, and how an operation is added. */
#ifndef DM_MODEL_TRUTH_GRAPH_STEP_H
#define DM_MODEL_TRUTH_GRAPH_STEP_H

#include "model/truth/graph_internal.h"

typedef struct dm_layer_nodes { /* of one item */
    uint32_t x, n1, pre[2], normed[2], v, turned[2], att, att_late, x_late, o, on, mid, n2, gate, up, h, dn, dnn, out;
    uint32_t us[DM_PROJECTIONS]; /* what an adapter's A makes, scaled */
    uint32_t dy[DM_PROJECTIONS], dus[DM_PROJECTIONS];
    uint32_t d_on, d_dnn, d_n2, d_mid, d_n1, d_normed[2];
} dm_layer_nodes;

typedef struct dm_item_nodes {
    dm_layer_nodes *layers;
    uint32_t x0, d_x0, last, hnorm, logits, logp, phi[2], reference[2], second[2], score;
    uint32_t coef, d_logits, d_hnorm;
} dm_item_nodes;

typedef struct dm_graph_builder {
    dm_graph *g;
    const dm_config *c;
    const dm_param_layout *l;
    dm_item_nodes *items;
    int item, layer;
    size_t rows; /* of the item */
    uint32_t kl, loss, dscore, clip_norm, clip_scale;
} dm_graph_builder;

extern const char *const dm_step_modules[DM_PROJECTIONS];

/* Adds an operation of the running item, in the running layer when there is one; then its inputs, then its outputs. */
dm_op *dm_step_op(dm_graph_builder *b, dm_formula f);
void dm_step_in(dm_graph_builder *b, uint32_t node);
uint32_t dm_step_out(dm_graph_builder *b, const char *name, size_t rows, size_t cols); /* of item and layer */
uint32_t dm_step_vector(dm_graph_builder *b, const char *name, size_t n);              /* of the item */

uint32_t dm_step_weight(const dm_graph_builder *b, const dm_tensor *t);
uint32_t dm_step_adapter(const dm_graph_builder *b, const dm_tensor *t);
const dm_lora_pair *dm_step_pair(const dm_graph_builder *b, int p); /* of the running layer; NULL: no adapter there */

/* Whether the running layer goes on with the predictions' rows alone after its attention, and its rows from there. */
bool dm_step_narrow(const dm_graph_builder *b);
size_t dm_step_late_rows(const dm_graph_builder *b);
double dm_step_query_scale(const dm_config *c);

/* The parts, in execution order. */
void dm_step_forward(dm_graph_builder *b); /* of the running item: tokens to log-probabilities */
void dm_step_score(dm_graph_builder *b);   /* of the running item */
void dm_step_loss(dm_graph_builder *b);
void dm_step_backward(dm_graph_builder *b);  /* of the running item: the loss to the embedding's output */
void dm_step_gradients(dm_graph_builder *b); /* of every trained tensor, over all items */
void dm_step_optimizer(dm_graph_builder *b);

#endif
