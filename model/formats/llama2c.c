#include "model/formats/llama2c.h"

#include <stdio.h>
#include <string.h>

static int32_t load(const unsigned char *p)
{
    return (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
}

static dm_status check_version(int32_t version, const char *path, dm_error *err)
{
    if (version == 1)
        return DM_OK;
    return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: llama2.c version %d%s is not supported; 0 and 1 are", path,
                   (int)version, version == 2 ? " (Q8_0 in groups)" : "");
}

/* The 7 numbers; false: not those of a model. */
static bool read_shape(dm_config *c, const unsigned char *p)
{
    enum { DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCAB, POSITIONS, COUNT };
    int32_t v[COUNT];

    for (int i = 0; i < COUNT; i++) {
        v[i] = load(p + 4 * i);
        if (v[i] < 1 && !(i == VOCAB && v[i] < 0 && v[i] > INT32_MIN))
            return false;
    }
    if (v[DIM] % v[HEADS])
        return false;
    *c = (dm_config){.arch = DM_ARCH_LLAMA,
                     .hidden = (uint32_t)v[DIM],
                     .intermediate = (uint32_t)v[HIDDEN],
                     .layers = (uint32_t)v[LAYERS],
                     .heads = (uint32_t)v[HEADS],
                     .kv_heads = (uint32_t)v[KV_HEADS],
                     .head_dim = (uint32_t)(v[DIM] / v[HEADS]),
                     .vocab = (uint32_t)(v[VOCAB] < 0 ? -v[VOCAB] : v[VOCAB]),
                     .max_positions = (uint32_t)v[POSITIONS],
                     .tied = v[VOCAB] > 0,
                     .eps = DM_LLAMA2C_EPS,
                     .rope_theta = DM_LLAMA2C_THETA,
                     .bos = 1,
                     .eos = 2,
                     .ends = {2},
                     .n_ends = 1};
    return true;
}

dm_status dm_llama2c_head(dm_input *in, unsigned char head[DM_LLAMA2C_HEADER], size_t *size, const char *path,
                          dm_error *err)
{
    const dm_status s = dm_input_open(in, path, err);

    if (s != DM_OK)
        return s;
    *size = in->size < DM_LLAMA2C_HEADER ? (size_t)in->size : DM_LLAMA2C_HEADER;
    return dm_input_read(in, head, *size, 0, err);
}

dm_status dm_llama2c_header(dm_config *out, int *version, size_t *begin, bool *known, const unsigned char *head,
                            size_t size, const char *path, dm_error *err)
{
    const bool magic = size >= 4 && memcmp(head, DM_LLAMA2C_MAGIC, 4) == 0;
    dm_status s;

    *known = magic;
    *version = magic;
    *begin = magic ? DM_LLAMA2C_HEADER : 28;
    if (size < *begin) {
        return magic ? dm_fail(err, DM_ERR_INPUT, "%s: has %zu bytes, less than llama2.c's header of %zu", path, size,
                               *begin)
                     : DM_OK;
    }
    if (magic && (s = check_version(load(head + 4), path, err)) != DM_OK)
        return s;
    const bool good = read_shape(out, head + (magic ? 8 : 0)) && dm_config_check(out, path, NULL) == DM_OK;
    if (!magic) { /* without a magic number, a header that makes no sense is another kind of file */
        *known = good;
        return DM_OK;
    }
    if (!good || !out->tied)
        return dm_fail(err, DM_ERR_INPUT,
                       "%s: llama2.c header: dim %d, hidden_dim %d, n_layers %d, n_heads %d, n_kv_heads %d, "
                       "vocab_size %d, seq_len %d do not describe a model",
                       path, load(head + 8), load(head + 12), load(head + 16), load(head + 20), load(head + 24),
                       load(head + 28), load(head + 32));
    if (head[36] > 1)
        return dm_fail(err, DM_ERR_INPUT, "%s: llama2.c header: the flag of a shared head is %u, must be 0 or 1", path,
                       (unsigned)head[36]);
    out->tied = head[36] == 1;
    return DM_OK;
}

/* The tensor of that name, at `from` or after it. */
static size_t index_of(const dm_param_layout *layout, const char *name, size_t from)
{
    while (strcmp(layout->tensors[from].name, name) != 0)
        from++;
    return from;
}

size_t dm_llama2c_order(size_t *out, const dm_param_layout *layout, const dm_config *c, int version)
{
    static const char *const orders[2][13] = {
        {"model.embed_tokens.weight", "input_layernorm.weight", "self_attn.q_proj.weight", "self_attn.k_proj.weight",
         "self_attn.v_proj.weight", "self_attn.o_proj.weight", "post_attention_layernorm.weight",
         "mlp.gate_proj.weight", "mlp.down_proj.weight", "mlp.up_proj.weight", "model.norm.weight", "angles",
         "lm_head.weight"},
        {"input_layernorm.weight", "post_attention_layernorm.weight", "model.norm.weight", "model.embed_tokens.weight",
         "self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.o_proj.weight",
         "mlp.gate_proj.weight", "mlp.down_proj.weight", "mlp.up_proj.weight", "lm_head.weight", NULL},
    };
    size_t n = 0;

    for (size_t k = 0; k < 13 && orders[version][k]; k++) {
        const char *name = orders[version][k];
        if (strcmp(name, "angles") == 0) {
            out[n++] = DM_LLAMA2C_ANGLES;
        } else if (strcmp(name, "lm_head.weight") == 0) {
            if (!c->tied)
                out[n++] = index_of(layout, name, 0);
        } else if (strncmp(name, "model.", 6) == 0) {
            out[n++] = index_of(layout, name, 0);
        } else {
            for (uint32_t layer = 0; layer < c->layers; layer++) {
                char full[DM_TENSOR_NAME];
                snprintf(full, sizeof full, "model.layers.%u.%s", (unsigned)layer, name);
                out[n++] = index_of(layout, full, (size_t)(layout->layers[layer].input_norm - layout->tensors));
            }
        }
    }
    return n;
}

dm_status dm_llama2c_tokenizer_path(dm_path *out, const char *path, dm_error *err)
{
    const char *slash = strrchr(path, '/');
    const int n = slash ? (int)(slash - path + 1) : 0;

    return dm_path_print(out, err, "%.*stokenizer.bin", n, path);
}
