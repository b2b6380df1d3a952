/* Text that arrives in pieces of bytes, shown in whole characters. */
#ifndef DM_CLI_STREAM_H
#define DM_CLI_STREAM_H

#include <stdio.h>

#include "io/json.h"

typedef struct cli_stream {
    dm_text text;             /* the text so far, valid UTF-8: invalid bytes became U+FFFD */
    FILE *out;                /* NULL: the text is only collected */
    int terminal;             /* control characters are shown as U+FFFD */
    unsigned char pending[4]; /* the beginning of a character */
    size_t n_pending;
} cli_stream;

void cli_stream_open(cli_stream *s, FILE *out);
dm_status cli_stream_add(cli_stream *s, const char *bytes, size_t n, dm_error *err);
/* An incomplete character becomes U+FFFD; the output ends with a newline. */
dm_status cli_stream_end(cli_stream *s, dm_error *err);
void cli_stream_close(cli_stream *s); /* fine on a zeroed struct */

#endif
