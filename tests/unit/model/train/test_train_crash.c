/* A run that is killed, or whose disk fails, at every single system call that changes a file.
 *
 * The library's calls are counted on their way to the system: this program defines write, fsync, rename, mkdir,
 * unlinkat and ftruncate itself. Each round begins with the same directory, a run stopped after its second
 * step. A child resumes it, writes two more checkpoints and the finished model, and is killed (SIGKILL) before
 * call number k, in the middle of a write too; k goes from 1 until nothing is left to kill. Then a new run resumes and
 * must end in the bits of a run that was never interrupted. Then the same with call k, and with call k and all
 * after it, failing as on a full disk instead. And a checkpoint.old from which nothing can be removed: the run goes on
 * without. */
#define _DEFAULT_SOURCE /* syscall */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/files/file.h"
#include "dmpo.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

typedef enum disaster { NOTHING, KILL, FAIL_ONCE, FULL, STUCK } disaster;

static struct {
    disaster what;
    long at, calls; /* counted from 1 */
} plan;

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* True when this call shall fail; does not return when this process shall die before it. */
static int strikes(void)
{
    if (plan.what == NOTHING || plan.what == STUCK || ++plan.calls < plan.at ||
        (plan.what == FAIL_ONCE && plan.calls > plan.at))
        return 0;
    if (plan.what == KILL)
        die();
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (plan.what == KILL && plan.calls + 1 == plan.at && size > 1) /* half of it arrives */
        syscall(SYS_write, fd, data, size / 2);
    return strikes() ? -1 : (ssize_t)syscall(SYS_write, fd, data, size);
}

int fsync(int fd) /* a killed process loses nothing that it wrote: no need to wait for the disk here */
{
    (void)fd;
    return strikes() ? -1 : 0;
}

int rename(const char *from, const char *to)
{
    return strikes() ? -1 : renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int mkdir(const char *path, mode_t mode)
{
    return strikes() ? -1 : mkdirat(AT_FDCWD, path, mode);
}

int ftruncate(int fd, off_t size)
{
    return strikes() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

/* Removing works on a full disk. */
int unlinkat(int fd, const char *path, int flags)
{
    struct stat dir, old;
    if (plan.what == KILL)
        strikes();
    if (plan.what == STUCK && fstat(fd, &dir) == 0 && stat(at("run/checkpoint.old"), &old) == 0 &&
        dir.st_ino == old.st_ino) {
        errno = EACCES;
        return -1;
    }
    return (int)syscall(SYS_unlinkat, fd, path, flags);
}

/* ---- the run ---- */

static dm_train_options options(const char *output)
{
    dm_train_options o;
    dm_train_defaults(&o, DM_OBJECTIVE_DMPO);
    o.model = at("model");
    o.data = at("pairs.jsonl");
    o.eval_data = at("eval.jsonl");
    o.output = output;
    o.lr = 1e-2;
    o.batch = 2;
    o.steps = 4;
    o.eval_every = 3;
    o.checkpoint_every = 1;
    return o;
}

static int stop_after_two(void *context, const dmpo_event *event)
{
    (void)context;
    return event->kind == DMPO_EVENT_STEP && event->done == 2;
}

static int note_resumed(void *context, const dmpo_event *event)
{
    long long *step = context;
    if (event->kind == DMPO_EVENT_NOTE)
        sscanf(event->text, "resumed after step %lld", step);
    return 0;
}

static void resume(outcome *out, void *context)
{
    const disaster what = plan.what;
    dm_train_options o = options(at("run"));
    dmpo_engine *engine = NULL;
    dmpo_error error = {0};

    (void)context;
    o.resume = 1;
    plan.what = NOTHING;
    out->status = dmpo_engine_open(&engine, NULL, 1, &error);
    plan.what = what;
    plan.calls = 0;
    if (out->status == DMPO_OK)
        out->status = dm_train(engine, &o, NULL, NULL, &out->result, &error);
    plan.what = NOTHING;
    out->struck = plan.calls >= plan.at;
    dmpo_engine_close(&engine);
    memcpy(out->message, error.message, sizeof out->message);
}

/* ---- directories ---- */

static void copy_tree(const char *from, const char *to)
{
    DIR *dir = opendir(from);
    const struct dirent *entry;
    CK(dm_dir_create(to, NULL) == DM_OK && dir != NULL);
    while (dir && (entry = readdir(dir)) != NULL) {
        char a[PATH], b[PATH], *data;
        size_t size;
        if (entry->d_name[0] == '.')
            continue;
        join(a, from, entry->d_name);
        join(b, to, entry->d_name);
        if (dm_dir_exists(a)) {
            copy_tree(a, b);
            continue;
        }
        FILE *f = fopen(b, "w");
        CK(dm_file_read(a, (size_t)1 << 30, &data, &size, NULL) == DM_OK && f && fwrite(data, 1, size, f) == size &&
           fclose(f) == 0);
        free(data);
    }
    if (dir)
        closedir(dir);
}

/* A file or directory below `dir` that is only half of something; "" when there is none. */
static void find_leftover(const char *dir, char found[PATH])
{
    DIR *d = opendir(dir);
    const struct dirent *entry;
    while (d && (entry = readdir(d)) != NULL) {
        char path[PATH];
        if (entry->d_name[0] == '.')
            continue;
        join(path, dir, entry->d_name);
        if (strstr(entry->d_name, ".tmp-") || strcmp(entry->d_name, "checkpoint.new") == 0)
            memcpy(found, path, PATH);
        else if (dm_dir_exists(path))
            find_leftover(path, found);
    }
    if (d)
        closedir(d);
}

/* ---- rounds ---- */

/* The run is resumed from what round k left, and its result is the undisturbed one's. */
static void recover(long k, const char *what)
{
    char text[64];
    long long from = -1;
    dm_train_options o = options(at("run"));
    snprintf(text, sizeof text, "%s at call %ld", what, k);
    o.resume = 1;
    const outcome got = train(&o, NULL, 1, note_resumed, &from);
    CK_MSG(got.status == DMPO_OK, "%s: %s", text, got.message);
    CK_MSG(from >= 2, "%s: resumed after step %lld, the checkpoint of step 2 is lost", text, from);
    check_same_run(at("base"), at("run"), text);
    CK_MSG(!dm_dir_exists(at("run/checkpoint.new")) && !dm_dir_exists(at("run/checkpoint.old")), "%s: left over", text);
    dm_dir_remove(at("run"), NULL);
}

static void kills(long stride)
{
    long k = 1, killed = 0, inside = 0;
    for (;; k += stride) {
        copy_tree(at("stopped"), at("run"));
        plan.what = KILL;
        plan.at = k;
        const outcome got = in_child(resume, NULL);
        plan.what = NOTHING;
        if (got.signal == 0) {
            CK_MSG(got.status == DMPO_OK, "not killed, but: %s", got.message);
            dm_dir_remove(at("run"), NULL);
            break;
        }
        CK_MSG(got.signal == SIGKILL, "ended by signal %d", got.signal);
        killed++;
        inside += dm_dir_exists(at("run/checkpoint.new"));
        recover(k, "killed");
    }
    CK_MSG(killed * stride > 50, "only %ld calls", killed * stride);
    CK_MSG(inside * stride > 20, "only %ld of them while a checkpoint was written", inside * stride);
}

static void failures(disaster what, const char *name, long stride)
{
    long k = 1;
    for (;; k += stride) {
        char leftover[PATH] = "";
        copy_tree(at("stopped"), at("run"));
        plan.what = what;
        plan.at = k;
        const outcome got = in_child(resume, NULL);
        plan.what = NOTHING;
        CK_MSG(got.signal == 0, "%s at call %ld: signal %d", name, k, got.signal);
        if (!got.struck)
            break;
        CK_MSG(got.status == DMPO_ERR_FILE && strstr(got.message, strerror(ENOSPC)), "%s at call %ld: %d %s", name, k,
               got.status, got.message);
        find_leftover(at("run"), leftover);
        CK_MSG(!leftover[0], "%s at call %ld: %s is left", name, k, leftover);
        recover(k, name);
    }
    CK_MSG(k > 50, "only %ld calls", k);
    dm_dir_remove(at("run"), NULL);
}

static int count_stuck(void *context, const dmpo_event *event)
{
    long *notes = context;
    *notes += event->kind == DMPO_EVENT_NOTE && strncmp(event->text, "an old checkpoint stays: ", 25) == 0;
    return 0;
}

static void stuck(void)
{
    long notes = 0;
    dm_train_options o = options(at("run"));

    copy_tree(at("stopped"), at("run"));
    CK(dm_dir_exists(at("run/checkpoint.old")));
    o.resume = 1;
    plan.what = STUCK;
    const outcome got = train(&o, NULL, 1, count_stuck, &notes);
    plan.what = NOTHING;
    CK_MSG(got.status == DMPO_OK, "%s", got.message);
    CK_MSG(notes == 3, "%ld of 3 times: two checkpoints, the end", notes);
    CK(dm_file_exists(at("run/checkpoint.old/state.json")) && !dm_dir_exists(at("run/checkpoint.new")));
    check_same_run(at("base"), at("run"), "with a checkpoint.old that cannot be removed");
    dm_dir_remove(at("run"), NULL);
}

int main(void)
{
    if (CK_SANITIZED) {
        ck_skip("a sanitizer stands between this program and its system calls");
        return ck_done("train_crash");
    }
    work_open();
    make_model(at("model"), &small_shape);
    make_pairs(at("pairs.jsonl"), 1, 6, 4, 2, VOCAB, -1);
    make_pairs(at("eval.jsonl"), 2, 3, 4, 2, VOCAB, -1);

    dm_train_options o = options(at("base"));
    outcome got = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == DMPO_OK, "%s", got.message);
    o = options(at("stopped"));
    got = train(&o, NULL, 1, stop_after_two, NULL);
    CK_MSG(got.status == DMPO_ERR_INTERRUPTED, "%s", got.message);

    kills(fast() ? 5 : 1);
    failures(FULL, "full", fast() ? 5 : 1);
    failures(FAIL_ONCE, "failing", fast() ? 5 : 1);
    stuck();
    work_close();
    return ck_done("train_crash");
}
