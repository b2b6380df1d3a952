/* Training data from episodes: preference pairs in the authors' form, or the better runs alone.
 *
 * A candidate is a run that is better and one that is worse, of the same task: explored against expert ones, explored
 * ones against each other, a continuation against the run that it was taken from (or the other way round, where that is
 * an expert's), or a pair of an existing file. Each
 * candidate is filtered, cut, degraded and brought into a form in this order, or dropped for one reason that is
 * counted. docs/data.md, "Pairs from episodes", is the specification. */
#ifndef DM_AGENT_PAIRS_PAIRS_H
#define DM_AGENT_PAIRS_PAIRS_H

#include "agent/rollout/episode.h"
#include "io/data/template.h"

/* LEVELS: each pair whole, as a segment and as a step. */
typedef enum dm_pairs_form {
    DM_PAIRS_WHOLE,
    DM_PAIRS_SFT,
    DM_PAIRS_STEP,
    DM_PAIRS_SEGMENT,
    DM_PAIRS_LEVELS
} dm_pairs_form;
typedef enum dm_pairs_degrade {
    DM_PAIRS_DEGRADE_NONE,
    DM_PAIRS_DEGRADE_REPEAT,
    DM_PAIRS_DEGRADE_MEANINGLESS
} dm_pairs_degrade;
/* Of the turns after which a continuation is better: the first or the last. */
typedef enum dm_pairs_erroneous { DM_PAIRS_ERRONEOUS_FIRST, DM_PAIRS_ERRONEOUS_LAST } dm_pairs_erroneous;
typedef enum dm_pairs_unit { DM_PAIRS_UNIT_TURNS, DM_PAIRS_UNIT_TEXT } dm_pairs_unit;

typedef struct dm_pairs_files {
    const char *const *path;
    size_t n;
} dm_pairs_files;

typedef struct dm_pairs_options {
    dm_pairs_files expert, explored, continuations; /* episodes */
    dm_pairs_files pairs;                           /* the authors' form */
    bool among;    /* explored runs of one task against each other, best against worst */
    bool refine;   /* the continuations are of the expert's runs, turn by turn */
    int erroneous; /* dm_pairs_erroneous, of continuations */
    int form;      /* dm_pairs_form */
    uint64_t seed; /* of the degraded variant and of `limit` */

    bool plan_reward;    /* an explored run counts with the mean reward of those that begin with the same turn */
    double margin;       /* the rewards' difference must be above it; [0, 1] */
    double min_chosen;   /* least reward of a chosen run; NaN: 1 for DM_PAIRS_SFT, else none */
    int64_t max_turns;   /* of either side; 0: any */
    int64_t max_repeats; /* how often rejected may hold one action with one answer; 0: any */
    int64_t cut;         /* rejected ends at chosen's turns + cut; negative: whole */

    int degrade;                /* dm_pairs_degrade */
    int64_t degrade_turns;      /* how many turns are put in; >= 1 */
    const char *invalid_answer; /* the environment's words to a meaningless action; NULL: it is asked */

    int64_t segment_turns; /* most turns of a segment; 0: as many as both sides have */

    int unit;                 /* dm_pairs_unit of the next two */
    double max_length_ratio;  /* longer over shorter side, >= 1; 0: any */
    double min_edit_distance; /* Levenshtein distance over the longer side's length, [0, 1] */
    double perplexity_ratio;  /* larger over smaller perplexity of a token, >= 1; 0: any */

    int64_t per_task, limit; /* most pairs of a task (the first), and at all (a seeded choice); 0: any */
} dm_pairs_options;

/* No files; the form is whole pairs, everything else off. */
void dm_pairs_defaults(dm_pairs_options *o);

typedef enum dm_pairs_drop {
    DM_PAIRS_DROP_UNMATCHED,
    DM_PAIRS_DROP_FAILED,
    DM_PAIRS_DROP_EMPTY,
    DM_PAIRS_DROP_PROMPT,
    DM_PAIRS_DROP_TIE,
    DM_PAIRS_DROP_LOW,
    DM_PAIRS_DROP_LONG,
    DM_PAIRS_DROP_REPEATS,
    DM_PAIRS_DROP_IDENTICAL,
    DM_PAIRS_DROP_SHORT,
    DM_PAIRS_DROP_CONTAINED,
    DM_PAIRS_DROP_LENGTH,
    DM_PAIRS_DROP_DISTANCE,
    DM_PAIRS_DROP_PERPLEXITY,
    DM_PAIRS_DROP_DUPLICATE,
    DM_PAIRS_DROP_PER_TASK,
    DM_PAIRS_DROP_LIMIT,
    DM_PAIRS_DROPS
} dm_pairs_drop;

typedef struct dm_pairs_drop_text {
    const char *key, *why;
} dm_pairs_drop_text;

extern const dm_pairs_drop_text dm_pairs_drop_texts[DM_PAIRS_DROPS];

/* One side: an agent's run or a part of one. The last turn's observation does not belong to it. */
typedef struct dm_pairs_side {
    const dm_episode_turn *turn;
    size_t turns;
    double score;          /* NaN: not known */
    const char *tokenizer; /* of the turns' ids; NULL: they have none */
} dm_pairs_side;

typedef struct dm_pair {
    const char *id;
    const dm_message *prompt; /* ends with the user's message */
    size_t n_prompt;
    dm_pairs_side chosen, rejected; /* rejected has no turns in DM_PAIRS_SFT */
    size_t shared;                  /* leading turns that both sides had before the form took them into the prompt */
    size_t task;                    /* equal for pairs of one task */
} dm_pair;

typedef struct dm_pairs {
    dm_pair *pair;
    size_t n;
    size_t candidates;
    size_t dropped[DM_PAIRS_DROPS];
    void *memory; /* owner of all of it */
} dm_pairs;

/* No pair left is DM_ERR_INPUT and says what became of the candidates. */
dm_status dm_pairs_make(dm_pairs *out, const dm_pairs_options *o, dm_error *err);
void dm_pairs_close(dm_pairs *p); /* fine on a zeroed struct */

/* Appends them as one JSON list or as JSON lines. */
void dm_pairs_write(dm_text *out, const dm_pairs *p, bool list);

typedef struct dm_pairs_spread {
    double mean;
    size_t max;
} dm_pairs_spread;

typedef struct dm_pairs_side_statistics {
    dm_pairs_spread turns, bytes; /* bytes of all the side's messages */
    double reward;                /* mean of those that are known; NaN: none is */
} dm_pairs_side_statistics;

typedef struct dm_pairs_statistics {
    size_t tasks;
    dm_pairs_side_statistics chosen, rejected;
    dm_pairs_spread shared;
} dm_pairs_statistics;

dm_status dm_pairs_measure(dm_pairs_statistics *out, const dm_pairs *p, dm_error *err);

#endif
