/* dmpo rollout: a policy plays episodes of an environment, many at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/rollout/rollout.h"
#include "cli/call.h"
#include "cli/facts.h"
#include "core/files/file.h"
#include "core/system.h"

typedef struct rollout_options {
    dm_rollout_options rollout;
    const char *continue_at;
} rollout_options;

#define COUNT_MAX (1 << 24) /* tokens of a model in memory, too */

const cli_option cli_rollout_options[] = {
    DM_OPTION_TEXT(rollout_options, rollout.env, "env", "SPEC",
                   "a built-in environment (dmpo play lists them), or 'cmd:PROGRAM ARGUMENTS'",
                   .absent = "required without `from`",
                   .manual =
                       "A built-in environment, as dmpo play --list-envs lists them, or cmd:PROGRAM ARGUMENTS, a shell "
                       "command that speaks the environment protocol."),
    DM_OPTION_CHOICE(rollout_options, rollout.split, "split", "NAME", dm_env_split_names, "the split of the tasks"),
    DM_OPTION_TEXT(rollout_options, rollout.model, "model", "PATH", "the policy: a model of any form with a tokenizer"),
    DM_OPTION_CHOICE(rollout_options, rollout.player, "policy", "NAME", dm_rollout_player_names, "who plays",
                     .manual = "Who plays: the `model`; the environment's own expert; or at random one of the actions "
                               "that are possible, each with the same probability."),
    DM_OPTION_TEXT(rollout_options, rollout.output, "output", "FILE",
                   "file for the episodes, one per line; an unfinished one is continued", .absent = "required"),
    DM_OPTION_FLAG(rollout_options, rollout.overwrite, "overwrite", "starts over, whatever `output` holds"),
    DM_OPTION_INTEGER(rollout_options, rollout.first, "first", "K", "number of the first task", .low = 0,
                      .high = 0x1p62, .legal = "from 0"),
    DM_OPTION_INTEGER(rollout_options, rollout.tasks, "tasks", "N", "how many tasks to play (0: the rest of the split)",
                      .low = 0, .high = COUNT_MAX),
    DM_OPTION_INTEGER(rollout_options, rollout.samples, "samples", "N", "episodes of each task", .low = 1,
                      .high = COUNT_MAX),
    DM_OPTION_SEED(rollout_options, rollout.env_seed, "env-seed", "N", "the environment's seed"),
    DM_OPTION_TEXT(rollout_options, rollout.from, "from", "FILE",
                   "continues the episodes of FILE instead of playing the tasks of `split`",
                   .manual = "Continues the episodes of this file: their first turns are played as they stand, then "
                             "the policy goes on. Environment (without `env`), split, task and environment seed are "
                             "the episode's. The environment must answer what the file says."),
    DM_OPTION_TEXT(rollout_options, continue_at, "continue-at", "N|all",
                   "keeps the first N turns of each episode; all: once for every N below its turns", .absent = "all",
                   .manual = "How many turns of each episode are kept. all: 0, 1, ... all but the last, one "
                             "continuation each (times `samples`). Episodes that have no more than N turns are left "
                             "out. The record's \"replayed\" says how many were kept, and its name ends with \"@\" and "
                             "that number."),
    CLI_SAMPLING_OPTIONS(rollout_options, rollout.temperature, rollout.top_k, rollout.top_p),
    DM_OPTION_SEED(rollout_options, rollout.seed, "seed", "N",
                   "seed of sampling and of `policy` random; the same seed gives the same episodes"),
    CLI_PRECISION_OPTION(rollout_options, rollout.precision),
    DM_OPTION_INTEGER(rollout_options, rollout.max_turns, "max-turns", "N",
                      "maximum turns of an episode (0: the environment's limit)", .low = 0, .high = COUNT_MAX,
                      .manual = "Maximum turns of an episode, kept ones included (0: the environment's limit, which "
                                "holds in any case)."),
    DM_OPTION_INTEGER(rollout_options, rollout.max_tokens, "max-tokens", "N",
                      "maximum tokens of a turn, without the end-of-turn token", .low = 1, .high = COUNT_MAX),
    DM_OPTION_INTEGER(rollout_options, rollout.max_length, "max-length", "N",
                      "maximum tokens of an episode (0: the model's positions, at most 4096)", .low = 0,
                      .high = COUNT_MAX,
                      .manual = "Maximum tokens of an episode (0: the positions that the model was made for, at most "
                                "4096). A turn begins only where `max-tokens` more fit; else the episode ends, with "
                                "\"end\": \"length\"."),
    DM_OPTION_TEXT(rollout_options, rollout.stop, "stop", "TEXT",
                   "text that ends a turn, as the end-of-turn token always does"),
    CLI_BASE_OPTION(rollout_options, rollout.base),
    CLI_TEMPLATE_OPTIONS(rollout_options, rollout.chat_template, rollout.template_options),
    DM_OPTION_INTEGER(rollout_options, rollout.at_once, "at-once", "N",
                      "number of episodes to play at once (0: at most 32, by memory and the environment's cost)",
                      .low = 0, .high = 256,
                      .manual = "Number of episodes to play at once (0: 32, fewer where their keys and values would "
                                "take more than 2 GiB or where the environment asks for fewer). Of cmd: environments "
                                "each has a process of its own."),
    {.offset = 0},
};

static const cli_command command = {
    "rollout",
    "Plays episodes of an environment with a model, the environment's expert, or at random.",
    "--env SPEC (--model PATH | --policy expert|random) --output FILE [options]",
    "Writes a line for each episode, in the order of the tasks: the conversation, which dmpo train --objective sft reads\n"
    "as it is, with the score, log-probability and tokens of each turn. The file is the same, bit for bit, for every\n"
    "--at-once, --threads and --isa. The same command continues a run that was stopped or killed; FILE.run.json holds\n"
    "its options.",
    cli_rollout_options,
    0,
    0};

typedef struct watch {
    cli_progress *progress;
    double start, shown;
} watch;

static double share(double sum, int64_t n)
{
    return n > 0 ? sum / (double)n : 0;
}

static double rate(const watch *w, const dm_rollout_status *s)
{
    const double seconds = dm_seconds() - w->start;
    return seconds > 0 ? (double)s->tokens / seconds : 0;
}

static int on_status(void *context, const dm_rollout_status *s, const char *note)
{
    watch *w = context;
    char text[96];
    int n = 0;

    if (note)
        cli_progress_event(w->progress, &(dmpo_event){.kind = DMPO_EVENT_NOTE, .text = note});
    if (w->start <= 0) {
        w->start = dm_seconds();
        cli_progress_event(
            w->progress,
            &(dmpo_event){.kind = DMPO_EVENT_PHASE, .text = "episodes", .done = s->done, .total = s->total});
    }
    if (dm_seconds() - w->shown < 0.1 && s->done < s->total)
        return cli_interrupted();
    w->shown = dm_seconds();
    if (s->written)
        n = snprintf(text, sizeof text, "reward %.3f", share(s->reward, s->written));
    if (s->tokens && n >= 0 && n < (int)sizeof text)
        n = snprintf(text + n, sizeof text - (size_t)n, "%s%.0f tokens/s", n ? ", " : "", rate(w, s));
    return cli_progress_event(
        w->progress,
        &(dmpo_event){.kind = DMPO_EVENT_PROGRESS, .text = n ? text : NULL, .done = s->done, .total = s->total});
}

static dm_status print_summary(const dm_rollout_options *o, const dm_rollout_status *s, const watch *w, int json,
                               dm_error *err)
{
    cli_report r = {.json = json};

    cli_report_string(&r, "output", o->output);
    cli_report_int(&r, "episodes", s->written);
    if (s->played < s->written)
        cli_report_int(&r, "played_now", s->played);
    cli_report_double(&r, "mean_reward", share(s->reward, s->written));
    cli_report_double(&r, "success", share(s->success, s->written));
    if (s->played)
        cli_report_double(&r, "mean_turns", share((double)s->turns, s->played));
    if (s->tokens)
        cli_report_int(&r, "tokens", s->tokens);
    if (s->tokens)
        cli_report_int(&r, "tokens_per_second", (int64_t)rate(w, s));
    return cli_report_print(&r, err);
}

static dm_status check(cli_call *c, dm_error *err)
{
    rollout_options *o = c->options;
    const char *text = o->continue_at;
    char *end = NULL;

    if (text && !o->rollout.from)
        return dm_fail(err, DM_ERR_ARGUMENT, "--continue-at is for the episodes of --from FILE");
    if (!text || strcmp(text, "all") == 0)
        return DM_OK;
    o->rollout.continue_at = *text >= '0' && *text <= '9' ? strtoll(text, &end, 10) : -1;
    if (!end || *end)
        return dm_fail(err, DM_ERR_ARGUMENT, "--continue-at: '%s' is neither a number of turns from 0 nor 'all'", text);
    return DM_OK;
}

static dm_status rollout(cli_call *c, dm_error *err)
{
    const dm_rollout_options *o = &((const rollout_options *)c->options)->rollout;
    dm_rollout_status result = {0};
    watch w = {.progress = &c->progress};
    dm_status s = dm_rollout(c->engine, o, on_status, &w, &result, err);

    cli_progress_close(&c->progress);
    if (s == DM_OK && result.written > 0 && result.failed == result.written)
        s = dm_fail(err, DM_ERR_INPUT, "%s: the environment failed in every episode", o->output);
    return s == DM_OK ? print_summary(o, &result, &w, c->common.json, err) : s;
}

int cli_rollout(int argc, char **argv)
{
    rollout_options o;
    cli_call call = {
        .command = &command, .options = &o, .needs = CLI_ENGINE | CLI_STOPS, .check = check, .work = rollout};

    memset(&o, 0, sizeof o);
    dm_rollout_defaults(&o.rollout);
    return cli_call_run(&call, argc, argv);
}
