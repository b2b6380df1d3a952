/* The manifest of a trace: what was computed, so that a reader knows what every tensor has to be (docs/trace.md). */
#ifndef DM_MODEL_TRACE_MANIFEST_H
#define DM_MODEL_TRACE_MANIFEST_H

#include "io/safetensors.h"
#include "model/trace/writer.h"
#include "model/truth/graph.h"

#define DM_TRACE_FORMAT "dmpo-trace"
#define DM_TRACE_VERSION 1

/* ---- writing ---- */

/* Writes everything but steps, operations and tensors; g is any step's. compute: "f32" or "f64"; inputs: the
 * type to which products round their inputs. */
void dm_manifest_begin(dm_json_writer *j, const dm_graph *g, const char *compute, const char *inputs);
/* Writes a step: its items, learning rate and operations. */
void dm_manifest_step(dm_json_writer *j, const dm_graph *g, int64_t step);
/* Writes the list of tensors with their hashes, and the end. */
void dm_manifest_end(dm_json_writer *j, const dm_trace_writer *w);
/* Bytes that a step's part of the manifest and of the header will not exceed. */
uint64_t dm_manifest_bound(const dm_graph *g);

/* How a formula's sums are ordered in this engine: "chain over k ascending, fma". */
const char *dm_formula_order(dm_formula f);

/* ---- reading ---- */

typedef struct dm_trace_step {
    int64_t number;
    double lr;
    dm_data_item *items;
    size_t n_items;
} dm_trace_step;

typedef struct dm_manifest {
    dm_config config;
    dm_param_layout layout;
    dm_lora lora; /* rank 0: none */
    dm_loss_options loss;
    dm_adamw_options adamw;
    double max_grad_norm, clip_eps;
    bool share_prefix, narrow;
    const char *compute, *accumulate, *inputs; /* "f32" ...: of results, of sums, what products round inputs to */
    char writer[64];
    dm_trace_step *steps;
    size_t n_steps;
    dm_json_doc *doc; /* strings live in it */
} dm_manifest;

/* Reads it and checks every claim. dm_manifest_close accepts a zeroed struct. */
dm_status dm_manifest_read(dm_manifest *m, const dm_st *st, const char *path, dm_error *err);
void dm_manifest_close(dm_manifest *m);

/* The graph of step `i`. narrow: as the manifest says, unless `st` lacks the tensors of it and has the other's. */
dm_status dm_manifest_graph(dm_graph *g, const dm_manifest *m, size_t i, dm_error *err);

#endif
