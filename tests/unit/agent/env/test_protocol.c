/* Environments in another process: the protocol kept, and broken in every way that a child can break it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/env/message.h"
#include "agent/env/protocol.h"
#include "agent/env/registry.h"
#include "core/files/file.h"
#include "core/numbers/philox.h"
#include "core/system.h"
#include "tests/support/check.h"

static char work[] = "/tmp/dmpo-protocol-XXXXXX", child[400], marker[64];

/* Generous limits, but for one, where a child is to hang. */
static void set_limits(const char *one, const char *seconds)
{
    setenv("DMPO_ENV_START", "20", 1);
    setenv("DMPO_ENV_RESET", "20", 1);
    setenv("DMPO_ENV_STEP", "20", 1);
    if (one)
        setenv(one, seconds, 1);
}

/* The child in a mode of tests/tools/env_child.sh; argument: NULL, or what it is given. */
static dm_status open_child(dm_env **env, const char *mode, const char *argument, dm_error *err)
{
    char specification[2048];

    snprintf(specification, sizeof specification, "cmd:exec sh '%s' %s '%s' 2>/dev/null", child, mode,
             argument ? argument : "");
    return dm_env_open(env, specification, err);
}

/* A message for people: one line, with that text. */
static void check_message(const char *what, const dm_error *err, const char *text)
{
    CK_MSG(strstr(err->message, text) != NULL && !strchr(err->message, '\n') && strlen(err->message) < 1000,
           "%s: no '%s' in: %s", what, text, err->message);
}

static int open_files(void)
{
    int n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) != -1;
    return n;
}

/* ---- the protocol kept ---- */

typedef struct record {
    char text[1000];
    double score;
} record;

/* Plays task 1 to its end with "add 3"; all texts in one. */
static void play(dm_env *env, record *r, const char *what)
{
    dm_observation o;
    dm_error err = {0};
    size_t size = 0;

    r->text[0] = '\0';
    if (!CK_MSG(dm_env_reset(env, DM_ENV_SPLIT_TRAIN, 1, 5, &o, &err) == DM_OK, "%s: %s", what, err.message))
        return;
    size += (size_t)snprintf(r->text, sizeof r->text, "%s", o.text);
    while (!o.done && size < sizeof r->text - 100) {
        if (!CK_MSG(dm_env_step(env, "add 3", &o, &err) == DM_OK, "%s: %s", what, err.message))
            return;
        size += (size_t)snprintf(r->text + size, sizeof r->text - size, "|%s", o.text);
    }
    r->score = o.score;
}

static const char whole[] =
    "Count.\n\nObservation: The number is 1.|The number is 4.|The number is 7.|The number is 10.";

static void check_kept(void)
{
    dm_env *env;
    dm_error err = {0};
    dm_observation o;
    record r;
    const char *const *actions;

    if (!CK_MSG(open_child(&env, "normal", NULL, &err) == DM_OK, "%s", err.message))
        return;
    CK(strcmp(env->instruction, "Count to ten.") == 0);
    CK(env->at_once == 3 && env->max_turns == 6 && env->tasks[DM_ENV_SPLIT_TRAIN] == 5 &&
       env->tasks[DM_ENV_SPLIT_SEEN] == 0 && env->tasks[DM_ENV_SPLIT_UNSEEN] == 2);
    for (int i = 0; i < 2; i++) { /* a second episode is like the first */
        play(env, &r, "normal");
        CK_MSG(strcmp(r.text, whole) == 0 && r.score == 1, "%s (%g)", r.text, r.score);
    }
    CK(env->class->expert(env) == NULL && env->class->admissible(env, &actions) == 0);

    CK(dm_env_reset(env, DM_ENV_SPLIT_UNSEEN, 0, UINT64_MAX, &o, &err) == DM_OK);
    CK(o.score == 0 && !o.done);
    CK(strcmp(env->class->expert(env), "add 2") == 0);
    CK(env->class->admissible(env, &actions) == 2 && strcmp(actions[0], "add 1") == 0 &&
       strcmp(actions[1], "add 2") == 0);
    /* Words of a model: quotes, controls, no UTF-8, longer than a pipe holds. */
    CK(dm_env_step(env, "say \"\\\t\x01\xff\"", &o, &err) == DM_OK && o.score == 0);
    char *long_action = malloc(300001);
    memset(long_action, 'a', 300000);
    long_action[300000] = '\0';
    CK_MSG(dm_env_step(env, long_action, &o, &err) == DM_OK, "%s", err.message);
    free(long_action);
    /* The turn limit is ours to keep. */
    for (int i = 2; i < 6; i++) {
        CK(!o.done);
        CK(dm_env_step(env, "nothing", &o, &err) == DM_OK);
    }
    CK(o.done && o.score == 0);
    CK(dm_env_step(env, "nothing", &o, &err) == DM_ERR_INTERNAL);
    CK(dm_env_reset(env, DM_ENV_SPLIT_SEEN, 0, 0, &o, &err) == DM_ERR_ARGUMENT);
    check_message("a task that is not there", &err, "has 0 tasks in split seen");
    dm_env_close(&env);
    CK(env == NULL);
}

/* A child that gives an expert's action and the possible ones only where they are wanted. */
static void check_wanted(void)
{
    dm_env *env;
    dm_error err = {0};
    dm_observation o;
    const char *const *actions;

    if (!CK_MSG(open_child(&env, "wanted", NULL, &err) == DM_OK, "%s", err.message))
        return;
    CK(env->class->expert(env) == NULL); /* no episode yet */
    CK(dm_env_reset(env, DM_ENV_SPLIT_TRAIN, 1, 0, &o, &err) == DM_OK && dm_env_step(env, "add 3", &o, &err) == DM_OK);
    const char *expert = env->class->expert(env);
    CK(expert && strcmp(expert, "add 2") == 0);
    CK(env->class->admissible(env, &actions) == 2 && strcmp(actions[1], "add 2") == 0);
    CK(strcmp(o.text, "The number is 4.") == 0);
    CK(dm_env_step(env, "add 6", &o, &err) == DM_OK && strcmp(o.text, "The number is 10.") == 0 && o.done);
    CK(env->class->expert(env) == NULL && env->class->admissible(env, &actions) == 0);
    dm_env_close(&env);
}

/* A child that dies or hangs is started anew, and the episode continues as if nothing had happened. */
static void check_restart(void)
{
    static const char *const modes[] = {"step-die-once", "step-hang-once"};

    for (int i = 0; i < 2; i++) {
        dm_env *env;
        dm_error err = {0};
        record r;
        unlink(marker);
        set_limits(i == 0 ? NULL : "DMPO_ENV_STEP", "0.5");
        if (!CK_MSG(open_child(&env, modes[i], marker, &err) == DM_OK, "%s", err.message))
            continue;
        play(env, &r, modes[i]);
        CK_MSG(strcmp(r.text, whole) == 0 && r.score == 1, "%s: %s (%g)", modes[i], r.text, r.score);
        CK_MSG(access(marker, F_OK) == 0, "%s: it did not happen", modes[i]);
        dm_env_close(&env);
    }
}

/* ---- the protocol broken ---- */

enum { OPEN, RESET, STEP };

/* Fails with one line that has that text: at once, or at the latest at that call. hangs: the limit that is short. */
static void check_broken(int latest, const char *hangs, const char *mode, const char *argument, const char *text)
{
    dm_env *env = NULL;
    dm_error err = {0};
    dm_observation o;
    const double begin = dm_seconds();

    unlink(marker);
    set_limits(hangs, "0.15");
    dm_status s = open_child(&env, mode, argument, &err);
    if (s == DM_OK && latest >= RESET)
        s = dm_env_reset(env, DM_ENV_SPLIT_TRAIN, 1, 0, &o, &err);
    for (int i = 0; i < 3 && s == DM_OK && latest == STEP; i++)
        s = dm_env_step(env, "add 1", &o, &err);
    if (CK_MSG(s != DM_OK, "%s %s: works", mode, argument ? argument : "")) {
        check_message(mode, &err, text);
        check_message(mode, &err, "environment 'cmd:exec sh ");
    }
    dm_env_close(&env);
    CK_MSG(dm_seconds() - begin < 30, "%s: %g s", mode, dm_seconds() - begin);
    CK_MSG(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "%s: a child is left", mode);
}

/* A second answer that comes after the first was taken: however late, the episode does not end without its being
 * noticed. */
static void check_twice(void)
{
    dm_env *env;
    dm_error err = {0};
    dm_observation o;

    set_limits(NULL, NULL);
    if (!CK_MSG(open_child(&env, "step-late", NULL, &err) == DM_OK, "%s", err.message))
        return;
    dm_status s = dm_env_reset(env, DM_ENV_SPLIT_TRAIN, 1, 0, &o, &err);
    CK_MSG(s == DM_OK, "%s", err.message);
    for (int i = 0; i < 6 && s == DM_OK; i++) {
        s = dm_env_step(env, "add 2", &o, &err);
        CK_MSG(s != DM_OK || !o.done, "an episode ended that was answered twice");
    }
    CK_MSG(s == DM_ERR_INPUT, "answered twice: status %d, %s", s, err.message);
    dm_env_close(&env);

    /* Nor one that the caller leaves before its end, the last one, too. */
    if (!CK_MSG(open_child(&env, "step-late", NULL, &err) == DM_OK, "%s", err.message))
        return;
    s = dm_env_reset(env, DM_ENV_SPLIT_TRAIN, 1, 0, &o, &err);
    for (int i = 0; i < 2 && s == DM_OK; i++)
        s = dm_env_step(env, "add 2", &o, &err);
    if (s == DM_OK)
        s = dm_env_leave(env, &err);
    CK_MSG(s == DM_ERR_INPUT, "answered twice, then left: status %d, %s", s, err.message);
    dm_env_close(&env);
}

static void check_deaths(void)
{
    check_broken(OPEN, "DMPO_ENV_START", "start-hang", NULL, "start: no answer within 0.15 seconds");
    check_broken(OPEN, NULL, "start-die", NULL, "start: it ended with status 7");
    check_broken(OPEN, NULL, "start-kill", NULL, "start: it was killed by signal 9");
    check_broken(OPEN, NULL, "start-close", NULL, "start: it closed its standard output but did not end");
    check_broken(OPEN, NULL, "start-early", NULL, "starting ...");
    check_broken(OPEN, NULL, "start-flood", NULL, "1048576 bytes without a line end: 'xxxx");
    check_broken(OPEN, NULL, "start-blank", NULL, "start: ");
    check_broken(RESET, NULL, "start-lines", NULL, "'{\"version\": 1");
    check_broken(RESET, "DMPO_ENV_RESET", "reset-hang", NULL,
                 "reset: it failed after 2 restarts: no answer within 0.15 seconds");
    check_broken(RESET, NULL, "reset-die", NULL, "reset: it failed after 2 restarts: it ended with status 3");
    check_broken(STEP, "DMPO_ENV_STEP", "step-hang", NULL,
                 "step: it failed after 2 restarts: no answer within 0.15 seconds");
    check_broken(STEP, NULL, "step-die", NULL, "step: it failed after 2 restarts: it ended with status 4");
    check_broken(STEP, NULL, "step-close", NULL, "it closed its standard output");
    check_broken(STEP, NULL, "step-lines", NULL, "step: ");
    check_broken(STEP, NULL, "step-flood", NULL, "step: it says 1048576 bytes without a line end");
    check_broken(STEP, NULL, "step-twice", NULL, "step: it answers with more than one line");
    check_twice();
    check_broken(STEP, NULL, "change", marker, "step: started again, it is another environment than before");
    check_broken(STEP, NULL, "random", marker,
                 "turn 1 is answered by 'The number is 3.' instead of 'The number is 2.'");
}

static void check_no_program(void)
{
    dm_env *env;
    dm_error err;

    set_limits(NULL, NULL);
    CK(dm_env_open(&env, "cmd:/nonexistent/program 2>/dev/null", &err) == DM_ERR_FILE);
    check_message("no program", &err,
                  "'cmd:/nonexistent/program 2>/dev/null': start: it ended with status 127 (sh: not found)");
    CK(dm_env_open(&env, "cmd:/ 2>/dev/null", &err) == DM_ERR_FILE);
    check_message("a directory", &err, "it ended with status 126 (sh: not executable)");
    CK(dm_env_open(&env, "cmd: ", &err) == DM_ERR_ARGUMENT);
    check_message("no command", &err, "needs a command");
    CK(dm_env_open(&env, "cmd", &err) == DM_ERR_ARGUMENT);
    CK(dm_env_open(&env, "cmdx:true", &err) == DM_ERR_ARGUMENT);
    check_message("another class", &err, "cmd:PROGRAM ARGUMENTS");
    static const char *const bad[] = {"0", "-1", "1e9", "abc", "1 2", "nan", "[1]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("DMPO_ENV_STEP", bad[i], 1);
        CK_MSG(dm_env_open(&env, "cmd:true", &err) == DM_ERR_ARGUMENT, "DMPO_ENV_STEP=%s", bad[i]);
        check_message("a limit", &err, "must be seconds from 0.001 to 86400");
    }
}

/* Nonsense in the place of each answer: what is said, and what the message must say about it. */
static const struct {
    const char *said, *text;
} bad_hello[] = {
    {"", "answer"},
    {"hello", "the answer was: 'hello'"},
    {"[1]", "must be a JSON object"},
    {"{\"version\": 1", "answer:1:"},
    {"{\"version\": 2}", "\"version\" is 2, must be an integer from 1 to 1"},
    {"{\"name\": \"x\"}", "\"version\" is missing"},
    {"{\"error\": \"no java\\nhere\"}", "it reports: no java?here"},
    {"{\"error\": 5}", "\"error\" must be a string"},
    {"{\"version\": 1, \"name\": \"\"}", "\"name\" has 0 bytes, must have 1 to 64"},
    {"{\"version\": 1, \"name\": 3}", "\"name\" must be a string"},
    {"{\"version\": 1, \"name\": \"a\\tb\"}", "control character 9, must be one line"},
    {"{\"version\": 1, \"name\": \"a\", \"instruction\": \"a\\u0000\"}",
     "\"instruction\" holds the control character 0"},
    {"{\"version\": 1, \"name\": \"a\", \"instruction\": \"i\", \"max_turns\": 0}", "\"max_turns\" is 0"},
    {"{\"version\": 1, \"name\": \"a\", \"instruction\": \"i\", \"max_turns\": 9, \"at_once\": 300}",
     "\"at_once\" is 300, must be an integer from 0 to 256"},
    {"{\"version\": 1, \"name\": \"a\", \"instruction\": \"i\", \"max_turns\": 9}", "\"tasks\" must be an object"},
    {"{\"version\": 1, \"name\": \"a\", \"instruction\": \"i\", \"max_turns\": 9, \"tasks\": [1, 2, 3]}",
     "\"tasks\" must be an object"},
    {"{\"version\": 1, \"name\": \"a\", \"instruction\": \"i\", \"max_turns\": 9, \"tasks\": {\"train\": -1}}",
     "\"train\" is -1"},
    {"{\"version\": 1, \"name\": \"a\", \"instruction\": \"i\", \"max_turns\": 9, \"tasks\": {\"test\": 1}}",
     "\"tasks\" has no task in any split"},
};

#define ANSWER(members) "{\"task\": \"t\", \"observation\": \"o\", " members "}"
static const struct {
    const char *said, *text;
} bad_answer[] = {
    {"no", "the answer was: 'no'"},
    {"\xff\xfe", "answer:1:1"},
    {"null", "must be a JSON object"},
    {"{\"task\": \"t\", \"observation\": 1}", "\"observation\" must be a string"},
    {"{\"task\": \"t\"}", "\"observation\" is missing"},
    {"{\"task\": \"t\", \"observation\": \"a\\u0000b\"}", "control character 0"},
    {"{\"error\": \"task 1 is broken\"}", "it reports: task 1 is broken"},
    {ANSWER("\"done\": false"), "\"score\" is missing"},
    {ANSWER("\"score\": NaN, \"done\": false"), "the answer was: '{\"task\""},
    {ANSWER("\"score\": null, \"done\": false"), "\"score\" is null"},
    {ANSWER("\"score\": \"1\", \"done\": false"), "\"score\" is the string"},
    {ANSWER("\"score\": 1e999, \"done\": false"), "does not fit a double"},
    {ANSWER("\"score\": 1.01, \"done\": false"), "\"score\" is 1.01, must be a number from 0 to 1"},
    {ANSWER("\"score\": -1e-9, \"done\": false"), "\"score\" is -1e-09"},
    {ANSWER("\"score\": 1"), "\"done\" is missing"},
    {ANSWER("\"score\": 1, \"done\": 1"), "\"done\" is 1, must be true or false"},
    {ANSWER("\"score\": 1, \"done\": true, \"done\": true"), "answer:1:"},
    {ANSWER("\"score\": 1, \"reward\": \"a\", \"done\": true"), "\"reward\" is the string"},
    {ANSWER("\"score\": 0, \"done\": false, \"expert\": \"a\\nb\""), "\"expert\" holds the control character 10"},
    {ANSWER("\"score\": 0, \"done\": false, \"actions\": \"a\""), "\"actions\" must be a list of strings"},
    {ANSWER("\"score\": 0, \"done\": false, \"actions\": [\"a\", 2]"), "\"actions\" must be a string"},
    {ANSWER("\"score\": 0, \"done\": false, \"actions\": [\"a\", \"\"]"), "\"actions\" has 0 bytes"},
};

/* Some of it by a child, all of it read here. */
static void check_nonsense(void)
{
    dm_message_hello h;
    dm_message_answer a;
    dm_error err;

    for (size_t i = 0; i < sizeof bad_hello / sizeof *bad_hello; i++) {
        const char *said = bad_hello[i].said;
        CK_MSG(dm_message_read_hello(&h, said, strlen(said), &err) == DM_ERR_INPUT && !h.doc, "%s", said);
        check_message(said, &err, bad_hello[i].text);
        CK(dm_message_read_hello(&h, said, strlen(said), NULL) == DM_ERR_INPUT);
        if (i % 5 == 1)
            check_broken(OPEN, NULL, "hello", said, bad_hello[i].text);
    }
    for (size_t i = 0; i < sizeof bad_answer / sizeof *bad_answer; i++) {
        const char *said = bad_answer[i].said;
        CK_MSG(dm_message_read_answer(&a, 1, said, strlen(said), &err) == DM_ERR_INPUT && !a.doc, "%s", said);
        check_message(said, &err, bad_answer[i].text);
        if (i % 5 == 2)
            check_broken(RESET, NULL, "reset", said, bad_answer[i].text);
        if (i % 5 == 3)
            check_broken(STEP, NULL, "step", said, bad_answer[i].text);
    }
    CK(dm_message_read_answer(&a, 1, "{\"observation\": \"o\"}", 20, &err) == DM_ERR_INPUT);
    check_message("a reset without a task", &err, "\"task\" is missing");
}

/* Answers with bytes changed, cut and doubled: read or refused, and what is read is within the limits. */
static void check_mutants(void)
{
    static const char *const good[] = {
        "{\"version\": 1, \"name\": \"a\", \"instruction\": \"i\", \"max_turns\": 9, \"tasks\": {\"train\": 3, "
        "\"seen\": 1}}",
        ANSWER("\"score\": 0.25, \"reward\": 0.25, \"done\": false, \"actions\": [\"a\", \"b\"], \"expert\": \"a\""),
        "{\"observation\": \"\\u00e9\", \"score\": 1, \"done\": true, \"actions\": null, \"expert\": null, \"x\": {}}",
    };
    static const char bytes[] = "\"{}[]:,\\u0019-.e \xc3";
    const uint64_t rounds = getenv("DMPO_TEST_FAST") ? 3000 : 30000;
    unsigned long read = 0;

    for (uint64_t i = 0; i < rounds; i++) {
        const dm_u32x4 r = dm_random(1, DM_RNG_TEST, 0, i);
        char line[512];
        const char *from = good[i % 3];
        size_t size = strlen(from);
        memcpy(line, from, size + 1);
        for (unsigned k = 0; k <= r.v[0] % 3; k++) {
            const dm_u32x4 q = dm_random(1, DM_RNG_TEST, 1 + k, i);
            const size_t at = q.v[0] % size, n = size - at;
            if (q.v[1] % 8 == 0)
                size = at + 1;
            else if (q.v[1] % 8 == 1 && 2 * size < sizeof line) {
                memmove(line + at + n, line + at, n);
                size += n;
            } else
                line[at] = bytes[q.v[2] % (sizeof bytes - 1)];
        }
        line[size] = '\0';
        dm_error err = {0};
        dm_message_hello h;
        dm_message_answer a;
        dm_status s;
        if (i % 3 == 0) {
            s = dm_message_read_hello(&h, line, size, &err);
            if (s == DM_OK)
                CK(*h.name && *h.instruction && h.max_turns > 0 && h.tasks[0] + h.tasks[1] + h.tasks[2] > 0);
            dm_message_hello_free(&h);
        } else {
            s = dm_message_read_answer(&a, i % 3 == 1, line, size, &err);
            if (s == DM_OK)
                CK(a.observation && (a.task || i % 3 == 2) && a.score >= 0 && a.score <= 1);
            dm_message_answer_free(&a);
        }
        read += s == DM_OK;
        if (s != DM_OK)
            CK_MSG(s == DM_ERR_INPUT && err.message[0] && !strchr(err.message, '\n'), "%s: %s", line, err.message);
    }
    CK(read > rounds / 50 && read < rounds - rounds / 50);
}

/* ---- the end ---- */

static void check_end(void)
{
    dm_env *env, *other;
    dm_error err;
    char text[32] = {0};

    /* The other child was made while this one's pipes were open. It must not hold them: this one is asked to end. */
    set_limits(NULL, NULL);
    unlink(marker);
    if (CK(open_child(&env, "end", marker, &err) == DM_OK) && CK(open_child(&other, "normal", NULL, &err) == DM_OK)) {
        dm_env_close(&env);
        CK_MSG(access(marker, F_OK) == 0, "its standard input was not closed");
        dm_env_close(&other);
    }

    unlink(marker);
    if (CK(open_child(&env, "end-stubborn", marker, &err) == DM_OK)) {
        const double begin = dm_seconds();
        dm_env_close(&env);
        CK_MSG(dm_seconds() - begin < 10, "%g s", dm_seconds() - begin);
        const int fd = open(marker, O_RDONLY);
        if (CK_MSG(fd >= 0 && read(fd, text, sizeof text - 1) > 0, "it was not stubborn"))
            CK(kill((pid_t)atol(text), 0) != 0 && errno == ESRCH);
        if (fd >= 0)
            close(fd);
    }
}

int main(void)
{
    const char *src = getenv("SRC");
    const int files = open_files();

    if (!CK(mkdtemp(work) != NULL))
        return ck_done("protocol");
    snprintf(child, sizeof child, "%s/tests/tools/env_child.sh", src ? src : ".");
    snprintf(marker, sizeof marker, "%s/marker", work);
    set_limits(NULL, NULL);
    check_kept();
    check_wanted();
    check_restart();
    check_deaths();
    check_no_program();
    check_nonsense();
    check_mutants();
    check_end();
    CK_MSG(open_files() == files, "%d files are open, %d before", open_files(), files);
    unlink(marker);
    rmdir(work);
    return ck_done("protocol");
}
