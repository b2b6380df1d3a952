#define _DEFAULT_SOURCE /* madvise */
#include "core/map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

dm_status dm_file_map_open(dm_file_map *out, const char *path, size_t least, const char *what, dm_error *err)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* opening a pipe must not wait for its writer */
    dm_status s = DM_OK;

    *out = (dm_file_map){0};
    if (fd < 0)
        return dm_fail(err, DM_ERR_FILE, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        s = dm_fail(err, DM_ERR_FILE, "%s: is not a regular file", path);
    } else if (st.st_size < 0 || (uint64_t)st.st_size < least) {
        s = dm_fail(err, DM_ERR_INPUT, "%s: has %lld bytes, less than %s", path, (long long)st.st_size, what);
    } else if ((uint64_t)st.st_size > SIZE_MAX / 2) {
        s = dm_fail(err, DM_ERR_MEMORY, "%s: has %lld bytes, more than this machine can map", path,
                    (long long)st.st_size);
    } else {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            s = dm_fail(err, DM_ERR_MEMORY, "%s: cannot map its %lld bytes: %s", path, (long long)st.st_size,
                        strerror(errno));
        else
            *out = (dm_file_map){map, (size_t)st.st_size};
    }
    close(fd);
    return s;
}

void dm_file_map_close(dm_file_map *m)
{
    if (m->data)
        munmap((void *)(uintptr_t)m->data, m->size);
    *m = (dm_file_map){0};
}

void dm_file_map_release(const dm_file_map *m, const void *begin, size_t size)
{
    const long page = sysconf(_SC_PAGESIZE);

    if (size == 0 || page <= 0)
        return;
    const size_t at = (size_t)((const unsigned char *)begin - m->data), first = at / (size_t)page * (size_t)page;
    (void)madvise((void *)(uintptr_t)(m->data + first), at + size - first, MADV_DONTNEED); /* only advice */
}
