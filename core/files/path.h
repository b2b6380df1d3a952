/* File paths: one type for all of them, as long as systems accept. */
#ifndef DM_CORE_FILES_PATH_H
#define DM_CORE_FILES_PATH_H

#include <stddef.h>

#include "core/error.h"

#define DM_PATH_MAX 4096 /* bytes, the NUL included */

typedef struct dm_path {
    char text[DM_PATH_MAX];
} dm_path;

/* printf into a path; longer than DM_PATH_MAX is an error that begins with the path. */
dm_status dm_path_print(dm_path *out, dm_error *err, const char *fmt, ...) DM_PRINTF(3, 4);

/* "dir/name", without a second slash if dir ends with one. */
dm_status dm_path_in(dm_path *out, const char *dir, const char *name, dm_error *err);

#endif
