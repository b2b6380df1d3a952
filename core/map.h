/* A file mapped for reading. The file must not shrink while it is: nobody can tell then but by a signal. */
#ifndef DM_CORE_MAP_H
#define DM_CORE_MAP_H

#include <stddef.h>

#include "core/error.h"

typedef struct dm_file_map {
    const unsigned char *data; /* NULL: nothing mapped */
    size_t size;
} dm_file_map;

/* Maps a regular file of at least `least` bytes (1 or more); `what` names its kind for messages ("a GGUF header"). */
dm_status dm_file_map_open(dm_file_map *out, const char *path, size_t least, const char *what, dm_error *err);
void dm_file_map_close(dm_file_map *m); /* fine on a zeroed one */

/* Tells the system that these bytes are not needed for now: their pages leave the process and are read again when
 * touched. */
void dm_file_map_release(const dm_file_map *m, const void *begin, size_t size);

#endif
