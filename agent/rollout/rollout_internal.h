/* What the files of rollouts share: the list of episodes, the output file, the episodes in flight, the players. */
#ifndef DM_AGENT_ROLLOUT_ROLLOUT_INTERNAL_H
#define DM_AGENT_ROLLOUT_ROLLOUT_INTERNAL_H

#include "agent/rollout/rollout.h"
#include "core/sha256.h"
#include "core/numbers/block.h"
#include "io/data/template.h"
#include "model/infer/stop_text.h"
#include "model/network/config.h"

/* ---- which episodes (agent/rollout/rollout_list.c) ---- */

typedef struct dm_rollout_assignment {
    dm_env_split split;
    int64_t task, sample;
    uint64_t seed;
    const dm_episode *source; /* whose first turns are given, or NULL */
    int64_t given;
} dm_rollout_assignment;

typedef struct dm_rollout_assignments {
    const char *env; /* specification */
    dm_rollout_assignment *list;
    size_t n;
    dm_episodes source;                /* of options->from */
    char source_sha256[DM_SHA256_HEX]; /* "" without */
} dm_rollout_assignments;

/* The environment's specification, and with `from` the episodes to continue. */
dm_status dm_rollout_assignments_open(dm_rollout_assignments *a, const dm_rollout_options *o, dm_error *err);
/* The list; env: an open one. */
dm_status dm_rollout_assignments_make(dm_rollout_assignments *a, const dm_rollout_options *o, const dm_env *env,
                                      dm_error *err);
void dm_rollout_assignments_close(dm_rollout_assignments *a);

/* An episode's name, and the number that its random numbers are drawn with: a function of all of the name but the
 * environment's specification, which may be a path. Appends the name. */
uint64_t dm_rollout_assignment_name(dm_text *name, const dm_rollout_assignments *a, size_t index);

/* ---- the file (agent/rollout/rollout_file.c) ---- */

typedef struct dm_rollout_line { /* an episode that is done and waits to be written */
    dm_text text;
    double reward;
    bool failed; /* its environment did */
} dm_rollout_line;

typedef struct dm_rollout_file {
    const char *path;
    int fd;                /* -1: closed */
    dm_rollout_line *line; /* [window] episode i waits in line[i % window] */
    size_t window, total;
    size_t written;         /* episodes in the file */
    size_t failed;          /* of these, whose environment failed */
    double reward, success; /* sums over them */
    double synced;          /* when, in seconds */
} dm_rollout_file;

/* Opens for the first episode that is missing. run: the text of OUTPUT.run.json. */
dm_status dm_rollout_file_open(dm_rollout_file *f, const dm_rollout_options *o, const dm_rollout_assignments *a,
                               const dm_text *run, size_t window, dm_error *err);
/* The line of an episode. */
dm_status dm_rollout_line_make(dm_rollout_line *line, const dm_episode *e, dm_error *err);
/* Takes the line of episode `index`, index < written + window, and writes what is in order now. Failed ones are held
 * back until a later one has not failed, or the end. */
dm_status dm_rollout_file_add(dm_rollout_file *f, size_t index, const dm_rollout_line *line, dm_error *err);
/* Returns once everything is on disk. */
dm_status dm_rollout_file_close(dm_rollout_file *f, dm_error *err);

/* ---- episodes in flight (agent/rollout/rollout_episode.c) ---- */

#define DM_ROLLOUT_IDLE SIZE_MAX
#define DM_ROLLOUT_AT_ONCE 32

/* One episode in flight. */
typedef struct dm_rollout_flight {
    size_t index; /* of the list; DM_ROLLOUT_IDLE: none */
    uint64_t stream;
    dm_env *env;
    dm_observation seen;
    dm_episode episode; /* it has ended when `end` is not NULL */
    size_t room;        /* for turns */
    dm_block *memory;   /* the episode's strings */
    dm_text name;

    dm_ids ids; /* all of it so far */
    int32_t *out;
    float *logps;
    dm_stop_text said; /* bytes of the turn at hand, where a text can end it */
    dmpo_sampling sampling;
} dm_rollout_flight;

typedef struct dm_rollout_run {
    const dm_rollout_options *o;
    dm_rollout_assignments todo;
    dm_rollout_file file;
    dm_rollout_fn fn;
    void *context;
    dm_rollout_status status;
    dm_rollout_status reported; /* what rank 0 knows of it */
    dm_error *err;
    dm_status s; /* DM_OK, or why it stops */
    size_t next; /* first of the list that has not been started */
    dm_rollout_flight *flight;
    size_t flights;
    int failures; /* environments that failed in a row */

    /* of a model */
    dm_config config;
    dm_tokenizer *tokenizer;
    dm_chat_template chat;
    char model_sha256[DM_SHA256_HEX], tokenizer_sha256[DM_SHA256_HEX];
    char identity[DM_SHA256_HEX]; /* dm_template_identity */
    size_t max_length;
    int32_t stop[DM_ENDS_MAX + 1]; /* [n_stop] ends of a text, end of a turn */
    size_t n_stop;
    dmpo_model *model;
    dmpo_request *request; /* [flights] */
} dm_rollout_run;

/* Reports progress to the caller. True: the run has to stop. note may be NULL. */
bool dm_rollout_report(dm_rollout_run *r, const char *note);
dm_status dm_rollout_no_memory(const dm_rollout_run *r);

/* Gives the flight the next episode of the list. False: the list is done, or the episode would wait too long for its
 * place in the file. */
bool dm_rollout_flight_claim(dm_rollout_run *r, dm_rollout_flight *f);
/* Resets the environment and replays what is given. */
dm_status dm_rollout_flight_begin(dm_rollout_run *r, dm_rollout_flight *f);
/* One turn: the policy's words and the environment's answer to them. said: the model's tokens; NULL: not a model's. */
dm_status dm_rollout_flight_turn(dm_rollout_run *r, dm_rollout_flight *f, const char *words, size_t size,
                                 const dmpo_request *said);
/* Hands the episode to the file; the flight is idle. */
dm_status dm_rollout_flight_finish(dm_rollout_run *r, dm_rollout_flight *f);

/* ---- several ranks (agent/rollout/rollout_ranks.c); alone they do nothing ---- */

/* s, err: how opening went here. Fails on all ranks when one has failed or has other options; else all know how much
 * there is already. */
dm_status dm_rollout_ranks_open(dm_rollout_run *r, dm_status s, const dm_text *described);
/* To rank 0; frees the line. */
dm_status dm_rollout_ranks_send(dm_rollout_run *r, size_t index, dm_rollout_line *line);
/* Rank 0: writes what has arrived. */
dm_status dm_rollout_ranks_take(dm_rollout_run *r);
/* Rank 0, which has nothing left to play: waits for the others. */
dm_status dm_rollout_ranks_finish(dm_rollout_run *r);

/* ---- players: each returns when the list is done or r->s is not DM_OK ---- */

dm_status dm_rollout_scripted(dm_rollout_run *r); /* agent/rollout/rollout_scripted.c */

/* agent/rollout/rollout_model.c: tokenizer, template and lengths, before any weight is read; how many episodes are in
 * flight; and the play. */
dm_status dm_rollout_policy(dm_rollout_run *r);
size_t dm_rollout_at_once(const dm_rollout_run *r, const dm_env *env);
dm_status dm_rollout_model(dm_rollout_run *r, dmpo_engine *engine);

#endif
