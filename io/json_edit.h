/* Changes one member of a JSON file's object and leaves the rest of its text as it is, numbers' digits included. */
#ifndef DM_IO_JSON_EDIT_H
#define DM_IO_JSON_EDIT_H

#include "core/text.h"
#include "io/json.h"

/* Sets member `key` of the object in `text` (valid JSON otherwise refused, `name` begins messages) to `value`, JSON
 * text, or with NULL removes it. The new text replaces the old one; on failure it stays. */
dm_status dm_json_edit(dm_text *text, const char *key, const char *value, const char *name, dm_error *err);

/* The same in a file, which must be there. */
dm_status dm_json_edit_file(const char *path, const char *key, const char *value, dm_error *err);

#endif
