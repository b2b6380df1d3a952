#include "model/check/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/numeric.h"
#include "model/check/walk.h"
#include "model/trace/reader.h"

#define NAME 320

const char *dm_difference_name(dm_difference d)
{
    static const char *const names[] = {"equal", "rounding", "inherited", "diverges"};
    return names[d];
}

typedef struct side {
    const dm_st *st;
    double **value; /* [nodes] in A's layout */
} side;

typedef struct comparer {
    const dm_compare_options *o;
    const dm_graph *g;
    int64_t step, first; /* of A; first: -1 before it is known */
    side a, b;
    dm_layout *layout;   /* [nodes] of B */
    const char **b_name; /* [nodes] NULL: not in B */
    dm_compare_sink sink;
    void *context;
    dm_compare_counts *counts;
} comparer;

/* ---- finding B's tensor ---- */

/* Names without a step are of a file of one step, which is A's first. */
static const dm_st_tensor *of_step(const comparer *c, const dm_st *st, const char *name)
{
    const dm_st_tensor *t = dm_trace_find(st, c->step, name);
    return t && c->step != c->first && strncmp(t->name, "step.", 5) != 0 ? NULL : t;
}

static const char *mapped(const comparer *c, const char *name)
{
    for (const dm_json *v = c->o->map ? c->o->map->child : NULL; v; v = v->next)
        if (strcmp(v->key, name) == 0 && v->type == DM_JSON_STRING)
            return v->text;
    return name;
}

/* A fused projection that has what this one has: the first of its names that is there. */
static const dm_st_tensor *fused(const comparer *c, const dm_node *n, int *part)
{
    char name[NAME];
    const dm_st_tensor *t = NULL;

    for (size_t k = 0; !t && dm_layout_fused_name(n->name, k, name, sizeof name, part); k++)
        t = of_step(c, c->b.st, name);
    return t;
}

/* ||A - B|| under a layout; infinite when it does not fit. */
static double distance(const comparer *c, uint32_t node, const dm_layout_source *b, dm_layout l)
{
    const dm_node *n = &c->g->nodes[node];
    double sum = 0, y;

    for (size_t i = 0; i < dm_node_count(n); i++) {
        if (!dm_layout_value(c->g, n, b, l, i / n->cols, i % n->cols, &y))
            return INFINITY;
        /* what is not finite counts as a 0 here: it must not decide about the layout */
        const double d = c->a.value[node][i] - (isfinite(y) ? y : 0);
        sum += isfinite(d) ? d * d : 0;
    }
    return sqrt(sum);
}

/* Takes B's tensor in the layout that is nearest to A's; the plain one where it is as near. */
static void lay_out(comparer *c, uint32_t node, const dm_layout_source *b)
{
    const dm_node *n = &c->g->nodes[node];
    dm_layout best = DM_LAYOUT_OTHER;
    double least = INFINITY;

    for (dm_layout l = DM_LAYOUT_SAME; l < DM_LAYOUT_OTHER && least > 0; l++) {
        const double d = distance(c, node, b, l);
        if (isfinite(d) && !(d >= least / 2)) {
            least = d;
            best = l;
        }
    }
    c->layout[node] = best;
    for (size_t i = 0; i < dm_node_count(n) && best != DM_LAYOUT_OTHER; i++)
        dm_layout_value(c->g, n, b, best, i / n->cols, i % n->cols, &c->b.value[node][i]);
}

/* ---- values ---- */

static dm_status read_b(comparer *c, uint32_t node, dm_error *err)
{
    const dm_node *n = &c->g->nodes[node];
    int part = -1;
    uint64_t wrong;
    const dm_st_tensor *t = of_step(c, c->b.st, mapped(c, n->name));

    if (!t && !(t = fused(c, n, &part)))
        return DM_OK;
    double *x = malloc((size_t)(t->count + 1) * sizeof *x);
    c->b.value[node] = calloc(dm_node_count(n) + 1, sizeof *x);
    c->b_name[node] = t->name;
    dm_status s = !x || !c->b.value[node] ? dm_fail(err, DM_ERR_MEMORY, "no memory for %s", n->name)
                                          : dm_trace_values(c->b.st, t, x, &wrong, err);
    if (s == DM_OK) {
        const dm_layout_source b = {x, t->shape, t->dims, (size_t)t->count, part};
        lay_out(c, node, &b);
        if (c->layout[node] == DM_LAYOUT_OTHER) {
            free(c->b.value[node]);
            c->b.value[node] = NULL;
        }
    }
    free(x);
    return s;
}

static dm_status load(comparer *c, uint32_t node, dm_error *err)
{
    const dm_node *n = &c->g->nodes[node];
    const dm_st_tensor *t = dm_trace_find(c->a.st, c->step, n->name);
    uint64_t wrong;

    if (c->a.value[node] || !t || t->count != dm_node_count(n))
        return DM_OK;
    c->a.value[node] = malloc((dm_node_count(n) + 1) * sizeof(double));
    if (!c->a.value[node])
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %s", n->name);
    const dm_status s = dm_trace_values(c->a.st, t, c->a.value[node], &wrong, err);
    return s == DM_OK ? read_b(c, node, err) : s;
}

static void drop(void *context, uint32_t node)
{
    comparer *c = context;

    free(c->a.value[node]);
    free(c->b.value[node]);
    c->a.value[node] = c->b.value[node] = NULL;
}

/* ---- one operation ---- */

/* The formula from one trace's inputs; *known is false when one of them is missing. */
static dm_status evaluate(const comparer *c, const side *x, const dm_op *op, double roundoff, dm_recomputed *r,
                          bool *known, dm_error *err)
{
    const dm_rounding rounding = {.acc = roundoff, .out = roundoff, .flush = 0x1p-126, .least = 0x1p-126, .lambda = 8};
    const double **in = malloc((op->n_in + 1) * sizeof *in);
    bool memory = in != NULL;

    for (uint32_t i = 0; i < op->n_in && memory; i++) {
        const uint32_t node = dm_op_in(c->g, op, i);
        in[i] = node == DM_NODE_NONE ? NULL : x->value[node];
        *known = *known && (node == DM_NODE_NONE || in[i]);
    }
    if (memory && *known)
        memory = dm_recomputed_place(r, c->g, op) && dm_recompute(r, c->g, op, in, &rounding, NULL, c->o->pool);
    free(in);
    return memory ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "no memory to compute an operation again");
}

static double stored_roundoff(const dm_st *st, const char *name)
{
    const dm_st_tensor *t = name ? dm_st_find(st, name) : NULL;

    return !t || t->type == DM_F32 || t->type == DM_F64 ? 0x1p-24 : t->type == DM_BF16 ? 0x1p-8 : 0x1p-11;
}

/* ||X - T|| of a node, for X of both traces; left as they are when the truth lacks it. */
static dm_status from_truth(const comparer *c, uint32_t node, double *a, double *b, dm_error *err)
{
    const dm_node *n = &c->g->nodes[node];
    const dm_st_tensor *t = c->o->truth ? of_step(c, c->o->truth, n->name) : NULL;
    uint64_t wrong;
    double sum[2] = {0};

    if (!t || t->count != dm_node_count(n))
        return DM_OK;
    double *v = malloc((dm_node_count(n) + 1) * sizeof *v);
    const dm_status s =
        v ? dm_trace_values(c->o->truth, t, v, &wrong, err) : dm_fail(err, DM_ERR_MEMORY, "no memory for %s", n->name);
    for (size_t i = 0; i < dm_node_count(n) && s == DM_OK; i++) {
        const double da = c->a.value[node][i] - v[i], db = c->b.value[node][i] - v[i];
        sum[0] += da * da;
        sum[1] += db * db;
    }
    free(v);
    *a = sqrt(sum[0]);
    *b = sqrt(sum[1]);
    return s;
}

/* What B adds to A beyond what their inputs already differ by. */
static dm_status judge(comparer *c, const dm_op *op, uint32_t o, const dm_recomputed *ra, const dm_recomputed *rb,
                       bool known, dm_error *err)
{
    const uint32_t node = dm_op_out(c->g, op, o);
    const dm_node *n = &c->g->nodes[node];
    dm_pair_finding f = {.step = c->step,
                         .g = c->g,
                         .op = op,
                         .node = n,
                         .b_name = c->b_name[node],
                         .layout = c->layout[node],
                         .truth_a = NAN,
                         .truth_b = NAN};
    double difference = 0, size = 0, worst = -1;
    bool over = false;

    if (!c->a.value[node])
        return DM_OK;
    if (!c->b.value[node]) {
        c->counts->missing += !c->b_name[node];
        c->counts->other += c->b_name[node] != NULL;
        if (c->b_name[node])
            c->sink(c->context, &f);
        return DM_OK;
    }
    for (size_t i = 0; i < dm_node_count(n); i++) {
        const double a = c->a.value[node][i], b = c->b.value[node][i], d = fabs(a - b);
        difference += d * d;
        size += a * a;
        if (known && !(fabs((a - b) - (ra->out[o][i] - rb->out[o][i])) <= ra->sound[o][i] + rb->sound[o][i]))
            over = true;
        if (!(d <= worst)) {
            worst = d;
            f.row = i / n->cols;
            f.col = i % n->cols;
            f.a = a;
            f.b = b;
        }
    }
    f.relative = size > 0 ? sqrt(difference / size) : sqrt(difference);
    f.difference = over                                     ? DM_DIFFERENCE_DIVERGES
                   : !(difference > 0 || isnan(difference)) ? DM_DIFFERENCE_NONE
                   : known                                  ? DM_DIFFERENCE_ROUNDING
                                                            : DM_DIFFERENCE_INHERITED;
    const dm_status s = from_truth(c, node, &f.truth_a, &f.truth_b, err);
    if (s != DM_OK)
        return s;
    c->counts->differences[f.difference]++;
    c->sink(c->context, &f);
    return DM_OK;
}

static dm_status compare_op(void *context, const dm_op *op, dm_error *err)
{
    comparer *c = context;
    dm_recomputed ra = {0}, rb = {0};
    double roundoff = 0x1p-24;
    bool known = true;
    dm_status s;

    for (uint32_t i = 0; i < op->n_in + op->n_out; i++) {
        const uint32_t node = i < op->n_in ? dm_op_in(c->g, op, i) : dm_op_out(c->g, op, i - op->n_in);
        if (node == DM_NODE_NONE)
            continue;
        if ((s = load(c, node, err)) != DM_OK)
            return s;
        roundoff = fmax(roundoff, stored_roundoff(c->b.st, c->b_name[node]));
    }
    if ((s = evaluate(c, &c->a, op, roundoff, &ra, &known, err)) == DM_OK)
        s = evaluate(c, &c->b, op, roundoff, &rb, &known, err);
    for (uint32_t o = 0; o < op->n_out && s == DM_OK; o++)
        if (dm_op_out(c->g, op, o) != DM_NODE_NONE)
            s = judge(c, op, o, &ra, &rb, known, err);
    dm_recomputed_free(&ra);
    dm_recomputed_free(&rb);
    return s;
}

static dm_status begin(void *context, const dm_graph *g, int64_t step, dm_error *err)
{
    comparer *c = context;

    c->g = g;
    c->step = step;
    c->first = c->first < 0 ? step : c->first;
    c->a.value = calloc(g->n_nodes, sizeof *c->a.value);
    c->b.value = calloc(g->n_nodes, sizeof *c->b.value);
    c->layout = calloc(g->n_nodes, sizeof *c->layout);
    c->b_name = calloc(g->n_nodes, sizeof *c->b_name);
    return c->a.value && c->b.value && c->layout && c->b_name
               ? DM_OK
               : dm_fail(err, DM_ERR_MEMORY, "no memory to compare a step");
}

static void end(void *context)
{
    comparer *c = context;

    free(c->a.value);
    free(c->b.value);
    free(c->layout);
    free(c->b_name);
}

dm_status dm_compare_traces(const dm_compare_options *o, dm_compare_sink sink, void *context, dm_compare_counts *counts,
                            dm_error *err)
{
    static const dm_walk walk = {begin, compare_op, drop, end};
    comparer c = {
        .o = o, .first = -1, .a = {.st = o->a}, .b = {.st = o->b}, .sink = sink, .context = context, .counts = counts};

    *counts = (dm_compare_counts){0};
    return dm_walk_trace(o->m, &walk, &c, err);
}
