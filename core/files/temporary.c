#include "core/files/temporary.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "core/files/path.h"

#define ROOM 32

static struct {
    atomic_int used; /* written last, so that a handler sees whole names */
    char path[DM_PATH_MAX];
} slot[ROOM];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void dm_temporary_hold(sigset_t *before)
{
    sigset_t endings;

    sigemptyset(&endings);
    sigaddset(&endings, SIGINT);
    sigaddset(&endings, SIGTERM);
    sigaddset(&endings, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &endings, before);
}

void dm_temporary_release(const sigset_t *before)
{
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

static int is_below(const char *path, const char *dir)
{
    const size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* Takes a place after all that are used: what is newer is removed first. */
void dm_temporary_add(const char *path)
{
    const size_t size = strlen(path) + 1;
    int i = ROOM;

    if (size > sizeof slot[0].path)
        return;
    pthread_mutex_lock(&mutex);
    while (i > 0 && !slot[i - 1].used)
        i--;
    if (i < ROOM) {
        memcpy(slot[i].path, path, size);
        slot[i].used = 1;
    }
    pthread_mutex_unlock(&mutex);
}

void dm_temporary_drop(const char *path)
{
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < ROOM; i++)
        if (slot[i].used && (strcmp(slot[i].path, path) == 0 || is_below(slot[i].path, path)))
            slot[i].used = 0;
    pthread_mutex_unlock(&mutex);
}

void dm_temporary_move(const char *path, const char *to)
{
    const size_t old = strlen(path), new = strlen(to);
    const int kept = dm_temporary_covers(to);

    pthread_mutex_lock(&mutex);
    for (int i = 0; i < ROOM; i++) {
        char *p = slot[i].path;
        if (!slot[i].used || !(strcmp(p, path) == 0 || is_below(p, path)))
            continue;
        const size_t rest = strlen(p + old) + 1;
        slot[i].used = 0;
        if (!kept || new + rest > sizeof slot[i].path)
            continue;
        memmove(p + new, p + old, rest);
        memcpy(p, to, new);
        slot[i].used = 1;
    }
    pthread_mutex_unlock(&mutex);
}

int dm_temporary_covers(const char *path)
{
    int covered = 0;

    pthread_mutex_lock(&mutex);
    for (int i = 0; i < ROOM && !covered; i++)
        covered = slot[i].used && is_below(path, slot[i].path);
    pthread_mutex_unlock(&mutex);
    return covered;
}

void dm_temporary_remove_all(void)
{
    for (int i = ROOM; i-- > 0;)
        if (slot[i].used && unlink(slot[i].path) != 0)
            rmdir(slot[i].path);
}
