#include "model/check/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"
#include "core/numbers/philox.h"
#include "model/check/tally.h"
#include "model/trace/reader.h"
#include "model/truth/proof.h"

/* The chance that an honest trace has one element over its probable bound, for each operation. */
#define LUCK 1e-9
#define TERMS 1e5 /* of the longest sum, in that chance: it enters under a logarithm and a root */

#define SHAKES 3

const char *dm_verdict_name(dm_verdict v)
{
    static const char *const names[] = {"sound", "suspicious", "wrong", "not decidable", "not checked"};
    return names[v];
}

typedef struct checker {
    const dm_st *st;
    const dm_manifest *m;
    dm_pool *pool;
    bool figures;
    const dm_graph *g;
    int64_t step;
    double **value;              /* [nodes] of the trace, or recomputed */
    double **doubt;              /* [nodes] of those recomputed: what the trace's own may differ by; else NULL */
    const dm_st_tensor **tensor; /* [nodes] NULL: not in the trace */
    bool *odd;                   /* [nodes] its values are not finite */
    const double **in;           /* [most inputs] scratch */
    dm_check_sink sink;
    void *context;
    dm_check_counts *counts;
    bool failed;
} checker;

/* ---- precision ---- */

static double roundoff(const char *name)
{
    return strcmp(name, "f64") == 0    ? 0x1p-53
           : strcmp(name, "f32") == 0  ? 0x1p-24
           : strcmp(name, "bf16") == 0 ? 0x1p-8
                                       : 0x1p-11; /* tf32, f16 */
}

static double stored_roundoff(dm_dtype t)
{
    return t == DM_F64 ? 0x1p-53 : t == DM_BF16 ? 0x1p-8 : t == DM_F16 ? 0x1p-11 : 0x1p-24;
}

/* The precision of an operation: the coarser of what the manifest says and of how its outputs are stored. */
static dm_rounding rounding_of(const checker *c, const dm_op *op)
{
    const double compute = roundoff(c->m->compute), in = roundoff(c->m->inputs);
    dm_rounding r = {
        .acc = roundoff(c->m->accumulate), .out = compute, .in = in > compute ? in : 0, .flush = 0x1p-1022};
    double elements = 1;

    for (uint32_t i = 0; i < op->n_out; i++) {
        const uint32_t node = dm_op_out(c->g, op, i);
        if (node == DM_NODE_NONE)
            continue;
        elements += (double)dm_node_count(&c->g->nodes[node]);
        if (!c->tensor[node])
            continue;
        const double out = stored_roundoff(c->tensor[node]->type);
        r.out = out > r.out ? out : r.out;
    }
    if (r.acc > 0x1p-53)
        r.flush = 0x1p-126;
    if (r.out > 0x1p-53)
        r.least = r.out == 0x1p-11 ? 0x1p-25 : 0x1p-126; /* f16 keeps its subnormals, which are this far apart */
    if (r.acc == 0x1p-53)
        r.acc *= 2; /* our own sums are of this kind */
    r.lambda = sqrt(2 * dm_log(2 * elements * TERMS / LUCK));
    return r;
}

/* ---- values ---- */

static double *room(checker *c, size_t n)
{
    double *p = calloc(n ? n : 1, sizeof *p);

    if (!p)
        c->failed = true;
    return p;
}

/* The trace's own value of a node, if it has one. */
static dm_status load(checker *c, uint32_t node, dm_error *err)
{
    const dm_node *n = &c->g->nodes[node];
    const dm_st_tensor *t = c->tensor[node];
    uint64_t wrong;

    if (c->value[node] || !t || t->count != dm_node_count(n))
        return DM_OK;
    if (!(c->value[node] = malloc((dm_node_count(n) + 1) * sizeof(double))))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %s", n->name);
    const dm_status s = dm_trace_values(c->st, t, c->value[node], &wrong, err);
    c->odd[node] = wrong > 0;
    c->counts->bytes += t->end - t->begin;
    return s;
}

static void drop(void *context, uint32_t node)
{
    checker *c = context;

    free(c->value[node]);
    free(c->doubt[node]);
    c->value[node] = c->doubt[node] = NULL;
}

/* Moments of the first step may be left out: they are 0 (the graph has none then). Of a later step they may be those
 * that the step before it made. */
static const dm_st_tensor *find(const checker *c, const dm_node *n)
{
    const dm_st_tensor *t = dm_trace_find(c->st, c->step, n->name);
    char name[256];
    const size_t size = strlen(n->name);

    if (t || c->step == 0 || n->maker != DM_NODE_NONE || size >= sizeof name)
        return t;
    memcpy(name, n->name, size + 1);
    if (size > 4 && strcmp(name + size - 4, ".old") == 0)
        name[size - 4] = 0;
    else if (n->param && size + 4 < sizeof name)
        memcpy(name + size, ".new", 5);
    return dm_trace_find(c->st, c->step - 1, name);
}

/* ---- one operation ---- */

static bool place(checker *c, const dm_op *op, dm_recomputed *b)
{
    c->failed |= !dm_recomputed_place(b, c->g, op);
    return !c->failed;
}

static void evaluate(checker *c, const dm_op *op, const dm_rounding *r, const dm_bug *bug, dm_recomputed *b)
{
    c->failed |= !dm_recompute(b, c->g, op, c->in, r, bug, c->pool);
}

/* The inputs in doubt, each element moved by its doubt up or down; the others as they are. */
static bool move_inputs(checker *c, const dm_op *op, uint64_t shake, const double **in)
{
    for (uint32_t i = 0; i < op->n_in && !c->failed; i++) {
        const uint32_t node = dm_op_in(c->g, op, i);
        if (node == DM_NODE_NONE || !c->doubt[node])
            continue;
        const size_t n = dm_node_count(&c->g->nodes[node]);
        double *moved = room(c, n);
        for (size_t j = 0; moved && j < n; j++)
            moved[j] =
                c->value[node][j] + (dm_random_uniform(shake, DM_RNG_INIT, node, j) < 0.5 ? -1 : 1) * c->doubt[node][j];
        in[i] = moved ? moved : in[i];
    }
    return !c->failed;
}

/* Adds to square[o][i] how far element i moves when inputs in doubt do. */
static void shake_once(checker *c, const dm_op *op, const dm_rounding *r, uint64_t shake, const dm_recomputed *b,
                       dm_recomputed *other, double **square)
{
    const double **in = malloc((op->n_in + 1) * sizeof *in), **own = c->in;

    if (!in) {
        c->failed = true;
        return;
    }
    memcpy(in, own, op->n_in * sizeof *in);
    if (move_inputs(c, op, shake, in)) {
        c->in = in;
        evaluate(c, op, r, NULL, other);
        c->in = own;
    }
    for (uint32_t o = 0; o < op->n_out && !c->failed; o++) {
        const uint32_t node = dm_op_out(c->g, op, o);
        for (size_t j = 0; node != DM_NODE_NONE && j < dm_node_count(&c->g->nodes[node]); j++)
            square[o][j] += (other->out[o][j] - b->out[o][j]) * (other->out[o][j] - b->out[o][j]) / SHAKES;
    }
    for (uint32_t i = 0; i < op->n_in; i++)
        if (in[i] != own[i])
            free((void *)(uintptr_t)in[i]);
    free(in);
}

/* Inputs that were recomputed differ from the trace's own by their rounding. To first order this moves an output by
 * sum a_j e_j, |e_j| <= 1, which for independent e_j of mean zero exceeds lambda |a| with probability
 * 2 exp(-lambda^2 / 2) (Hoeffding 1963). Random signs for e_j have the mean square |a|^2: it is taken from SHAKES of
 * them, of the element or of its tensor, whichever is larger, and widens both bounds. */
static void shake(checker *c, const dm_op *op, const dm_rounding *r, dm_recomputed *b)
{
    dm_recomputed other = {0};
    double *square[DM_WALK_OUTPUTS] = {NULL};
    bool any = false;

    for (uint32_t i = 0; i < op->n_in; i++) {
        const uint32_t node = dm_op_in(c->g, op, i);
        any |= node != DM_NODE_NONE && c->doubt[node];
    }
    if (!any)
        return;
    place(c, op, &other);
    for (uint32_t o = 0; o < op->n_out && !c->failed; o++) {
        const uint32_t node = dm_op_out(c->g, op, o);
        square[o] = node == DM_NODE_NONE ? NULL : room(c, dm_node_count(&c->g->nodes[node]));
    }
    for (uint64_t k = 0; k < SHAKES && !c->failed; k++)
        shake_once(c, op, r, k, b, &other, square);
    for (uint32_t o = 0; o < op->n_out; o++) {
        const size_t n = square[o] ? dm_node_count(&c->g->nodes[dm_op_out(c->g, op, o)]) : 0;
        double mean = 0;
        for (size_t j = 0; j < n; j++)
            mean += square[o][j] / (double)n;
        for (size_t j = 0; j < n; j++) {
            const double moved = r->lambda * sqrt(fmax(square[o][j], mean));
            b->sound[o][j] += moved;
            b->likely[o][j] += moved;
        }
        free(square[o]);
    }
    dm_recomputed_free(&other);
}

/* Output o whole. Returns its verdict. */
static dm_verdict judge(const checker *c, const dm_op *op, uint32_t o, const dm_recomputed *b, dm_finding *f,
                        double *worst)
{
    const uint32_t node = dm_op_out(c->g, op, o);
    const dm_node *n = &c->g->nodes[node];
    dm_tally t = {.worst = *worst};

    dm_tally_weigh(n, c->value[node], 0, dm_node_count(n), b, o, &t);
    dm_tally_give(f, worst, &t);
    return dm_tally_verdict(&t);
}

static bool worse(dm_verdict a, dm_verdict b)
{
    static const int rank[] = {[DM_VERDICT_SOUND] = 0,
                               [DM_VERDICT_UNCHECKED] = 1,
                               [DM_VERDICT_UNDECIDABLE] = 2,
                               [DM_VERDICT_SUSPICIOUS] = 3,
                               [DM_VERDICT_WRONG] = 4};
    return rank[a] > rank[b];
}

/* Whether every output of the operation is what the formula with the mistake makes. */
static bool explains(checker *c, const dm_op *op, const dm_rounding *r, const dm_bug *bug)
{
    dm_recomputed b = {0};
    bool fine = place(c, op, &b);

    if (fine)
        evaluate(c, op, r, bug, &b);
    for (uint32_t o = 0; o < op->n_out && fine; o++) {
        const uint32_t node = dm_op_out(c->g, op, o);
        if (node == DM_NODE_NONE || !c->tensor[node])
            continue;
        dm_finding none = {0};
        double worst = -1;
        fine = judge(c, op, o, &b, &none, &worst) != DM_VERDICT_WRONG;
    }
    dm_recomputed_free(&b);
    return fine && !c->failed;
}

/* Whether the outputs are those of `b` times one number; the number goes to *factor. */
static bool scaled(const checker *c, const dm_op *op, const dm_recomputed *b, double *factor)
{
    double dot = 0, square = 0;

    for (int pass = 0; pass < 2; pass++)
        for (uint32_t o = 0; o < op->n_out; o++) {
            const uint32_t node = dm_op_out(c->g, op, o);
            if (node == DM_NODE_NONE || !c->tensor[node])
                continue;
            for (size_t i = 0; i < dm_node_count(&c->g->nodes[node]); i++) {
                const double got = c->value[node][i], want = b->out[o][i];
                if (pass && !(fabs(got - *factor * want) <= b->sound[o][i] * fmax(1, fabs(*factor))))
                    return false;
                dot += got * want;
                square += want * want;
            }
            *factor = pass ? *factor : dot / square;
        }
    return square > 0 && isfinite(*factor) && *factor != 0;
}

static void name_bugs(checker *c, const dm_op *op, const dm_rounding *r, const dm_recomputed *b, dm_finding *f)
{
    for (size_t i = 0; i < dm_bugs_count && f->n_bugs < DM_EXPLANATIONS; i++)
        if (dm_bugs[i].formula == op->formula && explains(c, op, r, &dm_bugs[i]))
            f->bugs[f->n_bugs++] = &dm_bugs[i];
    double factor = 0;
    if (f->n_bugs == 0 && scaled(c, op, b, &factor)) {
        f->bugs[f->n_bugs++] = &dm_bug_scaled;
        f->factor = factor;
    }
}

/* Outputs that the trace lacks become what was recomputed, in doubt by the bound. */
static void bridge(checker *c, const dm_op *op, dm_recomputed *b)
{
    for (uint32_t o = 0; o < op->n_out; o++) {
        const uint32_t node = dm_op_out(c->g, op, o);
        if (node == DM_NODE_NONE || c->value[node])
            continue;
        c->value[node] = b->out[o];
        c->doubt[node] = b->likely[o];
        b->out[o] = b->likely[o] = NULL;
    }
}

static const char *missing_input(checker *c, const dm_op *op)
{
    for (uint32_t i = 0; i < op->n_in; i++) {
        const uint32_t node = dm_op_in(c->g, op, i);
        c->in[i] = node == DM_NODE_NONE ? NULL : c->value[node];
        const bool spare = (op->formula == DM_FORMULA_ADAM_M || op->formula == DM_FORMULA_ADAM_V) && i == 3;
        if (node != DM_NODE_NONE && !c->in[i] && !spare)
            return c->g->nodes[node].name;
    }
    return NULL;
}

/* Whether the node's values are the trace's own, and floats. */
static bool of_floats(const checker *c, uint32_t node)
{
    return node == DM_NODE_NONE ||
           (!c->doubt[node] && c->tensor[node] &&
            (c->tensor[node]->type == DM_F32 || c->tensor[node]->type == DM_BF16 || c->tensor[node]->type == DM_F16));
}

/* Whether the operation is a product that is sound without being computed in double. */
static bool proved(checker *c, const dm_op *op, const dm_rounding *r)
{
    const uint32_t node = op->n_out == 1 ? dm_op_out(c->g, op, 0) : DM_NODE_NONE;
    bool fine = !c->figures && node != DM_NODE_NONE && c->tensor[node];

    for (uint32_t i = 0; i < op->n_in; i++)
        fine &= of_floats(c, dm_op_in(c->g, op, i));
    const dm_evaluation e = {.g = c->g, .op = op, .in = c->in, .r = *r, .failed = &c->failed};
    return fine && dm_product_proved(&e, c->value[node], c->pool);
}

/* ---- in parts ---- */

/* Elements of all outputs that are computed and weighed at a time: with their bounds they stay in the second cache. */
#define PART ((size_t)8192)

typedef struct in_parts {
    checker *c;
    const dm_evaluation *e;
    size_t units;
    bool failed[DM_THREADS_MAX];
    dm_tally t[DM_WALK_OUTPUTS][DM_THREADS_MAX];
} in_parts;

static void weigh_parts(void *context, unsigned part, unsigned parts)
{
    in_parts *p = context;
    const dm_graph *g = p->c->g;
    const dm_op *op = p->e->op;
    const dm_range range = dm_range_split(p->units, 1, part, parts);
    size_t width[DM_WALK_OUTPUTS] = {0}, all = 0;
    dm_recomputed b = {0};
    dm_evaluation e = *p->e;

    for (uint32_t o = 0; o < op->n_out; o++)
        all += width[o] = dm_node_count(&g->nodes[dm_op_out(g, op, o)]) / p->units;
    const size_t each = all < PART ? PART / (all ? all : 1) : 1;
    for (uint32_t o = 0; o < op->n_out && !p->failed[part]; o++) {
        b.out[o] = malloc((4 * each * width[o] + 1) * sizeof(double));
        p->failed[part] = !b.out[o];
        b.sound[o] = b.out[o] ? b.out[o] + each * width[o] : NULL;
        b.likely[o] = b.out[o] ? b.sound[o] + each * width[o] : NULL;
        b.size[o] = b.out[o] ? b.likely[o] + each * width[o] : NULL;
    }
    e.out = b.out;
    e.sound = b.sound;
    e.likely = b.likely;
    e.size = b.size;
    e.failed = &p->failed[part];
    for (size_t begin = range.begin, end; begin < range.end && !p->failed[part]; begin = end) {
        end = begin + each < range.end ? begin + each : range.end;
        dm_formula_part(&e, begin, end);
        for (uint32_t o = 0; o < op->n_out; o++)
            dm_tally_weigh(&g->nodes[dm_op_out(g, op, o)], p->c->value[dm_op_out(g, op, o)], begin * width[o],
                           (end - begin) * width[o], &b, o, &p->t[o][part]);
    }
    for (uint32_t o = 0; o < op->n_out; o++)
        free(b.out[o]);
}

/* Judges an operation part by part, on all threads, where that can be done: all of its tensors are in the trace. False:
 * it must be computed whole, because it cannot or because that is wrong and has yet to be named. */
static bool judged_in_parts(checker *c, const dm_op *op, const dm_rounding *r, dm_finding *f)
{
    dm_evaluation e = {.g = c->g, .op = op, .in = c->in, .r = *r};
    const size_t units = dm_formula_units(&e);
    bool fine = units > 0 && !f->bridged;
    dm_verdict verdict = DM_VERDICT_SOUND;
    double worst = -1;

    for (uint32_t o = 0; o < op->n_out; o++) {
        const uint32_t node = dm_op_out(c->g, op, o);
        fine = fine && node != DM_NODE_NONE && c->tensor[node];
    }
    in_parts *p = fine ? calloc(1, sizeof *p) : NULL;
    if (!p) {
        c->failed |= fine;
        return false;
    }
    p->c = c;
    p->e = &e;
    p->units = units;
    dm_formula_prepare(&e);
    for (size_t i = 0; i < DM_WALK_OUTPUTS * DM_THREADS_MAX; i++)
        p->t[i / DM_THREADS_MAX][i % DM_THREADS_MAX].worst = -1;
    if (c->pool)
        dm_pool_run(c->pool, weigh_parts, p);
    else
        weigh_parts(p, 0, 1);
    dm_finding found = *f;
    for (uint32_t o = 0; o < op->n_out; o++) {
        dm_tally t = {.worst = -1};
        for (size_t i = 0; i < DM_THREADS_MAX; i++) {
            dm_tally_add(&t, &p->t[o][i]);
            c->failed |= p->failed[i];
        }
        dm_tally_give(&found, &worst, &t);
        /* the sums' roundings depend on the number of threads; the verdict must not */
        fine &= !(fabs(t.bound - t.all) <= 1e-9 * t.all) || t.all == 0;
        const dm_verdict v = dm_tally_verdict(&t);
        verdict = worse(v, verdict) ? v : verdict;
    }
    free(p);
    if (!fine || c->failed || verdict == DM_VERDICT_WRONG)
        return false;
    *f = found;
    f->verdict = verdict;
    return true;
}

static dm_status check_op(void *context, const dm_op *op, dm_error *err)
{
    checker *c = context;
    const dm_rounding r = rounding_of(c, op);
    dm_finding f = {.step = c->step, .g = c->g, .op = op};
    dm_recomputed b = {0};
    bool present = false;
    double worst = -1;

    for (uint32_t i = 0; i < op->n_in + op->n_out; i++) {
        const uint32_t node = i < op->n_in ? dm_op_in(c->g, op, i) : dm_op_out(c->g, op, i - op->n_in);
        if (node == DM_NODE_NONE)
            continue;
        const dm_status s = load(c, node, err);
        if (s != DM_OK)
            return s;
        if (i < op->n_in)
            f.bridged |= c->doubt[node] != NULL;
        else if (c->tensor[node]) {
            present = true;
            f.node = f.node ? f.node : &c->g->nodes[node];
            if (c->tensor[node]->count != dm_node_count(&c->g->nodes[node])) {
                f.verdict = DM_VERDICT_WRONG;
                f.note = "another shape";
            }
        }
    }
    f.missing = missing_input(c, op);
    if (f.note || f.missing) {
        f.verdict = f.note ? f.verdict : DM_VERDICT_UNCHECKED;
    } else if (!proved(c, op, &r) && !judged_in_parts(c, op, &r, &f) && place(c, op, &b)) {
        evaluate(c, op, &r, NULL, &b);
        shake(c, op, &r, &b);
        for (uint32_t o = 0; o < op->n_out; o++) {
            const uint32_t node = dm_op_out(c->g, op, o);
            if (node == DM_NODE_NONE || !c->tensor[node])
                continue;
            const dm_verdict v = judge(c, op, o, &b, &f, &worst);
            f.verdict = worse(v, f.verdict) ? v : f.verdict;
            f.note = c->odd[node] && v == DM_VERDICT_WRONG ? "not finite" : f.note;
        }
        if (f.verdict == DM_VERDICT_WRONG)
            name_bugs(c, op, &r, &b, &f);
        bridge(c, op, &b);
    }
    dm_recomputed_free(&b);
    if (c->failed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory to check an operation");
    if (present) {
        c->counts->verdicts[f.verdict]++;
        c->counts->bridged += f.bridged;
        c->sink(c->context, &f);
    }
    return DM_OK;
}

static dm_status begin(void *context, const dm_graph *g, int64_t step, dm_error *err)
{
    checker *c = context;
    size_t most = 1;

    for (size_t i = 0; i < g->n_ops; i++)
        most = g->ops[i].n_in > most ? g->ops[i].n_in : most;
    c->g = g;
    c->step = step;
    c->value = calloc(g->n_nodes, sizeof *c->value);
    c->doubt = calloc(g->n_nodes, sizeof *c->doubt);
    c->tensor = calloc(g->n_nodes, sizeof *c->tensor);
    c->odd = calloc(g->n_nodes, sizeof *c->odd);
    c->in = malloc(most * sizeof *c->in);
    if (!c->value || !c->doubt || !c->tensor || !c->odd || !c->in)
        return dm_fail(err, DM_ERR_MEMORY, "no memory to check a step");
    for (size_t i = 0; i < g->n_nodes; i++)
        c->tensor[i] = find(c, &g->nodes[i]);
    return DM_OK;
}

static void end(void *context)
{
    checker *c = context;

    free(c->value);
    free(c->doubt);
    free(c->tensor);
    free(c->odd);
    free(c->in);
}

dm_status dm_check_trace(const dm_st *st, const dm_manifest *m, dm_pool *pool, bool figures, dm_check_sink sink,
                         void *context, dm_check_counts *counts, dm_error *err)
{
    static const dm_walk walk = {begin, check_op, drop, end};
    checker c = {
        .st = st, .m = m, .pool = pool, .figures = figures, .sink = sink, .context = context, .counts = counts};

    *counts = (dm_check_counts){0};
    return dm_walk_trace(m, &walk, &c, err);
}
