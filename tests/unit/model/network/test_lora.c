/* Adapters through dmpo_train and what reads them: one committed result on every level and thread count, resumed
 * anywhere, with recomputation, beside a base in f32 or in its stored type; trained on; scored and opened; broken and
 * foreign ones refused. Figures are PEFT's in tests/unit/model/train/test_golden.c. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "core/files/file.h"
#include "dmpo.h"
#include "model/api.h"
#include "model/formats/adapter.h"
#include "model/formats/merge.h"
#include "model/formats/tensors.h"
#include "model/network/config.h"
#include "model/network/params.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

/* On every machine; it changes with the numerics contract (docs/numerics.md) only. */
#define WEIGHTS "31a03d0cdedd4de1af4d575f81b169226e625b635a619c7a7d81cf9ad26b0ebb"

static dm_train_options options(const char *output)
{
    dm_train_options o;
    dm_train_defaults(&o, DM_OBJECTIVE_DMPO);
    o.model = at("base");
    o.data = at("pairs.jsonl");
    o.eval_data = at("pairs.jsonl");
    o.output = at(output);
    o.lora_rank = 3;
    o.lr = 1e-2;
    o.batch = 3;
    o.steps = 6;
    o.seed = 5;
    o.overwrite = true; /* cases share directories */
    return o;
}

static outcome run(const dm_train_options *o)
{
    const outcome got = train(o, NULL, 2, NULL, NULL);
    CK_MSG(got.status == DMPO_OK, "%s", got.message);
    return got;
}

static int same_adapter(const char *a, const char *b)
{
    char x[PATH], y[PATH];
    return same_file(join(x, a, "adapter_model.safetensors"), join(y, b, "adapter_model.safetensors"));
}

/* The base with its weights rounded to bf16, stored as such or as f32. */
static void make_rounded(const char *dir, dm_dtype type)
{
    char path[PATH];
    dm_param_layout layout = {0};
    dm_error err = {0};
    dm_st *st = NULL;
    dm_st_out out[64] = {{0}};
    dm_status s = dm_param_layout_build(&layout, &small_shape, &err);
    float *w = calloc(layout.floats, sizeof *w);

    if (s == DM_OK && (s = dm_st_open(&st, at("base"), &err)) == DM_OK)
        s = dm_tensors_read(w, &layout, st, "base", "the test", &err);
    dm_st_close(&st);
    for (size_t i = 0; i < layout.floats; i++) { /* truncated to 8 bits of fraction: exact in both */
        uint32_t bits;
        memcpy(&bits, &w[i], sizeof bits);
        bits &= 0xFFFF0000u;
        memcpy(&w[i], &bits, sizeof bits);
    }
    for (size_t i = 0; i < layout.n && i < 64; i++) {
        const dm_tensor *t = &layout.tensors[i];
        out[i] = (dm_st_out){.name = t->name, .type = type, .dims = t->dims, .data = w + t->offset};
        out[i].shape[0] = t->dims == 2 ? t->rows : t->cols;
        out[i].shape[1] = t->cols;
    }
    if (s == DM_OK && (s = dm_dir_create(dir, &err)) == DM_OK &&
        (s = dm_config_write(&small_shape, DM_F32, dir, &err)) == DM_OK)
        s = dm_st_write(join(path, dir, "model.safetensors"), out, layout.n, NULL, 0, NULL, &err);
    CK_MSG(s == DM_OK, "%s", err.message);
    free(w);
    dm_param_layout_free(&layout);
}

/* ---- the same bits ---- */

static void test_same_bits(void)
{
    dm_train_options o = options("adapter");
    const outcome first = run(&o);

    CK_MSG(strcmp(first.result.weights_sha256, WEIGHTS) == 0, "adapter %s", first.result.weights_sha256);
    CK(first.result.before.loss > 0.69314 && first.result.before.loss < 0.69315); /* log 2: the policy is the base */
    CK(first.result.after.loss < first.result.before.loss);
    o.output = at("again");
    for (int isa = 0; isa < DM_ISA_COUNT; isa++)
        for (unsigned threads = 1; threads <= 3 && dm_isa_usable((dm_isa)isa); threads += 2) {
            o.recompute = threads == 3;
            const outcome got = train(&o, dm_isa_name((dm_isa)isa), threads, NULL, NULL);
            CK_MSG(got.status == DMPO_OK, "%s", got.message);
            CK_MSG(same_adapter(at("adapter"), at("again")), "%s, %u threads", dm_isa_name((dm_isa)isa), threads);
        }
}

static int stop_at(void *context, const dmpo_event *event)
{
    return event->kind == DMPO_EVENT_STEP && event->metrics->step == *(const int64_t *)context;
}

static void test_resumed(void)
{
    for (int64_t step = 1; step < 6; step += 2) {
        dm_train_options o = options("resumed");
        dm_dir_remove(at("resumed"), NULL);
        const outcome stopped = train(&o, NULL, 1, stop_at, &step);
        CK_MSG(stopped.status == DMPO_ERR_INTERRUPTED, "%s", stopped.message);
        o.resume = 1;
        run(&o);
        CK_MSG(same_adapter(at("adapter"), at("resumed")), "resumed after step %d", (int)step);
    }
    dm_train_options other = options("resumed");
    other.resume = 1;
    other.lora_alpha = 5;
    const outcome refused = train(&other, NULL, 1, NULL, NULL);
    CK_MSG(refused.status == DMPO_ERR_INPUT && strstr(refused.message, "other options"), "%s", refused.message);
}

/* A base in bf16 stays so, and gives the bits of the same values in f32. */
static void test_stored(void)
{
    dm_train_options o = options("of-f32");
    dmpo_plan wide, narrow;
    dmpo_engine *engine = NULL;
    dmpo_error error = {0};

    make_rounded(at("f32"), DM_F32);
    make_rounded(at("bf16"), DM_BF16);
    o.model = at("f32");
    run(&o);
    CK(dmpo_engine_open(&engine, NULL, 1, &error) == DMPO_OK);
    CK_MSG(dm_plan_train(engine, &o, &wide, &error) == DMPO_OK, "%s", error.message);
    o.model = at("bf16");
    CK_MSG(dm_plan_train(engine, &o, &narrow, &error) == DMPO_OK, "%s", error.message);
    dmpo_engine_close(&engine);
    CK(strcmp(wide.line[1].what, "weights") == 0 && 10 * narrow.line[1].bytes < 6 * wide.line[1].bytes);
    CK(narrow.trained < narrow.parameters && narrow.trained == wide.trained);
    o.output = at("of-bf16");
    run(&o);
    char x[PATH], y[PATH]; /* the adapters differ in the hash of their base: what they compute is the same */
    CK(same_figures(join(x, at("of-f32"), "metrics.jsonl"), join(y, at("of-bf16"), "metrics.jsonl")));
}

/* ---- trained on, scored, opened ---- */

typedef struct sums {
    double policy, reference;
    int n;
} sums;

static int add(void *context, const dmpo_scored *s)
{
    sums *t = context;
    t->policy += s->logp_sum;
    t->reference += s->reference_logp_sum;
    t->n++;
    return 0;
}

static sums score(const char *model, const char *reference)
{
    dm_train_options o = options("none");
    dmpo_engine *engine = NULL;
    dmpo_error error = {0};
    sums t = {0};

    o.lora_rank = 0;
    o.model = model;
    o.reference = reference;
    CK(dmpo_engine_open(&engine, NULL, 2, &error) == DMPO_OK);
    CK_MSG(dm_score(engine, &o, add, &t, NULL, NULL, &error) == DMPO_OK, "%s", error.message);
    dmpo_engine_close(&engine);
    return t;
}

static int same(double a, double b)
{
    return a >= b && a <= b;
}

static void test_scored(void)
{
    const sums base = score(at("base"), NULL), adapter = score(at("adapter"), NULL);
    const sums both = score(at("adapter"), at("base")), turned = score(at("base"), at("adapter"));
    const sums other = score(at("adapter"), at("other"));

    CK(base.n > 0 && !same(base.policy, adapter.policy));
    CK(same(both.policy, adapter.policy) && same(both.reference, base.policy));
    CK(same(turned.policy, base.policy) && same(turned.reference, adapter.policy));
    CK(same(other.policy, adapter.policy) && !same(other.reference, base.policy));
}

static void test_opened(void)
{
    const int32_t ids[] = {1, 5, 9, 33, 2};
    float plain[4] = {0}, adapted[4] = {0};
    dmpo_engine *engine = NULL;
    dmpo_model *model = NULL;
    dmpo_error error = {0};

    CK(dmpo_engine_open(&engine, NULL, 2, &error) == DMPO_OK);
    CK(dmpo_model_open(&model, engine, at("base"), 1, 8, &error) == DMPO_OK &&
       dmpo_model_logprobs(model, ids, 5, plain, &error) == DMPO_OK);
    dmpo_model_close(&model);
    CK_MSG(dmpo_model_open(&model, engine, at("adapter"), 1, 8, &error) == DMPO_OK &&
               dmpo_model_logprobs(model, ids, 5, adapted, &error) == DMPO_OK,
           "%s", error.message);
    dmpo_model_close(&model);
    CK(memcmp(plain, adapted, sizeof plain) != 0);
    dmpo_engine_close(&engine);
}

/* Merged, the model says what base and adapter say together, but for rounding. */
static void test_merged(void)
{
    char hex[DM_SHA256_HEX];
    dmpo_engine *engine = NULL;
    dmpo_error error = {0};
    dm_error err = {0};
    dm_adapter_merge m;

    CK(dmpo_engine_open(&engine, NULL, 2, &error) == DMPO_OK);
    dm_status s = dm_adapter_merge_open(&m, &engine->e, at("adapter"), NULL, &err);
    if (s == DM_OK)
        s = dm_write_hf(at("merged"), false, m.loaded.source, dm_weight_reader_of_merge(&m), DM_F32, hex, &err);
    dm_adapter_merge_close(&m);
    CK_MSG(s == DM_OK, "%s", err.message);
    CK(dm_adapter_merge_open(&m, &engine->e, at("base"), NULL, &err) == DM_ERR_ARGUMENT &&
       strstr(err.message, "is not an adapter"));
    dm_adapter_merge_close(&m);
    dmpo_engine_close(&engine);
    const sums merged = score(at("merged"), at("base")), apart = score(at("adapter"), at("base"));
    CK_MSG(fabs(merged.policy - apart.policy) < 1e-5 * fabs(apart.policy), "%g, %g", merged.policy, apart.policy);
    CK(same(merged.reference, apart.reference) && fabs(apart.policy - apart.reference) > 1e-2 * fabs(apart.policy));
}

/* An adapter is trained on: its reference is the policy as it begins, or the base when that is named. */
static void test_trained_on(void)
{
    dm_train_options o = options("further");

    o.model = at("adapter");
    o.lora_rank = 0;
    const outcome own = run(&o);
    CK(own.result.before.loss > 0.69314 && own.result.before.loss < 0.69315);
    o.reference = at("base");
    const outcome base = run(&o);
    CK(base.result.before.loss < 0.68); /* what the adapter has learned against it */
    o.reference = at("adapter");
    const outcome named = run(&o);
    CK(same(named.result.before.loss, own.result.before.loss));
}

/* Full training against a reference that is an adapter of the base. */
static void test_full_against_adapter(void)
{
    dm_train_options o = options("full");
    const sums both = score(at("base"), at("adapter"));

    o.lora_rank = 0;
    o.reference = at("adapter");
    const outcome got = run(&o);
    CK(got.result.before.step == 0 && both.n > 0 && got.result.before.loss > 0);
    o.reference = NULL;
    const outcome own = run(&o);
    CK(!same(got.result.before.loss, own.result.before.loss));
}

/* ---- what is refused ---- */

static void refused(const dm_train_options *o, int status, const char *part)
{
    const outcome got = train(o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == status && strstr(got.message, part), "status %d, '%s' instead of %d, '... %s ...'", got.status,
           got.message, status, part);
}

static void test_options(void)
{
    dm_train_options o = options("bad");

    o.lora_rank = 1025;
    refused(&o, DMPO_ERR_ARGUMENT, "`lora-rank` 1025 is out of range");
    o = options("bad");
    o.lora_targets = "q,nose";
    refused(&o, DMPO_ERR_ARGUMENT, "'nose' is not a projection");
    o.lora_targets = "q,";
    refused(&o, DMPO_ERR_ARGUMENT, "'' is not a projection");
    o.lora_targets = "q";
    o.lora_rank = 0;
    refused(&o, DMPO_ERR_ARGUMENT, "add `lora-rank`");
    o = options("bad");
    o.model = at("adapter");
    refused(&o, DMPO_ERR_ARGUMENT, "is an adapter of rank 3");
    o = options("bad");
    o.reference = at("other");
    refused(&o, DMPO_ERR_INPUT, "is another model than the base");
    CK(!dm_dir_exists(at("bad")));
}

/* The adapter with one text of its configuration replaced. */
static void refuse_config(const char *from, const char *to, const char *part)
{
    char path[PATH], text[4096], *found;
    char *good = slurp(join(path, at("adapter"), "adapter_config.json"));
    dm_lora_options lora;
    dm_path base;
    dm_error err = {0};

    if (CK_MSG(good && (found = strstr(good, from)) != NULL, "'%s' is not in adapter_config.json", from)) {
        snprintf(text, sizeof text, "%.*s%s%s", (int)(found - good), good, to, found + strlen(from));
        CK(dm_dir_create(at("broken"), NULL) == DM_OK &&
           dm_file_write(join(path, at("broken"), "adapter_config.json"), text, strlen(text), NULL) == DM_OK);
        const dm_status s = dm_adapter_config(&lora, &base, at("broken"), &err);
        CK_MSG(s != DM_OK && strstr(err.message, part) && strstr(err.message, "adapter_config.json"),
               "%s -> %s: status %d, '%s' instead of '... %s ...'", from, to, (int)s, err.message, part);
    }
    free(good);
}

static void test_broken(void)
{
    char x[PATH], y[PATH], text[64];
    dm_train_options o = options("bad");

    refuse_config("\"LORA\"", "\"IA3\"", "peft_type");
    refuse_config("\"r\": 3", "\"r\": 0", "r");
    refuse_config("\"r\": 3", "\"r\": 3.5", "r");
    refuse_config("\"q_proj\"", "\"lm_head\"", "lm_head");
    refuse_config("[\"q_proj\", \"k_proj\", \"v_proj\", \"o_proj\", \"gate_proj\", \"up_proj\", \"down_proj\"]", "[]",
                  "empty");
    refuse_config("\"bias\": \"none\"", "\"bias\": \"all\"", "bias is not supported");
    refuse_config("\"use_rslora\": false", "\"use_rslora\": false, \"use_dora\": true", "use_dora is not supported");
    static const char *const changing[] = {"pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga", "new"};
    for (size_t i = 0; i < sizeof changing / sizeof *changing; i++) {
        char with[96], says[96];
        snprintf(with, sizeof with, "\"use_rslora\": false, \"init_lora_weights\": \"%s\"", changing[i]);
        snprintf(says, sizeof says, "init_lora_weights \"%s\" is not supported", changing[i]);
        refuse_config("\"use_rslora\": false", with, says);
    }
    refuse_config("\"use_rslora\": false",
                  "\"use_rslora\": false, \"init_lora_weights\": true, \"loftq_config\": {\"bits\": 4}",
                  "loftq_config is not supported");
    refuse_config("/base\"", "/nowhere\"", "nowhere");
    refuse_config("{", "", "adapter_config.json");

    /* weights of another base, of another rank, missing */
    char *config = slurp(join(x, at("adapter"), "adapter_config.json"));
    char *weights = NULL;
    size_t size = 0;
    CK(config &&
       dm_file_read(join(x, at("adapter"), "adapter_model.safetensors"), 1 << 30, &weights, &size, NULL) == DM_OK);
    o.model = at("broken");
    o.lora_rank = 0;
    char *rank = config ? strstr(config, "\"r\": 3") : NULL;
    if (CK(rank != NULL)) {
        CK(dm_file_write(join(x, at("broken"), "adapter_config.json"), config, strlen(config), NULL) == DM_OK);
        refused(&o, DMPO_ERR_FILE, "adapter_model.safetensors");
        CK(dm_file_write(join(y, at("broken"), "adapter_model.bin"), "", 0, NULL) == DM_OK);
        refused(&o, DMPO_ERR_UNSUPPORTED, "adapter_model.bin: is a pickle");
        CK(dm_file_write(join(y, at("broken"), "adapter_model.safetensors"), weights, size, NULL) == DM_OK);
        rank[5] = '4';
        CK(dm_file_write(x, config, strlen(config), NULL) == DM_OK);
        refused(&o, DMPO_ERR_INPUT, "has shape");
        rank[5] = '3';
        CK(dm_file_write(y, weights, size / 2, NULL) == DM_OK &&
           dm_file_write(x, config, strlen(config), NULL) == DM_OK);
        refused(&o, DMPO_ERR_INPUT, "adapter_model.safetensors");
        CK(dm_file_write(y, weights, size, NULL) == DM_OK);
        snprintf(text, sizeof text, "/base\"");
        char *base = strstr(config, text);
        if (CK(base != NULL)) { /* "other" has the same shape */
            char changed[4096];
            snprintf(changed, sizeof changed, "%.*s/other\"%s", (int)(base - config), config, base + strlen(text));
            CK(dm_file_write(x, changed, strlen(changed), NULL) == DM_OK);
            refused(&o, DMPO_ERR_INPUT, "was trained on another base model");
        }
    }
    free(config);
    free(weights);
}

int main(void)
{
    work_open();
    make_model(at("base"), &small_shape);
    make_pairs(at("pairs.jsonl"), 11, 8, 5, 2, VOCAB, -1);

    dm_train_options o = options("other"); /* another base of the same shape */
    o.lora_rank = 0;
    run(&o);

    test_same_bits();
    test_resumed();
    test_stored();
    test_scored();
    test_opened();
    test_merged();
    test_trained_on();
    test_full_against_adapter();
    test_options();
    test_broken();
    work_close();
    return ck_done("lora");
}
