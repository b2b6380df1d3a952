/* dmpo pairs: training data from episodes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs.h"
#include "cli/command.h"
#include "cli/facts.h"
#include "core/file.h"
#include "io/json_writer.h"

typedef struct pairs_options {
    const char *expert, *explored, *continuations, *from_pairs, *output;
    dm_pairs_options pairs;
} pairs_options;

static const char *const forms[] = {"pairs", "sft", "step", "segment", NULL};
static const char *const erroneous[] = {"first", "last", NULL};
static const char *const degrades[] = {"none", "repeat", "meaningless", NULL};
static const char *const units[] = {"turns", "text", NULL};

#define COUNT_MAX 1000000000

const cli_option cli_pairs_options[] = {
    DM_OPTION_TEXT(pairs_options, expert, "expert", "FILE", "episodes of an expert; commas separate files"),
    DM_OPTION_TEXT(pairs_options, explored, "explored", "FILE", "episodes of a policy; commas separate files"),
    DM_OPTION_TEXT(pairs_options, continuations, "continuations", "FILE",
                   "what dmpo rollout --from made of --explored: pairs begin at the erroneous turn"),
    DM_OPTION_TEXT(pairs_options, from_pairs, "from-pairs", "FILE",
                   "pairs in the authors' form; commas separate files"),
    DM_OPTION_TEXT(pairs_options, output, "output", "FILE",
                   "where to write: JSON lines, or one JSON list if the name ends in .json (required)"),
    DM_OPTION_FLAG(pairs_options, pairs.among, "among", "pair the best explored episode of each task with the worst"),
    DM_OPTION_CHOICE(pairs_options, pairs.erroneous, "erroneous-turn", "WHICH", erroneous,
                     "first or last of the turns after which a continuation is better"),
    DM_OPTION_CHOICE(pairs_options, pairs.form, "form", "FORM", forms,
                     "pairs, sft (only good runs), step (first differing turn), segment (turns from there on)"),
    DM_OPTION_FLAG(pairs_options, pairs.plan_reward, "plan-reward",
                   "use as an explored run's reward the mean over runs that begin with the same turn, its plan"),
    DM_OPTION_REAL(pairs_options, pairs.margin, "margin", "M", "drop pairs whose rewards differ by M or less, 0 to 1",
                   .low = 0, .high = 1),
    DM_OPTION_REAL(pairs_options, pairs.min_chosen, "min-chosen", "R",
                   "minimum reward of a chosen run, 0 to 1 (default: any; for sft 1)", .low = 0, .high = 1),
    DM_OPTION_INTEGER(pairs_options, pairs.max_turns, "max-turns", "N", "maximum turns of either run; 0: any", .low = 0,
                      .high = COUNT_MAX),
    DM_OPTION_INTEGER(pairs_options, pairs.max_repeats, "max-repeats", "N",
                      "maximum times that a rejected run may hold the same action with the same answer; 0: any",
                      .low = 0, .high = COUNT_MAX),
    DM_OPTION_INTEGER(pairs_options, pairs.cut, "cut", "N",
                      "cut the rejected run to chosen's turns + N (the authors use 5); -1: do not cut", .low = -1,
                      .high = COUNT_MAX),
    DM_OPTION_CHOICE(pairs_options, pairs.degrade, "degrade", "HOW", degrades,
                     "none, repeat or meaningless: insert useless turns before the last rejected one"),
    DM_OPTION_INTEGER(pairs_options, pairs.degrade_turns, "degrade-turns", "N",
                      "how many turns --degrade inserts, 1 to 10000", .low = 1, .high = 10000),
    DM_OPTION_TEXT(pairs_options, pairs.invalid_answer, "invalid-answer", "TEXT",
                   "the answer to a meaningless action (default: the environment's)"),
    DM_OPTION_INTEGER(pairs_options, pairs.segment_turns, "segment-turns", "N",
                      "maximum turns of a segment; 0: as many as both runs have left", .low = 0, .high = COUNT_MAX),
    DM_OPTION_CHOICE(pairs_options, pairs.unit, "unit", "UNIT", units,
                     "unit of the next two options: turns, or text (bytes of the actions)"),
    DM_OPTION_REAL(pairs_options, pairs.max_length_ratio, "max-length-ratio", "R",
                   "maximum ratio of the longer to the shorter side, at least 1; 0: any"),
    DM_OPTION_REAL(pairs_options, pairs.min_edit_distance, "min-edit-distance", "D",
                   "minimum distance of the sides as a share of the longer one, 0 to 1", .low = 0, .high = 1),
    DM_OPTION_REAL(pairs_options, pairs.perplexity_ratio, "perplexity-ratio", "R",
                   "maximum ratio of the sides' perplexities, at least 1; 0: any"),
    DM_OPTION_INTEGER(pairs_options, pairs.per_task, "per-task", "K",
                      "keep the first K pairs, or explored runs, of each task; 0: all", .low = 0, .high = COUNT_MAX),
    DM_OPTION_INTEGER(pairs_options, pairs.limit, "limit", "N", "keep N in all, chosen by the seed; 0: all", .low = 0,
                      .high = COUNT_MAX),
    DM_OPTION_SEED(pairs_options, pairs.seed, "seed", "N", "seed of --degrade and --limit"),
    {.offset = 0},
};

static const cli_command command = {
    .name = "pairs",
    .summary = "Makes training data from episodes: preference pairs, or only the better runs.",
    .usage = "[--expert FILE] [--explored FILE] [--from-pairs FILE] --output FILE [options]",
    .details =
        "docs/data.md, \"Pairs from episodes\", gives the order in which the options act and describes each form.",
    .options = cli_pairs_options,
};

/* A list of files as it was typed: `text` holds their names with the commas made NUL. */
typedef struct file_list {
    char *text;
    const char **path;
} file_list;

static void close_list(file_list *l)
{
    free(l->text);
    free(l->path);
    *l = (file_list){0};
}

/* A name with a comma that is a file's is that file. */
static dm_status open_list(file_list *l, dm_pairs_files *out, const char *option, const char *typed, dm_error *err)
{
    size_t commas = 0;

    if (!typed)
        return DM_OK;
    for (const char *c = typed; *c; c++)
        commas += *c == ',';
    l->text = malloc(strlen(typed) + 1);
    l->path = malloc((commas + 1) * sizeof *l->path);
    if (!l->text || !l->path)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the names of files");
    strcpy(l->text, typed);
    out->path = l->path;
    const bool one = dm_file_exists(typed);
    for (char *begin = l->text, *end; begin; begin = end) {
        end = one ? NULL : strchr(begin, ',');
        if (end)
            *end++ = '\0';
        if (!*begin)
            return dm_fail(err, DM_ERR_ARGUMENT, "--%s: '%s' has an empty name among its files", option, typed);
        l->path[out->n++] = begin;
    }
    return DM_OK;
}

static bool is_list(const char *path)
{
    const size_t size = strlen(path);
    return size > 5 && strcmp(path + size - 5, ".json") == 0;
}

/* A row whose JSON is `json`, which is freed. */
static void report_row(cli_report *r, const char *side, const char *what, dm_text *json, const char *text)
{
    char key[64];

    snprintf(key, sizeof key, "%s%s%s", side, *side ? "_" : "", what);
    r->out.failed |= json->failed;
    if (!json->failed)
        cli_report_row(r, key, json->data, text);
    dm_text_free(json);
}

static void report_spread(cli_report *r, const char *side, const char *what, const dm_pairs_spread *x)
{
    dm_text json = {0};
    dm_json_writer w = {.out = &json};
    char text[128];

    dm_json_open_object(&w, NULL);
    dm_json_put_double(&w, "mean", x->mean);
    dm_json_put_uint(&w, "max", x->max);
    dm_json_close_value(&w);
    snprintf(text, sizeof text, "mean %.1f, max %zu", x->mean, x->max);
    report_row(r, side, what, &json, text);
}

static void report_side(cli_report *r, const char *side, const dm_pairs_side_statistics *s)
{
    dm_text json = {0};
    char text[64] = "not known";

    report_spread(r, side, "turns", &s->turns);
    report_spread(r, side, "bytes", &s->bytes);
    dm_text_json_double(&json, s->reward);
    if (!isnan(s->reward))
        snprintf(text, sizeof text, "mean %.4f", s->reward);
    report_row(r, side, "reward", &json, text);
}

/* {"tie": 3, "duplicate": 1}; for people a line for each. */
static void report_dropped(cli_report *r, const dm_pairs *p)
{
    dm_text json = {0};
    dm_json_writer w = {.out = &json};
    size_t total = 0;
    char text[32];

    dm_json_open_object(&w, NULL);
    for (int i = 0; i < DM_PAIRS_DROPS; i++) {
        if (p->dropped[i])
            dm_json_put_uint(&w, dm_pairs_drop_texts[i].key, p->dropped[i]);
        total += p->dropped[i];
    }
    dm_json_close_value(&w);
    snprintf(text, sizeof text, "%zu", total);
    report_row(r, "", "dropped", &json, text);
    for (int i = 0; !r->json && i < DM_PAIRS_DROPS; i++)
        if (p->dropped[i]) {
            snprintf(text, sizeof text, "  %zu", p->dropped[i]);
            cli_report_line(r, text, 8, dm_pairs_drop_texts[i].why);
        }
}

static dm_status report(const dm_pairs *p, const pairs_options *o, int json, dm_error *err)
{
    dm_pairs_statistics figures;
    cli_report r = {.json = json};
    const int single = o->pairs.form == DM_PAIRS_SFT;
    const dm_status s = dm_pairs_measure(&figures, p, err);

    if (s != DM_OK)
        return s;
    cli_report_string(&r, "output", o->output);
    cli_report_int(&r, single ? "runs" : "pairs", (int64_t)p->n);
    cli_report_int(&r, "tasks", (int64_t)figures.tasks);
    cli_report_int(&r, "candidates", (int64_t)p->candidates);
    report_dropped(&r, p);
    report_side(&r, "chosen", &figures.chosen);
    if (!single) {
        report_side(&r, "rejected", &figures.rejected);
        report_spread(&r, "shared", "turns", &figures.shared);
    }
    return cli_report_print(&r, err);
}

static dm_status run(pairs_options *o, const cli_common *common, dm_error *err)
{
    struct {
        const char *option, *typed;
        dm_pairs_files *files;
    } inputs[] = {
        {"expert", o->expert, &o->pairs.expert},
        {"explored", o->explored, &o->pairs.explored},
        {"continuations", o->continuations, &o->pairs.continuations},
        {"from-pairs", o->from_pairs, &o->pairs.pairs},
    };
    file_list lists[4] = {{0}};
    dm_pairs pairs = {0};
    dm_text text = {0};
    dm_status s = DM_OK;

    if (!o->output)
        return dm_fail(err, DM_ERR_ARGUMENT, "no output given; --output FILE names the file of pairs");
    for (size_t i = 0; s == DM_OK && i < 4; i++)
        s = open_list(&lists[i], inputs[i].files, inputs[i].option, inputs[i].typed, err);
    if (s == DM_OK)
        s = dm_pairs_make(&pairs, &o->pairs, err);
    if (s == DM_OK) {
        dm_pairs_write(&text, &pairs, is_list(o->output));
        s = text.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the text of %zu pairs", pairs.n)
                        : dm_file_write(o->output, text.data, text.size, err);
    }
    if (s == DM_OK)
        s = report(&pairs, o, common->json, err);
    dm_text_free(&text);
    dm_pairs_close(&pairs);
    for (size_t i = 0; i < 4; i++)
        close_list(&lists[i]);
    return s;
}

int cli_pairs(int argc, char **argv)
{
    pairs_options o = {0};
    cli_common common = {0};
    cli_args args = {0};
    dm_error err = {0};

    dm_pairs_defaults(&o.pairs);
    dm_status s = cli_parse(&command, &o, &common, &args, argc, argv, &err);
    if (s == DM_OK && !args.help)
        s = run(&o, &common, &err);
    cli_args_close(&args);
    return s == DM_OK ? 0 : cli_failed("pairs", s, err.message);
}
