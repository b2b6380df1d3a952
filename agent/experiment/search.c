#include "agent/experiment/search.h"

#include <stdlib.h>

#include "agent/rollout/eval.h"

bool dm_search_done(const dm_experiment_plan *plan)
{
    for (size_t i = 0; i < plan->trials; i++)
        if (plan->stage[plan->trial[i].stage].state != DM_STAGE_DONE)
            return false;
    return true;
}

/* Points and seeds apart. */
static bool same(const dm_stage_subject *a, const dm_stage_subject *b)
{
    return a->env == b->env && a->setting == b->setting && a->method == b->method && a->x == b->x;
}

static dm_status read_reward(dm_experiment_plan *plan, dm_experiment_trial *t, dm_error *err)
{
    const char *path = dm_experiment_plan_path(plan, (dm_stage_source_ref){t->stage, "episodes.jsonl"});
    dm_episodes episodes = {0};
    dm_eval e = {0};

    dm_status s =
        path ? dm_episodes_read(&episodes, &path, 1, err) : dm_fail(err, DM_ERR_MEMORY, "no memory for the search");
    if (s == DM_OK && (s = dm_eval_make(&e, &episodes, err)) == DM_OK)
        t->reward = e.reward.mean;
    dm_eval_free(&e);
    dm_episodes_close(&episodes);
    return s;
}

/* Trials come point by point, a point's seeds together. */
static dm_experiment_choice choose(const dm_experiment_plan *plan, const dm_stage_subject *of)
{
    dm_experiment_choice best = {.of = *of};
    double sum = 0;
    size_t n = 0;

    for (size_t i = 0; i < plan->trials; i++) {
        const dm_experiment_trial *t = &plan->trial[i], *next = i + 1 < plan->trials ? t + 1 : NULL;
        if (!same(&t->of, of))
            continue;
        sum += t->reward;
        n++;
        if (next && same(&next->of, of) && next->of.point == t->of.point)
            continue;
        if (best.of.point == 0 || sum / (double)n > best.reward)
            best = (dm_experiment_choice){t->of, sum / (double)n};
        sum = 0;
        n = 0;
    }
    best.of.seed = of->seed;
    return best;
}

dm_status dm_search_choose(dm_experiment_plan *plan, dm_error *err)
{
    dm_status s = DM_OK;

    plan->choices = 0;
    free(plan->choice);
    plan->choice = calloc(plan->trials ? plan->trials : 1, sizeof *plan->choice);
    if (!plan->choice)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the search");
    for (size_t i = 0; i < plan->trials && s == DM_OK; i++)
        s = read_reward(plan, &plan->trial[i], err);
    for (size_t i = 0; i < plan->trials && s == DM_OK; i++)
        if (i == 0 || !same(&plan->trial[i].of, &plan->trial[i - 1].of))
            plan->choice[plan->choices++] = choose(plan, &plan->trial[i].of);
    return s;
}

dm_stage_subject dm_search_chosen(const dm_experiment_plan *plan, dm_stage_subject of)
{
    for (size_t i = 0; i < plan->choices; i++)
        if (same(&plan->choice[i].of, &of))
            of.point = plan->choice[i].of.point;
    return of;
}
