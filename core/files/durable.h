/* Names that outlast a power cut. */
#ifndef DM_CORE_FILES_DURABLE_H
#define DM_CORE_FILES_DURABLE_H

#include "core/error.h"

/* fsync of the directory that holds `path`: a new name is on disk when its directory is. 0, or -1 and errno. EINVAL,
 * from file systems that cannot sync a directory, is not a failure. */
int dm_sync_parent(const char *path);

/* rename(2), then dm_sync_parent. */
dm_status dm_rename_durable(const char *from, const char *to, dm_error *err);

#endif
