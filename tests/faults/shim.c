/* Preloaded into the command (LD_PRELOAD, Linux with glibc): counts its file, memory and process calls, and has the
 * n-th fail, stop halfway, or end the process. tests/faults/driver.c says which, in a page that both map.
 *
 * Only processes named "dmpo" are disturbed. Writing on standard error always works: the message is what is judged. */
#define _GNU_SOURCE

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"

static faults_page *page; /* NULL: nothing is counted */

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

static _Noreturn void die(void)
{
    syscall(SYS_kill, (long)getpid(), (long)SIGKILL);
    for (;;)
        pause();
}

/* Counts a call of `kind`; returns what shall happen to it. Does not return when the process shall die first. */
static faults_action strikes(faults_kind kind)
{
    if (!page || !(page->kinds & kind) || (page->first_only && page->first != getpid()))
        return FAULTS_COUNT;
    const long call = __atomic_add_fetch(&page->calls, 1, __ATOMIC_SEQ_CST);
    if (page->action == FAULTS_COUNT || call < page->at || (call > page->at && page->action != FAULTS_ALL))
        return FAULTS_COUNT;
    page->struck = 1;
    if (page->action == FAULTS_KILL)
        die();
    if (page->action == FAULTS_SIGNAL) {
        syscall(SYS_kill, (long)getpid(), (long)SIGTERM);
        return FAULTS_COUNT;
    }
    return page->action;
}

/* True when the call fails: errno is set. `waits`: it may be interrupted; another call may not. */
static int fails(faults_kind kind, int waits)
{
    const faults_action action = strikes(kind);
    if (action == FAULTS_COUNT || action == FAULTS_SHORT || (page->error == EINTR && !waits))
        return 0;
    errno = page->error;
    return 1;
}

/* What is left of `size` for a read or write: half of it when it stops halfway; -1 when it fails. A process that dies
 * in the middle of a write has written half. */
static ssize_t allowed(int fd, const void *data, size_t size)
{
    if (data && page && page->action == FAULTS_KILL && (page->kinds & FAULTS_FILE) && page->calls + 1 == page->at &&
        !(page->first_only && page->first != getpid()))
        syscall(SYS_write, fd, data, size / 2);
    const faults_action action = strikes(FAULTS_FILE);
    if (action == FAULTS_COUNT)
        return (ssize_t)size;
    if (action == FAULTS_SHORT)
        return size > 1 ? (ssize_t)(size / 2) : (ssize_t)size;
    errno = page->error;
    return -1;
}

/* ---- memory ---- */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static int no_memory(void)
{
    const faults_action action = strikes(FAULTS_MEMORY);
    if (action == FAULTS_COUNT)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return no_memory() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    return no_memory() ? NULL : __libc_realloc(p, size);
}

int posix_memalign(void **p, size_t alignment, size_t size)
{
    if (no_memory())
        return ENOMEM;
    void *got = __libc_memalign(alignment, size);
    if (got)
        *p = got;
    return got ? 0 : ENOMEM;
}

void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset)
{
    if (no_memory())
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}

/* ---- files ---- */

static int mode_of(int flags, va_list *list)
{
    return flags & O_CREAT ? va_arg(*list, int) : 0;
}

#define OPEN(name, first, at)                                                                                          \
    int name first                                                                                                     \
    {                                                                                                                  \
        va_list list;                                                                                                  \
        va_start(list, flags);                                                                                         \
        const int mode = mode_of(flags, &list);                                                                        \
        va_end(list);                                                                                                  \
        return fails(FAULTS_FILE, 1) ? -1 : (int)syscall(SYS_openat, at, path, flags, mode);                           \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int at, const char *path, int flags, ...), at)
OPEN(openat64, (int at, const char *path, int flags, ...), at)

int __open64_2(const char *path, int flags)
{
    return fails(FAULTS_FILE, 1) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

/* The system takes the descriptor back whatever it answers. */
int close(int fd)
{
    const int failed = fails(FAULTS_FILE, 0), e = errno;
    const int closed = (int)syscall(SYS_close, fd);
    if (failed)
        errno = e;
    return failed ? -1 : closed;
}

ssize_t read(int fd, void *data, size_t size)
{
    const ssize_t n = allowed(fd, NULL, size);
    return n < 0 ? -1 : (ssize_t)syscall(SYS_read, fd, data, n);
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
    const ssize_t n = allowed(fd, NULL, size);
    return n < 0 ? -1 : (ssize_t)syscall(SYS_pread64, fd, data, n, offset);
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (fd == STDERR_FILENO)
        return (ssize_t)syscall(SYS_write, fd, data, size);
    const ssize_t n = allowed(fd, data, size);
    return n < 0 ? -1 : (ssize_t)syscall(SYS_write, fd, data, n);
}

/* A killed process loses nothing that it wrote: no need to wait for the disk here. */
int fsync(int fd)
{
    (void)fd;
    return fails(FAULTS_FILE, 0) ? -1 : 0;
}

int ftruncate64(int fd, off64_t size)
{
    return fails(FAULTS_FILE, 0) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

off64_t lseek64(int fd, off64_t offset, int from)
{
    return fails(FAULTS_FILE, 0) ? -1 : (off64_t)syscall(SYS_lseek, fd, offset, from);
}

int rename(const char *from, const char *to)
{
    return fails(FAULTS_FILE, 0) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int mkdir(const char *path, mode_t mode)
{
    return fails(FAULTS_FILE, 0) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int unlink(const char *path)
{
    return fails(FAULTS_FILE, 0) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return fails(FAULTS_FILE, 0) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int unlinkat(int fd, const char *path, int flags)
{
    return fails(FAULTS_FILE, 0) ? -1 : (int)syscall(SYS_unlinkat, fd, path, flags);
}

int flock(int fd, int operation)
{
    return fails(FAULTS_FILE, 1) ? -1 : (int)syscall(SYS_flock, fd, operation);
}

int stat64(const char *path, struct stat64 *st)
{
    return fails(FAULTS_FILE, 0) ? -1 : fstatat64(AT_FDCWD, path, st, 0);
}

int lstat64(const char *path, struct stat64 *st)
{
    return fails(FAULTS_FILE, 0) ? -1 : fstatat64(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

int fstat64(int fd, struct stat64 *st)
{
    return fails(FAULTS_FILE, 0) ? -1 : fstatat64(fd, "", st, AT_EMPTY_PATH);
}

DIR *opendir(const char *path)
{
    return fails(FAULTS_FILE, 0) ? NULL : REAL(DIR * (*)(const char *), "opendir")(path);
}

DIR *fdopendir(int fd)
{
    return fails(FAULTS_FILE, 0) ? NULL : REAL(DIR * (*)(int), "fdopendir")(fd);
}

struct dirent64 *readdir64(DIR *dir)
{
    return fails(FAULTS_FILE, 0) ? NULL : REAL(struct dirent64 * (*)(DIR *), "readdir64")(dir);
}

/* Streams: on the calls above, so that what stdio reads and writes is counted, too. A stream writes the rest after a
 * half by itself; that a signal may end its write is the C library's way, and not tried. */
static ssize_t stream_read(void *cookie, char *data, size_t size)
{
    return read((int)(long)cookie, data, size);
}

static ssize_t stream_write(void *cookie, const char *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t n = write((int)(long)cookie, data + done, size - done);
        if (n < 0 && errno != EINTR)
            return 0; /* its way to say "error" */
        done += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)size;
}

static int stream_close(void *cookie)
{
    return close((int)(long)cookie);
}

static FILE *stream(int fd, const char *mode)
{
    const cookie_io_functions_t calls = {stream_read, stream_write, NULL, stream_close};
    return fopencookie((void *)(long)fd, mode, calls);
}

FILE *fopen64(const char *path, const char *mode)
{
    if (*mode != 'r')
        return REAL(FILE * (*)(const char *, const char *), "fopen64")(path, mode);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    FILE *f = fd < 0 ? NULL : stream(fd, "r");
    if (!f && fd >= 0)
        syscall(SYS_close, fd);
    return f;
}

/* ---- processes ---- */

pid_t fork(void)
{
    return fails(FAULTS_PROCESS, 0) ? -1 : REAL(pid_t(*)(void), "fork")();
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const *argv, char *const *env)
{
    typedef int call(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                     char *const *, char *const *);
    return fails(FAULTS_PROCESS, 0) ? errno : REAL(call *, "posix_spawn")(pid, path, actions, attributes, argv, env);
}

int pipe(int fd[2])
{
    return fails(FAULTS_PROCESS, 0) ? -1 : (int)syscall(SYS_pipe2, fd, 0);
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    return fails(FAULTS_PROCESS, 1) ? -1 : REAL(int (*)(struct pollfd *, nfds_t, int), "poll")(fds, n, timeout);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *), void *argument)
{
    typedef int call(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    return fails(FAULTS_PROCESS, 0) ? EAGAIN : REAL(call *, "pthread_create")(thread, attributes, function, argument);
}

pid_t waitpid(pid_t pid, int *status, int options)
{
    if (page && page->error == EINTR && fails(FAULTS_PROCESS, 1)) /* it fails in no other way */
        return -1;
    return (pid_t)syscall(SYS_wait4, pid, status, options, NULL);
}

/* ---- the beginning ---- */

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULTS_PAGE");
    if (!path || strcmp(program_invocation_short_name, "dmpo") != 0)
        return;
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    FILE *out = stream(STDOUT_FILENO, "w");
    if (fd < 0 || !out)
        abort();
    stdout = out;
    dlsym(RTLD_NEXT, "read"); /* what it allocates, it has allocated */
    void *mapped = (void *)syscall(SYS_mmap, NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped == MAP_FAILED)
        abort();
    page = mapped;
    if (!page->first)
        page->first = getpid();
}
