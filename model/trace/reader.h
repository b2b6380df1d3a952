/* The tensors of a trace as a graph needs them. */
#ifndef DM_MODEL_TRACE_READER_H
#define DM_MODEL_TRACE_READER_H

#include "io/safetensors.h"
#include "model/truth/graph.h"

/* The tensor of a node of step `step`: "step.N/NAME", or "NAME" alone. NULL: there is none. */
const dm_st_tensor *dm_trace_find(const dm_st *st, int64_t step, const char *name);

/* Its values in double; count must be the node's. Those that are not finite are counted in *wrong. */
dm_status dm_trace_values(const dm_st *st, const dm_st_tensor *t, double *out, uint64_t *wrong, dm_error *err);

#endif
