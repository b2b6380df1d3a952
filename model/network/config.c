/* config.json: what it says about a model, with the defaults of transformers, and whether the engine does that. */
#include "model/network/config.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/path.h"
#include "io/json.h"
#include "model/network/config_internal.h"

#define SIZE_LIMIT ((int64_t)INT32_MAX)

typedef struct reader {
    const dm_json_doc *doc;
    const dm_json *root;
    dm_config *c;
    dm_error *err;
} reader;

/* What transformers assumes where config.json is silent. */
static const struct {
    const char *name;
    uint32_t head_dim; /* 0: hidden / heads */
    uint32_t max_positions;
    int32_t bos, eos;
} archs[DM_ARCH_COUNT] = {
    [DM_ARCH_LLAMA] = {"llama", 0, 2048, 1, 2},
    [DM_ARCH_MISTRAL] = {"mistral", 0, 131072, 1, 2},
    [DM_ARCH_QWEN2] = {"qwen2", 0, 32768, -1, -1},
    [DM_ARCH_QWEN3] = {"qwen3", 128, 32768, -1, -1},
};

const char *dm_arch_name(dm_arch arch)
{
    return (unsigned)arch < DM_ARCH_COUNT ? archs[arch].name : "unknown";
}

static dm_status unsupported(const reader *r, const dm_json *v, const char *fmt, ...) DM_PRINTF(3, 4);

static dm_status unsupported(const reader *r, const dm_json *v, const char *fmt, ...)
{
    char message[DM_ERROR_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    return dm_fail(r->err, DM_ERR_UNSUPPORTED, "%s:%u:%u: %s", dm_json_name(r->doc), (unsigned)v->line,
                   (unsigned)v->column, message);
}

/* A size, 1 .. most; fallback 0: the key is required. */
static dm_status get_size(const reader *r, const char *key, int64_t most, uint32_t fallback, uint32_t *out)
{
    const int64_t other = fallback;
    int64_t value = 0;
    const dm_status s = dm_json_get_int(r->doc, r->root, key, 1, most, fallback ? &other : NULL, &value, r->err);

    *out = (uint32_t)value;
    return s;
}

static dm_status get_bool(const reader *r, const char *key, bool fallback, bool *out)
{
    return dm_json_get_bool(r->doc, r->root, key, &fallback, out, r->err);
}

static bool present(const dm_json *v)
{
    return v && v->type != DM_JSON_NULL;
}

static dm_status read_arch(const reader *r)
{
    const dm_json *type = dm_json_get(r->root, "model_type");

    if (!type || type->type != DM_JSON_STRING)
        return dm_json_fail(r->doc, type ? type : r->root, r->err,
                            "\"model_type\" must be \"llama\", \"mistral\", \"qwen2\" or \"qwen3\"");
    for (unsigned a = 0; a < DM_ARCH_COUNT; a++) {
        if (dm_json_is(type, archs[a].name)) {
            r->c->arch = (dm_arch)a;
            r->c->qkv_bias = a == DM_ARCH_QWEN2;
            r->c->qk_norm = a == DM_ARCH_QWEN3;
            return DM_OK;
        }
    }
    return unsupported(r, type, "model_type \"%s\" is not supported; llama, mistral, qwen2 and qwen3 are", type->text);
}

static dm_status read_sizes(const reader *r)
{
    dm_config *c = r->c;
    uint32_t head_dim;
    dm_status s;

    if ((s = get_size(r, "hidden_size", SIZE_LIMIT, 0, &c->hidden)) != DM_OK ||
        (s = get_size(r, "intermediate_size", SIZE_LIMIT, 0, &c->intermediate)) != DM_OK ||
        (s = get_size(r, "num_hidden_layers", DM_LAYERS_MAX, 0, &c->layers)) != DM_OK ||
        (s = get_size(r, "num_attention_heads", SIZE_LIMIT, 0, &c->heads)) != DM_OK ||
        (s = get_size(r, "num_key_value_heads", SIZE_LIMIT, c->heads, &c->kv_heads)) != DM_OK ||
        (s = get_size(r, "vocab_size", SIZE_LIMIT, 0, &c->vocab)) != DM_OK ||
        (s = get_size(r, "max_position_embeddings", SIZE_LIMIT, archs[c->arch].max_positions, &c->max_positions)) !=
            DM_OK)
        return s;
    head_dim = archs[c->arch].head_dim;
    if (!head_dim && !present(dm_json_get(r->root, "head_dim"))) {
        if (c->hidden % c->heads)
            return dm_json_fail(r->doc, r->root, r->err,
                                "hidden_size %u is no multiple of num_attention_heads %u and \"head_dim\" is missing",
                                (unsigned)c->hidden, (unsigned)c->heads);
        head_dim = c->hidden / c->heads;
    }
    return get_size(r, "head_dim", SIZE_LIMIT, head_dim, &c->head_dim);
}

/* Keys whose only supported value is the usual one. */
static dm_status read_refusals(const reader *r)
{
    static const char *const biases[] = {"attention_bias", "mlp_bias"};
    const dm_json *act = dm_json_get(r->root, "hidden_act");
    const dm_json *quantized = dm_json_get(r->root, "quantization_config");
    dm_status s;

    if (present(act) && act->type != DM_JSON_STRING)
        return dm_json_fail(r->doc, act, r->err, "\"hidden_act\" must be a string, \"silu\"");
    if (present(act) && !dm_json_is(act, "silu") && !dm_json_is(act, "swish")) /* two names of one function */
        return unsupported(r, act, "hidden_act \"%s\" is not supported; silu is", act->text);
    for (size_t i = 0; i < 2; i++) {
        bool on;
        if ((s = get_bool(r, biases[i], false, &on)) != DM_OK)
            return s;
        if (on && !(i == 0 && r->c->qkv_bias)) /* Qwen2 has its biases whatever the key says */
            return unsupported(r, dm_json_get(r->root, biases[i]), "%s true is not supported for model_type %s",
                               biases[i], dm_arch_name(r->c->arch));
    }
    if (present(quantized))
        return unsupported(r, quantized,
                           "quantization_config: quantized weights are not supported; F32, F16 and BF16 are");
    return DM_OK;
}

static dm_status check_partial(const reader *r, const dm_json *from)
{
    const double one = 1;
    double factor;
    const dm_status s = dm_json_get_double(r->doc, from, "partial_rotary_factor", 0, 1, &one, &factor, r->err);

    if (s != DM_OK || factor == 1)
        return s;
    return unsupported(r, dm_json_get(from, "partial_rotary_factor"), "partial_rotary_factor %g is not supported; 1 is",
                       factor);
}

static dm_status read_rope_scaling(const reader *r, const dm_json *rope)
{
    const dm_json *type = dm_json_get(rope, "rope_type");
    dm_config *c = r->c;
    int64_t original;
    dm_status s;

    if (!type)
        type = dm_json_get(rope, "type"); /* the older name */
    if (!present(type) || dm_json_is(type, "default"))
        return DM_OK;
    if (type->type != DM_JSON_STRING)
        return dm_json_fail(r->doc, type, r->err, "\"rope_type\" must be \"default\", \"linear\" or \"llama3\"");
    if (dm_json_is(type, "linear"))
        c->rope = DM_ROPE_LINEAR;
    else if (dm_json_is(type, "llama3"))
        c->rope = DM_ROPE_LLAMA3;
    else
        return unsupported(r, type, "rope_type \"%s\" is not supported; default, linear and llama3 are", type->text);
    if ((s = dm_json_get_double(r->doc, rope, "factor", 1, 1e9, NULL, &c->rope_factor, r->err)) != DM_OK ||
        c->rope == DM_ROPE_LINEAR)
        return s;
    if ((s = dm_json_get_double(r->doc, rope, "low_freq_factor", 1e-9, 1e9, NULL, &c->rope_low, r->err)) != DM_OK ||
        (s = dm_json_get_double(r->doc, rope, "high_freq_factor", 1e-9, 1e9, NULL, &c->rope_high, r->err)) != DM_OK ||
        (s = dm_json_get_int(r->doc, rope, "original_max_position_embeddings", 1, SIZE_LIMIT, NULL, &original,
                             r->err)) != DM_OK)
        return s;
    c->rope_original = (uint32_t)original;
    return DM_OK;
}

static dm_status read_rope(const reader *r)
{
    const double usual = 10000;
    const dm_json *rope = dm_json_get(r->root, "rope_scaling"); /* wins over the newer name, as in transformers */
    double theta;
    dm_status s;

    if (!present(rope) || (rope->type == DM_JSON_OBJECT && rope->length == 0))
        rope = dm_json_get(r->root, "rope_parameters");
    if (present(rope) && rope->type != DM_JSON_OBJECT)
        return dm_json_fail(r->doc, rope, r->err, "\"%s\" must be an object or null", rope->key);
    for (const dm_json *v = present(rope) ? rope->child : NULL; v; v = v->next)
        if (v->type == DM_JSON_OBJECT)
            return unsupported(r, v, "RoPE parameters of their own for \"%s\" are not supported", v->key);
    if ((s = dm_json_get_double(r->doc, r->root, "rope_theta", 1, 1e15, &usual, &theta, r->err)) != DM_OK ||
        (s = dm_json_get_double(r->doc, rope, "rope_theta", 1, 1e15, &theta, &r->c->rope_theta, r->err)) != DM_OK ||
        (s = check_partial(r, r->root)) != DM_OK || (s = check_partial(r, rope)) != DM_OK)
        return s;
    return present(rope) ? read_rope_scaling(r, rope) : DM_OK;
}

/* Which layers use the window: `layer_types` when there, else those from max_window_layers. */
static dm_status read_layer_types(const reader *r)
{
    dm_config *c = r->c;
    const dm_json *types = dm_json_get(r->root, "layer_types");
    const int64_t usual = 28;
    int64_t first;
    const dm_status s = dm_json_get_int(r->doc, r->root, "max_window_layers", 0, SIZE_LIMIT, &usual, &first, r->err);

    if (s != DM_OK)
        return s;
    if (!present(types)) {
        for (uint32_t i = 0; c->window && i < c->layers; i++)
            c->windowed[i] = i >= first;
        return DM_OK;
    }
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
            return unsupported(r, t, "layer type \"%s\" is not supported; full_attention and sliding_attention are",
                               t->text);
    }
    return DM_OK;
}

static dm_status read_window(const reader *r)
{
    dm_config *c = r->c;
    const dm_json *window = dm_json_get(r->root, "sliding_window");
    const bool none = window && window->type == DM_JSON_NULL;
    dm_status s;

    if (c->arch == DM_ARCH_LLAMA)
        return DM_OK;
    if (c->arch == DM_ARCH_MISTRAL) {
        if (none)
            return DM_OK;
        memset(c->windowed, 1, c->layers);
        return get_size(r, "sliding_window", SIZE_LIMIT, 4096, &c->window);
    }
    bool use;
    if ((s = get_bool(r, "use_sliding_window", false, &use)) != DM_OK)
        return s;
    if (use && !none && (s = get_size(r, "sliding_window", SIZE_LIMIT, 4096, &c->window)) != DM_OK)
        return s;
    if ((s = read_layer_types(r)) != DM_OK)
        return s;
    if (!memchr(c->windowed, 1, c->layers))
        c->window = 0;
    return DM_OK;
}

/* A token id, or the first of a list; -1: none. */
static dm_status read_token(const reader *r, const char *key, int32_t fallback, int32_t *out)
{
    const dm_json *v = dm_json_get(r->root, key);

    *out = v ? -1 : fallback;
    if (!present(v))
        return DM_OK;
    if (v->type == DM_JSON_ARRAY && v->child)
        v = v->child;
    if (v->type != DM_JSON_NUMBER || !v->is_integer || v->integer < -1 || v->integer > INT32_MAX)
        return dm_json_fail(r->doc, v, r->err, "\"%s\" must be a token id, a list of them or null", key);
    *out = (int32_t)v->integer;
    return DM_OK;
}

dm_status dm_config_read(dm_config *out, const char *dir, dm_error *err)
{
    dm_path path;
    dm_json_doc *doc = NULL;
    const double eps = 1e-6;
    dm_status s;

    memset(out, 0, sizeof *out);
    if ((s = dm_path_in(&path, dir, "config.json", err)) != DM_OK || (s = dm_json_read(&doc, path.text, err)) != DM_OK)
        return s;
    const reader r = {doc, dm_json_root(doc), out, err};
    if (r.root->type != DM_JSON_OBJECT)
        s = dm_json_fail(doc, r.root, err, "a model's configuration must be an object");
    else if ((s = read_arch(&r)) == DM_OK && (s = read_sizes(&r)) == DM_OK && (s = read_refusals(&r)) == DM_OK &&
             (s = read_rope(&r)) == DM_OK && (s = read_window(&r)) == DM_OK &&
             (s = get_bool(&r, "tie_word_embeddings", false, &out->tied)) == DM_OK &&
             (s = dm_json_get_double(doc, r.root, "rms_norm_eps", 1e-30, 1, &eps, &out->eps, err)) == DM_OK &&
             (s = read_token(&r, "bos_token_id", archs[out->arch].bos, &out->bos)) == DM_OK &&
             (s = read_token(&r, "eos_token_id", archs[out->arch].eos, &out->eos)) == DM_OK &&
             (s = dm_config_read_ends(out, doc, dir, err)) == DM_OK)
        s = dm_config_check(out, path.text, err);
    dm_json_close(&doc);
    return s;
}

/* Parameters, close enough to refuse what cannot be addressed: the exact count may overflow every integer. */
static double parameter_estimate(const dm_config *c)
{
    const double d = c->hidden, f = c->intermediate, heads = (double)c->heads + c->kv_heads;
    return c->vocab * d * (c->tied ? 1 : 2) + c->layers * (2 * heads * c->head_dim * (d + 1) + 3 * f * d + 2 * d);
}

static dm_status check_window(const dm_config *c, const char *where, dm_error *err)
{
    const bool any = memchr(c->windowed, 1, c->layers) != NULL, all = memchr(c->windowed, 0, c->layers) == NULL;

    for (uint32_t i = 0; i < c->layers; i++)
        if (c->windowed[i] > 1)
            return dm_fail(err, DM_ERR_INPUT, "%s: windowed[%u] is %u, must be 0 or 1", where, (unsigned)i,
                           (unsigned)c->windowed[i]);
    if (any != (c->window != 0))
        return dm_fail(err, DM_ERR_INPUT, "%s: the window is %u, but %s layer uses it", where, (unsigned)c->window,
                       any ? "a" : "no");
    if ((c->arch == DM_ARCH_LLAMA && any) || (c->arch == DM_ARCH_MISTRAL && any && !all))
        return dm_fail(err, DM_ERR_INPUT, "%s: model_type %s has a window in %s", where, dm_arch_name(c->arch),
                       c->arch == DM_ARCH_LLAMA ? "no layer" : "all layers or none");
    return DM_OK;
}

/* false for NaN */
static bool within(double x, double low, double high)
{
    return x >= low && x <= high;
}

static dm_status check_numbers(const dm_config *c, const char *where, dm_error *err)
{
    if (!within(c->eps, 1e-30, 1))
        return dm_fail(err, DM_ERR_INPUT, "%s: rms_norm_eps is %g, must be from 1e-30 to 1", where, c->eps);
    if (!within(c->rope_theta, 1, 1e15))
        return dm_fail(err, DM_ERR_INPUT, "%s: rope_theta is %g, must be from 1 to 1e15", where, c->rope_theta);
    if ((unsigned)c->rope > DM_ROPE_LLAMA3)
        return dm_fail(err, DM_ERR_INPUT, "%s: unknown kind of RoPE scaling", where);
    if (c->rope != DM_ROPE_DEFAULT && !within(c->rope_factor, 1, 1e9))
        return dm_fail(err, DM_ERR_INPUT, "%s: the RoPE factor is %g, must be from 1 to 1e9", where, c->rope_factor);
    if (c->rope == DM_ROPE_LLAMA3 && !(c->rope_low > 0 && c->rope_low < c->rope_high && c->rope_high <= 1e9))
        return dm_fail(err, DM_ERR_INPUT, "%s: low_freq_factor is %g and high_freq_factor %g, must be 0 < low < high",
                       where, c->rope_low, c->rope_high);
    if (c->rope == DM_ROPE_LLAMA3 && (c->rope_original == 0 || c->rope_original > SIZE_LIMIT))
        return dm_fail(err, DM_ERR_INPUT, "%s: original_max_position_embeddings is %u, must be from 1 to 2147483647",
                       where, (unsigned)c->rope_original);
    return DM_OK;
}

dm_status dm_config_check(const dm_config *c, const char *where, dm_error *err)
{
    const struct {
        const char *name;
        uint32_t value, most;
    } sizes[] = {
        {"hidden_size", c->hidden, INT32_MAX},
        {"intermediate_size", c->intermediate, INT32_MAX},
        {"num_hidden_layers", c->layers, DM_LAYERS_MAX},
        {"num_attention_heads", c->heads, INT32_MAX},
        {"num_key_value_heads", c->kv_heads, INT32_MAX},
        {"head_dim", c->head_dim, INT32_MAX},
        {"vocab_size", c->vocab, INT32_MAX},
        {"max_position_embeddings", c->max_positions, INT32_MAX},
    };
    if ((unsigned)c->arch >= DM_ARCH_COUNT)
        return dm_fail(err, DM_ERR_INPUT, "%s: unknown model_type", where);
    if (c->qkv_bias != (c->arch == DM_ARCH_QWEN2) || c->qk_norm != (c->arch == DM_ARCH_QWEN3))
        return dm_fail(err, DM_ERR_INPUT, "%s: q, k, v biases go with qwen2, q and k norms with qwen3", where);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value == 0 || sizes[i].value > sizes[i].most)
            return dm_fail(err, DM_ERR_INPUT, "%s: %s is %u, must be from 1 to %u", where, sizes[i].name,
                           (unsigned)sizes[i].value, (unsigned)sizes[i].most);
    if (c->heads % c->kv_heads)
        return dm_fail(err, DM_ERR_INPUT, "%s: num_attention_heads %u is no multiple of num_key_value_heads %u", where,
                       (unsigned)c->heads, (unsigned)c->kv_heads);
    if (c->head_dim % 2)
        return dm_fail(err, DM_ERR_INPUT, "%s: head_dim is %u, must be even (RoPE turns pairs)", where,
                       (unsigned)c->head_dim);
    if ((uint64_t)c->heads * c->head_dim > INT32_MAX)
        return dm_fail(err, DM_ERR_INPUT, "%s: num_attention_heads %u times head_dim %u is over 2147483647", where,
                       (unsigned)c->heads, (unsigned)c->head_dim);
    if (parameter_estimate(c) > (double)(SIZE_MAX / 16)) /* weights, gradient and two moments of four bytes each */
        return dm_fail(err, DM_ERR_INPUT, "%s: these sizes make %.3g parameters, more than this machine can address",
                       where, parameter_estimate(c));
    if (c->bos < -1 || c->eos < -1)
        return dm_fail(err, DM_ERR_INPUT, "%s: bos_token_id %d, eos_token_id %d: must be token ids or -1", where,
                       (int)c->bos, (int)c->eos);
    const dm_status s = check_window(c, where, err);
    return s == DM_OK ? check_numbers(c, where, err) : s;
}
