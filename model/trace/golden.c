#include "model/trace/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/output.h"
#include "core/files/path.h"
#include "core/numbers/numeric.h"
#include "model/formats/write.h"
#include "model/trace/writer.h"

typedef struct maker {
    dm_run *r;
    const dm_graph *g;
    dm_trace_writer w;
    dm_json_writer pairs, history;
    dm_text pairs_text, history_text, losses_text;
    double loss, norm;
    double **logp; /* [items] of the first step */
    bool first;
} maker;

static dm_status on_value(void *context, uint32_t node, const double *value, dm_error *err)
{
    maker *k = context;
    const dm_node *n = &k->g->nodes[node];
    const size_t length = strlen(n->name);
    char name[300];

    if (strcmp(n->name, "loss") == 0)
        k->loss = value[0];
    else if (strcmp(n->name, "grad_norm") == 0)
        k->norm = value[0];
    if (!k->first)
        return DM_OK;
    if (strncmp(n->name, "item.", 5) == 0 && length > 5 && strcmp(n->name + length - 5, "/logp") == 0) {
        double *copy = malloc((n->cols + 1) * sizeof *copy);
        if (!copy)
            return dm_fail(err, DM_ERR_MEMORY, "no memory for log-probabilities");
        memcpy(copy, value, n->cols * sizeof *copy);
        k->logp[strtoul(n->name + 5, NULL, 10)] = copy;
    }
    if (strchr(n->name, '/') || length < 6 || strcmp(n->name + length - 5, ".grad") != 0 ||
        strcmp(n->name, "score.grad") == 0)
        return DM_OK;
    snprintf(name, sizeof name, "grad.%s.%.*s", dm_objective_name(k->r->options.objective), (int)(length - 5), n->name);
    return dm_trace_writer_add(&k->w, name, DM_F64, n->dims, n->rows, n->cols, value, err);
}

static void put_numbers(dm_json_writer *j, const char *key, const double *x, size_t n)
{
    dm_json_open_array(j, key);
    for (size_t i = 0; i < n; i++)
        dm_json_put_double(j, NULL, x[i]);
    dm_json_close_value(j);
}

static void put_side(maker *k, const dm_double_run *d, size_t item, int side)
{
    const dm_graph_item *t = &k->g->items[item];
    const dm_data_trajectory *x = side ? &t->item->rejected : &t->item->chosen;
    const dm_pack_side *p = &t->pack.side[side];
    dm_json_writer *j = &k->pairs;

    if (x->n == 0)
        return;
    dm_json_open_object(j, side ? "rejected" : "chosen");
    dm_json_open_array(j, "ids");
    for (size_t i = 0; i < x->n; i++)
        dm_json_put_int(j, NULL, x->ids[i]);
    dm_json_close_value(j);
    dm_json_open_array(j, "turns");
    for (size_t i = 0; i < x->n_turns; i++) {
        dm_json_open_array(j, NULL);
        dm_json_put_uint(j, NULL, x->turns[i].begin);
        dm_json_put_uint(j, NULL, x->turns[i].end);
        dm_json_close_value(j);
    }
    dm_json_close_value(j);
    dm_json_open_array(j, "logps");
    for (size_t i = 0; i < p->n; i++)
        dm_json_put_double(j, NULL, k->logp[item][p->prediction[i]]);
    dm_json_close_value(j);
    const size_t which = (size_t)(t->item - k->r->train.data.items);
    if (d->reference[0])
        put_numbers(j, "reference_logps", d->reference[0] + k->r->train.reference.begin[2 * which + (size_t)side],
                    p->n);
    dm_json_close_value(j);
}

static void put_first(maker *k, const dm_double_run *d)
{
    const dm_train_options *o = &k->r->options;
    dm_json_writer j = {.out = &k->losses_text};

    for (size_t i = 0; i < k->g->o.n_items; i++) {
        dm_json_open_object(&k->pairs, NULL);
        put_side(k, d, i, 0);
        put_side(k, d, i, 1);
        dm_json_close_value(&k->pairs);
    }
    dm_json_open_array(&j, NULL);
    dm_json_open_object(&j, NULL);
    dm_json_put_string(&j, "name", dm_objective_name(o->objective));
    dm_json_put_string(&j, "method", dm_objective_name(o->objective));
    dm_json_put_string(&j, "link", dm_link_names[o->link]);
    dm_json_put_double(&j, "gamma", o->gamma);
    dm_json_put_double(&j, "beta", o->beta);
    dm_json_put_double(&j, "label_smoothing", o->label_smoothing);
    dm_json_put_double(&j, "loss", k->loss);
    dm_json_put_double(&j, "grad_norm", k->norm);
    dm_json_close_value(&j);
    dm_json_close_value(&j);
}

static dm_status run_steps(maker *k, dm_double_run *d, dm_error *err)
{
    dm_run *r = k->r;
    dm_status s = DM_OK;

    dm_json_open_array(&k->pairs, NULL);
    dm_json_open_array(&k->history, NULL);
    for (int64_t step = 0; step < r->steps && s == DM_OK; step++) {
        dm_graph g = {0};
        s = dm_run_graph(&g, r, step, err);
        k->g = &g;
        k->first = step == 0;
        if (s == DM_OK && k->first && !(k->logp = calloc(g.o.n_items, sizeof *k->logp)))
            s = dm_fail(err, DM_ERR_MEMORY, "no memory for a case");
        if (s == DM_OK && (s = dm_double_step(d, &g, step, on_value, k, err)) == DM_OK) {
            if (k->first)
                put_first(k, d);
            dm_json_open_object(&k->history, NULL);
            dm_json_put_double(&k->history, "loss", k->loss);
            dm_json_put_double(&k->history, "grad_norm", k->norm);
            dm_json_put_double(&k->history, "lr", g.o.lr);
            dm_json_close_value(&k->history);
        }
        for (size_t i = 0; k->first && k->logp && i < g.o.n_items; i++)
            free(k->logp[i]);
        k->g = NULL;
        dm_graph_free(&g);
    }
    free(k->logp);
    dm_json_close_value(&k->pairs);
    dm_json_close_value(&k->history);
    for (size_t i = 0; i < r->models.trained_layout->n && s == DM_OK; i++) {
        const dm_tensor *t = &r->models.trained_layout->tensors[i];
        char name[200];
        snprintf(name, sizeof name, "trained.%s", t->name);
        s = dm_trace_writer_add(&k->w, name, DM_F64, t->dims, t->rows, t->cols, d->w + t->offset, err);
    }
    return s;
}

static dm_status write_case(const maker *k, const char *dir, dm_error *err)
{
    const dm_train_options *o = &k->r->options;
    dm_text t = {0};
    dm_json_writer j = {.out = &t};
    dm_path path;

    dm_json_open_object(&j, NULL);
    dm_json_put_string(&j, "case", "made by dmpo golden");
    dm_json_put_raw(&j, "pairs", k->pairs_text.data ? k->pairs_text.data : "null");
    dm_json_put_raw(&j, "losses", k->losses_text.data ? k->losses_text.data : "null");
    dm_json_open_object(&j, "training");
    dm_json_put_string(&j, "loss", dm_objective_name(o->objective));
    dm_json_put_int(&j, "steps", k->r->steps);
    dm_json_put_double(&j, "max_grad_norm", o->max_grad_norm);
    dm_json_put_int(&j, "warmup_steps", k->r->warmup);
    dm_json_put_double(&j, "lr", o->lr);
    dm_json_open_array(&j, "betas");
    dm_json_put_double(&j, NULL, o->beta1);
    dm_json_put_double(&j, NULL, o->beta2);
    dm_json_close_value(&j);
    dm_json_put_double(&j, "eps", o->eps);
    dm_json_put_double(&j, "weight_decay", o->weight_decay);
    dm_json_put_raw(&j, "history", k->history_text.data ? k->history_text.data : "null");
    dm_json_close_value(&j);
    dm_json_close_value(&j);
    dm_text_add(&t, "\n", 1);
    const bool failed = t.failed || k->pairs_text.failed || k->losses_text.failed || k->history_text.failed;
    dm_status s = failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for a case") : DM_OK;
    if (s == DM_OK && (s = dm_path_in(&path, dir, "case.json", err)) == DM_OK)
        s = dm_output_write(path.text, false, t.data, t.size, err);
    dm_text_free(&t);
    return s;
}

static dm_status write_models(const dm_run *r, const char *dir, dm_error *err)
{
    static const char *const names[] = {"model", "reference"};
    const dm_source *reference = r->models.reference[0].source;
    const dm_source *const sources[] = {r->models.policy.source, reference ? reference : r->models.policy.source};
    dm_path path;
    dm_status s = DM_OK;

    for (int i = 0; i < 2 && s == DM_OK; i++)
        if ((s = dm_path_in(&path, dir, names[i], err)) == DM_OK)
            s = dm_write_hf(path.text, false, sources[i], dm_weight_reader_of_source(sources[i]), DM_F32, NULL, err);
    return s;
}

static dm_status write_all(maker *k, const char *dir, dm_error *err)
{
    dm_double_run d = {0};
    dm_path path;
    dm_status s = dm_path_in(&path, dir, "expected.safetensors", err);

    if (s == DM_OK && (s = dm_double_open(&d, k->r, err)) == DM_OK &&
        (s = dm_trace_writer_open(&k->w, path.text, false, 4096 + 600 * (uint64_t)k->r->models.trained_layout->n, false,
                                  err)) == DM_OK) {
        s = run_steps(k, &d, err);
        s = dm_trace_writer_close(&k->w, s, NULL, err);
    }
    dm_double_close(&d);
    if (s == DM_OK)
        s = write_case(k, dir, err);
    return s == DM_OK ? write_models(k->r, dir, err) : s;
}

dm_status dm_golden_make(dm_run *r, const char *output, bool overwrite, dm_error *err)
{
    maker k = {.r = r};
    dm_output_dir dir = {.fd = -1};
    dm_status s;

    if (r->models.policy.lora.o.rank)
        return dm_fail(err, DM_ERR_ARGUMENT, "`lora-rank` and adapters: a case of this command trains every weight");
    k.pairs = (dm_json_writer){.out = &k.pairs_text};
    k.history = (dm_json_writer){.out = &k.history_text};
    s = dm_output_dir_open(&dir, output, overwrite, err);
    if (s == DM_OK)
        s = write_all(&k, dir.temporary.text, err);
    s = dm_output_dir_close(&dir, s, err);
    dm_text_free(&k.pairs_text);
    dm_text_free(&k.history_text);
    dm_text_free(&k.losses_text);
    return s;
}
