/* An answer that arrives in pieces of bytes, shown in whole characters and up to the text that ends it. */
#ifndef DM_CLI_STREAM_H
#define DM_CLI_STREAM_H

#include <stdio.h>

#include "io/json.h"
#include "model/infer/stop_text.h"

typedef struct cli_stream {
    dm_text text;             /* the text so far, valid UTF-8: invalid bytes became U+FFFD */
    FILE *out;                /* NULL: the text is only collected */
    int terminal;             /* control characters are shown as U+FFFD */
    dm_stop_text stop;        /* .met: it came, and the answer is over */
    unsigned char pending[4]; /* the beginning of a character */
    size_t n_pending;
} cli_stream;

/* stop: the text, which must stay, or NULL. */
void cli_stream_open(cli_stream *s, FILE *out, const char *stop);
dm_status cli_stream_add(cli_stream *s, const char *bytes, size_t n, dm_error *err);
/* What was held back is shown; an incomplete character becomes U+FFFD; the output ends with a newline. */
dm_status cli_stream_end(cli_stream *s, dm_error *err);
void cli_stream_close(cli_stream *s); /* fine on a zeroed struct */

#endif
