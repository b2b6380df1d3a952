#include "model/formats/adapter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "io/json.h"
#include "io/json_writer.h"
#include "io/safetensors.h"
#include "model/formats/tensors.h"

#define CONFIG "adapter_config.json"
#define WEIGHTS "adapter_model.safetensors"
#define PICKLE "adapter_model.bin"

bool dm_adapter_is(const char *path)
{
    dm_path config;
    return dm_path_in(&config, path, CONFIG, NULL) == DM_OK && dm_file_exists(config.text);
}

/* ---- projections by name ---- */

static bool is_name(const char *name, const char *text, size_t size)
{
    return strlen(name) == size && memcmp(name, text, size) == 0;
}

dm_status dm_lora_targets(unsigned *out, const char *text, dm_error *err)
{
    *out = strcmp(text, "all") == 0 ? DM_LORA_ALL : 0;
    while (!(*out == DM_LORA_ALL && strcmp(text, "all") == 0)) {
        const size_t size = strcspn(text, ",");
        dm_projection p = DM_PROJECTION_Q;
        while (p < DM_PROJECTIONS && !is_name(dm_projection_name(p), text, size))
            p++;
        if (p == DM_PROJECTIONS)
            return dm_fail(err, DM_ERR_ARGUMENT,
                           "`lora-targets`: '%.*s' is not a projection; legal: all, or some of q,k,v,o,gate,up,down",
                           (int)(size < 40 ? size : 40), text);
        *out |= 1u << p;
        if (text[size] == '\0')
            break;
        text += size + 1;
    }
    return DM_OK;
}

static dm_status read_modules(unsigned *targets, const dm_json_doc *doc, const dm_json *root, dm_error *err)
{
    const dm_json *list = dm_json_get(root, "target_modules");

    *targets = 0;
    if (dm_json_is(list, "all-linear"))
        *targets = DM_LORA_ALL;
    else if (!list || list->type != DM_JSON_ARRAY)
        return dm_json_fail(doc, list ? list : root, err,
                            "target_modules must be a list of projections (q_proj, k_proj, ...) or \"all-linear\"");
    else
        for (const dm_json *m = list->child; m; m = m->next) {
            /* "q_proj", or one module's path "model.layers.0.self_attn.q_proj": then every layer's must be there */
            const char *dot = m->type == DM_JSON_STRING ? strrchr(m->text, '.') : NULL;
            const char *name = dot ? dot + 1 : m->type == DM_JSON_STRING ? m->text : "";
            dm_projection p = DM_PROJECTION_Q;
            while (p < DM_PROJECTIONS && strcmp(name, dm_projection_module(p)) != 0)
                p++;
            if (p == DM_PROJECTIONS)
                return dm_json_fail(doc, m, err,
                                    "target module \"%s\" is not supported; supported: q_proj, k_proj, v_proj, o_proj, "
                                    "gate_proj, up_proj, down_proj",
                                    m->type == DM_JSON_STRING ? m->text : "?");
            *targets |= 1u << p;
        }
    return *targets ? DM_OK : dm_json_fail(doc, list, err, "target_modules is empty");
}

/* ---- adapter_config.json ---- */

/* null, false, "none", an empty list or object: the feature is not used. */
static bool unused(const dm_json *v)
{
    return !v || v->type == DM_JSON_NULL || (v->type == DM_JSON_BOOL && !v->boolean) ||
           ((v->type == DM_JSON_ARRAY || v->type == DM_JSON_OBJECT) && v->length == 0) || dm_json_is(v, "none");
}

static dm_status check_unused(const dm_json_doc *doc, const dm_json *root, dm_error *err)
{
    static const char *const features[] = {"use_dora",
                                           "use_qalora",
                                           "use_bdlora",
                                           "bias",
                                           "lora_bias",
                                           "modules_to_save",
                                           "rank_pattern",
                                           "alpha_pattern",
                                           "layer_replication",
                                           "layers_to_transform",
                                           "fan_in_fan_out",
                                           "exclude_modules",
                                           "target_parameters",
                                           "trainable_token_indices",
                                           "alora_invocation_tokens",
                                           "arrow_config",
                                           "kasa_config",
                                           "monteclora_config",
                                           "velora_config"};
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        const dm_json *v = dm_json_get(root, features[i]);
        if (!unused(v))
            return dm_json_fail(doc, v, err, "%s is not supported in an adapter", features[i]);
    }
    return DM_OK;
}

/* PEFT changes the base's weights as these say while it loads an adapter (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA), so that
 * the adapter means nothing beside the base as it is stored. The others only say how a new adapter begins. */
static dm_status check_init(const dm_json_doc *doc, const dm_json *root, dm_error *err)
{
    static const char *const plain[] = {"gaussian", "eva", "orthogonal"};
    static const char *const configs[] = {"loftq_config", "corda_config", "lora_ga_config"};
    const dm_json *init = dm_json_get(root, "init_lora_weights");
    bool known = !init || init->type == DM_JSON_NULL || init->type == DM_JSON_BOOL;

    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        known = known || dm_json_is(init, plain[i]);
    if (!known)
        return dm_json_fail(
            doc, init, err,
            "init_lora_weights \"%.40s\" is not supported: with it the adapter belongs to a changed base; "
            "convert it to a plain one (PEFT: path_initial_model_for_weight_conversion)",
            init->type == DM_JSON_STRING ? init->text : "?");
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        const dm_json *v = dm_json_get(root, configs[i]);
        if (!unused(v))
            return dm_json_fail(doc, v, err, "%s is not supported in an adapter", configs[i]);
    }
    return DM_OK;
}

/* The older form of the weights is a pickle, which can run code while it is read. */
static dm_status check_weights(const char *dir, dm_error *err)
{
    dm_path path, pickle;
    dm_status s;

    if ((s = dm_path_in(&path, dir, WEIGHTS, err)) != DM_OK || (s = dm_path_in(&pickle, dir, PICKLE, err)) != DM_OK ||
        dm_file_exists(path.text) || !dm_file_exists(pickle.text))
        return s;
    return dm_fail(err, DM_ERR_UNSUPPORTED,
                   "%s: is a pickle, which is not read; save it as " WEIGHTS
                   ": PeftModel.from_pretrained(BASE, DIR).save_pretrained(DIR)",
                   pickle.text);
}

static bool is_there(const dm_path *path)
{
    return dm_file_exists(path->text) || dm_dir_exists(path->text);
}

/* As written, else as seen from the adapter's directory. */
static dm_status find_base(dm_path *base, const dm_json_doc *doc, const dm_json *root, const char *dir, dm_error *err)
{
    const dm_json *v = dm_json_get(root, "base_model_name_or_path");

    if (!v || v->type != DM_JSON_STRING || v->length == 0)
        return dm_json_fail(doc, v ? v : root, err,
                            "base_model_name_or_path must name the base model's file or directory");
    if (dm_path_print(base, NULL, "%s", v->text) == DM_OK && is_there(base))
        return DM_OK;
    if (v->text[0] != '/' && dm_path_in(base, dir, v->text, NULL) == DM_OK && is_there(base))
        return DM_OK;
    return dm_json_fail(doc, v, err,
                        "the base model \"%s\" is neither here nor in the adapter's directory; `base` gives its path, "
                        "or base_model_name_or_path does",
                        v->text);
}

dm_status dm_adapter_config(dm_lora_options *out, dm_path *base, const char *dir, dm_error *err)
{
    dm_path path;
    dm_json_doc *doc = NULL;
    int64_t rank = 0;
    const bool no = false;
    bool stabilised = false;
    dm_status s;

    *out = (dm_lora_options){0};
    if ((s = dm_path_in(&path, dir, CONFIG, err)) != DM_OK || (s = dm_json_read(&doc, path.text, err)) != DM_OK)
        return s;
    const dm_json *root = dm_json_root(doc);
    if (!dm_json_is(dm_json_get(root, "peft_type"), "LORA"))
        s = dm_json_fail(doc, root, err, "peft_type must be \"LORA\"");
    if (s == DM_OK && (s = dm_json_get_int(doc, root, "r", 1, DM_LORA_RANK_MAX, NULL, &rank, err)) == DM_OK &&
        (s = dm_json_get_double(doc, root, "lora_alpha", 1e-6, 1e6, NULL, &out->alpha, err)) == DM_OK &&
        (s = dm_json_get_bool(doc, root, "use_rslora", &no, &stabilised, err)) == DM_OK &&
        (s = check_unused(doc, root, err)) == DM_OK && (s = check_init(doc, root, err)) == DM_OK &&
        (s = check_weights(dir, err)) == DM_OK)
        s = read_modules(&out->targets, doc, root, err);
    if (s == DM_OK && base)
        s = find_base(base, doc, root, dir, err);
    out->rank = (uint32_t)rank;
    out->stabilised = stabilised;
    dm_json_close(&doc);
    return s;
}

static dm_status write_config(const dm_lora *lora, const char *dir, const char *base, dm_error *err)
{
    dm_path path;
    dm_text t = {0};
    dm_json_writer w = {.out = &t, .lines = true};
    dm_status s = dm_path_in(&path, dir, CONFIG, err);

    if (s != DM_OK)
        return s;
    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "base_model_name_or_path", base);
    dm_json_put_string(&w, "bias", "none");
    dm_json_put_bool(&w, "fan_in_fan_out", false);
    dm_json_put_bool(&w, "inference_mode", true);
    dm_json_put_double(&w, "lora_alpha", lora->o.alpha);
    dm_json_put_raw(&w, "lora_dropout", "0.0");
    dm_json_put_string(&w, "peft_type", "LORA");
    dm_json_put_uint(&w, "r", lora->o.rank);
    dm_json_open_array(&w, "target_modules");
    w.lines = false;
    for (dm_projection p = DM_PROJECTION_Q; p < DM_PROJECTIONS; p++)
        if (lora->o.targets >> p & 1)
            dm_json_put_string(&w, NULL, dm_projection_module(p));
    dm_json_close_value(&w);
    w.lines = true;
    dm_json_put_string(&w, "task_type", "CAUSAL_LM");
    dm_json_put_bool(&w, "use_rslora", lora->o.stabilised);
    dm_json_close_value(&w);
    dm_text_print(&t, "\n");
    s = t.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", path.text)
                 : dm_file_write(path.text, t.data, t.size, err);
    dm_text_free(&t);
    return s;
}

/* ---- the weights ---- */

dm_status dm_adapter_read(float *w, const dm_lora *lora, const char *dir, const char *base_sha256, dm_error *err)
{
    dm_path path;
    dm_st *st = NULL;
    dm_status s = dm_path_in(&path, dir, WEIGHTS, err);

    if (s != DM_OK || (s = dm_st_open(&st, path.text, err)) != DM_OK)
        return s;
    const char *trained_on = dm_st_metadata(st, "base_sha256");
    if (trained_on && strcmp(trained_on, base_sha256) != 0)
        s = dm_fail(
            err, DM_ERR_INPUT,
            "%s: was trained on another base model (SHA-256 %.12s..., this one has %.12s...); name the right one "
            "with `base` or in %s",
            path.text, trained_on, base_sha256, CONFIG);
    if (s == DM_OK)
        s = dm_tensors_read(w, &lora->layout, st, path.text, CONFIG, err);
    dm_st_close(&st);
    return s;
}

dm_status dm_adapter_write(const float *w, const dm_lora *lora, const char *dir, const char *base,
                           const char *base_sha256, char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_path path;
    const char *const metadata[][2] = {{"base_sha256", base_sha256}};
    dm_status s;

    if ((s = write_config(lora, dir, base, err)) != DM_OK || (s = dm_path_in(&path, dir, WEIGHTS, err)) != DM_OK)
        return s;
    return dm_tensors_write(w, &lora->layout, path.text, metadata, 1, hex, err);
}

dm_status dm_adapter_sha256(const char *dir, char hex[DM_SHA256_HEX], dm_error *err)
{
    static const char *const files[] = {CONFIG, WEIGHTS};
    dm_path path;
    dm_sha256 h;
    dm_status s = DM_OK;

    dm_sha256_init(&h);
    dm_sha256_update(&h, hex, DM_SHA256_HEX - 1);
    for (size_t i = 0; s == DM_OK && i < sizeof files / sizeof *files; i++)
        if ((s = dm_path_in(&path, dir, files[i], err)) == DM_OK && (s = dm_file_sha256(path.text, hex, err)) == DM_OK)
            dm_sha256_update(&h, hex, DM_SHA256_HEX - 1);
    if (s == DM_OK)
        dm_sha256_finish(&h, hex);
    return s;
}
