/* What config.json says about layers that differ from each other: windows, and which RoPE they have. */
#include <string.h>

#include "model/network/config_internal.h"

/* `layer_types`, when it is there: layer i is windowed. */
static dm_status read_types(const dm_config_reader *r, const dm_json *types)
{
    dm_config *c = r->c;

    if (types->type != DM_JSON_ARRAY || types->length != c->layers)
        return dm_json_fail(r->doc, types, r->err, "\"layer_types\" must be an array of num_hidden_layers = %u strings",
                            (unsigned)c->layers);
    uint32_t i = 0;
    for (const dm_json *t = types->child; t; t = t->next, i++) {
        c->windowed[i] = dm_json_is(t, "sliding_attention");
        if (c->windowed[i] && !c->window)
            return dm_json_fail(r->doc, t, r->err,
                                "\"layer_types\" has sliding_attention in layer %u, but "
                                "use_sliding_window is not true or sliding_window is null",
                                (unsigned)i);
        if (!c->windowed[i] && t->type != DM_JSON_STRING)
            return dm_json_fail(r->doc, t, r->err, "\"layer_types\" must hold strings");
        if (!c->windowed[i] && !dm_json_is(t, "full_attention"))
            return dm_config_unsupported(
                r, t, "layer type \"%s\" is not supported; full_attention and sliding_attention are", t->text);
    }
    return DM_OK;
}

/* Qwen's: `layer_types` or those from max_window_layers. */
static dm_status read_qwen(const dm_config_reader *r)
{
    dm_config *c = r->c;
    const dm_json *types = dm_json_get(r->root, "layer_types"), *window = dm_json_get(r->root, "sliding_window");
    const int64_t usual = 28;
    int64_t first;
    bool use;
    dm_status s;

    if ((s = dm_config_flag(r, "use_sliding_window", false, &use)) != DM_OK ||
        (use && !(window && window->type == DM_JSON_NULL) &&
         (s = dm_config_size(r, "sliding_window", DM_CONFIG_SIZE_MAX, 4096, &c->window)) != DM_OK) ||
        (s = dm_json_get_int(r->doc, r->root, "max_window_layers", 0, DM_CONFIG_SIZE_MAX, &usual, &first, r->err)) !=
            DM_OK)
        return s;
    for (uint32_t i = 0; c->window && i < c->layers; i++)
        c->windowed[i] = i >= first;
    if (dm_config_has(types) && (s = read_types(r, types)) != DM_OK)
        return s;
    if (!memchr(c->windowed, 1, c->layers))
        c->window = 0;
    return DM_OK;
}

static dm_status read_mistral(const dm_config_reader *r)
{
    const dm_json *window = dm_json_get(r->root, "sliding_window");

    if (window && window->type == DM_JSON_NULL)
        return DM_OK;
    memset(r->c->windowed, 1, r->c->layers);
    return dm_config_size(r, "sliding_window", DM_CONFIG_SIZE_MAX, 4096, &r->c->window);
}

/* Five windowed layers, then one that sees everything; the windowed ones have their own RoPE. */
static dm_status read_gemma(const dm_config_reader *r)
{
    dm_config *c = r->c;
    const dm_json *types = dm_json_get(r->root, "layer_types");
    uint32_t pattern;
    dm_status s;

    if ((s = dm_config_size(r, "sliding_window", DM_CONFIG_SIZE_MAX, 4096, &c->window)) != DM_OK ||
        (s = dm_config_size(r, "sliding_window_pattern", DM_CONFIG_SIZE_MAX, DM_GEMMA_PATTERN, &pattern)) != DM_OK)
        return s;
    for (uint32_t i = 0; i < c->layers; i++)
        c->windowed[i] = (i + 1) % pattern != 0;
    if (dm_config_has(types) && (s = read_types(r, types)) != DM_OK)
        return s;
    if (!memchr(c->windowed, 1, c->layers))
        c->window = 0;
    for (uint32_t i = 0; i < c->layers; i++)
        c->rope_use[i] = c->windowed[i] ? DM_ROPE_LOCAL : DM_ROPE_MAIN;
    return DM_OK;
}

/* `no_rope_layers`: 1 where there is RoPE; every fourth layer has none without it. */
static dm_status read_smollm3(const dm_config_reader *r)
{
    dm_config *c = r->c;
    const dm_json *list = dm_json_get(r->root, "no_rope_layers"), *types = dm_json_get(r->root, "layer_types");
    uint32_t interval, i = 0;
    bool use;
    dm_status s;

    if ((s = dm_config_flag(r, "use_sliding_window", false, &use)) != DM_OK ||
        (s = dm_config_size(r, "no_rope_layer_interval", DM_CONFIG_SIZE_MAX, DM_SMOLLM3_INTERVAL, &interval)) != DM_OK)
        return s;
    if (use)
        return dm_config_unsupported(r, dm_json_get(r->root, "use_sliding_window"),
                                     "use_sliding_window true is not supported for model_type smollm3");
    for (i = 0; i < c->layers; i++)
        c->rope_use[i] = (i + 1) % interval ? DM_ROPE_MAIN : DM_ROPE_NONE;
    if (dm_config_has(types) && (s = read_types(r, types)) != DM_OK)
        return s;
    if (!dm_config_has(list))
        return DM_OK;
    if (list->type != DM_JSON_ARRAY || list->length != c->layers)
        return dm_json_fail(r->doc, list, r->err,
                            "\"no_rope_layers\" must be an array of num_hidden_layers = %u numbers",
                            (unsigned)c->layers);
    i = 0;
    for (const dm_json *v = list->child; v; v = v->next, i++) {
        if (v->type != DM_JSON_NUMBER || !v->is_integer || v->integer < 0 || v->integer > 1)
            return dm_json_fail(r->doc, v, r->err, "\"no_rope_layers\" must hold 1 (RoPE) and 0 (none)");
        c->rope_use[i] = v->integer ? DM_ROPE_MAIN : DM_ROPE_NONE;
    }
    return DM_OK;
}

dm_status dm_config_read_layers(const dm_config_reader *r)
{
    switch (r->c->arch) {
    case DM_ARCH_MISTRAL:
        return read_mistral(r);
    case DM_ARCH_QWEN2:
    case DM_ARCH_QWEN3:
        return read_qwen(r);
    case DM_ARCH_GEMMA3:
        return read_gemma(r);
    case DM_ARCH_SMOLLM3:
        return read_smollm3(r);
    default:
        return DM_OK;
    }
}

void dm_config_usual_layers(dm_config *c, uint32_t pattern)
{
    for (uint32_t i = 0; i < c->layers; i++) {
        if (dm_config_is_gemma(c)) {
            c->windowed[i] = (i + 1) % pattern != 0;
            c->rope_use[i] = c->windowed[i] ? DM_ROPE_LOCAL : DM_ROPE_MAIN;
        } else if (c->arch == DM_ARCH_SMOLLM3) {
            c->rope_use[i] = (i + 1) % DM_SMOLLM3_INTERVAL ? DM_ROPE_MAIN : DM_ROPE_NONE;
        }
    }
    if (dm_config_is_gemma(c)) /* the 27B model is known by its 62 layers */
        c->query_scalar = c->layers == 62 ? (double)c->hidden / (double)c->heads : (double)c->head_dim;
}
