/* The recipe of an experiment, read and checked. docs/experiments.md has its form. */
#ifndef DM_AGENT_EXPERIMENT_RECIPE_H
#define DM_AGENT_EXPERIMENT_RECIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/env/env.h"
#include "agent/experiment/method.h"
#include "core/error.h"
#include "core/numbers/block.h"
#include "io/json.h"

const char *dm_recipe_part_command(dm_recipe_part part);

/* The parts that one level of the recipe gives; NULL: none. */
typedef struct dm_recipe_parts {
    const dm_json *object[DM_RECIPE_PARTS];
} dm_recipe_parts;

typedef enum dm_recipe_option_kind { DM_RECIPE_OPTION_VALUE, DM_RECIPE_OPTION_PATH } dm_recipe_option_kind;

/* The commands, as the layer above provides them. */
typedef struct dm_experiment_commands {
    const char *version; /* results of another version are computed again */
    /* value->key must be an option of the command and `value` of its type, else an error at its place in `doc`. */
    dm_status (*check)(const char *command, const dm_json_doc *doc, const char *name, const dm_json *value,
                       dm_recipe_option_kind *kind, dm_error *err);
    bool (*has)(const char *command, const char *option);
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
} dm_experiment_commands;

typedef struct dm_recipe_env {
    const char *name;
    const char *specification; /* NULL: no simulator, and so no evaluation */
    const char *sft_data;      /* file to imitate; NULL: the expert's episodes */
    const char *pairs_data;    /* file of pairs; NULL: pairs of expert's and explored episodes */
    const dm_json *at;         /* for messages */
    dm_recipe_parts parts;
} dm_recipe_env;

typedef struct dm_recipe_setting {
    const char *name; /* NULL: the only one, not named */
    dm_recipe_parts parts;
} dm_recipe_setting;

typedef struct dm_recipe_method {
    const char *name;
    const dm_method_kind *kind;
    const char *from; /* the policy it begins with, "@NAME" or a directory; NULL: the kind's own */
    int64_t iterations;
    bool fresh;                /* each iteration explores the next tasks, not the same ones */
    const dm_json *settings;   /* names it is limited to; NULL: all */
    const dm_json *sweep;      /* array of values, its key is the option; NULL: none */
    dm_recipe_part sweep_part; /* DM_RECIPE_PARTS: the method's "iterations" */
    const dm_json *search;     /* object of lists of values, by option: what is searched; NULL: nothing */
    dm_recipe_part search_part;
    const uint32_t *point; /* [the search's points] that are tried: numbers of combinations of these values */
    const dm_json *at;
    dm_recipe_parts parts;
} dm_recipe_method;

/* How methods get the values of their options: each tries as many points, with other seeds and on other tasks than the
 * results have; the best mean reward decides, in each environment, setting and value of a sweep by itself. */
typedef struct dm_recipe_search {
    const uint64_t *seed;
    size_t seeds;
    size_t points; /* that every method tries; 0: the recipe has no search */
    dm_env_split split;
    const dm_json *evaluate; /* options of rollout, over all others */
} dm_recipe_search;

/* A question that is stated before there are results: one method's reward less another's. */
typedef struct dm_recipe_side {
    const dm_recipe_method *method;
    const dm_recipe_setting *setting; /* NULL: none, or as the question's first side has it */
    const dm_json *x;                 /* value of the method's sweep; NULL: none */
} dm_recipe_side;

typedef struct dm_recipe_question {
    const char *text;
    const dm_recipe_env *env; /* NULL: each */
    dm_recipe_side one, other;
    dm_env_split split;
} dm_recipe_question;

typedef struct dm_recipe {
    const char *name, *title;
    const uint64_t *seed;
    size_t seeds;
    const dm_recipe_env *env;
    size_t envs;
    const dm_recipe_setting *setting;
    size_t settings;
    const dm_recipe_method *method;
    size_t methods;
    const dm_json *examples; /* names of methods; NULL: none */
    dm_recipe_search search;
    const dm_recipe_question *question;
    size_t questions;
    double difference; /* the smallest that is worth seeing, for the number of seeds that questions need */
    dm_recipe_parts parts;

    const char *text; /* verbatim */
    size_t size;
    dm_json_doc *doc;
    dm_block *blocks;
} dm_recipe;

/* text[0..size) is copied; `name` is for messages. On failure *r is closed. */
dm_status dm_recipe_parse(dm_recipe *r, const char *text, size_t size, const char *name,
                          const dm_experiment_commands *commands, dm_error *err);
void dm_recipe_close(dm_recipe *r); /* fine on a zeroed struct */

#define DM_RECIPE_SEEDS_MAX 1000

/* "1,2,3", "1-24", or both mixed, none twice, to seed[*n]; complains of `who`. */
dm_status dm_recipe_parse_seeds(const char *list, const char *who, uint64_t seed[DM_RECIPE_SEEDS_MAX], size_t *n,
                                dm_error *err);

/* Replaces the recipe's seeds by those of a list, "1,2,3", "1-24" or both mixed; none may be of the search. */
dm_status dm_recipe_set_seeds(dm_recipe *r, const char *list, dm_error *err);

/* The splits that an environment is evaluated on: its own, else the recipe's, else seen and unseen. Returns how many
 * are in out. */
size_t dm_recipe_splits(const dm_recipe *r, const dm_recipe_env *env, dm_env_split out[DM_ENV_SPLITS]);

bool dm_recipe_names(const dm_json *list, const char *name); /* whether a list of strings holds it */

/* A point's value of one of the lists in method->search; point: from 0. */
const dm_json *dm_recipe_point_value(const dm_recipe_method *method, size_t point, const dm_json *list);
/* The first seed of the search that is a seed of the results, too; NULL: none. */
const uint64_t *dm_recipe_search_overlap(const dm_recipe *r);

#endif
