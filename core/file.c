#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_MAX_OURS 4096
#define DIR_DEPTH_MAX 32

static dm_status fail_errno(dm_error *err, const char *what, const char *path)
{
    return dm_fail(err, DM_ERR_FILE, "%s: cannot %s: %s", path, what, strerror(errno));
}

/* O_NONBLOCK: opening a pipe must not wait for its writer; regular files do not care. */
static dm_status open_regular(int *fd, const char *path, struct stat *st, dm_error *err)
{
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0)
        return fail_errno(err, "open", path);
    if (fstat(*fd, st) == 0 && S_ISREG(st->st_mode))
        return DM_OK;
    close(*fd);
    return dm_fail(err, DM_ERR_FILE, "%s: is not a regular file", path);
}

static ssize_t read_some(int fd, void *data, size_t size)
{
    ssize_t n;
    do
        n = read(fd, data, size);
    while (n < 0 && errno == EINTR);
    return n;
}

dm_status dm_file_read(const char *path, size_t limit, char **data, size_t *size, dm_error *err)
{
    struct stat st;
    int fd;
    *data = NULL;
    *size = 0;
    const dm_status opened = open_regular(&fd, path, &st, err);
    if (opened != DM_OK)
        return opened;
    dm_status status = DM_OK;
    char *buffer = NULL;
    size_t done = 0;
    if (st.st_size < 0 || (uint64_t)st.st_size > limit || (uint64_t)st.st_size >= SIZE_MAX) {
        status = dm_fail(err, DM_ERR_FILE, "%s: has %lld bytes, the limit is %zu", path, (long long)st.st_size, limit);
        goto end;
    }
    const size_t expected = (size_t)st.st_size;
    buffer = malloc(expected + 1);
    if (!buffer) {
        status = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its %zu bytes", path, expected);
        goto end;
    }
    while (done < expected) {
        const ssize_t n = read_some(fd, buffer + done, expected - done);
        if (n < 0) {
            status = fail_errno(err, "read", path);
            goto end;
        }
        if (n == 0) {
            status = dm_fail(err, DM_ERR_FILE, "%s: ended at byte %zu of %zu while being read", path, done, expected);
            goto end;
        }
        done += (size_t)n;
    }
    buffer[done] = '\0';
    *data = buffer;
    *size = done;
    buffer = NULL;
end:
    free(buffer);
    close(fd);
    return status;
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        const ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

dm_status dm_file_write(const char *path, const void *data, size_t size, dm_error *err)
{
    char temp[PATH_MAX_OURS];
    const int length = snprintf(temp, sizeof temp, "%s.tmp-%ld", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof temp)
        return dm_fail(err, DM_ERR_FILE, "%s: the path is longer than %d bytes", path, PATH_MAX_OURS - 32);
    const int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return fail_errno(err, "create", temp);
    if (write_all(fd, data, size) != 0 || fsync(fd) != 0) {
        const dm_status status = fail_errno(err, "write", temp);
        close(fd);
        unlink(temp);
        return status;
    }
    if (close(fd) != 0) {
        const dm_status status = fail_errno(err, "write", temp);
        unlink(temp);
        return status;
    }
    const dm_status status = dm_rename_durable(temp, path, err);
    if (status != DM_OK)
        unlink(temp);
    return status;
}

bool dm_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool dm_dir_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

dm_status dm_dir_create(const char *path, dm_error *err)
{
    char part[PATH_MAX_OURS];
    const size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return dm_fail(err, DM_ERR_FILE, "%s: a directory's path has 1 to %d bytes", path, PATH_MAX_OURS - 1);
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        const char kept = part[i];
        part[i] = '\0';
        if (!dm_dir_exists(part) && mkdir(part, 0777) != 0 && !(errno == EEXIST && dm_dir_exists(part))) {
            if (errno == EEXIST)
                return dm_fail(err, DM_ERR_FILE, "%s: is there already and is no directory", part);
            return fail_errno(err, "create directory", part);
        }
        part[i] = kept;
    }
    return DM_OK;
}

/* Empties the open directory `fd` (and closes it). Never follows a link: a link is removed itself. */
static int empty_dir(int fd, int depth)
{
    DIR *dir = depth < DIR_DEPTH_MAX ? fdopendir(fd) : NULL;
    if (!dir) {
        if (depth >= DIR_DEPTH_MAX)
            errno = ELOOP;
        const int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    int why = 0;
    const struct dirent *entry;
    while (!why && (errno = 0, entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        const int child = openat(dirfd(dir), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child >= 0 && empty_dir(child, depth + 1) != 0)
            why = errno;
        else if (unlinkat(dirfd(dir), name, child >= 0 ? AT_REMOVEDIR : 0) != 0)
            why = errno;
    }
    if (!why)
        why = errno;
    closedir(dir);
    errno = why;
    return why ? -1 : 0;
}

dm_status dm_dir_remove(const char *path, dm_error *err)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || empty_dir(fd, 0) != 0 || rmdir(path) != 0)
        return fail_errno(err, "remove directory", path);
    return DM_OK;
}

/* A rename is on disk when its directory is. File systems that cannot sync a directory say EINVAL. */
static int sync_parent(const char *path)
{
    char dir[PATH_MAX_OURS];
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
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
    if (rename(from, to) != 0 || sync_parent(to) != 0)
        return dm_fail(err, DM_ERR_FILE, "%s: cannot rename to %s: %s", from, to, strerror(errno));
    return DM_OK;
}

dm_status dm_file_sha256(const char *path, char hex[DM_SHA256_HEX], dm_error *err)
{
    struct stat st;
    int fd;
    const dm_status opened = open_regular(&fd, path, &st, err);
    if (opened != DM_OK)
        return opened;
    unsigned char buffer[16384];
    dm_sha256 h;
    dm_sha256_init(&h);
    ssize_t n;
    while ((n = read_some(fd, buffer, sizeof buffer)) > 0)
        dm_sha256_update(&h, buffer, (size_t)n);
    const dm_status status = n < 0 ? fail_errno(err, "read", path) : DM_OK;
    close(fd);
    if (status == DM_OK)
        dm_sha256_finish(&h, hex);
    return status;
}
