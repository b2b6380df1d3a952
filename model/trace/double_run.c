/* A run in double: references, and steps one after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/numeric.h"
#include "model/trace/run_graph.h"
#include "model/trace/trace.h"

typedef struct model { /* what log-probabilities need */
    const dm_config *config;
    const dm_param_layout *layout;
    const dm_lora *lora; /* NULL: none */
    const double *base, *adapter;
} model;

static dm_status room(double **out, size_t n, dm_error *err)
{
    *out = calloc(n ? n : 1, sizeof **out);
    return *out ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "no memory for %zu numbers in double", n);
}

/* The base's weights in double; w: as a run stores them. */
static dm_status widen(double **out, const dm_run *r, const dm_param_layout *l, const float *w, dm_error *err)
{
    dm_status s = room(out, l->parameters + 16 * l->n + l->floats, err);
    float *f = NULL;

    for (size_t i = 0; i < l->n && s == DM_OK; i++) {
        const dm_tensor *t = &l->tensors[i];
        const size_t n = t->rows * t->cols;
        free(f);
        f = malloc(n * sizeof *f);
        if (!f)
            return dm_fail(err, DM_ERR_MEMORY, "no memory for %s", t->name);
        dm_weight_widen(r->engine, f, dm_weight_of(w, t));
        for (size_t k = 0; k < n; k++)
            (*out)[t->offset + k] = f[k];
    }
    free(f);
    return s;
}

static dm_status give(dm_truth *t, uint32_t node, const double *from, dm_error *err)
{
    double *to;
    const dm_status s = dm_truth_give(t, node, &to, err);

    if (s == DM_OK)
        memcpy(to, from, dm_node_count(&t->g->nodes[node]) * sizeof *to);
    return s;
}

static dm_status give_weights(dm_truth *t, const model *m, dm_error *err)
{
    dm_status s = DM_OK;

    for (size_t i = 0; i < m->layout->n && s == DM_OK; i++)
        s = give(t, t->g->weight[i], m->base + m->layout->tensors[i].offset, err);
    for (size_t i = 0; m->lora && i < m->lora->layout.n && s == DM_OK; i++)
        s = give(t, t->g->adapter[i], m->adapter + m->lora->layout.tensors[i].offset, err);
    return s;
}

/* Log-probabilities of one item's action tokens, chosen[], rejected[]. */
static dm_status item_logps(const dm_run *r, const model *m, const dm_data_item *item, double *const out[2],
                            dm_error *err)
{
    const dm_graph_options o = {.config = m->config,
                                .layout = m->layout,
                                .lora = m->lora,
                                .items = item,
                                .n_items = 1,
                                .share_prefix = r->options.share_prefix,
                                .narrow = true,
                                .forward_only = true,
                                .loss = r->loss};
    dm_graph g = {0};
    dm_truth t = {0};
    dm_status s = dm_graph_build(&g, &o, err);

    if (s == DM_OK && g.items[0].pack.predictions && (s = dm_truth_open(&t, &g, r->engine->pool, err)) == DM_OK &&
        (s = give_weights(&t, m, err)) == DM_OK && (s = dm_truth_run(&t, NULL, NULL, err)) == DM_OK) {
        const double *logp = t.value[dm_graph_find(&g, "item.0/logp")];
        for (int side = 0; side < 2; side++)
            for (size_t i = 0; i < g.items[0].pack.side[side].n; i++)
                out[side][i] = logp[g.items[0].pack.side[side].prediction[i]];
    }
    dm_truth_close(&t);
    dm_graph_free(&g);
    return s;
}

static dm_status logps(const dm_run *r, const model *m, const dm_dataset *data, const dm_run_references *ref,
                       double **out, dm_error *err)
{
    dm_status s = room(out, ref->n, err);

    for (size_t i = 0; i < data->n && s == DM_OK; i++) {
        double *const sides[2] = {*out + ref->begin[2 * i], *out + ref->begin[2 * i + 1]};
        s = item_logps(r, m, &data->items[i], sides, err);
    }
    return s;
}

static model policy_of(const dm_double_run *d)
{
    const dm_run *r = d->r;
    const dm_lora *lora = r->models.policy.lora.o.rank ? &r->models.policy.lora : NULL;

    return (model){&r->models.config, &r->models.layout, lora, d->base, d->w};
}

/* Reference `which` in double, and what it says of the items. */
static dm_status open_reference(dm_double_run *d, int which, dm_error *err)
{
    dm_run *r = d->r;
    const dm_loaded_model *source = &r->models.reference[which];
    dm_param_layout layout = {0};
    dm_config config = r->models.config;
    float *f = NULL;
    double *base = NULL, *adapter = NULL;
    model m = policy_of(d);
    dm_status s = DM_OK;

    if (source->source) {
        const dm_param_layout *a = &source->lora.layout;
        config = *dm_source_config(source->source);
        s = dm_loaded_model_layout(&layout, source, false, err);
        f = s == DM_OK ? calloc(layout.floats, sizeof *f) : NULL;
        if (s == DM_OK && !f)
            s = dm_fail(err, DM_ERR_MEMORY, "no memory for the reference");
        if (s == DM_OK && (s = dm_loaded_model_read_base(f, &layout, source, err)) == DM_OK &&
            (s = widen(&base, r, &layout, f, err)) == DM_OK && source->lora.o.rank)
            s = widen(&adapter, r, a, source->adapter, err);
        m = (model){&config, &layout, source->lora.o.rank ? &source->lora : NULL, base, adapter};
    }
    if (s == DM_OK)
        s = logps(r, &m, &r->train.data, &r->train.reference, &d->reference[which], err);
    if (s == DM_OK && which == 0 && r->train.mismatched.n)
        s = logps(r, &m, &r->train.mismatched, &r->train.mismatched_reference, &d->mismatched, err);
    free(f);
    free(base);
    free(adapter);
    dm_param_layout_free(&layout);
    return s;
}

dm_status dm_double_open(dm_double_run *d, dm_run *r, dm_error *err)
{
    const dm_param_layout *trained = r->models.trained_layout;
    const bool adapter = r->models.policy.lora.o.rank > 0;
    dm_status s;

    *d = (dm_double_run){.r = r};
    if ((s = dm_trace_check(&r->loss, err)) != DM_OK ||
        (s = widen(&d->base, r, &r->models.layout, r->memory.weights, err)) != DM_OK ||
        (s = room(&d->m, trained->floats, err)) != DM_OK || (s = room(&d->v, trained->floats, err)) != DM_OK)
        return s;
    d->w = d->base;
    if (adapter && (s = widen(&d->w, r, trained, r->memory.trained, err)) != DM_OK)
        return s;
    for (int i = 0; i < (r->options.reference2 ? 2 : 1) && r->train.reference.logp && s == DM_OK; i++)
        s = open_reference(d, i, err);
    return s;
}

void dm_double_close(dm_double_run *d)
{
    if (d->w != d->base)
        free(d->w);
    free(d->base);
    free(d->m);
    free(d->v);
    free(d->reference[0]);
    free(d->reference[1]);
    free(d->mismatched);
    memset(d, 0, sizeof *d);
}

/* kto's divergence: of the sequences that stand for the items of this batch. */
static dm_status mismatched_kl(dm_double_run *d, const dm_graph *g, double *kl, dm_error *err)
{
    const dm_run *r = d->r;
    const dm_run_references *ref = &r->train.mismatched_reference;
    const model m = policy_of(d);
    double sum = 0;
    size_t sequences = 0;

    for (size_t k = 0; k < g->o.n_items; k++) {
        const size_t i = (size_t)(g->items[k].item - r->train.data.items);
        const dm_data_item *item = &r->train.mismatched.items[i];
        const size_t n = item->chosen.n_actions, all = n + item->rejected.n_actions;
        double *logp;
        dm_status s = room(&logp, all, err);
        double *const sides[2] = {logp, logp ? logp + n : NULL};
        if (s == DM_OK)
            s = item_logps(r, &m, item, sides, err);
        for (size_t a = 0; a < all && s == DM_OK; a++)
            sum += logp[a] - d->mismatched[a < n ? ref->begin[2 * i] + a : ref->begin[2 * i + 1] + a - n];
        free(logp);
        if (s != DM_OK)
            return s;
        sequences += (size_t)(n > 0) + (size_t)(all > n);
    }
    *kl = dm_loss_kl_estimate(sum, sequences);
    return DM_OK;
}

static dm_status give_references(dm_double_run *d, dm_truth *t, dm_error *err)
{
    static const char *const names[2][2] = {{"reference_logp.chosen", "reference_logp.rejected"},
                                            {"reference2_logp.chosen", "reference2_logp.rejected"}};
    const dm_run *r = d->r;
    char name[96];

    for (size_t k = 0; k < t->g->o.n_items; k++)
        for (int which = 0; which < 2; which++)
            for (int side = 0; side < 2; side++) {
                snprintf(name, sizeof name, "item.%zu/%s", k, names[which][side]);
                const uint32_t node = dm_graph_find(t->g, name);
                const size_t i = (size_t)(t->g->items[k].item - r->train.data.items);
                if (node == DM_NODE_NONE)
                    continue;
                const dm_status s =
                    give(t, node, d->reference[which] + r->train.reference.begin[2 * i + (size_t)side], err);
                if (s != DM_OK)
                    return s;
            }
    return DM_OK;
}

static dm_status give_state(dm_double_run *d, dm_truth *t, int64_t step, dm_error *err)
{
    const dm_graph *g = t->g;
    const model policy = policy_of(d);
    const uint32_t kl = dm_graph_find(g, "kl");
    dm_status s = give_weights(t, &policy, err);

    for (size_t i = 0; i < g->trained->n && step > 0 && s == DM_OK; i++)
        if ((s = give(t, g->m[i], d->m + g->trained->tensors[i].offset, err)) == DM_OK)
            s = give(t, g->v[i], d->v + g->trained->tensors[i].offset, err);
    if (s == DM_OK)
        s = give_references(d, t, err);
    double *value;
    if (s == DM_OK && kl != DM_NODE_NONE && (s = dm_truth_give(t, kl, &value, err)) == DM_OK)
        s = mismatched_kl(d, g, value, err);
    return s;
}

static void keep_state(dm_double_run *d, const dm_truth *t)
{
    const dm_graph *g = t->g;

    for (size_t i = 0; i < g->trained->n; i++) {
        const dm_tensor *p = &g->trained->tensors[i];
        const size_t size = p->rows * p->cols * sizeof(double);
        memcpy(d->m + p->offset, t->value[g->new_m[i]], size);
        memcpy(d->v + p->offset, t->value[g->new_v[i]], size);
        memcpy(d->w + p->offset, t->value[g->new_w[i]], size);
    }
}

dm_status dm_double_step(dm_double_run *d, const dm_graph *g, int64_t step, dm_truth_sink sink, void *context,
                         dm_error *err)
{
    dm_truth t;
    dm_status s = dm_truth_open(&t, g, d->r->engine->pool, err);

    if (s == DM_OK)
        s = give_state(d, &t, step, err);
    for (size_t i = 0; i < g->n_nodes && s == DM_OK && sink; i++)
        if (g->nodes[i].maker == DM_NODE_NONE && t.value[i])
            s = sink(context, (uint32_t)i, t.value[i], err);
    for (size_t i = 0; i < g->trained->n; i++) /* the next step begins with these */
        g->nodes[g->new_m[i]].last = g->nodes[g->new_v[i]].last = DM_NODE_NONE;
    if (s == DM_OK && (s = dm_truth_run(&t, sink, context, err)) == DM_OK)
        keep_state(d, &t);
    dm_truth_close(&t);
    return s;
}
