/* A run's data: tokenizer, items, and what follows from their number and sizes. */
#include <math.h>
#include <stdio.h>

#include "core/system.h"
#include "model/train/run.h"

static void say_report(dm_run *r, const char *path, const dm_data_report *report)
{
    char text[1024];
    snprintf(text, sizeof text, "%s: %zu items, %zu tokens, %zu of them actions, longest %zu", path, report->items,
             report->tokens, report->action_tokens, report->longest);
    dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    if (report->truncated_items) {
        snprintf(text, sizeof text, "%s: %zu items cut to `max-length` %lld (%zu tokens and %zu turns left out)", path,
                 report->truncated_items, (long long)r->options.max_length, report->truncated_tokens,
                 report->truncated_turns);
        dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    }
    if (report->equal) {
        snprintf(text, sizeof text, "%s: %zu pairs left out, for their sides are the same (%zu of them since the cut)",
                 path, report->equal, report->equal_by_cut);
        dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    }
    if (report->retokenized) {
        snprintf(text, sizeof text,
                 "%s: %zu turns were sampled with another tokenizer or chat template: their words are tokenized anew",
                 path, report->retokenized);
        dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    }
    if (report->openings) {
        snprintf(text, sizeof text,
                 "%s: %zu conversations begin with an answer that is more than an OK, which is trained; \"train\": "
                 "false in the message leaves it out",
                 path, report->openings);
        dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    }
    if (report->skipped) {
        snprintf(text, sizeof text, "%s: %zu items skipped as invalid, the first: %s", path, report->skipped,
                 report->first_skipped);
        dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    }
}

static dm_status open_set(dm_run *r, dm_run_set *set, const char *path, dm_error *err)
{
    dm_dataset *data = &set->data;
    const dm_data_options options = {
        .tokenizer = r->data.tokenizer,
        .chat = r->data.tokenizer ? &r->data.chat : NULL,
        .vocabulary = r->models.config.vocab,
        .max_length = (size_t)r->options.max_length,
        .need_pairs = !r->score_only && r->options.objective != DM_OBJECTIVE_SFT,
        .take_labels = r->score_only || r->options.objective == DM_OBJECTIVE_KTO,
        .drop_equal =
            !r->score_only && r->options.objective != DM_OBJECTIVE_SFT && r->options.objective != DM_OBJECTIVE_KTO,
        .join_messages = r->options.join_messages,
        .skip_invalid = r->options.skip_invalid != 0,
    };
    const dm_status s = dm_dataset_open(data, path, &options, err);
    if (s != DM_OK)
        return s;
    say_report(r, path, &data->report);
    if (data->n == 0)
        return dm_fail(err, DM_ERR_INPUT, "%s: no item left to use", path);
    if (r->options.objective == DM_OBJECTIVE_SFT && !r->score_only) /* of pairs, SFT imitates the chosen side */
        for (size_t i = 0; i < data->n; i++)
            data->items[i].rejected = (dm_data_trajectory){0};
    return dm_loss_needs_mismatched(&r->loss) && !r->score_only
               ? dm_mismatched_sequences(&set->mismatched, data, (size_t)r->options.max_length, path, err)
               : DM_OK;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* pack_max grows to fit every item; *tokens and *rows: of all items together, before and after packing. */
static void fit_packs(dm_run *r, const dm_dataset *data, size_t *tokens, size_t *rows)
{
    dm_pack_size *max = &r->data.pack_max;

    *tokens = *rows = 0;
    for (size_t i = 0; i < data->n; i++) {
        const dm_pack_size s = dm_pack_measure(&data->items[i], r->options.share_prefix);
        *tokens += data->items[i].chosen.n + data->items[i].rejected.n;
        *rows += s.rows;
        max->rows = larger(max->rows, s.rows);
        max->predictions = larger(max->predictions, s.predictions);
        max->longest = larger(max->longest, s.longest);
        for (int side = 0; side < 2; side++)
            max->actions[side] = larger(max->actions[side], s.actions[side]);
    }
}

static void measure_packs(dm_run *r)
{
    size_t tokens, rows;

    fit_packs(r, &r->eval.data, &tokens, &rows);
    fit_packs(r, &r->train.mismatched, &tokens, &rows);
    fit_packs(r, &r->eval.mismatched, &tokens, &rows);
    fit_packs(r, &r->train.data, &r->data.train_tokens, &r->data.train_rows);
    if (r->data.pack_max.longest > r->models.config.max_positions) {
        char text[256];
        snprintf(text, sizeof text, "the longest trajectory has %zu tokens, the model was made for %u",
                 r->data.pack_max.longest, r->models.config.max_positions);
        dm_run_event(r, DMPO_EVENT_NOTE, text, 0, 0, NULL);
    }
}

static void schedule_steps(dm_run *r)
{
    const int64_t n = (int64_t)r->train.data.n, batch = r->options.batch;
    r->steps_per_epoch = n / batch + (n % batch != 0);
    r->steps = r->options.steps ? r->options.steps : (int64_t)ceil(r->options.epochs * (double)r->steps_per_epoch);
    r->warmup = r->options.warmup_steps >= 0 ? r->options.warmup_steps
                                             : (int64_t)ceil(r->options.warmup_ratio * (double)r->steps);
}

dm_status dm_run_open_tokenizer(dm_run *r, dm_error *err)
{
    const dm_train_options *o = &r->options;
    const dm_source *source = r->models.policy.source;
    const size_t before = dm_rss_now();
    const dm_status s =
        dm_source_tokenizer(source, &r->data.tokenizer, &r->data.chat,
                            &(dm_template_choice){.name = o->chat_template, .options = o->template_options}, err);

    if (s == DM_OK && !r->score_only && dm_source_kind_of(source) != DM_SOURCE_HF)
        r->data.tokenizer_bytes = dm_rss_peak() - before;
    return s;
}

dm_status dm_run_open_data(dm_run *r, dm_error *err)
{
    const dm_train_options *o = &r->options;
    dm_status s = dm_run_open_tokenizer(r, err);

    if (s != DM_OK)
        return s;
    dm_run_event(r, DMPO_EVENT_PHASE, "reading data", 0, 0, NULL);
    if ((s = open_set(r, &r->train, o->data, err)) != DM_OK ||
        (o->eval_data && (s = open_set(r, &r->eval, o->eval_data, err)) != DM_OK))
        return s;
    if (r->data.chat.rewrites && (r->train.data.report.rendered || r->eval.data.report.rendered))
        dm_run_event(
            r, DMPO_EVENT_NOTE,
            "the chat template renders earlier turns otherwise than the last one: each is trained as it stands in "
            "the whole conversation (docs/templates.md)",
            0, 0, NULL);
    schedule_steps(r);
    measure_packs(r);
    return DM_OK;
}
