#include "model/check/walk.h"

#include <stdlib.h>

bool dm_recomputed_place(dm_recomputed *r, const dm_graph *g, const dm_op *op)
{
    bool fine = true;

    for (uint32_t i = 0; i < op->n_out && fine; i++) {
        const uint32_t node = dm_op_out(g, op, i);
        if (node == DM_NODE_NONE)
            continue;
        const size_t n = dm_node_count(&g->nodes[node]) + 1;
        r->out[i] = malloc(n * sizeof(double));
        r->sound[i] = malloc(n * sizeof(double));
        r->likely[i] = malloc(n * sizeof(double));
        r->size[i] = malloc(n * sizeof(double));
        fine = r->out[i] && r->sound[i] && r->likely[i] && r->size[i];
    }
    return fine;
}

void dm_recomputed_free(dm_recomputed *r)
{
    for (size_t i = 0; i < DM_WALK_OUTPUTS; i++) {
        free(r->out[i]);
        free(r->sound[i]);
        free(r->likely[i]);
        free(r->size[i]);
    }
}

bool dm_recompute(dm_recomputed *r, const dm_graph *g, const dm_op *op, const double *const *in,
                  const dm_rounding *rounding, const struct dm_bug *bug, dm_pool *pool)
{
    bool failed = false;
    const dm_evaluation e = {.g = g,
                             .op = op,
                             .in = in,
                             .out = r->out,
                             .sound = r->sound,
                             .likely = r->likely,
                             .size = r->size,
                             .r = *rounding,
                             .bug = bug,
                             .failed = &failed};

    dm_formula_eval(&e, pool);
    return !failed;
}

static void drop_used(const dm_graph *g, size_t i, const dm_walk *walk, void *context)
{
    const dm_op *op = &g->ops[i];

    for (uint32_t k = 0; k < op->n_in; k++) {
        const uint32_t node = dm_op_in(g, op, k);
        if (node != DM_NODE_NONE && g->nodes[node].last == i)
            walk->drop(context, node);
    }
    for (uint32_t k = 0; k < op->n_out; k++) {
        const uint32_t node = dm_op_out(g, op, k);
        if (node != DM_NODE_NONE && g->nodes[node].last == DM_NODE_NONE)
            walk->drop(context, node);
    }
}

dm_status dm_walk_trace(const dm_manifest *m, const dm_walk *walk, void *context, dm_error *err)
{
    dm_status s = DM_OK;

    for (size_t i = 0; i < m->n_steps && s == DM_OK; i++) {
        dm_graph g = {0};
        if ((s = dm_manifest_graph(&g, m, i, err)) == DM_OK) {
            s = walk->begin(context, &g, m->steps[i].number, err);
            const bool begun = s == DM_OK;
            for (size_t k = 0; k < g.n_ops && s == DM_OK; k++)
                if ((s = walk->op(context, &g.ops[k], err)) == DM_OK)
                    drop_used(&g, k, walk, context);
            for (size_t k = 0; k < g.n_nodes && begun; k++)
                walk->drop(context, (uint32_t)k);
            walk->end(context);
        }
        dm_graph_free(&g);
    }
    return s;
}
