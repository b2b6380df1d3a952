/* Opening a run: options, configuration, tokenizer, data, and the memory plan that everything is placed by. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/system.h"
#include "model/formats/hf_directory.h"
#include "model/train/run.h"

static int differs(double a, double b)
{
    return !(a >= b && a <= b);
}

static dm_status check_range(const char *name, double value, double low, double high, const char *legal, dm_error *err)
{
    if (value >= low && value <= high) /* false for NaN */
        return DM_OK;
    return dm_fail(err, DM_ERR_ARGUMENT, "--%s %g is out of range; legal: %s", name, value, legal);
}

/* Options that only one method reads: with another one they would do nothing, and nobody would notice. */
static dm_status check_meaning(const dmpo_train_options *o, dm_error *err)
{
    dmpo_train_options d;

    dmpo_train_defaults(&d, o->objective);
    if (!o->reference2 && (o->alpha_mode != d.alpha_mode || o->alpha_pairing != d.alpha_pairing ||
                           differs(o->alpha, d.alpha) || differs(o->trust_region, d.trust_region)))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "--alpha, --alpha-mode, --alpha-pairing and --trust-region are for two references; "
                       "--reference2 DIR names the second one");
    if (o->objective != DMPO_KTO &&
        (differs(o->desirable_weight, d.desirable_weight) || differs(o->undesirable_weight, d.undesirable_weight)))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "--desirable-weight and --undesirable-weight are kto's; add --objective kto, or leave them out");
    return DM_OK;
}

static dm_status check_options(const dmpo_train_options *o, dm_error *err)
{
    const double tiny = 1e-300, huge = 1e300;
    const struct {
        const char *name;
        double value, low, high;
        const char *legal;
    } checks[] = {
        {"lr", o->lr, tiny, huge, "above 0"},
        {"adam-beta1", o->beta1, 0, 1 - 1e-9, "0 <= x < 1"},
        {"adam-beta2", o->beta2, 0, 1 - 1e-9, "0 <= x < 1"},
        {"adam-eps", o->eps, 1e-30, 1, "1e-30 to 1"},
        {"weight-decay", o->weight_decay, 0, huge, "0 or more"},
        {"max-grad-norm", o->max_grad_norm, 0, huge, "above 0, or 0 for no clipping"},
        {"warmup-ratio", o->warmup_ratio, 0, 1, "0 to 1"},
        {"warmup-steps", (double)o->warmup_steps, -1, 1e15, "0 or more"},
        {"batch", (double)o->batch, 1, 1e9, "1 or more"},
        {"steps", (double)o->steps, 0, 1e12, "1 or more (0: by --epochs)"},
        {"epochs", o->epochs, tiny, 1e9, "above 0"},
        {"max-length", (double)o->max_length, 2, 1 << 24, "2 to 16777216 tokens"},
        {"eval-every", (double)o->eval_every, 0, 1e15, "0 or more"},
        {"checkpoint-every", (double)o->checkpoint_every, 0, 1e15, "0 or more"},
        {"recompute", o->recompute, -1, 1, "-1 (as the memory limit needs), 0 or 1"},
        {"lora-rank", (double)o->lora_rank, 0, DM_LORA_RANK_MAX, "1 to 1024, or 0 for no adapter"},
        {"lora-alpha", o->lora_alpha, 0, 1e6, "above 0 (0: twice the rank)"},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const dm_status s =
            check_range(checks[i].name, checks[i].value, checks[i].low, checks[i].high, checks[i].legal, err);
        if (s != DM_OK)
            return s;
    }
    if (!o->model)
        return dm_fail(err, DM_ERR_ARGUMENT, "no model given; --model DIR names the policy's directory");
    if (!o->data)
        return dm_fail(err, DM_ERR_ARGUMENT, "no data given; --data FILE names the trajectories or pairs");
    return check_meaning(o, err);
}

/* The tokenizer is optional: pre-tokenized data needs none. */
dm_status dm_model_tokenizer(dm_tokenizer **tokenizer, dm_chat_template *chat, const dm_config *config, const char *dir,
                             const char *template_name, dm_error *err)
{
    char path[4096];
    dm_status s = dm_path_join(path, sizeof path, dir, "tokenizer.json", err);
    *tokenizer = NULL;
    if (s == DM_OK && !dm_file_exists(path))
        s = dm_path_join(path, sizeof path, dir, "tokenizer.model", err);
    if (s != DM_OK || !dm_file_exists(path) || (s = dm_tokenizer_open(tokenizer, path, err)) != DM_OK)
        return s;
    const size_t size = dm_tokenizer_size(*tokenizer);
    if (size > config->vocab)
        s = dm_fail(err, DM_ERR_INPUT, "%s: the tokenizer has %zu ids but config.json says vocab_size %u", path, size,
                    config->vocab);
    else if (chat)
        s = dm_template_open(chat, template_name, dir, *tokenizer, err);
    if (s != DM_OK)
        dm_tokenizer_close(tokenizer);
    return s;
}

static void say_report(dm_run *r, const char *path, const dm_data_report *report)
{
    char text[1024];
    snprintf(text, sizeof text, "%s: %zu items, %zu tokens, %zu of them actions, longest %zu", path, report->items,
             report->tokens, report->action_tokens, report->longest);
    dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    if (report->truncated_items) {
        snprintf(text, sizeof text, "%s: %zu items cut to --max-length %lld (%zu tokens and %zu turns left out)", path,
                 report->truncated_items, (long long)r->o.max_length, report->truncated_tokens,
                 report->truncated_turns);
        dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    }
    if (report->skipped) {
        snprintf(text, sizeof text, "%s: %zu items skipped as invalid, the first: %s", path, report->skipped,
                 report->first_skipped);
        dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    }
}

/* mismatched: filled where the objective needs it. */
static dm_status open_data(dm_run *r, dm_dataset *out, dm_dataset *mismatched, const char *path, dm_error *err)
{
    const dm_data_options options = {
        .tokenizer = r->tokenizer,
        .chat = r->tokenizer ? &r->chat : NULL,
        .vocabulary = r->config.vocab,
        .max_length = (size_t)r->o.max_length,
        .need_pairs = !r->score && r->o.objective != DMPO_SFT,
        .skip_invalid = r->o.skip_invalid != 0,
    };
    const dm_status s = dm_dataset_open(out, path, &options, err);
    if (s != DM_OK)
        return s;
    say_report(r, path, &out->report);
    if (out->n == 0)
        return dm_fail(err, DM_ERR_INPUT, "%s: no item left to use", path);
    if (r->o.objective == DMPO_SFT && !r->score) /* of pairs, SFT imitates the chosen side */
        for (size_t i = 0; i < out->n; i++)
            out->items[i].rejected = (dm_trajectory){0};
    return dm_loss_needs_mismatched(&r->loss) && !r->score
               ? dm_mismatched(mismatched, out, (size_t)r->o.max_length, path, err)
               : DM_OK;
}

/* max grows to fit every item; *tokens and *rows: of all items together, before and after packing. */
static void widen(dm_pack_size *max, const dm_dataset *data, int share, size_t *tokens, size_t *rows)
{
    *tokens = *rows = 0;
    for (size_t i = 0; i < data->n; i++) {
        const dm_pack_size s = dm_pack_measure(&data->items[i], share);
        *tokens += data->items[i].chosen.n + data->items[i].rejected.n;
        *rows += s.rows;
        if (s.rows > max->rows)
            max->rows = s.rows;
        if (s.predictions > max->predictions)
            max->predictions = s.predictions;
        if (s.longest > max->longest)
            max->longest = s.longest;
        for (int side = 0; side < 2; side++)
            if (s.actions[side] > max->actions[side])
                max->actions[side] = s.actions[side];
    }
}

static void schedule_steps(dm_run *r)
{
    const int64_t n = (int64_t)r->train.n, batch = r->o.batch;
    r->steps_per_epoch = n / batch + (n % batch != 0);
    r->steps = r->o.steps ? r->o.steps : (int64_t)ceil(r->o.epochs * (double)r->steps_per_epoch);
    r->warmup = r->o.warmup_steps >= 0 ? r->o.warmup_steps : (int64_t)ceil(r->o.warmup_ratio * (double)r->steps);
}

static void place_references(dm_references *ref, dm_arena *a, const dm_dataset *data, int second)
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

typedef struct plan_line {
    const char *what;
    size_t bytes;
} plan_line;

/* The one layout function: measures with a measuring arena, places with a real one. lines: where each part ends. */
static size_t layout_run(dm_run *r, dm_arena *a, plan_line *lines)
{
    const size_t floats = r->trained->floats;
    const size_t early =
        r->size.overlay ? dm_layout_begin(&r->layout, r->config.layers, 0) : floats; /* gradients of their own */
    size_t n = 0, before = 0;
#define LINE(name) (lines[n++] = (plan_line){name, a->used - before}, before = a->used)

    dm_arena_phase(a, DM_PERMANENT);
    r->w = r->t = r->g = dm_arena_zalloc(a, r->layout.floats, sizeof(float));
    LINE("weights");
    dm_loaded_model_place(&r->policy, a);
    for (int i = 0; i < 2; i++)
        dm_loaded_model_place(&r->reference[i], a);
    if (r->policy.lora.o.rank) {
        r->t = r->policy.adapter;
        LINE("adapter");
    }
    if (!r->score) {
        r->g = dm_arena_zalloc(a, early, sizeof(float));
        LINE(r->size.overlay ? "gradients of the embedding" : "gradients");
        r->m = dm_arena_zalloc(a, floats, sizeof(float));
        r->v = dm_arena_zalloc(a, floats, sizeof(float));
        LINE("optimizer moments");
        r->partial = dm_arena_alloc(a, (floats + 4095) / 4096, sizeof(float));
        r->order = dm_arena_alloc(a, r->train.n, sizeof *r->order);
    }
    if (r->score ? r->o.reference != NULL : r->o.objective != DMPO_SFT) {
        place_references(&r->ref_train, a, &r->train, r->loss.two_references);
        place_references(&r->ref_eval, a, &r->eval, r->loss.two_references);
        if (r->train_mismatched.n) {
            place_references(&r->ref_train_mismatched, a, &r->train_mismatched, 0);
            place_references(&r->ref_eval_mismatched, a, &r->eval_mismatched, 0);
        }
    }
    if (dm_loss_needs_batch(&r->loss) && !r->score) {
        r->scores_room = (size_t)r->o.batch < r->train.n ? (size_t)r->o.batch : r->train.n;
        if (r->scores_room < DM_EVAL_GROUP)
            r->scores_room = DM_EVAL_GROUP;
        r->scores = dm_arena_alloc(a, 2 * r->scores_room, sizeof *r->scores);
    }
    dm_pack_place(&r->pack, a, &r->pack_max);
    dm_objective_place(&r->objective, a, &r->pack_max);
    LINE("reference log-probabilities and item");
    dm_network_place(&r->network, a, r->e, &r->config, &r->layout, &r->size);
    lines[n++] =
        (plan_line){r->size.overlay ? "activations, gradients of the layers" : "activations", a->phase_peak[DM_STEP]};
    lines[n++] = (plan_line){"scratch", a->used - before - a->phase_peak[DM_STEP]};
#undef LINE
    return n;
}

/* Resident memory differs from one start of the same run to the next (where the system puts things), and a run needs
 * some after it is planned (stacks, lists of tensors while saving). */
#define SLACK ((size_t)256 << 10)

#define NO_ROOM ((uint64_t)SIZE_MAX) /* a plan's total when no pointer reaches that far: on 32-bit machines soon */

static void make_plan(dm_run *r, size_t base, uint32_t recompute, int keep_logits)
{
    plan_line lines[DMPO_PLAN_LINES];
    dm_arena measure = dm_arena_measure();

    r->size.recompute = recompute;
    r->size.keep_logits = keep_logits;
    const size_t n = layout_run(r, &measure, lines);
    r->plan = (dmpo_plan){.layers = r->config.layers,
                          .recomputed = recompute,
                          .kept_logits = keep_logits,
                          .longest_pack = r->pack_max.rows,
                          .tokens = r->train_tokens,
                          .packed_tokens = r->train_rows,
                          .parameters = r->layout.parameters,
                          .trained = r->trained->parameters,
                          .total = measure.failed ? NO_ROOM : (uint64_t)base + measure.peak};
    const size_t before =
        dm_rss_peak(); /* reading data takes memory that it gives back: a small model's run peaks there */
    r->plan.line[r->plan.lines].what = "program, engine, tokenizer and data";
    r->plan.line[r->plan.lines++].bytes = base;
    for (size_t i = 0; i < n; i++) {
        r->plan.line[r->plan.lines].what = lines[i].what;
        r->plan.line[r->plan.lines++].bytes = lines[i].bytes;
    }
    if (before > r->plan.total) {
        r->plan.line[r->plan.lines].what = "more while reading data";
        r->plan.line[r->plan.lines++].bytes = before - r->plan.total;
        r->plan.total = before;
    }
}

/* The fastest plan within the limit: keep everything, then compute the logits again, then more and more layers. One
 * recomputed layer saves nothing: it needs the activations that they all share. */
static dm_status choose_plan(dm_run *r, dm_error *err)
{
    dm_source_release(r->policy.source);
    const size_t base = dm_rss_now() + r->writing + SLACK;
    const uint64_t limit = r->o.memory && r->o.memory < NO_ROOM ? r->o.memory : NO_ROOM - 1;
    const uint32_t most = r->config.layers > 1 ? r->config.layers : 0;

    make_plan(r, base, most, 0);
    const uint64_t least = r->plan.total, smallest = least + SLACK; /* told: what works at the next start, too */
    if (least > limit && limit == NO_ROOM - 1)
        return dm_fail(err, DM_ERR_MEMORY, "the run needs more memory than this machine can address");
    if (least > limit)
        return dm_fail(err, DM_ERR_MEMORY,
                       "--memory %llu bytes is too small for this run: the smallest that works is %llu (%.1f MiB)",
                       (unsigned long long)limit, (unsigned long long)smallest, (double)smallest / 1048576.0);
    if (r->o.recompute != 1) {
        make_plan(r, base, 0, !r->score);
        if (r->plan.total > limit)
            make_plan(r, base, 0, 0);
        for (uint32_t n = 2; r->plan.total > limit && n <= most; n++)
            make_plan(r, base, n, 0);
    }
    if (r->o.recompute == 0 && r->plan.recomputed)
        return dm_fail(err, DM_ERR_MEMORY,
                       "--memory %llu bytes is too small without recomputation; leave --no-recompute out",
                       (unsigned long long)limit);
    r->plan.smallest = smallest;
    return DM_OK;
}

/* Gradients may lie over activations when no step has two packs, and nothing else needs the room of all gradients (a
 * reference with another base has its weights there). */
static int may_overlay(const dm_run *r)
{
    int lone = !r->score && !r->policy.lora.o.rank && (r->o.batch == 1 || r->train.n == 1);

    for (int i = 0; i < 2; i++)
        lone = lone && (!r->reference[i].source || r->same_base[i]);
    return lone;
}

static uint32_t largest_rank(const dm_run *r)
{
    uint32_t rank = r->policy.lora.o.rank;
    for (int i = 0; i < 2; i++)
        rank = r->reference[i].lora.o.rank > rank ? r->reference[i].lora.o.rank : rank;
    return rank;
}

static dm_status open_run(dm_run *r, const dm_engine *e, const dmpo_train_options *o, int score, dmpo_event_fn event,
                          void *context, dm_error *err)
{
    dm_status s;

    *r = (dm_run){.e = e,
                  .o = *o,
                  .score = score,
                  .event = event,
                  .event_context = context,
                  .metrics_fd = -1,
                  .tensorboard_fd = -1,
                  .order_epoch = -1};
    r->loss = (dm_loss_options){.objective = o->objective,
                                .link = o->link,
                                .phi = o->phi,
                                .beta = o->beta,
                                .gamma = o->gamma,
                                .label_smoothing = o->label_smoothing,
                                .sft_weight = o->sft_weight,
                                .length_normalised = o->length_normalised,
                                .desirable_weight = o->desirable_weight,
                                .undesirable_weight = o->undesirable_weight,
                                .two_references = o->reference2 != NULL,
                                .alpha_mode = o->alpha_mode,
                                .alpha = o->alpha,
                                .alpha_pairing = o->alpha_pairing,
                                .trust_region = o->trust_region};
    if ((s = check_options(o, err)) != DM_OK || (s = dm_loss_check(&r->loss, err)) != DM_OK ||
        (s = dm_run_open_models(r, err)) != DM_OK)
        return s;
    const size_t before = dm_rss_now();
    if ((s = dm_source_tokenizer(r->policy.source, &r->tokenizer, &r->chat, o->chat_template, err)) != DM_OK)
        return s;
    if (!score && dm_source_kind_of(r->policy.source) != DM_SOURCE_HF)
        r->writing = dm_rss_peak() - before;
    dm_run_event(r, DMPO_EVENT_PHASE, "reading data", 0, 0, NULL);
    if ((s = open_data(r, &r->train, &r->train_mismatched, o->data, err)) != DM_OK ||
        (o->eval_data && (s = open_data(r, &r->eval, &r->eval_mismatched, o->eval_data, err)) != DM_OK))
        return s;
    schedule_steps(r);
    size_t eval_tokens, eval_rows; /* nobody asks for these and the mismatched ones' */
    widen(&r->pack_max, &r->eval, o->share_prefix, &eval_tokens, &eval_rows);
    widen(&r->pack_max, &r->train_mismatched, o->share_prefix, &eval_tokens, &eval_rows);
    widen(&r->pack_max, &r->eval_mismatched, o->share_prefix, &eval_tokens, &eval_rows);
    widen(&r->pack_max, &r->train, o->share_prefix, &r->train_tokens, &r->train_rows);
    if (r->pack_max.longest > r->config.max_positions) {
        char text[256];
        snprintf(text, sizeof text, "the longest trajectory has %zu tokens, the model was made for %u",
                 r->pack_max.longest, r->config.max_positions);
        dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    }
    r->size = (dm_network_size){.mode = score ? DM_NETWORK_SCORE : DM_NETWORK_TRAIN,
                                .rows = r->pack_max.rows,
                                .predictions = r->pack_max.predictions,
                                .longest = r->pack_max.longest,
                                .rank = largest_rank(r),
                                .overlay = may_overlay(r)};
    return choose_plan(r, err);
}

dm_status dm_run_open(dm_run *r, const dm_engine *e, const dmpo_train_options *o, dmpo_event_fn event, void *context,
                      dm_error *err)
{
    return open_run(r, e, o, 0, event, context, err);
}

dm_status dm_run_open_score(dm_run *r, const dm_engine *e, const dmpo_train_options *o, dmpo_event_fn event,
                            void *context, dm_error *err)
{
    return open_run(r, e, o, 1, event, context, err);
}

dm_status dm_run_place(dm_run *r, dm_error *err)
{
    plan_line lines[DMPO_PLAN_LINES];
    dm_arena measure = dm_arena_measure();
    dm_status s;

    layout_run(r, &measure, lines);
    if (measure.failed)
        return dm_fail(err, DM_ERR_MEMORY, "the run needs more memory than this machine can address");
    if ((s = dm_arena_open(&r->arena, measure.peak, err)) != DM_OK)
        return s;
    layout_run(r, &r->arena, lines);
    if (r->arena.failed)
        return dm_fail(err, DM_ERR_INTERNAL, "the memory layout does not fit its own plan");
    dm_network_tables(&r->network);
    dm_loaded_model_use(&r->policy, &r->network);
    if ((s = dm_loaded_model_hash(&r->policy, err)) != DM_OK ||
        (s = dm_loaded_model_read_base(r->w, &r->layout, &r->policy, err)) != DM_OK)
        return s;
    if (!r->new_adapter)
        return dm_loaded_model_read_adapter(&r->policy, err);
    dm_lora_init(r->t, &r->policy.lora, r->o.seed);
    return DM_OK;
}

void dm_run_close(dm_run *r)
{
    dm_arena_close(&r->arena);
    dm_dataset_close(&r->train);
    dm_dataset_close(&r->eval);
    dm_dataset_close(&r->train_mismatched);
    dm_dataset_close(&r->eval_mismatched);
    dm_tokenizer_close(&r->tokenizer);
    dm_layout_free(&r->layout);
    dm_loaded_model_close(&r->policy);
    dm_loaded_model_close(&r->reference[0]);
    dm_loaded_model_close(&r->reference[1]);
    dm_text_free(&r->line);
}
