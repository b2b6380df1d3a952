/* Disturbs one command at every call: driver SHIM NAME STRIDE [first] [stages] [measures] -- COMMAND ARGS...
 *
 * The working directory holds `in`, which the command only reads (as ../in). Each trial has a new directory `out`,
 * where the command runs with the shim and one call of it fails (or dies there). Then:
 *   status 0: files and standard output are the undisturbed run's;
 *   else: one line on standard error, no signal, nothing half-written left but what it says it cannot remove;
 *   and the same command once more, undisturbed, ends in the undisturbed files, or says that they are there already,
 *   and leaves nothing half-written. SIGTERM may end the command, or it says in any number of lines how to go on.
 * STRIDE: every STRIDE-th call (1: every one); 3, 3+1 and 3+2 together are every one, too.
 * first: only the calls of the first process, not of those it starts.
 * stages: the command runs others, whose failures it lists, a line each, and whose logs say what every try did.
 *
 * Files that tell times and memory, and with `measures` what the command prints, are compared without their numbers. */
#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"

enum { PATH_ROOM = 512, FILES = 512, SECONDS = 60 };

static faults_page *page;
static const char *shim;
static char *const *command;
static char page_path[PATH_ROOM];
static long trials, mended, failures, offset;

static _Noreturn void broken(const char *what)
{
    fprintf(stderr, "faults: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* ---- what a run leaves ---- */

typedef struct file {
    char name[PATH_ROOM];
    unsigned long long exact, masked; /* hashes: of all bytes; without what numbers and hashes have */
} file;

typedef struct outcome {
    int status; /* as of waitpid */
    file files[FILES];
    int n_files;
    int half, scratch; /* names of something half-written; of a directory that the next run removes */
    char half_name[PATH_ROOM];
    file out; /* standard output */
    char message[4096];
    int lines; /* of standard error */
} outcome;

static void hash_file(const char *path, file *f)
{
    static unsigned char data[1 << 16];
    size_t n;
    const int reused = strstr(path, "results.json") != NULL; /* true or false, by what was done before */
    FILE *in = fopen(path, "rb");
    f->exact = f->masked = 14695981039346656037ULL;
    if (!in)
        broken(path);
    while ((n = fread(data, 1, sizeof data, in)) > 0)
        for (size_t i = 0; i < n; i++) {
            f->exact = (f->exact ^ data[i]) * 1099511628211ULL;
            if (!data[i] || !strchr(reused ? "0123456789abcdef.+- trulse" : "0123456789abcdef.+- ", data[i]))
                f->masked = (f->masked ^ data[i]) * 1099511628211ULL;
        }
    fclose(in);
}

static outcome *seen; /* for the callbacks of nftw */

static int add_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)at;
    if (strstr(path, ".tmp-") || strstr(path, "checkpoint.new")) {
        seen->half++;
        snprintf(seen->half_name, PATH_ROOM, "%s", path);
    }
    seen->scratch += strstr(path, "dmpo-scratch-") != NULL;
    if (type != FTW_F || strstr(path, "checkpoint.old") ||
        strstr(path, "dmpo-scratch-")) /* what cannot be removed stays */
        return 0;
    if (seen->n_files == FILES)
        broken("too many files");
    file *f = &seen->files[seen->n_files++];
    snprintf(f->name, PATH_ROOM, "%s", path);
    hash_file(path, f);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const file *)a)->name, ((const file *)b)->name);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void empty_out(void)
{
    if (nftw("out", remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        broken("out");
    if (mkdir("out", 0777) != 0)
        broken("out");
}

/* Runs the command in `out`. One that takes longer than a minute is killed. */
static void run(outcome *o)
{
    page->calls = 0;
    page->struck = 0;
    page->first = 0;
    memset(o, 0, sizeof *o);
    const pid_t pid = fork();
    if (pid < 0)
        broken("fork");
    if (pid == 0) {
        const int in = open("in/said", O_RDONLY), out = open("stdout", O_WRONLY | O_CREAT | O_TRUNC, 0666),
                  err = open("stderr", O_WRONLY | O_CREAT | O_TRUNC, 0666);
        setpgid(0, 0);
        if (in < 0 || out < 0 || err < 0 || chdir("out") != 0)
            _exit(125);
        dup2(in, 0);
        dup2(out, 1);
        dup2(err, 2);
        setenv("LD_PRELOAD", shim, 1);
        setenv("FAULTS_PAGE", page_path, 1);
        execv(command[0], command);
        _exit(126);
    }
    sigset_t child;
    siginfo_t info;
    const struct timespec limit = {.tv_sec = SECONDS};
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while (waitpid(pid, &o->status, WNOHANG) == 0)
        if (sigtimedwait(&child, &info, &limit) < 0 && errno == EAGAIN) {
            kill(-pid, SIGKILL);
            waitpid(pid, &o->status, 0);
            o->status = -1;
            break;
        }
    if (page->action == FAULTS_KILL)
        kill(-pid, SIGKILL); /* what a power cut would end, too */
    page->action = FAULTS_COUNT;
    seen = o;
    if (nftw("out", add_file, 16, FTW_PHYS) != 0)
        broken("out");
    qsort(o->files, (size_t)o->n_files, sizeof *o->files, by_name);
    hash_file("stdout", &o->out);
    FILE *f = fopen("stderr", "r");
    const size_t n = f ? fread(o->message, 1, sizeof o->message - 1, f) : 0;
    if (f)
        fclose(f);
    for (size_t i = 0; i < n; i++)
        o->lines += o->message[i] == '\n';
}

/* ---- judgement ---- */

static outcome base;
static int measures, stages, signalled; /* the last: by SIGTERM in this trial, which a stage's log says */

/* Times, memory, and hashes of files that have them. */
static int varies(const char *path)
{
    static const char *const names[] = {"state.json",  "run.json",  "metrics.jsonl", "results.json", "stage.json",
                                        "results.csv", "report.md", "report.html",   "result",       "log"};
    const char *slash = strrchr(path, '/');
    for (size_t i = 0; slash && i < sizeof names / sizeof *names; i++)
        if (strcmp(slash + 1, names[i]) == 0)
            return 1;
    return 0;
}

static int same(const file *a, const file *b, int masked)
{
    return masked ? a->masked == b->masked : a->exact == b->exact;
}

/* The name of a file that is not as in the undisturbed runs; NULL: none. again: of a run that went on where one had
 * ended, so that what it prints, and what its stages print, is of the rest. */
static const char *differs(const outcome *o, int again)
{
    int i = 0;
    for (int k = 0; k < base.n_files || i < o->n_files; k++, i++) {
        if (k == base.n_files || i == o->n_files || strcmp(o->files[i].name, base.files[k].name) != 0)
            return i < o->n_files ? o->files[i].name : base.files[k].name;
        const char *leaf = strrchr(base.files[k].name, '/');
        if ((stages || signalled) && leaf && (strcmp(leaf, "/log") == 0 || (again && strcmp(leaf, "/result") == 0)))
            continue;
        if (!same(&base.files[k], &o->files[i], varies(base.files[k].name)))
            return base.files[k].name;
    }
    return !again && !same(&base.out, &o->out, measures) ? "standard output" : NULL;
}

static const char *name;

static void fail(const char *how, long n, const char *what, const outcome *o)
{
    failures++;
    printf("failed: %s: %s at call %ld: %s; status %d: %.300s%s", name, how, n, what,
           WIFEXITED(o->status) ? WEXITSTATUS(o->status) : -WTERMSIG(o->status), o->message, o->lines ? "" : "\n");
}

/* What is left is what could not be removed, and named. */
static int cannot_remove(const outcome *o)
{
    return o->half == 1 && strstr(o->message, strrchr(o->half_name, '/')) && strstr(o->message, "cannot remove");
}

/* After a run that failed or died: the same command ends in the undisturbed files. */
static void recover(const char *how, long n)
{
    static outcome o;
    char what[2 * PATH_ROOM];
    run(&o);
    const int there = WIFEXITED(o.status) && WEXITSTATUS(o.status) == 1 && strstr(o.message, "already");
    const char *other = differs(&o, 1);
    if (o.status != 0 && !there)
        fail(how, n, "the next run fails", &o);
    else if (o.half || o.scratch) {
        snprintf(what, sizeof what, "%s is left by the next run", o.half ? o.half_name : "dmpo-scratch-");
        fail(how, n, what, &o);
    } else if (other) {
        snprintf(what, sizeof what, "the next run leaves another %s", other);
        fail(how, n, what, &o);
    } else
        mended++;
}

static int trial(int kinds, faults_action action, int error, const char *how, long n)
{
    static outcome o;
    char what[2 * PATH_ROOM];

    empty_out();
    page->kinds = kinds;
    page->action = action;
    page->error = error;
    page->at = n;
    signalled = action == FAULTS_SIGNAL;
    run(&o);
    if (!page->struck)
        return 0;
    trials++;
    const char *other;
    if (o.status == 0) {
        if ((other = differs(&o, 0)) != NULL) {
            snprintf(what, sizeof what, "status 0 with another %s", other);
            fail(how, n, what, &o);
        }
        return 1;
    }
    if (action == FAULTS_SIGNAL) { /* it ends the command, or the command says how to go on */
        if (o.half) {
            snprintf(what, sizeof what, "%s is left", o.half_name);
            fail(how, n, what, &o);
        } else if (WIFEXITED(o.status) ? o.lines < 1 : WTERMSIG(o.status) != SIGTERM)
            fail(how, n, "ended otherwise", &o);
    } else if (action != FAULTS_KILL || WIFEXITED(o.status)) {
        if (!WIFEXITED(o.status))
            fail(how, n, "a signal ended it, or a minute passed", &o);
        else if (stages ? o.lines < 1 : o.lines != 1)
            fail(how, n, "not one line", &o);
        else if (action == FAULTS_SHORT || error == EINTR)
            fail(how, n, "that is no failure", &o);
        else if (o.half && action != FAULTS_ALL && action != FAULTS_KILL && !cannot_remove(&o)) {
            snprintf(what, sizeof what, "%s is left", o.half_name);
            fail(how, n, what, &o);
        }
    }
    recover(how, n);
    return 1;
}

static long sweep(int kinds, faults_action action, int error, const char *how, long stride)
{
    long n = 1 + (long)(error + 7 * action + offset) % stride;
    const long before = trials;
    while (failures < 40 && trial(kinds, action, error, how, n))
        n += stride;
    return trials - before;
}

int main(int argc, char **argv)
{
    int i = 4;
    if (argc < 6)
        return 2;
    shim = argv[1];
    name = argv[2];
    char *rest;
    const long stride = strtol(argv[3], &rest, 10);
    offset = strtol(rest, NULL, 10); /* with its sign, or 0 where nothing is left */
    const int first_only = strcmp(argv[i], "first") == 0;
    i += first_only;
    stages = strcmp(argv[i], "stages") == 0;
    i += stages;
    measures = strcmp(argv[i], "measures") == 0;
    i += measures;
    if (stride < 1 || strcmp(argv[i], "--") != 0)
        return 2;
    command = argv + i + 1;

    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    if (!getcwd(page_path, sizeof page_path - 8))
        broken("here");
    strcat(page_path, "/page");
    const int fd = open(page_path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || ftruncate(fd, sizeof *page) != 0)
        broken(page_path);
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        broken(page_path);
    page->first_only = first_only;

    page->kinds = FAULTS_FILE | FAULTS_PROCESS | FAULTS_MEMORY;
    empty_out();
    run(&base);
    static outcome again;
    const long calls = page->calls;
    empty_out();
    run(&again);
    if (base.status != 0 || again.status != 0 || differs(&again, 0)) {
        printf("failed: %s: undisturbed: status %d, %s differs, %s\n", name, base.status, differs(&again, 0),
               base.message);
        return 1;
    }
    if (calls < 10) {
        printf("failed: %s: the shim counts %ld calls\n", name, calls);
        return 1;
    }
    const int system = FAULTS_FILE | FAULTS_PROCESS;
    long n[10] = {0};
    n[0] = sweep(FAULTS_FILE, FAULTS_ONCE, ENOSPC, "ENOSPC", stride);
    n[1] = sweep(FAULTS_FILE, FAULTS_ONCE, EIO, "EIO", stride);
    n[2] = sweep(FAULTS_FILE, FAULTS_ONCE, EROFS, "EROFS", stride);
    n[3] = sweep(system, FAULTS_ONCE, EINTR, "EINTR", stride);
    n[4] = sweep(FAULTS_FILE, FAULTS_SHORT, 0, "half of it", stride);
    n[5] = sweep(system, FAULTS_ALL, EIO, "EIO from there on", stride);
    n[6] = sweep(FAULTS_PROCESS, FAULTS_ONCE, EAGAIN, "EAGAIN", stride);
    n[7] = sweep(FAULTS_MEMORY, FAULTS_ONCE, ENOMEM, "ENOMEM", stride);
    n[7] += sweep(FAULTS_MEMORY, FAULTS_ALL, ENOMEM, "ENOMEM from there on", stride);
    n[8] = sweep(system, FAULTS_KILL, 0, "killed", stride);
    n[9] = sweep(system, FAULTS_SIGNAL, 0, "SIGTERM", stride);
    printf("%s: %ld calls; file %ld + %ld + %ld, interrupted %ld, short %ld, all after %ld, process %ld, memory %ld, "
           "killed %ld, SIGTERM %ld; %ld recovered; %ld trials, %ld failed\n",
           name, calls, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], mended, trials, failures);
    return failures != 0;
}
