/* The environment `lab`, after ScienceWorld (Wang et al., 2022): experiments in a few rooms. */
#include "agent/env/lab/lab.h"

#define MAX_TURNS 25

static const char instruction[] =
    "You are in a lab: kitchen, workshop, greenhouse, studio. Write Action: and look around, inventory, wait; look at, "
    "go to, open, close, pick up, put down, mix, activate, deactivate, focus on X; move X to Y, pour X into Y, connect "
    "X "
    "to Y, use thermometer on X.";

static dm_status open_lab(dm_env *env, const char *arguments, dm_error *err)
{
    if (arguments)
        return dm_fail(err, DM_ERR_ARGUMENT, "environment 'lab:%s': lab takes no arguments", arguments);
    env->instruction = instruction;
    env->tasks[DM_ENV_SPLIT_TRAIN] = DM_LAB_TRAIN_TASKS;
    env->tasks[DM_ENV_SPLIT_SEEN] = env->tasks[DM_ENV_SPLIT_UNSEEN] = DM_LAB_OTHER_TASKS;
    env->max_turns = MAX_TURNS;
    return DM_OK;
}

static dm_status observe(dm_lab *l, dm_observation *o, dm_error *err)
{
    if (l->text.failed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for an observation of lab");
    o->text = l->text.data;
    o->score = dm_lab_score(l);
    o->done = l->done = l->failed || l->wrong_box || o->score >= 1 || l->turns >= MAX_TURNS;
    return DM_OK;
}

static dm_status reset(dm_env *env, dm_env_split split, int64_t task, uint64_t seed, dm_observation *o, dm_error *err)
{
    dm_lab *l = (dm_lab *)env;
    dm_lab_task_at(&l->task, split, task);
    l->seed = seed;
    l->stream = (uint64_t)split << 32 | (uint64_t)task;
    dm_lab_build(l);

    l->text.size = 0;
    dm_lab_task_words(&l->task, &l->text);
    dm_text_print(&l->text, "\n\nObservation: ");
    dm_lab_look(l, &l->text);
    return observe(l, o, err);
}

static dm_status step(dm_env *env, const char *action, dm_observation *o, dm_error *err)
{
    dm_lab *l = (dm_lab *)env;
    l->text.size = 0;
    l->turns++;
    dm_lab_act(l, action, &l->text);
    dm_lab_pass_time(l, &l->text);
    dm_lab_notice(l);
    dm_lab_judge(l);
    return observe(l, o, err);
}

static size_t admissible(dm_env *env, const char *const **actions)
{
    dm_lab *l = (dm_lab *)env;
    *actions = l->list;
    return dm_lab_list(l);
}

static void close_lab(dm_env *env)
{
    dm_text_free(&((dm_lab *)env)->text);
}

const dm_env_class dm_env_lab = {
    .name = "lab",
    .summary = "experiments in a few rooms: states of matter, measuring, mixing, circuits (after ScienceWorld)",
    .size = sizeof(dm_lab),
    .open = open_lab,
    .reset = reset,
    .step = step,
    .expert = dm_lab_expert,
    .admissible = admissible,
    .close = close_lab,
};
