/* Where another program's tensor holds the elements of one of ours. */
#ifndef DM_MODEL_CHECK_LAYOUT_H
#define DM_MODEL_CHECK_LAYOUT_H

#include "model/truth/graph.h"

/* How B's tensor holds what A's holds. Fused are all of q, then k, then v; gate, then up. In groups are each kv head's
 * queries, key and value; gate and up element by element. A padded batch is [sides, length, n]. */
typedef enum dm_layout {
    DM_LAYOUT_SAME,
    DM_LAYOUT_TRANSPOSED,  /* columns first */
    DM_LAYOUT_INTERLEAVED, /* every head's elements i and i + d/2 are neighbours in B */
    DM_LAYOUT_SPLIT,       /* the reverse */
    DM_LAYOUT_HEADS_FIRST, /* [batch, heads, length, head_dim], or [batch, heads, length] of one number each */
    DM_LAYOUT_PADDED,
    DM_LAYOUT_PADDED_LEFT,
    DM_LAYOUT_PADDED_HEADS, /* [sides, heads, length, head_dim] */
    DM_LAYOUT_PADDED_LEFT_HEADS,
    DM_LAYOUT_FUSED,
    DM_LAYOUT_FUSED_GROUPS,
    DM_LAYOUT_FUSED_TRANSPOSED, /* weights with the inputs first */
    DM_LAYOUT_FUSED_GROUPS_TRANSPOSED,
    DM_LAYOUT_PADDED_FUSED,
    DM_LAYOUT_PADDED_LEFT_FUSED,
    DM_LAYOUT_PADDED_FUSED_GROUPS,
    DM_LAYOUT_PADDED_LEFT_FUSED_GROUPS,
    DM_LAYOUT_OTHER /* another number of elements: not compared */
} dm_layout;

const char *dm_layout_name(dm_layout l);

/* Names of fused projections that would hold the tensor `name`: the k-th, in out[size]; false: there are no more.
 * *part: which of q, k, v, gate, up (0 to 4) it is. */
bool dm_layout_fused_name(const char *name, size_t k, char *out, size_t size, int *part);

typedef struct dm_layout_source { /* B's tensor as it is */
    const double *x;
    const uint64_t *shape;
    unsigned dims;
    size_t count;
    int part; /* of a fused projection, from dm_layout_fused_name; -1: it is none */
} dm_layout_source;

/* Element (row, col) of a node's tensor from B's under a layout; false: the layout does not fit. A common beginning
 * that is computed once has its place in both sides of a padded batch: gradients are the sum of the two, all else is
 * taken from the first. */
bool dm_layout_value(const dm_graph *g, const dm_node *n, const dm_layout_source *b, dm_layout l, size_t row,
                     size_t col, double *out);

#endif
