/* Steps of a run, recorded (docs/trace.md): of the engine as it computes, or in double. */
#ifndef DM_MODEL_TRACE_TRACE_H
#define DM_MODEL_TRACE_TRACE_H

#include "model/trace/run_graph.h"

typedef struct dm_trace_options {
    const char *output;
    bool overwrite;
    const char *select;              /* a pattern of fnmatch(3) for names without step.N/; NULL: every tensor */
    int64_t first_layer, last_layer; /* of tensors in layers; last -1: all */
    int64_t first_step, last_step;   /* from 0, both recorded */
    int64_t done;                    /* steps that the run's state already includes; engine only */
    bool statistics;                 /* figures of the tensors in place of the tensors */
    bool double_precision;           /* the step in double (model/truth) */
} dm_trace_options;

/* Refuses losses that the graph of a step cannot tell. */
dm_status dm_trace_check(const dm_loss_options *o, dm_error *err);

/* The run is opened, placed and has its references; steps before first_step are run and not recorded. Memory does not
 * grow with what is recorded. */
dm_status dm_trace_run(dm_run *r, const dm_trace_options *o, dm_error *err);

#endif
