/* The expert: from what has been seen, where things are said to be, and where a lab keeps its equipment, the next
 * action. It holds no plan: each call looks at the state again, so that it continues from wherever another has led. */
#include "agent/env/lab/lab.h"

#include <stdarg.h>
#include <stdio.h>

static const char *say(dm_lab *l, const char *fmt, ...) DM_PRINTF(2, 3);

static const char *say(dm_lab *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(l->advice, sizeof l->advice, fmt, args);
    va_end(args);
    return l->advice;
}

/* ---- getting there: an action, or NULL when one is there ---- */

static const char *travel(dm_lab *l, int room)
{
    const int door = DM_LAB_DOOR + room;
    if (room == dm_lab_here(l))
        return NULL;
    if (l->seen[door] && !l->open[door])
        return say(l, "open %s", dm_lab_items[door].name);
    return say(l, "go to %s", dm_lab_items[room].name);
}

static int expected_room(const dm_lab *l, int thing)
{
    return l->seen[thing] ? dm_lab_room_of(l, thing) : l->home[thing];
}

/* To where a thing is in sight. */
static const char *reach(dm_lab *l, int thing)
{
    const int room = expected_room(l, thing);
    const char *action = travel(l, room);
    if (action || dm_lab_visible(l, thing))
        return action;
    int in = DM_LAB_CLOSET + room; /* not in the open, so it must be there */
    for (int t = l->where[thing]; l->seen[thing] && t != room; t = l->where[t])
        if (dm_lab_items[t].kind & DM_LAB_OPENABLE)
            in = t;
    return say(l, "open %s", dm_lab_items[in].name);
}

/* Both in sight, the first carried to the second. */
static const char *bring(dm_lab *l, int thing, int to)
{
    const int body = dm_lab_items[thing].kind == DM_LAB_IS_SUBSTANCE ? l->where[thing] : thing;
    const char *action = l->where[body] == DM_LAB_SELF ? NULL : reach(l, thing);
    if (action)
        return action;
    if (l->where[body] != DM_LAB_SELF && expected_room(l, to) != dm_lab_here(l))
        return say(l, "pick up %s", dm_lab_items[dm_lab_handle(l, thing)].name);
    return reach(l, to);
}

static const char *focus_on(dm_lab *l, int thing)
{
    const char *action = reach(l, thing);
    return action ? action : say(l, "focus on %s", dm_lab_items[thing].name);
}

static const char *bring_to_box(dm_lab *l, int thing)
{
    const int box = dm_lab_right_box(l);
    const char *action = bring(l, thing, box);
    return action ? action
                  : say(l, "move %s to %s", dm_lab_items[dm_lab_handle(l, thing)].name, dm_lab_items[box].name);
}

static const char *hold(dm_lab *l, int thing)
{
    const char *action = reach(l, thing);
    return action ? action : say(l, "pick up %s", dm_lab_items[dm_lab_handle(l, thing)].name);
}

/* ---- what to do ---- */

static const char *heat(dm_lab *l, int degrees)
{
    const int substance = l->target, vessel = l->where[substance];
    const char *action;
    int heater = degrees <= DM_LAB_STOVE_DEGREES && !l->found_broken ? DM_LAB_STOVE : DM_LAB_FURNACE;
    if (l->where[vessel] == DM_LAB_FURNACE)
        heater = DM_LAB_FURNACE;

    if (!dm_lab_heatproof(vessel)) {
        const int into = heater == DM_LAB_STOVE ? DM_LAB_POT : DM_LAB_CRUCIBLE;
        action = bring(l, substance, into);
        return action ? action : say(l, "pour %s into %s", dm_lab_items[substance].name, dm_lab_items[into].name);
    }
    if (l->where[vessel] != heater) {
        action = bring(l, vessel, heater);
        return action ? action : say(l, "move %s to %s", dm_lab_items[vessel].name, dm_lab_items[heater].name);
    }
    if (!l->on[heater]) {
        action = reach(l, heater);
        return action ? action : say(l, "activate %s", dm_lab_items[heater].name);
    }
    return say(l, "wait");
}

static const char *freeze(dm_lab *l)
{
    const int vessel = l->where[l->target];
    const char *action;
    if (l->where[vessel] != DM_LAB_FREEZER) {
        action = bring(l, l->target, DM_LAB_FREEZER);
        if (action)
            return action;
        return l->open[DM_LAB_FREEZER] ? say(l, "move %s to freezer", dm_lab_items[dm_lab_handle(l, vessel)].name)
                                       : say(l, "open freezer");
    }
    if (l->open[DM_LAB_FREEZER]) {
        action = reach(l, DM_LAB_FREEZER);
        return action ? action : say(l, "close freezer");
    }
    return say(l, "wait");
}

static const char *change_state(dm_lab *l)
{
    const dm_lab_item *s = &dm_lab_items[l->target];
    if (!l->focused)
        return focus_on(l, l->target);
    return l->task.type == DM_LAB_FREEZE ? freeze(l) : heat(l, l->task.type == DM_LAB_BOIL ? s->boils : s->melts);
}

static const char *find_it(dm_lab *l)
{
    if (l->focused)
        return bring_to_box(l, l->target);
    for (int t = DM_LAB_ANIMAL; t < DM_LAB_SAMPLE; t++) {
        if (!l->seen[t] || !dm_lab_fits(&l->task, t))
            continue;
        return l->where[t] == l->task.box[1] ? hold(l, t) : focus_on(l, t); /* not judged in the wrong box */
    }
    for (int i = 1; i < DM_LAB_ROOMS; i++) {
        const int room = (dm_lab_here(l) + i) % DM_LAB_ROOMS;
        if (!l->visited[room])
            return travel(l, room);
    }
    return NULL;
}

static const char *measure(dm_lab *l)
{
    const char *action;
    if (!l->focused_tool)
        return focus_on(l, DM_LAB_THERMOMETER);
    if (!l->measured && l->where[DM_LAB_THERMOMETER] != DM_LAB_SELF)
        return hold(l, DM_LAB_THERMOMETER);
    if (!l->focused)
        return focus_on(l, l->target);
    if (l->measured)
        return bring_to_box(l, l->target);
    if (dm_lab_in_box(l, l->task.box[0]) || dm_lab_in_box(l, l->task.box[1])) /* it would be judged at once */
        return hold(l, l->target);
    action = reach(l, l->target);
    return action ? action : say(l, "use thermometer on %s", dm_lab_items[l->target].name);
}

static const char *test_conductivity(dm_lab *l)
{
    static const int poles[2] = {DM_LAB_BATTERY, DM_LAB_BULB};
    if (!l->focused)
        return focus_on(l, l->target);
    if (l->goal[2])
        return bring_to_box(l, l->target);
    for (int i = 0; i < 2; i++)
        if (l->joined[i] != l->target) {
            const char *action = bring(l, l->target, poles[i]);
            return action ? action
                          : say(l, "connect %s to %s", dm_lab_items[l->target].name, dm_lab_items[poles[i]].name);
        }
    const char *action = reach(l, DM_LAB_SWITCH);
    return action ? action : say(l, "activate switch");
}

/* Each of the two rooms holds one part, in the open or in its closet. */
static const char *search_parts(dm_lab *l, const int part[2])
{
    for (int i = 0; i < 2; i++) {
        const int room = l->task.place[i];
        if ((l->seen[part[0]] && l->home[part[0]] == room) || (l->seen[part[1]] && l->home[part[1]] == room))
            continue;
        const char *action = travel(l, room);
        return action ? action : say(l, "open %s", dm_lab_items[DM_LAB_CLOSET + room].name);
    }
    return NULL;
}

/* Both parts are in one vessel; what else is in it goes elsewhere first. */
static const char *mix_in(dm_lab *l, int vessel, const int part[2])
{
    const char *action = reach(l, part[0]);
    if (action)
        return action;
    for (int t = DM_LAB_WATER; t < DM_LAB_ANIMAL; t++) {
        if (l->where[t] != vessel || t == part[0] || t == part[1])
            continue;
        const int into = vessel == DM_LAB_POT ? DM_LAB_CRUCIBLE : DM_LAB_POT;
        action = bring(l, t, into);
        return action ? action : say(l, "pour %s into %s", dm_lab_items[t].name, dm_lab_items[into].name);
    }
    return say(l, "mix %s", dm_lab_items[dm_lab_handle(l, vessel)].name);
}

static const char *mix(dm_lab *l)
{
    const int *part = dm_lab_recipes[l->target - DM_LAB_PRODUCT];
    const int vessel[2] = {l->where[part[0]], l->where[part[1]]};

    if (l->where[l->target] != DM_LAB_NOWHERE)
        return focus_on(l, l->target);
    if (vessel[0] == DM_LAB_NOWHERE || vessel[1] == DM_LAB_NOWHERE)
        return NULL;
    if (vessel[0] == vessel[1])
        return mix_in(l, vessel[0], part);
    if (l->seen[part[0]] && l->seen[part[1]]) {
        int from = 0; /* what is at hand is carried to the other */
        if (l->where[vessel[0]] != DM_LAB_SELF && (l->where[vessel[1]] == DM_LAB_SELF || !dm_lab_visible(l, part[0])))
            from = 1;
        const char *action = bring(l, part[from], part[!from]);
        return action ? action
                      : say(l, "pour %s into %s", dm_lab_items[part[from]].name,
                            dm_lab_items[dm_lab_handle(l, part[!from])].name);
    }
    for (int i = 0; i < 2; i++)
        if (l->seen[part[i]] && l->where[vessel[i]] != DM_LAB_SELF)
            return hold(l, part[i]);
    return search_parts(l, part);
}

const char *dm_lab_expert(dm_env *env)
{
    dm_lab *l = (dm_lab *)env;
    if (l->done)
        return NULL;
    switch (l->task.type) {
    case DM_LAB_BOIL:
    case DM_LAB_FREEZE:
    case DM_LAB_MELT:
        return l->where[l->target] == DM_LAB_NOWHERE ? NULL : change_state(l);
    case DM_LAB_FIND_LIVING:
    case DM_LAB_FIND_PLASTIC:
        return find_it(l);
    case DM_LAB_MEASURE:
        return l->where[l->target] == DM_LAB_NOWHERE ? NULL : measure(l);
    case DM_LAB_CONDUCT:
        return test_conductivity(l);
    case DM_LAB_MIX:
    case DM_LAB_TYPES:
        break;
    }
    return mix(l);
}
