#include "model/truth/truth.h"

#include <stdlib.h>
#include <string.h>

dm_status dm_truth_open(dm_truth *t, const dm_graph *g, dm_pool *pool, dm_error *err)
{
    *t = (dm_truth){.g = g, .pool = pool, .value = calloc(g->n_nodes + 1, sizeof *t->value)};
    return t->value ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "no memory for the step in double");
}

void dm_truth_close(dm_truth *t)
{
    for (size_t i = 0; t->value && i < t->g->n_nodes; i++)
        free(t->value[i]);
    free(t->value);
    memset(t, 0, sizeof *t);
}

dm_status dm_truth_give(dm_truth *t, uint32_t node, double **out, dm_error *err)
{
    const dm_node *n = &t->g->nodes[node];
    const size_t count = dm_node_count(n);

    if (!t->value[node])
        t->value[node] = calloc(count ? count : 1, sizeof(double));
    *out = t->value[node];
    return *out ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "no memory for %s in double", n->name);
}

static dm_status run_op(dm_truth *t, const dm_op *op, const double **in, double **out, dm_error *err)
{
    bool failed = false;

    for (size_t i = 0; i < op->n_in; i++) {
        const uint32_t node = dm_op_in(t->g, op, i);
        in[i] = node == DM_NODE_NONE ? NULL : t->value[node];
    }
    for (size_t i = 0; i < op->n_out; i++) {
        const uint32_t node = dm_op_out(t->g, op, i);
        out[i] = NULL;
        const dm_status s = node == DM_NODE_NONE ? DM_OK : dm_truth_give(t, node, &out[i], err);
        if (s != DM_OK)
            return s;
    }
    const dm_evaluation e = {.g = t->g, .op = op, .in = in, .out = out, .failed = &failed};
    dm_formula_eval(&e, t->pool);
    return failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for an operation in double") : DM_OK;
}

static void release(dm_truth *t, uint32_t op)
{
    for (size_t i = 0; i < t->g->ops[op].n_in; i++) {
        const uint32_t node = dm_op_in(t->g, &t->g->ops[op], i);
        if (node == DM_NODE_NONE || t->g->nodes[node].last != op)
            continue;
        free(t->value[node]);
        t->value[node] = NULL;
    }
}

dm_status dm_truth_run(dm_truth *t, dm_truth_sink sink, void *context, dm_error *err)
{
    size_t most = 1;
    dm_status s = DM_OK;

    for (size_t i = 0; i < t->g->n_ops; i++)
        most = t->g->ops[i].n_in > most ? t->g->ops[i].n_in : most;
    const double **in = malloc(most * sizeof *in);
    double *out[4];
    if (!in)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the step in double");
    for (size_t i = 0; i < t->g->n_ops && s == DM_OK; i++) {
        const dm_op *op = &t->g->ops[i];
        s = run_op(t, op, in, out, err);
        for (size_t k = 0; k < op->n_out && s == DM_OK && sink; k++)
            if (out[k])
                s = sink(context, dm_op_out(t->g, op, k), out[k], err);
        if (!t->keep)
            release(t, (uint32_t)i);
    }
    free(in);
    return s;
}
