#include "agent/env/watcher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/env/pipes.h"
#include "core/files/file.h"

#define ROUNDS 16 /* of looking for marked processes, which may be starting others meanwhile */

extern char **environ;

static struct {
    pid_t owner;      /* a forked process has its own watcher */
    int fd;           /* its standard input */
    int running;      /* programs */
    unsigned started; /* programs ever */
    unsigned long long mark;
} watcher;

/* In the background of a shell that ends, so that it is no child of ours which we would have to wait for. */
static const char script[] = "exec 3<&0 >/dev/null 2>&1\n"
                             "(\n"
                             "    trap '' HUP INT TERM\n"
                             "    groups=' ' running=\n"
                             "    while read -r what group; do\n"
                             "        case $what in\n"
                             "        expect) running=1 ;;\n"
                             "        add) groups=\"$groups$group \" ;;\n"
                             "        drop) groups=\"${groups%% $group *} ${groups#* $group }\" ;;\n"
                             "        none) groups=' ' running= ;;\n"
                             "        esac\n"
                             "    done <&3\n"
                             "    [ \"$running\" ] || exit 0\n"
                             "    for group in $groups; do kill -s KILL -- \"-$group\"; done\n"
                             "    for file in /proc/[0-9]*/environ; do\n"
                             "        tr '\\0' '\\n' <\"$file\" | grep -q \"^DMPO_ENVIRONMENT=$1-\" || continue\n"
                             "        file=${file#/proc/} && kill -s KILL \"${file%/environ}\"\n"
                             "    done\n"
                             ") &\n";

static int spawn(int in)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    char mark[32];
    char *const argv[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)script, (char[]){"dmpo-watcher"}, mark, NULL};
    sigset_t none;
    pid_t pid;

    snprintf(mark, sizeof mark, "%llx", watcher.mark);
    sigemptyset(&none);
    int e = posix_spawn_file_actions_init(&files);
    if (e)
        return e;
    if ((e = posix_spawnattr_init(&attributes)) == 0) {
        e = posix_spawnattr_setpgroup(&attributes, 0); /* what ends our group must not end it */
        if (!e)
            e = posix_spawnattr_setsigmask(&attributes, &none);
        if (!e)
            e = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
        if (!e)
            e = posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
        if (!e)
            e = posix_spawn(&pid, "/bin/sh", &files, &attributes, argv, environ);
        while (!e && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&files);
    return e;
}

static int start(void)
{
    int end[2];

    if (watcher.owner == getpid())
        return 0;
    if (watcher.owner)
        close(watcher.fd); /* of the process that has forked us */
    watcher.owner = 0;
    watcher.running = 0;
    const int fd = dm_open("/dev/urandom", O_RDONLY);
    if (fd < 0 || read(fd, &watcher.mark, sizeof watcher.mark) != (ssize_t)sizeof watcher.mark)
        watcher.mark = (unsigned long long)getpid();
    if (fd >= 0)
        close(fd);
    int e = dm_pipe_open(end);
    if (!e)
        e = spawn(end[0]);
    if (end[0] >= 0)
        close(end[0]);
    if (e) {
        if (end[1] >= 0)
            close(end[1]);
        return e;
    }
    watcher.fd = end[1];
    watcher.owner = getpid();
    return 0;
}

/* A watcher that is gone is not missed before it is needed. */
static void tell(const char *what, pid_t group)
{
    char line[64];
    const int n = snprintf(line, sizeof line, "%s %ld\n", what, (long)group);

    if (watcher.owner == getpid())
        (void)dm_pipe_write(watcher.fd, line, (size_t)n);
}

int dm_watcher_expect(char mark[DM_WATCHER_MARK])
{
    const int e = start();

    if (e)
        return e;
    tell("expect", 0);
    watcher.running++;
    snprintf(mark, DM_WATCHER_MARK, "DMPO_ENVIRONMENT=%llx-%u", watcher.mark, watcher.started++);
    return 0;
}

static void one_less(void)
{
    if (--watcher.running > 0)
        return;
    tell("none", 0);
    close(watcher.fd);
    watcher.owner = 0;
}

void dm_watcher_add(pid_t group)
{
    if (group > 0)
        tell("add", group);
    else
        one_less();
}

void dm_watcher_drop(pid_t group)
{
    tell("drop", group);
    one_less();
}

/* ---- /proc ---- */

static int has_entry(const char *pid, const char *mark)
{
    char path[64], *entry = NULL;
    size_t room = 0;
    int found = 0;

    snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    FILE *f = fopen(path, "re");
    while (f && !found && getdelim(&entry, &room, '\0', f) > 0)
        found = strcmp(entry, mark) == 0;
    if (f)
        fclose(f);
    free(entry);
    return found;
}

void dm_watcher_kill_marked(const char *mark)
{
    for (int round = 0, killed = 1; killed && round < ROUNDS; round++) {
        DIR *dir = opendir("/proc");
        const struct dirent *entry;
        killed = 0;
        while (dir && (entry = readdir(dir)) != NULL) {
            const long pid = strtol(entry->d_name, NULL, 10);
            if (pid > 1 && has_entry(entry->d_name, mark))
                killed += kill((pid_t)pid, SIGKILL) == 0;
        }
        if (dir)
            closedir(dir);
    }
}
