/* Recipes whose commands are stand-ins that write what they were asked: for tests of plans and of the schedule. */
#ifndef DM_TESTS_SUPPORT_EXPERIMENT_TOOL_H
#define DM_TESTS_SUPPORT_EXPERIMENT_TOOL_H

#include "agent/experiment/recipe.h"
#include "agent/experiment/stages_internal.h"

/* Each writes its arguments into its output; train fails with lr 13, crashes with 14, waits to be stopped with 15. */
extern const dm_experiment_commands experiment_commands;

/* Parses a recipe in whose text ' stands for ". */
dm_status experiment_parse(dm_recipe *r, const char *text, dm_error *err);

typedef struct experiment_made {
    dm_recipe recipe;
    dm_experiment_plan plan;
} experiment_made;

/* False, and a failed check, when the recipe cannot be planned. */
bool experiment_make(experiment_made *m, const char *text, const char *output);
void experiment_unmake(experiment_made *m);

#define ENVS "'environments': [{'env': 'home'}]"
#define SFT "{'name': 'SFT', 'kind': 'sft'}"
#define DPO "{'name': 'DPO', 'kind': 'preference', 'train': {'objective': 'dpo'}}"
#define DMPO "{'name': 'DMPO', 'kind': 'preference', 'train': {'gamma': 0.5}}"
#define SEARCH(more) "'search': {'evaluate': {'splits': ['train']}, " more "}"
#define RECIPE(more) "{'name': 'n', " ENVS ", " more "}"

#endif
