/* Home, after ALFWorld (Shridhar et al., ICLR 2021) in its text form: a room with receptacles, some of them closed,
 * things in and on them, a task to do with one or two things. The reward is 1 when it is done, else 0. */
#include "agent/env/home/home.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char instruction[] =
    "Interact with a house to solve a task. Each turn, write one action: go to, open, close, take from, put in/on, "
    "clean with, heat with, cool with, use, examine, look, inventory. Write Action: and the action.";

/* ---- the interface ---- */

static void observe(const dm_home *h, dm_observation *o)
{
    *o = (dm_observation){.text = h->text, .score = h->done ? 1 : 0, .done = h->done || h->turns >= DM_HOME_TURNS};
}

static dm_status home_open(dm_env *env, const char *arguments, dm_error *err)
{
    if (arguments)
        return dm_fail(err, DM_ERR_ARGUMENT, "environment 'home' takes no arguments, not '%s'", arguments);
    env->instruction = instruction;
    env->tasks[DM_ENV_SPLIT_TRAIN] = 2000;
    env->tasks[DM_ENV_SPLIT_SEEN] = 200;
    env->tasks[DM_ENV_SPLIT_UNSEEN] = 200;
    env->max_turns = DM_HOME_TURNS;
    return DM_OK;
}

static dm_status home_reset(dm_env *env, dm_env_split split, int64_t task, uint64_t seed, dm_observation *o,
                            dm_error *err)
{
    dm_home *h = (dm_home *)env;
    (void)err;
    dm_home_draw(h, split, task, seed);
    h->text[0] = 0;
    dm_home_describe_task(h);
    dm_home_print(h, "\n\nObservation: ");
    dm_home_describe_room(h);
    observe(h, o);
    return DM_OK;
}

static dm_status home_step(dm_env *env, const char *action, dm_observation *o, dm_error *err)
{
    dm_home *h = (dm_home *)env;
    (void)err;
    dm_home_act(h, action);
    observe(h, o);
    return DM_OK;
}

static const char *home_expert(dm_env *env)
{
    dm_home *h = (dm_home *)env;
    return h->turns < DM_HOME_TURNS ? dm_home_expert(h) : NULL;
}

static void add_action(dm_home *h, size_t *n, const char *format, ...) DM_PRINTF(3, 4);

static void add_action(dm_home *h, size_t *n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(h->action[*n], DM_HOME_ACTION, format, args);
    va_end(args);
    h->actions[*n] = h->action[*n];
    (*n)++;
}

static size_t home_admissible(dm_env *env, const char *const **actions)
{
    dm_home *h = (dm_home *)env;
    const dm_home_thing *held = dm_home_held(h);
    const dm_home_place *here = h->at >= 0 ? &h->place[h->at] : NULL;
    const char *place = here ? dm_home_place_name(h, h->at) : "";
    size_t n = 0;

    *actions = h->actions;
    if (h->done || h->turns >= DM_HOME_TURNS)
        return 0;
    for (int i = 0; i < h->places; i++)
        if (i != h->at)
            add_action(h, &n, "go to %s %d", dm_home_place_name(h, i), h->place[i].number);
    if (here && dm_home_places[here->kind].opens)
        add_action(h, &n, "%s %s %d", here->open ? "close" : "open", place, here->number);
    for (int i = 0; i < h->things; i++) {
        const dm_home_thing *t = &h->thing[i];
        const bool visible = here && here->open && t->where == h->at;
        if (visible && !held)
            add_action(h, &n, "take %s %d from %s %d", dm_home_thing_name(t), t->number, place, here->number);
        if (visible || t == held)
            add_action(h, &n, "examine %s %d", dm_home_thing_name(t), t->number);
    }
    if (held && here && here->open)
        add_action(h, &n, "put %s %d in/on %s %d", dm_home_thing_name(held), held->number, place, here->number);
    if (held && here && here->kind == DM_HOME_SINKBASIN)
        add_action(h, &n, "clean %s %d with %s %d", dm_home_thing_name(held), held->number, place, here->number);
    if (held && here && here->kind == DM_HOME_MICROWAVE)
        add_action(h, &n, "heat %s %d with %s %d", dm_home_thing_name(held), held->number, place, here->number);
    if (held && here && here->kind == DM_HOME_FRIDGE)
        add_action(h, &n, "cool %s %d with %s %d", dm_home_thing_name(held), held->number, place, here->number);
    if (here && here->kind == DM_HOME_DESK)
        add_action(h, &n, "use desklamp 1");
    if (here)
        add_action(h, &n, "examine %s %d", place, here->number);
    add_action(h, &n, "look");
    add_action(h, &n, "inventory");
    return n;
}

const dm_env_class dm_env_home = {
    .name = "home",
    .summary = "after ALFWorld: find, clean, heat, cool, look at and put away things in a house",
    .size = sizeof(dm_home),
    .open = home_open,
    .reset = home_reset,
    .step = home_step,
    .expert = home_expert,
    .admissible = home_admissible,
};
