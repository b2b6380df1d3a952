/* Environments: a task in words, actions in words, observations in words, a score.
 *
 * An environment is deterministic: the same split, task, seed and actions give the same texts and scores, on every
 * machine. Everything random in it is dm_random(seed, DM_RNG_ENV, stream, counter). Built-in ones never fail; one in
 * another process (agent/env/protocol.h) may. */
#ifndef DM_AGENT_ENV_ENV_H
#define DM_AGENT_ENV_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* Tasks to learn from; other tasks of the same kind; tasks whose parameters (which object where, which product, which
 * substance) never occur together in the other two. */
typedef enum dm_env_split { DM_ENV_SPLIT_TRAIN, DM_ENV_SPLIT_SEEN, DM_ENV_SPLIT_UNSEEN, DM_ENV_SPLITS } dm_env_split;

extern const char *const dm_env_split_names[DM_ENV_SPLITS + 1]; /* "train", "seen", "unseen", NULL */

typedef struct dm_observation {
    const char *text; /* UTF-8, the environment's, valid until its next call */
    double score;     /* [0, 1], of the episode so far; its value at the end is the episode's reward */
    bool done;        /* takes no more actions */
} dm_observation;

typedef struct dm_env dm_env;

typedef struct dm_env_class {
    const char *name;
    const char *summary; /* one line for people */
    size_t size;         /* of an environment's state, which begins with a dm_env; zeroed before open */

    /* Fills the members after `class` in *env. `arguments` is what followed "NAME:" in the specification, or NULL. */
    dm_status (*open)(dm_env *env, const char *arguments, dm_error *err);
    /* Begins an episode; o->text is the task in words, a blank line, "Observation: " and the first observation. */
    dm_status (*reset)(dm_env *env, dm_env_split split, int64_t task, uint64_t seed, dm_observation *o, dm_error *err);
    /* action: one line without "Action: ". One that is not understood or not possible costs a turn and is answered
     * by an observation that says so. */
    dm_status (*step)(dm_env *env, const char *action, dm_observation *o, dm_error *err);
    /* The caller ends the episode before it is done: an error if what the environment said of it does not count. May be
     * NULL. */
    dm_status (*leave)(dm_env *env, dm_error *err);
    /* The next action of an expert from the present state, NULL where the expert has none. */
    const char *(*expert)(dm_env *env);
    /* Actions that are understood and possible now; *actions is the environment's until its next call. 0: not known. */
    size_t (*admissible)(dm_env *env, const char *const **actions);
    void (*close)(dm_env *env); /* may be NULL; frees what open and the others took, not env itself */
} dm_env_class;

struct dm_env {
    const dm_env_class *class;
    const char *instruction;      /* the first message of every episode: what the game is and which actions there are */
    int64_t tasks[DM_ENV_SPLITS]; /* how many each split has: 0 .. tasks - 1 */
    int64_t max_turns;            /* the episode is done after as many actions */
    int64_t at_once;              /* the most episodes at once that are sensible; 0: any number */
};

void dm_env_close(dm_env **env); /* sets *env to NULL; NULL is fine */

/* As the class's functions, with the checks that all share: a task out of its split's range is DM_ERR_ARGUMENT, a step
 * of an episode that is done DM_ERR_INTERNAL. */
dm_status dm_env_reset(dm_env *env, dm_env_split split, int64_t task, uint64_t seed, dm_observation *o, dm_error *err);
dm_status dm_env_step(dm_env *env, const char *action, dm_observation *o, dm_error *err);
dm_status dm_env_leave(dm_env *env, dm_error *err);

#endif
