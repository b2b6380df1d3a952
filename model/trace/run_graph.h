/* A step of a run as a graph, and the run in double. */
#ifndef DM_MODEL_TRACE_RUN_GRAPH_H
#define DM_MODEL_TRACE_RUN_GRAPH_H

#include "model/train/run.h"
#include "model/truth/truth.h"

/* Builds the graph of step `step` (from 0) of an open run. Call dm_graph_free, after a failure too. */
dm_status dm_run_graph(dm_graph *g, dm_run *r, int64_t step, dm_error *err);

/* The state of a run in double: what a step begins with. */
typedef struct dm_double_run {
    dm_run *r;
    double *base;         /* [layout.floats] */
    double *w;            /* [trained_layout.floats]; the same as base without an adapter */
    double *m, *v;        /* moments */
    double *reference[2]; /* as dm_run_references.logp and .second */
    double *mismatched;   /* as train.mismatched_reference.logp; NULL: not kto */
} dm_double_run;

/* From a run that is placed and has read its references. Computes the references' log-probabilities in double. */
dm_status dm_double_open(dm_double_run *d, dm_run *r, dm_error *err);
void dm_double_close(dm_double_run *d); /* fine on a zeroed struct */

/* Step `step`; g is dm_run_graph's of that step. sink as of dm_truth_run, given tensors first; NULL: none. */
dm_status dm_double_step(dm_double_run *d, const dm_graph *g, int64_t step, dm_truth_sink sink, void *context,
                         dm_error *err);

#endif
