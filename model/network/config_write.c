/* config.json for transformers: of a new model, or another's with the stored type changed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/json_edit.h"
#include "io/json_writer.h"
#include "model/network/config.h"

static const char *const classes[DM_ARCH_COUNT] = {
    [DM_ARCH_LLAMA] = "LlamaForCausalLM",   [DM_ARCH_MISTRAL] = "MistralForCausalLM",
    [DM_ARCH_QWEN2] = "Qwen2ForCausalLM",   [DM_ARCH_QWEN3] = "Qwen3ForCausalLM",
    [DM_ARCH_GEMMA3] = "Gemma3ForCausalLM", [DM_ARCH_SMOLLM3] = "SmolLM3ForCausalLM",
};

/* With a fraction always: transformers tells integers from floats. */
static void put_double(dm_json_writer *w, const char *key, double value)
{
    char text[DM_DOUBLE_TEXT + 2];

    dm_double_text(text, value);
    if (!strpbrk(text, ".e"))
        strcat(text, ".0");
    dm_json_put_raw(w, key, text);
}

static void put_token(dm_json_writer *w, const char *key, int32_t id)
{
    if (id < 0)
        dm_json_put_null(w, key);
    else
        dm_json_put_int(w, key, id);
}

/* eos_token_id: a list where more than one token ends a text. */
static void put_ends(dm_json_writer *w, const dm_config *c)
{
    if (c->n_ends < 2) {
        put_token(w, "eos_token_id", c->n_ends ? c->ends[0] : c->eos);
        return;
    }
    dm_json_open_array(w, "eos_token_id");
    w->lines = false;
    for (uint32_t i = 0; i < c->n_ends; i++)
        dm_json_put_int(w, NULL, c->ends[i]);
    dm_json_close_value(w);
    w->lines = true;
}

static void put_rope(dm_json_writer *w, const dm_config *c)
{
    static const char *const names[] = {
        [DM_ROPE_LINEAR] = "linear", [DM_ROPE_LLAMA3] = "llama3", [DM_ROPE_YARN] = "yarn"};

    put_double(w, "rope_theta", c->rope_theta);
    if (dm_config_is_gemma(c))
        put_double(w, "rope_local_base_freq", c->rope_local_theta);
    if (c->rope == DM_ROPE_DEFAULT)
        return;
    dm_json_open_object(w, "rope_scaling");
    dm_json_put_string(w, "rope_type", names[c->rope]);
    put_double(w, "factor", c->rope_factor);
    if (c->rope == DM_ROPE_YARN) {
        put_double(w, "attention_factor", c->rope_attention);
        put_double(w, "beta_fast", c->rope_fast);
        put_double(w, "beta_slow", c->rope_slow);
        dm_json_put_bool(w, "truncate", c->rope_whole);
    }
    if (c->rope == DM_ROPE_LLAMA3) {
        put_double(w, "low_freq_factor", c->rope_low);
        put_double(w, "high_freq_factor", c->rope_high);
    }
    if (c->rope != DM_ROPE_LINEAR)
        dm_json_put_uint(w, "original_max_position_embeddings", c->rope_original);
    dm_json_close_value(w);
}

static void put_window(dm_json_writer *w, const dm_config *c)
{
    if (c->arch == DM_ARCH_LLAMA)
        return;
    if (c->arch == DM_ARCH_SMOLLM3) {
        dm_json_put_bool(w, "use_sliding_window", false);
        dm_json_open_array(w, "no_rope_layers");
        for (uint32_t i = 0; i < c->layers; i++)
            dm_json_put_int(w, NULL, c->rope_use[i] == DM_ROPE_MAIN);
        dm_json_close_value(w);
        return;
    }
    if (c->window)
        dm_json_put_uint(w, "sliding_window", c->window);
    else
        dm_json_put_null(w, "sliding_window");
    if (c->arch == DM_ARCH_MISTRAL)
        return;
    if (!dm_config_is_gemma(c))
        dm_json_put_bool(w, "use_sliding_window", c->window > 0);
    dm_json_open_array(w, "layer_types");
    for (uint32_t i = 0; i < c->layers; i++)
        dm_json_put_string(w, NULL, c->windowed[i] ? "sliding_attention" : "full_attention");
    dm_json_close_value(w);
}

static const char *torch_name(dm_dtype stored)
{
    return stored == DM_F16 ? "float16" : stored == DM_BF16 ? "bfloat16" : "float32";
}

void dm_config_text(dm_text *t, const dm_config *c, dm_dtype stored)
{
    dm_json_writer w = {.out = t, .lines = true};

    dm_json_open_object(&w, NULL);
    dm_json_open_array(&w, "architectures");
    dm_json_put_string(&w, NULL, classes[c->arch]);
    dm_json_close_value(&w);
    dm_json_put_string(&w, "model_type", dm_arch_name(c->arch));
    dm_json_put_uint(&w, "hidden_size", c->hidden);
    dm_json_put_uint(&w, "intermediate_size", c->intermediate);
    dm_json_put_uint(&w, "num_hidden_layers", c->layers);
    dm_json_put_uint(&w, "num_attention_heads", c->heads);
    dm_json_put_uint(&w, "num_key_value_heads", c->kv_heads);
    dm_json_put_uint(&w, "head_dim", c->head_dim);
    dm_json_put_uint(&w, "vocab_size", c->vocab);
    dm_json_put_uint(&w, "max_position_embeddings", c->max_positions);
    if (dm_config_is_gemma(c)) {
        dm_json_put_string(&w, "hidden_activation", "gelu_pytorch_tanh");
        put_double(&w, "query_pre_attn_scalar", c->query_scalar);
    } else {
        dm_json_put_string(&w, "hidden_act", "silu");
    }
    if (c->o_bias)
        dm_json_put_bool(&w, "attention_bias", true);
    put_double(&w, "rms_norm_eps", c->eps);
    put_rope(&w, c);
    put_window(&w, c);
    dm_json_put_bool(&w, "tie_word_embeddings", c->tied);
    put_token(&w, "bos_token_id", c->bos);
    put_ends(&w, c);
    dm_json_put_string(&w, "torch_dtype", torch_name(stored));
    dm_json_close_value(&w);
    dm_text_print(t, "\n");
}

dm_status dm_config_write(const dm_config *c, dm_dtype stored, const char *dir, dm_error *err)
{
    dm_path path;
    dm_text t = {0};
    dm_status s;

    if ((s = dm_config_check(c, dir, err)) != DM_OK || (s = dm_path_in(&path, dir, "config.json", err)) != DM_OK)
        return s;
    dm_config_text(&t, c, stored);
    s = t.failed ? dm_fail(err, DM_ERR_MEMORY, "%s: no memory to write it", path.text)
                 : dm_file_write(path.text, t.data, t.size, err);
    dm_text_free(&t);
    return s;
}

/* Replaces the stored type where the configuration names it, under either of its two names. */
static dm_status replace_type(dm_text *text, dm_dtype stored, const char *path, dm_error *err)
{
    static const char *const keys[] = {"torch_dtype", "dtype"};
    char value[16];
    dm_json_doc *doc;
    bool named[2] = {false, false};
    dm_status s = dm_json_parse(&doc, text->data, text->size, path, err);

    if (s != DM_OK)
        return s;
    const dm_json *root = dm_json_root(doc);
    if (root->type != DM_JSON_OBJECT)
        s = dm_json_fail(doc, root, err, "a model's configuration must be an object");
    for (size_t i = 0; i < 2 && s == DM_OK; i++) {
        const dm_json *v = dm_json_get(root, keys[i]);
        named[i] = v != NULL;
        if (v && v->type != DM_JSON_STRING && v->type != DM_JSON_NULL)
            s = dm_json_fail(doc, v, err, "\"%s\" must be a string or null", keys[i]);
    }
    dm_json_close(&doc);
    snprintf(value, sizeof value, "\"%s\"", torch_name(stored));
    for (size_t i = 0; i < 2 && s == DM_OK; i++)
        if (named[i])
            s = dm_json_edit(text, keys[i], value, path, err);
    return s;
}

dm_status dm_config_copy(const char *from, dm_dtype stored, const char *dir, dm_error *err)
{
    dm_path source, copy;
    char *data = NULL;
    size_t size;
    dm_text text = {0};
    dm_status s;

    if ((s = dm_path_in(&source, from, "config.json", err)) != DM_OK ||
        (s = dm_path_in(&copy, dir, "config.json", err)) != DM_OK ||
        (s = dm_file_read(source.text, DM_JSON_BYTES, &data, &size, err)) != DM_OK)
        return s;
    dm_text_add(&text, data, size);
    free(data);
    s = text.failed ? dm_fail(err, DM_ERR_MEMORY, "%s: no memory to read it", source.text)
                    : replace_type(&text, stored, source.text, err);
    if (s == DM_OK)
        s = dm_file_write(copy.text, text.data, text.size, err);
    dm_text_free(&text);
    return s;
}
