/* A file written piece by piece that appears whole or not at all, and its SHA-256. */
#ifndef DM_CORE_OUTPUT_H
#define DM_CORE_OUTPUT_H

#include <stddef.h>

#include "core/error.h"
#include "core/sha256.h"

typedef struct dm_output {
    const char *path; /* for messages: the file that the caller asked for */
    char *temporary;  /* the file being written: "path.tmp-PID" */
    int fd;
    dm_sha256 hash;
} dm_output;

/* Creates the temporary file. `path` must live until dm_output_close. */
dm_status dm_output_open(dm_output *o, const char *path, dm_error *err);
dm_status dm_output_add(dm_output *o, const void *data, size_t size, dm_error *err);
/* Ends the file. With status DM_OK it is flushed to disk and renamed to path, and hex (optional) receives its SHA-256;
 * with any other status, or when that fails, nothing remains. Returns the status, or the error of what failed. */
dm_status dm_output_close(dm_output *o, dm_status status, char hex[DM_SHA256_HEX], dm_error *err);

#endif
