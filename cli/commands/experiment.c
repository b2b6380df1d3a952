/* dmpo experiment: a recipe's stages, from a tokenizer to a table of results. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/report/report.h"
#include "agent/experiment/results.h"
#include "agent/experiment/schedule.h"
#include "cli/call.h"
#include "cli/recipes.h"
#include "core/files/file.h"
#include "core/files/place.h"
#include "core/ranks.h"
#include "core/system.h"

#define RECIPE_MAX ((size_t)1 << 24)
#define LINE_MAX_SHOWN 79

typedef struct experiment_options {
    const char *output, *seeds, *only, *stage;
    int64_t jobs;
    int form;
    bool plan, show, list, overwrite;
} experiment_options;

enum { FORM_SH, FORM_MAKE, FORM_SLURM };
static const char *const form_names[] = {"sh", "make", "slurm", NULL};

static const cli_option options[] = {
    DM_OPTION_TEXT(experiment_options, output, "output", "DIR", "directory for stages, results.json and the report",
                   .absent = "required",
                   .manual = "Directory for everything: stages/NAME-KEY/ for each stage, with log, result (standard "
                             "output) and stage.json; cache/; results.json; the report. Two simultaneous experiments "
                             "in one directory are refused."),
    DM_OPTION_INTEGER(
        experiment_options, jobs, "jobs", "N",
        "number of stages to run at once (0: as many as threads); never changes a result", .low = 0, .high = 256,
        .manual = "Number of stages to run at once (0: as many as `threads`; on several ranks one on each). Each gets "
                  "`threads` divided by `jobs`, at least one. Never changes a result."),
    DM_OPTION_TEXT(experiment_options, seeds, "seeds", "LIST", "seeds to use, such as 1,2,3 or 1-24",
                   .absent = "the recipe's"),
    DM_OPTION_TEXT(experiment_options, only, "only", "STAGE",
                   "runs only this stage, or those that match a pattern such as 'home-*-s1', and what they need",
                   .manual = "Runs only this stage and what it needs, and prints no table. STAGE may be a shell "
                             "pattern: 'home-*-s1'."),
    DM_OPTION_TEXT(experiment_options, stage, "stage", "STAGE",
                   "runs this one stage, whose inputs are done, beside others that do the same",
                   .manual = "Runs this one stage, whose inputs must be done, and nothing else. Others may run other "
                             "stages in the same directory meanwhile: it is what `form` make and slurm call."),
    DM_OPTION_FLAG(experiment_options, plan, "plan", "prints the stages as commands and runs none",
                   .manual = "Prints the stages, their commands and which of them are done, as a script for sh, and "
                             "runs none."),
    DM_OPTION_CHOICE(experiment_options, form, "form", "NAME", form_names, "how `plan` prints the stages",
                     .manual = "How `plan` prints the stages: sh, their commands one after another; make, a makefile "
                               "for make -j; slurm, a script that submits arrays of jobs, each after those it needs. "
                               "The last two run `stage` for each that is not done, and then the experiment, which "
                               "finds all of them done and collects the results."),
    DM_OPTION_FLAG(experiment_options, show, "show", "prints the recipe"),
    DM_OPTION_FLAG(experiment_options, list, "list", "lists the built-in recipes"),
    DM_OPTION_FLAG(experiment_options, overwrite, "overwrite",
                   "writes into a directory that holds something else than an experiment"),
    {.offset = 0},
};

static const cli_command command = {
    "experiment",
    "Runs a recipe: tokenizer, model, SFT, exploration, pairs, preference training, evaluation, over seeds.",
    "RECIPE --output DIR [options]",
    "RECIPE is the name of a built-in recipe (--list) or a recipe file (docs/experiments.md). Each stage is an ordinary\n"
    "dmpo command and runs once. The same command again runs what is missing, after a kill too; after a change of the\n"
    "recipe it runs what depends on the change. --threads limits the processors that all stages use together.",
    options,
    0,
    1};

/* ---- commands ---- */

static const struct {
    const char *name;
    cli_main_fn run;
    const cli_option *options;
} stage_commands[] = {
    {"tokenizer", cli_tokenizer, cli_tokenizer_options},
    {"init", cli_init, cli_init_options},
    {"train", cli_train, NULL},
    {"learn", cli_learn, NULL},
    {"rollout", cli_rollout, cli_rollout_options},
    {"pairs", cli_pairs, cli_pairs_options},
    {"score", cli_score, NULL},
};
#define STAGE_COMMANDS (sizeof stage_commands / sizeof *stage_commands)

static size_t find_command(const char *name)
{
    size_t i = 0;
    while (i + 1 < STAGE_COMMANDS && strcmp(stage_commands[i].name, name) != 0)
        i++;
    return i;
}

/* The table of options of a stage's command. */
static const cli_option *table_of(const char *name)
{
    return strcmp(name, "train") == 0   ? cli_train_options()
           : strcmp(name, "learn") == 0 ? cli_learn_options()
                                        : stage_commands[find_command(name)].options;
}

static dm_status check_option(const char *name, const dm_json_doc *doc, const char *option, const dm_json *value,
                              dm_recipe_option_kind *kind, dm_error *err)
{
    const cli_option *found = NULL;
    const dm_status s = cli_check_json(table_of(name), name, doc, option, value, &found, err);

    *kind = s == DM_OK && cli_names_path(found) ? DM_RECIPE_OPTION_PATH : DM_RECIPE_OPTION_VALUE;
    return s;
}

static bool has_option(const char *name, const char *option)
{
    if (strcmp(name, "score") == 0) {
        const char *const *o = cli_score_options;
        while (*o && strcmp(*o, option) != 0)
            o++;
        return *o != NULL;
    }
    return dm_option_find(table_of(name), option, strlen(option)) != NULL;
}

static int run_command(int argc, char **argv)
{
    return stage_commands[find_command(argv[0])].run(argc - 1, argv + 1);
}

/* ---- recipes ---- */

static const cli_recipe *shipped(const char *name)
{
    const cli_recipe *r = cli_recipes;
    while (r->name && strcmp(r->name, name) != 0)
        r++;
    return r->name ? r : NULL;
}

static void recipe_text(dm_text *out, const cli_recipe *r)
{
    for (const char *const *line = r->line; *line; line++)
        dm_text_print(out, "%s\n", *line);
}

static void list_recipes(void)
{
    for (const cli_recipe *r = cli_recipes; r->name; r++) {
        dm_text t = {0};
        dm_json_doc *doc = NULL;
        recipe_text(&t, r);
        if (!t.failed && dm_json_parse(&doc, t.data, t.size, r->name, NULL) == DM_OK) {
            const dm_json *title = dm_json_get(dm_json_root(doc), "title");
            printf("%-12s %s\n", r->name, title && title->type == DM_JSON_STRING ? title->text : "");
        }
        dm_json_close(&doc);
        dm_text_free(&t);
    }
}

/* A name without '/' or '.' is one of those that come with dmpo; everything else is a file. */
static dm_status load(dm_text *out, const char *what, dm_error *err)
{
    const cli_recipe *r = shipped(what);
    char *data;
    size_t size;

    if (r) {
        recipe_text(out, r);
        return out->failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the recipe") : DM_OK;
    }
    if (!strpbrk(what, "./") && !dm_file_exists(what))
        return dm_fail(err, DM_ERR_ARGUMENT, "'%s' is neither a file nor a built-in recipe; --list lists the recipes",
                       what);
    const dm_status s = dm_file_read(what, RECIPE_MAX, &data, &size, err);
    if (s != DM_OK)
        return s;
    dm_text_add(out, data, size);
    free(data);
    return out->failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the recipe") : DM_OK;
}

/* ---- progress ---- */

typedef struct watch {
    const dm_experiment_plan *plan;
    int quiet, terminal, line_open;
    double shown;
} watch;

static void end_line(watch *w)
{
    if (w->line_open)
        fputs("\r\033[K", stderr);
    w->line_open = 0;
}

static void elapsed(char *out, size_t size, double seconds)
{
    const long s = (long)seconds;
    if (s >= 3600)
        snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, size, "%ld:%02ld", s / 60, s % 60);
}

/* "12/40 3:21 home-dmpo-s1, home-dpo-s1" in one line of the terminal */
static void show_line(watch *w, const dm_schedule_event *e)
{
    char line[LINE_MAX_SHOWN + 1], time[32];
    int n;

    elapsed(time, sizeof time, e->seconds);
    n = snprintf(line, sizeof line, "%zu/%zu %s%s", e->done, e->total, time, e->failed ? " (with failures)" : "");
    for (size_t i = 0, k = 0; i < w->plan->stages && n < LINE_MAX_SHOWN; i++)
        if (w->plan->stage[i].state == DM_STAGE_RUNNING)
            n += snprintf(line + n, sizeof line - (size_t)n, "%s %s", k++ ? "," : "", w->plan->stage[i].name);
    end_line(w);
    fputs(line, stderr);
    w->line_open = 1;
}

static int on_event(void *context, const dm_schedule_event *e)
{
    watch *w = context;

    if (e->kind == DM_SCHEDULE_FAILED) { /* even when quiet */
        end_line(w);
        fprintf(stderr, "dmpo experiment: %s\n", e->text);
    }
    if (!w->quiet && e->kind == DM_SCHEDULE_DONE) {
        char time[32];
        elapsed(time, sizeof time, e->seconds);
        end_line(w);
        fprintf(stderr, "%zu/%zu %s %s (%.1f s)\n", e->done, e->total, time, e->stage->name, e->stage->seconds);
    }
    if (!w->quiet && w->terminal && (e->kind != DM_SCHEDULE_TICK || e->seconds - w->shown >= 0.2)) {
        w->shown = e->seconds;
        show_line(w, e);
    }
    fflush(stderr);
    return cli_interrupted();
}

/* ---- running ---- */

typedef struct experiment {
    const experiment_options *o;
    const cli_common *common;
    const char *what; /* the recipe, as it was given */
    dm_experiment_commands commands;
    dm_recipe recipe;
    dm_experiment_plan plan;
    dm_experiment_run run;
} experiment;

/* The command that runs one stage, or with NULL collects the results. */
static void own_command(dm_text *t, const experiment *x, const char *stage)
{
    dm_text_print(t, "dmpo experiment");
    dm_experiment_plan_word(t, x->what);
    dm_text_print(t, " --output");
    dm_experiment_plan_word(t, x->o->output);
    if (x->o->seeds) {
        dm_text_print(t, " --seeds");
        dm_experiment_plan_word(t, x->o->seeds);
    }
    if (stage)
        dm_text_print(t, " --stage %s", stage);
}

/* Of a stage that is not done: 1 + the most of those that it needs; 0: it is done, or not asked for. */
static size_t level_of(const experiment *x, size_t stage)
{
    const dm_stage *s = &x->plan.stage[stage];
    size_t level = 0;

    if (s->state != DM_STAGE_WAITING)
        return 0;
    for (size_t a = 0; a < s->args; a++)
        if (s->arg[a].kind == DM_STAGE_ARG_INPUT && level_of(x, s->arg[a].stage) > level)
            level = level_of(x, s->arg[a].stage);
    return level + 1;
}

static void add_target(dm_text *t, const dm_stage *s)
{
    dm_text_print(t, " %s/" DM_STAGE_RECORD, s->dir);
}

static void make_form(dm_text *t, const experiment *x)
{
    dm_text_print(t, "# make -j N -f THIS_FILE\n.PHONY: results\nresults:");
    for (size_t i = 0; i < x->plan.stages; i++)
        if (level_of(x, i))
            add_target(t, &x->plan.stage[i]);
    dm_text_print(t, "\n\t");
    own_command(t, x, NULL);
    for (size_t i = 0; i < x->plan.stages; i++) {
        const dm_stage *s = &x->plan.stage[i];
        if (!level_of(x, i))
            continue;
        dm_text_print(t, "\n\n%s/" DM_STAGE_RECORD ":", s->dir);
        for (size_t a = 0; a < s->args; a++)
            if (s->arg[a].kind == DM_STAGE_ARG_INPUT && level_of(x, s->arg[a].stage))
                add_target(t, &x->plan.stage[s->arg[a].stage]);
        dm_text_print(t, "\n\t");
        own_command(t, x, s->name);
    }
    dm_text_print(t, "\n");
}

/* An array of jobs for each level: those of one level need only earlier ones. */
static void slurm_form(dm_text *t, const experiment *x)
{
    size_t found = 1;

    dm_text_print(t,
                  "#!/bin/sh\n# SBATCH_OPTIONS: what each job asks for, such as '--cpus-per-task=8 --time=2:00:00'\n"
                  "set -eu\nafter=\n"
                  "submit() { after=--dependency=afterok:$(sbatch --parsable $after ${SBATCH_OPTIONS-} \"$@\"); }\n");
    for (size_t level = 1; found; level++) {
        found = 0;
        for (size_t i = 0; i < x->plan.stages; i++) {
            if (level_of(x, i) != level)
                continue;
            if (found++ == 0)
                dm_text_print(t, "set --");
            dm_text_print(t, " %s", x->plan.stage[i].name);
        }
        if (!found)
            break;
        dm_text_print(t, "\nsubmit --array=1-%zu --wrap \"set -- $*; shift \\$((SLURM_ARRAY_TASK_ID - 1)); exec ",
                      found);
        own_command(t, x, "\\$1");
        dm_text_print(t, "\"\n");
    }
    dm_text_print(t, "submit --wrap \"");
    own_command(t, x, NULL);
    dm_text_print(t, "\"\n");
}

static void sh_form(dm_text *t, experiment *x)
{
    size_t done = 0, wanted = 0;

    for (size_t i = 0; i < x->plan.stages; i++) {
        const dm_stage *s = &x->plan.stage[i];
        if (s->state == DM_STAGE_LEFT_OUT)
            continue;
        dm_text_print(t, "# %s%s\n", s->name, s->state == DM_STAGE_DONE ? ": done" : "");
        if (s->state != DM_STAGE_DONE && dm_stage_makes_file(s)) { /* into a directory that must be there */
            dm_text_add(t, "mkdir -p", 8);
            dm_experiment_plan_word(t, s->dir);
            dm_text_add(t, "\n", 1);
        }
        dm_experiment_plan_command(&x->plan, s, t);
        dm_text_add(t, "\n", 1);
        done += s->state == DM_STAGE_DONE;
        wanted++;
    }
    dm_text_print(t, "# %zu stages%s, %zu of them done\n", wanted, x->plan.searching ? " of the search" : "", done);
    if (x->plan.searching)
        dm_text_print(t, "# what follows depends on them: when they are done, --plan prints the rest\n");
}

/* A script or makefile. */
static dm_status print_plan(experiment *x, dm_error *err)
{
    dm_text t = {0};

    if (x->o->form == FORM_SH)
        sh_form(&t, x);
    else if (x->o->form == FORM_MAKE)
        make_form(&t, x);
    else
        slurm_form(&t, x);
    const dm_status s = t.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the plan") : DM_OK;
    if (s == DM_OK)
        fwrite(t.data, 1, t.size, stdout);
    dm_text_free(&t);
    return s;
}

static dm_status print_results(const char *output, dm_error *err)
{
    dm_path path;
    char *data = NULL;
    size_t size = 0;
    dm_status s = dm_path_in(&path, output, "results.json", err);

    if (s == DM_OK && (s = dm_file_read(path.text, (size_t)1 << 30, &data, &size, err)) == DM_OK)
        fwrite(data, 1, size, stdout);
    free(data);
    return s;
}

static dm_status finish(experiment *x, dm_error *err)
{
    const char *output = x->o->output;
    const bool json = x->common->json;
    dm_experiment_results results = {0};
    dm_text table = {0};
    dm_status s = dm_experiment_results_read(&results, &x->plan, err);

    if (s == DM_OK && (s = dm_experiment_results_write(&results, &x->plan, &x->recipe, &x->run, err)) == DM_OK)
        s = dm_report_make(output, NULL, false, false, json ? NULL : &table, err);
    if (s == DM_OK && json)
        s = print_results(output, err);
    else if (s == DM_OK)
        printf("%s\n%s/report.html\n", table.data ? table.data : "", output);
    dm_text_free(&table);
    dm_experiment_results_close(&results);
    return s;
}

/* An experiment's own directory is continued; it has a lock file from its beginning. */
static dm_status check_output(const experiment_options *o, dm_error *err)
{
    dm_path lock;
    const dm_status s = dm_path_in(&lock, o->output, "lock", err);

    if (s != DM_OK || dm_file_exists(lock.text))
        return s;
    return dm_place_check(o->output, o->overwrite, err);
}

static int on_tick(void *context, const dm_schedule_event *e)
{
    (void)context;
    (void)e;
    return cli_interrupted();
}

/* All ranks must have the same stages to run. */
static dm_status agree(const experiment *x, dm_status s, dm_error *err)
{
    dm_ranks_fact facts[DM_RANKS_FACTS] = {{"recipe", ""}};
    dm_sha256 h;

    dm_sha256_init(&h);
    for (size_t i = 0; i < x->plan.stages; i++)
        dm_sha256_update(&h, x->plan.stage[i].key, DM_SHA256_HEX - 1);
    dm_sha256_finish(&h, facts[0].value);
    return dm_ranks_agree(s, facts, err);
}

/* What the search has chosen decides which stages come next. */
static dm_status plan_again(experiment *x, dm_error *err)
{
    dm_experiment_plan_close(&x->plan);
    return dm_experiment_plan_make(&x->plan, &x->recipe, &x->commands, x->o->output, err);
}

static dm_status work_on(experiment *x, const dm_schedule_options *schedule, watch *w, dm_error *err)
{
    return dm_ranks_here()->self > 0 ? dm_schedule_serve(&x->plan, &x->commands, schedule, on_tick, NULL, err)
                                     : dm_schedule_run(&x->plan, &x->commands, schedule, on_event, w, err);
}

static dm_status run(experiment *x, dm_error *err)
{
    const unsigned jobs = x->run.jobs, threads = x->run.threads > jobs ? x->run.threads / jobs : 1;
    const dm_schedule_options schedule = {jobs, threads, x->common->isa, x->o->stage != NULL};
    const double start = dm_seconds();
    watch w = {&x->plan, x->common->quiet, isatty(2), 0, 0};

    cli_catch_interrupt();
    const bool all = !x->o->only && !x->o->stage;
    bool search;
    dm_status s;
    do {
        search = x->plan.searching && all;
        s = work_on(x, &schedule, &w, err);
        if (search && (s = agree(x, s == DM_OK ? plan_again(x, err) : s, err)) == DM_OK && x->plan.searching)
            s = dm_fail(err, DM_ERR_INTERNAL, "the search has ended, and stages of it are not done");
    } while (s == DM_OK && search);
    if (dm_ranks_here()->self > 0)
        return s;
    end_line(&w);
    x->run.seconds = dm_seconds() - start;
    if (!all || search || (s != DM_OK && s != DM_ERR_INPUT))
        return s;
    dm_error why; /* what is there without the failed stages is worth a table, too */
    const dm_status t = finish(x, s == DM_OK ? err : &why);
    return s == DM_OK ? t : s;
}

static dm_status prepare(experiment *x, const char *what, const dm_text *text, dm_error *err)
{
    dm_status s = dm_recipe_parse(&x->recipe, text->data ? text->data : "", text->size, what, &x->commands, err);

    if (s == DM_OK && x->o->seeds)
        s = dm_recipe_set_seeds(&x->recipe, x->o->seeds, err);
    if (s == DM_OK)
        s = dm_experiment_plan_make(&x->plan, &x->recipe, &x->commands, x->o->output, err);
    if (s == DM_OK && (x->o->only || x->o->stage))
        s = dm_experiment_plan_only(&x->plan, x->o->stage ? x->o->stage : x->o->only, err);
    for (size_t i = 0; s == DM_OK && x->o->stage && i < x->plan.stages; i++)
        if (x->plan.stage[i].state == DM_STAGE_WAITING && strcmp(x->plan.stage[i].name, x->o->stage) != 0)
            s = dm_fail(err, DM_ERR_ARGUMENT, "--stage %s needs %s, which is not done", x->o->stage,
                        x->plan.stage[i].name);
    if (s == DM_OK && dm_ranks_here()->self == 0 && !x->o->plan)
        s = check_output(x->o, err);
    return s;
}

/* Which level and how many threads there are, by opening an engine; its threads are gone before any stage is forked. */
static dm_status look_at_machine(experiment *x, cli_call *c, dm_error *err)
{
    const dm_status s = cli_call_engine(c, err);

    if (s != DM_OK)
        return s;
    x->run = (dm_experiment_run){.version = dmpo_version(),
                                 .isa = dmpo_engine_isa(c->engine),
                                 .threads = dmpo_engine_threads(c->engine),
                                 .jobs = (unsigned)x->o->jobs};
    if (x->run.jobs == 0)
        x->run.jobs = dm_ranks_here()->count > 1 ? 1 : x->run.threads;
    dmpo_engine_close(&c->engine);
    return DM_OK;
}

static dm_status check(cli_call *c, dm_error *err)
{
    const experiment_options *o = c->options;

    if (o->list)
        return DM_OK;
    if (c->args.n_positional == 0)
        return dm_fail(err, DM_ERR_ARGUMENT, "no recipe given; usage: dmpo experiment %s", command.usage);
    if (o->only && o->stage)
        return dm_fail(err, DM_ERR_ARGUMENT, "--only and --stage exclude each other");
    if (!o->output && !o->show)
        return dm_fail(err, DM_ERR_ARGUMENT, "no output given; --output DIR names the directory for results");
    return DM_OK;
}

static dm_status work(cli_call *c, dm_error *err)
{
    const experiment_options *o = c->options;
    const char *what = c->args.positional[0];
    experiment x = {.o = o,
                    .common = &c->common,
                    .what = what,
                    .commands = {dmpo_version(), check_option, has_option, run_command}};
    dm_text text = {0};
    dm_status s = DM_OK;

    if (o->list)
        list_recipes();
    else if ((s = load(&text, what, err)) == DM_OK && o->show)
        fwrite(text.data, 1, text.size, stdout);
    else if (s == DM_OK && (s = look_at_machine(&x, c, err)) == DM_OK &&
             (s = agree(&x, prepare(&x, what, &text, err), err)) == DM_OK)
        s = o->plan ? print_plan(&x, err) : run(&x, err);
    dm_experiment_plan_close(&x.plan);
    dm_recipe_close(&x.recipe);
    dm_text_free(&text);
    return s;
}

int cli_experiment(int argc, char **argv)
{
    experiment_options o = {0};
    cli_call call = {.command = &command, .options = &o, .check = check, .work = work};

    return cli_call_run(&call, argc, argv);
}
