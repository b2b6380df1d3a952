#include "agent/env/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/env/pipes.h"
#include "agent/env/watcher.h"
#include "core/files/file.h"
#include "core/system.h"

extern char **environ;

/* Seconds that a child has to end by itself: after its standard input is closed, after SIGTERM, and after it closed its
 * standard output, which is usually a part of ending. */
#define GRACE_CLOSED 2.0
#define GRACE_TERM 1.0
#define GRACE_SILENT 0.25

#define WAIT_LONGEST 200 /* milliseconds: a signal may interrupt another thread than the one that waits */

/* ---- all of them, for signal handlers ---- */

#define CHILDREN 512

static atomic_int interrupted;
static atomic_long running[CHILDREN]; /* process numbers; 0: free. More than fit are not remembered */

static void remember(pid_t pid)
{
    for (int i = 0; i < CHILDREN; i++) {
        long free_place = 0;
        if (atomic_compare_exchange_strong(&running[i], &free_place, (long)pid))
            return;
    }
}

static void forget(pid_t pid)
{
    for (int i = 0; i < CHILDREN; i++) {
        long its_place = (long)pid;
        if (atomic_compare_exchange_strong(&running[i], &its_place, 0))
            return;
    }
}

void dm_child_interrupt(void)
{
    interrupted = 1;
}

void dm_child_kill_all(void)
{
    for (int i = 0; i < CHILDREN; i++)
        if (running[i] > 0)
            kill(-(pid_t)running[i], SIGKILL);
}

/* ---- its beginning ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The signals that we ignore or block are the child's as they are by default. */
static int plain_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, usual;

    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGTERM);
    sigaddset(&usual, SIGHUP);
    sigaddset(&usual, SIGXFSZ);
    int e = posix_spawnattr_setsigmask(attributes, &none);
    if (!e)
        e = posix_spawnattr_setsigdefault(attributes, &usual);
    if (!e)
        e = posix_spawnattr_setpgroup(attributes, 0);
    if (!e)
        e = posix_spawnattr_setflags(attributes,
                                     POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    return e;
}

/* Our environment variables and one more; NULL: no memory. */
static char **with_entry(char *entry)
{
    size_t n = 0;
    while (environ[n])
        n++;
    char **all = malloc((n + 2) * sizeof *all);
    if (!all)
        return NULL;
    memcpy(all, environ, n * sizeof *all);
    all[n] = entry;
    all[n + 1] = NULL;
    return all;
}

static int spawn(pid_t *pid, const char *command, char *mark, int in, int out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    char *text = strdup(command), **variables = with_entry(mark);

    if (!text || !variables) {
        free(text);
        free(variables);
        return ENOMEM;
    }
    char *const argv[] = {(char[]){"sh"}, (char[]){"-c"}, text, NULL};
    int e = posix_spawn_file_actions_init(&files);
    if (!e) {
        e = posix_spawnattr_init(&attributes);
        if (!e) {
            e = plain_signals(&attributes);
            if (!e)
                e = posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
            if (!e)
                e = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
            if (!e)
                e = posix_spawn(pid, "/bin/sh", &files, &attributes, argv, variables);
            posix_spawnattr_destroy(&attributes);
        }
        posix_spawn_file_actions_destroy(&files);
    }
    free(text);
    free(variables);
    return e;
}

/* One at a time, so that no child is made while another's pipe is not yet close-on-exec. */
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static int start(dm_child *c, const char *command)
{
    int in[2], out[2] = {-1, -1};

    pthread_mutex_lock(&one_at_a_time);
    int e = dm_pipe_open(in);
    if (!e)
        e = dm_pipe_open(out);
    if (!e && (fcntl(in[1], F_SETFL, O_NONBLOCK) != 0 || fcntl(out[0], F_SETFL, O_NONBLOCK) != 0))
        e = errno;
    if (!e && (e = dm_watcher_expect(c->mark)) == 0) {
        e = spawn(&c->pid, command, c->mark, in[0], out[1]);
        dm_watcher_add(e ? 0 : c->pid);
    }
    close_fd(&in[0]);
    close_fd(&out[1]);
    if (e) {
        close_fd(&in[1]);
        close_fd(&out[0]);
        c->pid = 0;
    } else {
        c->in = in[1];
        c->out = out[0];
        remember(c->pid);
    }
    pthread_mutex_unlock(&one_at_a_time);
    return e;
}

dm_status dm_child_start(dm_child *c, const char *command, dm_error *err)
{
    if (!c->data && !(c->data = malloc(DM_CHILD_LINE)))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the answers of a process");
    c->size = 0;
    const int e = start(c, command);
    if (e)
        return dm_fail(err, DM_ERR_FILE, "/bin/sh cannot be started: %s", strerror(e));
    return DM_OK;
}

/* ---- its end ---- */

/* True when the child has ended; it is not reaped, so that its number stays its own. */
static int ended(const dm_child *c, siginfo_t *info)
{
    memset(info, 0, sizeof *info);
    if (waitid(P_PID, (id_t)c->pid, info, WEXITED | WNOHANG | WNOWAIT) != 0)
        return errno != EINTR; /* another thread or handler has reaped it */
    return info->si_pid == c->pid;
}

static int ends_within(const dm_child *c, double seconds, siginfo_t *info)
{
    const double deadline = dm_seconds() + seconds;
    struct timespec pause = {.tv_nsec = 500000};

    while (!ended(c, info)) {
        if (dm_seconds() >= deadline)
            return 0;
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < 32000000)
            pause.tv_nsec *= 2;
    }
    return 1;
}

void dm_child_stop(dm_child *c, bool at_once)
{
    siginfo_t info;

    if (c->pid) {
        close_fd(&c->in);
        close_fd(&c->out);
        if (!at_once && !interrupted && !ends_within(c, GRACE_CLOSED, &info)) {
            kill(-c->pid, SIGTERM);
            ends_within(c, GRACE_TERM, &info);
        }
        kill(-c->pid, SIGKILL); /* and what it has left running */
        dm_watcher_kill_marked(c->mark);
        pthread_mutex_lock(&one_at_a_time);
        dm_watcher_drop(c->pid);
        pthread_mutex_unlock(&one_at_a_time);
        forget(c->pid);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    free(c->data);
    *c = (dm_child){0};
}

/* It has closed its standard output: why? */
static dm_status over(const dm_child *c, dm_error *err)
{
    siginfo_t info;

    if (!ends_within(c, GRACE_SILENT, &info))
        return dm_fail(err, DM_ERR_FILE, "it closed its standard output but did not end");
    if (info.si_code != CLD_EXITED)
        return dm_fail(err, DM_ERR_FILE, "it was killed by signal %d", info.si_status);
    return dm_fail(err, DM_ERR_FILE, "it ended with status %d%s", info.si_status,
                   info.si_status == 127   ? " (sh: not found)"
                   : info.si_status == 126 ? " (sh: not executable)"
                                           : "");
}

/* ---- a question and its answer ---- */

static int transient(int e)
{
    return e == EINTR || e == EAGAIN || e == EWOULDBLOCK;
}

/* Adds what is there to read. *end: there will be no more. */
static dm_status receive(dm_child *c, int *end, dm_error *err)
{
    const ssize_t n = read(c->out, c->data + c->size, DM_CHILD_LINE - c->size);

    *end = n == 0;
    if (n < 0 && !transient(errno))
        return dm_fail(err, DM_ERR_FILE, "its standard output cannot be read: %s", strerror(errno));
    if (n > 0)
        c->size += (size_t)n;
    return DM_OK;
}

/* Sends what the pipe takes. A reader that is gone is no error yet: an answer may be on its way. */
static dm_status transmit(dm_child *c, const char *request, size_t size, size_t *sent, dm_error *err)
{
    const ssize_t n = dm_pipe_write(c->in, request + *sent, size - *sent);

    if (n > 0)
        *sent += (size_t)n;
    else if (n < 0 && errno == EPIPE)
        *sent = size;
    else if (n < 0 && !transient(errno))
        return dm_fail(err, DM_ERR_FILE, "its standard input cannot be written: %s", strerror(errno));
    return DM_OK;
}

static int milliseconds_until(double deadline)
{
    const double left = (deadline - dm_seconds()) * 1000;

    return left <= 0 ? 0 : left >= WAIT_LONGEST ? WAIT_LONGEST : (int)left + 1;
}

/* The beginning of what it said, for a message. */
static const char *excerpt(dm_child *c)
{
    c->data[c->size < 80 ? c->size : 80] = '\0';
    return c->data;
}

/* What it says before it is asked. */
static dm_status silent_so_far(dm_child *c, dm_error *err)
{
    int end = 0;

    c->size = 0;
    const dm_status s = receive(c, &end, err);
    if (s != DM_OK || c->size == 0)
        return s != DM_OK || !end ? s : over(c, err);
    return dm_fail(err, DM_ERR_INPUT, "it speaks without being asked: '%s'", excerpt(c));
}

dm_status dm_child_ask(dm_child *c, const char *request, size_t size, double seconds, const char **line, size_t *length,
                       dm_error *err)
{
    const double deadline = dm_seconds() + seconds;
    size_t sent = 0;
    dm_status s = silent_so_far(c, err);

    while (s == DM_OK) {
        struct pollfd fds[] = {{.fd = c->out, .events = POLLIN}, {.fd = c->in, .events = POLLOUT}};
        const int ready = poll(fds, sent < size ? 2 : 1, milliseconds_until(deadline));
        if (ready < 0 && errno != EINTR)
            return dm_fail(err, DM_ERR_FILE, "poll failed: %s", strerror(errno));
        if (interrupted)
            return dm_fail(err, DM_ERR_INTERRUPTED, "stopped while it was waited for");
        if (ready <= 0) {
            if (dm_seconds() >= deadline)
                return dm_fail(err, DM_ERR_FILE, "no answer within %g seconds", seconds);
            continue;
        }
        if (sent < size && fds[1].revents)
            s = transmit(c, request, size, &sent, err);
        if (s != DM_OK || !fds[0].revents)
            continue;
        int end;
        const size_t before = c->size;
        if ((s = receive(c, &end, err)) != DM_OK)
            return s;
        if (end)
            return over(c, err);
        char *found = memchr(c->data + before, '\n', c->size - before);
        if (found && found + 1 != c->data + c->size)
            return dm_fail(err, DM_ERR_INPUT, "it answers with more than one line: '%s'", excerpt(c));
        if (!found && c->size == DM_CHILD_LINE)
            return dm_fail(err, DM_ERR_INPUT, "it says %zu bytes without a line end: '%s'", c->size, excerpt(c));
        if (found) {
            *found = '\0';
            *line = c->data;
            *length = (size_t)(found - c->data);
            return DM_OK;
        }
    }
    return s;
}
