/* A golden case in double, in the layout of tests/golden: case.json, expected.safetensors, model/, reference/. */
#ifndef DM_MODEL_TRACE_GOLDEN_H
#define DM_MODEL_TRACE_GOLDEN_H

#include "model/trace/run_graph.h"

/* Makes a case of a run that is placed and has its references, whose batch holds every item; the case has its steps. */
dm_status dm_golden_make(dm_run *r, const char *output, bool overwrite, dm_error *err);

#endif
