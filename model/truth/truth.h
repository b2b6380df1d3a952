/* The step in double: every operation of a graph in order, each from what those before it made. */
#ifndef DM_MODEL_TRUTH_TRUTH_H
#define DM_MODEL_TRUTH_TRUTH_H

#include "model/truth/formula.h"

typedef struct dm_truth {
    const dm_graph *g;
    double **value; /* [g->n_nodes] NULL: not there (yet, or any more) */
    dm_pool *pool;
    bool keep; /* values stay until dm_truth_close */
} dm_truth;

/* Called with every tensor when it is whole. */
typedef dm_status (*dm_truth_sink)(void *context, uint32_t node, const double *value, dm_error *err);

dm_status dm_truth_open(dm_truth *t, const dm_graph *g, dm_pool *pool, dm_error *err);
void dm_truth_close(dm_truth *t); /* fine on a zeroed struct */

/* Allocates the value of a given node, zeroed, for the caller to fill before the run. */
dm_status dm_truth_give(dm_truth *t, uint32_t node, double **out, dm_error *err);

/* Runs every operation. Values are freed after their last reader, unless t->keep; those that nobody reads stay until
 * dm_truth_close. sink NULL: nothing is called. */
dm_status dm_truth_run(dm_truth *t, dm_truth_sink sink, void *context, dm_error *err);

#endif
