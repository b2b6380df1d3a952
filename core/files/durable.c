#include "core/files/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/files/path.h"

int dm_sync_parent(const char *path)
{
    char dir[DM_PATH_MAX];
    const size_t length = strlen(path);
    if (length >= sizeof dir) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(dir, path, length + 1);
    size_t end = length;
    while (end > 0 && dir[end - 1] == '/')
        end--;
    while (end > 0 && dir[end - 1] != '/')
        end--;
    if (end == 0)
        dir[end++] = '.';
    dir[end] = '\0';
    const int fd = dm_open(dir, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return -1;
    const int failed = fsync(fd) != 0 && errno != EINVAL;
    const int why = errno;
    close(fd);
    errno = why;
    return failed ? -1 : 0;
}

dm_status dm_rename_durable(const char *from, const char *to, dm_error *err)
{
    if (rename(from, to) != 0)
        return dm_fail(err, DM_ERR_FILE, "%s: cannot rename to %s: %s", from, to, strerror(errno));
    if (dm_sync_parent(to) != 0)
        return dm_fail(err, DM_ERR_FILE,
                       "%s: is in place, but its directory cannot be flushed to disk, so a power cut may undo it: %s",
                       to, strerror(errno));
    return DM_OK;
}
