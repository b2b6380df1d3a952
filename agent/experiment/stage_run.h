/* One stage, in a process of its own: its directory, its streams, the command, its record. */
#ifndef DM_AGENT_EXPERIMENT_STAGE_RUN_H
#define DM_AGENT_EXPERIMENT_STAGE_RUN_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent/experiment/schedule.h"

typedef struct dm_stage_runner {
    dm_experiment_plan *plan;
    const dm_experiment_commands *commands;
    const dm_schedule_options *options;
    int lock; /* OUTPUT/lock */
} dm_stage_runner;

typedef struct dm_stage_streams { /* where a stage's output goes; -1: closed */
    int log, result;
} dm_stage_streams;

/* Makes the stage's directory (empty unless it is resumable) and opens its streams. */
dm_status dm_stage_prepare(const dm_stage *s, dm_stage_streams *to, dm_error *err);
void dm_stage_close_streams(const dm_stage_streams *to);

/* In the child: runs the command, writes the record. Returns the exit status. */
int dm_stage_run(const dm_stage_runner *x, const dm_stage *s, const dm_stage_streams *to);

/* A finished run needs its checkpoint no more, and an experiment has hundreds of them. The record is written before: a
 * stage that is killed here is done, and never continued from half a checkpoint. */
dm_status dm_stage_drop_checkpoint(const dm_stage *s, dm_error *err);

/* A byte of OUTPUT/lock, for writing; command: F_SETLK or F_SETLKW. */
bool dm_stage_take_lock(int fd, off_t at, int command);

#endif
