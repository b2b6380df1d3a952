/* Ends what environments have started when this process no longer can: it was killed, or a program has left its process
 * group (setsid).
 *
 * Every program of an environment has DMPO_ENVIRONMENT=MARK-NUMBER in its environment variables, which whatever it
 * starts inherits; where /proc shows them (Linux), nothing that it has started escapes unless it clears them. A second
 * process, a few lines for sh, learns of each program through a pipe. When the pipe ends while programs are running, it
 * kills their process groups, and what has the mark.
 *
 * Only agent/env/child.c calls this, one thread at a time. */
#ifndef DM_AGENT_ENV_WATCHER_H
#define DM_AGENT_ENV_WATCHER_H

#include <stddef.h>
#include <sys/types.h>

#define DM_WATCHER_MARK 96 /* bytes of an entry, its NUL included */

/* Before a program starts: has a watcher running, and writes the entry of its environment variables. Returns 0 or an
 * errno. */
int dm_watcher_expect(char mark[DM_WATCHER_MARK]);

/* The program runs, in a process group of this number, or (0) could not be started. */
void dm_watcher_add(pid_t group);
void dm_watcher_drop(pid_t group);

/* Kills every process that has this entry. */
void dm_watcher_kill_marked(const char *mark);

#endif
