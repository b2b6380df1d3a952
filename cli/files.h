/* What a command reads and writes whole: a text from a file or standard input, a text to a file, lines as they
 * come. */
#ifndef DM_CLI_FILES_H
#define DM_CLI_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"
#include "core/files/output.h"
#include "core/text.h"

/* Appends a file's bytes, at most `limit`. path NULL or "-": standard input; on a terminal it says what it waits
 * for. */
dm_status cli_read(dm_text *out, const char *path, size_t limit, dm_error *err);

/* Lines that go to standard output, or to a file that appears whole or not at all. */
typedef struct cli_sink {
    bool file;
    dm_output output;
} cli_sink;

/* path NULL: standard output. A place that is taken (core/files/output.h) or cannot be written fails here, before the
 * work. */
dm_status cli_sink_open(cli_sink *s, const char *path, bool overwrite, dm_error *err);
dm_status cli_sink_add(cli_sink *s, const dm_text *text, dm_error *err);
/* With status DM_OK the file is put in its place, with any other, or where that fails, nothing is left. */
dm_status cli_sink_close(cli_sink *s, dm_status status, dm_error *err);

/* Writes dir/name, whole or not at all. */
dm_status cli_write(const char *dir, const char *name, const dm_text *text, dm_error *err);

#endif
