#include "core/files/place.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "core/files/output.h" /* DM_OUTPUT_SUFFIX: what a killed writer left is nobody's */

bool dm_place_same(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool is_empty_dir(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    bool empty = dir != NULL;
    while (empty && (errno = 0, entry = readdir(dir)) != NULL)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                strcmp(entry->d_name, DM_OUTPUT_SUFFIX) == 0;
    empty = empty && errno == 0;
    if (dir)
        closedir(dir);
    return empty;
}

bool dm_place_is_free(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT || errno == ENOTDIR; /* what cannot be looked at may be something */
    if (S_ISLNK(st.st_mode) && stat(path, &st) != 0)
        return false; /* a link to nowhere is somebody's, too */
    return S_ISDIR(st.st_mode) ? is_empty_dir(path) : S_ISREG(st.st_mode) && st.st_size == 0;
}

dm_status dm_place_check(const char *path, bool overwrite, dm_error *err)
{
    if (overwrite || dm_place_is_free(path))
        return DM_OK;
    return dm_fail(err, DM_ERR_FILE, "%s: already exists; name another `output`, or `overwrite` replaces it", path);
}

dm_status dm_place_apart(const char *output, const char *input, dm_error *err)
{
    if (!input || !dm_place_same(output, input))
        return DM_OK;
    return dm_fail(err, DM_ERR_FILE, "%s: is an input of this command; name another `output`", output);
}
