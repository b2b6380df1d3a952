/* Kinds of methods. A new one is a row of dm_method_kinds, in method.c, whose properties say what it needs and does. */
#ifndef DM_AGENT_EXPERIMENT_METHOD_H
#define DM_AGENT_EXPERIMENT_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Parts of a recipe: objects whose members are options of one command each. */
typedef enum dm_recipe_part {
    DM_RECIPE_PART_EXPERT,    /* rollout: the expert's episodes, data of the tokenizer and of SFT */
    DM_RECIPE_PART_TOKENIZER, /* tokenizer train */
    DM_RECIPE_PART_MODEL,     /* init; or a string, the directory of a model */
    DM_RECIPE_PART_SFT,       /* train */
    DM_RECIPE_PART_EXPLORE,   /* rollout: the policy's episodes, data of pairs */
    DM_RECIPE_PART_CONTINUE,  /* rollout: these resumed in their middle */
    DM_RECIPE_PART_PAIRS,     /* pairs */
    DM_RECIPE_PART_TRAIN,     /* train: what is trained on pairs */
    DM_RECIPE_PART_LEARN,     /* learn: what learns while it acts */
    DM_RECIPE_PART_EVALUATE,  /* rollout */
    DM_RECIPE_PARTS
} dm_recipe_part;

typedef enum dm_method_learns {
    DM_METHOD_LEARNS_NOTHING,
    DM_METHOD_LEARNS_EXPERT, /* the expert's episodes: SFT */
    DM_METHOD_LEARNS_BETTER, /* these, and the better ones of those that SFT explored */
    DM_METHOD_LEARNS_PAIRS,  /* pairs of explored episodes: its results differ by setting */
    DM_METHOD_LEARNS_ONLINE  /* the episodes that it plays itself */
} dm_method_learns;

typedef struct dm_method_kind {
    const char *name;
    dm_method_learns learns;
    unsigned parts;     /* that a method of this kind may give: bits 1 << dm_recipe_part */
    const char *player; /* of `dmpo rollout --policy`; NULL: a model */
    bool seedless;      /* its episodes are the same for every seed */
    bool best_sample;   /* a task counts with the best of its samples, 8 at temperature 1 unless the recipe differs */
    int64_t iterations; /* default of "iterations"; 0: it has none */
    const char *form;   /* default of the pairs' form; NULL: the command's */
    const char *objective; /* likewise of training */
    bool refine;           /* continues the expert's runs, turn by turn, in place of explored ones */
} dm_method_kind;

extern const dm_method_kind dm_method_kinds[]; /* ends with a row without a name */

const dm_method_kind *dm_method_kind_find(const char *name); /* NULL: unknown */

#endif
