/* Stages as child processes: no exec, so that a static program, one under an emulator and one that was replaced while
 * it runs all do the same.
 *
 * A stage writes into its final directory; its record (stage.json), written last, is what makes it done. Whoever works
 * in a directory holds a lock: byte 0 of OUTPUT/lock belongs to the experiment, another byte to each stage, so that a
 * stage which outlives a killed experiment for a moment is waited for. */
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

#include "core/files/file.h"
#include "core/files/path.h"
#include "core/system.h"
#include "io/json_writer.h"

#define WAIT_SHORTEST 1000000 /* nanoseconds */
#define WAIT_LONGEST 50000000
#define EXTRA_ARGS 6

typedef struct job {
    pid_t pid; /* 0: free */
    size_t stage;
} job;

typedef struct schedule {
    dm_experiment_plan *plan;
    const dm_experiment_commands *commands;
    const dm_schedule_options *options;
    dm_schedule_fn fn;
    void *context;
    dm_error *err;
    int lock;
    job *job;
    unsigned *height; /* of each stage: length of the longest chain of stages that wait for it */
    bool stopping;
    size_t running, failed, total, done;
    double start;
} schedule;

/* ---- in the child ---- */

static bool take_lock(int fd, off_t at, int command)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    int status;
    do
        status = fcntl(fd, command, &lock);
    while (status != 0 && errno == EINTR);
    return status == 0;
}

static off_t lock_of(const dm_stage *s)
{
    const char digits[9] = {s->key[0], s->key[1], s->key[2], s->key[3], s->key[4], s->key[5], s->key[6], s->key[7], 0};
    return 1 + (off_t)(strtoul(digits, NULL, 16) >> 2); /* fits a signed 32-bit offset */
}

static dm_status write_record(schedule *x, const dm_stage *s, double seconds, dm_error *err)
{
    dm_path path;
    dm_text command = {0}, t = {0};
    dm_json_writer w = {.out = &t};

    dm_experiment_plan_command(x->plan, s, &command);
    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "name", s->name);
    dm_json_put_string(&w, "key", s->key);
    dm_json_put_string(&w, "version", x->commands->version);
    dm_json_put_string(&w, "command", command.data);
    dm_json_open_array(&w, "inputs");
    for (size_t i = 0; i < s->args; i++)
        if (s->arg[i].kind == DM_STAGE_ARG_INPUT || s->arg[i].kind == DM_STAGE_ARG_FILE)
            dm_json_put_string(
                &w, NULL, s->arg[i].kind == DM_STAGE_ARG_INPUT ? x->plan->stage[s->arg[i].stage].key : s->arg[i].text);
    dm_json_close_value(&w);
    dm_json_put_fixed(&w, "seconds", seconds, 3);
    dm_json_put_uint(&w, "peak_memory", dm_rss_peak());
    dm_json_close_value(&w);
    dm_text_add(&t, "\n", 1);
    dm_status status = dm_path_in(&path, s->dir, DM_STAGE_RECORD, err);
    if (status == DM_OK)
        status = t.failed || command.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", path.text)
                                            : dm_file_write(path.text, t.data, t.size, err);
    dm_text_free(&t);
    dm_text_free(&command);
    return status;
}

/* A finished run needs its checkpoint no more, and an experiment has hundreds of them. The record is written before: a
 * stage that is killed here is done, and never continued from half a checkpoint. */
static dm_status drop_checkpoint(const dm_stage *s, dm_error *err)
{
    dm_path path;
    const dm_status status = dm_path_in(&path, s->dir, "checkpoint", err);
    return status == DM_OK && dm_dir_exists(path.text) ? dm_dir_remove(path.text, err) : status;
}

/* Where a stage's output goes. */
typedef struct streams {
    int log, result;
} streams;

static int run_child(schedule *x, const dm_stage *s, const streams *to)
{
    static char overwrite_option[] = "--overwrite", threads_option[] = "--threads", isa_option[] = "--isa";
    char threads[16];
    char **argv = calloc(s->args + EXTRA_ARGS + 1, sizeof *argv);
    int argc = 0;
    dm_error err = {.message = "no memory for the arguments"};
    const int null = dm_open("/dev/null", O_RDONLY);

    if (null < 0 || dup2(null, 0) < 0 || dup2(to->result, 1) < 0 || dup2(to->log, 2) < 0)
        return 1; /* the others close themselves when a stage starts a program */
    for (size_t i = 0; argv && i < s->args; i++)
        if (!(argv[argc++] = (char *)(uintptr_t)dm_experiment_plan_argument(x->plan, s, i)))
            break;
    if (!argv || !argv[argc - 1]) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    snprintf(threads, sizeof threads, "%u", x->options->threads);
    if (!dm_stage_makes_file(s)) /* with log and result in it, it is not empty */
        argv[argc++] = overwrite_option;
    argv[argc++] = threads_option;
    argv[argc++] = threads;
    if (x->options->isa) {
        argv[argc++] = isa_option;
        argv[argc++] = (char *)(uintptr_t)x->options->isa;
    }
    if (!take_lock(x->lock, lock_of(s), F_SETLKW)) {
        fprintf(stderr, "cannot lock %s/lock: %s\n", x->plan->output, strerror(errno));
        return 1;
    }
    const double start = dm_seconds();
    const int status = x->commands->run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout))
        return status ? status : 1;
    if (status == 0 && (write_record(x, s, dm_seconds() - start, &err) != DM_OK || drop_checkpoint(s, &err) != DM_OK)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return status;
}

/* ---- starting ---- */

static dm_status open_stream(int *fd, const dm_stage *s, const char *name, int flags, dm_error *err)
{
    dm_path path;
    const dm_status status = dm_path_in(&path, s->dir, name, err);

    if (status != DM_OK)
        return status;
    *fd = dm_open(path.text, O_WRONLY | O_CREAT | O_NOFOLLOW | flags);
    return *fd >= 0 ? DM_OK : dm_fail(err, DM_ERR_FILE, "%s: cannot write: %s", path.text, strerror(errno));
}

static dm_status prepare(const schedule *x, const dm_stage *s, streams *to)
{
    dm_status status = DM_OK;

    if (!s->resumable && dm_dir_exists(s->dir))
        status = dm_dir_remove(s->dir, x->err);
    if (status == DM_OK && (status = dm_dir_create(s->dir, x->err)) == DM_OK &&
        (status = open_stream(&to->log, s, DM_STAGE_LOG, O_APPEND, x->err)) == DM_OK)
        status = open_stream(&to->result, s, DM_STAGE_STDOUT, O_TRUNC, x->err);
    return status;
}

static void close_streams(const streams *to)
{
    if (to->log >= 0)
        close(to->log);
    if (to->result >= 0)
        close(to->result);
}

static int tell(schedule *x, dm_schedule_event_kind kind, const dm_stage *stage, const char *text)
{
    const dm_schedule_event e = {kind, stage, text, x->done, x->total, x->running, x->failed, dm_seconds() - x->start};
    return x->fn ? x->fn(x->context, &e) : 0;
}

static dm_status start(schedule *x, job *j, size_t index)
{
    dm_stage *s = &x->plan->stage[index];
    const pid_t parent = getpid();
    streams to = {-1, -1};
    const dm_status status = prepare(x, s, &to);

    fflush(NULL); /* the child would print it again */
    const pid_t pid = status == DM_OK ? fork() : -1;
    if (pid == 0) {
        setpgid(0, 0); /* Ctrl-C reaches the experiment alone, and it passes it on */
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
#ifdef __linux__
        prctl(PR_SET_PDEATHSIG, SIGTERM);
#endif
        const int code = getppid() == parent ? run_child(x, s, &to) : 1;
        fflush(NULL);
        _exit(code);
    }
    close_streams(&to);
    if (status != DM_OK)
        return status;
    if (pid < 0)
        return dm_fail(x->err, DM_ERR_MEMORY, "cannot start a process for the stage %s: %s", s->name, strerror(errno));
    *j = (job){pid, index};
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

    for (size_t i = 0; i < x->plan->stages; i++) {
        dm_stage *s = &x->plan->stage[i];
        if (s->state != DM_STAGE_WAITING)
            continue;
        const dm_stage_state inputs = inputs_of(x->plan, s);
        if (inputs == DM_STAGE_FAILED)
            s->state = DM_STAGE_LEFT_OUT;
        else if (inputs == DM_STAGE_DONE && (best == DM_STAGE_NONE || x->height[i] > x->height[best]))
            best = i;
    }
    return best;
}

static dm_status start_ready(schedule *x)
{
    while (x->running < x->options->jobs) {
        const size_t next = choose(x);
        size_t k = 0;
        if (next == DM_STAGE_NONE)
            break;
        while (x->job[k].pid)
            k++;
        const dm_status status = start(x, &x->job[k], next);
        if (status != DM_OK)
            return status;
    }
    return DM_OK;
}

static void measure_heights(schedule *x)
{
    for (size_t i = x->plan->stages; i-- > 0;) /* inputs come first */
        for (size_t a = 0; a < x->plan->stage[i].args; a++) {
            const dm_stage_arg *arg = &x->plan->stage[i].arg[a];
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

static void report_failure(schedule *x, const dm_stage *s, int status)
{
    dm_path path;
    char line[600], how[64];
    dm_error text;

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

static void ended(schedule *x, job *j, int status)
{
    dm_stage *s = &x->plan->stage[j->stage];

    j->pid = 0;
    x->running--;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        s->state = DM_STAGE_DONE;
        read_seconds(s);
        x->done++;
        tell(x, DM_SCHEDULE_DONE, s, NULL);
    } else if (x->stopping) {
        s->state = DM_STAGE_WAITING;
    } else {
        s->state = DM_STAGE_FAILED;
        x->failed++;
        report_failure(x, s, status);
    }
}

/* True when a stage ended. */
static bool look(schedule *x)
{
    bool any = false;
    for (unsigned k = 0; k < x->options->jobs; k++) {
        int status;
        if (x->job[k].pid && waitpid(x->job[k].pid, &status, WNOHANG) == x->job[k].pid) {
            ended(x, &x->job[k], status);
            any = true;
        }
    }
    return any;
}

static void stop(schedule *x)
{
    x->stopping = true;
    for (unsigned k = 0; k < x->options->jobs; k++)
        if (x->job[k].pid)
            kill(x->job[k].pid, SIGTERM);
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
        if (look(x)) {
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

static dm_status open_lock(schedule *x)
{
    dm_path path;
    dm_status s = dm_path_in(&path, x->plan->output, DM_STAGE_CACHE, x->err);
    if (s == DM_OK && (s = dm_dir_create(path.text, x->err)) == DM_OK)
        s = dm_path_in(&path, x->plan->output, "lock", x->err);
    if (s != DM_OK)
        return s;
    x->lock = dm_open(path.text, O_RDWR | O_CREAT | O_NOFOLLOW);
    if (x->lock < 0)
        return dm_fail(x->err, DM_ERR_FILE, "%s: cannot open: %s", path.text, strerror(errno));
    if (!take_lock(x->lock, 0, F_SETLK))
        return dm_fail(x->err, DM_ERR_FILE, "%s: another dmpo experiment is running in this directory",
                       x->plan->output);
    return DM_OK;
}

dm_status dm_schedule_run(dm_experiment_plan *plan, const dm_experiment_commands *commands,
                          const dm_schedule_options *options, dm_schedule_fn fn, void *context, dm_error *err)
{
    schedule x = {plan, commands, options, fn, context, err, .lock = -1, .start = dm_seconds()};

    for (size_t i = 0; i < plan->stages; i++) {
        x.total += plan->stage[i].state != DM_STAGE_LEFT_OUT;
        x.done += plan->stage[i].state == DM_STAGE_DONE;
    }
    dm_status s = open_lock(&x);
    x.job = calloc(options->jobs, sizeof *x.job);
    x.height = calloc(plan->stages + 1, sizeof *x.height);
    if (s == DM_OK && (!x.job || !x.height))
        s = dm_fail(err, DM_ERR_MEMORY, "no memory for %zu stages", plan->stages);
    for (size_t i = 0; s == DM_OK && i < plan->stages;
         i++) /* of those that were killed between their record and this */
        if (plan->stage[i].state == DM_STAGE_DONE)
            s = drop_checkpoint(&plan->stage[i], err);
    if (s == DM_OK) {
        measure_heights(&x);
        s = run(&x);
    }
    free(x.job);
    free(x.height);
    if (x.lock >= 0)
        close(x.lock);
    return s;
}
