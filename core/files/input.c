#include "core/files/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/file.h"

/* What a clone without Git LFS has in place of large files. */
static bool is_pointer(int fd, off_t size)
{
    static const char begin[] = "version https://git-lfs";
    char data[sizeof begin - 1];
    return size > (off_t)sizeof data && size < 1024 && pread(fd, data, sizeof data, 0) == (ssize_t)sizeof data &&
           memcmp(data, begin, sizeof data) == 0;
}

dm_status dm_input_open(dm_input *in, const char *path, dm_error *err)
{
    struct stat st;
    /* O_NONBLOCK: opening a pipe must not wait for its writer; regular files do not care. */
    const int fd = dm_open(path, O_RDONLY | O_NONBLOCK);

    *in = (dm_input){0};
    if (fd < 0)
        return dm_fail(err, DM_ERR_FILE, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 0) {
        close(fd);
        return dm_fail(err, DM_ERR_FILE, "%s: is not a regular file", path);
    }
    if (is_pointer(fd, st.st_size)) {
        close(fd);
        return dm_fail(
            err, DM_ERR_INPUT,
            "%s: is a Git LFS pointer, not the weights or data that it stands for; `git lfs pull` fetches them", path);
    }
    *in = (dm_input){path, fd, (uint64_t)st.st_size};
    return DM_OK;
}

void dm_input_close(dm_input *in)
{
    if (in->path)
        close(in->fd);
    *in = (dm_input){0};
}

dm_status dm_input_read(const dm_input *in, void *out, size_t size, uint64_t offset, dm_error *err)
{
    for (size_t done = 0; done < size;) {
        const ssize_t n = pread(in->fd, (char *)out + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dm_fail(err, DM_ERR_FILE, "%s: cannot read: %s", in->path, strerror(errno));
        if (n == 0)
            return dm_fail(err, DM_ERR_FILE, "%s: ends at byte %llu: it changed while being read", in->path,
                           (unsigned long long)(offset + done));
        done += (size_t)n;
    }
    return DM_OK;
}

void dm_input_part_begin(dm_input_part *p, const dm_input *in, uint64_t begin, uint64_t size)
{
    p->in = in;
    p->end = begin + size;
    p->until = begin;
    p->used = p->next = 0;
}

dm_status dm_input_part_next(dm_input_part *p, size_t size, const unsigned char **out, dm_error *err)
{
    size_t left = p->used - p->next;

    if (left < size) {
        const uint64_t more = p->end - p->until;
        const size_t room = sizeof p->bytes - left, n = more < room ? (size_t)more : room;
        memmove(p->bytes, p->bytes + p->next, left);
        const dm_status status = dm_input_read(p->in, p->bytes + left, n, p->until, err);
        if (status != DM_OK)
            return status;
        p->until += n;
        p->next = 0;
        p->used = left + n;
    }
    if (p->used - p->next < size)
        return dm_fail(err, DM_ERR_INTERNAL, "%s: asked for %zu bytes in one piece", p->in->path, size);
    *out = p->bytes + p->next;
    p->next += size;
    return DM_OK;
}
