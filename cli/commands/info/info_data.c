/* What a data file holds, counted by the code that training reads it with. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/facts.h"
#include "model/formats/hf_directory.h"
#include "model/train/run.h"

/* Text without a model is measured by a tokenizer whose tokens are single bytes and the plain template's marks. */
static dm_status byte_tokenizer(dm_tokenizer **t, dm_chat_template *chat, dm_error *err)
{
    const char *const *specials;
    const size_t n = dm_template_specials(DM_TEMPLATE_PLAIN, &specials);
    const char *nothing = "";
    const size_t size = 0;
    dm_status s = dm_tokenizer_train(t, &nothing, &size, 1, 256 + n, 2, DM_WORD_SPLIT_GPT2, false, specials, n, err);
    return s == DM_OK ? dm_template_open(chat, &(dm_template_choice){.name = dm_template_name(DM_TEMPLATE_PLAIN)}, NULL,
                                         *t, err)
                      : s;
}

/* Token ids need no tokenizer, and text without one is refused as an argument: that tells the two apart. */
static dm_status open_data(dm_dataset *d, const char *path, const cli_info_data_options *o, const char **unit,
                           dm_error *err)
{
    dm_source *model = NULL;
    dm_tokenizer *tokenizer = NULL;
    dm_chat_template chat = {0};
    dm_data_options options = {.max_length = (size_t)o->max_length, .skip_invalid = true};
    dm_status s = DM_OK;

    if (o->model && (s = dm_source_open_on(&model, o->model, o->base, err)) == DM_OK) {
        options.vocabulary = dm_source_config(model)->vocab;
        s = dm_source_tokenizer(model, &tokenizer, &chat,
                                &(dm_template_choice){.name = o->chat_template, .options = o->template_options}, err);
    }
    dm_source_close(&model);
    if (s != DM_OK)
        return s;
    *unit = "tokens";
    if (tokenizer || (s = dm_dataset_open(d, path, &options, err)) == DM_ERR_ARGUMENT) {
        if (!tokenizer && o->model)
            return s;
        if (!tokenizer) {
            *unit = "bytes";
            s = byte_tokenizer(&tokenizer, &chat, err);
        }
        options.tokenizer = tokenizer;
        options.chat = &chat;
        if (s == DM_OK)
            s = dm_dataset_open(d, path, &options, err);
    }
    dm_template_close(&chat);
    dm_tokenizer_close(&tokenizer);
    return s;
}

static int ascending(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* "min 4, median 6, max 22, total 800" of x[0..n), which is sorted. */
static void report_spread(cli_report *r, const char *side, const char *what, const char *unit, size_t *x, size_t n)
{
    char key[64], json[160], text[160];
    size_t total = 0;

    for (size_t i = 0; i < n; i++)
        total += x[i];
    qsort(x, n, sizeof *x, ascending);
    snprintf(key, sizeof key, "%s%s%s%s%s", side, *side ? "_" : "", what, *what && *unit ? "_" : "", unit);
    snprintf(json, sizeof json, "{\"min\": %zu, \"median\": %zu, \"max\": %zu, \"total\": %zu}", x[0], x[n / 2],
             x[n - 1], total);
    snprintf(text, sizeof text, "min %zu, median %zu, max %zu, total %zu", x[0], x[n / 2], x[n - 1], total);
    cli_report_row(r, key, json, text);
}

static dm_status report_side(cli_report *r, const dm_dataset *d, int rejected, const char *unit, dm_error *err)
{
    static const char *const what[] = {"turns", "", "action"};
    const char *side = !d->pairs ? "" : rejected ? "rejected" : "chosen";
    size_t *x = calloc(d->n, sizeof *x);

    if (!x)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the lengths of %zu items", d->n);
    for (int w = 0; w < 3; w++) {
        for (size_t i = 0; i < d->n; i++) {
            const dm_data_trajectory *t = rejected ? &d->items[i].rejected : &d->items[i].chosen;
            const size_t sizes[] = {t->n_turns, t->n, t->n_actions};
            x[i] = sizes[w];
        }
        report_spread(r, side, what[w], w ? unit : "", x, d->n);
    }
    free(x);
    return DM_OK;
}

/* How many leading tokens of a pair training computes once. */
static void report_shared(cli_report *r, const dm_dataset *d, const char *unit)
{
    char key[32];
    size_t shared = 0;

    for (size_t i = 0; i < d->n; i++)
        shared += d->items[i].chosen.n + d->items[i].rejected.n - dm_pack_measure(&d->items[i], 1).rows;
    snprintf(key, sizeof key, "shared_%s", unit);
    cli_report_int(r, key, (int64_t)shared);
}

dm_status cli_info_data(cli_report *r, const char *path, const cli_info_data_options *o, dm_error *err)
{
    dm_dataset d = {0};
    const char *unit;
    char key[32];
    dm_status s = open_data(&d, path, o, &unit, err);

    if (s != DM_OK)
        return s;
    cli_report_string(r, "path", path);
    cli_report_string(r, "kind", d.pairs ? "pairs" : "conversations");
    cli_report_int(r, "items", (int64_t)d.n);
    cli_report_int(r, "invalid_items", (int64_t)d.report.skipped);
    if (d.report.skipped)
        cli_report_string(r, "first_invalid", d.report.first_skipped);
    s = report_side(r, &d, 0, unit, err);
    if (s == DM_OK && d.pairs)
        s = report_side(r, &d, 1, unit, err);
    if (s == DM_OK && d.pairs)
        report_shared(r, &d, unit);
    if (o->max_length) {
        cli_report_int(r, "cut_items", (int64_t)d.report.truncated_items);
        cli_report_int(r, "cut_turns", (int64_t)d.report.truncated_turns);
        snprintf(key, sizeof key, "cut_%s", unit);
        cli_report_int(r, key, (int64_t)d.report.truncated_tokens);
    }
    cli_report_string(r, "sha256", d.sha256);
    dm_dataset_close(&d);
    return s;
}
