/* config.json: what it says about a model, with the defaults of transformers, and whether the engine does that. */
#include "model/network/config.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "io/json.h"
#include "model/network/config_internal.h"

typedef dm_config_reader reader;

/* What transformers assumes where config.json is silent. */
static const struct {
    const char *name;
    uint32_t head_dim; /* 0: hidden / heads */
    uint32_t max_positions;
    int32_t bos, eos;
    bool tied;
} archs[DM_ARCH_COUNT] = {
    [DM_ARCH_LLAMA] = {"llama", 0, 2048, 1, 2, false},
    [DM_ARCH_MISTRAL] = {"mistral", 0, 131072, 1, 2, false},
    [DM_ARCH_QWEN2] = {"qwen2", 0, 32768, -1, -1, false},
    [DM_ARCH_QWEN3] = {"qwen3", 128, 32768, -1, -1, false},
    [DM_ARCH_GEMMA3] = {"gemma3_text", 256, 131072, 2, 1, true},
    [DM_ARCH_SMOLLM3] = {"smollm3", 0, 32768, 128000, 128001, true},
};

#define SUPPORTED "llama, mistral, qwen2, qwen3, gemma3_text and smollm3"

const char *dm_arch_name(dm_arch arch)
{
    return (unsigned)arch < DM_ARCH_COUNT ? archs[arch].name : "unknown";
}

dm_status dm_config_unsupported(const reader *r, const dm_json *v, const char *fmt, ...)
{
    char message[DM_ERROR_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    return dm_fail(r->err, DM_ERR_UNSUPPORTED, "%s:%u:%u: %s", dm_json_name(r->doc), (unsigned)v->line,
                   (unsigned)v->column, message);
}

dm_status dm_config_size(const reader *r, const char *key, int64_t most, uint32_t fallback, uint32_t *out)
{
    const int64_t other = fallback;
    int64_t value = 0;
    const dm_status s = dm_json_get_int(r->doc, r->root, key, 1, most, fallback ? &other : NULL, &value, r->err);

    *out = (uint32_t)value;
    return s;
}

dm_status dm_config_flag(const reader *r, const char *key, bool fallback, bool *out)
{
    return dm_json_get_bool(r->doc, r->root, key, &fallback, out, r->err);
}

static dm_status read_arch(const reader *r)
{
    const dm_json *type = dm_json_get(r->root, "model_type");

    if (!type || type->type != DM_JSON_STRING)
        return dm_json_fail(r->doc, type ? type : r->root, r->err, "\"model_type\" must be one of " SUPPORTED);
    for (unsigned a = 0; a < DM_ARCH_COUNT; a++) {
        if (dm_json_is(type, archs[a].name)) {
            r->c->arch = (dm_arch)a;
            r->c->qkv_bias = a == DM_ARCH_QWEN2;
            r->c->qk_norm = a == DM_ARCH_QWEN3 || a == DM_ARCH_GEMMA3;
            return DM_OK;
        }
    }
    return dm_config_unsupported(r, type, "model_type \"%s\" is not supported; " SUPPORTED " are", type->text);
}

static dm_status read_sizes(const reader *r)
{
    dm_config *c = r->c;
    uint32_t head_dim;
    dm_status s;

    if ((s = dm_config_size(r, "hidden_size", DM_CONFIG_SIZE_MAX, 0, &c->hidden)) != DM_OK ||
        (s = dm_config_size(r, "intermediate_size", DM_CONFIG_SIZE_MAX, 0, &c->intermediate)) != DM_OK ||
        (s = dm_config_size(r, "num_hidden_layers", DM_LAYERS_MAX, 0, &c->layers)) != DM_OK ||
        (s = dm_config_size(r, "num_attention_heads", DM_CONFIG_SIZE_MAX, 0, &c->heads)) != DM_OK ||
        (s = dm_config_size(r, "num_key_value_heads", DM_CONFIG_SIZE_MAX, c->heads, &c->kv_heads)) != DM_OK ||
        (s = dm_config_size(r, "vocab_size", DM_CONFIG_SIZE_MAX, 0, &c->vocab)) != DM_OK ||
        (s = dm_config_size(r, "max_position_embeddings", DM_CONFIG_SIZE_MAX, archs[c->arch].max_positions,
                            &c->max_positions)) != DM_OK)
        return s;
    head_dim = archs[c->arch].head_dim;
    if (!head_dim && !dm_config_has(dm_json_get(r->root, "head_dim"))) {
        if (c->hidden % c->heads)
            return dm_json_fail(
                r->doc, r->root, r->err,
                "hidden_size %u is not a multiple of num_attention_heads %u and \"head_dim\" is missing",
                (unsigned)c->hidden, (unsigned)c->heads);
        head_dim = c->hidden / c->heads;
    }
    return dm_config_size(r, "head_dim", DM_CONFIG_SIZE_MAX, head_dim, &c->head_dim);
}

/* The activation is the architecture's own. */
static dm_status read_activation(const reader *r)
{
    const bool gemma = dm_config_is_gemma(r->c);
    const char *const own = gemma ? "gelu_pytorch_tanh" : "silu", *const key =
                                                                      gemma ? "hidden_activation" : "hidden_act";
    const dm_json *act = dm_json_get(r->root, key);

    if (!dm_config_has(act))
        return DM_OK;
    if (act->type != DM_JSON_STRING)
        return dm_json_fail(r->doc, act, r->err, "\"%s\" must be a string, \"%s\"", key, own);
    if (dm_json_is(act, own) || (!gemma && dm_json_is(act, "swish"))) /* another name of silu */
        return DM_OK;
    return dm_config_unsupported(r, act, "%s \"%s\" is not supported; %s is", key, act->text, own);
}

/* Llama's attention_bias: q, k, v and o. Qwen2 has its biases whatever the key says. */
static dm_status read_biases(const reader *r)
{
    dm_config *c = r->c;
    bool attention, mlp;
    dm_status s;

    if ((s = dm_config_flag(r, "attention_bias", false, &attention)) != DM_OK ||
        (s = dm_config_flag(r, "mlp_bias", false, &mlp)) != DM_OK)
        return s;
    if (attention && c->arch != DM_ARCH_LLAMA && c->arch != DM_ARCH_QWEN2)
        return dm_config_unsupported(r, dm_json_get(r->root, "attention_bias"),
                                     "attention_bias true is not supported for model_type %s", dm_arch_name(c->arch));
    if (mlp)
        return dm_config_unsupported(r, dm_json_get(r->root, "mlp_bias"), "mlp_bias true is not supported");
    if (c->arch == DM_ARCH_LLAMA)
        c->qkv_bias = c->o_bias = attention;
    return DM_OK;
}

/* Keys whose only supported value is none. */
static dm_status read_refusals(const reader *r)
{
    static const char *const keys[] = {"quantization_config", "attn_logit_softcapping", "final_logit_softcapping"};
    const dm_json *both = dm_json_get(r->root, "use_bidirectional_attention");

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const dm_json *v = dm_json_get(r->root, keys[i]);
        if (dm_config_has(v))
            return dm_config_unsupported(r, v,
                                         i ? "%s is not supported; null is"
                                           : "%s: quantized weights are not supported; F32, F16 and BF16 are",
                                         keys[i]);
    }
    if (dm_config_has(both) && !(both->type == DM_JSON_BOOL && !both->boolean))
        return dm_config_unsupported(r, both, "use_bidirectional_attention is not supported; false is");
    return DM_OK;
}

/* Gemma 3 scales its scores by this instead of the width of a head. */
static dm_status read_query_scalar(const reader *r)
{
    const double usual = 256;

    return dm_config_is_gemma(r->c) ? dm_json_get_double(r->doc, r->root, "query_pre_attn_scalar", 1e-6, 1e6, &usual,
                                                         &r->c->query_scalar, r->err)
                                    : DM_OK;
}

/* A token id, or the first of a list; -1: none. */
static dm_status read_token(const reader *r, const char *key, int32_t fallback, int32_t *out)
{
    const dm_json *v = dm_json_get(r->root, key);

    *out = v ? -1 : fallback;
    if (!dm_config_has(v))
        return DM_OK;
    if (v->type == DM_JSON_ARRAY && v->child)
        v = v->child;
    if (v->type != DM_JSON_NUMBER || !v->is_integer || v->integer < -1 || v->integer > INT32_MAX)
        return dm_json_fail(r->doc, v, r->err, "\"%s\" must be a token id, a list of them or null", key);
    *out = (int32_t)v->integer;
    return DM_OK;
}

dm_status dm_config_parse(dm_config *out, const dm_json_doc *doc, const dm_json *root, const char *dir, dm_error *err)
{
    const double eps = 1e-6;
    const reader r = {doc, root, out, err};
    dm_status s;

    memset(out, 0, sizeof *out);
    if (r.root->type != DM_JSON_OBJECT)
        s = dm_json_fail(doc, r.root, err, "a model's configuration must be an object");
    else if ((s = read_arch(&r)) == DM_OK && (s = read_sizes(&r)) == DM_OK && (s = read_refusals(&r)) == DM_OK &&
             (s = read_activation(&r)) == DM_OK && (s = read_biases(&r)) == DM_OK &&
             (s = read_query_scalar(&r)) == DM_OK && (s = dm_config_read_rope(&r)) == DM_OK &&
             (s = dm_config_read_layers(&r)) == DM_OK &&
             (s = dm_config_flag(&r, "tie_word_embeddings", archs[out->arch].tied, &out->tied)) == DM_OK &&
             (s = dm_json_get_double(doc, r.root, "rms_norm_eps", 1e-30, 1, &eps, &out->eps, err)) == DM_OK &&
             (s = read_token(&r, "bos_token_id", archs[out->arch].bos, &out->bos)) == DM_OK &&
             (s = read_token(&r, "eos_token_id", archs[out->arch].eos, &out->eos)) == DM_OK &&
             (!dir || (s = dm_config_read_ends(out, doc, dir, err)) == DM_OK))
        s = dm_config_check(out, dm_json_name(doc), err);
    return s;
}

dm_status dm_config_read(dm_config *out, const char *dir, dm_error *err)
{
    dm_path path;
    dm_json_doc *doc = NULL;
    dm_status s;

    memset(out, 0, sizeof *out);
    if ((s = dm_path_in(&path, dir, "config.json", err)) != DM_OK || (s = dm_json_read(&doc, path.text, err)) != DM_OK)
        return s;
    s = dm_config_parse(out, doc, dm_json_root(doc), dir, err);
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
    const bool no_window = c->arch == DM_ARCH_LLAMA || c->arch == DM_ARCH_SMOLLM3;
    if ((no_window && any) || (c->arch == DM_ARCH_MISTRAL && any && !all))
        return dm_fail(err, DM_ERR_INPUT, "%s: model_type %s has a window in %s", where, dm_arch_name(c->arch),
                       no_window ? "no layer" : "all layers or none");
    return DM_OK;
}

static dm_status check_rope_use(const dm_config *c, const char *where, dm_error *err)
{
    for (uint32_t i = 0; i < c->layers; i++) {
        const dm_rope_use local = c->windowed[i] ? DM_ROPE_LOCAL : DM_ROPE_MAIN;
        const bool fine = c->arch == DM_ARCH_GEMMA3 ? c->rope_use[i] == local
                          : c->arch == DM_ARCH_SMOLLM3
                              ? c->rope_use[i] == DM_ROPE_MAIN || c->rope_use[i] == DM_ROPE_NONE
                              : c->rope_use[i] == DM_ROPE_MAIN;
        if (!fine)
            return dm_fail(err, DM_ERR_INPUT, "%s: rope_use[%u] is %u, which model_type %s does not have there", where,
                           (unsigned)i, (unsigned)c->rope_use[i], dm_arch_name(c->arch));
    }
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
    if (dm_config_is_gemma(c) && !(within(c->rope_local_theta, 1, 1e15) && within(c->query_scalar, 1e-6, 1e6)))
        return dm_fail(
            err, DM_ERR_INPUT,
            "%s: the RoPE base of windowed layers is %g, must be from 1 to 1e15, and query_pre_attn_scalar %g, "
            "must be from 1e-6 to 1e6",
            where, c->rope_local_theta, c->query_scalar);
    if ((unsigned)c->rope > DM_ROPE_YARN)
        return dm_fail(err, DM_ERR_INPUT, "%s: unknown kind of RoPE scaling", where);
    if (c->rope != DM_ROPE_DEFAULT && !within(c->rope_factor, 1, 1e9))
        return dm_fail(err, DM_ERR_INPUT, "%s: the RoPE factor is %g, must be from 1 to 1e9", where, c->rope_factor);
    if (c->rope == DM_ROPE_LLAMA3 && !(c->rope_low > 0 && c->rope_low < c->rope_high && c->rope_high <= 1e9))
        return dm_fail(err, DM_ERR_INPUT, "%s: low_freq_factor is %g and high_freq_factor %g, must be 0 < low < high",
                       where, c->rope_low, c->rope_high);
    if (c->rope == DM_ROPE_YARN && !(c->rope_theta > 1 && c->rope_slow > 0 && c->rope_slow <= c->rope_fast &&
                                     c->rope_fast <= 1e9 && within(c->rope_attention, 1e-9, 1e9)))
        return dm_fail(err, DM_ERR_INPUT,
                       "%s: rope_theta is %g, beta_fast %g, beta_slow %g, attention_factor %g, must be over 1, 0 < "
                       "beta_slow <= beta_fast, over 0",
                       where, c->rope_theta, c->rope_fast, c->rope_slow, c->rope_attention);
    if ((c->rope == DM_ROPE_LLAMA3 || c->rope == DM_ROPE_YARN) &&
        (c->rope_original == 0 || c->rope_original > DM_CONFIG_SIZE_MAX))
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
    if (c->arch == DM_ARCH_LLAMA ? c->qkv_bias != c->o_bias : c->qkv_bias != (c->arch == DM_ARCH_QWEN2) || c->o_bias)
        return dm_fail(err, DM_ERR_INPUT, "%s: q, k, v biases go with qwen2, and with o's with llama", where);
    if (c->qk_norm != (c->arch == DM_ARCH_QWEN3 || c->arch == DM_ARCH_GEMMA3))
        return dm_fail(err, DM_ERR_INPUT, "%s: q and k norms go with qwen3 and gemma3_text", where);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value == 0 || sizes[i].value > sizes[i].most)
            return dm_fail(err, DM_ERR_INPUT, "%s: %s is %u, must be from 1 to %u", where, sizes[i].name,
                           (unsigned)sizes[i].value, (unsigned)sizes[i].most);
    if (c->heads % c->kv_heads)
        return dm_fail(err, DM_ERR_INPUT, "%s: num_attention_heads %u is not a multiple of num_key_value_heads %u",
                       where, (unsigned)c->heads, (unsigned)c->kv_heads);
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
    dm_status s = check_window(c, where, err);
    if (s == DM_OK)
        s = check_rope_use(c, where, err);
    return s == DM_OK ? check_numbers(c, where, err) : s;
}
