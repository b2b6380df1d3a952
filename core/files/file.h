/* Whole files in, whole files out: a file that is written appears complete or not at all. */
#ifndef DM_CORE_FILES_FILE_H
#define DM_CORE_FILES_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/error.h"
#include "core/files/input.h"
#include "core/files/path.h"
#include "core/sha256.h"

/* Reads a regular file of at most `limit` bytes into malloc'ed memory, followed by a NUL.
 * *data is freed by the caller with free(). Larger files, directories and pipes are errors. */
dm_status dm_file_read(const char *path, size_t limit, char **data, size_t *size, dm_error *err);

/* Writes `path` atomically: beside it, flushed to disk, renamed over (core/files/output.h). */
dm_status dm_file_write(const char *path, const void *data, size_t size, dm_error *err);

/* open(2) with O_CLOEXEC and mode 0666; begins again when a signal interrupts it. */
int dm_open(const char *path, int flags);

/* False when nothing is there, or something else. What cannot be looked at (a failing disk, a directory without
 * permission) is taken to be there, so that using it reports why: a failure never reads as an absent file. */
bool dm_file_exists(const char *path);
bool dm_dir_exists(const char *path);

/* Creates `path` and missing parents. An existing directory is fine. */
dm_status dm_dir_create(const char *path, dm_error *err);

/* Removes everything in a directory (used only on directories that dm_* wrote). */
dm_status dm_dir_clear(const char *path, dm_error *err);

/* Removes a directory and everything below it (used only on directories that dm_* wrote). */
dm_status dm_dir_remove(const char *path, dm_error *err);

/* Of the file at `path`, or of one that is open. */
dm_status dm_file_sha256(const char *path, char hex[DM_SHA256_HEX], dm_error *err);
dm_status dm_input_sha256(const dm_input *in, char hex[DM_SHA256_HEX], dm_error *err);

#endif
