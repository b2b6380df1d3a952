#include "agent/env/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

int dm_pipe_open(int end[2])
{
    int given[2];

    end[0] = end[1] = -1;
    if (pipe(given) != 0)
        return errno;
    int failed = 0;
    for (int i = 0; i < 2; i++) {
        if (!failed && (end[i] = fcntl(given[i], F_DUPFD_CLOEXEC, 3)) < 0)
            failed = errno;
        close(given[i]);
    }
    return failed;
}

ssize_t dm_pipe_write(int fd, const char *data, size_t size)
{
    sigset_t broken, before, pending;
    int number;

    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    sigpending(&pending);
    const int was_pending = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    const ssize_t n = write(fd, data, size);
    const int e = errno;
    if (n < 0 && e == EPIPE && !was_pending) {
        sigpending(&pending);
        if (sigismember(&pending, SIGPIPE))
            sigwait(&broken, &number);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = e;
    return n;
}
