/* The table of a model's tensors; seeded initial weights. */
#include "model/network/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/numeric.h"
#include "core/numbers/philox.h"

#define TENSOR_ALIGN ((size_t)16) /* floats: 64 bytes */
#define LAYER_TENSORS ((size_t)17)

/* ---- layout ---- */

/* Appends a tensor; rows 0 is a vector of `cols`. */
static const dm_tensor *add(dm_param_layout *l, const char *name, size_t rows, size_t cols)
{
    dm_tensor *t = &l->tensors[l->n++];

    snprintf(t->name, sizeof t->name, "%s", name);
    t->type = DM_F32;
    t->rows = rows ? rows : 1;
    t->cols = cols;
    t->dims = rows ? 2 : 1;
    return t;
}

static const dm_tensor *add_layer(dm_param_layout *l, size_t layer, const char *name, size_t rows, size_t cols)
{
    char full[DM_TENSOR_NAME];

    snprintf(full, sizeof full, "model.layers.%zu.%s", layer, name);
    return add(l, full, rows, cols);
}

static dm_layer_tensors add_layer_tensors(dm_param_layout *l, const dm_config *c, size_t i)
{
    const size_t d = c->hidden, f = c->intermediate;
    const size_t hq = (size_t)c->heads * c->head_dim, hk = (size_t)c->kv_heads * c->head_dim;
    const bool gemma = dm_config_is_gemma(c);
    dm_layer_tensors o = {0};

    o.input_norm = add_layer(l, i, "input_layernorm.weight", 0, d);
    o.projection[DM_PROJECTION_Q] = add_layer(l, i, "self_attn.q_proj.weight", hq, d);
    o.projection[DM_PROJECTION_K] = add_layer(l, i, "self_attn.k_proj.weight", hk, d);
    o.projection[DM_PROJECTION_V] = add_layer(l, i, "self_attn.v_proj.weight", hk, d);
    if (c->qkv_bias) {
        o.bias[DM_PROJECTION_Q] = add_layer(l, i, "self_attn.q_proj.bias", 0, hq);
        o.bias[DM_PROJECTION_K] = add_layer(l, i, "self_attn.k_proj.bias", 0, hk);
        o.bias[DM_PROJECTION_V] = add_layer(l, i, "self_attn.v_proj.bias", 0, hk);
    }
    if (c->qk_norm) {
        o.q_norm = add_layer(l, i, "self_attn.q_norm.weight", 0, c->head_dim);
        o.k_norm = add_layer(l, i, "self_attn.k_norm.weight", 0, c->head_dim);
    }
    o.projection[DM_PROJECTION_O] = add_layer(l, i, "self_attn.o_proj.weight", d, hq);
    if (c->o_bias)
        o.bias[DM_PROJECTION_O] = add_layer(l, i, "self_attn.o_proj.bias", 0, d);
    if (gemma)
        o.attention_norm = add_layer(l, i, "post_attention_layernorm.weight", 0, d);
    o.post_norm = add_layer(l, i, gemma ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight", 0, d);
    o.projection[DM_PROJECTION_GATE] = add_layer(l, i, "mlp.gate_proj.weight", f, d);
    o.projection[DM_PROJECTION_UP] = add_layer(l, i, "mlp.up_proj.weight", f, d);
    o.projection[DM_PROJECTION_DOWN] = add_layer(l, i, "mlp.down_proj.weight", d, f);
    if (gemma)
        o.ffn_norm = add_layer(l, i, "post_feedforward_layernorm.weight", 0, d);
    return o;
}

void dm_param_layout_place(dm_param_layout *l)
{
    l->floats = l->parameters = 0;
    for (size_t i = 0; i < l->n; i++) {
        dm_tensor *t = &l->tensors[i];
        const size_t units = (size_t)(t->rows * dm_dtype_bytes(t->type, t->cols) + 3) / 4;
        t->offset = l->floats;
        l->parameters += t->rows * t->cols;
        l->floats += (units + TENSOR_ALIGN - 1) / TENSOR_ALIGN * TENSOR_ALIGN;
    }
}

dm_status dm_param_layout_build(dm_param_layout *out, const dm_config *c, dm_error *err)
{
    memset(out, 0, sizeof *out);
    const dm_status s = dm_config_check(c, "model", err); /* no product below overflows */
    if (s != DM_OK)
        return s;
    out->unit_offset = dm_config_is_gemma(c);
    out->tensors = calloc(3 + LAYER_TENSORS * c->layers, sizeof *out->tensors);
    out->layers = calloc(c->layers, sizeof *out->layers);
    if (!out->tensors || !out->layers) {
        dm_param_layout_free(out);
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the table of tensors");
    }
    out->embed = add(out, "model.embed_tokens.weight", c->vocab, c->hidden);
    for (size_t i = 0; i < c->layers; i++)
        out->layers[i] = add_layer_tensors(out, c, i);
    out->norm = add(out, "model.norm.weight", 0, c->hidden);
    out->head = c->tied ? out->embed : add(out, "lm_head.weight", c->vocab, c->hidden);
    dm_param_layout_place(out);
    return DM_OK;
}

void dm_param_layout_free(dm_param_layout *layout)
{
    free(layout->tensors);
    free(layout->layers);
    memset(layout, 0, sizeof *layout);
}

const dm_tensor *dm_param_layout_find(const dm_param_layout *layout, const char *name)
{
    for (size_t i = 0; i < layout->n; i++)
        if (strcmp(layout->tensors[i].name, name) == 0)
            return &layout->tensors[i];
    return NULL;
}

/* ---- weights ---- */

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void zero_padding(float *w, const dm_param_layout *layout)
{
    for (size_t i = 0; i < layout->n; i++) {
        const dm_tensor *t = &layout->tensors[i];
        const size_t end = t->offset + t->rows * t->cols;
        const size_t next = i + 1 < layout->n ? layout->tensors[i + 1].offset : layout->floats;
        memset(w + end, 0, (next - end) * sizeof *w);
    }
}

void dm_weights_init(float *w, const dm_param_layout *layout, uint64_t seed, double std)
{
    const float norm = layout->unit_offset ? 0.0f : 1.0f;

    for (size_t i = 0; i < layout->n; i++) {
        const dm_tensor *t = &layout->tensors[i];
        const bool matrix = t->dims == 2, bias = ends_with(t->name, ".bias");
        for (size_t j = 0; j < t->rows * t->cols; j++)
            w[t->offset + j] = matrix ? (float)(dm_random_normal(seed, DM_RNG_INIT, i, j) * std) : bias ? 0.0f : norm;
    }
    zero_padding(w, layout);
}
