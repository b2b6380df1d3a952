/* What this process has made and not finished, for a signal handler to remove: nothing half-written stays behind. */
#ifndef DM_CORE_FILES_TEMPORARY_H
#define DM_CORE_FILES_TEMPORARY_H

#include <signal.h>

/* Between them something is made and added, or put in its place and dropped: the signals that end a program (SIGINT,
 * SIGTERM, SIGHUP) wait until then, in this thread. Nothing between them may wait for another process. */
void dm_temporary_hold(sigset_t *before);
void dm_temporary_release(const sigset_t *before);

/* Remembers a file or directory that is removed if the process ends now. Names that are longer than a path may be, or
 * more than there is room for, are not remembered; the next writer of the same output clears them away. */
void dm_temporary_add(const char *path);

/* Forgets it, and what was remembered below it. */
void dm_temporary_drop(const char *path);

/* It is at `to` now. Forgets it and what was remembered below it or, where `to` lies in a directory that is remembered,
 * remembers all of them at their new place. */
void dm_temporary_move(const char *path, const char *to);

/* `path` lies in a directory that is remembered. */
int dm_temporary_covers(const char *path);

/* Removes everything that is remembered, the newest first. Async-signal-safe. */
void dm_temporary_remove_all(void);

#endif
