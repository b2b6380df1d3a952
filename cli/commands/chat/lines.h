/* Lines from standard input, and Ctrl-C while waiting for one or doing something else. */
#ifndef DM_CLI_COMMANDS_CHAT_LINES_H
#define DM_CLI_COMMANDS_CHAT_LINES_H

#include <stdbool.h>

#include "io/json.h"

#define CLI_LINE_MAX 4095 /* bytes of a line that Linux's terminals keep while it is typed */

typedef enum cli_got { CLI_GOT_LINE, CLI_GOT_END, CLI_GOT_INTERRUPT } cli_got;

typedef struct cli_lines {
    dm_text line;     /* the last one, without its line end (LF or CR LF); data NULL when it is empty */
    bool cut;         /* it is as long as a terminal's lines may be: what was typed beyond that is lost */
    long long number; /* of the last one, from 1 */
    char buffer[4096];
    size_t at, n; /* buffer[at..n) is not consumed yet */
    bool end;
} cli_lines;

/* From here on Ctrl-C (and SIGTERM) does not end the process: cli_lines_next and cli_lines_interrupted report it. */
void cli_lines_catch(void);
bool cli_lines_interrupted(void); /* since the last cli_lines_calm; no signal is lost between these two */
bool cli_lines_terminated(void);  /* by SIGTERM, which no cli_lines_calm undoes */
void cli_lines_calm(void);

/* Waits for a line. Ctrl-C drops what was typed of it. */
dm_status cli_lines_next(cli_lines *l, cli_got *got, dm_error *err);
void cli_lines_close(cli_lines *l);

#endif
