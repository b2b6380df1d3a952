/* Pipes to other programs. */
#ifndef DM_AGENT_ENV_PIPES_H
#define DM_AGENT_ENV_PIPES_H

#include <stddef.h>
#include <sys/types.h>

/* A pipe whose ends no other program inherits, and none of which is a standard stream: a dup2 onto itself in the child
 * would leave it close-on-exec. Returns 0 or an errno; an end that could not be opened is -1. */
int dm_pipe_open(int end[2]);

/* write(2) without the SIGPIPE of a reader that is gone, whatever the program does about that signal. */
ssize_t dm_pipe_write(int fd, const char *data, size_t size);

#endif
