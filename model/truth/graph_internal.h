/* How a step's list of operations is built. */
#ifndef DM_MODEL_TRUTH_GRAPH_INTERNAL_H
#define DM_MODEL_TRUTH_GRAPH_INTERNAL_H

#include "model/truth/graph.h"

#define DM_NODE_NAME 192

/* A new tensor. When memory runs out g->failed is set and the result means nothing: checked once, at the end. */
uint32_t dm_graph_node(dm_graph *g, int layer, size_t rows, size_t cols, unsigned dims, const char *fmt, ...)
    DM_PRINTF(6, 7);
/* A new operation, the last one; then its inputs, then its outputs. The pointer is good until the next operation. */
dm_op *dm_graph_op(dm_graph *g, dm_formula formula, int item, int layer);
void dm_graph_in(dm_graph *g, uint32_t node); /* DM_NODE_NONE: this input is absent */
void dm_graph_out(dm_graph *g, uint32_t node);

/* Every operation of the step. */
void dm_graph_step(dm_graph *g);

#endif
