#include "model/formats/gguf_names.h"

#include <stdio.h>
#include <string.h>

static const char *const names[][2] = {
    {"input_layernorm.weight", "attn_norm.weight"},    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.k_proj.weight", "attn_k.weight"},      {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.q_proj.bias", "attn_q.bias"},          {"self_attn.k_proj.bias", "attn_k.bias"},
    {"self_attn.v_proj.bias", "attn_v.bias"},          {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"}, {"self_attn.o_proj.weight", "attn_output.weight"},
    {"self_attn.o_proj.bias", "attn_output.bias"},     {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},       {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},       {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},       {"lm_head.weight", "output.weight"},
};

/* Where Gemma 3's names differ: it has a norm before and one after each half of a layer. */
static const char *const gemma_names[][2] = {
    {"post_attention_layernorm.weight", "post_attention_norm.weight"},
    {"pre_feedforward_layernorm.weight", "ffn_norm.weight"},
    {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"},
};

/* The name in its layer, and the layer; a name outside the layers is itself. */
static const char *in_layer(const char *name, size_t *layer)
{
    int used = 0;
    return sscanf(name, "model.layers.%zu.%n", layer, &used) == 1 && used ? name + used : name;
}

const char *dm_gguf_arch(const dm_config *c)
{
    return c->arch == DM_ARCH_MISTRAL ? "llama" : dm_config_is_gemma(c) ? "gemma3" : dm_arch_name(c->arch);
}

static const char *translated(const char *const (*table)[2], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(table[i][0], name) == 0)
            return table[i][1];
    return NULL;
}

void dm_gguf_name(char out[DM_TENSOR_NAME], const dm_config *c, const char *name)
{
    size_t layer = 0;
    const char *end = in_layer(name, &layer), *own = NULL;

    if (dm_config_is_gemma(c))
        own = translated(gemma_names, sizeof gemma_names / sizeof *gemma_names, end);
    if (!own)
        own = translated(names, sizeof names / sizeof *names, end);
    if (own && end != name)
        snprintf(out, DM_TENSOR_NAME, "blk.%zu.%s", layer, own);
    else
        snprintf(out, DM_TENSOR_NAME, "%s", own ? own : name);
}

bool dm_gguf_is_offset(const dm_config *c, const dm_tensor *t)
{
    return dm_config_is_gemma(c) && t->dims == 1;
}

unsigned dm_gguf_paired_heads(const dm_config *c, const char *name)
{
    size_t layer;
    const char *end = in_layer(name, &layer);

    if (c->arch != DM_ARCH_LLAMA && c->arch != DM_ARCH_MISTRAL && c->arch != DM_ARCH_SMOLLM3)
        return 0;
    return strncmp(end, "self_attn.q_proj.", 17) == 0   ? c->heads
           : strncmp(end, "self_attn.k_proj.", 17) == 0 ? c->kv_heads
                                                        : 0;
}

void dm_gguf_pair_rows(float *x, size_t rows, size_t cols, size_t heads, float *head)
{
    const size_t dim = rows / heads, half = dim / 2;

    for (size_t h = 0; h < heads; h++, x += dim * cols) {
        memcpy(head, x, dim * cols * sizeof *x);
        for (size_t i = 0; i < dim; i++)
            memcpy(x + i * cols, head + (i % 2 * half + i / 2) * cols, cols * sizeof *x);
    }
}
