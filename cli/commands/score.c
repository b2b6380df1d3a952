/* dmpo score: log-probabilities of trajectories under a policy and a reference, one JSON line for each. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "core/file.h"

typedef struct score_options {
    dmpo_train_options train; /* first, so that train's rows fit */
    const char *output;
    int token;
} score_options;

#define AT(f) offsetof(score_options, f)
static const cli_option own_options[] = {
    {"model", CLI_STRING, AT(train.model), "PATH", NULL,
     "the policy: Hugging Face directory, GGUF or llama2.c file, or adapter (required)"},
    {"data", CLI_STRING, AT(train.data), "FILE", NULL, "pairs or conversations, as train reads them (required)"},
    {"reference", CLI_STRING, AT(train.reference), "PATH", NULL,
     "a reference policy; also prints its log-probabilities, and rewards"},
    {"output", CLI_STRING, AT(output), "FILE", NULL, "write the lines here and a summary to stdout"},
    {"token", CLI_FLAG, AT(token), NULL, NULL, "also print the id and log-probability of every action token"},
    {0},
};
#undef AT

const char *const cli_score_shared[] = {"template",     "objective",         "beta",       "gamma",
                                        "phi",          "length-normalised", "max-length", "skip-invalid",
                                        "share-prefix", "reference-cache",   "memory",     NULL};

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
    FILE *out;
    char temp[4200]; /* --output is written beside and renamed */
    int token;
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
    if (fwrite(t->data, 1, t->size, k->out) != t->size)
        return dm_fail(&k->err, DM_ERR_FILE, "cannot write %s: %s", *k->temp ? k->temp : "standard output",
                       strerror(errno));
    count(&k->sum, s);
    return 0;
}

/* ---- output ---- */

/* Opened before the work, so that an unwritable place fails at once. */
static dm_status open_sink(sink *k, const char *path, dm_error *err)
{
    k->out = stdout;
    if (!path)
        return DM_OK;
    if (strlen(path) > sizeof k->temp - 32)
        return dm_fail(err, DM_ERR_FILE, "--output: the path is longer than %zu bytes", sizeof k->temp - 32);
    snprintf(k->temp, sizeof k->temp, "%s.tmp-%ld", path, (long)getpid());
    k->out = fopen(k->temp, "w");
    if (k->out)
        return DM_OK;
    const dm_status s = dm_fail(err, DM_ERR_FILE, "cannot write %s: %s", k->temp, strerror(errno));
    *k->temp = '\0';
    return s;
}

/* Puts a finished file in its place, removes an unfinished one. */
static dm_status close_sink(sink *k, const char *path, dm_status s, dm_error *err)
{
    dm_text_free(&k->line);
    if (!*k->temp)
        return s;
    const int whole = fflush(k->out) == 0 && fsync(fileno(k->out)) == 0;
    const int why = errno;
    if ((fclose(k->out) != 0 || !whole) && s == DM_OK)
        s = dm_fail(err, DM_ERR_FILE, "cannot write %s: %s", k->temp, strerror(why));
    if (s == DM_OK)
        s = dm_rename_durable(k->temp, path, err);
    if (s != DM_OK)
        unlink(k->temp);
    return s;
}

static void print_summary(const totals *t, const score_options *o, int json, FILE *out)
{
    const int reference = o->train.reference != NULL, rewards = reference && o->train.objective != DMPO_SFT;
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

static dm_status check(const score_options *o, dm_error *err)
{
    dmpo_train_options d;
    const dmpo_train_options *t = &o->train;
    dmpo_train_defaults(&d, DMPO_DMPO);
    if (!t->reference && t->reference_cache)
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "--reference-cache is for the reference's log-probabilities; give --reference PATH too");
    if (!t->reference && (t->objective != d.objective || t->phi != d.phi || t->length_normalised || t->beta < d.beta ||
                          t->beta > d.beta || t->gamma < d.gamma || t->gamma > d.gamma))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "options of the objective are for rewards, which need a reference; give --reference PATH");
    return DM_OK;
}

static dm_status run(dmpo_engine *engine, const score_options *o, const cli_common *common, dm_error *err)
{
    sink k = {.token = o->token};
    cli_progress progress;
    dmpo_error error = {0};
    dm_status s = open_sink(&k, o->output, err);

    if (s != DM_OK)
        return s;
    cli_progress_open(&progress, common);
    if (k.out == stdout && isatty(STDOUT_FILENO))
        progress.terminal = 0; /* a line that is redrawn does not mix with lines of results */
    s = (dm_status)dmpo_score(engine, &o->train, write_line, &k, cli_progress_event, &progress, &error);
    cli_progress_close(&progress);
    if (k.err.status != DM_OK) {
        *err = k.err;
        s = k.err.status;
    } else if (s != DM_OK) {
        dm_fail(err, s, "%s", error.message);
    }
    s = close_sink(&k, o->output, s, err);
    if (s == DM_OK && o->output)
        print_summary(&k.sum, o, common->json, stdout);
    else if (s == DM_OK && !common->quiet)
        print_summary(&k.sum, o, 0, stderr);
    return s;
}

int cli_score(int argc, char **argv)
{
    score_options o = {0};
    cli_common common = {0};
    cli_args args = {0};
    dmpo_engine *engine = NULL;
    dm_error err = {0};
    size_t n = 0;

    for (; own_options[n].name; n++)
        options[n] = own_options[n];
    cli_pick(options + n, sizeof options / sizeof *options - n, cli_train_options, cli_score_shared);
    dmpo_train_defaults(&o.train, DMPO_DMPO);
    dm_status s = cli_parse(&command, &o, &common, &args, argc, argv, &err);
    if (s == DM_OK && !args.help)
        s = check(&o, &err);
    int status = s != DM_OK ? cli_failed("score", s, err.message) : 0;
    if (!status && !args.help && (status = cli_open_engine("score", &common, &engine)) == 0) {
        cli_catch_interrupt();
        if ((s = run(engine, &o, &common, &err)) != DM_OK)
            status = cli_failed("score", s, err.message);
    }
    dmpo_engine_close(&engine);
    cli_args_close(&args);
    return status;
}
