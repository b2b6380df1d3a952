/* Rollouts: a policy plays episodes of an environment, many at once, and writes them to a file
 * (agent/rollout/episode.h).
 *
 * The file is the same, bit for bit, for every number of episodes at once, of threads, for every ISA, and after a kill
 * and restart: an episode depends on the options and its task only, and lines are written in the order of the list of
 * episodes. That order is task after task, the samples of one task in a row; for continuations, episode after
 * episode, by the turn where they begin, samples in a row.
 *
 * OUTPUT.run.json, beside OUTPUT, records the options. With the same options again a run continues after the last
 * whole line; with others it is refused. */
#ifndef DM_AGENT_ROLLOUT_ROLLOUT_H
#define DM_AGENT_ROLLOUT_ROLLOUT_H

#include "agent/rollout/episode.h"
#include "dmpo.h"
#include "io/data/template.h"
#include "model/network/config.h"

typedef enum dm_rollout_player {
    DM_ROLLOUT_PLAYER_MODEL,
    DM_ROLLOUT_PLAYER_EXPERT,
    DM_ROLLOUT_PLAYER_RANDOM,
    DM_ROLLOUT_PLAYERS
} dm_rollout_player;

extern const char *const dm_rollout_player_names[DM_ROLLOUT_PLAYERS + 1]; /* "model", "expert", "random", NULL */

#define DM_ROLLOUT_CONTINUE_ALL ((int64_t)-1)

/* A policy that is in memory already, in place of a path; what it points to outlives the rollout. Its cache must know
 * nothing of other weights (dm_session_forget). */
typedef struct dm_rollout_live {
    dmpo_model *session; /* of at least `at_once` slots */
    size_t slots, max_length;
    const dm_config *config;
    dm_tokenizer *tokenizer;
    const dm_chat_template *chat;
    char sha256[DM_SHA256_HEX]; /* for the episodes' "model" */
} dm_rollout_live;

typedef struct dm_rollout_options {
    const dm_rollout_live *live;  /* NULL: `model` is a path */
    const char *env;              /* specification (agent/env/env.h); with `from` it may be NULL: what the file names */
    int split;                    /* dm_env_split */
    int player;                   /* dm_rollout_player */
    const char *model;            /* directory, of DM_ROLLOUT_PLAYER_MODEL only */
    const char *base;             /* of an adapter as model; NULL: where it says */
    const char *chat_template;    /* NULL: the model's own */
    const char *template_options; /* NAME=VALUE,...; NULL: none */
    const char *output;           /* file */
    bool overwrite;               /* start again, whatever OUTPUT holds */

    int64_t first, tasks; /* tasks first .. first + tasks - 1 of the split; tasks 0: all from `first` on */
    int64_t samples;      /* episodes of each task, >= 1 */
    uint64_t env_seed;    /* the environment's */

    const char *from;    /* a file of episodes to continue, in place of split, first, tasks and env_seed */
    int64_t continue_at; /* give the first so many turns; episodes that have no more are left out;
                          * DM_ROLLOUT_CONTINUE_ALL: 0, 1, ... turns - 1 of them */

    double temperature; /* 0: greedy */
    int64_t top_k;      /* 0: all */
    double top_p;       /* (0, 1] */
    uint64_t seed;      /* of sampling, and of the random player */
    int precision;      /* dm_precision, of products with weights */
    const char *stop;   /* text that ends a turn, or NULL; the end-of-turn token always does */

    int64_t max_turns;  /* of an episode, given ones included; 0: the environment's own limit */
    int64_t max_tokens; /* of a turn, without its end-of-turn token, which is appended to a turn that is cut */
    int64_t max_length; /* tokens of an episode; a turn begins only where max_tokens fit. 0: the model's positions, at
                         * most 4096 */
    int64_t at_once;    /* episodes in flight, 1..256; 0: 32, fewer where their cache would take more than 2 GiB or
                         * the environment asks for fewer */
} dm_rollout_options;

void dm_rollout_defaults(dm_rollout_options *o);

typedef struct dm_rollout_status {
    int64_t done, total; /* episodes, those of an earlier run included */
    int64_t played;      /* in this run */
    int64_t turns;       /* of the policy in this run */
    int64_t tokens;      /* generated for these */
    double reward;       /* sum over the `written` ones, in the file's order */
    double success;      /* how many of these have a reward of 1 */
    int64_t written;     /* episodes in the file: done, except those that wait for an earlier one */
    int64_t failed;      /* of these, whose environment failed */
} dm_rollout_status;

/* Called often, on the calling thread. note: something a person should know, or NULL. Nonzero stops: episodes that are
 * done are written, those under way are lost, and the run ends with DM_ERR_INTERRUPTED. */
typedef int (*dm_rollout_fn)(void *context, const dm_rollout_status *status, const char *note);

/* Plays until the file is complete. An episode whose environment fails (DM_ERR_FILE, DM_ERR_INPUT) ends there, with
 * reward 0 and end "environment"; three of these in a row stop the run, and are played again by the next one. */
dm_status dm_rollout(dmpo_engine *engine, const dm_rollout_options *options, dm_rollout_fn fn, void *context,
                     dm_rollout_status *result, dm_error *err);

#endif
