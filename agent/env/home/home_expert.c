/* Home's expert: knows what an agent could know that has seen what this one has seen, and looks for the rest. It plans
 * from the state, not from its own past: it continues sensibly after any mistake. */
#include <stdio.h>

#include "agent/env/home/home.h"

static const char *say(dm_home *h, const char *verb, const dm_home_thing *t, const char *link, int place)
{
    const dm_home_place *p = &h->place[place];
    char object[DM_HOME_ACTION / 2] = "";
    if (t)
        snprintf(object, sizeof object, " %s %d", dm_home_things[t->kind].name, t->number);
    snprintf(h->action[0], DM_HOME_ACTION, "%s%s%s %s %d", verb, object, link, dm_home_places[p->kind].name, p->number);
    return h->action[0];
}

/* To the place and inside; NULL when that is done. */
static const char *reach(dm_home *h, int place)
{
    if (h->at != place)
        return say(h, "go to", NULL, "", place);
    return h->place[place].open ? NULL : say(h, "open", NULL, "", place);
}

/* The place of that kind to use: this one, else the first. */
static int find(const dm_home *h, int kind)
{
    if (h->at >= 0 && h->place[h->at].kind == kind)
        return h->at;
    for (int i = 0; i < h->places; i++)
        if (h->place[i].kind == kind)
            return i;
    return 0; /* never: a house has what its task needs */
}

static const char *put(dm_home *h, const dm_home_thing *t, int place)
{
    const char *first = reach(h, place);
    return first ? first : say(h, "put", t, " in/on", place);
}

static const char *use_held(dm_home *h, const dm_home_thing *t)
{
    static const struct {
        const char *verb;
        int place;
    } by[DM_HOME_TYPES] = {
        [DM_HOME_CLEAN] = {"clean", DM_HOME_SINKBASIN},
        [DM_HOME_HEAT] = {"heat", DM_HOME_MICROWAVE},
        [DM_HOME_COOL] = {"cool", DM_HOME_FRIDGE},
    };
    const int target = find(h, h->task.target);

    if (t->kind != h->task.object) /* a mistake: put it away, here if possible */
        return put(h, t, h->at >= 0 ? h->at : 0);
    if (h->task.type == DM_HOME_EXAMINE) {
        if (h->at != target)
            return say(h, "go to", NULL, "", target);
        snprintf(h->action[0], DM_HOME_ACTION, "use desklamp 1");
        return h->action[0];
    }
    if (dm_home_ready(h, t))
        return put(h, t, target);
    const int place = find(h, by[h->task.type].place);
    return h->at == place ? say(h, by[h->task.type].verb, t, " with", place) : say(h, "go to", NULL, "", place);
}

static bool is_target(const dm_home *h, int place)
{
    return h->task.type != DM_HOME_EXAMINE && h->place[place].kind == h->task.target;
}

static const char *search(dm_home *h)
{
    int order[DM_HOME_PLACES];

    if (h->at >= 0 && !h->place[h->at].seen) /* it is closed, and here */
        return say(h, "open", NULL, "", h->at);
    dm_home_order(h, h->task.object, order);
    for (int last = 0; last <= 1; last++) /* the target comes last: what is there needs no bringing */
        for (int k = 0; k < h->places; k++)
            if (!h->place[order[k]].seen && is_target(h, order[k]) == last)
                return say(h, "go to", NULL, "", order[k]);
    return NULL; /* never: everything has been seen, the objects too */
}

/* Of the things that have been seen and are to be brought: one that is here, else the first as the places are listed,
 * then by number; NULL: none has been seen. */
static const dm_home_thing *known(const dm_home *h)
{
    const dm_home_thing *best = NULL;
    int best_rank = 0;
    for (int i = 0; i < h->things; i++) {
        const dm_home_thing *t = &h->thing[i];
        if (t->kind != h->task.object || !h->place[t->where].seen || dm_home_delivered(h, t))
            continue;
        const int rank = (t->where == h->at ? -1 : t->where) * (DM_HOME_NUMBERS + 1) + t->number;
        if (!best || rank < best_rank) {
            best = t;
            best_rank = rank;
        }
    }
    return best;
}

const char *dm_home_expert(dm_home *h)
{
    const dm_home_thing *held = dm_home_held(h);

    if (h->done)
        return NULL;
    if (held)
        return use_held(h, held);
    const dm_home_thing *wanted = known(h);
    if (!wanted)
        return search(h);
    const char *first = reach(h, wanted->where);
    return first ? first : say(h, "take", wanted, " from", wanted->where);
}
