/* What a directory holds. */
#ifndef DM_CORE_FILES_LIST_H
#define DM_CORE_FILES_LIST_H

#include <stddef.h>

#include "core/error.h"

typedef struct dm_names {
    char **name; /* sorted by their bytes */
    size_t n;
} dm_names;

/* Names in the directory `path`, without those that begin with a dot. Free them with dm_names_free, on failure too. */
dm_status dm_names_list(dm_names *out, const char *path, dm_error *err);
void dm_names_free(dm_names *names);

#endif
