#include <string.h>

#include "core/numbers/numeric.h"
#include "model/trace/manifest.h"
#include "model/train/options.h"

#define NAME_ROOM 460 /* of what the header and the manifest say of a tensor beside its name */
#define OPERATION_ROOM 300

static const char *const orders[DM_FORMULA_COUNT] = {
    [DM_FORMULA_EMBED] = "none",
    [DM_FORMULA_NORM] = "lanes16 sum of squares",
    [DM_FORMULA_LINEAR] = "chain of fma over k ascending, then over the adapter's rank",
    [DM_FORMULA_LORA_DOWN] = "chain of fma over k ascending",
    [DM_FORMULA_ATTENTION] = "chains of fma over head_dim, and over visible keys ascending",
    [DM_FORMULA_LOGP] = "lanes16 sums of exponentials in chunks of 2048",
    [DM_FORMULA_SCORE] = "f64, tokens ascending",
    [DM_FORMULA_LOSS] = "f64, items ascending",
    [DM_FORMULA_COEF] = "f64, chosen then rejected, rounded once",
    [DM_FORMULA_LINEAR_DX] = "chain of fma over the outputs ascending, projection after projection",
    [DM_FORMULA_NORM_DX] = "lanes16 sum",
    [DM_FORMULA_SCATTER] = "predictions ascending",
    [DM_FORMULA_ATTENTION_GRAD] = "chains of fma over head_dim, over visible keys, and for keys over heads then rows",
    [DM_FORMULA_LORA_DUS] = "chain of fma over the outputs ascending",
    [DM_FORMULA_LINEAR_DW] = "chain of fma over rows ascending, items ascending",
    [DM_FORMULA_BIAS_DW] = "rows ascending, items ascending",
    [DM_FORMULA_NORM_DW] = "rows ascending, items ascending",
    [DM_FORMULA_EMBED_DW] = "head, then rows ascending, items ascending",
    [DM_FORMULA_CLIP] = "lanes16 sums of 4096, then f64",
};

const char *dm_formula_order(dm_formula f)
{
    return orders[f] ? orders[f] : "none";
}

static void put_loss(dm_json_writer *j, const dm_loss_options *l)
{
    dm_json_open_object(j, "loss");
    dm_json_put_string(j, "objective", dm_objective_names[l->objective]);
    dm_json_put_string(j, "link", dm_link_names[l->link]);
    dm_json_put_string(j, "phi", dm_phi_names[l->phi]);
    dm_json_put_double(j, "beta", l->beta);
    dm_json_put_double(j, "gamma", l->gamma);
    dm_json_put_double(j, "label_smoothing", l->label_smoothing);
    dm_json_put_double(j, "sft_weight", l->sft_weight);
    if (l->link == DM_LINK_DISCOPOP)
        dm_json_put_double(j, "temperature", l->temperature);
    dm_json_put_bool(j, "length_normalised", l->length_normalised);
    dm_json_put_double(j, "desirable_weight", l->desirable_weight);
    dm_json_put_double(j, "undesirable_weight", l->undesirable_weight);
    dm_json_put_bool(j, "two_references", l->two_references);
    dm_json_put_string(j, "alpha_mode", dm_alpha_mode_names[l->alpha_mode]);
    dm_json_put_string(j, "alpha_pairing", dm_alpha_pairing_names[l->alpha_pairing]);
    dm_json_put_double(j, "alpha", l->alpha);
    dm_json_put_double(j, "trust_region", l->trust_region);
    dm_json_close_value(j);
}

static void put_lora(dm_json_writer *j, const dm_lora *lora)
{
    dm_json_open_object(j, "lora");
    dm_json_put_uint(j, "r", lora->o.rank);
    dm_json_put_double(j, "alpha", lora->o.alpha);
    dm_json_put_bool(j, "stabilised", lora->o.stabilised);
    dm_json_open_array(j, "targets");
    for (unsigned p = 0; p < DM_PROJECTIONS; p++)
        if (lora->o.targets >> p & 1)
            dm_json_put_string(j, NULL, dm_projection_module((dm_projection)p));
    dm_json_close_value(j);
    dm_json_close_value(j);
}

void dm_manifest_begin(dm_json_writer *j, const dm_graph *g, const char *compute, const char *inputs)
{
    const dm_graph_options *o = &g->o;
    dm_text config = {0};

    dm_json_open_object(j, NULL);
    dm_json_put_string(j, "format", DM_TRACE_FORMAT);
    dm_json_put_int(j, "version", DM_TRACE_VERSION);
    dm_json_put_string(j, "writer", "dmpo");
    dm_json_open_object(j, "precision");
    dm_json_put_string(j, "compute", compute);
    dm_json_put_string(j, "accumulate", compute);
    dm_json_put_string(j, "inputs", inputs);
    dm_json_close_value(j);
    dm_config_text(&config, o->config, DM_F32);
    if (config.failed)
        j->out->failed = true;
    else
        dm_json_put_raw(j, "config", config.data);
    dm_text_free(&config);
    if (o->lora)
        put_lora(j, o->lora);
    dm_json_put_bool(j, "share_prefix", o->share_prefix);
    dm_json_put_bool(j, "narrow", o->narrow);
    put_loss(j, &o->loss);
    dm_json_open_object(j, "optimizer");
    dm_json_put_double(j, "beta1", o->adamw.beta1);
    dm_json_put_double(j, "beta2", o->adamw.beta2);
    dm_json_put_double(j, "eps", o->adamw.eps);
    dm_json_put_double(j, "weight_decay", o->adamw.weight_decay);
    dm_json_put_double(j, "max_grad_norm", o->max_grad_norm);
    dm_json_put_double(j, "clip_eps", o->clip_eps);
    dm_json_close_value(j);
    dm_json_open_array(j, "steps");
}

static void put_side(dm_json_writer *j, const char *key, const dm_data_trajectory *t)
{
    if (t->n == 0)
        return;
    dm_json_open_object(j, key);
    dm_json_open_array(j, "ids");
    for (size_t i = 0; i < t->n; i++)
        dm_json_put_int(j, NULL, t->ids[i]);
    dm_json_close_value(j);
    dm_json_open_array(j, "turns");
    for (size_t i = 0; i < t->n_turns; i++) {
        dm_json_open_array(j, NULL);
        dm_json_put_uint(j, NULL, t->turns[i].begin);
        dm_json_put_uint(j, NULL, t->turns[i].end);
        dm_json_close_value(j);
    }
    dm_json_close_value(j);
    dm_json_close_value(j);
}

static void put_nodes(dm_json_writer *j, const char *key, const dm_graph *g, uint32_t first, uint32_t n)
{
    dm_json_open_array(j, key);
    for (uint32_t i = 0; i < n; i++)
        if (g->links[first + i] != DM_NODE_NONE)
            dm_json_put_string(j, NULL, g->nodes[g->links[first + i]].name);
    dm_json_close_value(j);
}

static const char *first_output(const dm_graph *g, const dm_op *op)
{
    for (uint32_t i = 0; i < op->n_out; i++)
        if (g->links[op->out + i] != DM_NODE_NONE)
            return g->nodes[g->links[op->out + i]].name;
    return "";
}

void dm_manifest_step(dm_json_writer *j, const dm_graph *g, int64_t step)
{
    dm_json_open_object(j, NULL);
    dm_json_put_int(j, "step", step);
    dm_json_put_double(j, "lr", g->o.lr);
    dm_json_open_array(j, "items");
    for (size_t i = 0; i < g->o.n_items; i++) {
        dm_json_open_object(j, NULL);
        dm_json_put_string(j, "id", g->items[i].item->id);
        put_side(j, "chosen", &g->items[i].item->chosen);
        put_side(j, "rejected", &g->items[i].item->rejected);
        dm_json_close_value(j);
    }
    dm_json_close_value(j);
    dm_json_open_array(j, "operations");
    for (size_t i = 0; i < g->n_ops; i++) {
        const dm_op *op = &g->ops[i];
        dm_json_open_object(j, NULL);
        dm_json_put_string(j, "name", first_output(g, op));
        dm_json_put_string(j, "formula", dm_formula_name(op->formula));
        put_nodes(j, "inputs", g, op->in, op->n_in);
        put_nodes(j, "outputs", g, op->out, op->n_out);
        dm_json_put_string(j, "order", dm_formula_order(op->formula));
        dm_json_close_value(j);
    }
    dm_json_close_value(j);
    dm_json_close_value(j);
}

void dm_manifest_end(dm_json_writer *j, const dm_trace_writer *w)
{
    dm_json_close_value(j);
    dm_json_open_object(j, "tensors");
    for (size_t i = 0; i < w->n; i++) {
        const dm_trace_tensor *t = &w->tensors[i];
        dm_json_open_object(j, t->name);
        dm_json_put_string(j, "sha256", t->sha256);
        dm_json_put_string(j, "layout", t->dims == 2 ? "rows" : "vector");
        if (w->statistics) {
            dm_json_put_string(j, "dtype", dm_dtype_name(t->type));
            dm_json_put_double(j, "min", t->least);
            dm_json_put_double(j, "max", t->most);
            dm_json_put_double(j, "mean", t->mean);
            dm_json_put_double(j, "rms", t->rms);
            dm_json_put_uint(j, "not_finite", t->wrong);
        }
        dm_json_close_value(j);
    }
    dm_json_close_value(j);
    dm_json_close_value(j);
}

uint64_t dm_manifest_bound(const dm_graph *g)
{
    uint64_t n = 16384;

    for (size_t i = 0; i < g->n_nodes; i++)
        n += 2 * strlen(g->nodes[i].name) + NAME_ROOM;
    for (size_t i = 0; i < g->n_links; i++)
        n += (g->links[i] == DM_NODE_NONE ? 0 : strlen(g->nodes[g->links[i]].name)) + 8;
    for (size_t i = 0; i < g->n_ops; i++)
        n += OPERATION_ROOM + strlen(first_output(g, &g->ops[i]));
    for (size_t i = 0; i < g->o.n_items; i++) {
        const dm_data_item *t = g->items[i].item;
        n += 256 + 6 * strlen(t->id) + 14 * (t->chosen.n + t->rejected.n) +
             48 * (t->chosen.n_turns + t->rejected.n_turns);
    }
    return n;
}
