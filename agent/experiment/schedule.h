/* Runs the stages of a plan, several at once, each in a process of its own that calls the command's function. On
 * several ranks (core/ranks.h), which all see the plan's output directory, rank 0 hands the stages out, to itself too;
 * whatever runs them, results are the same. */
#ifndef DM_AGENT_EXPERIMENT_SCHEDULE_H
#define DM_AGENT_EXPERIMENT_SCHEDULE_H

#include "agent/experiment/stages.h"

typedef enum dm_schedule_event_kind {
    DM_SCHEDULE_STARTED,
    DM_SCHEDULE_DONE,
    DM_SCHEDULE_FAILED, /* `text` says why, where its log is, and the log's last line */
    DM_SCHEDULE_TICK    /* several times a second */
} dm_schedule_event_kind;

typedef struct dm_schedule_event {
    dm_schedule_event_kind kind;
    const dm_stage *stage; /* NULL: about no single one */
    const char *text;
    size_t done, total; /* of the stages asked for, those that were done before included */
    size_t running, failed;
    double seconds; /* since the start */
} dm_schedule_event;

/* Nonzero stops: running stages get SIGTERM, and no other one is started. */
typedef int (*dm_schedule_fn)(void *context, const dm_schedule_event *event);

typedef struct dm_schedule_options {
    unsigned jobs;    /* stages at once on each rank, >= 1 */
    unsigned threads; /* of each stage */
    const char *isa;  /* NULL: each stage chooses the best */
    bool beside;      /* others may run other stages of the same directory meanwhile, in the same way */
} dm_schedule_options;

/* Runs what is not done. When a stage fails, those that need it are left out and the others continue; the status is
 * then that of a failure. Two at once in one output directory are refused. */
dm_status dm_schedule_run(dm_experiment_plan *plan, const dm_experiment_commands *commands,
                          const dm_schedule_options *options, dm_schedule_fn fn, void *context, dm_error *err);

/* What the other ranks do meanwhile, with the same plan: they run what rank 0 hands them, until it ends. fn gets
 * DM_SCHEDULE_TICK alone. */
dm_status dm_schedule_serve(dm_experiment_plan *plan, const dm_experiment_commands *commands,
                            const dm_schedule_options *options, dm_schedule_fn fn, void *context, dm_error *err);

#endif
