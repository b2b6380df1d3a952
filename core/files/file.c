#include "core/files/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/durable.h"
#include "core/files/input.h"
#include "core/files/output.h"
#include "core/files/temporary.h"

#define PATH_MAX_OURS 4096
#define DIR_DEPTH_MAX 32

static dm_status fail_errno(dm_error *err, const char *what, const char *path)
{
    return dm_fail(err, DM_ERR_FILE, "%s: cannot %s: %s", path, what, strerror(errno));
}

dm_status dm_file_read(const char *path, size_t limit, char **data, size_t *size, dm_error *err)
{
    dm_input in;
    *data = NULL;
    *size = 0;
    dm_status status = dm_input_open(&in, path, err);
    if (status != DM_OK)
        return status;
    const size_t expected = (size_t)in.size;
    char *buffer = NULL;
    if (in.size > limit || in.size >= SIZE_MAX)
        status =
            dm_fail(err, DM_ERR_FILE, "%s: has %llu bytes, the limit is %zu", path, (unsigned long long)in.size, limit);
    else if ((buffer = malloc(expected + 1)) == NULL)
        status = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its %zu bytes", path, expected);
    else
        status = dm_input_read(&in, buffer, expected, 0, err);
    dm_input_close(&in);
    if (status != DM_OK) {
        free(buffer);
        return status;
    }
    buffer[expected] = '\0';
    *data = buffer;
    *size = expected;
    return DM_OK;
}

dm_status dm_file_write(const char *path, const void *data, size_t size, dm_error *err)
{
    dm_output out;
    dm_status status = dm_output_open(&out, path, err);
    if (status == DM_OK)
        status = dm_output_add(&out, data, size, err);
    return dm_output_close(&out, status, NULL, err);
}

int dm_open(const char *path, int flags)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static bool exists(const char *path, mode_t type)
{
    struct stat st;
    if (stat(path, &st) == 0)
        return (st.st_mode & S_IFMT) == type;
    return errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG && errno != ELOOP;
}

bool dm_file_exists(const char *path)
{
    return exists(path, S_IFREG);
}

bool dm_dir_exists(const char *path)
{
    return exists(path, S_IFDIR);
}

static dm_status create_one(const char *path, dm_error *err)
{
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? DM_OK : dm_fail(err, DM_ERR_FILE, "%s: exists and is not a directory", path);
    if (errno != ENOENT)
        return fail_errno(err, "create directory", path);
    sigset_t before;
    dm_temporary_hold(&before);
    const int made = mkdir(path, 0777), reason = errno;
    if (made == 0 && dm_temporary_covers(path))
        dm_temporary_add(path);
    dm_temporary_release(&before);
    if (made == 0) {
        if (dm_sync_parent(path) == 0)
            return DM_OK;
        const dm_status s = fail_errno(err, "flush its directory to disk", path);
        rmdir(path);
        return s;
    }
    errno = reason;
    if (errno != EEXIST)
        return fail_errno(err, "create directory", path);
    return dm_dir_exists(path) ? DM_OK : dm_fail(err, DM_ERR_FILE, "%s: exists and is not a directory", path);
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
        const dm_status s = create_one(part, err);
        if (s != DM_OK)
            return s;
        part[i] = kept;
    }
    return DM_OK;
}

/* Empties the open directory `fd` (and closes it). Never follows a link: removes the link itself. */
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
        int child;
        do
            child = openat(dirfd(dir), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        while (child < 0 && errno == EINTR);
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

dm_status dm_dir_clear(const char *path, dm_error *err)
{
    const int fd = dm_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    return fd >= 0 && empty_dir(fd, 0) == 0 ? DM_OK : fail_errno(err, "empty directory", path);
}

dm_status dm_dir_remove(const char *path, dm_error *err)
{
    const int fd = dm_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0 || empty_dir(fd, 0) != 0 || rmdir(path) != 0)
        return fail_errno(err, "remove directory", path);
    return DM_OK;
}

dm_status dm_input_sha256(const dm_input *in, char hex[DM_SHA256_HEX], dm_error *err)
{
    unsigned char buffer[16384];
    dm_sha256 h;
    dm_status status = DM_OK;
    dm_sha256_init(&h);
    for (uint64_t at = 0; status == DM_OK && at < in->size;) {
        const size_t n = in->size - at < sizeof buffer ? (size_t)(in->size - at) : sizeof buffer;
        status = dm_input_read(in, buffer, n, at, err);
        if (status == DM_OK)
            dm_sha256_update(&h, buffer, n);
        at += n;
    }
    if (status == DM_OK)
        dm_sha256_finish(&h, hex);
    return status;
}

dm_status dm_file_sha256(const char *path, char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_input in;
    dm_status status = dm_input_open(&in, path, err);
    if (status == DM_OK)
        status = dm_input_sha256(&in, hex, err);
    dm_input_close(&in);
    return status;
}
