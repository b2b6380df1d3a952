/* What the expansion of a recipe works with: options on their way into commands. */
#ifndef DM_AGENT_EXPERIMENT_EXPAND_H
#define DM_AGENT_EXPERIMENT_EXPAND_H

#include "agent/experiment/stages_internal.h"

#define DM_RECIPE_OPTIONS_MAX 96

typedef struct dm_expansion {
    dm_stage_builder b;
    const dm_recipe *r;
    const dm_experiment_commands *commands;
} dm_expansion;

/* One option on its way into a command. */
typedef struct dm_recipe_option {
    const char *name;
    const dm_json *value; /* NULL: `text` is a default of the experiment's own */
    const char *text;
    bool is_path; /* it is `source`, after resolve */
    dm_stage_source_ref source;
} dm_recipe_option;

typedef struct dm_recipe_options {
    dm_recipe_option item[DM_RECIPE_OPTIONS_MAX]; /* sorted by name: the order of a recipe's members means nothing */
    size_t n;
    const char *command;
} dm_recipe_options;

/* Later settings win. value NULL: `text`. */
void dm_recipe_options_set(dm_expansion *x, dm_recipe_options *o, const char *name, const dm_json *value,
                           const char *text);
void dm_recipe_options_set_all(dm_expansion *x, dm_recipe_options *o,
                               const dm_json *object); /* its members; NULL is fine */
void dm_recipe_options_default(dm_expansion *x, dm_recipe_options *o, const char *name,
                               const char *text); /* unless the option is set */
void dm_recipe_options_seed(dm_expansion *x, dm_recipe_options *o,
                            uint64_t seed); /* likewise, if the command has a seed */

/* What recipe, environment, setting and method say for a part, later ones over earlier ones; the value of a method's
 * sweep and those of the search's point come last. */
void dm_recipe_options_collect(dm_expansion *x, dm_recipe_options *o, const dm_stage_subject *of, dm_recipe_part part);
/* Of exploring; a fresh iteration's tasks follow those of the one before. */
void dm_recipe_options_collect_explore(dm_expansion *x, dm_recipe_options *o, const dm_stage_subject *of,
                                       int64_t iteration);
/* These values, where they are of this part. */
void dm_recipe_options_set_point(dm_expansion *x, dm_recipe_options *o, const dm_stage_subject *of,
                                 dm_recipe_part part);
const dm_recipe_option *dm_recipe_options_find(const dm_recipe_options *o, const char *name); /* NULL: not set */

/* Into the stage that is being assembled. */
void dm_recipe_options_put_one(dm_expansion *x, const dm_recipe_option *item);
void dm_recipe_options_put(dm_expansion *x, const dm_recipe_options *o);

/* Runs that differ in gamma, say, share their reference's log-probabilities. The file says itself what it is of (model/
 * reference.c): its name only keeps apart what would be written again and again. */
void dm_recipe_options_share_reference(dm_expansion *x, const dm_recipe_options *o, dm_stage_source_ref model,
                                       dm_stage_source_ref data);

#endif
