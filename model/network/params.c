/* The table of a model's tensors; its weights read, written and initialised. */
#include "model/network/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/numeric.h"
#include "core/philox.h"
#include "io/safetensors.h"

#define TENSOR_ALIGN ((size_t)16) /* floats: 64 bytes */
#define LAYER_TENSORS ((size_t)14)

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
    o.post_norm = add_layer(l, i, "post_attention_layernorm.weight", 0, d);
    o.projection[DM_PROJECTION_GATE] = add_layer(l, i, "mlp.gate_proj.weight", f, d);
    o.projection[DM_PROJECTION_UP] = add_layer(l, i, "mlp.up_proj.weight", f, d);
    o.projection[DM_PROJECTION_DOWN] = add_layer(l, i, "mlp.down_proj.weight", d, f);
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

/* ---- weights ---- */

static void shape_text(char buf[256], unsigned dims, const uint64_t *shape)
{
    size_t used = (size_t)snprintf(buf, 256, "[");

    for (unsigned i = 0; i < dims; i++)
        used += (size_t)snprintf(buf + used, 256 - used, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
    snprintf(buf + used, 256 - used, "]");
}

static void shape_of(const dm_tensor *t, uint64_t shape[2])
{
    shape[0] = t->dims == 2 ? t->rows : t->cols;
    shape[1] = t->cols;
}

/* by: the file that says what there must be */
static dm_status check_shape(const dm_st *st, const dm_tensor *t, const char *dir, const char *by, dm_error *err)
{
    const dm_st_tensor *found = dm_st_find(st, t->name);
    char want[256], got[256];
    uint64_t shape[2];

    shape_of(t, shape);
    shape_text(want, t->dims, shape);
    if (!found)
        return dm_fail(err, DM_ERR_INPUT, "%s: tensor \"%s\" is missing, by %s there must be one of shape %s", dir,
                       t->name, by, want);
    if (found->dims == t->dims && memcmp(found->shape, shape, t->dims * sizeof *shape) == 0)
        return DM_OK;
    shape_text(got, found->dims, found->shape);
    return dm_fail(err, DM_ERR_INPUT, "%s: tensor \"%s\" has shape %s, by %s it must be %s", dm_st_path(st, found),
                   t->name, got, by, want);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool in_layout(const dm_param_layout *layout, const char *name)
{
    for (size_t i = 0; i < layout->n; i++)
        if (strcmp(layout->tensors[i].name, name) == 0)
            return true;
    return false;
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

dm_status dm_tensors_read(float *w, const dm_param_layout *layout, const dm_st *st, const char *where, const char *by,
                          dm_error *err)
{
    dm_status s = DM_OK;

    for (size_t i = 0; s == DM_OK && i < layout->n; i++)
        s = check_shape(st, &layout->tensors[i], where, by, err);
    for (size_t i = 0; s == DM_OK && dm_st_count(st) > layout->n && i < dm_st_count(st); i++)
        if (!in_layout(layout, dm_st_at(st, i)->name))
            s = dm_fail(err, DM_ERR_INPUT, "%s: tensor \"%s\" is not one that %s asks for", where,
                        dm_st_at(st, i)->name, by);
    for (size_t i = 0; s == DM_OK && i < layout->n; i++)
        s = dm_st_read_f32(st, dm_st_find(st, layout->tensors[i].name), w + layout->tensors[i].offset, err);
    return s;
}

dm_status dm_weights_write(const float *w, const dm_param_layout *layout, const char *dir, char hex[DM_SHA256_HEX],
                           dm_error *err)
{
    char path[4096];
    const dm_status s = dm_path_join(path, sizeof path, dir, "model.safetensors", err);

    return s == DM_OK ? dm_tensors_write(w, layout, path, NULL, 0, hex, err) : s;
}

dm_status dm_tensors_write(const float *w, const dm_param_layout *layout, const char *path,
                           const char *const (*metadata)[2], size_t n_metadata, char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_st_out *out = calloc(layout->n, sizeof *out);
    if (!out)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory to write it", path);
    for (size_t i = 0; i < layout->n; i++) {
        const dm_tensor *t = &layout->tensors[i];
        out[i] = (dm_st_out){.name = t->name, .type = DM_F32, .dims = t->dims, .data = w + t->offset};
        shape_of(t, out[i].shape);
    }
    const dm_status s = dm_st_write(path, out, layout->n, metadata, n_metadata, hex, err);
    free(out);
    return s;
}

void dm_weights_init(float *w, const dm_param_layout *layout, uint64_t seed, double std)
{
    for (size_t i = 0; i < layout->n; i++) {
        const dm_tensor *t = &layout->tensors[i];
        const bool matrix = t->dims == 2, bias = ends_with(t->name, ".bias");
        for (size_t j = 0; j < t->rows * t->cols; j++)
            w[t->offset + j] = matrix ? (float)(dm_random_normal(seed, DM_RNG_INIT, i, j) * std) : bias ? 0.0f : 1.0f;
    }
    zero_padding(w, layout);
}
