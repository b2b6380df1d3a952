/* What a report is made of: results.json and the files it names, and what follows from them.
 *
 * A report reads in one pass: the first failure stays in `status`, and everything after it does nothing. Whoever
 * dereferences memory or reads a list of the report looks at `status` first. */
#ifndef DM_AGENT_REPORT_REPORT_DATA_H
#define DM_AGENT_REPORT_REPORT_DATA_H

#include <stdint.h>

#include "agent/rollout/eval.h"
#include "core/numbers/block.h"
#include "core/text.h"
#include "io/json.h"

/* ---- what results.json says ---- */

typedef struct dm_report_subject {
    const char *env, *method, *kind;
    const char *setting; /* NULL: none, or the same for all of them */
    const char *sweep;   /* the option whose value x is; NULL: no sweep */
    const char *x;       /* the value as text */
    const char *label;   /* "DMPO", or "DMPO, gamma 0.5" */
    double number;       /* the value; NaN: not a number */
    uint64_t seed;
} dm_report_subject;

typedef struct dm_report_eval {
    dm_report_subject of;
    dm_env_split split;
    const double *reward;  /* [tasks] */
    const double *by_turn; /* [turn_limit + 1] */
    size_t tasks, turn_limit;
    int64_t samples;
    double success, turns;
} dm_report_eval;

typedef enum dm_report_measure {
    DM_REPORT_LOSS,
    DM_REPORT_ACCURACY,
    DM_REPORT_MARGIN,
    DM_REPORT_REWARD, /* of what is played while learning */
    DM_REPORT_MEASURES
} dm_report_measure;

/* A measure over a training, in bins of the same number of steps. */
typedef struct dm_report_curve {
    const double *x, *y; /* [n] epochs, means; NULL: not measured */
    size_t n;
    bool held_out;
} dm_report_curve;

typedef struct dm_report_training {
    dm_report_subject of;
    const char *metrics, *weights; /* file; SHA-256, NULL: unknown */
    dm_report_curve curve[DM_REPORT_MEASURES];
} dm_report_training;

typedef struct dm_report_pairs { /* means; NaN: unknown */
    dm_report_subject of;
    double pairs, dropped, chosen_turns, rejected_turns, shared_turns, chosen_reward, rejected_reward;
} dm_report_pairs;

typedef struct dm_report_turn {
    const char *action;
    double weight; /* phi; NaN: not trained on, cut off */
    double ratio;  /* log pi - log pi_ref */
    double score;  /* after it; NaN: unknown */
} dm_report_turn;

typedef struct dm_report_side {
    dm_report_turn *turn;
    size_t turns;
    double reward, score; /* beta * sum of weight * ratio; the episode's reward, NaN: unknown */
} dm_report_side;

typedef struct dm_report_pair {
    const char *id, *task, *what; /* what: which of the pairs this is, in words */
    dm_report_side chosen, rejected;
} dm_report_pair;

typedef struct dm_report_example {
    dm_report_subject of;
    const char *scores, *file; /* as in results.json */
    const char *objective;     /* "dmpo, gamma 0.7"; NULL: unknown */
    dm_report_pair *pair;
    size_t pairs;
} dm_report_example;

/* A question of the recipe, answered. */
typedef struct dm_report_question {
    const char *ask, *env, *answer;
    const char *setting, *against_setting; /* NULL: none */
    const char *sought_text;               /* "for 0.03" */
    size_t n, needed;
    double difference, wide, p, power; /* corrected for the number of questions; NaN: unknown */
} dm_report_question;

/* A point of the search. */
typedef struct dm_report_trial {
    dm_report_subject of; /* for every seed */
    const char *values;   /* "lr 0.001, beta 0.1" */
    size_t seeds;
    double reward;
    bool chosen;
} dm_report_trial;

typedef struct dm_report_stage {
    const char *command, *output;
    double seconds;
    bool reused;
} dm_report_stage;

/* ---- and what follows from it ---- */

typedef struct dm_report_cell {
    bool present;
    dm_estimate reward, to_sft, to_dpo; /* n == 0: none */
    double success, turns;
    const double *by_turn; /* [turn_limit + 1], mean over the seeds */
    size_t turn_limit;
} dm_report_cell;

/* A method with one value, in one setting of one environment, over all seeds. */
typedef struct dm_report_row {
    dm_report_subject of; /* without a seed */
    bool is_reference;    /* of a kind that learns nothing: never the best one */
    dm_report_cell cell[DM_ENV_SPLITS];
} dm_report_row;

typedef struct dm_report {
    const char *dir;
    const char *name, *title, *version, *isa, *recipe_sha256, *recipe_text;
    size_t recipe_size;
    const dm_json *recipe;
    int64_t threads, jobs;
    double seconds;

    dm_report_stage *stage;
    dm_report_eval *eval;
    dm_report_training *training;
    dm_report_pairs *pairs;
    dm_report_example *example;
    dm_report_question *question;
    dm_report_trial *trial;
    size_t stages, evals, trainings, pairs_made, examples, questions, trials;

    const char **env, **setting, **method; /* names in the order of appearance; settings without NULL */
    uint64_t *seed;
    size_t envs, settings, methods, seeds;
    int *colour;           /* [methods] of each in charts */
    const char *sft, *dpo; /* methods that others are compared with; NULL: none */

    dm_report_row *row;
    size_t rows;

    dm_json_doc *doc;
    char *text; /* results.json */
    dm_block *blocks;
    dm_status status;
    dm_error *err;
} dm_report;

/* Close the report in either case. */
dm_status dm_report_read(dm_report *r, const char *dir, dm_error *err);
void dm_report_close(dm_report *r);

void dm_report_read_metrics(dm_report *r, dm_report_training *t);
void dm_report_read_example(dm_report *r, dm_report_example *e);
void dm_report_statistics(dm_report *r);

/* Methods by splits: mean reward with its interval, and the paired difference to SFT (report_terminal.c). */
void dm_report_terminal(const dm_report *r, dm_text *out);

/* ---- memory of the report (report_memory.c) ---- */

void *dm_report_alloc(dm_report *r, size_t n, size_t size);                       /* zeroed; NULL: r->status says why */
const char *dm_report_format(dm_report *r, const char *fmt, ...) DM_PRINTF(2, 3); /* never NULL */

/* A path of results.json that begins with "stages/" and stays there: no "..". */
bool dm_report_is_stages(const char *path);

/* Where a path of results.json is: those that are dm_report_is_stages are in the report's directory. */
const char *dm_report_path(dm_report *r, const char *path);

bool dm_report_same(const char *a, const char *b);                                   /* equal, or both NULL */
bool dm_report_same_subject(const dm_report_subject *a, const dm_report_subject *b); /* except the seed */

/* Whether a row is about this environment, with this sweep (NULL: without one). */
bool dm_report_in_table(const dm_report_row *row, const char *env, const char *sweep);
const dm_report_row *dm_report_find_row(const dm_report *r, const char *env, const char *setting, const char *method,
                                        const char *x);
/* The environment's splits that were evaluated. */
size_t dm_report_splits(const dm_report *r, const char *env, dm_env_split out[DM_ENV_SPLITS]);

#endif
