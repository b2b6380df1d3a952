/* The stages of an experiment: each is one ordinary command, and its key says what it depends on.
 *
 * A key is the SHA-256 of version, command and arguments, where a path is replaced by the key of the stage that makes
 * it, or by the content's hash when it comes from outside. Threads, instruction sets and places are no part of it. Two
 * stages with the same key are one stage. Inputs come before the stages that read them. */
#ifndef DM_AGENT_EXPERIMENT_STAGES_H
#define DM_AGENT_EXPERIMENT_STAGES_H

#include "agent/experiment/recipe.h"
#include "core/sha256.h"

#define DM_STAGE_NONE ((size_t)-1)

typedef enum dm_stage_arg_kind {
    DM_STAGE_ARG_TEXT,   /* as it stands */
    DM_STAGE_ARG_INPUT,  /* a file in the directory of an earlier stage; "": the directory */
    DM_STAGE_ARG_FILE,   /* a file or directory from outside */
    DM_STAGE_ARG_OUTPUT, /* a file in the stage's own directory */
    DM_STAGE_ARG_FREE    /* changes no result: not in the key, not in what is printed */
} dm_stage_arg_kind;

typedef struct dm_stage_arg {
    dm_stage_arg_kind kind;
    const char *text;
    size_t stage; /* DM_STAGE_ARG_INPUT */
} dm_stage_arg;

typedef enum dm_stage_state {
    DM_STAGE_WAITING,
    DM_STAGE_RUNNING,
    DM_STAGE_DONE,
    DM_STAGE_FAILED,
    DM_STAGE_LEFT_OUT /* not asked for, or an input failed */
} dm_stage_state;

typedef struct dm_stage {
    const char *name, *dir; /* dir: OUTPUT/stages/NAME-KEY12 */
    char key[DM_SHA256_HEX];
    const dm_stage_arg *arg; /* arg[0] is the command's name */
    size_t args;
    bool resumable; /* the command continues what is in its directory */

    dm_stage_state state;
    bool reused; /* was done before this run */
    double seconds;
} dm_stage;

/* Where something comes from: a file in a stage's directory, or one from outside. */
typedef struct dm_stage_source_ref {
    size_t stage; /* DM_STAGE_NONE: from outside */
    const char *path;
} dm_stage_source_ref;

/* What a row of the results is about. */
typedef struct dm_stage_subject {
    const dm_recipe_env *env;
    const dm_recipe_setting *setting; /* NULL: the same for all of them */
    const dm_recipe_method *method;
    uint64_t seed;
    const dm_json *x; /* value of the method's sweep, or NULL */
    size_t point;     /* 1 + that of the search; 0: none, the recipe's options as they are */
} dm_stage_subject;

typedef struct dm_experiment_evaluation {
    dm_stage_subject of;
    dm_env_split split;
    size_t stage; /* rollout: episodes.jsonl */
} dm_experiment_evaluation;

typedef struct dm_experiment_training {
    dm_stage_subject of;
    size_t stage; /* train */
} dm_experiment_training;

typedef struct dm_experiment_pairs {
    dm_stage_subject of; /* without method: made for all of them; x: a sweep over how pairs are made */
    dm_stage_source_ref file;
} dm_experiment_pairs;

typedef struct dm_experiment_example {
    dm_stage_subject of;
    dm_stage_source_ref pairs;
    size_t stage; /* score: scores.jsonl */
} dm_experiment_example;

/* A point of the search with one of its seeds. All of a subject stand together, point by point. */
typedef struct dm_experiment_trial {
    dm_stage_subject of;
    size_t stage;  /* rollout: episodes.jsonl */
    double reward; /* mean; once the search is done */
} dm_experiment_trial;

typedef struct dm_experiment_choice {
    dm_stage_subject of; /* for every seed */
    double reward;       /* mean over the search's seeds */
} dm_experiment_choice;

typedef struct dm_experiment_plan {
    dm_stage *stage;
    dm_experiment_evaluation *evaluation;
    dm_experiment_training *training;
    dm_experiment_pairs *pairs;
    dm_experiment_example *example;
    dm_experiment_trial *trial;
    dm_experiment_choice *choice;
    size_t stages, evaluations, trainings, pairs_made, examples, trials, choices;
    bool searching; /* the search is not done, and all there is: what else to run depends on it */
    const char *output;
    dm_block *blocks;
} dm_experiment_plan;

/* Everything that the recipe asks for, below the directory `output`; while its search is not done, that alone. Hashes
 * the files from outside. Stages that are done already have the state DM_STAGE_DONE. */
dm_status dm_experiment_plan_make(dm_experiment_plan *plan, const dm_recipe *recipe,
                                  const dm_experiment_commands *commands, const char *output, dm_error *err);
void dm_experiment_plan_close(dm_experiment_plan *plan); /* fine on a zeroed struct */

/* Leaves out what the stages whose name matches the pattern (of fnmatch) do not need. */
dm_status dm_experiment_plan_only(dm_experiment_plan *plan, const char *pattern, dm_error *err);

/* What the stage makes is a file in its directory, not the directory. */
bool dm_stage_makes_file(const dm_stage *stage);

/* An argument as the command gets it, in memory of the plan; NULL when memory ran out. */
const char *dm_experiment_plan_argument(dm_experiment_plan *plan, const dm_stage *stage, size_t i);
/* The command as a user may type it, quoted for a shell where needed. */
void dm_experiment_plan_command(dm_experiment_plan *plan, const dm_stage *stage, dm_text *out);
void dm_experiment_plan_word(dm_text *out, const char *word); /* a word of it, after a blank */
/* Path of a source. */
const char *dm_experiment_plan_path(dm_experiment_plan *plan, dm_stage_source_ref source);

#define DM_STAGE_CACHE "cache" /* directory in OUTPUT of what several stages may share; it changes no result */

/* The file that says a stage is done: OUTPUT/stages/NAME-KEY12/stage.json. */
#define DM_STAGE_RECORD "stage.json"
#define DM_STAGE_LOG "log"       /* beside it: the command's messages, of all its attempts */
#define DM_STAGE_STDOUT "result" /* and what it printed to standard output */

#endif
