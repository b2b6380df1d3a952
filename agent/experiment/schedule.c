/* Stages as child processes: no exec, so that a static program, one under an emulator and one that was replaced while
 * it runs all do the same.
 *
 * A stage writes into its final directory; its record (stage.json), written last, is what makes it done. Whoever works
 * in a directory holds a lock: byte 0 of OUTPUT/lock belongs to the experiment, another byte to each stage, so that a
 * stage that outlives a killed experiment for a moment is waited for. */
#include "agent/experiment/schedule.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "agent/experiment/stage_run.h"
#include "core/files/file.h"
#include "core/files/path.h"
#include "core/ranks.h"
#include "core/system.h"
#include "io/json.h"

#define WAIT_SHORTEST 1000000 /* nanoseconds */
#define WAIT_LONGEST 50000000

typedef struct job {
    bool taken;
    unsigned rank; /* where it runs */
    pid_t pid;     /* there, when that is here */
    size_t stage;
} job;

/* Between rank 0 and the others. */
typedef struct work {
    int64_t stage;          /* or an order: */
    int32_t status;         /* to rank 0: as waitpid has it */
    char why[DM_ERROR_MAX]; /* to rank 0: not "": the stage could not be started */
} work;
#define ORDER_END (-1)
#define ORDER_STOP (-2)

typedef struct schedule {
    dm_stage_runner runner;
    dm_schedule_fn fn;
    void *context;
    dm_error *err;
    job *job; /* [jobs] */
    size_t jobs;
    unsigned *height; /* of each stage: length of the longest chain of stages that wait for it */
    bool stopping;
    size_t running, failed, total, done;
    double start;
} schedule;

/* ---- starting ---- */

static int tell(schedule *x, dm_schedule_event_kind kind, const dm_stage *stage, const char *text)
{
    const dm_schedule_event e = {kind, stage, text, x->done, x->total, x->running, x->failed, dm_seconds() - x->start};
    return x->fn ? x->fn(x->context, &e) : 0;
}

static dm_status start_here(schedule *x, job *j, size_t index)
{
    dm_stage *s = &x->runner.plan->stage[index];
    const pid_t parent = getpid();
    dm_stage_streams to = {-1, -1};
    const dm_status status = dm_stage_prepare(s, &to, x->err);

    fflush(NULL); /* the child would print it again */
    const pid_t pid = status == DM_OK ? fork() : -1;
    if (pid == 0) {
        dm_ranks_use(NULL);
        setpgid(0, 0); /* Ctrl-C reaches the experiment alone, and it passes it on */
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
#ifdef __linux__
        prctl(PR_SET_PDEATHSIG, SIGTERM);
#endif
        const int code = getppid() == parent ? dm_stage_run(&x->runner, s, &to) : 1;
        fflush(NULL);
        _exit(code);
    }
    dm_stage_close_streams(&to);
    if (status != DM_OK)
        return status;
    if (pid < 0)
        return dm_fail(x->err, DM_ERR_MEMORY, "cannot start a process for the stage %s: %s", s->name, strerror(errno));
    j->pid = pid;
    return DM_OK;
}

static dm_status tell_rank(const schedule *x, unsigned rank, int64_t stage)
{
    const work order = {.stage = stage};
    return dm_ranks_send(rank, DM_RANK_WORK, &order, sizeof order, "a rank to take work", x->err);
}

/* Here, or on the job's rank. */
static dm_status start(schedule *x, job *j, size_t index)
{
    dm_stage *s = &x->runner.plan->stage[index];
    const dm_status status = j->rank ? tell_rank(x, j->rank, (int64_t)index) : start_here(x, j, index);

    if (status != DM_OK)
        return status;
    j->taken = true;
    j->stage = index;
    s->state = DM_STAGE_RUNNING;
    x->running++;
    tell(x, DM_SCHEDULE_STARTED, s, NULL);
    return DM_OK;
}

/* DM_STAGE_DONE: all inputs are there; DM_STAGE_FAILED: one never will be. */
static dm_stage_state inputs_of(const dm_experiment_plan *p, const dm_stage *s)
{
    dm_stage_state all = DM_STAGE_DONE;

    for (size_t i = 0; i < s->args; i++) {
        if (s->arg[i].kind != DM_STAGE_ARG_INPUT)
            continue;
        const dm_stage_state state = p->stage[s->arg[i].stage].state;
        if (state == DM_STAGE_FAILED || state == DM_STAGE_LEFT_OUT)
            return DM_STAGE_FAILED;
        if (state != DM_STAGE_DONE)
            all = DM_STAGE_WAITING;
    }
    return all;
}

/* The ready stage with the longest chain after it, so that the last ones are not left to one process. */
static size_t choose(schedule *x)
{
    size_t best = DM_STAGE_NONE;

    for (size_t i = 0; i < x->runner.plan->stages; i++) {
        dm_stage *s = &x->runner.plan->stage[i];
        if (s->state != DM_STAGE_WAITING)
            continue;
        const dm_stage_state inputs = inputs_of(x->runner.plan, s);
        if (inputs == DM_STAGE_FAILED)
            s->state = DM_STAGE_LEFT_OUT;
        else if (inputs == DM_STAGE_DONE && (best == DM_STAGE_NONE || x->height[i] > x->height[best]))
            best = i;
    }
    return best;
}

static dm_status start_ready(schedule *x)
{
    while (x->running < x->jobs) {
        const size_t next = choose(x);
        size_t k = 0;
        if (next == DM_STAGE_NONE)
            break;
        while (x->job[k].taken)
            k++;
        const dm_status status = start(x, &x->job[k], next);
        if (status != DM_OK)
            return status;
    }
    return DM_OK;
}

static void measure_heights(schedule *x)
{
    for (size_t i = x->runner.plan->stages; i-- > 0;) /* inputs come first */
        for (size_t a = 0; a < x->runner.plan->stage[i].args; a++) {
            const dm_stage_arg *arg = &x->runner.plan->stage[i].arg[a];
            if (arg->kind == DM_STAGE_ARG_INPUT && x->height[arg->stage] < x->height[i] + 1)
                x->height[arg->stage] = x->height[i] + 1;
        }
}

/* ---- ending ---- */

/* The last line of a log that says something. */
static void last_line(const char *path, char *out, size_t size)
{
    char *data = NULL;
    size_t end = 0;

    snprintf(out, size, "it is empty");
    if (dm_file_read(path, (size_t)1 << 28, &data, &end, NULL) != DM_OK)
        return;
    while (end > 0 && (data[end - 1] == '\n' || data[end - 1] == ' '))
        end--;
    size_t begin = end;
    while (begin > 0 && data[begin - 1] != '\n')
        begin--;
    if (end > begin)
        snprintf(out, size, "%.*s", (int)(end - begin < size ? end - begin : size - 1), data + begin);
    free(data);
}

static void report_failure(schedule *x, const dm_stage *s, int status, const char *why)
{
    dm_path path;
    char line[600], how[64];
    dm_error text;

    if (*why) {
        tell(x, DM_SCHEDULE_FAILED, s, why);
        return;
    }
    if (dm_path_in(&path, s->dir, DM_STAGE_LOG, NULL) != DM_OK)
        path.text[0] = '\0';
    last_line(path.text, line, sizeof line);
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "was killed by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof how, "failed with status %d", WEXITSTATUS(status));
    dm_fail(&text, DM_ERR_INPUT, "stage %s %s; %s: %s", s->name, how, path.text, line); /* makes the line printable */
    tell(x, DM_SCHEDULE_FAILED, s, text.message);
}

static void read_seconds(dm_stage *s)
{
    dm_path path;
    dm_json_doc *doc = NULL;

    if (dm_path_in(&path, s->dir, DM_STAGE_RECORD, NULL) != DM_OK || dm_json_read(&doc, path.text, NULL) != DM_OK)
        return;
    const dm_json *seconds = dm_json_get(dm_json_root(doc), "seconds");
    s->seconds = seconds ? seconds->number : 0;
    dm_json_close(&doc);
}

/* why: "", or that it could not be started. */
static void ended(schedule *x, job *j, int status, const char *why)
{
    dm_stage *s = &x->runner.plan->stage[j->stage];

    j->taken = false;
    x->running--;
    if (!*why && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        s->state = DM_STAGE_DONE;
        read_seconds(s);
        x->done++;
        tell(x, DM_SCHEDULE_DONE, s, NULL);
    } else if (x->stopping) {
        s->state = DM_STAGE_WAITING;
    } else {
        s->state = DM_STAGE_FAILED;
        x->failed++;
        report_failure(x, s, status, why);
    }
}

/* One of this rank's processes has ended. */
static bool has_ended(job *j, int *status)
{
    return j->taken && j->rank == dm_ranks_here()->self && waitpid(j->pid, status, WNOHANG) == j->pid;
}

static dm_status hear_others(schedule *x, bool *any)
{
    unsigned from;
    size_t bytes;

    while (dm_ranks_here()->count > 1 && dm_ranks_here()->arrived(DM_RANK_WORK, &from, &bytes)) {
        work done;
        const dm_status s = dm_ranks_receive(from, DM_RANK_WORK, &done, sizeof done, "the end of a stage", x->err);
        if (s != DM_OK)
            return s;
        for (size_t k = 0; k < x->jobs; k++)
            if (x->job[k].taken && x->job[k].rank == from && (int64_t)x->job[k].stage == done.stage)
                ended(x, &x->job[k], done.status, done.why);
        *any = true;
    }
    return DM_OK;
}

/* any: a stage ended. */
static dm_status look(schedule *x, bool *any)
{
    int status;

    *any = false;
    for (size_t k = 0; k < x->jobs; k++)
        if (has_ended(&x->job[k], &status)) {
            ended(x, &x->job[k], status, "");
            *any = true;
        }
    return hear_others(x, any);
}

static void stop_here(schedule *x)
{
    x->stopping = true;
    for (size_t k = 0; k < x->jobs; k++)
        if (x->job[k].taken && x->job[k].rank == dm_ranks_here()->self)
            kill(x->job[k].pid, SIGTERM);
}

static dm_status tell_all(const schedule *x, int64_t order)
{
    dm_status s = DM_OK;

    for (unsigned rank = 1; s == DM_OK && rank < dm_ranks_here()->count; rank++)
        s = tell_rank(x, rank, order);
    return s;
}

static void stop(schedule *x)
{
    stop_here(x);
    tell_all(x, ORDER_STOP);
}

static dm_status run(schedule *x)
{
    struct timespec wait = {0, WAIT_SHORTEST};
    dm_status status = DM_OK;

    for (;;) {
        if (!x->stopping && (status = start_ready(x)) != DM_OK)
            stop(x); /* what cannot be started ends the run, with its message */
        if (x->running == 0)
            break;
        bool any;
        const dm_status looked = look(x, &any);
        if (looked != DM_OK)
            return looked;
        if (any) {
            wait.tv_nsec = WAIT_SHORTEST;
            continue;
        }
        if (tell(x, DM_SCHEDULE_TICK, NULL, NULL) && !x->stopping)
            stop(x);
        nanosleep(&wait, NULL);
        wait.tv_nsec = wait.tv_nsec < WAIT_LONGEST / 2 ? 2 * wait.tv_nsec : WAIT_LONGEST;
    }
    if (status != DM_OK)
        return status;
    if (x->stopping)
        return dm_fail(x->err, DM_ERR_INTERRUPTED, "stopped with %zu of %zu stages done; the same command continues",
                       x->done, x->total);
    if (x->failed)
        return dm_fail(x->err, DM_ERR_INPUT, "%zu stage%s failed and %zu of %zu are done; the same command tries again",
                       x->failed, x->failed > 1 ? "s" : "", x->done, x->total);
    return DM_OK;
}

/* Of the directory: an experiment has it for itself, those who run single stages share it. Its file is the first one
 * there, for it is what says that the directory is an experiment's. */
static dm_status open_lock(schedule *x)
{
    struct flock shared = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1};

    dm_path path;
    dm_status s = dm_dir_create(x->runner.plan->output, x->err);
    if (s == DM_OK)
        s = dm_path_in(&path, x->runner.plan->output, "lock", x->err);
    if (s != DM_OK)
        return s;
    x->runner.lock = dm_open(path.text, O_RDWR | O_CREAT | O_NOFOLLOW);
    if (x->runner.lock < 0)
        return dm_fail(x->err, DM_ERR_FILE, "%s: cannot open: %s", path.text, strerror(errno));
    if (dm_ranks_here()->self > 0) /* rank 0 has it */
        return DM_OK;
    if (x->runner.options->beside ? fcntl(x->runner.lock, F_SETLK, &shared) != 0
                                  : !dm_stage_take_lock(x->runner.lock, 0, F_SETLK))
        return dm_fail(x->err, DM_ERR_FILE, "%s: another dmpo experiment is running in this directory",
                       x->runner.plan->output);
    return DM_OK;
}

static dm_status make_cache(const schedule *x)
{
    dm_path path;
    const dm_status s = dm_path_in(&path, x->runner.plan->output, DM_STAGE_CACHE, x->err);
    return s == DM_OK ? dm_dir_create(path.text, x->err) : s;
}

static dm_status place_jobs(schedule *x, unsigned ranks)
{
    x->jobs = (size_t)x->runner.options->jobs * ranks;
    x->job = calloc(x->jobs, sizeof *x->job);
    x->height = calloc(x->runner.plan->stages + 1, sizeof *x->height);
    if (!x->job || !x->height)
        return dm_fail(x->err, DM_ERR_MEMORY, "no memory for %zu stages", x->runner.plan->stages);
    for (size_t k = 0; k < x->jobs; k++) /* the first ones go to different ranks */
        x->job[k].rank = ranks > 1 ? (unsigned)(k % ranks) : dm_ranks_here()->self;
    return DM_OK;
}

static void close_schedule(schedule *x)
{
    free(x->job);
    free(x->height);
    if (x->runner.lock >= 0)
        close(x->runner.lock);
}

dm_status dm_schedule_run(dm_experiment_plan *plan, const dm_experiment_commands *commands,
                          const dm_schedule_options *options, dm_schedule_fn fn, void *context, dm_error *err)
{
    schedule x = {{plan, commands, options, -1}, fn, context, err, .start = dm_seconds()};

    for (size_t i = 0; i < plan->stages; i++) {
        x.total += plan->stage[i].state != DM_STAGE_LEFT_OUT;
        x.done += plan->stage[i].state == DM_STAGE_DONE;
    }
    dm_status s = open_lock(&x);
    if (s == DM_OK && (s = make_cache(&x)) == DM_OK)
        s = place_jobs(&x, dm_ranks_here()->count);
    for (size_t i = 0; s == DM_OK && i < plan->stages && !options->beside;
         i++) /* of those that were killed between their record and this */
        if (plan->stage[i].state == DM_STAGE_DONE)
            s = dm_stage_drop_checkpoint(&plan->stage[i], err);
    if (s == DM_OK) {
        measure_heights(&x);
        s = run(&x);
        dm_error lost;
        x.err = &lost;
        tell_all(&x, ORDER_END);
    }
    close_schedule(&x);
    return s;
}

/* ---- on the other ranks ---- */

static dm_status report(schedule *x, size_t stage, int status, const char *why)
{
    work done = {.stage = (int64_t)stage, .status = status};

    snprintf(done.why, sizeof done.why, "%s", why);
    return dm_ranks_send(0, DM_RANK_WORK, &done, sizeof done, "rank 0 to hear of a stage", x->err);
}

/* Takes an order. end: it was the last one. */
static dm_status obey(schedule *x, bool *end)
{
    work order;
    size_t k = 0;
    dm_error *const err = x->err, why;
    dm_status s = dm_ranks_receive(0, DM_RANK_WORK, &order, sizeof order, "work", err);

    *end = s == DM_OK && order.stage == ORDER_END;
    if (s != DM_OK || *end)
        return s;
    if (order.stage == ORDER_STOP) {
        stop_here(x);
        return s;
    }
    while (k + 1 < x->jobs && x->job[k].taken)
        k++;
    x->err = &why; /* a stage that cannot be started is rank 0's to report */
    s = start_here(x, &x->job[k], (size_t)order.stage);
    x->err = err;
    if (s != DM_OK)
        return report(x, (size_t)order.stage, 0, why.message);
    x->job[k].taken = true;
    x->job[k].stage = (size_t)order.stage;
    return DM_OK;
}

static dm_status serve(schedule *x, dm_error *err)
{
    const struct timespec wait = {0, WAIT_LONGEST / 5};
    dm_status s = DM_OK;
    unsigned from;
    size_t bytes;
    bool end = false;

    while (s == DM_OK && !end) {
        int status;
        x->err = err;
        if (dm_ranks_here()->arrived(DM_RANK_WORK, &from, &bytes)) {
            s = obey(x, &end);
            continue;
        }
        for (size_t k = 0; s == DM_OK && k < x->jobs; k++)
            if (has_ended(&x->job[k], &status)) {
                x->job[k].taken = false;
                s = report(x, x->job[k].stage, status, "");
            }
        if (tell(x, DM_SCHEDULE_TICK, NULL, NULL) && !x->stopping)
            stop_here(x);
        nanosleep(&wait, NULL);
    }
    return s;
}

dm_status dm_schedule_serve(dm_experiment_plan *plan, const dm_experiment_commands *commands,
                            const dm_schedule_options *options, dm_schedule_fn fn, void *context, dm_error *err)
{
    schedule x = {{plan, commands, options, -1}, fn, context, err, .start = dm_seconds()};
    dm_status s = open_lock(&x);

    if (s == DM_OK)
        s = place_jobs(&x, 1);
    if (s == DM_OK)
        s = serve(&x, err);
    close_schedule(&x);
    return s;
}
