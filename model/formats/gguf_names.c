#include "model/formats/gguf_names.h"

#include <stdio.h>
#include <string.h>

static const char *const names[][2] = {
    {"input_layernorm.weight", "attn_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.k_proj.weight", "attn_k.weight"},
    {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.q_proj.bias", "attn_q.bias"},
    {"self_attn.k_proj.bias", "attn_k.bias"},
    {"self_attn.v_proj.bias", "attn_v.bias"},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"self_attn.o_proj.weight", "attn_output.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},
    {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};

/* The name in its layer, and the layer; a name outside the layers is itself. */
static const char *in_layer(const char *name, size_t *layer)
{
    int used = 0;
    return sscanf(name, "model.layers.%zu.%n", layer, &used) == 1 && used ? name + used : name;
}

void dm_gguf_name(char out[DM_TENSOR_NAME], const char *name)
{
    size_t layer = 0;
    const char *end = in_layer(name, &layer);

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i][0], end) != 0)
            continue;
        if (end == name)
            snprintf(out, DM_TENSOR_NAME, "%s", names[i][1]);
        else
            snprintf(out, DM_TENSOR_NAME, "blk.%zu.%s", layer, names[i][1]);
        return;
    }
    snprintf(out, DM_TENSOR_NAME, "%s", name);
}

unsigned dm_gguf_paired_heads(const dm_config *c, const char *name)
{
    size_t layer;
    const char *end = in_layer(name, &layer);

    if (c->arch != DM_ARCH_LLAMA && c->arch != DM_ARCH_MISTRAL)
        return 0;
    return strcmp(end, "self_attn.q_proj.weight") == 0   ? c->heads
           : strcmp(end, "self_attn.k_proj.weight") == 0 ? c->kv_heads
                                                         : 0;
}
