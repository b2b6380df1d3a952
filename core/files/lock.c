#define _DEFAULT_SOURCE /* flock */
#define _DARWIN_C_SOURCE
#include "core/files/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/file.h"

#define LINE 256

/* The process that holds a lock on the file, from Linux's list of locks; 0: not known. */
static long holder(int fd)
{
    struct stat st;
    char line[LINE];
    long found = 0;
    FILE *f = fstat(fd, &st) == 0 ? fopen("/proc/locks", "re") : NULL;

    while (f && !found && fgets(line, sizeof line, f)) { /* 1: FLOCK  ADVISORY  WRITE 123 fd:01:456 0 EOF */
        long pid;
        unsigned long long inode;
        const char *place = sscanf(line, "%*d: FLOCK %*s %*s %ld", &pid) == 1 ? strrchr(line, ':') : NULL;
        if (place && sscanf(place, ":%llu", &inode) == 1 && inode == (unsigned long long)st.st_ino)
            found = pid;
    }
    if (f)
        fclose(f);
    return found;
}

static bool is_at(int fd, const char *path)
{
    struct stat open, named;
    return fstat(fd, &open) == 0 && stat(path, &named) == 0 && open.st_dev == named.st_dev &&
           open.st_ino == named.st_ino;
}

static int lock(int fd, bool wait)
{
    int status;
    do
        status = flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB);
    while (status != 0 && errno == EINTR);
    return status == 0 || errno != EWOULDBLOCK ? 0 : -1;
}

static dm_status fail_held(const char *path, long pid, dm_error *err)
{
    if (pid > 0)
        return dm_fail(err, DM_ERR_FILE, "%s: process %ld is writing it; wait for its end, or name another `output`",
                       path, pid);
    return dm_fail(err, DM_ERR_FILE, "%s: another process is writing it; wait for its end, or name another `output`",
                   path);
}

dm_status dm_lock_open(int *fd, const char *path, const char *named, int flags, bool wait, dm_error *err)
{
    for (;;) { /* until what is locked is what the name means: a finished writer renames or removes it */
        *fd = dm_open(path, flags);
        if (*fd < 0)
            return dm_fail(err, DM_ERR_FILE, "%s: cannot create: %s", named, strerror(errno));
        const int held = lock(*fd, wait);
        if (held == 0 && is_at(*fd, path))
            return DM_OK;
        const long pid = held ? holder(*fd) : 0;
        close(*fd);
        *fd = -1;
        if (held)
            return fail_held(named, pid, err);
    }
}

dm_status dm_lock_check(int fd, const char *path, dm_error *err)
{
    return is_at(fd, path) ? DM_OK
                           : dm_fail(err, DM_ERR_FILE, "%s: was removed, moved or replaced while it was written", path);
}
