#include "core/system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/files/file.h"

/* A file of /proc as text, without stdio: the figures are asked for in the training loop, which allocates nothing. */
static bool read_proc(const char *path, char *text, size_t size)
{
    const int fd = dm_open(path, O_RDONLY);
    size_t done = 0;
    ssize_t n = 0;
    if (fd < 0)
        return false;
    while (done < size - 1 && ((n = read(fd, text + done, size - 1 - done)) > 0 || (n < 0 && errno == EINTR)))
        done += n > 0 ? (size_t)n : 0;
    close(fd);
    text[done] = '\0';
    return n >= 0;
}

static size_t peak_of_usage(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
}

size_t dm_rss_now(void)
{
    char text[256];
    unsigned long long total, resident;
    if (!read_proc("/proc/self/statm", text, sizeof text) || sscanf(text, "%llu %llu", &total, &resident) != 2)
        return peak_of_usage();
    return (size_t)(resident * (unsigned long long)sysconf(_SC_PAGESIZE));
}

/* VmHWM belongs to this program; getrusage's figure also remembers what a fork's parent used before exec. */
size_t dm_rss_peak(void)
{
    char text[4096];
    unsigned long long kib = 0;
    const char *line = read_proc("/proc/self/status", text, sizeof text) ? strstr(text, "VmHWM:") : NULL;
    if (line && sscanf(line, "VmHWM: %llu kB", &kib) == 1 && kib > 0)
        return (size_t)kib * 1024;
    return peak_of_usage();
}

double dm_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
