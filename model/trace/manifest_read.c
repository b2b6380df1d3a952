#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/trace/manifest.h"
#include "model/train/options.h"

#define REAL_MAX 1e300
#define ROWS_MAX ((int64_t)1 << 24)

static dm_status choice(const dm_json_doc *doc, const dm_json *v, const char *key, const char *const *names, int *out,
                        dm_error *err)
{
    const dm_json *x = dm_json_get(v, key);

    *out = 0;
    if (!x)
        return DM_OK;
    for (int i = 0; names[i]; i++)
        if (dm_json_is(x, names[i])) {
            *out = i;
            return DM_OK;
        }
    return dm_json_fail(doc, x, err, "\"%s\" is not one of its names; %s is the first", key, names[0]);
}

static dm_status real(const dm_json_doc *doc, const dm_json *v, const char *key, double fallback, double *out,
                      dm_error *err)
{
    return dm_json_get_double(doc, v, key, -REAL_MAX, REAL_MAX, &fallback, out, err);
}

static dm_status flag(const dm_json_doc *doc, const dm_json *v, const char *key, bool fallback, bool *out,
                      dm_error *err)
{
    return dm_json_get_bool(doc, v, key, &fallback, out, err);
}

static dm_status object(const dm_json_doc *doc, const char *key, const dm_json **out, dm_error *err)
{
    *out = dm_json_get(dm_json_root(doc), key);
    if (*out && (*out)->type == DM_JSON_OBJECT)
        return DM_OK;
    return dm_json_fail(doc, *out ? *out : dm_json_root(doc), err, "\"%s\" must be an object of the manifest", key);
}

static dm_status read_loss(dm_manifest *m, dm_error *err)
{
    dm_loss_options *l = &m->loss;
    const dm_json_doc *d = m->doc;
    const dm_json *v;
    int objective, link, phi, mode, pairing;
    dm_status s;

    if ((s = object(d, "loss", &v, err)) != DM_OK ||
        (s = choice(d, v, "objective", dm_objective_names, &objective, err)) != DM_OK ||
        (s = choice(d, v, "link", dm_link_names, &link, err)) != DM_OK ||
        (s = choice(d, v, "phi", dm_phi_names, &phi, err)) != DM_OK ||
        (s = choice(d, v, "alpha_mode", dm_alpha_mode_names, &mode, err)) != DM_OK ||
        (s = choice(d, v, "alpha_pairing", dm_alpha_pairing_names, &pairing, err)) != DM_OK ||
        (s = real(d, v, "beta", 0.1, &l->beta, err)) != DM_OK ||
        (s = real(d, v, "gamma", 0.7, &l->gamma, err)) != DM_OK ||
        (s = real(d, v, "label_smoothing", 0, &l->label_smoothing, err)) != DM_OK ||
        (s = real(d, v, "sft_weight", 0, &l->sft_weight, err)) != DM_OK ||
        (s = real(d, v, "temperature", 0.05, &l->temperature, err)) != DM_OK ||
        (s = flag(d, v, "length_normalised", false, &l->length_normalised, err)) != DM_OK ||
        (s = real(d, v, "desirable_weight", 1, &l->desirable_weight, err)) != DM_OK ||
        (s = real(d, v, "undesirable_weight", 1, &l->undesirable_weight, err)) != DM_OK ||
        (s = flag(d, v, "two_references", false, &l->two_references, err)) != DM_OK ||
        (s = real(d, v, "alpha", 0.5, &l->alpha, err)) != DM_OK ||
        (s = real(d, v, "trust_region", 0, &l->trust_region, err)) != DM_OK)
        return s;
    l->objective = (dm_objective_kind)objective;
    l->link = (dm_loss_link)link;
    l->phi = (dm_loss_phi)phi;
    l->alpha_mode = (dm_alpha_mode)mode;
    l->alpha_pairing = (dm_alpha_pairing)pairing;
    return dm_loss_check(l, err);
}

static dm_status read_optimizer(dm_manifest *m, dm_error *err)
{
    const dm_json_doc *d = m->doc;
    const dm_json *v;
    dm_status s;

    if ((s = object(d, "optimizer", &v, err)) != DM_OK ||
        (s = real(d, v, "beta1", 0.9, &m->adamw.beta1, err)) != DM_OK ||
        (s = real(d, v, "beta2", 0.999, &m->adamw.beta2, err)) != DM_OK ||
        (s = real(d, v, "eps", 1e-8, &m->adamw.eps, err)) != DM_OK ||
        (s = real(d, v, "weight_decay", 0, &m->adamw.weight_decay, err)) != DM_OK ||
        (s = real(d, v, "max_grad_norm", 0, &m->max_grad_norm, err)) != DM_OK)
        return s;
    return real(d, v, "clip_eps", 0, &m->clip_eps, err);
}

static dm_status read_lora(dm_manifest *m, dm_error *err)
{
    const dm_json *v = dm_json_get(dm_json_root(m->doc), "lora");
    dm_lora_options o = {0};
    int64_t rank;
    dm_status s;

    if (!v || v->type == DM_JSON_NULL)
        return DM_OK;
    if ((s = dm_json_get_int(m->doc, v, "r", 1, DM_LORA_RANK_MAX, NULL, &rank, err)) != DM_OK ||
        (s = dm_json_get_double(m->doc, v, "alpha", 1e-30, REAL_MAX, NULL, &o.alpha, err)) != DM_OK ||
        (s = flag(m->doc, v, "stabilised", false, &o.stabilised, err)) != DM_OK)
        return s;
    o.rank = (uint32_t)rank;
    const dm_json *targets = dm_json_get(v, "targets");
    for (const dm_json *t = targets ? targets->child : NULL; t; t = t->next) {
        unsigned p = 0;
        while (p < DM_PROJECTIONS && !dm_json_is(t, dm_projection_module((dm_projection)p)))
            p++;
        if (p == DM_PROJECTIONS)
            return dm_json_fail(m->doc, t, err, "a target must be one of q_proj ... down_proj");
        o.targets |= 1u << p;
    }
    if (!o.targets)
        return dm_json_fail(m->doc, v, err, "\"targets\" must list the projections that have an adapter");
    return dm_lora_build(&m->lora, &o, &m->config, err);
}

/* ---- items ---- */

static dm_status read_ids(dm_manifest *m, const dm_json *v, dm_data_trajectory *t, dm_error *err)
{
    const dm_json *ids = dm_json_get(v, "ids");

    if (!ids || ids->type != DM_JSON_ARRAY || ids->length == 0 || ids->length > (size_t)ROWS_MAX)
        return dm_json_fail(m->doc, ids ? ids : v, err, "\"ids\" must be a list of 1 to %lld token ids",
                            (long long)ROWS_MAX);
    t->ids = malloc(ids->length * sizeof *t->ids);
    if (!t->ids)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu token ids", ids->length);
    for (const dm_json *id = ids->child; id; id = id->next) {
        if (id->type != DM_JSON_NUMBER || !id->is_integer || id->integer < 0 || id->integer >= (int64_t)m->config.vocab)
            return dm_json_fail(m->doc, id, err, "a token id must be an integer from 0 to %u",
                                (unsigned)m->config.vocab - 1);
        t->ids[t->n++] = (int32_t)id->integer;
    }
    return DM_OK;
}

static dm_status read_turns(dm_manifest *m, const dm_json *v, dm_data_trajectory *t, dm_error *err)
{
    const dm_json *turns = dm_json_get(v, "turns");
    size_t end = 1;

    if (!turns || turns->type != DM_JSON_ARRAY || turns->length == 0)
        return dm_json_fail(m->doc, turns ? turns : v, err, "\"turns\" must be a list of [begin, end)");
    t->turns = malloc(turns->length * sizeof *t->turns);
    if (!t->turns)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu turns", turns->length);
    for (const dm_json *turn = turns->child; turn; turn = turn->next) {
        const dm_json *a = turn->type == DM_JSON_ARRAY ? turn->child : NULL, *b = a ? a->next : NULL;
        if (!b || b->next || a->type != DM_JSON_NUMBER || b->type != DM_JSON_NUMBER || !a->is_integer ||
            !b->is_integer || a->integer < (int64_t)end || b->integer <= a->integer || b->integer > (int64_t)t->n)
            return dm_json_fail(m->doc, turn, err,
                                "a turn must be [begin, end) with 1 <= begin < end <= %zu, after the one before it",
                                t->n);
        t->turns[t->n_turns++] = (dm_span){(size_t)a->integer, (size_t)b->integer};
        end = (size_t)b->integer;
        t->n_actions += (size_t)(b->integer - a->integer);
    }
    return DM_OK;
}

static dm_status read_side(dm_manifest *m, const dm_json *item, const char *key, dm_data_trajectory *t, dm_error *err)
{
    const dm_json *v = dm_json_get(item, key);

    if (!v || v->type == DM_JSON_NULL)
        return DM_OK;
    const dm_status s = read_ids(m, v, t, err);
    return s == DM_OK ? read_turns(m, v, t, err) : s;
}

static dm_status read_items(dm_manifest *m, const dm_json *v, dm_trace_step *step, dm_error *err)
{
    const dm_json *items = dm_json_get(v, "items");
    dm_status s = DM_OK;

    if (!items || items->type != DM_JSON_ARRAY || items->length == 0)
        return dm_json_fail(m->doc, items ? items : v, err, "\"items\" must be a list with at least one item");
    step->items = calloc(items->length, sizeof *step->items);
    if (!step->items)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the items of a trace");
    for (const dm_json *item = items->child; item && s == DM_OK; item = item->next) {
        dm_data_item *t = &step->items[step->n_items++];
        static char none[] = "";
        t->id = none;
        if ((s = read_side(m, item, "chosen", &t->chosen, err)) == DM_OK)
            s = read_side(m, item, "rejected", &t->rejected, err);
        if (s == DM_OK && m->loss.objective == DM_OBJECTIVE_SFT)
            t->rejected.n = t->rejected.n_turns = t->rejected.n_actions = 0;
        if (s == DM_OK && t->chosen.n == 0 && (m->loss.objective != DM_OBJECTIVE_KTO || t->rejected.n == 0))
            s = dm_json_fail(m->doc, item, err, "an item must have a chosen side");
        if (s == DM_OK && t->rejected.n == 0 && m->loss.objective != DM_OBJECTIVE_KTO &&
            m->loss.objective != DM_OBJECTIVE_SFT)
            s = dm_json_fail(m->doc, item, err, "an item must have a rejected side");
    }
    return s;
}

static dm_status read_steps(dm_manifest *m, dm_error *err)
{
    const dm_json *steps = dm_json_get(dm_json_root(m->doc), "steps");
    dm_status s = DM_OK;

    if (!steps || steps->type != DM_JSON_ARRAY || steps->length == 0)
        return dm_json_fail(m->doc, steps ? steps : dm_json_root(m->doc), err,
                            "\"steps\" must be a list with at least one step");
    m->steps = calloc(steps->length, sizeof *m->steps);
    if (!m->steps)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the steps of a trace");
    for (const dm_json *v = steps->child; v && s == DM_OK; v = v->next) {
        dm_trace_step *step = &m->steps[m->n_steps++];
        if ((s = dm_json_get_int(m->doc, v, "step", 0, INT_MAX, NULL, &step->number, err)) == DM_OK &&
            (s = real(m->doc, v, "lr", 0, &step->lr, err)) == DM_OK)
            s = read_items(m, v, step, err);
    }
    return s;
}

static dm_status read_precision(dm_manifest *m, dm_error *err)
{
    static const char *const names[] = {"f64", "f32", "tf32", "bf16", "f16", NULL};
    const dm_json *v = dm_json_get(dm_json_root(m->doc), "precision");
    static const char *const keys[] = {"compute", "accumulate", "inputs"};
    const char **const out[] = {&m->compute, &m->accumulate, &m->inputs};

    for (size_t i = 0; i < 3; i++) {
        int n = 1;
        if (dm_json_get(v, keys[i])) {
            const dm_status s = choice(m->doc, v, keys[i], names, &n, err);
            if (s != DM_OK)
                return s;
        } else if (i == 2)
            n = -1;
        *out[i] = n < 0 ? m->compute : names[n];
    }
    return DM_OK;
}

dm_status dm_manifest_read(dm_manifest *m, const dm_st *st, const char *path, dm_error *err)
{
    const char *text = dm_st_metadata(st, "manifest");
    const dm_json *v;
    int64_t version;
    dm_status s;

    memset(m, 0, sizeof *m);
    if (!text)
        return dm_fail(err, DM_ERR_INPUT,
                       "%s: no \"manifest\" in the file's __metadata__; docs/trace.md says what a trace has", path);
    char name[DM_ERROR_MAX];
    snprintf(name, sizeof name, "%.300s (manifest)", path);
    if ((s = dm_json_parse(&m->doc, text, strlen(text), name, err)) != DM_OK)
        return s;
    const dm_json *root = dm_json_root(m->doc);
    if (!dm_json_is(dm_json_get(root, "format"), DM_TRACE_FORMAT))
        return dm_json_fail(m->doc, root, err, "\"format\" must be \"" DM_TRACE_FORMAT "\"");
    if ((s = dm_json_get_int(m->doc, root, "version", 1, DM_TRACE_VERSION, NULL, &version, err)) != DM_OK ||
        (s = object(m->doc, "config", &v, err)) != DM_OK ||
        (s = dm_config_parse(&m->config, m->doc, v, NULL, err)) != DM_OK ||
        (s = dm_param_layout_build(&m->layout, &m->config, err)) != DM_OK || (s = read_lora(m, err)) != DM_OK ||
        (s = read_loss(m, err)) != DM_OK || (s = read_optimizer(m, err)) != DM_OK ||
        (s = read_precision(m, err)) != DM_OK ||
        (s = flag(m->doc, root, "share_prefix", false, &m->share_prefix, err)) != DM_OK ||
        (s = flag(m->doc, root, "narrow", false, &m->narrow, err)) != DM_OK)
        return s;
    const dm_json *writer = dm_json_get(root, "writer");
    snprintf(m->writer, sizeof m->writer, "%s", writer && writer->text ? writer->text : "");
    return read_steps(m, err);
}

void dm_manifest_close(dm_manifest *m)
{
    for (size_t i = 0; i < m->n_steps; i++) {
        for (size_t k = 0; k < m->steps[i].n_items; k++) {
            dm_data_item *t = &m->steps[i].items[k];
            free(t->chosen.ids);
            free(t->chosen.turns);
            free(t->rejected.ids);
            free(t->rejected.turns);
        }
        free(m->steps[i].items);
    }
    free(m->steps);
    dm_lora_free(&m->lora);
    dm_param_layout_free(&m->layout);
    dm_json_close(&m->doc);
    memset(m, 0, sizeof *m);
}

dm_status dm_manifest_graph(dm_graph *g, const dm_manifest *m, size_t i, dm_error *err)
{
    const dm_trace_step *step = &m->steps[i];
    const dm_graph_options o = {.config = &m->config,
                                .layout = &m->layout,
                                .lora = m->lora.o.rank ? &m->lora : NULL,
                                .items = step->items,
                                .n_items = step->n_items,
                                .share_prefix = m->share_prefix,
                                .narrow = m->narrow,
                                .loss = m->loss,
                                .adamw = m->adamw,
                                .lr = step->lr,
                                .max_grad_norm = m->max_grad_norm,
                                .clip_eps = m->clip_eps,
                                .t = step->number + 1};
    return dm_graph_build(g, &o, err);
}
