/* config.json for transformers: of a new model, or another's with the stored type changed. */
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/json.h"
#include "model/network/config.h"

static const char *const classes[DM_ARCH_COUNT] = {
    [DM_ARCH_LLAMA] = "LlamaForCausalLM",   [DM_ARCH_MISTRAL] = "MistralForCausalLM",
    [DM_ARCH_QWEN2] = "Qwen2ForCausalLM",   [DM_ARCH_QWEN3] = "Qwen3ForCausalLM",
    [DM_ARCH_GEMMA3] = "Gemma3ForCausalLM", [DM_ARCH_SMOLLM3] = "SmolLM3ForCausalLM",
};

static void put_int(dm_text *t, const char *key, long long value)
{
    dm_text_print(t, ",\n  \"%s\": %lld", key, value);
}

/* With a fraction always: transformers tells integers from floats. */
static void put_float(dm_text *t, double value)
{
    char text[DM_DOUBLE_TEXT];

    dm_double_text(text, value);
    dm_text_print(t, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static void put_double(dm_text *t, const char *key, double value)
{
    dm_text_print(t, ",\n  \"%s\": ", key);
    put_float(t, value);
}

static void put_token(dm_text *t, const char *key, int32_t id)
{
    if (id < 0)
        dm_text_print(t, ",\n  \"%s\": null", key);
    else
        put_int(t, key, id);
}

/* eos_token_id: a list where more than one token ends a text. */
static void put_ends(dm_text *t, const dm_config *c)
{
    if (c->n_ends < 2) {
        put_token(t, "eos_token_id", c->n_ends ? c->ends[0] : c->eos);
        return;
    }
    dm_text_print(t, ",\n  \"eos_token_id\": [");
    for (uint32_t i = 0; i < c->n_ends; i++)
        dm_text_print(t, "%s%d", i ? ", " : "", (int)c->ends[i]);
    dm_text_print(t, "]");
}

static void put_rope(dm_text *t, const dm_config *c)
{
    static const char *const names[] = {
        [DM_ROPE_LINEAR] = "linear", [DM_ROPE_LLAMA3] = "llama3", [DM_ROPE_YARN] = "yarn"};

    put_double(t, "rope_theta", c->rope_theta);
    if (dm_config_is_gemma(c))
        put_double(t, "rope_local_base_freq", c->rope_local_theta);
    if (c->rope == DM_ROPE_DEFAULT)
        return;
    dm_text_print(t, ",\n  \"rope_scaling\": {\n    \"rope_type\": \"%s\",\n    \"factor\": ", names[c->rope]);
    put_float(t, c->rope_factor);
    if (c->rope == DM_ROPE_YARN) {
        dm_text_print(t, ",\n    \"attention_factor\": ");
        put_float(t, c->rope_attention);
        dm_text_print(t, ",\n    \"beta_fast\": ");
        put_float(t, c->rope_fast);
        dm_text_print(t, ",\n    \"beta_slow\": ");
        put_float(t, c->rope_slow);
        dm_text_print(t, ",\n    \"truncate\": %s", c->rope_whole ? "true" : "false");
    }
    if (c->rope == DM_ROPE_LLAMA3) {
        dm_text_print(t, ",\n    \"low_freq_factor\": ");
        put_float(t, c->rope_low);
        dm_text_print(t, ",\n    \"high_freq_factor\": ");
        put_float(t, c->rope_high);
    }
    if (c->rope != DM_ROPE_LINEAR)
        dm_text_print(t, ",\n    \"original_max_position_embeddings\": %u", (unsigned)c->rope_original);
    dm_text_print(t, "\n  }");
}

static void put_window(dm_text *t, const dm_config *c)
{
    if (c->arch == DM_ARCH_LLAMA)
        return;
    if (c->arch == DM_ARCH_SMOLLM3) {
        dm_text_print(t, ",\n  \"use_sliding_window\": false,\n  \"no_rope_layers\": [");
        for (uint32_t i = 0; i < c->layers; i++)
            dm_text_print(t, "%s\n    %d", i ? "," : "", c->rope_use[i] == DM_ROPE_MAIN);
        dm_text_print(t, "\n  ]");
        return;
    }
    if (c->window)
        put_int(t, "sliding_window", c->window);
    else
        dm_text_print(t, ",\n  \"sliding_window\": null");
    if (c->arch == DM_ARCH_MISTRAL)
        return;
    if (!dm_config_is_gemma(c))
        dm_text_print(t, ",\n  \"use_sliding_window\": %s", c->window ? "true" : "false");
    dm_text_print(t, ",\n  \"layer_types\": [");
    for (uint32_t i = 0; i < c->layers; i++)
        dm_text_print(t, "%s\n    \"%s\"", i ? "," : "", c->windowed[i] ? "sliding_attention" : "full_attention");
    dm_text_print(t, "\n  ]");
}

static dm_status write_text(dm_text *t, const char *dir, dm_error *err)
{
    char path[4096];
    dm_status s = dm_path_join(path, sizeof path, dir, "config.json", err);

    if (s == DM_OK && t->failed)
        s = dm_fail(err, DM_ERR_MEMORY, "%s: no memory to write it", path);
    if (s == DM_OK)
        s = dm_file_write(path, t->data, t->size, err);
    dm_text_free(t);
    return s;
}

static const char *torch_name(dm_dtype stored)
{
    return stored == DM_F16 ? "float16" : stored == DM_BF16 ? "bfloat16" : "float32";
}

void dm_config_text(dm_text *t, const dm_config *c, dm_dtype stored)
{
    dm_text_print(t, "{\n  \"architectures\": [\n    \"%s\"\n  ],\n  \"model_type\": \"%s\"", classes[c->arch],
                  dm_arch_name(c->arch));
    put_int(t, "hidden_size", c->hidden);
    put_int(t, "intermediate_size", c->intermediate);
    put_int(t, "num_hidden_layers", c->layers);
    put_int(t, "num_attention_heads", c->heads);
    put_int(t, "num_key_value_heads", c->kv_heads);
    put_int(t, "head_dim", c->head_dim);
    put_int(t, "vocab_size", c->vocab);
    put_int(t, "max_position_embeddings", c->max_positions);
    if (dm_config_is_gemma(c)) {
        dm_text_print(t, ",\n  \"hidden_activation\": \"gelu_pytorch_tanh\"");
        put_double(t, "query_pre_attn_scalar", c->query_scalar);
    } else {
        dm_text_print(t, ",\n  \"hidden_act\": \"silu\"");
    }
    if (c->o_bias)
        dm_text_print(t, ",\n  \"attention_bias\": true");
    put_double(t, "rms_norm_eps", c->eps);
    put_rope(t, c);
    put_window(t, c);
    dm_text_print(t, ",\n  \"tie_word_embeddings\": %s", c->tied ? "true" : "false");
    put_token(t, "bos_token_id", c->bos);
    put_ends(t, c);
    dm_text_print(t, ",\n  \"torch_dtype\": \"%s\"\n}\n", torch_name(stored));
}

dm_status dm_config_write(const dm_config *c, dm_dtype stored, const char *dir, dm_error *err)
{
    dm_text t = {0};
    const dm_status s = dm_config_check(c, dir, err);

    if (s != DM_OK)
        return s;
    dm_config_text(&t, c, stored);
    return write_text(&t, dir, err);
}

/* Where the value `v` of the parsed text begins. */
static const char *value_begin(const char *text, const dm_json *v)
{
    for (uint32_t line = 1; line < v->line; line++)
        text = strchr(text, '\n') + 1;
    return text + v->column - 1;
}

/* The end of the string or null at `at`. */
static const char *value_end(const char *at)
{
    if (*at != '"')
        return at + strlen("null");
    for (at++; *at != '"'; at++)
        if (*at == '\\')
            at++;
    return at + 1;
}

/* The text itself with two values replaced: nothing else changes, not even how a number is written. */
static dm_status replace_type(dm_text *out, dm_dtype stored, const char *text, const dm_json_doc *doc, dm_error *err)
{
    const dm_json *root = dm_json_root(doc);
    const char *at = text;

    if (root->type != DM_JSON_OBJECT)
        return dm_json_fail(doc, root, err, "a model's configuration must be an object");
    for (const dm_json *v = root->child; v; v = v->next) {
        if (strcmp(v->key, "torch_dtype") != 0 && strcmp(v->key, "dtype") != 0)
            continue;
        if (v->type != DM_JSON_STRING && v->type != DM_JSON_NULL)
            return dm_json_fail(doc, v, err, "\"%s\" must be a string or null", v->key);
        const char *begin = value_begin(text, v);
        dm_text_add(out, at, (size_t)(begin - at));
        dm_text_print(out, "\"%s\"", torch_name(stored));
        at = value_end(begin);
    }
    dm_text_add(out, at, strlen(at));
    return DM_OK;
}

dm_status dm_config_copy(const char *from, dm_dtype stored, const char *dir, dm_error *err)
{
    char path[4096], *text = NULL;
    size_t size;
    dm_json_doc *doc = NULL;
    dm_text out = {0};
    dm_status s;

    if ((s = dm_path_join(path, sizeof path, from, "config.json", err)) != DM_OK ||
        (s = dm_file_read(path, DM_JSON_BYTES, &text, &size, err)) != DM_OK)
        return s;
    if ((s = dm_json_parse(&doc, text, size, path, err)) == DM_OK &&
        (s = replace_type(&out, stored, text, doc, err)) == DM_OK)
        s = write_text(&out, dir, err);
    dm_json_close(&doc);
    dm_text_free(&out);
    free(text);
    return s;
}
