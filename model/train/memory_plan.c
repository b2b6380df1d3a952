/* The memory plan of a run: one layout function that first measures, then places, and the choice of what to
 * recompute. */
#include "core/system.h"
#include "model/train/rounds.h"

static void place_references(dm_run_references *ref, dm_arena *a, const dm_dataset *data, int second)
{
    size_t n = 0;
    ref->begin = dm_arena_alloc(a, 2 * data->n, sizeof *ref->begin);
    for (size_t i = 0; i < data->n; i++) {
        if (ref->begin) {
            ref->begin[2 * i] = n;
            ref->begin[2 * i + 1] = n + data->items[i].chosen.n_actions;
        }
        n += data->items[i].chosen.n_actions + data->items[i].rejected.n_actions;
    }
    ref->n = n;
    ref->logp = dm_arena_alloc(a, n, sizeof(float));
    ref->second = second ? dm_arena_alloc(a, n, sizeof(float)) : NULL;
}

static void place_set_references(dm_run_set *set, dm_arena *a, bool second)
{
    place_references(&set->reference, a, &set->data, second);
    if (set->mismatched.n)
        place_references(&set->mismatched_reference, a, &set->mismatched, false);
}

/* The plan's lines, filled while the arena grows. */
typedef struct plan_lines {
    const char *what[DMPO_PLAN_LINES];
    size_t bytes[DMPO_PLAN_LINES];
    size_t n, before; /* before: bytes that the lines so far take */
} plan_lines;

static void add_line(plan_lines *lines, const char *what, size_t bytes)
{
    lines->what[lines->n] = what;
    lines->bytes[lines->n++] = bytes;
    lines->before += bytes;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Training items that there can be. */
static size_t most_items(const dm_run *r)
{
    return r->policy ? r->policy->items : r->train.data.n;
}

static size_t largest_batch(const dm_run *r)
{
    return smaller((size_t)r->options.batch, most_items(r));
}

/* That this rank computes, and that have an item of a batch. */
static size_t most_shards(const dm_run *r)
{
    const dm_shard_block own = dm_shard_block_of((size_t)r->options.shards, r->ranks.count, r->ranks.self);
    const size_t end = smaller(own.end, largest_batch(r));

    return end > own.begin ? end - own.begin : 0;
}

static void place_parameters(dm_run *r, dm_arena *a, plan_lines *lines)
{
    dm_run_models *models = &r->models;
    dm_run_memory *m = &r->memory;
    const size_t trained = models->trained_layout->floats;
    const bool overlay = m->network_size.overlay != 0;

    m->weights = m->trained = m->gradient = dm_arena_zalloc(a, models->layout.floats, sizeof(float));
    add_line(lines, "weights", a->used - lines->before);
    dm_loaded_model_place(&models->policy, a);
    for (int i = 0; i < 2; i++)
        dm_loaded_model_place(&models->reference[i], a);
    if (models->policy.lora.o.rank) {
        m->trained = models->policy.adapter;
        add_line(lines, "adapter", a->used - lines->before);
    }
    if (r->score_only)
        return;
    m->gradient = dm_arena_zalloc(
        a, overlay ? dm_param_layout_begin(&models->layout, models->config.layers, 0) : trained, sizeof(float));
    add_line(lines, overlay ? "gradients of the embedding" : "gradients", a->used - lines->before);
    m->level[0] = m->gradient;
    for (size_t i = 1; i < dm_shard_levels(most_shards(r)); i++)
        m->level[i] = dm_arena_alloc(a, trained, sizeof(float));
    if (most_shards(r) > 1)
        add_line(lines, "gradients of shards", a->used - lines->before);
    m->adam_m = dm_arena_zalloc(a, dm_run_moments(r), sizeof(float));
    m->adam_v = dm_arena_zalloc(a, dm_run_moments(r), sizeof(float));
    add_line(lines, "optimizer moments", a->used - lines->before);
    m->norm_partial = dm_arena_alloc(a, (trained + 4095) / 4096, sizeof(float));
}

/* What is kept for each item, and the room of one item or batch. */
static void place_items(dm_run *r, dm_arena *a)
{
    dm_run_memory *m = &r->memory;

    if (!r->score_only)
        m->order = dm_arena_alloc(a, most_items(r), sizeof *m->order);
    if (r->score_only ? r->options.reference != NULL : r->options.objective != DM_OBJECTIVE_SFT) {
        place_set_references(&r->train, a, r->loss.two_references);
        place_set_references(&r->eval, a, r->loss.two_references);
    }
    if (!r->score_only) {
        m->results_room = largest_batch(r) > DM_EVAL_GROUP ? largest_batch(r) : DM_EVAL_GROUP;
        m->results = dm_arena_alloc(a, m->results_room, sizeof *m->results);
        if (dm_loss_needs_batch(&r->loss) || dm_loss_needs_mismatched(&r->loss))
            for (int side = 0; side < 2; side++)
                m->scores[side] = dm_arena_alloc(a, m->results_room, sizeof *m->scores[side]);
        dm_run_ranks_place(r, a);
    }
    if (r->policy)
        dm_run_place_policy(r, a, largest_batch(r));
    dm_pack_place(&m->pack, a, &r->data.pack_max);
    dm_objective_place(&m->objective, a, &r->data.pack_max);
}

/* The one layout function: measures with a measuring arena, places with a real one. */
static void lay_out(dm_run *r, dm_arena *a, plan_lines *lines)
{
    dm_run_memory *m = &r->memory;

    *lines = (plan_lines){0};
    dm_arena_enter(a, DM_ARENA_PERMANENT);
    place_parameters(r, a, lines);
    place_items(r, a);
    add_line(lines, "reference log-probabilities and item", a->used - lines->before);
    dm_network_place(&m->network, a, r->engine, &r->models.config, &r->models.layout, &m->network_size);
    add_line(lines, m->network_size.overlay ? "activations, gradients of the layers" : "activations",
             a->phase_peak[DM_ARENA_STEP]);
    add_line(lines, "scratch", a->used - lines->before);
}

/* Resident memory differs from one start of the same run to the next (where the system puts things), and a run needs
 * some after it is planned (stacks, lists of tensors while saving). */
#define SLACK ((size_t)256 << 10)

#define NO_ROOM ((uint64_t)SIZE_MAX) /* a plan's total when no pointer reaches that far: on 32-bit machines soon */

static void add_plan_line(dmpo_plan *plan, const char *what, uint64_t bytes)
{
    plan->line[plan->lines].what = what;
    plan->line[plan->lines++].bytes = bytes;
}

/* base: bytes that the process needs beside the arena. */
static void make_plan(dm_run *r, size_t base, uint32_t recompute, bool keep_logits)
{
    plan_lines lines;
    dm_arena measure = dm_arena_measure();

    r->memory.network_size.recompute = recompute;
    r->memory.network_size.keep_logits = keep_logits;
    lay_out(r, &measure, &lines);
    r->plan = (dmpo_plan){.layers = r->models.config.layers,
                          .recomputed = recompute,
                          .kept_logits = keep_logits,
                          .longest_pack = r->data.pack_max.rows,
                          .tokens = r->data.train_tokens,
                          .packed_tokens = r->data.train_rows,
                          .parameters = r->models.layout.parameters,
                          .trained = r->models.trained_layout->parameters,
                          .total = measure.failed ? NO_ROOM : (uint64_t)base + measure.peak};
    add_plan_line(&r->plan, "program, engine, tokenizer and data", base);
    for (size_t i = 0; i < lines.n; i++)
        add_plan_line(&r->plan, lines.what[i], lines.bytes[i]);
    if (r->policy) {
        add_plan_line(&r->plan, "sampling: keys, values and episodes", r->policy->sampling_bytes);
        r->plan.total += r->plan.total == NO_ROOM ? 0 : r->policy->sampling_bytes;
    }
    /* Reading data takes memory that it gives back: the run of a small model peaks there. */
    const size_t peak = dm_rss_peak();
    if (peak > r->plan.total) {
        add_plan_line(&r->plan, "more while reading data", peak - r->plan.total);
        r->plan.total = peak;
    }
}

/* The fastest plan within the limit: keep everything, then compute the logits again, then more and more layers. One
 * recomputed layer saves nothing: it needs the activations that they all share. */
static dm_status choose_plan(dm_run *r, dm_error *err)
{
    const size_t base = dm_rss_now() + r->data.tokenizer_bytes + SLACK;
    const uint64_t limit = r->options.memory && r->options.memory < NO_ROOM ? r->options.memory : NO_ROOM - 1;
    const uint32_t most = r->models.config.layers > 1 ? r->models.config.layers : 0;

    make_plan(r, base, most, false);
    const uint64_t least = r->plan.total, smallest = least + SLACK; /* reported: it works at the next start, too */
    if (least > limit && limit == NO_ROOM - 1)
        return dm_fail(err, DM_ERR_MEMORY, "the run needs more memory than this machine can address");
    if (least > limit)
        return dm_fail(err, DM_ERR_MEMORY,
                       "`memory` %llu bytes is too small for this run: the smallest that works is %llu (%.1f MiB)",
                       (unsigned long long)limit, (unsigned long long)smallest, (double)smallest / 1048576.0);
    if (r->options.recompute != 1) {
        make_plan(r, base, 0, !r->score_only);
        if (r->plan.total > limit)
            make_plan(r, base, 0, false);
        for (uint32_t n = 2; r->plan.total > limit && n <= most; n++)
            make_plan(r, base, n, false);
    }
    if (r->options.recompute == 0 && r->plan.recomputed)
        return dm_fail(err, DM_ERR_MEMORY,
                       "`memory` %llu bytes is too small without recomputation; do not switch `recompute` off",
                       (unsigned long long)limit);
    r->plan.smallest = smallest;
    return DM_OK;
}

/* Gradients may lie over activations when no step has two packs, and nothing else needs the room of all gradients (a
 * reference with another base has its weights there). */
static bool may_overlay(const dm_run *r)
{
    bool lone = !r->score_only && !r->policy && r->ranks.count == 1 && !r->models.policy.lora.o.rank &&
                (r->options.batch == 1 || r->train.data.n == 1);

    for (int i = 0; i < 2; i++)
        lone = lone && (!r->models.reference[i].source || r->models.same_base[i]);
    return lone;
}

static uint32_t largest_rank(const dm_run *r)
{
    uint32_t rank = r->models.policy.lora.o.rank;
    for (int i = 0; i < 2; i++)
        rank = r->models.reference[i].lora.o.rank > rank ? r->models.reference[i].lora.o.rank : rank;
    return rank;
}

dm_status dm_run_plan(dm_run *r, dm_error *err)
{
    const dm_pack_size *max = &r->data.pack_max;

    r->memory.network_size = (dm_network_size){.mode = r->score_only ? DM_NETWORK_SCORE : DM_NETWORK_TRAIN,
                                               .rows = max->rows,
                                               .predictions = max->predictions,
                                               .longest = max->longest,
                                               .rank = largest_rank(r),
                                               .overlay = may_overlay(r),
                                               .precision = r->options.precision};
    return choose_plan(r, err);
}

dm_status dm_run_allocate(dm_run *r, dm_error *err)
{
    plan_lines lines;
    dm_arena measure = dm_arena_measure();
    dm_status s;

    lay_out(r, &measure, &lines);
    if (measure.failed)
        return dm_fail(err, DM_ERR_MEMORY, "the run needs more memory than this machine can address");
    if ((s = dm_arena_open(&r->memory.arena, measure.peak, err)) != DM_OK)
        return s;
    lay_out(r, &r->memory.arena, &lines);
    return r->memory.arena.failed ? dm_fail(err, DM_ERR_INTERNAL, "the memory layout does not fit its own plan")
                                  : DM_OK;
}
