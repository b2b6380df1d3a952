/* dmpo pairs: training data from episodes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs.h"
#include "cli/call.h"
#include "cli/facts.h"
#include "core/files/file.h"
#include "core/files/output.h"
#include "core/files/place.h"
#include "io/json_writer.h"

typedef struct pairs_options {
    const char *expert, *explored, *continuations, *from_pairs, *output;
    bool overwrite;
    dm_pairs_options pairs;
} pairs_options;

static const char *const forms[] = {"pairs", "sft", "step", "segment", "levels", NULL};
static const char *const erroneous[] = {"first", "last", NULL};
static const char *const degrades[] = {"none", "repeat", "meaningless", NULL};
static const char *const units[] = {"turns", "text", NULL};

#define COUNT_MAX 1000000000

const cli_option cli_pairs_options[] = {
    DM_OPTION_TEXT(pairs_options, expert, "expert", "FILE", "episodes of an expert; commas separate files",
                   .group = "sources",
                   .manual = "Episodes of an expert. Every explored episode is compared with every expert's of its "
                             "task."),
    DM_OPTION_TEXT(pairs_options, explored, "explored", "FILE", "episodes of a policy; commas separate files",
                   .manual = "Episodes of a policy."),
    DM_OPTION_TEXT(pairs_options, continuations, "continuations", "FILE",
                   "what dmpo rollout --from made of `explored`: pairs begin at the erroneous turn",
                   .manual = "Episodes that dmpo rollout --from made of the explored ones. The erroneous turn of an "
                             "explored run is the first turn t for which the best of the continuations after its turns "
                             "0 to t - 1 has a reward above the run's by more than `margin`. That continuation is "
                             "chosen, the run rejected."),
    DM_OPTION_TEXT(pairs_options, from_pairs, "from-pairs", "FILE", "pairs in the authors' form; commas separate files",
                   .manual = "Pairs in the authors' form: prompt, chosen and rejected, three lists of messages. Scores "
                             "may be missing; then `margin` does not test the pair."),
    DM_OPTION_TEXT(pairs_options, output, "output", "FILE",
                   "file to write: JSON lines, or one JSON list if the name ends in .json", .absent = "required",
                   .manual = "File to write: a JSON list if its name ends in .json, else JSON lines. It appears "
                             "complete or not at all."),
    DM_OPTION_FLAG(pairs_options, pairs.among, "among", "pairs the best explored episode of each task with the worst",
                   .manual = "Also compares explored episodes of one task with each other, the best with the worst."),
    DM_OPTION_FLAG(pairs_options, pairs.refine, "refine",
                   "pairs each turn of an expert's run with the policy's turn in its place, from `continuations`",
                   .manual = "The continuations are of the expert's runs, as dmpo rollout --from makes them of "
                             "`expert`. Each of its turns is paired with what the policy does in its place, where the "
                             "policy's runs earn more by `margin` after the expert's turn than after its own (IPR)."),
    DM_OPTION_CHOICE(pairs_options, pairs.erroneous, "erroneous-turn", "WHICH", erroneous,
                     "which of the turns after which a continuation is better",
                     .manual = "Which of the turns t that `continuations` finds erroneous. The last is the turn that "
                               "lost what could still be had. Where there are continuations from the start (t = 0), "
                               "the first is often 0."),
    DM_OPTION_CHOICE(
        pairs_options, pairs.form, "form", "FORM", forms,
        "what to write: whole runs, only good runs, the first differing turn, or the turns from there on",
        .group = "what is made",
        .manual =
            "What is written. pairs: whole runs. sft: the good runs alone, as supervised data: of the explored ones those "
            "with `min-chosen` and over, at most `per-task` of a task, without those that repeat "
            "another's words; of the expert all; of pairs the chosen sides. step: the turns that both "
            "runs share are the prompt, the first one in which they differ is the pair (Step-DPO). "
            "segment: as step, but the turns from there on, equally many of both runs (SDPO). levels: "
            "each pair as pairs, segment and step (HPL)."),
    DM_OPTION_FLAG(pairs_options, pairs.plan_reward, "plan-reward",
                   "uses as an explored run's reward the mean over runs that begin with the same turn, its plan",
                   .group = "which runs",
                   .manual = "Uses as an explored run's reward the mean reward of all explored runs of its environment "
                             "that begin with the same agent's turn: where that turn is a plan, what the plan earns on "
                             "the similar tasks on which it was tried."),
    DM_OPTION_REAL(pairs_options, pairs.margin, "margin", "M", "drops pairs whose rewards differ by M or less",
                   .low = 0, .high = 1),
    DM_OPTION_REAL(pairs_options, pairs.min_chosen, "min-chosen", "R", "minimum reward of a chosen run", .low = 0,
                   .high = 1, .absent = "any; 1 for `form` sft from episodes"),
    DM_OPTION_INTEGER(pairs_options, pairs.max_turns, "max-turns", "N", "maximum turns of either run (0: any)",
                      .low = 0, .high = COUNT_MAX),
    DM_OPTION_INTEGER(pairs_options, pairs.max_repeats, "max-repeats", "N",
                      "maximum times that a rejected run may hold the same action with the same answer (0: any)",
                      .low = 0, .high = COUNT_MAX,
                      .manual = "Maximum times that a rejected run may hold the same action with the same answer, "
                                "wherever in the run (0: any)."),
    DM_OPTION_INTEGER(pairs_options, pairs.cut, "cut", "N",
                      "cuts the rejected run to chosen's turns + N (the authors use 5; -1: not cut)", .low = -1,
                      .high = COUNT_MAX, .group = "what is changed",
                      .manual = "Ends the rejected run at the chosen one's number of turns + N (-1: not cut). The "
                                "authors' data are cut with 5."),
    DM_OPTION_CHOICE(pairs_options, pairs.degrade, "degrade", "HOW", degrades,
                     "inserts useless turns before the last rejected one",
                     .manual = "Inserts useless turns before the rejected run's last turn. repeat: the one to three "
                               "turns before it, over and over. meaningless: actions that no environment understands, "
                               "with its answer to them."),
    DM_OPTION_INTEGER(pairs_options, pairs.degrade_turns, "degrade-turns", "N", "how many turns `degrade` inserts",
                      .low = 1, .high = 10000),
    DM_OPTION_TEXT(pairs_options, pairs.invalid_answer, "invalid-answer", "TEXT", "the answer to a meaningless action",
                   .absent = "the environment's",
                   .manual = "What the environment answers to a meaningless action. Without it the episode's "
                             "environment is asked, with the action as the first one of the episode's task; a pair "
                             "from a file has no environment to ask."),
    DM_OPTION_INTEGER(pairs_options, pairs.segment_turns, "segment-turns", "N",
                      "maximum turns of a segment (0: as many as both runs have left)", .low = 0, .high = COUNT_MAX),
    DM_OPTION_CHOICE(pairs_options, pairs.unit, "unit", "UNIT", units,
                     "unit of `max-length-ratio` and `min-edit-distance`, text being the bytes of the actions",
                     .group = "which pairs",
                     .manual = "Unit of `max-length-ratio` and `min-edit-distance`, which look, as every option of "
                               "this group, at the sides as they will be written (MIA-DPO's filters). Turns are equal "
                               "when their actions are; the text is the bytes of all actions."),
    DM_OPTION_REAL(pairs_options, pairs.max_length_ratio, "max-length-ratio", "R",
                   "maximum ratio of the longer to the shorter side, at least 1 (0: any)"),
    DM_OPTION_REAL(pairs_options, pairs.min_edit_distance, "min-edit-distance", "D",
                   "minimum distance of the sides as a share of the longer one", .low = 0, .high = 1,
                   .manual = "Minimum Levenshtein distance of the sides as a share of the longer one's length."),
    DM_OPTION_REAL(pairs_options, pairs.perplexity_ratio, "perplexity-ratio", "R",
                   "maximum ratio of the sides' perplexities, at least 1 (0: any)",
                   .manual = "Maximum ratio of the sides' perplexities of a token, at least 1 (0: any), each under the "
                             "policy that made the side. Needs the log-probabilities of a model's episodes on both "
                             "sides."),
    DM_OPTION_INTEGER(pairs_options, pairs.per_task, "per-task", "K",
                      "keeps the first K pairs, or explored runs, of each task (0: all)", .low = 0, .high = COUNT_MAX,
                      .manual = "Keeps the first K pairs of each task (0: all). With `form` sft it counts explored "
                                "runs."),
    DM_OPTION_INTEGER(pairs_options, pairs.limit, "limit", "N", "keeps N in all, chosen by the seed (0: all)", .low = 0,
                      .high = COUNT_MAX,
                      .manual = "Keeps N pairs in all (0: all), chosen by the seed, in their order."),
    DM_OPTION_SEED(pairs_options, pairs.seed, "seed", "N", "seed of `degrade` and `limit`"),
    CLI_OPTION_OVERWRITE(pairs_options),
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

/* A file whose name holds a comma is that file, not two. */
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

static dm_status run(pairs_options *o, const cli_args *args, const cli_common *common, dm_error *err)
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
    if ((s = cli_check_inputs(cli_pairs_options, o, args, o->output, err)) == DM_OK)
        s = dm_place_check(o->output, o->overwrite, err);
    for (size_t i = 0; s == DM_OK && i < 4; i++)
        s = open_list(&lists[i], inputs[i].files, inputs[i].option, inputs[i].typed, err);
    if (s == DM_OK)
        s = dm_pairs_make(&pairs, &o->pairs, err);
    if (s == DM_OK) {
        dm_pairs_write(&text, &pairs, is_list(o->output));
        s = text.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the text of %zu pairs", pairs.n)
                        : dm_output_write(o->output, o->overwrite, text.data, text.size, err);
    }
    if (s == DM_OK)
        s = report(&pairs, o, common->json, err);
    dm_text_free(&text);
    dm_pairs_close(&pairs);
    for (size_t i = 0; i < 4; i++)
        close_list(&lists[i]);
    return s;
}

static dm_status make(cli_call *c, dm_error *err)
{
    return run(c->options, &c->args, &c->common, err);
}

int cli_pairs(int argc, char **argv)
{
    pairs_options o = {0};
    cli_call call = {.command = &command, .options = &o, .work = make};

    dm_pairs_defaults(&o.pairs);
    return cli_call_run(&call, argc, argv);
}
