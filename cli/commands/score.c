/* dmpo score: log-probabilities of trajectories under a policy and a reference, one JSON line for each. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/call.h"
#include "cli/files.h"
#include "dmpo.h"

typedef struct score_options {
    const char *output;
    bool token, overwrite;
} score_options;

static const cli_option own_options[] = {
    DM_OPTION_TEXT(score_options, output, "output", "FILE", "the lines go here, and a summary to standard output",
                   .group = "output", .absent = "lines on standard output"),
    DM_OPTION_FLAG(score_options, token, "token", "prints ids and log-probabilities of every action token"),
    CLI_OPTION_OVERWRITE(score_options),
    {.offset = 0},
};

const char *const cli_score_options[] = {"model",
                                         "base",
                                         "data",
                                         "reference",
                                         "reference-cache",
                                         "template",
                                         "template-option",
                                         "objective",
                                         "beta",
                                         "gamma",
                                         "phi",
                                         "length-normalised",
                                         "max-length",
                                         "skip-invalid",
                                         "join-messages",
                                         "share-prefix",
                                         "memory",
                                         "precision",
                                         NULL};

static cli_option options[24];

static const cli_command command = {
    "score",
    "Prints the log-probabilities of an agent's turns under a policy and a reference, as JSON lines.",
    "--model PATH --data FILE [--reference PATH] [options]",
    "Prints a line for each trajectory: {\"id\", \"side\": \"chosen\" | \"rejected\" | \"sft\", \"tokens\",\n"
    "\"action_tokens\", \"turns\": [{\"begin\", \"end\", \"tokens\", \"logp\", \"reference_logp\"}, ...],\n"
    "\"logp\", \"reference_logp\", \"reward\"}. Logarithms are natural; sums run over the agent's tokens, end of\n"
    "turn included. The reward is beta times the objective's weighted sum of logp - reference_logp. The numbers\n"
    "equal those that dmpo train computes before its first step, bit for bit. Ctrl-C stops after a whole item.",
    options,
    0,
    0};

typedef struct totals {
    int64_t trajectories, tokens, actions, chosen, rejected, accurate;
    double logp, reference_logp, reward_chosen, reward_rejected, margin, last_chosen;
} totals;

typedef struct sink {
    cli_sink out;
    bool token;
    dm_text line;
    totals sum;
    dm_error err;
} sink;

/* ---- lines ---- */

static void floats(dm_text *t, const char *key, const float *x, size_t n)
{
    dm_text_print(t, ", \"%s\": [", key);
    for (size_t i = 0; i < n; i++)
        dm_text_print(t, "%s%.9g", i ? ", " : "", (double)x[i]);
    dm_text_add(t, "]", 1);
}

static void number(dm_text *t, const char *key, double x)
{
    dm_text_print(t, ", \"%s\": ", key);
    dm_text_json_double(t, x);
}

static void turns(dm_text *t, const dmpo_scored *s, int token)
{
    for (size_t k = 0, at = 0; k < s->turns; k++) {
        const dmpo_turn *turn = &s->turn[k];
        const size_t n = turn->end - turn->begin;
        dm_text_print(t, "%s{\"begin\": %zu, \"end\": %zu, \"tokens\": %zu", k ? ", " : "", turn->begin, turn->end, n);
        number(t, "logp", turn->logp);
        if (s->reference_logp)
            number(t, "reference_logp", turn->reference_logp);
        if (token) {
            dm_text_print(t, ", \"ids\": [");
            for (size_t i = turn->begin; i < turn->end; i++)
                dm_text_print(t, "%s%d", i > turn->begin ? ", " : "", (int)s->ids[i]);
            dm_text_add(t, "]", 1);
            floats(t, "logps", s->logp + at, n);
            if (s->reference_logp)
                floats(t, "reference_logps", s->reference_logp + at, n);
        }
        dm_text_add(t, "}", 1);
        at += n;
    }
}

static void count(totals *t, const dmpo_scored *s)
{
    t->trajectories++;
    t->tokens += (int64_t)s->tokens;
    t->actions += (int64_t)s->actions;
    t->logp += s->logp_sum;
    t->reference_logp += s->reference_logp_sum;
    if (s->side[0] == 'r') {
        t->rejected++;
        t->reward_rejected += s->reward;
        t->margin += t->last_chosen - s->reward;
        t->accurate += t->last_chosen > s->reward;
    } else {
        t->chosen++;
        t->reward_chosen += s->reward;
        t->last_chosen = s->reward;
    }
}

static int write_line(void *context, const dmpo_scored *s)
{
    sink *k = context;
    dm_text *t = &k->line;

    t->size = 0;
    dm_text_print(t, "{\"id\": ");
    dm_text_json_string(t, s->id, strlen(s->id));
    dm_text_print(t, ", \"side\": \"%s\", \"tokens\": %zu, \"action_tokens\": %zu, \"turns\": [", s->side, s->tokens,
                  s->actions);
    turns(t, s, k->token);
    dm_text_add(t, "]", 1);
    number(t, "logp", s->logp_sum);
    if (s->reference_logp)
        number(t, "reference_logp", s->reference_logp_sum);
    if (!isnan(s->reward))
        number(t, "reward", s->reward);
    dm_text_add(t, "}\n", 2);
    if (t->failed)
        return dm_fail(&k->err, DM_ERR_MEMORY, "no memory for the line of item '%s'", s->id);
    const dm_status status = cli_sink_add(&k->out, t, &k->err);
    if (status != DM_OK)
        return status;
    count(&k->sum, s);
    return 0;
}

/* ---- summary ---- */

static bool is(const dmpo_train_options *o, const char *name, const char *value)
{
    const char *now = dmpo_train_options_get(o, name);
    return now && strcmp(now, value) == 0;
}

static void print_summary(const totals *t, const dmpo_train_options *o, bool json, FILE *out)
{
    const bool reference = dmpo_train_options_get(o, "reference"), rewards = reference && !is(o, "objective", "sft");
    const double actions = (double)t->actions, chosen = (double)t->chosen, rejected = (double)t->rejected;
    const struct {
        const char *name;
        double value;
        int show;
    } figures[] = {
        {"logps/token", t->logp / actions, 1},
        {"reference_logps/token", t->reference_logp / actions, reference},
        {"rewards/chosen", t->reward_chosen / chosen, rewards},
        {"rewards/rejected", t->reward_rejected / rejected, rewards && t->rejected},
        {"rewards/margins", t->margin / rejected, rewards && t->rejected},
        {"rewards/accuracies", (double)t->accurate / rejected, rewards && t->rejected},
    };
    fprintf(out,
            json ? "{\"items\": %lld, \"trajectories\": %lld, \"tokens\": %lld, \"action_tokens\": %lld"
                 : "%lld items, %lld trajectories, %lld tokens, %lld of them actions\n",
            (long long)t->chosen, (long long)t->trajectories, (long long)t->tokens, (long long)t->actions);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        char text[DM_DOUBLE_TEXT];
        dm_double_text(text, figures[i].value);
        if (figures[i].show && json)
            fprintf(out, ", \"%s\": %s", figures[i].name, text);
        else if (figures[i].show)
            fprintf(out, "%-22s %.6f\n", figures[i].name, figures[i].value);
    }
    if (json)
        fputs("}\n", out);
}

/* ---- command ---- */

/* Whether an option differs from its default. */
static bool changed(const dmpo_train_options *o, const char *name)
{
    for (size_t i = 0; dmpo_train_option(i); i++)
        if (strcmp(dmpo_train_option(i)->name, name) == 0)
            return !is(o, name, dmpo_train_option(i)->initial);
    return false;
}

static dm_status check(cli_call *c, dm_error *err)
{
    const score_options *own = c->options;
    const dmpo_train_options *o = c->args.train;

    const bool reference = dmpo_train_options_get(o, "reference") != NULL;
    if (!reference && dmpo_train_options_get(o, "reference-cache"))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "--reference-cache is for the reference's log-probabilities; give --reference PATH too");
    if (!reference && (changed(o, "objective") || changed(o, "phi") || changed(o, "length-normalised") ||
                       changed(o, "beta") || changed(o, "gamma")))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "options of the objective are for rewards, which need a reference; give --reference PATH");
    return own->output ? cli_check_inputs(options, own, &c->args, own->output, err) : DM_OK;
}

static dm_status score(cli_call *c, dm_error *err)
{
    const score_options *o = c->options;
    const dmpo_train_options *train = c->args.train;
    sink k = {.token = o->token};
    dmpo_error error = {0};
    dm_status s = cli_sink_open(&k.out, cli_is_first() ? o->output : NULL, o->overwrite, err);

    if (s != DM_OK)
        return s;
    if (!o->output && isatty(STDOUT_FILENO))
        c->progress.terminal = 0; /* a line that is redrawn does not mix with lines of results */
    s = cli_call_api(dmpo_score(c->engine, train, write_line, &k, cli_progress_event, &c->progress, &error), &error,
                     err);
    cli_progress_close(&c->progress);
    if (k.err.status != DM_OK) {
        *err = k.err;
        s = k.err.status;
    }
    s = cli_sink_close(&k.out, s, err);
    dm_text_free(&k.line);
    if (s == DM_OK && o->output)
        print_summary(&k.sum, train, c->common.json, stdout);
    else if (s == DM_OK && !c->common.quiet && cli_is_first())
        print_summary(&k.sum, train, 0, stderr);
    return s;
}

int cli_score(int argc, char **argv)
{
    score_options o = {0};
    cli_call call = {
        .command = &command, .options = &o, .needs = CLI_TRAIN | CLI_ENGINE | CLI_STOPS, .check = check, .work = score};
    const size_t n = cli_library_options(options, sizeof options / sizeof *options, cli_score_options, own_options);

    for (size_t i = 0; i < n; i++)
        if (strcmp(options[i].info.name, "reference") == 0)
            options[i].info.absent = "none, and no rewards";
    return cli_call_run(&call, argc, argv);
}
