/* What the files of rollouts share: the list of episodes (agent/rollout_list.c) and the file (agent/rollout_file.c). */
#ifndef DM_AGENT_ROLLOUT_INTERNAL_H
#define DM_AGENT_ROLLOUT_INTERNAL_H

#include "agent/rollout.h"
#include "core/sha256.h"
#include "io/block.h"

/* ---- which episodes ---- */

typedef struct dm_assignment {
    dm_split split;
    int64_t task, sample;
    uint64_t seed;
    const dm_episode *source; /* whose first turns are given, or NULL */
    int64_t given;
} dm_assignment;

typedef struct dm_assignments {
    const char *env; /* specification */
    dm_assignment *list;
    size_t n;
    dm_episodes source;                /* of options->from */
    char source_sha256[DM_SHA256_HEX]; /* "" without */
} dm_assignments;

/* The environment's specification, and with `from` the episodes to continue. */
dm_status dm_assignments_open(dm_assignments *a, const dm_rollout_options *o, dm_error *err);
/* The list; env: an open one. */
dm_status dm_assignments_make(dm_assignments *a, const dm_rollout_options *o, const dm_env *env, dm_error *err);
void dm_assignments_close(dm_assignments *a);

/* An episode's name, and the number that its random numbers are drawn with: a function of all of the name but the
 * environment's specification, which may be a path. Appends the name. */
uint64_t dm_assignment_name(dm_text *name, const dm_assignments *a, size_t index);

/* ---- the file ---- */

typedef struct dm_line { /* an episode that is done and waits to be written */
    dm_text text;
    double reward;
    int failed; /* its environment did */
} dm_line;

typedef struct dm_rollout_file {
    const char *path;
    int fd;        /* -1: closed */
    dm_line *line; /* [window] episode i waits in line[i % window] */
    size_t window, total;
    size_t written;         /* episodes in the file */
    double reward, success; /* sums over them */
    double synced;          /* when, in seconds */
} dm_rollout_file;

/* Opens for the first episode that is missing. run: what OUTPUT.run.json has to say. */
dm_status dm_rollout_file_open(dm_rollout_file *f, const dm_rollout_options *o, const dm_assignments *a,
                               const dm_text *run, size_t window, dm_error *err);
/* Takes episode `index`, index < written + window, and writes what is in order now. Failed ones are held back until one
 * that is not comes behind them, or the end. */
dm_status dm_rollout_file_add(dm_rollout_file *f, size_t index, const dm_episode *e, dm_error *err);
/* Waits for the disk. */
dm_status dm_rollout_file_close(dm_rollout_file *f, dm_error *err);

#endif
