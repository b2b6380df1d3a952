/* Locks that a dead process does not hold: the system gives them back with the descriptor (flock). */
#ifndef DM_CORE_FILES_LOCK_H
#define DM_CORE_FILES_LOCK_H

#include <stdbool.h>

#include "core/error.h"

/* Opens `path` with `flags` (O_CREAT: mode 0666) and locks it for this process, until *fd is closed. Messages are about
 * `named`, for which it stands. When another one
 * holds the lock: waits for it with `wait`, else DM_ERR_FILE with a line that names its process where that is known.
 * The name and the descriptor are the same file when this returns. File systems without locks are written without. */
dm_status dm_lock_open(int *fd, const char *path, const char *named, int flags, bool wait, dm_error *err);

/* Fails when `path` is no longer the file or directory that `fd` has open: it was removed, moved or replaced. */
dm_status dm_lock_check(int fd, const char *path, dm_error *err);

#endif
