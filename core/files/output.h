/* A file written piece by piece, or a directory of files, that appears whole or not at all.
 *
 * Both are made beside their place, as PATH.tmp-dmpo (in a directory that is there already: as PATH/.tmp-dmpo), which
 * is locked while it is written: two processes never write one output, and what a killed one left is written over by
 * the next. */
#ifndef DM_CORE_FILES_OUTPUT_H
#define DM_CORE_FILES_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"
#include "core/files/path.h"
#include "core/sha256.h"

#define DM_OUTPUT_SUFFIX ".tmp-dmpo"

typedef struct dm_output {
    const char *path; /* for messages: the file that the caller asked for */
    char *temporary;  /* the file being written */
    int fd;
    dm_sha256 hash;
} dm_output;

/* Creates the temporary file of a file that the caller owns: an existing one is replaced, another writer is waited for.
 * `path` must live until dm_output_close. */
dm_status dm_output_open(dm_output *o, const char *path, dm_error *err);
/* Of a file that a user named: refused when it is there already, unless `overwrite`, and while another process writes
 * it (core/files/place.h, core/files/lock.h). */
dm_status dm_output_open_new(dm_output *o, const char *path, bool overwrite, dm_error *err);
dm_status dm_output_add(dm_output *o, const void *data, size_t size, dm_error *err);
/* Ends the file. With status DM_OK it is flushed to disk and renamed to path, and hex (optional) receives its SHA-256;
 * with any other status, or when that fails, nothing remains. Returns the status, or the error of what failed. */
dm_status dm_output_close(dm_output *o, dm_status status, char hex[DM_SHA256_HEX], dm_error *err);

/* Whole files in one call, as the two ways of opening. */
dm_status dm_output_write(const char *path, bool overwrite, const void *data, size_t size, dm_error *err);

typedef struct dm_output_dir {
    dm_path path;      /* without slashes at its end */
    dm_path temporary; /* write the files here */
    int fd;            /* -1: closed */
} dm_output_dir;

/* Creates the temporary directory, and what leads there, for a directory that a user named: refused as a file is. */
dm_status dm_output_dir_open(dm_output_dir *o, const char *path, bool overwrite, dm_error *err);
/* With status DM_OK the directory gets its name, or its files move into the one that is there, one after the other, in
 * place of those with the same names; with any other status nothing remains. Fine when it was not opened: zeroed with
 * fd -1. */
dm_status dm_output_dir_close(dm_output_dir *o, dm_status status, dm_error *err);

#endif
