/* The way through a trace that check and compare share: every operation in execution order, computed again. */
#ifndef DM_MODEL_CHECK_WALK_H
#define DM_MODEL_CHECK_WALK_H

#include "model/trace/manifest.h"
#include "model/truth/formula.h"

#define DM_WALK_OUTPUTS 3

/* What one operation's formula makes: its outputs, their bounds and the magnitude of their terms (dm_evaluation). */
typedef struct dm_recomputed {
    double *out[DM_WALK_OUTPUTS], *sound[DM_WALK_OUTPUTS], *likely[DM_WALK_OUTPUTS], *size[DM_WALK_OUTPUTS];
} dm_recomputed;

/* Allocates all four for each output that the operation has. False: no memory; then too *r, which was zeroed before, is
 * freed with dm_recomputed_free. */
bool dm_recomputed_place(dm_recomputed *r, const dm_graph *g, const dm_op *op);
void dm_recomputed_free(dm_recomputed *r);

/* Evaluates the formula into placed *r. in: [op.n_in]; bug NULL: the formula as it is. False: memory ran out. */
bool dm_recompute(dm_recomputed *r, const dm_graph *g, const dm_op *op, const double *const *in,
                  const dm_rounding *rounding, const struct dm_bug *bug, dm_pool *pool);

/* For each step: begin, then the operations, then end, which is called after a failure too and frees what begin made.
 * drop says that no later operation uses the node; before end it is called for every node once more. */
typedef struct dm_walk {
    dm_status (*begin)(void *context, const dm_graph *g, int64_t step, dm_error *err);
    dm_status (*op)(void *context, const dm_op *op, dm_error *err);
    void (*drop)(void *context, uint32_t node);
    void (*end)(void *context);
} dm_walk;

dm_status dm_walk_trace(const dm_manifest *m, const dm_walk *walk, void *context, dm_error *err);

#endif
