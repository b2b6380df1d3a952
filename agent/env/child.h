/* A child process that answers each line with a line, over its standard input and output.
 *
 * It is a shell command in a process group of its own: Ctrl-C does not reach it, and stopping it stops what it started
 * too, wherever that is (agent/env/watcher.h), and so does our own end. Its standard error is ours. Every wait has a
 * time limit. Children do not hold each other's pipes. */
#ifndef DM_AGENT_ENV_CHILD_H
#define DM_AGENT_ENV_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/env/watcher.h"
#include "core/error.h"

#define DM_CHILD_LINE ((size_t)1 << 20) /* bytes of an answer, its line end included */

typedef struct dm_child {       /* zeroed: not running */
    pid_t pid;                  /* 0: none */
    int in, out;                /* our ends of its standard input and output */
    char *data;                 /* [DM_CHILD_LINE] what it said */
    size_t size;                /* bytes of it */
    char mark[DM_WATCHER_MARK]; /* of everything that it starts */
} dm_child;

/* sh -c COMMAND */
dm_status dm_child_start(dm_child *c, const char *command, dm_error *err);

/* Sends request[0..size), which ends with a line end, and waits for one line; *line is without its line end,
 * terminated by NUL, valid until the next call. DM_ERR_FILE: it ended, or was silent for longer than `seconds`; a new
 * child may do better. DM_ERR_INTERRUPTED: by dm_child_interrupt. DM_ERR_INPUT: it wrote more than one line, or one
 * without an end. After either, stop it. */
dm_status dm_child_ask(dm_child *c, const char *request, size_t size, double seconds, const char **line, size_t *length,
                       dm_error *err);

/* For a signal handler: every wait for an answer, now or later, ends with DM_ERR_INTERRUPTED. */
void dm_child_interrupt(void);
/* For a signal handler that ends the process: kills every child and what it has started. */
void dm_child_kill_all(void);

/* Closes its standard input and waits a moment for it to end, unless `at_once`; then terminates and then kills it.
 * Nothing of it is left when this returns. A zeroed child is fine. */
void dm_child_stop(dm_child *c, bool at_once);

#endif
