/* A directory for a process's own files, in $TMPDIR or /tmp. A killed process cannot remove its own: the next one that
 * makes one does. It is locked (core/files/lock.h) and has the process's number in its name, and only one whose lock
 * and whose process are gone is removed, so that neither a file system without locks nor a process that cannot be seen
 * from here loses a directory in use. */
#ifndef DM_CORE_FILES_SCRATCH_H
#define DM_CORE_FILES_SCRATCH_H

#include "core/files/path.h"

typedef struct dm_scratch {
    dm_path path; /* "": there is none */
    int fd;
} dm_scratch;

/* Makes it; a signal that ends the process removes it. Close it in any case. */
dm_status dm_scratch_open(dm_scratch *s, dm_error *err);
/* Removes it with all that is in it. Fine for one of zeros. */
void dm_scratch_close(dm_scratch *s);

#endif
