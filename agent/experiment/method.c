#include "agent/experiment/method.h"

#include <string.h>

#define PART(name) (1u << DM_RECIPE_PART_##name)
#define EXPLORES (PART(EXPLORE) | PART(PAIRS) | PART(TRAIN) | PART(EVALUATE))

const dm_method_kind dm_method_kinds[] = {
    {.name = "expert", .parts = PART(EVALUATE), .player = "expert", .seedless = true},
    {.name = "random", .parts = PART(EVALUATE), .player = "random"},
    {.name = "sft", .learns = DM_METHOD_LEARNS_EXPERT, .parts = PART(TRAIN) | PART(EVALUATE)},
    {.name = "best-of-n", .parts = PART(EVALUATE), .best_sample = true},
    {.name = "rft", .learns = DM_METHOD_LEARNS_BETTER, .parts = EXPLORES, .form = "sft"},
    {.name = "preference", .learns = DM_METHOD_LEARNS_PAIRS, .parts = EXPLORES, .iterations = 1},
    {.name = "eto", .learns = DM_METHOD_LEARNS_PAIRS, .parts = EXPLORES, .iterations = 2, .objective = "dpo"},
    {.name = "sdpo",
     .learns = DM_METHOD_LEARNS_PAIRS,
     .parts = EXPLORES | PART(CONTINUE),
     .form = "segment",
     .objective = "dpo"},
    {.name = "step-dpo",
     .learns = DM_METHOD_LEARNS_PAIRS,
     .parts = EXPLORES | PART(CONTINUE),
     .form = "step",
     .objective = "dpo"},
    {.name = "ipr",
     .learns = DM_METHOD_LEARNS_PAIRS,
     .parts = EXPLORES | PART(CONTINUE),
     .iterations = 1,
     .objective = "dpo",
     .refine = true},
    {.name = "hpl",
     .learns = DM_METHOD_LEARNS_PAIRS,
     .parts = EXPLORES | PART(CONTINUE),
     .form = "levels",
     .objective = "dpo",
     .refine = true},
    {.name = "online", .learns = DM_METHOD_LEARNS_ONLINE, .parts = PART(LEARN) | PART(EVALUATE)},
    {0},
};

const dm_method_kind *dm_method_kind_find(const char *name)
{
    const dm_method_kind *k = dm_method_kinds;
    while (k->name && strcmp(k->name, name) != 0)
        k++;
    return k->name ? k : NULL;
}
