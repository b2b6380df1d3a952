/* The answers to a recipe's questions: differences paired by seed, corrected for their number. */
#ifndef DM_AGENT_EXPERIMENT_QUESTIONS_H
#define DM_AGENT_EXPERIMENT_QUESTIONS_H

#include "agent/experiment/results.h"
#include "agent/rollout/student.h"
#include "core/text.h"

/* A question in one environment and setting: one of the comparisons. */
typedef struct dm_experiment_answer {
    const dm_recipe_question *question;
    const dm_recipe_env *env;
    const dm_recipe_setting *one, *other; /* of its sides; NULL: the method does not depend on it */
    dm_comparison c;
} dm_experiment_answer;

/* All of them, to *out, which the caller frees. Seeds that lack one of the two evaluations do not count. */
dm_status dm_experiment_answers(const dm_experiment_results *r, const dm_recipe *recipe, dm_experiment_answer **out,
                                size_t *n, dm_error *err);

/* "DMPO is above SFT by 0.041 (0.012 to 0.070)" */
void dm_experiment_answer_text(const dm_experiment_answer *a, const dm_recipe *recipe, dm_text *out);

#endif
