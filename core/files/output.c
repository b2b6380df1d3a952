#include "core/files/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files/durable.h"
#include "core/files/file.h"
#include "core/files/lock.h"
#include "core/files/place.h"
#include "core/files/temporary.h"

#define TRIES 8
#define WRITING (O_RDWR | O_CREAT | O_NOFOLLOW)
#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

/* ---- files ---- */

static dm_status open_temporary(dm_output *o, const char *path, bool wait, dm_error *err)
{
    const size_t size = strlen(path) + sizeof DM_OUTPUT_SUFFIX;
    sigset_t before;

    *o = (dm_output){.path = path, .temporary = malloc(size), .fd = -1};
    if (!o->temporary)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory to write it", path);
    snprintf(o->temporary, size, "%s" DM_OUTPUT_SUFFIX, path);
    dm_temporary_hold(&before);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): *o keeps it; clang takes it that &o->fd gives all of *o away */
    dm_status s = dm_lock_open(&o->fd, o->temporary, path, WRITING, false, err);
    if (s != DM_OK && wait) {
        dm_temporary_release(&before);
        s = dm_lock_open(&o->fd, o->temporary, path, WRITING, true, err);
        dm_temporary_hold(&before);
    }
    if (s == DM_OK && ftruncate(o->fd, 0) != 0) {
        s = dm_fail(err, DM_ERR_FILE, "%s: cannot write: %s", o->temporary, strerror(errno));
        unlink(o->temporary);
        close(o->fd);
    }
    if (s == DM_OK)
        dm_temporary_add(o->temporary);
    dm_temporary_release(&before);
    if (s != DM_OK) {
        free(o->temporary);
        o->temporary = NULL;
    }
    dm_sha256_init(&o->hash);
    return s;
}

dm_status dm_output_open(dm_output *o, const char *path, dm_error *err)
{
    return open_temporary(o, path, true, err);
}

/* The lock comes first: who has it sees what an earlier holder has made of the place. */
dm_status dm_output_open_new(dm_output *o, const char *path, bool overwrite, dm_error *err)
{
    dm_status s = dm_place_check(path, overwrite, err);

    *o = (dm_output){.fd = -1};
    if (s != DM_OK || (s = open_temporary(o, path, false, err)) != DM_OK)
        return s;
    s = dm_place_check(path, overwrite, err);
    return s == DM_OK ? DM_OK : dm_output_close(o, s, NULL, err);
}

dm_status dm_output_add(dm_output *o, const void *data, size_t size, dm_error *err)
{
    dm_sha256_update(&o->hash, data, size);
    for (size_t done = 0; done < size;) {
        const ssize_t n = write(o->fd, (const char *)data + done, size - done);
        if (n < 0 && errno != EINTR)
            return dm_fail(err, DM_ERR_FILE, "%s: cannot write: %s", o->path, strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return DM_OK;
}

/* Renamed before it is closed, which gives the lock back. */
dm_status dm_output_close(dm_output *o, dm_status status, char hex[DM_SHA256_HEX], dm_error *err)
{
    sigset_t before;

    if (!o->temporary) /* never opened */
        return status;
    if (status == DM_OK && fsync(o->fd) != 0)
        status = dm_fail(err, DM_ERR_FILE, "%s: cannot write: %s", o->path, strerror(errno));
    dm_temporary_hold(&before);
    if (status == DM_OK && (status = dm_lock_check(o->fd, o->temporary, err)) == DM_OK)
        status = dm_rename_durable(o->temporary, o->path, err);
    if (status == DM_OK) {
        dm_temporary_move(o->temporary, o->path);
    } else {
        unlink(o->temporary);
        dm_temporary_drop(o->temporary);
    }
    dm_temporary_release(&before);
    if (close(o->fd) != 0 && status == DM_OK)
        status = dm_fail(err, DM_ERR_FILE, "%s: cannot write: %s", o->path, strerror(errno));
    if (status == DM_OK && hex)
        dm_sha256_finish(&o->hash, hex);
    free(o->temporary);
    o->temporary = NULL;
    return status;
}

dm_status dm_output_write(const char *path, bool overwrite, const void *data, size_t size, dm_error *err)
{
    dm_output out;
    dm_status s = dm_output_open_new(&out, path, overwrite, err);
    if (s == DM_OK)
        s = dm_output_add(&out, data, size, err);
    return dm_output_close(&out, s, NULL, err);
}

/* ---- directories ---- */

/* A name beside the place, or in it when it is a directory already; created and locked. */
static dm_status lock_dir(dm_output_dir *o, bool overwrite, dm_error *err)
{
    const char *path = o->path.text;
    dm_status s = dm_place_check(path, overwrite, err);

    if (s == DM_OK)
        s = dm_path_print(&o->temporary, err, "%s%s" DM_OUTPUT_SUFFIX, path, dm_dir_exists(path) ? "/" : "");
    if (s != DM_OK || (s = dm_dir_create(o->temporary.text, err)) != DM_OK)
        return s;
    s = dm_lock_open(&o->fd, o->temporary.text, path, DIRECTORY, false, err);
    if (s != DM_OK && dm_lock_open(&o->fd, o->temporary.text, path, DIRECTORY, false, NULL) == DM_OK) {
        rmdir(o->temporary.text); /* nobody has it: ours, or a dead process's, when it is empty */
        close(o->fd);
        o->fd = -1;
    }
    return s;
}

dm_status dm_output_dir_open(dm_output_dir *o, const char *path, bool overwrite, dm_error *err)
{
    size_t n = strlen(path);
    sigset_t before;
    dm_status s;

    while (n > 1 && path[n - 1] == '/') /* "a/b/" and "a/b" are one directory, but "a/b/.tmp" is not beside it */
        n--;
    o->fd = -1;
    if ((s = dm_path_print(&o->path, err, "%.*s", (int)n, path)) != DM_OK)
        return s;
    /* Another writer may put its directory into place between our making one of that name and opening it. */
    dm_temporary_hold(&before);
    for (int tries = 0; (s = lock_dir(o, overwrite, err)) != DM_OK && tries < TRIES; tries++)
        if (dm_dir_exists(o->temporary.text))
            break;
    if (s == DM_OK)
        dm_temporary_add(o->temporary.text);
    dm_temporary_release(&before);
    if (s != DM_OK)
        return s;
    if ((s = dm_place_check(path, overwrite, err)) == DM_OK)
        s = dm_dir_clear(o->temporary.text, err);
    return s == DM_OK ? DM_OK : dm_output_dir_close(o, s, err);
}

static dm_status move_files(const char *from, const char *to, dm_error *err);

static dm_status move_one(const char *from, const char *to, dm_error *err)
{
    struct stat st;
    if (lstat(from, &st) != 0) /* a file that cannot be looked at is no directory */
        return dm_fail(err, DM_ERR_FILE, "%s: cannot move: %s", from, strerror(errno));
    return S_ISDIR(st.st_mode) ? move_files(from, to, err) : dm_rename_durable(from, to, err);
}

static dm_status move_files(const char *from, const char *to, dm_error *err)
{
    dm_status s = dm_dir_create(to, err);
    DIR *dir = s == DM_OK ? opendir(from) : NULL;
    const struct dirent *entry;

    if (s == DM_OK && !dir)
        return dm_fail(err, DM_ERR_FILE, "%s: cannot list: %s", from, strerror(errno));
    while (s == DM_OK && (errno = 0, entry = readdir(dir)) != NULL) {
        dm_path a, b;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if ((s = dm_path_in(&a, from, entry->d_name, err)) == DM_OK &&
            (s = dm_path_in(&b, to, entry->d_name, err)) == DM_OK)
            s = move_one(a.text, b.text, err);
    }
    if (s == DM_OK && errno != 0)
        s = dm_fail(err, DM_ERR_FILE, "%s: cannot list: %s", from, strerror(errno));
    if (dir)
        closedir(dir);
    return s;
}

dm_status dm_output_dir_close(dm_output_dir *o, dm_status status, dm_error *err)
{
    sigset_t before;

    if (o->fd < 0)
        return status;
    dm_temporary_hold(&before);
    if (status == DM_OK && (status = dm_lock_check(o->fd, o->temporary.text, err)) == DM_OK)
        status = !dm_dir_exists(o->path.text) ? dm_rename_durable(o->temporary.text, o->path.text, err)
                                              : move_files(o->temporary.text, o->path.text, err);
    if (dm_dir_exists(o->temporary.text)) {
        dm_error ignored;
        const dm_status removed = dm_dir_remove(o->temporary.text, status == DM_OK ? err : &ignored);
        status = status == DM_OK ? removed : status;
    }
    if (status == DM_OK)
        dm_temporary_move(o->temporary.text, o->path.text);
    else
        dm_temporary_drop(o->temporary.text);
    dm_temporary_release(&before);
    close(o->fd);
    o->fd = -1;
    return status;
}
