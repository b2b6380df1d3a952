/* What the parts of a recipe are read with. Everything that fails says so in in->err, with its place. */
#ifndef DM_AGENT_EXPERIMENT_RECIPE_READER_H
#define DM_AGENT_EXPERIMENT_RECIPE_READER_H

#include "agent/experiment/recipe.h"

typedef struct dm_recipe_reader {
    dm_recipe *r;
    const dm_experiment_commands *commands;
    dm_error *err;
    bool in_method; /* where policies of other methods may be named */
} dm_recipe_reader;

#define DM_RECIPE_FAIL(in, v, ...) dm_json_fail((in)->r->doc, v, (in)->err, __VA_ARGS__)

void *dm_recipe_allocate(const dm_recipe_reader *in, size_t n, size_t size); /* zeroed; NULL: err says so */

/* A string without NUL, not empty; absent: NULL, or an error that names the object's place. */
dm_status dm_recipe_get_string(const dm_recipe_reader *in, const dm_json *object, const char *key, bool optional,
                               const char **out);
dm_status dm_recipe_get_list(const dm_recipe_reader *in, const dm_json *object, const char *key, const dm_json **out);

/* The object's parts; every other member must be one of `names`. "note" is for people. */
dm_status dm_recipe_read_members(const dm_recipe_reader *in, const dm_json *object, const char *const *names,
                                 unsigned allowed, const char *what, dm_recipe_parts *out);

/* "seeds" of an object: a list, or a text with ranges; absent: 1. */
dm_status dm_recipe_read_seeds(const dm_recipe_reader *in, const dm_json *object, const uint64_t **out, size_t *n);

/* Which of the parts that a kind has knows an option named as the list of its values, {"gamma": [0.1, 0.5]}, in the
 * order of where[]; DM_RECIPE_PARTS: none. */
dm_recipe_part dm_recipe_part_with(const dm_recipe_reader *in, const dm_method_kind *kind, const dm_recipe_part *where,
                                   size_t n, const dm_json *list);
dm_status dm_recipe_check_values(const dm_recipe_reader *in, dm_recipe_part part, const dm_json *list);

/* ---- agent/experiment/recipe_search.c: after environments, settings and methods ---- */
dm_status dm_recipe_read_search(const dm_recipe_reader *in, const dm_json *root);
dm_status dm_recipe_read_questions(const dm_recipe_reader *in, const dm_json *root);

#endif
