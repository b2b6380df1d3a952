/* The tensors of a trace as a graph needs them. */
#ifndef DM_MODEL_TRACE_READER_H
#define DM_MODEL_TRACE_READER_H

#include "io/safetensors.h"
#include "model/truth/graph.h"

/* The tensor of a node of step `step`: "step.N/NAME", or "NAME" alone. NULL: the trace lacks it. */
const dm_st_tensor *dm_trace_find(const dm_st *st, int64_t step, const char *name);

/* Reads its values as double; count must be the node's. Counts those that are not finite in *wrong. */
dm_status dm_trace_values(const dm_st *st, const dm_st_tensor *t, double *out, uint64_t *wrong, dm_error *err);

#endif
