/* A regular file read by position. Never mapped: a mapped file that shrinks, or whose disk fails, kills the process
 * with a signal, while a failed read is an error like any other. */
#ifndef DM_CORE_FILES_INPUT_H
#define DM_CORE_FILES_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

typedef struct dm_input {
    const char *path; /* the caller's, must outlive this; NULL: not open */
    int fd;
    uint64_t size; /* when it was opened */
} dm_input;

/* Opens a regular file; never blocks, as opening a pipe would. On failure nothing is open. */
dm_status dm_input_open(dm_input *in, const char *path, dm_error *err);
void dm_input_close(dm_input *in); /* accepts a zeroed one */

/* Exactly `size` bytes from `offset` on; safe from several threads. Fewer bytes are an error that says so. */
dm_status dm_input_read(const dm_input *in, void *out, size_t size, uint64_t offset, dm_error *err);

/* A part of a file, read from its beginning to its end in pieces. */
typedef struct dm_input_part {
    const dm_input *in;
    uint64_t end;      /* of the part */
    uint64_t until;    /* end of what is read */
    size_t used, next; /* bytes[next..used) are read but not taken yet */
    unsigned char bytes[32768];
} dm_input_part;

void dm_input_part_begin(dm_input_part *p, const dm_input *in, uint64_t begin, uint64_t size);
/* *out: the next `size` bytes, at most sizeof p->bytes and what is left of the part; they stay until the next call. */
dm_status dm_input_part_next(dm_input_part *p, size_t size, const unsigned char **out, dm_error *err);

#endif
