/* Compares two traces of one step, tensor by tensor in execution order, and finds where they diverge. */
#ifndef DM_MODEL_CHECK_COMPARE_H
#define DM_MODEL_CHECK_COMPARE_H

#include "core/threads.h"
#include "model/check/layout.h"
#include "model/trace/manifest.h"

typedef enum dm_difference {
    DM_DIFFERENCE_NONE,      /* the same values */
    DM_DIFFERENCE_ROUNDING,  /* what the operation adds is within the bounds of both */
    DM_DIFFERENCE_INHERITED, /* inputs are not in both traces, so this operation alone cannot be judged */
    DM_DIFFERENCE_DIVERGES   /* the operation itself differs by more than rounding */
} dm_difference;

const char *dm_difference_name(dm_difference d);

typedef struct dm_pair_finding {
    int64_t step;
    const dm_graph *g;
    const dm_op *op;
    const dm_node *node;
    const char *b_name; /* of B's tensor */
    dm_layout layout;
    dm_difference difference;
    double relative; /* ||A - B|| / ||A|| */
    size_t row, col; /* where they differ most */
    double a, b;
    double truth_a, truth_b; /* ||A - T||, ||B - T||; NaN: no truth has it */
} dm_pair_finding;

typedef struct dm_compare_counts {
    uint64_t differences[DM_DIFFERENCE_DIVERGES + 1];
    uint64_t missing; /* of A, not in B */
    uint64_t other;   /* with another number of elements */
} dm_compare_counts;

typedef struct dm_compare_options {
    const dm_st *a, *b, *truth; /* truth NULL: none */
    const dm_manifest *m;       /* A's */
    const dm_json *map;         /* {"name in A": "name in B"}; NULL: none */
    dm_pool *pool;
} dm_compare_options;

typedef void (*dm_compare_sink)(void *context, const dm_pair_finding *f);

dm_status dm_compare_traces(const dm_compare_options *o, dm_compare_sink sink, void *context, dm_compare_counts *counts,
                            dm_error *err);

#endif
