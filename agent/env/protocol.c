#include "agent/env/protocol.h"

#include <stdlib.h>
#include <string.h>

#include "agent/env/child.h"
#include "agent/env/message.h"

enum { START, RESET, STEP, LIMITS };

static const struct {
    const char *variable;
    double seconds;
} limits[LIMITS] = {{"DMPO_ENV_START", 120}, {"DMPO_ENV_RESET", 60}, {"DMPO_ENV_STEP", 60}};

/* A question and its answer: for a replay. */
typedef struct turn {
    char *action;      /* NULL: the reset */
    char *observation; /* NULL: not yet */
    double score;
    bool done;
} turn;

typedef struct cmd_env {
    dm_env env;
    char *command;
    double limit[LIMITS];
    dm_child child;
    dm_message_hello hello;
    dm_message_answer answer; /* the last one */
    dm_text request, text;

    dm_message_wants wants; /* what callers have wanted in any episode so far */
    dm_env_split split;     /* the episode */
    int64_t task;
    uint64_t seed;
    int restarts;
    dm_error missed;  /* why a wish was not answered; status DM_OK: none was missed */
    bool unconfirmed; /* the program has answered since it was last asked hello */
    turn *turn;       /* [turns], of room for `room` */
    size_t turns, room;
} cmd_env;

static cmd_env *of(dm_env *env)
{
    return (cmd_env *)(void *)env;
}

/* Says which command and when. */
static dm_status in_command(const cmd_env *e, const char *when, dm_status s, dm_error *err)
{
    return dm_fail_context(err, s, "environment 'cmd:%.100s%s': %s", e->command, strlen(e->command) > 100 ? "..." : "",
                           when);
}

/* ---- one question ---- */

static dm_text *emptied(dm_text *t)
{
    t->size = 0;
    t->failed = false;
    return t;
}

static dm_status ask(cmd_env *e, int limit, const char **line, size_t *size, dm_error *err)
{
    if (e->request.failed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for a message");
    return dm_child_ask(&e->child, e->request.data, e->request.size, e->limit[limit], line, size, err);
}

static dm_status start(cmd_env *e, dm_error *err)
{
    const char *line;
    size_t size;
    dm_message_hello hello;
    dm_status s = dm_child_start(&e->child, e->command, err);

    dm_message_ask_hello(emptied(&e->request));
    if (s == DM_OK)
        s = ask(e, START, &line, &size, err);
    if (s == DM_OK)
        s = dm_message_read_hello(&hello, line, size, err);
    if (s != DM_OK)
        return s;
    e->unconfirmed = false;
    if (!e->hello.doc) {
        e->hello = hello;
        return DM_OK;
    }
    const bool same = dm_message_hello_equal(&e->hello, &hello);
    dm_message_hello_free(&hello);
    return same ? DM_OK : dm_fail(err, DM_ERR_INPUT, "started again, it is another environment than before");
}

/* Whether the program has answered each question once: after an episode its next answer is the one to another hello,
 * and nothing that was left over from before. One that has ended by itself has left nothing over. */
static dm_status confirm(cmd_env *e, dm_error *err)
{
    const char *line;
    size_t size;
    dm_message_hello hello;

    if (!e->child.pid || !e->unconfirmed)
        return DM_OK;
    e->unconfirmed = false;
    dm_message_ask_hello(emptied(&e->request));
    dm_status s = ask(e, RESET, &line, &size, err);
    const dm_status read = s == DM_OK ? dm_message_read_hello(&hello, line, size, err) : s;
    if (read == DM_ERR_MEMORY)
        s = read;
    if (read == DM_OK) {
        const bool same = dm_message_hello_equal(&e->hello, &hello);
        dm_message_hello_free(&hello);
        if (same)
            return DM_OK;
    }
    if (s == DM_OK)
        s = dm_fail(err, DM_ERR_INPUT, "after an episode it answers hello with '%.80s': it has answered more than once",
                    line);
    dm_child_stop(&e->child, true);
    return s == DM_ERR_FILE ? DM_OK : s;
}

static bool same_answer(const turn *t, const dm_message_answer *a)
{
    return strcmp(t->observation, a->observation) == 0 && t->score == a->score && t->done == a->done;
}

/* Asks for turn i; the answer is e->answer, and the same as before if this is a replay. */
static dm_status take_turn(cmd_env *e, size_t i, dm_error *err)
{
    const char *line;
    size_t size;
    turn *t = &e->turn[i];

    if (t->action)
        dm_message_ask_step(emptied(&e->request), t->action);
    else
        dm_message_ask_reset(emptied(&e->request), e->split, e->task, e->seed, e->wants);
    dm_message_answer_free(&e->answer);
    e->unconfirmed = true;
    dm_status s = ask(e, t->action ? STEP : RESET, &line, &size, err);
    if (s == DM_OK)
        s = dm_message_read_answer(&e->answer, !t->action, line, size, err);
    if (s != DM_OK)
        return s;
    if (t->observation) {
        if (same_answer(t, &e->answer))
            return DM_OK;
        return dm_fail(err, DM_ERR_INPUT,
                       "replayed after a restart, turn %zu is answered by '%.80s' instead of '%.80s'; the same task, "
                       "seed and actions must give the same answers",
                       i, e->answer.observation, t->observation);
    }
    if (!(t->observation = strdup(e->answer.observation)))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for an observation");
    t->score = e->answer.score;
    t->done = e->answer.done;
    return DM_OK;
}

/* ---- the episode ---- */

static dm_status add_turn(cmd_env *e, const char *action, dm_error *err)
{
    if (e->turns == e->room) {
        const size_t room = e->room ? 2 * e->room : 32;
        turn *grown = realloc(e->turn, room * sizeof *grown);
        if (!grown)
            return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu turns", room);
        e->turn = grown;
        e->room = room;
    }
    e->turn[e->turns] = (turn){0};
    if (action && !(e->turn[e->turns].action = strdup(action)))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for an action");
    e->turns++;
    return DM_OK;
}

static void drop_turns(cmd_env *e, size_t keep)
{
    while (e->turns > keep) {
        const turn *t = &e->turn[--e->turns];
        free(t->action);
        free(t->observation);
    }
}

/* Has the turns from i on answered: by the child that has answered those before, or by a new one that answers all. */
static dm_status answer_from(cmd_env *e, size_t i, dm_error *err)
{
    for (;;) {
        dm_status s = DM_OK;
        if (!e->child.pid) {
            s = start(e, err);
            i = 0;
        }
        for (; s == DM_OK && i < e->turns; i++)
            s = take_turn(e, i, err);
        if (s == DM_OK)
            return DM_OK;
        dm_child_stop(&e->child, true);
        dm_message_answer_free(&e->answer);
        if (s != DM_ERR_FILE)
            return s;
        if (e->restarts == DM_PROTOCOL_RESTARTS)
            return dm_fail_context(err, s, "it failed after %d restarts", e->restarts);
        e->restarts++;
    }
}

/* Adds a turn, gets its answer, and gives that to the caller; on failure it is as if it had not been asked. */
static dm_status play(cmd_env *e, const char *action, dm_observation *o, dm_error *err)
{
    const size_t before = e->turns;
    dm_status s = add_turn(e, action, err);

    if (s == DM_OK)
        s = answer_from(e, e->turns - 1, err);
    const bool done = s == DM_OK && (e->answer.done || e->turns > (size_t)e->hello.max_turns);
    if (done)
        s = confirm(e, err);
    emptied(&e->text);
    if (s == DM_OK && !action)
        dm_text_print(&e->text, "%s\n\nObservation: ", e->answer.task);
    if (s == DM_OK)
        dm_text_add(&e->text, e->answer.observation, strlen(e->answer.observation));
    if (e->text.failed)
        s = dm_fail(err, DM_ERR_MEMORY, "no memory for an observation");
    if (s != DM_OK) {
        drop_turns(e, before);
        return s;
    }
    o->text = e->text.data;
    o->score = e->answer.score;
    o->done = done;
    return DM_OK;
}

/* ---- the class ---- */

/* The limit of the process's environment, as a JSON number: in any locale. */
static dm_status get_limit(double *seconds, int i, dm_error *err)
{
    const char *text = getenv(limits[i].variable);
    dm_json_doc *doc = NULL;

    *seconds = limits[i].seconds;
    if (!text || !*text)
        return DM_OK;
    const bool read = dm_json_parse(&doc, text, strlen(text), "", NULL) == DM_OK;
    const dm_json *v = read ? dm_json_root(doc) : NULL;
    const bool legal = v && v->type == DM_JSON_NUMBER && v->number >= 0.001 && v->number <= 86400;
    if (legal)
        *seconds = v->number;
    dm_json_close(&doc);
    return legal ? DM_OK
                 : dm_fail(err, DM_ERR_ARGUMENT, "%s is '%.40s', must be seconds from 0.001 to 86400",
                           limits[i].variable, text);
}

static void cmd_close(dm_env *env)
{
    cmd_env *e = of(env);

    dm_child_stop(&e->child, false);
    drop_turns(e, 0);
    free(e->turn);
    dm_message_answer_free(&e->answer);
    dm_message_hello_free(&e->hello);
    dm_text_free(&e->request);
    dm_text_free(&e->text);
    free(e->command);
}

static dm_status cmd_open(dm_env *env, const char *arguments, dm_error *err)
{
    cmd_env *e = of(env);
    dm_status s = DM_OK;

    if (!arguments || strspn(arguments, " \t") == strlen(arguments))
        return dm_fail(err, DM_ERR_ARGUMENT, "environment 'cmd:' needs a command: cmd:PROGRAM ARGUMENTS");
    for (int i = 0; s == DM_OK && i < LIMITS; i++)
        s = get_limit(&e->limit[i], i, err);
    if (s != DM_OK)
        return s;
    if (!(e->command = strdup(arguments)))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for a command");
    s = start(e, err);
    if (s != DM_OK) {
        dm_child_stop(&e->child, true);
        return in_command(e, "start", s, err);
    }
    env->instruction = e->hello.instruction;
    env->max_turns = e->hello.max_turns;
    env->at_once = e->hello.at_once;
    memcpy(env->tasks, e->hello.tasks, sizeof env->tasks);
    return DM_OK;
}

/* The first time that a caller wants it, the episode is played again, with the wish for it. A failure is reported by
 * the next reset or step: the caller has gone on without what it wanted. */
static void want(cmd_env *e, bool *wish)
{
    if (*wish || e->turns == 0)
        return;
    *wish = true;
    dm_error why = {0};
    if (answer_from(e, 0, &why) != DM_OK)
        e->missed = why;
}

static dm_status report_missed(cmd_env *e, dm_error *err)
{
    if (e->missed.status == DM_OK)
        return DM_OK;
    const dm_status s = dm_fail(err, e->missed.status, "%s", e->missed.message);
    e->missed.status = DM_OK;
    return s;
}

static dm_status cmd_reset(dm_env *env, dm_env_split split, int64_t task, uint64_t seed, dm_observation *o,
                           dm_error *err)
{
    cmd_env *e = of(env);

    drop_turns(e, 0);
    e->split = split;
    e->task = task;
    e->seed = seed;
    e->restarts = 0;
    dm_status s = report_missed(e, err);
    if (s == DM_OK)
        s = confirm(e, err); /* of an episode that failed before its end */
    if (s == DM_OK)
        s = play(e, NULL, o, err);
    return s == DM_OK ? s : in_command(e, "reset", s, err);
}

static dm_status cmd_step(dm_env *env, const char *action, dm_observation *o, dm_error *err)
{
    cmd_env *e = of(env);

    if (e->turns == 0)
        return dm_fail(err, DM_ERR_INTERNAL, "cmd: a step before an episode has begun");
    dm_status s = report_missed(e, err);
    if (s == DM_OK)
        s = play(e, action, o, err);
    return s == DM_OK ? s : in_command(e, "step", s, err);
}

static dm_status cmd_leave(dm_env *env, dm_error *err)
{
    const dm_status s = confirm(of(env), err);
    return s == DM_OK ? s : in_command(of(env), "step", s, err);
}

static const char *cmd_expert(dm_env *env)
{
    cmd_env *e = of(env);

    if (!e->answer.expert)
        want(e, &e->wants.expert);
    return e->answer.expert;
}

static size_t cmd_admissible(dm_env *env, const char *const **actions)
{
    cmd_env *e = of(env);

    if (e->answer.n_actions == 0)
        want(e, &e->wants.actions);
    *actions = e->answer.actions;
    return e->answer.n_actions;
}

const dm_env_class dm_env_cmd = {
    .name = "cmd",
    .summary = "a program that speaks the environment protocol: cmd:PROGRAM ARGUMENTS",
    .size = sizeof(cmd_env),
    .open = cmd_open,
    .reset = cmd_reset,
    .step = cmd_step,
    .expert = cmd_expert,
    .leave = cmd_leave,
    .admissible = cmd_admissible,
    .close = cmd_close,
};
