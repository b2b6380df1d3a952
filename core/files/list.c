#include "core/files/list.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void dm_names_free(dm_names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->name[i]);
    free(names->name);
    *names = (dm_names){0};
}

static bool add(dm_names *out, size_t *room, const char *name)
{
    const size_t size = strlen(name) + 1;

    if (out->n == *room) {
        char **more = realloc(out->name, (*room ? 2 * *room : 64) * sizeof *more);
        if (!more)
            return false;
        out->name = more;
        *room = *room ? 2 * *room : 64;
    }
    if (!(out->name[out->n] = malloc(size)))
        return false;
    memcpy(out->name[out->n++], name, size);
    return true;
}

dm_status dm_names_list(dm_names *out, const char *path, dm_error *err)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    size_t room = 0;
    bool whole = true;

    *out = (dm_names){0};
    if (!dir)
        return dm_fail(err, DM_ERR_FILE, "%s: cannot read the directory", path);
    while (whole && (errno = 0, entry = readdir(dir)) != NULL)
        whole = entry->d_name[0] == '.' || add(out, &room, entry->d_name);
    const int why = whole ? errno : 0;
    closedir(dir);
    if (why)
        return dm_fail(err, DM_ERR_FILE, "%s: cannot read the directory: %s", path, strerror(why));
    if (!whole)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its names", path);
    if (out->n)
        qsort(out->name, out->n, sizeof *out->name, by_name); /* names in a directory differ */
    return DM_OK;
}
