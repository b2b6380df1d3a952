/* dmpo play: a person, or the expert, in an environment. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/env/registry.h"
#include "agent/rollout/episode.h"
#include "cli/call.h"
#include "cli/facts.h"
#include "cli/stream.h"
#include "core/numbers/block.h"
#include "io/json_writer.h"

typedef struct play_options {
    const char *env;
    int split; /* dm_env_split */
    int64_t task, first, tasks;
    uint64_t seed;
    bool expert, list_tasks, list_envs;
} play_options;

static const cli_option options[] = {
    DM_OPTION_TEXT(play_options, env, "env", "SPEC", "a built-in environment, or cmd:PROGRAM ARGUMENTS",
                   .absent = "lists the built-in environments",
                   .manual = "A built-in environment, or cmd:PROGRAM ARGUMENTS, a shell command that speaks the "
                             "environment protocol (docs/protocol.md)."),
    DM_OPTION_CHOICE(play_options, split, "split", "NAME", dm_env_split_names, "the split of the tasks",
                     .manual = "The split of the tasks. What the tasks of seen ask for is asked for in training too, "
                               "but elsewhere; what those of unseen ask for never is."),
    DM_OPTION_INTEGER(play_options, task, "task", "N", "number of the task in the split, from 0"),
    DM_OPTION_SEED(play_options, seed, "seed", "N",
                   "the environment's seed: the same split, task, seed and actions give the same texts"),
    DM_OPTION_FLAG(play_options, expert, "expert", "shows how the environment's expert plays"),
    DM_OPTION_FLAG(play_options, list_envs, "list-envs", "lists the built-in environments",
                   .manual = "Lists the built-in environments: how many tasks their splits have, and how many turns an "
                             "episode has at most."),
    DM_OPTION_FLAG(play_options, list_tasks, "list-tasks", "lists the tasks of the split, in words"),
    DM_OPTION_INTEGER(play_options, first, "first", "N", "number of the first task that `list-tasks` lists"),
    DM_OPTION_INTEGER(play_options, tasks, "tasks", "N", "how many tasks `list-tasks` lists (0: the rest)"),
    {.offset = 0},
};

static const cli_command command = {
    "play",
    "Plays an episode of an environment in the terminal.",
    "--env SPEC [--split NAME] [--task N] [--seed N] | --env SPEC --list-tasks | --list-envs",
    "Each line is an action, bare or after \"Action: \". /actions lists the possible actions, /expert shows what the\n"
    "expert would do, /quit leaves; so do end of input and Ctrl-C. With --json, texts go to standard error, and an\n"
    "episode that was played to its end goes to standard output as one line, as dmpo rollout writes it.",
    options,
    0,
    0};

typedef struct game {
    const play_options *o;
    dm_env *env;
    dm_observation now;
    FILE *out;        /* where the texts go; NULL: nowhere */
    int terminal;     /* a person types */
    dm_block *memory; /* of the record's strings and turns */
    dm_episode record;
    size_t room;
} game;

/* ---- texts ---- */

/* A whole line, in valid UTF-8, without what controls a terminal. */
static dm_status show(const game *g, const char *before, const char *text, dm_error *err)
{
    cli_stream s;
    if (!g->out)
        return DM_OK;
    cli_stream_open(&s, g->out, NULL);
    dm_status status = cli_stream_add(&s, before, strlen(before), err);
    if (status == DM_OK && (status = cli_stream_add(&s, text, strlen(text), err)) == DM_OK)
        status = cli_stream_end(&s, err);
    cli_stream_close(&s);
    return status;
}

static const char *plural(long long n)
{
    return n == 1 ? "" : "s";
}

static dm_status show_score(const game *g, const char *how, dm_error *err)
{
    char score[DM_DOUBLE_TEXT], line[128];
    const long long turns = (long long)g->record.turns;

    dm_double_text(score, g->now.score);
    if (how)
        snprintf(line, sizeof line, "%s: score %s after %lld turn%s", how, score, turns, plural(turns));
    else
        snprintf(line, sizeof line, "[turn %lld of %lld, score %s]", turns, (long long)g->env->max_turns, score);
    return show(g, "", line, err);
}

/* ---- the record ---- */

static dm_status keep(game *g, const char **out, const char *before, const char *text, dm_error *err)
{
    const size_t a = strlen(before), b = strlen(text);
    char *copy = dm_block_alloc(&g->memory, a + b + 1);
    if (!copy)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the episode");
    memcpy(copy, before, a);
    memcpy(copy + a, text, b);
    *out = copy;
    return DM_OK;
}

static dm_status add_turn(game *g, dm_episode_turn **turn, dm_error *err)
{
    dm_episode *e = &g->record;
    if (e->turns == g->room) {
        const size_t room = g->room ? 2 * g->room : 32;
        dm_episode_turn *more = dm_block_alloc(&g->memory, room * sizeof *more);
        if (!more)
            return dm_fail(err, DM_ERR_MEMORY, "no memory for the episode");
        if (e->turns)
            memcpy(more, e->turn, e->turns * sizeof *more);
        e->turn = more;
        g->room = room;
    }
    *turn = &e->turn[e->turns++];
    **turn = (dm_episode_turn){.logp = NAN};
    return DM_OK;
}

static dm_status begin(game *g, dm_error *err)
{
    const play_options *o = g->o;
    dm_text id = {0};
    dm_status s = dm_env_reset(g->env, (dm_env_split)o->split, o->task, o->seed, &g->now, err);

    if (s != DM_OK)
        return s;
    g->record = (dm_episode){
        .env = o->env,
        .split = (dm_env_split)o->split,
        .task = o->task,
        .seed = o->seed,
        .policy = o->expert ? "expert" : "human",
        .end = "done",
    };
    dm_text_print(&id, "%s/%s/%lld/%llu/0", o->env, dm_env_split_names[o->split], (long long)o->task,
                  (unsigned long long)o->seed);
    if (id.failed)
        s = dm_fail(err, DM_ERR_MEMORY, "no memory for the episode");
    else if ((s = keep(g, &g->record.id, "", id.data, err)) == DM_OK &&
             (s = keep(g, &g->record.prompt[0], "", g->env->instruction, err)) == DM_OK &&
             (s = keep(g, &g->record.prompt[1], "", "OK", err)) == DM_OK &&
             (s = keep(g, &g->record.prompt[2], "", g->now.text, err)) == DM_OK &&
             (s = show(g, g->record.prompt[0], "\n", err)) == DM_OK)
        s = show(g, g->record.prompt[2], "", err);
    dm_text_free(&id);
    return s;
}

/* The action may be the environment's own memory. */
static dm_status step(game *g, const char *action, dm_error *err)
{
    dm_episode_turn *turn = NULL;
    const char *words = NULL;
    dm_status s;

    if ((s = keep(g, &words, "Action: ", action, err)) != DM_OK ||
        (!g->terminal && (s = show(g, words, "", err)) != DM_OK) ||
        (s = dm_env_step(g->env, words + strlen("Action: "), &g->now, err)) != DM_OK ||
        (s = add_turn(g, &turn, err)) != DM_OK ||
        (s = keep(g, &turn->observation, "Observation: ", g->now.text, err)) != DM_OK)
        return s;
    turn->action = words;
    turn->score = g->record.reward = g->now.score;
    g->record.done = g->now.done;
    return show(g, turn->observation, "", err);
}

static dm_status print_record(const game *g, dm_error *err)
{
    dm_text line = {0};
    dm_episode_write(&line, &g->record);
    dm_status s = line.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the episode") : DM_OK;
    if (s == DM_OK && (fwrite(line.data, 1, line.size, stdout) != line.size || fflush(stdout) != 0))
        s = dm_fail(err, DM_ERR_FILE, "cannot write standard output: %s", strerror(errno));
    dm_text_free(&line);
    return s;
}

/* ---- who plays ---- */

static const char *expert_action(game *g)
{
    return g->env->class->expert ? g->env->class->expert(g->env) : NULL;
}

static dm_status play_expert(game *g, dm_error *err)
{
    while (!g->now.done && !cli_interrupted()) {
        const char *action = expert_action(g);
        if (!action)
            return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: its expert gives no action after turn %zu", g->o->env,
                           g->record.turns);
        const dm_status s = step(g, action, err);
        if (s != DM_OK)
            return s;
    }
    return g->now.done ? DM_OK : dm_fail(err, DM_ERR_INTERRUPTED, "stopped after %zu turns", g->record.turns);
}

static dm_status show_actions(game *g, dm_error *err)
{
    const char *const *action = NULL;
    const size_t n = g->env->class->admissible ? g->env->class->admissible(g->env, &action) : 0;
    dm_status s = n ? DM_OK : show(g, "", "the environment does not say which actions are possible", err);
    for (size_t i = 0; i < n && s == DM_OK; i++)
        s = show(g, "  ", action[i], err);
    return s;
}

static dm_status show_help(const game *g, dm_error *err)
{
    return show(g, "", "/actions: the possible actions    /expert: what the expert would do    /quit: leave", err);
}

/* *quit: the person has had enough. */
static dm_status take_line(game *g, char *line, size_t size, int *quit, dm_error *err)
{
    char *action;
    dm_status s = DM_OK;

    if (!dm_episode_action(&action, line, size))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for an action");
    line += strspn(line, " \t\r\n");
    for (size = strlen(line); size && strchr(" \t\r\n", line[size - 1]);)
        line[--size] = 0;
    if (action) {
        s = step(g, action, err);
    } else if (strcmp(line, "/quit") == 0) {
        *quit = 1;
        return DM_OK;
    } else if (strcmp(line, "/actions") == 0) {
        return show_actions(g, err);
    } else if (strcmp(line, "/expert") == 0) {
        const char *advice = expert_action(g);
        return advice ? show(g, "expert: ", advice, err) : show(g, "", "the expert has no advice here", err);
    } else if (*line == '/') {
        return show_help(g, err);
    } else if (*line) {
        s = step(g, line, err);
    } else {
        return DM_OK;
    }
    free(action);
    return s == DM_OK && !g->now.done ? show_score(g, NULL, err) : s;
}

static dm_status play_person(game *g, dm_error *err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n = 0;
    int quit = 0;
    dm_status s = g->terminal ? show_help(g, err) : DM_OK;

    while (s == DM_OK && !g->now.done && !quit) {
        if (g->terminal && g->out)
            fputs("> ", g->out);
        if (g->out) /* a program at the other end of a pipe waits for it */
            fflush(g->out);
        errno = 0;
        n = getline(&line, &room, stdin);
        if (n < 0 || cli_interrupted())
            break;
        s = take_line(g, line, (size_t)n, &quit, err);
    }
    free(line);
    if (g->terminal && g->out && n < 0)
        fputc('\n', g->out);
    if (s == DM_OK && n < 0 && !feof(stdin) && !cli_interrupted())
        s = dm_fail(err, DM_ERR_FILE, "cannot read standard input: %s", strerror(errno));
    return s;
}

static dm_status play(const play_options *o, dm_env *env, const cli_common *common, dm_error *err)
{
    game g = {.o = o, .env = env, .out = stdout};
    if (common->json)
        g.out = o->expert || common->quiet ? NULL : stderr;
    g.terminal = !o->expert && isatty(STDIN_FILENO);
    dm_status s = begin(&g, err);

    cli_catch_interrupt();
    if (s == DM_OK)
        s = o->expert ? play_expert(&g, err) : play_person(&g, err);
    if (cli_interrupted() && s != DM_OK && !o->expert) /* Ctrl-C reaches an environment in another process, too */
        s = DM_OK;
    if (s == DM_OK)
        s = show_score(&g, g.now.done ? "done" : "not done", err);
    if (s == DM_OK && common->json && g.now.done)
        s = print_record(&g, err);
    dm_block_free(&g.memory);
    return s;
}

/* ---- lists ---- */

static dm_status list_envs(const cli_common *common, dm_error *err)
{
    cli_report r = {.json = common->json};
    dm_status s = DM_OK;

    for (size_t i = 0; dm_env_classes[i] && s == DM_OK; i++) {
        dm_text json = {0}, text = {0};
        dm_json_writer w = {.out = &json};
        dm_env *env = NULL;
        if ((s = dm_env_open(&env, dm_env_classes[i]->name, err)) != DM_OK)
            break;
        const char *summary = env->class->summary;
        dm_json_open_object(&w, NULL);
        dm_json_put_string(&w, "summary", summary);
        dm_json_open_object(&w, "tasks");
        for (int k = 0; k < DM_ENV_SPLITS; k++) {
            dm_json_put_int(&w, dm_env_split_names[k], env->tasks[k]);
            dm_text_print(&text, "%s%lld %s", k ? ", " : "", (long long)env->tasks[k], dm_env_split_names[k]);
        }
        dm_json_close_value(&w);
        dm_json_put_int(&w, "max_turns", env->max_turns);
        dm_json_close_value(&w);
        dm_text_print(&text, " tasks; at most %lld turns", (long long)env->max_turns);
        r.out.failed |= json.failed || text.failed;
        if (!r.out.failed && r.json)
            cli_report_row(&r, env->class->name, json.data, NULL);
        else if (!r.out.failed) {
            cli_report_line(&r, env->class->name, 6, summary);
            cli_report_line(&r, "", 6, text.data);
        }
        dm_text_free(&json);
        dm_text_free(&text);
        dm_env_close(&env);
    }
    if (s == DM_OK)
        return cli_report_print(&r, err);
    dm_text_free(&r.out);
    return s;
}

/* The task's words end where the first observation begins. */
static size_t task_size(const char *text)
{
    const char *end = strstr(text, "\n\nObservation: ");
    return end ? (size_t)(end - text) : strlen(text);
}

static dm_status list_tasks(const play_options *o, dm_env *env, const cli_common *common, dm_error *err)
{
    const int64_t count = env->tasks[o->split];
    const int64_t left = count - o->first, n = o->tasks && o->tasks < left ? o->tasks : left;
    dm_observation first;
    dm_status s = DM_OK;

    cli_catch_interrupt();
    for (int64_t i = 0; i < n && s == DM_OK; i++) {
        const int64_t task = o->first + i;
        if (cli_interrupted()) {
            s = dm_fail(err, DM_ERR_INTERRUPTED, "stopped after %lld of %lld tasks", (long long)i, (long long)n);
            break;
        }
        dm_text line = {0};
        dm_json_writer w = {.out = &line};
        if ((s = dm_env_reset(env, (dm_env_split)o->split, task, o->seed, &first, err)) != DM_OK)
            break;
        const size_t size = task_size(first.text);
        if (common->json) {
            dm_json_open_object(&w, NULL);
            dm_json_put_string(&w, "split", dm_env_split_names[o->split]);
            dm_json_put_int(&w, "task", task);
            dm_json_put_bytes(&w, "text", first.text, size);
            dm_json_close_value(&w);
        } else {
            dm_text_print(&line, "%6lld  %.*s", (long long)task, (int)(size < 4096 ? size : 4096), first.text);
            for (size_t k = 0; k < line.size; k++)
                line.data[k] = line.data[k] == '\n' ? ' ' : line.data[k];
        }
        if (line.failed)
            s = dm_fail(err, DM_ERR_MEMORY, "no memory for a task's text");
        else
            s = show(&(game){.out = stdout}, "", line.data, err);
        dm_text_free(&line);
    }
    return s;
}

/* ---- command ---- */

static dm_status check_tasks(const play_options *o, const dm_env *env, dm_error *err)
{
    const int64_t last = env->tasks[o->split] - 1;
    if (last < 0)
        return dm_fail(err, DM_ERR_ARGUMENT, "%s has no tasks in split %s", o->env, dm_env_split_names[o->split]);
    if (o->list_tasks) {
        const dm_status s = cli_in_range("first", o->first, 0, last, err);
        return s == DM_OK ? cli_in_range("tasks", o->tasks, 0, INT64_MAX, err) : s;
    }
    return cli_in_range("task", o->task, 0, last, err);
}

static dm_status run(cli_call *c, dm_error *err)
{
    const play_options *o = c->options;
    dm_env *env = NULL;
    dm_status s;

    if (o->list_envs || (!o->env && !o->list_tasks && !o->expert))
        return list_envs(&c->common, err);
    if (!o->env)
        return dm_fail(err, DM_ERR_ARGUMENT, "no environment given; --env SPEC names one, --list-envs lists them");
    if ((s = dm_env_open(&env, o->env, err)) == DM_OK && (s = check_tasks(o, env, err)) == DM_OK)
        s = o->list_tasks ? list_tasks(o, env, &c->common, err) : play(o, env, &c->common, err);
    dm_env_close(&env);
    return s;
}

int cli_play(int argc, char **argv)
{
    play_options o = {0};
    cli_call call = {.command = &command, .options = &o, .work = run};

    return cli_call_run(&call, argc, argv);
}
