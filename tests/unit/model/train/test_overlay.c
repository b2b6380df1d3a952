/* Gradients over activations (model/network/network.h): the same bits as with gradients of their own, whichever of the
 * two is larger, with and without recomputation; the room is less; and where it must not be, it is not. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "dmpo.h"
#include "model/api.h"
#include "model/formats/tensors.h"
#include "model/network/params.h"
#include "model/train/run.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

#define STEPS 3

static const dm_config llama = {
    .hidden = 48, .intermediate = 80, .layers = 4, .heads = 4, .kv_heads = 2, .head_dim = 12, .vocab = VOCAB};
static const dm_config qwen3 = {.arch = DM_ARCH_QWEN3,
                                .hidden = 40,
                                .intermediate = 96,
                                .layers = 3,
                                .heads = 5,
                                .kv_heads = 1,
                                .head_dim = 16,
                                .vocab = VOCAB};
static const dm_config deep = {
    .hidden = 16, .intermediate = 24, .layers = 9, .heads = 2, .kv_heads = 2, .head_dim = 8, .vocab = 31};

static const dm_config *const configs[] = {&llama, &qwen3, &deep};

static dm_train_options options(void)
{
    dm_train_options o;
    dm_train_defaults(&o, DM_OBJECTIVE_DMPO);
    o.model = at("model");
    o.data = at("pairs.jsonl");
    o.lr = 1e-2;
    o.batch = 1;
    o.steps = STEPS;
    o.weight_decay = 0.01;
    return o;
}

/* Opened with the plan that the test wants; overlay 0 takes the overlay away that the run has. */
static int open_run(dm_run *r, dmpo_engine *engine, const dm_train_options *o, uint32_t recompute, int overlay)
{
    dm_error err = {0};
    dm_status s = dm_run_open(r, &engine->e, o, NULL, NULL, &err);

    r->memory.network_size.recompute = recompute;
    r->memory.network_size.overlay = r->memory.network_size.overlay && overlay;
    if (s == DM_OK && (s = dm_run_place(r, &err)) == DM_OK)
        s = dm_run_reference(r, &err);
    return CK_MSG(s == DM_OK, "%s", err.message);
}

static void run_steps(dm_run *r, double norm[STEPS])
{
    for (int64_t step = 0; step < STEPS; step++) {
        dmpo_metrics m = {0};
        CK(dm_run_step(r, step, &m, NULL) == DM_OK);
        norm[step] = m.grad_norm;
    }
}

static void check_same(const dm_run *a, const dm_run *b, const char *what)
{
    const size_t bytes = a->models.layout.floats * sizeof(float);
    CK_MSG(memcmp(a->memory.weights, b->memory.weights, bytes) == 0, "%s: other weights", what);
    CK_MSG(memcmp(a->memory.adam_m, b->memory.adam_m, bytes) == 0 &&
               memcmp(a->memory.adam_v, b->memory.adam_v, bytes) == 0,
           "%s: other moments", what);
}

static void check_recompute(dmpo_engine *engine, uint32_t recompute, const char *what)
{
    const dm_train_options o = options();
    double norm[2][STEPS];
    dm_run own = {0}, over = {0};

    if (open_run(&own, engine, &o, recompute, 0) && open_run(&over, engine, &o, recompute, 1)) {
        CK_MSG(!own.memory.network.late && over.memory.network.late,
               "%s: an overlay that should not be, or a missing one", what);
        CK_MSG(over.memory.arena.capacity < own.memory.arena.capacity, "%s: %zu bytes, without an overlay %zu", what,
               over.memory.arena.capacity, own.memory.arena.capacity);
        run_steps(&own, norm[0]);
        run_steps(&over, norm[1]);
        CK_MSG(memcmp(norm[0], norm[1], sizeof norm[0]) == 0, "%s: other gradient norms", what);
        check_same(&own, &over, what);
    }
    dm_run_close(&own);
    dm_run_close(&over);
}

static void check_config(const dm_config *c, bool tied, bool bias, int prefix, int gap)
{
    dm_config all = small_shape;
    dmpo_engine *engine = NULL;
    char what[128];

    all.arch = c->arch == DM_ARCH_QWEN3 ? DM_ARCH_QWEN3 : bias ? DM_ARCH_QWEN2 : DM_ARCH_LLAMA;
    all.qk_norm = c->arch == DM_ARCH_QWEN3;
    all.qkv_bias = bias;
    all.hidden = c->hidden;
    all.intermediate = c->intermediate;
    all.layers = c->layers;
    all.heads = c->heads;
    all.kv_heads = c->kv_heads;
    all.head_dim = c->head_dim;
    all.vocab = c->vocab;
    all.tied = tied;
    make_model(at("model"), &all);
    make_pairs(at("pairs.jsonl"), 5, 7, prefix, gap, (int)c->vocab, -1);
    if (!CK(dmpo_engine_open(&engine, NULL, fast() ? 1 : 2, NULL) == DMPO_OK))
        return;
    for (uint32_t recompute = 0; recompute <= c->layers; recompute += fast() ? c->layers : recompute ? 1 : 2) {
        snprintf(what, sizeof what, "%u layers, %s, prefix %d, %u recomputed", c->layers, tied ? "tied" : "untied",
                 prefix, recompute);
        check_recompute(engine, recompute, what);
    }
    dmpo_engine_close(&engine);
}

/* A batch of two adds to what its first pack left; an adapter has gradients that are not the base's; a reference with
 * another base has its weights where gradients go. */
static void check_without(void)
{
    dmpo_engine *engine = NULL;
    dm_run r = {0};

    make_model(at("model"), &small_shape);
    make_pairs(at("pairs.jsonl"), 5, 7, 10, 4, VOCAB, -1);
    if (!CK(dmpo_engine_open(&engine, NULL, 1, NULL) == DMPO_OK))
        return;
    dm_train_options o = options();
    o.batch = 2;
    CK(open_run(&r, engine, &o, 0, 1) && !r.memory.network.late);
    dm_run_close(&r);

    o = options();
    o.lora_rank = 4;
    CK(open_run(&r, engine, &o, 0, 1) && !r.memory.network.late);
    dm_run_close(&r);

    char hex[DM_SHA256_HEX];
    make_model(at("reference"), &small_shape);
    CK(dm_run_open(&r, &engine->e, &o, NULL, NULL, NULL) == DM_OK && dm_run_place(&r, NULL) == DM_OK);
    r.memory.weights[3] += 1;
    CK(dm_weights_write(r.memory.weights, &r.models.layout, at("reference"), hex, NULL) == DM_OK);
    dm_run_close(&r);
    o = options();
    o.reference = at("reference");
    CK(open_run(&r, engine, &o, 0, 1) && !r.memory.network.late);
    dm_run_close(&r);

    o = options();
    o.reference = at("model"); /* by name, but the same */
    CK(open_run(&r, engine, &o, 0, 1) && r.memory.network.late);
    dm_run_close(&r);
    dmpo_engine_close(&engine);
}

int main(void)
{
    work_open();
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        check_config(configs[i], true, false, 60, 12); /* activations are larger */
        check_config(configs[i], false, i == 0, 2, 1); /* gradients are */
    }
    check_without();
    work_close();
    return ck_done("overlay");
}
