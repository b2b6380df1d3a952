/* What `dmpo plan` says is what a run takes: peak resident memory within 5 % for shapes in which different things weigh
 * most; a limit is kept, and too small a one says the smallest that works, which does. Every run has a process of its
 * own, measured by the system. */
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "dmpo.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

#define MIB 1048576.0

typedef struct shape {
    const char *name;
    dm_config config;
    int pairs, prefix, gap; /* of the data */
    unsigned threads;
    int64_t lora_rank;
    const char *data; /* made from the above */
} shape;

static shape shapes[] = {
    {.name = "activations",
     .config =
         {.hidden = 48, .intermediate = 128, .layers = 4, .heads = 4, .kv_heads = 2, .head_dim = 12, .vocab = 301},
     .pairs = 4,
     .prefix = 300,
     .gap = 40,
     .threads = 2},
    {.name = "parameters",
     .config =
         {.hidden = 160, .intermediate = 400, .layers = 3, .heads = 5, .kv_heads = 5, .head_dim = 32, .vocab = 3001},
     .pairs = 3,
     .prefix = 20,
     .gap = 8,
     .threads = 1},
    {.name = "threads",
     .config = {.arch = DM_ARCH_QWEN3,
                .hidden = 96,
                .intermediate = 200,
                .layers = 5,
                .heads = 6,
                .kv_heads = 2,
                .head_dim = 16,
                .vocab = 1500},
     .pairs = 4,
     .prefix = 150,
     .gap = 30,
     .threads = 8},
    {.name = "adapter",
     .config =
         {.hidden = 128, .intermediate = 384, .layers = 4, .heads = 4, .kv_heads = 2, .head_dim = 32, .vocab = 3001},
     .pairs = 3,
     .prefix = 120,
     .gap = 20,
     .threads = 2,
     .lora_rank = 8},
    {.name = "reading",
     .config = {.hidden = 8, .intermediate = 8, .layers = 1, .heads = 1, .kv_heads = 1, .head_dim = 8, .vocab = 50},
     .pairs = 400,
     .prefix = 40,
     .gap = 6,
     .threads = 1},
};

static dm_train_options options(const shape *s)
{
    dm_train_options o;
    dm_train_defaults(&o, DM_OBJECTIVE_DMPO);
    o.model = at(s->name);
    o.data = s->data;
    o.output = at("output");
    o.batch = 2;
    o.steps = 3;
    o.lora_rank = s->lora_rank;
    return o;
}

/* ---- in a child ---- */

typedef struct task {
    const dm_train_options *o;
    unsigned threads;
    int only_plan;
} task;

static void run(outcome *out, void *context)
{
    const task *t = context;
    dmpo_engine *engine = NULL;
    dmpo_error error = {0};

    out->status = dmpo_engine_open(&engine, NULL, t->threads, &error);
    if (out->status == DMPO_OK)
        out->status = t->only_plan ? dm_plan_train(engine, t->o, &out->plan, &error)
                                   : dm_train(engine, t->o, NULL, NULL, &out->result, &error);
    dmpo_engine_close(&engine);
    memcpy(out->message, error.message, sizeof out->message);
}

static dmpo_plan plan_of(const dm_train_options *o, unsigned threads)
{
    task t = {o, threads, 1};
    const outcome got = in_child(run, &t);
    CK_MSG(got.status == DMPO_OK && got.signal == 0, "plan: %s", got.message);
    return got.plan;
}

static outcome train_in_child(const dm_train_options *o, unsigned threads)
{
    task t = {o, threads, 0};
    dm_dir_remove(o->output, NULL);
    return in_child(run, &t);
}

/* ---- checks ---- */

static void near_plan(const char *name, const char *how, uint64_t planned, const outcome *got)
{
    const double error = 100.0 * ((double)got->peak - (double)planned) / (double)planned;
    CK_MSG(got->status == DMPO_OK && got->signal == 0, "%s, %s: %s", name, how, got->message);
    printf("%-12s %-12s planned %7.2f MiB, measured %7.2f MiB, %+.2f %%\n", name, how, (double)planned / MIB,
           (double)got->peak / MIB, error);
    CK_MSG(fabs(error) <= 5.0, "%s, %s: planned %llu, measured %llu", name, how, (unsigned long long)planned,
           (unsigned long long)got->peak);
}

static void check_shape(const shape *s)
{
    char weights[65];
    dm_train_options o = options(s);
    dmpo_plan plan = plan_of(&o, s->threads);
    CK(plan.recomputed == 0);
    outcome got = train_in_child(&o, s->threads);
    near_plan(s->name, "kept", plan.total, &got);
    memcpy(weights, got.result.weights_sha256, sizeof weights);

    o.recompute = 1;
    plan = plan_of(&o, s->threads);
    got = train_in_child(&o, s->threads);
    near_plan(s->name, "recomputed", plan.total, &got);
    CK(strcmp(weights, got.result.weights_sha256) == 0);

    o.batch = 1; /* gradients lie over activations */
    for (o.recompute = 0; o.recompute <= 1; o.recompute++) {
        plan = plan_of(&o, s->threads);
        got = train_in_child(&o, s->threads);
        near_plan(s->name, o.recompute ? "one, again" : "one pair", plan.total, &got);
    }
}

/* kto has more sequences, and longer ones; a second reference has values of its own. */
static void check_methods(const shape *s)
{
    dm_train_options o = options(s);
    o.objective = DM_OBJECTIVE_KTO;
    o.eval_data = s->data;
    dmpo_plan plan = plan_of(&o, s->threads);
    outcome got = train_in_child(&o, s->threads);
    near_plan(s->name, "kto", plan.total, &got);

    o.objective = DM_OBJECTIVE_DPO;
    o.reference2 = at(s->name);
    plan = plan_of(&o, s->threads);
    got = train_in_child(&o, s->threads);
    near_plan(s->name, "mrpo", plan.total, &got);
}

/* The number after `text` in a message. */
static uint64_t number_after(const char *message, const char *text)
{
    const char *p = strstr(message, text);
    return p ? strtoull(p + strlen(text), NULL, 10) : 0;
}

static void check_limit(const shape *s)
{
    char weights[65];
    dm_train_options o = options(s);
    const dmpo_plan full = plan_of(&o, s->threads);
    outcome got = train_in_child(&o, s->threads);
    memcpy(weights, got.result.weights_sha256, sizeof weights);
    CK(full.smallest < full.total);

    o.memory = (full.smallest + full.total) / 2; /* some layers must be run again */
    dmpo_plan plan = plan_of(&o, s->threads);
    CK_MSG(plan.recomputed > 0 && plan.total <= o.memory, "%u layers recomputed, %llu of %llu bytes",
           (unsigned)plan.recomputed, (unsigned long long)plan.total, (unsigned long long)o.memory);
    o.memory = plan.total + ((uint64_t)1 << 19); /* half a step above the plan: another start makes the same choice */
    got = train_in_child(&o, s->threads);
    near_plan(s->name, "half way", plan.total, &got);
    CK_MSG(got.peak <= o.memory, "limit %llu, measured %llu", (unsigned long long)o.memory,
           (unsigned long long)got.peak);
    CK(strcmp(weights, got.result.weights_sha256) == 0);

    o.memory = full.smallest / 2;
    got = train_in_child(&o, s->threads);
    CK_MSG(got.status == DMPO_ERR_MEMORY, "%d %s", got.status, got.message);
    CK(!dm_dir_exists(o.output));
    const uint64_t smallest = number_after(got.message, "the smallest that works is ");
    CK_MSG(smallest > o.memory && smallest < full.total, "%s", got.message);
    for (int i = 0; i < (fast() ? 2 : 5); i++) { /* at every start */
        o.memory = smallest;
        got = train_in_child(&o, s->threads);
        CK_MSG(got.status == DMPO_OK, "%s", got.message);
        CK_MSG(got.peak <= smallest, "limit %llu, measured %llu", (unsigned long long)smallest,
               (unsigned long long)got.peak);
        CK(strcmp(weights, got.result.weights_sha256) == 0);
    }
    o.recompute = 0;
    got = train_in_child(&o, s->threads);
    CK_MSG(got.status == DMPO_ERR_MEMORY && strstr(got.message, "without recomputation"), "%d %s", got.status,
           got.message);
}

/* An emulator's own memory would be measured, too. */
static int emulated(void)
{
    const char *wrapper = getenv("EXEC_WRAPPER");
    return wrapper && *wrapper;
}

int main(void)
{
    if (CK_SANITIZED || emulated()) {
        ck_skip("a sanitizer or an emulator adds memory of its own to what is measured");
        return ck_done("train_memory");
    }
    work_open();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        shape *s = &shapes[i];
        char name[64];
        s->config.max_positions = 1024;
        s->config.tied = true;
        s->config.eps = 1e-5;
        s->config.rope_theta = 10000;
        s->config.bos = s->config.eos = -1;
        s->config.qk_norm = s->config.arch == DM_ARCH_QWEN3;
        snprintf(name, sizeof name, "%s.jsonl", s->name);
        s->data = at(name);
        make_model(at(s->name), &s->config);
        make_pairs(s->data, i, s->pairs, s->prefix, s->gap, (int)s->config.vocab, -1);
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_shape(&shapes[i]);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_methods(&shapes[i]);
    check_limit(&shapes[0]);
    check_limit(&shapes[2]);
    work_close();
    return ck_done("train_memory");
}
