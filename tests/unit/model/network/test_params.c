/* The weights that a config.json describes: their layout and first values, and which files of them are read. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/safetensors.h"
#include "model/formats/source.h"
#include "model/formats/tensors.h"
#include "model/network/params.h"
#include "tests/support/check.h"
#include "tests/support/config_tool.h"

static void test_layout(void)
{
    static const char *const types[] = {"llama", "mistral", "qwen2", "qwen3"};
    /* 2*50*24 + 24 + 4 * (2*24 + 4*24*24 + 3*40*24); biases 4 * 72; qwen3 has heads of 128: 4 * (3072 * 24 + 256) */
    static const size_t parameters[] = {23352, 23352, 23640, 310072};

    for (size_t i = 0; i < 4; i++) {
        const dm_config c = config_of(types[i], "");
        dm_param_layout l;
        if (!CK(dm_param_layout_build(&l, &c, NULL) == DM_OK))
            continue;
        size_t sum = 0, end = 0;
        for (size_t t = 0; t < l.n; t++) {
            CK(l.tensors[t].offset % 16 == 0 && l.tensors[t].offset >= end && l.tensors[t].offset < end + 16);
            end = l.tensors[t].offset + l.tensors[t].rows * l.tensors[t].cols;
            sum += l.tensors[t].rows * l.tensors[t].cols;
        }
        CK(l.floats >= end && l.floats % 16 == 0 && sum == l.parameters);
        CK_MSG(l.parameters == parameters[i], "%s: %zu parameters, must be %zu", types[i], l.parameters, parameters[i]);
        CK((l.layers[3].bias[DM_PROJECTION_Q] != NULL) == (i == 2) && (l.layers[3].k_norm != NULL) == (i == 3));
        dm_param_layout_free(&l);
        dm_param_layout_free(&l);
    }
}

typedef struct model {
    dm_config c;
    dm_param_layout l;
    float *w;
} model;

static model small_model(const char *type, const char *more)
{
    model m = {.c = config_of(type, more)};

    CK(dm_param_layout_build(&m.l, &m.c, NULL) == DM_OK);
    m.w = malloc(m.l.floats * sizeof(float));
    dm_weights_init(m.w, &m.l, 42, 0.02);
    return m;
}

static void free_model(model *m)
{
    dm_param_layout_free(&m->l);
    free(m->w);
}

static void test_init(void)
{
    model m = small_model("qwen2", ", \"num_key_value_heads\": 2");
    const dm_layer_tensors *l = m.l.layers;
    const float *embed = m.w + m.l.embed->offset, *bias = m.w + l[2].bias[DM_PROJECTION_K]->offset;
    double sum = 0, squares = 0;
    const size_t n = 50 * 24;

    for (size_t i = 0; i < n; i++) {
        sum += (double)embed[i];
        squares += (double)embed[i] * (double)embed[i];
    }
    CK(fabs(sum / (double)n) < 4 * 0.02 / sqrt((double)n) && fabs(sqrt(squares / (double)n) - 0.02) < 0.002);
    CK(m.w[m.l.norm->offset] == 1 && m.w[l[1].input_norm->offset + 23] == 1 && m.w[l[1].post_norm->offset] == 1);
    CK(bias[0] == 0 && bias[7] == 0);
    CK(bias[8] == 0 && bias[15] == 0); /* padding */
    CK(m.w[l[0].projection[DM_PROJECTION_Q]->offset] != m.w[l[1].projection[DM_PROJECTION_Q]->offset] &&
       m.w[l[0].projection[DM_PROJECTION_Q]->offset] != m.w[l[0].projection[DM_PROJECTION_K]->offset]);
    free_model(&m);
}

/* Writes m's tensors with one change, and says what reading them gives. */
typedef enum change { NONE, WITHOUT_LAST, EXTRA, INV_FREQ, TIED_HEAD, OTHER_HEAD, TRANSPOSED, FLAT, CHANGES } change;

static void put_changed(const model *m, change how)
{
    static const char *const extra[CHANGES] = {
        [EXTRA] = "model.layers.0.self_attn.q_proj.bias", [INV_FREQ] = "model.layers.0.self_attn.rotary_emb.inv_freq"};
    dm_st_out out[64] = {{0}};
    size_t n = 0;
    char path[128];
    dm_error err = {0};

    for (; n < m->l.n; n++) {
        const dm_tensor *t = &m->l.tensors[n];
        out[n] = (dm_st_out){.name = t->name, .type = DM_F32, .dims = t->dims, .data = m->w + t->offset};
        out[n].shape[0] = t->dims == 2 ? t->rows : t->cols;
        out[n].shape[1] = t->cols;
    }
    n -= how == WITHOUT_LAST;
    if (extra[how])
        out[n++] = (dm_st_out){.name = extra[how], .type = DM_F32, .dims = 1, .shape = {24}, .data = m->w};
    if (how == TIED_HEAD || how == OTHER_HEAD) {
        out[n] = out[0];
        out[n].name = "lm_head.weight";
        out[n++].data += how == OTHER_HEAD ? 16 : 0;
    }
    if (how == TRANSPOSED) {
        out[0].shape[0] = m->c.hidden;
        out[0].shape[1] = m->c.vocab;
    }
    if (how == FLAT) {
        out[0].dims = 1;
        out[0].shape[0] = (uint64_t)m->c.hidden * m->c.vocab;
    }
    snprintf(path, sizeof path, "%s/model.safetensors", config_dir);
    CK_MSG(dm_st_write(path, out, n, NULL, 0, NULL, &err) == DM_OK, "%s", err.message);
}

/* Every tensor of the directory, as a run reads it. */
static dm_status read_all(float *w, const dm_config *c, const dm_param_layout *l, dm_error *err)
{
    dm_source *source = NULL;
    dm_status s = dm_config_write(c, DM_F32, config_dir, err);

    if (s == DM_OK)
        s = dm_source_open(&source, config_dir, err);
    for (size_t i = 0; s == DM_OK && i < l->n; i++)
        s = dm_source_read_f32(source, l->tensors[i].name, w + l->tensors[i].offset, err);
    dm_source_close(&source);
    return s;
}

static void reads(const model *m, change how, dm_status status, const char *says)
{
    float *w = malloc(m->l.floats * sizeof *w);
    dm_error err = {0};

    memset(w, 0, m->l.floats * sizeof *w);
    if (how != CHANGES)
        put_changed(m, how);
    const dm_status got = read_all(w, &m->c, &m->l, &err);
    CK_MSG(got == status, "change %d: status %d instead of %d (%s)", (int)how, (int)got, (int)status, err.message);
    CK_MSG(strstr(err.message, says) != NULL, "%s\n  does not say: %s", err.message, says);
    if (got == DM_OK)
        CK(memcmp(w, m->w, m->l.floats * sizeof *w) == 0);
    free(w);
}

static void test_weights(void)
{
    model tied = small_model("llama", ", \"tie_word_embeddings\": true");
    model untied = small_model("qwen3", ", \"head_dim\": 6");
    dm_error err = {0};
    char hex[DM_SHA256_HEX], again[DM_SHA256_HEX], path[128];

    CK_MSG(dm_weights_write(untied.w, &untied.l, config_dir, hex, &err) == DM_OK, "%s", err.message);
    reads(&untied, CHANGES, DM_OK, "");
    snprintf(path, sizeof path, "%s/model.safetensors", config_dir);
    CK(dm_file_sha256(path, again, NULL) == DM_OK && strcmp(hex, again) == 0);

    reads(&untied, NONE, DM_OK, "");
    reads(&untied, INV_FREQ, DM_OK, "");
    reads(&untied, WITHOUT_LAST, DM_ERR_INPUT,
          "\"lm_head.weight\" is missing, by config.json there must be one of shape "
          "[50, 24]");
    reads(&untied, EXTRA, DM_ERR_INPUT, "\"model.layers.0.self_attn.q_proj.bias\" of shape [24]");
    reads(&untied, TRANSPOSED, DM_ERR_INPUT,
          "\"model.embed_tokens.weight\" has shape [24, 50], by config.json it must be "
          "[50, 24]");
    reads(&untied, FLAT, DM_ERR_INPUT, "has shape [1200]");
    reads(&tied, NONE, DM_OK, "");
    reads(&tied, TIED_HEAD, DM_OK, "");
    reads(&tied, OTHER_HEAD, DM_ERR_INPUT, "\"lm_head.weight\" is not the embedding, but config.json says tie");
    reads(&tied, WITHOUT_LAST, DM_ERR_INPUT, "\"model.norm.weight\" is missing");
    free_model(&tied);
    free_model(&untied);
}

/* A NaN is set in the file's bytes: the writer would refuse it. */
static void test_nan(void)
{
    model m = small_model("llama", "");
    const dm_tensor *last = &m.l.tensors[m.l.n - 1];
    char path[128], *bytes;
    size_t size;

    put_changed(&m, NONE);
    snprintf(path, sizeof path, "%s/model.safetensors", config_dir);
    if (CK(dm_file_read(path, 1 << 24, &bytes, &size, NULL) == DM_OK)) {
        memcpy(bytes + size - 4, "\0\0\xC0\x7F", 4); /* tensors are stored in order */
        CK(dm_file_write(path, bytes, size, NULL) == DM_OK);
        reads(&m, CHANGES, DM_ERR_NONFINITE, last->name);
        free(bytes);
    }
    free_model(&m);
}

int main(void)
{
    config_open();
    test_layout();
    test_init();
    test_weights();
    test_nan();
    config_close();
    return ck_done("params");
}
