/* A model as a GGUF file that llama.cpp loads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/numeric.h"
#include "io/gguf_write.h"
#include "model/formats/sidecar.h"
#include "model/formats/gguf_names.h"
#include "model/formats/rope_factors.h"
#include "model/formats/source_internal.h"
#include "model/formats/write.h"
#include "model/network/rope.h"

/* ---- metadata ---- */

static void put_u32(dm_gguf_meta *m, const dm_config *c, const char *name, uint32_t x)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", dm_gguf_arch(c), name);
    dm_gguf_put_u32(m, key, x);
}

static void put_f32(dm_gguf_meta *m, const dm_config *c, const char *name, double x)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", dm_gguf_arch(c), name);
    dm_gguf_put_f32(m, key, (float)x);
}

static void put_shape(dm_gguf_meta *m, const dm_config *c)
{
    char key[96];

    put_u32(m, c, "block_count", c->layers);
    put_u32(m, c, "context_length", c->max_positions);
    put_u32(m, c, "embedding_length", c->hidden);
    put_u32(m, c, "feed_forward_length", c->intermediate);
    put_u32(m, c, "attention.head_count", c->heads);
    put_u32(m, c, "attention.head_count_kv", c->kv_heads);
    put_u32(m, c, "attention.key_length", c->head_dim);
    put_u32(m, c, "attention.value_length", c->head_dim);
    put_f32(m, c, "attention.layer_norm_rms_epsilon", c->eps);
    put_u32(m, c, "rope.dimension_count", c->head_dim);
    put_f32(m, c, "rope.freq_base", c->rope_theta);
    if (c->rope == DM_ROPE_LINEAR || c->rope == DM_ROPE_YARN) {
        const char *type = c->rope == DM_ROPE_YARN ? "yarn" : "linear";
        snprintf(key, sizeof key, "%s.rope.scaling.type", dm_gguf_arch(c));
        dm_gguf_put_string(m, key, type, strlen(type));
        put_f32(m, c, "rope.scaling.factor", c->rope_factor);
    }
    if (c->rope == DM_ROPE_YARN) {
        put_f32(m, c, "rope.scaling.yarn_beta_fast", c->rope_fast);
        put_f32(m, c, "rope.scaling.yarn_beta_slow", c->rope_slow);
        put_f32(m, c, "rope.scaling.attn_factor", c->rope_attention / dm_rope_yarn_attention(c->rope_factor));
    }
    if (c->rope == DM_ROPE_LLAMA3 || c->rope == DM_ROPE_YARN)
        put_u32(m, c, DM_GGUF_ROPE_ORIGINAL, c->rope_original);
    if (dm_config_is_gemma(c)) {
        put_u32(m, c, "attention.sliding_window", c->window);
        put_f32(m, c, DM_GGUF_LOCAL_BASE, c->rope_local_theta);
    }
    put_u32(m, c, "vocab_size", c->vocab);
}

uint32_t dm_gguf_file_type(dm_dtype type)
{
    return type == DM_F32 ? 0 : type == DM_F16 ? 1 : type == DM_Q8_0 ? 7 : 32;
}

static void put_general(dm_gguf_meta *m, const dm_source *s, dm_dtype type)
{
    static const char *const kept[] = {"general.name",     "general.author",   "general.organization",
                                       "general.basename", "general.finetune", "general.size_label",
                                       "general.license",  "general.languages"};
    const char *arch = dm_gguf_arch(&s->config);

    dm_gguf_put_string(m, "general.architecture", arch, strlen(arch));
    dm_gguf_put_string(m, "general.type", "model", 5);
    if (s->gguf) {
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            if (dm_gguf_has(s->gguf, kept[i]))
                dm_gguf_put_pair(m, s->gguf, kept[i]);
    } else {
        size_t end = strlen(s->path), begin;
        while (end > 1 && s->path[end - 1] == '/')
            end--;
        for (begin = end; begin > 0 && s->path[begin - 1] != '/';)
            begin--;
        dm_gguf_put_string(m, "general.name", s->path + begin, end - begin);
    }
    dm_gguf_put_u32(m, "general.file_type", dm_gguf_file_type(type));
    dm_gguf_put_u32(m, "general.quantization_version", 2);
}

static void put_token(dm_gguf_meta *m, const char *key, int32_t id)
{
    if (id >= 0)
        dm_gguf_put_u32(m, key, (uint32_t)id);
}

static dm_status put_tokenizer(dm_gguf_meta *m, const dm_source *s, dm_error *err)
{
    dm_tokenizer *t = NULL;
    dm_chat_template chat = {.bos = -1, .end_of_turn = -1};
    dm_text jinja = {0};
    dm_status status;

    if (s->gguf) { /* as it is there */
        dm_gguf_put_from(m, s->gguf, "tokenizer.");
        return DM_OK;
    }
    status = dm_source_tokenizer(s, &t, &chat, NULL, err);
    if (status == DM_ERR_INPUT || status == DM_ERR_UNSUPPORTED) { /* an unknown template does not stop writing */
        dm_template_close(&chat);
        status = dm_source_tokenizer(s, &t, NULL, NULL, err);
    }
    if (status != DM_OK)
        return status;
    const int32_t bos = s->config.bos >= 0 ? s->config.bos : chat.bos;
    put_token(m, "tokenizer.ggml.bos_token_id", bos);
    put_token(m, "tokenizer.ggml.eos_token_id", s->config.eos >= 0 ? s->config.eos : chat.end_of_turn);
    if (!t) {
        dm_gguf_put_string(m, "tokenizer.ggml.model", "no_vocab", 8);
        return DM_OK;
    }
    if ((status = dm_tokenizer_to_gguf(m, t, s->config.vocab, bos, err)) == DM_OK &&
        (status = dm_sidecar_template(s, &jinja, err)) == DM_OK) {
        put_token(m, "tokenizer.ggml.eot_token_id", chat.end_of_turn);
        if (jinja.size)
            dm_gguf_put_string(m, "tokenizer.chat_template", jinja.data, jinja.size);
        m->bytes.failed |= jinja.failed;
    }
    dm_text_free(&jinja);
    dm_template_close(&chat);
    dm_tokenizer_close(&t);
    return status;
}

/* ---- tensors ---- */

typedef struct reading {
    const dm_source *s;
    dm_weight_reader w;
    float *head; /* rows of one head */
} reading;

static dm_status read_tensor(void *context, size_t i, float *out, dm_error *err)
{
    const reading *r = context;
    const dm_config *c = &r->s->config;

    if (i == r->s->layout.n) {
        for (size_t k = 0; k < c->head_dim / 2; k++)
            out[k] = (float)dm_rope_factor(c, k);
        return DM_OK;
    }
    const dm_tensor *t = &r->s->layout.tensors[i];
    const unsigned heads = dm_gguf_paired_heads(c, t->name);
    const dm_status s = r->w.read(r->w.context, t->name, out, err);
    if (s == DM_OK && heads) /* a bias is a column */
        dm_gguf_pair_rows(out, t->dims == 2 ? t->rows : t->cols, t->dims == 2 ? t->cols : 1, heads, r->head);
    for (size_t k = 0; s == DM_OK && dm_gguf_is_offset(c, t) && k < t->cols; k++)
        out[k] += 1.0f;
    return s;
}

static size_t list_tensors(dm_gguf_out *out, const dm_source *s, dm_dtype type)
{
    size_t n = 0;

    for (; n < s->layout.n; n++) {
        const dm_tensor *t = &s->layout.tensors[n];
        const dm_dtype matrix = type == DM_Q8_0 && t->cols % 32 ? DM_F16 : type;
        out[n] = (dm_gguf_out){.type = t->dims == 2 ? matrix : DM_F32, .dims = t->dims, .shape = {t->cols, t->rows}};
        dm_gguf_name(out[n].name, &s->config, t->name);
    }
    if (s->config.rope == DM_ROPE_LLAMA3) {
        out[n] = (dm_gguf_out){.type = DM_F32, .dims = 1, .shape = {s->config.head_dim / 2, 1}};
        snprintf(out[n].name, sizeof out[n].name, "%s", DM_GGUF_ROPE_FACTORS);
        n++;
    }
    return n;
}

/* What llama.cpp assumes of an architecture and no key says. */
dm_status dm_gguf_check_form(const dm_source *s, dm_error *err)
{
    const dm_config *c = &s->config;
    dm_config usual = *c;

    if (c->window && c->window < c->max_positions && !dm_config_is_gemma(c))
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "%s: a sliding window of %u tokens has no form in llama.cpp's %s models", s->path,
                       (unsigned)c->window, dm_gguf_arch(c));
    if (c->rope == DM_ROPE_YARN && !c->rope_whole)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: YaRN with truncate false has no form in llama.cpp's models",
                       s->path);
    dm_config_usual_layers(&usual, DM_GEMMA_PATTERN);
    if (memcmp(usual.windowed, c->windowed, c->layers) != 0 || memcmp(usual.rope_use, c->rope_use, c->layers) != 0 ||
        usual.query_scalar < c->query_scalar || usual.query_scalar > c->query_scalar)
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "%s: llama.cpp's %s models have other windowed layers, layers without RoPE or "
                       "query_pre_attn_scalar: there is no form for these",
                       s->path, dm_gguf_arch(c));
    return DM_OK;
}

dm_status dm_write_gguf(const char *path, bool overwrite, const dm_source *s, dm_weight_reader w, dm_dtype type,
                        char hex[DM_SHA256_HEX], dm_error *err)
{
    const dm_config *c = &s->config;
    dm_gguf_meta m = {0};

    const dm_status fits = dm_gguf_check_form(s, err);
    if (fits != DM_OK)
        return fits;
    dm_gguf_out *out = calloc(s->layout.n + 1, sizeof *out);
    reading r = {s, w, calloc((size_t)c->head_dim * c->hidden, sizeof(float))};
    dm_status status = out && r.head ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "%s: no memory to write it", path);
    if (status == DM_OK) {
        put_general(&m, s, type);
        put_shape(&m, c);
        status = put_tokenizer(&m, s, err);
    }
    if (status == DM_OK)
        status = dm_gguf_write(path, overwrite, &m, out, list_tensors(out, s, type), read_tensor, &r, hex, err);
    dm_gguf_meta_free(&m);
    free(out);
    free(r.head);
    return status;
}
