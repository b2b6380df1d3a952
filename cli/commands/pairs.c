/* dmpo pairs: training data from episodes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs.h"
#include "cli/command.h"
#include "cli/facts.h"
#include "core/file.h"

typedef struct pairs_options {
    const char *expert, *explored, *continuations, *from_pairs, *output;
    dm_pairs_options pairs;
} pairs_options;

static const char *const forms[] = {"pairs", "sft", "step", "segment", NULL};
static const char *const erroneous[] = {"first", "last", NULL};
static const char *const degrades[] = {"none", "repeat", "meaningless", NULL};
static const char *const units[] = {"turns", "text", NULL};

#define AT(field) offsetof(pairs_options, field)

const cli_option cli_pairs_options[] = {
    {"expert", CLI_STRING, AT(expert), "FILE", NULL, "episodes of an expert; commas separate files"},
    {"explored", CLI_STRING, AT(explored), "FILE", NULL, "episodes of a policy; commas separate files"},
    {"continuations", CLI_STRING, AT(continuations), "FILE", NULL,
     "what dmpo rollout --from made of --explored: pairs begin at the erroneous turn"},
    {"from-pairs", CLI_STRING, AT(from_pairs), "FILE", NULL, "pairs in the authors' form; commas separate files"},
    {"output", CLI_STRING, AT(output), "FILE", NULL,
     "where to write: JSON lines, or one JSON list if the name ends in .json (required)"},
    {"among", CLI_FLAG, AT(pairs.among), NULL, NULL, "pair the best explored episode of each task with the worst"},
    {"erroneous-turn", CLI_CHOICE, AT(pairs.erroneous), "WHICH", erroneous,
     "first or last of the turns after which a continuation is better"},
    {"form", CLI_CHOICE, AT(pairs.form), "FORM", forms,
     "pairs, sft (only good runs), step (first differing turn), segment (turns from there on)"},
    {"plan-reward", CLI_FLAG, AT(pairs.plan_reward), NULL, NULL,
     "use as an explored run's reward the mean over runs that begin with the same turn, its plan"},
    {"margin", CLI_DOUBLE, AT(pairs.margin), "M", NULL, "drop pairs whose rewards differ by M or less, 0 to 1"},
    {"min-chosen", CLI_DOUBLE, AT(pairs.min_chosen), "R", NULL,
     "minimum reward of a chosen run, 0 to 1 (default: any; for sft 1)"},
    {"max-turns", CLI_INT, AT(pairs.max_turns), "N", NULL, "maximum turns of either run; 0: any"},
    {"max-repeats", CLI_INT, AT(pairs.max_repeats), "N", NULL,
     "maximum times that a rejected run may hold the same action with the same answer; 0: any"},
    {"cut", CLI_INT, AT(pairs.cut), "N", NULL,
     "cut the rejected run to chosen's turns + N (the authors use 5); -1: do not cut"},
    {"degrade", CLI_CHOICE, AT(pairs.degrade), "HOW", degrades,
     "none, repeat or meaningless: insert useless turns before the last rejected one"},
    {"degrade-turns", CLI_INT, AT(pairs.degrade_turns), "N", NULL, "how many turns --degrade inserts, 1 to 10000"},
    {"invalid-answer", CLI_STRING, AT(pairs.invalid_answer), "TEXT", NULL,
     "the answer to a meaningless action (default: the environment's)"},
    {"segment-turns", CLI_INT, AT(pairs.segment_turns), "N", NULL,
     "maximum turns of a segment; 0: as many as both runs have left"},
    {"unit", CLI_CHOICE, AT(pairs.unit), "UNIT", units,
     "unit of the next two options: turns, or text (bytes of the actions)"},
    {"max-length-ratio", CLI_DOUBLE, AT(pairs.max_length_ratio), "R", NULL,
     "maximum ratio of the longer to the shorter side, at least 1; 0: any"},
    {"min-edit-distance", CLI_DOUBLE, AT(pairs.min_edit_distance), "D", NULL,
     "minimum distance of the sides as a share of the longer one, 0 to 1"},
    {"perplexity-ratio", CLI_DOUBLE, AT(pairs.perplexity_ratio), "R", NULL,
     "maximum ratio of the sides' perplexities, at least 1; 0: any"},
    {"per-task", CLI_INT, AT(pairs.per_task), "K", NULL,
     "keep the first K pairs, or explored runs, of each task; 0: all"},
    {"limit", CLI_INT, AT(pairs.limit), "N", NULL, "keep N in all, chosen by the seed; 0: all"},
    {"seed", CLI_SEED, AT(pairs.seed), "N", NULL, "seed of --degrade and --limit"},
    {0},
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

static void report_spread(cli_report *r, const char *side, const char *what, const dm_pairs_spread *x)
{
    char key[64], json[128], text[128], mean[DM_DOUBLE_TEXT];

    dm_double_text(mean, x->mean);
    snprintf(key, sizeof key, "%s_%s", side, what);
    snprintf(json, sizeof json, "{\"mean\": %s, \"max\": %zu}", mean, x->max);
    snprintf(text, sizeof text, "mean %.1f, max %zu", x->mean, x->max);
    cli_report_row(r, key, json, text);
}

static void report_side(cli_report *r, const char *side, const dm_pairs_side_statistics *s)
{
    char key[64], json[DM_DOUBLE_TEXT] = "null", text[64] = "not known";

    report_spread(r, side, "turns", &s->turns);
    report_spread(r, side, "bytes", &s->bytes);
    snprintf(key, sizeof key, "%s_reward", side);
    if (!isnan(s->reward)) {
        dm_double_text(json, s->reward);
        snprintf(text, sizeof text, "mean %.4f", s->reward);
    }
    cli_report_row(r, key, json, text);
}

/* {"tie": 3, "duplicate": 1}; for people a line for each. */
static void report_dropped(cli_report *r, const dm_pairs *p)
{
    dm_text json = {0};
    size_t total = 0;

    for (int i = 0; i < DM_PAIRS_DROPS; i++) {
        if (p->dropped[i])
            dm_text_print(&json, "%s\"%s\": %zu", total ? ", " : "{", dm_pairs_drop_texts[i].key, p->dropped[i]);
        total += p->dropped[i];
    }
    dm_text_print(&json, total ? "}" : "{}");
    char text[32];
    snprintf(text, sizeof text, "%zu", total);
    r->out.failed |= json.failed;
    if (!json.failed)
        cli_report_row(r, "dropped", json.data, text);
    dm_text_free(&json);
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
