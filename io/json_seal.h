/* An object whose last member is the SHA-256 of all its bytes before that member: a flipped bit anywhere is seen. */
#ifndef DM_IO_JSON_SEAL_H
#define DM_IO_JSON_SEAL_H

#include "io/json.h"

/* Writes the member "checksum" and closes the object, the only value of w->out; then a newline. */
void dm_json_seal(dm_json_writer *w);

/* Whether these bytes, parsed as `doc`, are as they were sealed. */
bool dm_json_seal_holds(const dm_json_doc *doc, const char *data, size_t size);

#endif
