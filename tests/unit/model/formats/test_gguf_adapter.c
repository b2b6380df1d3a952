/* Adapters in GGUF, as llama.cpp reads them: added to the base's GGUF tensors with llama.cpp's scale, alpha / rank,
 * they give the GGUF tensors of the merged model, in GGUF's order of rows. What the keys say. Adapters whose base is
 * given with `base`. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "dmpo.h"
#include "io/gguf.h"
#include "model/api.h"
#include "model/formats/merge.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

static const char *case_path(char path[PATH], const char *name)
{
    const char *src = getenv("SRC");
    snprintf(path, PATH, "%s/tests/%s/model", src ? src : ".", name);
    return path;
}

static float *values(const dm_gguf_tensor *t)
{
    float *x = t ? malloc((size_t)t->count * sizeof *x) : NULL;
    dm_error err = {0};
    if (x && !CK(t->type == DM_F32 && dm_input_read(t->in, x, (size_t)t->size, t->offset, &err) == DM_OK)) {
        free(x);
        return NULL;
    }
    return x;
}

/* Whether merged == base + scale * b a, up to the rounding of other orders of sums. */
static void check_tensor(const float *base, const float *merged, const float *a, const float *b, size_t rows,
                         size_t cols, size_t rank, double scale, const char *name)
{
    double worst = 0, changed = 0;

    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < cols; i++) {
            double sum = 0;
            for (size_t k = 0; k < rank; k++)
                sum += (double)b[r * rank + k] * (double)a[k * cols + i];
            const double want = (double)base[r * cols + i] + scale * sum;
            worst = fmax(worst, fabs(want - (double)merged[r * cols + i]));
            changed = fmax(changed, fabs(scale * sum));
        }
    CK_MSG(worst < 1e-5 && changed > 1e-3, "%s: off by %g where the adapter changes %g", name, worst, changed);
}

static void check_sum(const dm_gguf *base, const dm_gguf *merged, const dm_gguf *adapter)
{
    double alpha = 0;
    dm_error err = {0};
    size_t pairs = 0;

    CK(dm_gguf_f64(adapter, "adapter.lora.alpha", &alpha, &err) == DM_OK && alpha > 0);
    for (size_t i = 0; i < dm_gguf_count(base); i++) {
        const dm_gguf_tensor *t = dm_gguf_at(base, i), *sum = dm_gguf_find(merged, t->name);
        char name[128];
        snprintf(name, sizeof name, "%s.lora_a", t->name);
        const dm_gguf_tensor *ta = dm_gguf_find(adapter, name);
        snprintf(name, sizeof name, "%s.lora_b", t->name);
        const dm_gguf_tensor *tb = dm_gguf_find(adapter, name);
        CK_MSG(!ta == !tb && sum, "%s", t->name);
        if (!ta || !tb || !sum)
            continue;
        pairs++;
        /* what llama.cpp checks: rows of lora_a as long as the base's, as many rows of lora_b, one rank */
        CK(ta->shape[0] == t->shape[0] && tb->shape[1] == t->shape[1] && ta->shape[1] == tb->shape[0]);
        float *x = values(t), *y = values(sum), *a = values(ta), *b = values(tb);
        if (x && y && a && b)
            check_tensor(x, y, a, b, (size_t)t->shape[1], (size_t)t->shape[0], (size_t)tb->shape[0],
                         alpha / (double)tb->shape[0], t->name);
        free(x);
        free(y);
        free(a);
        free(b);
    }
    CK_MSG(pairs > 0 && 2 * pairs == dm_gguf_count(adapter), "%zu pairs, %zu tensors", pairs, dm_gguf_count(adapter));
}

static dm_status write_all(const char *model, dmpo_engine *engine, dm_error *err)
{
    dm_adapter_merge m;
    dm_status s = dm_adapter_merge_open(&m, &engine->e, model, NULL, err);

    if (s == DM_OK &&
        (s = dm_write_gguf(at("base.gguf"), true, m.loaded.source, dm_weight_reader_of_source(m.loaded.source), DM_F32,
                           NULL, err)) == DM_OK &&
        (s = dm_write_gguf(at("merged.gguf"), true, m.loaded.source, dm_weight_reader_of_merge(&m), DM_F32, NULL,
                           err)) == DM_OK)
        s = dm_write_gguf_adapter(at("adapter.gguf"), true, &m.loaded, DM_F32, NULL, err);
    dm_adapter_merge_close(&m);
    return s;
}

static void check_adapter(const char *name, const char *arch, dmpo_engine *engine)
{
    char path[PATH];
    const char *text = "";
    dm_gguf *base = NULL, *merged = NULL, *adapter = NULL;
    dm_source *source = NULL;
    dm_error err = {0};

    CK_MSG(write_all(case_path(path, name), engine, &err) == DM_OK, "%s: %s", name, err.message);
    if (CK(dm_gguf_open(&base, at("base.gguf"), &err) == DM_OK &&
           dm_gguf_open(&merged, at("merged.gguf"), &err) == DM_OK &&
           dm_gguf_open(&adapter, at("adapter.gguf"), &err) == DM_OK)) {
        CK(dm_gguf_string(adapter, "general.architecture", &text, &err) == DM_OK && strcmp(text, arch) == 0);
        CK(dm_gguf_string(adapter, "general.type", &text, &err) == DM_OK && strcmp(text, "adapter") == 0);
        CK(dm_gguf_string(adapter, "adapter.type", &text, &err) == DM_OK && strcmp(text, "lora") == 0);
        check_sum(base, merged, adapter);
    }
    dm_gguf_close(&base);
    dm_gguf_close(&merged);
    dm_gguf_close(&adapter);
    CK_MSG(dm_source_open(&source, at("adapter.gguf"), &err) == DM_ERR_UNSUPPORTED && strstr(err.message, "adapter"),
           "%s", err.message);
}

/* An adapter that names a base which is not here. */
static void check_base(void)
{
    char from[PATH], path[PATH], *config;
    dm_source *s = NULL;
    dm_error err = {0};

    CK(dm_dir_create(at("away"), &err) == DM_OK);
    case_path(from, "golden-lora/llama-all");
    for (int i = 0; i < 2; i++) {
        static const char *const files[] = {"adapter_config.json", "adapter_model.safetensors"};
        dm_input in = {0};
        CK(dm_input_open(&in, join(path, from, files[i]), &err) == DM_OK);
        config = malloc((size_t)in.size);
        CK(config && dm_input_read(&in, config, (size_t)in.size, 0, &err) == DM_OK &&
           dm_file_write(join(path, at("away"), files[i]), config, (size_t)in.size, &err) == DM_OK);
        free(config);
        dm_input_close(&in);
    }
    CK_MSG(dm_source_open(&s, at("away"), &err) == DM_ERR_INPUT && strstr(err.message, "`base` gives its path"), "%s",
           err.message);
    CK_MSG(dm_source_open_on(&s, at("away"), case_path(path, "golden/llama-tied-gqa"), &err) == DM_OK, "%s",
           err.message);
    CK(s && strcmp(dm_source_path(s), path) == 0 && strcmp(dm_source_adapter(s), at("away")) == 0);
    dm_source_close(&s);
    CK_MSG(dm_source_open_on(&s, path, path, &err) == DM_ERR_ARGUMENT && strstr(err.message, "is not an adapter"), "%s",
           err.message);
    CK_MSG(dm_source_open_on(&s, from, from, &err) == DM_ERR_ARGUMENT && strstr(err.message, "must be a whole model"),
           "%s", err.message);
    CK(!s);
}

int main(void)
{
    dmpo_engine *engine = NULL;

    work_open();
    if (CK(dmpo_engine_open(&engine, NULL, 2, NULL) == DMPO_OK)) {
        check_adapter("golden-lora/llama-all", "llama", engine);
        check_adapter("golden-lora/qwen2-stabilised", "qwen2", engine);
        check_adapter("golden-lora/qwen3-some", "qwen3", engine);
    }
    check_base();
    dmpo_engine_close(&engine);
    work_close();
    return ck_done("gguf_adapter");
}
