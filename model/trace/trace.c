#include "model/trace/trace.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"
#include "model/trace/manifest.h"
#include "model/trace/writer.h"

#define NAME 256      /* a node's name, with room */
#define FULL_NAME 300 /* and step.N/ before it */

typedef struct recorder {
    dm_run *r;
    const dm_trace_options *o;
    dm_trace_writer w;
    dm_text text; /* the manifest */
    dm_json_writer j;
    dm_graph g; /* of the step */
    int64_t step;
    size_t item;
    double *slopes;   /* [items, 2] dL/ds */
    dm_status status; /* the first failure inside a callback */
    dm_error *err;
} recorder;

/* ---- what is recorded ---- */

static bool wanted(const recorder *c, const dm_node *n)
{
    const dm_trace_options *o = c->o;

    if (n->layer >= 0 && o->last_layer >= 0 && (n->layer < o->first_layer || n->layer > o->last_layer))
        return false;
    return !o->select || fnmatch(o->select, n->name, 0) == 0;
}

static void fail(recorder *c, dm_status s)
{
    if (c->status == DM_OK)
        c->status = s;
}

/* Node of the step, by its name; NULL: it is not recorded. */
static const dm_node *node_of(recorder *c, const char *name)
{
    const uint32_t i = dm_graph_find(&c->g, name);

    if (c->status != DM_OK)
        return NULL;
    if (i == DM_NODE_NONE) {
        fail(c, dm_fail(c->err, DM_ERR_INTERNAL, "the engine computed %s, which no operation makes", name));
        return NULL;
    }
    return wanted(c, &c->g.nodes[i]) ? &c->g.nodes[i] : NULL;
}

static const char *full_name(const recorder *c, char out[FULL_NAME], const char *name)
{
    snprintf(out, FULL_NAME, "step.%lld/%s", (long long)c->step, name);
    return out;
}

static void put(recorder *c, const char *name, dm_dtype type, const void *data)
{
    const dm_node *n = node_of(c, name);
    char text[FULL_NAME];

    if (n)
        fail(c, dm_trace_writer_add(&c->w, full_name(c, text, name), type, n->dims, n->rows, n->cols, data, c->err));
}

static const char *item_name(const recorder *c, char out[NAME], int layer, const char *name)
{
    if (layer == DM_TAP_OUTSIDE)
        snprintf(out, NAME, "item.%zu/%s", c->item, name);
    else
        snprintf(out, NAME, "item.%zu/model.layers.%d.%s", c->item, layer, name);
    return out;
}

/* ---- the engine's step ---- */

static void on_tap(void *context, const dm_tapped *t)
{
    recorder *c = context;
    char name[NAME], text[FULL_NAME];
    const dm_node *n = node_of(c, item_name(c, name, t->layer, t->name));

    if (!n)
        return;
    if (n->rows != t->rows || n->cols != t->width)
        fail(c, dm_fail(c->err, DM_ERR_INTERNAL, "the engine computed %s of %zu x %zu, the step has %zu x %zu", name,
                        t->rows, t->width, n->rows, n->cols));
    else if (t->ld == t->width && t->cols == t->width)
        put(c, name, DM_F32, t->x);
    else
        fail(c, dm_trace_writer_columns(&c->w, full_name(c, text, name), t->rows, t->width, t->first, t->cols, t->x,
                                        t->ld, c->err));
}

/* Row maximum and log-sum-exp of a layer's scores, in double from the queries and keys that attention saw: the engine
 * keeps neither. */
static void on_attended(void *context, int layer, const float *q, const float *k, size_t rows)
{
    recorder *c = context;
    char max_name[NAME], lse_name[NAME];
    const dm_node *max_node = node_of(c, item_name(c, max_name, layer, "self_attn.attn.max"));
    const dm_node *lse_node = node_of(c, item_name(c, lse_name, layer, "self_attn.attn.lse"));
    const dm_config *config = c->g.o.config;
    const size_t heads = config->heads, n = rows * heads;

    if (!max_node && !lse_node)
        return;
    double *out[3] = {calloc(rows * heads * config->head_dim, sizeof(double)), calloc(n, sizeof(double)),
                      calloc(n, sizeof(double))};
    const size_t sizes[3] = {rows * heads * config->head_dim, rows * config->kv_heads * config->head_dim,
                             rows * config->kv_heads * config->head_dim};
    double *in[3] = {malloc(sizes[0] * sizeof(double)), malloc(sizes[1] * sizeof(double)),
                     calloc(sizes[2], sizeof(double))};
    float *narrowed = malloc(n * sizeof *narrowed);
    bool failed = false;
    const dm_op *op = NULL;
    char att[NAME];
    const uint32_t maker = dm_graph_find(&c->g, item_name(c, att, layer, "self_attn.attn.out"));

    if (maker != DM_NODE_NONE)
        op = &c->g.ops[c->g.nodes[maker].maker];
    if (!out[0] || !out[1] || !out[2] || !in[0] || !in[1] || !in[2] || !narrowed || !op) {
        fail(c, dm_fail(c->err, DM_ERR_MEMORY, "no memory for the scores of a layer"));
    } else {
        for (size_t i = 0; i < sizes[0]; i++)
            in[0][i] = q[i];
        for (size_t i = 0; i < sizes[1]; i++)
            in[1][i] = k[i];
        const dm_evaluation e = {.g = &c->g, .op = op, .in = (const double *const *)in, .out = out, .failed = &failed};
        dm_formula_eval(&e, c->r->engine->pool);
        if (failed)
            fail(c, dm_fail(c->err, DM_ERR_MEMORY, "no memory for the scores of a layer"));
        for (int which = 1; which < 3; which++) {
            for (size_t i = 0; i < n; i++)
                narrowed[i] = (float)out[which][i];
            put(c, which == 1 ? max_name : lse_name, DM_F32, narrowed);
        }
    }
    for (int i = 0; i < 3; i++) {
        free(out[i]);
        free(in[i]);
    }
    free(narrowed);
}

static void on_item(void *context, size_t j)
{
    recorder *c = context;
    const dm_pack *p = &c->g.items[j].pack;
    char name[NAME];
    double *values;

    c->item = j;
    if (!(values = malloc((p->rows + 1) * sizeof *values))) {
        fail(c, dm_fail(c->err, DM_ERR_MEMORY, "no memory for the tokens of an item"));
        return;
    }
    for (size_t i = 0; i < p->rows; i++)
        values[i] = p->ids[i];
    put(c, item_name(c, name, DM_TAP_OUTSIDE, "ids"), DM_F64, values);
    for (size_t i = 0; i < p->rows; i++)
        values[i] = p->position[i];
    put(c, item_name(c, name, DM_TAP_OUTSIDE, "position"), DM_F64, values);
    free(values);
}

/* phi of every token of a side. */
static void put_phi(recorder *c, int side)
{
    const dm_graph_item *t = &c->g.items[c->item];
    const dm_data_trajectory *trajectory = side ? &t->item->rejected : &t->item->chosen;
    const dm_pack_side *p = &t->pack.side[side];
    const dm_loss_side view = {.n = p->n, .turn_of = p->turn_of, .turns = p->turns};
    double *phi = calloc(trajectory->n + 1, sizeof *phi);
    char name[NAME];

    if (!phi) {
        fail(c, dm_fail(c->err, DM_ERR_MEMORY, "no memory for the weights of an item"));
        return;
    }
    for (size_t k = 0, action = 0; k < trajectory->n_turns; k++)
        for (size_t i = trajectory->turns[k].begin; i < trajectory->turns[k].end; i++)
            phi[i] = dm_loss_token_weight(&c->g.o.loss, &view, action++);
    put(c, item_name(c, name, DM_TAP_OUTSIDE, side ? "phi.rejected" : "phi.chosen"), DM_F64, phi);
    free(phi);
}

static void on_scored(void *context, size_t j, const dm_loss_pair *l, const dm_loss_batch *batch,
                      const dm_objective_reference *reference)
{
    static const char *const names[2][2] = {{"reference_logp.chosen", "reference_logp.rejected"},
                                            {"reference2_logp.chosen", "reference2_logp.rejected"}};
    recorder *c = context;
    const dm_run_memory *m = &c->r->memory;
    char name[NAME];
    double score[4] = {l->logp_chosen, 0, l->logp_chosen, l->logp_rejected};

    for (int side = 0; side < 2; side++) {
        if (m->pack.side[side].n == 0)
            continue;
        put_phi(c, side);
        for (int which = 0; which < 2; which++) {
            const float *x = which ? reference->second[side] : reference->first[side];
            if (x)
                put(c, item_name(c, name, DM_TAP_OUTSIDE, names[which][side]), DM_F32, x);
        }
    }
    if (c->g.o.loss.objective != DM_OBJECTIVE_SFT)
        dm_objective_scores(&m->objective, &c->r->loss, &m->pack, reference, score);
    put(c, item_name(c, name, DM_TAP_OUTSIDE, "score"), DM_F64, score);
    put(c, item_name(c, name, DM_TAP_OUTSIDE, "logp.grad"), DM_F32, m->objective.coef);
    c->slopes[2 * j] = l->d_chosen;
    c->slopes[2 * j + 1] = l->d_rejected;
    if (j == 0 && c->g.o.loss.objective == DM_OBJECTIVE_KTO)
        put(c, "kl", DM_F64, &batch->kl);
}

/* Floats of an array that has the layout of what is trained, where they lie in one piece or two. */
static void put_gradient(recorder *c, const dm_gradient *g, const dm_tensor *t, const char *name)
{
    const size_t n = t->rows * t->cols;
    float *copy;

    if (t->offset >= g->split || t->offset + n <= g->split) {
        put(c, name, DM_F32, t->offset >= g->split ? g->high + (t->offset - g->split) : g->low + t->offset);
        return;
    }
    if (!(copy = malloc(n * sizeof *copy))) {
        fail(c, dm_fail(c->err, DM_ERR_MEMORY, "no memory for a gradient"));
        return;
    }
    const size_t low = g->split - t->offset;
    memcpy(copy, g->low + t->offset, low * sizeof *copy);
    memcpy(copy + low, g->high, (n - low) * sizeof *copy);
    put(c, name, DM_F32, copy);
    free(copy);
}

static void on_clipped(void *context, double norm, double factor)
{
    recorder *c = context;
    const dm_gradient g = dm_run_gradient_at(c->r);
    char name[NAME];

    for (size_t i = 0; i < c->g.trained->n; i++) {
        const dm_tensor *t = &c->g.trained->tensors[i];
        snprintf(name, sizeof name, "%s.grad", t->name);
        put_gradient(c, &g, t, name);
    }
    put(c, "score.grad", DM_F64, c->slopes);
    put(c, "grad_norm", DM_F64, &norm);
    put(c, "clip_factor", DM_F64, &factor);
}

/* Trained tensors of an array, each named with the suffix. */
static void put_trained(recorder *c, const float *w, const char *suffix)
{
    char name[NAME];

    for (size_t i = 0; i < c->g.trained->n; i++) {
        const dm_tensor *t = &c->g.trained->tensors[i];
        snprintf(name, sizeof name, "%s%s", t->name, suffix);
        put(c, name, DM_F32, w + t->offset);
    }
}

/* The base's weights where an adapter is trained, as f32. */
static void put_base(recorder *c)
{
    const dm_param_layout *l = c->g.o.layout;

    for (size_t i = 0; i < l->n && c->status == DM_OK; i++) {
        float *f = malloc(l->tensors[i].rows * l->tensors[i].cols * sizeof *f);
        if (!f) {
            fail(c, dm_fail(c->err, DM_ERR_MEMORY, "no memory for %s", l->tensors[i].name));
            return;
        }
        dm_weight_widen(c->r->engine, f, dm_weight_of(c->r->memory.weights, &l->tensors[i]));
        put(c, l->tensors[i].name, DM_F32, f);
        free(f);
    }
}

static dm_status engine_step(recorder *c, bool record, dm_error *err)
{
    dm_run_watch watch = {
        .context = c, .tap = {on_tap, on_attended, c}, .item = on_item, .scored = on_scored, .clipped = on_clipped};
    const dm_run_memory *m = &c->r->memory;
    dmpo_metrics metrics = {0};

    if (record) {
        if (c->g.o.lora)
            put_base(c);
        put_trained(c, m->trained, "");
        if (c->step > 0) {
            put_trained(c, m->adam_m, ".exp_avg.old");
            put_trained(c, m->adam_v, ".exp_avg_sq.old");
        }
        c->r->watch = &watch;
    }
    const dm_status s = dm_run_step(c->r, c->step, &metrics, err);
    c->r->watch = NULL;
    if (s != DM_OK || !record)
        return s;
    put(c, "loss", DM_F64, &metrics.loss);
    put_trained(c, m->adam_m, ".exp_avg");
    put_trained(c, m->adam_v, ".exp_avg_sq");
    put_trained(c, m->trained, ".new");
    return c->status;
}

/* ---- in double ---- */

static dm_status on_value(void *context, uint32_t node, const double *value, dm_error *err)
{
    recorder *c = context;

    (void)err;
    put(c, c->g.nodes[node].name, DM_F64, value);
    return c->status;
}

/* ---- the whole ---- */

static dm_status begin_step(recorder *c, dm_error *err)
{
    dm_graph_free(&c->g);
    const dm_status s = dm_run_graph(&c->g, c->r, c->step, err);
    if (s != DM_OK)
        return s;
    free(c->slopes);
    c->slopes = calloc(2 * c->g.o.n_items, sizeof *c->slopes);
    return c->slopes ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "no memory for a step's items");
}

/* Bytes for the header of all steps. */
static dm_status header_bound(recorder *c, uint64_t *bytes, dm_error *err)
{
    *bytes = 16384;
    for (c->step = c->o->first_step; c->step <= c->o->last_step; c->step++) {
        const dm_status s = begin_step(c, err);
        if (s != DM_OK)
            return s;
        *bytes += dm_manifest_bound(&c->g) + dm_manifest_bound(&c->g) / 2; /* quotes are escaped once more */
    }
    return DM_OK;
}

static dm_status run_steps(recorder *c, dm_error *err)
{
    dm_double_run d = {0};
    dm_status s = c->o->double_precision ? dm_double_open(&d, c->r, err) : DM_OK;

    for (c->step = c->o->done; c->step <= c->o->last_step && s == DM_OK; c->step++) {
        const bool record = c->step >= c->o->first_step;
        if ((s = begin_step(c, err)) != DM_OK)
            break;
        if (record) {
            if (c->step == c->o->first_step)
                dm_manifest_begin(&c->j, &c->g, c->o->double_precision ? "f64" : "f32",
                                  c->o->double_precision ? "f64" : dm_precision_names[c->r->options.precision]);
            dm_manifest_step(&c->j, &c->g, c->step);
        }
        s = c->o->double_precision ? dm_double_step(&d, &c->g, c->step, record ? on_value : NULL, c, err)
                                   : engine_step(c, record, err);
        dm_run_event(c->r, DMPO_EVENT_PROGRESS, NULL, c->step + 1, c->o->last_step + 1, NULL);
    }
    dm_double_close(&d);
    return s;
}

dm_status dm_trace_check(const dm_loss_options *o, dm_error *err)
{
    return !o->mixed && o->link != DM_LINK_SIMPO
               ? DM_OK
               : dm_fail(
                     err, DM_ERR_UNSUPPORTED,
                     "`link-mix` and `link` simpo are not traced: the graph of a step has one link, and a reference");
}

dm_status dm_trace_run(dm_run *r, const dm_trace_options *o, dm_error *err)
{
    recorder c = {.r = r, .o = o, .err = err};
    uint64_t bytes;

    if (dm_trace_check(&r->loss, err) != DM_OK)
        return DM_ERR_UNSUPPORTED;
    if (o->first_step < 0 || o->first_step > o->last_step || o->last_step >= r->steps)
        return dm_fail(err, DM_ERR_ARGUMENT, "`steps` %lld:%lld: the run has steps 0 to %lld", (long long)o->first_step,
                       (long long)o->last_step, (long long)r->steps - 1);
    c.j = (dm_json_writer){.out = &c.text};
    dm_status s = header_bound(&c, &bytes, err);
    if (s == DM_OK && (s = dm_trace_writer_open(&c.w, o->output, o->overwrite, bytes, o->statistics, err)) == DM_OK) {
        s = run_steps(&c, err);
        if (s == DM_OK)
            dm_manifest_end(&c.j, &c.w);
        s = dm_trace_writer_close(&c.w, s, &c.text, err);
    }
    dm_graph_free(&c.g);
    free(c.slopes);
    dm_text_free(&c.text);
    return s;
}
