/* One episode of an agent in an environment, as a record: a line of a rollout's file (docs/data.md, "Episodes").
 *
 * As messages it is the authors' form: human the instruction, gpt "OK", human the task with the first observation, then
 * gpt "Action: ..." and human "Observation: ..." in turn. It ends with the agent's last action; the environment's
 * answer to that is `final`. Such a line is supervised training data for `dmpo train --objective sft` as it is. */
#ifndef DM_AGENT_ROLLOUT_EPISODE_H
#define DM_AGENT_ROLLOUT_EPISODE_H

#include "agent/env/env.h"
#include "io/json.h"
#include "io/json_writer.h"

#define DM_EPISODE_PROMPT 3 /* messages before the agent's first turn */

/* Why an episode ended: its environment said so, the limit in turns or in tokens, its environment failed. */
enum { DM_EPISODE_END_DONE, DM_EPISODE_END_TURNS, DM_EPISODE_END_LENGTH, DM_EPISODE_END_ENVIRONMENT, DM_EPISODE_ENDS };

extern const char *const dm_episode_end_names[DM_EPISODE_ENDS + 1]; /* "done", "turns", "length", "environment", NULL */

typedef struct dm_episode_turn {
    const char *action; /* the agent's words as they stand, "Action: " included */
    /* The environment's answer, beginning with "Observation: ". The last turn's is `final`, and NULL when the
     * environment failed instead. */
    const char *observation;
    double score;   /* after it */
    double logp;    /* of the words and the end of turn under the policy, nats; NaN: not a model's */
    int64_t tokens; /* of these; 0: not a model's */
    /* [n_ids] the tokens of the words and the end of turn as the model had them, also of a given turn; NULL: the text
     * alone is known. */
    const int32_t *ids;
    size_t n_ids;
    const float *token_logps; /* [n_ids] of each under the policy, nats; NULL: a given turn's */
} dm_episode_turn;

typedef struct dm_episode {
    const char *id; /* "home/train/12/0/1": env/split/task/seed/sample, followed by "@2" when turns 0..1 are replayed */
    const char *env; /* its specification */
    dm_env_split split;
    int64_t task;
    uint64_t seed;         /* of the environment */
    int64_t sample;        /* number among the samples of one task */
    const char *policy;    /* "expert", "random", or "model" */
    const char *model;     /* SHA-256 of the weights in hex; NULL: not a model's */
    const char *tokenizer; /* dm_template_identity of what its ids are of; NULL: there are none */
    double temperature;    /* 0: greedy */
    uint64_t sampling_seed;
    int64_t replayed; /* leading turns that were given, not chosen by the policy */
    double reward;    /* [0, 1], the last score */
    bool done;        /* the environment ended it */
    const char *end;  /* one of dm_episode_end_names */
    const char *prompt[DM_EPISODE_PROMPT];
    dm_episode_turn *turn; /* [turns] */
    size_t turns;
} dm_episode;

/* Member "ids" of a message, where the turn has them. */
void dm_episode_put_ids(dm_json_writer *w, const dm_episode_turn *turn);

/* Appends the record as one line of JSON with its line end. */
void dm_episode_write(dm_text *out, const dm_episode *e);

typedef struct dm_episodes {
    dm_episode *episode;
    size_t n;
    void *memory; /* owner of all of it */
} dm_episodes;

/* Reads files of such lines, in order; more than one file is one list. A last line without its line end (a killed
 * writer's) is left out. Errors name file, line and column. */
dm_status dm_episodes_read(dm_episodes *out, const char *const *paths, size_t n, dm_error *err);
void dm_episodes_close(dm_episodes *e); /* fine on a zeroed struct */

/* *action: the action in an agent's words, which follows the last "Action:" up to the line's end, blanks stripped; NULL
 * when the words have none. The caller frees it. False: no memory for it. */
bool dm_episode_action(char **action, const char *words, size_t size);

#endif
