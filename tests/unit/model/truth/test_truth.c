/* The step in double against the golden cases' independent float64 implementation: loss, gradients, trained weights
 * within 1e-12 of the tensor's norm, for every architecture and for adapters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/safetensors.h"
#include "model/trace/run_graph.h"
#include "tests/support/check.h"

#define LIMIT 1e-12

typedef struct golden {
    char dir[512], model[600], reference[600], data[600];
    dm_json_doc *doc;
    dm_st *expected;
    const dm_engine *e;
    double worst;
    bool adds; /* torch's clipping made the trained weights: limit / (norm + 1e-6) */
} golden;

static double number(const dm_json *v, const char *key, double fallback)
{
    const dm_json *x = dm_json_get(v, key);
    return x && x->type == DM_JSON_NUMBER ? x->number : fallback;
}

static dm_train_options options_of(const golden *g, const dm_json *loss)
{
    dm_train_options o;
    const bool sft = dm_json_is(dm_json_get(loss, "method"), "sft");

    dm_train_defaults(&o, sft ? DM_OBJECTIVE_SFT : DM_OBJECTIVE_DMPO);
    o.beta = number(loss, "beta", 0.1);
    o.gamma = number(loss, "gamma", 0.7);
    o.model = g->model;
    o.reference = g->reference;
    o.data = g->data;
    o.shuffle = false;
    return o;
}

typedef struct sink {
    golden *g;
    const dm_graph *graph;
    const char *prefix;
    double loss;
    const dm_run *r;
    const double *start; /* of trained weights */
} sink;

/* ||got - want|| / ||want - base|| */
static void compare(golden *g, const char *prefix, const char *name, const double *got, size_t n, const double *base)
{
    char key[256];
    dm_error err = {0};

    snprintf(key, sizeof key, "%s%s", prefix, name);
    const dm_st_tensor *want = dm_st_find(g->expected, key);
    if (!want)
        return;
    double *values = malloc(n * sizeof *values), difference = 0, size = 0;
    if (CK(values && want->count == n) && CK(dm_st_read_f64(g->expected, want, values, &err) == DM_OK))
        for (size_t i = 0; i < n; i++) {
            const double b = base ? base[i] : 0;
            difference += (got[i] - values[i]) * (got[i] - values[i]);
            size += (values[i] - b) * (values[i] - b);
        }
    free(values);
    const double error = sqrt(difference / size);
    CK_MSG(error <= LIMIT, "%s: %s: %g", g->dir, key, error);
    g->worst = fmax(g->worst, error);
}

static dm_status take(void *context, uint32_t node, const double *value, dm_error *err)
{
    sink *k = context;
    const dm_node *n = &k->graph->nodes[node];
    char name[200];

    (void)err;
    if (strcmp(n->name, "loss") == 0)
        k->loss = value[0];
    const size_t length = strlen(n->name);
    if (k->prefix && strchr(n->name, '/') == NULL && length > 5 && strcmp(n->name + length - 5, ".grad") == 0) {
        snprintf(name, sizeof name, "%.*s", (int)(length - 5), n->name);
        compare(k->g, k->prefix, name, value, dm_node_count(n), NULL);
    }
    return DM_OK;
}

static void run_steps(golden *g, const dm_json *loss, const dm_train_options *o, const dm_json *history)
{
    dm_run r;
    dm_error err = {0};
    dm_double_run d = {0};
    char prefix[64];
    dm_status s = dm_run_open(&r, g->e, o, NULL, NULL, &err);

    if (s == DM_OK)
        s = dm_run_place(&r, &err);
    if (s == DM_OK)
        s = dm_run_reference(&r, &err);
    if (s == DM_OK)
        s = dm_double_open(&d, &r, &err);
    snprintf(prefix, sizeof prefix, "grad.%s.", dm_json_get(loss, "name")->text);
    const size_t floats = s == DM_OK ? r.models.trained_layout->floats : 0;
    double *start = malloc((floats + 1) * sizeof *start);
    if (floats && start)
        memcpy(start, d.w, floats * sizeof *start);
    for (int64_t step = 0; step < (history ? r.steps : 1) && s == DM_OK; step++) {
        dm_graph graph = {0};
        sink k = {.g = g, .graph = &graph, .prefix = step == 0 ? prefix : NULL};
        s = dm_run_graph(&graph, &r, step, &err);
        graph.o.clip_eps = g->adds ? 1e-6 : 0;
        if (s == DM_OK)
            s = dm_double_step(&d, &graph, step, take, &k, &err);
        const double want = number(history ? history : loss, "loss", NAN);
        if (s == DM_OK)
            CK_MSG(fabs(k.loss - want) <= LIMIT * fabs(want), "%s: %s step %d: loss %.17g, expected %.17g", g->dir,
                   prefix, (int)step, k.loss, want);
        history = history ? history->next : NULL;
        dm_graph_free(&graph);
    }
    CK_MSG(s == DM_OK, "%s: %s", g->dir, err.message);
    if (o->steps && s == DM_OK)
        for (size_t i = 0; i < r.models.trained_layout->n; i++) {
            const dm_tensor *t = &r.models.trained_layout->tensors[i];
            compare(g, "trained.", t->name, d.w + t->offset, t->rows * t->cols, start + t->offset);
        }
    free(start);
    dm_double_close(&d);
    dm_run_close(&r);
}

static void run_case(golden *g)
{
    const dm_json *root = dm_json_root(g->doc), *t = dm_json_get(root, "training"), *first = NULL;

    for (const dm_json *l = dm_json_get(root, "losses")->child; l; l = l->next) {
        const char *name = dm_json_get(l, "name")->text;
        if (dm_json_is(dm_json_get(t, "loss"), name))
            first = l;
        if (strcmp(name, "sft") != 0)
            continue; /* dmpo's are those of the first step of training */
        dm_train_options o = options_of(g, l);
        o.batch = (int64_t)dm_json_get(root, "pairs")->length;
        run_steps(g, l, &o, NULL);
    }
    dm_train_options o = options_of(g, first);
    o.steps = (int64_t)number(t, "steps", 0);
    o.lr = number(t, "lr", 0);
    o.max_grad_norm = number(t, "max_grad_norm", 0);
    o.warmup_steps = (int64_t)number(t, "warmup_steps", 0);
    o.weight_decay = number(t, "weight_decay", 0);
    o.eps = number(t, "eps", 1e-8);
    o.beta1 = dm_json_get(t, "betas")->child->number;
    o.beta2 = dm_json_get(t, "betas")->child->next->number;
    run_steps(g, first, &o, dm_json_get(t, "history")->child);
}

int main(void)
{
    static const char *const cases[] = {"golden/llama-tied-gqa",  "golden/llama-untied-mha",
                                        "golden/mistral-window",  "golden/qwen2-bias",
                                        "golden/qwen3-qknorm",    "golden/gemma3",
                                        "golden/smollm3-nope",    "golden/llama-yarn-bias",
                                        "golden-lora/llama-all",  "golden-lora/qwen2-stabilised",
                                        "golden-lora/qwen3-some", "golden-lora/gemma3-all"};
    const char *src = getenv("SRC");
    dm_engine e = {0};
    dm_error err = {0};
    dm_isa isa;

    if (CK(dm_isa_choose(&isa, NULL, &err) == DM_OK) && CK(dm_engine_open(&e, isa, 2, &err) == DM_OK))
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            golden g = {.e = &e, .adds = i < 5};
            char path[700];
            snprintf(g.dir, sizeof g.dir, "%s/tests/%s", src ? src : ".", cases[i]);
            snprintf(g.model, sizeof g.model, "%s/model", g.dir);
            snprintf(g.data, sizeof g.data, "%s/case.json", g.dir);
            snprintf(path, sizeof path, "%s/expected.safetensors", g.dir);
            if (CK(dm_json_read(&g.doc, g.data, &err) == DM_OK) && CK(dm_st_open(&g.expected, path, &err) == DM_OK)) {
                const dm_json *reference = dm_json_get(dm_json_root(g.doc), "reference");
                snprintf(g.reference, sizeof g.reference, "%s/%s", g.dir, reference ? reference->text : "reference");
                run_case(&g);
                printf("%s: worst %.2e\n", cases[i], g.worst);
            }
            dm_json_close(&g.doc);
            dm_st_close(&g.expected);
        }
    dm_engine_close(&e);
    return ck_done("truth");
}
