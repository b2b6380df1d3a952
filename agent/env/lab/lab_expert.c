/* The expert: from what has been seen, where things are said to be, and where a lab keeps its equipment, the next
 * action. It holds no plan: each call looks at the state again, so that it goes on from wherever another has led. */
#include "agent/env/lab/lab_internal.h"

#include <stdarg.h>
#include <stdio.h>

static const char *say(lab *l, const char *fmt, ...) DM_PRINTF(2, 3);

static const char *say(lab *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(l->advice, sizeof l->advice, fmt, args);
    va_end(args);
    return l->advice;
}

/* ---- getting there: an action, or NULL when one is there ---- */

static const char *travel(lab *l, int room)
{
    const int door = LAB_DOOR + room;
    if (room == lab_here(l))
        return NULL;
    if (l->seen[door] && !l->open[door])
        return say(l, "open %s", lab_items[door].name);
    return say(l, "go to %s", lab_items[room].name);
}

static int expected_room(const lab *l, int thing)
{
    return l->seen[thing] ? lab_room_of(l, thing) : l->home[thing];
}

/* To where a thing is in sight. */
static const char *reach(lab *l, int thing)
{
    const int room = expected_room(l, thing);
    const char *action = travel(l, room);
    if (action || lab_visible(l, thing))
        return action;
    int in = LAB_CLOSET + room; /* not in the open, so it must be there */
    for (int t = l->where[thing]; l->seen[thing] && t != room; t = l->where[t])
        if (lab_items[t].kind & LAB_OPENABLE)
            in = t;
    return say(l, "open %s", lab_items[in].name);
}

/* Both in sight, the first carried to the second. */
static const char *bring(lab *l, int thing, int to)
{
    const int body = lab_items[thing].kind == LAB_IS_SUBSTANCE ? l->where[thing] : thing;
    const char *action = l->where[body] == LAB_SELF ? NULL : reach(l, thing);
    if (action)
        return action;
    if (l->where[body] != LAB_SELF && expected_room(l, to) != lab_here(l))
        return say(l, "pick up %s", lab_items[lab_handle(l, thing)].name);
    return reach(l, to);
}

static const char *focus_on(lab *l, int thing)
{
    const char *action = reach(l, thing);
    return action ? action : say(l, "focus on %s", lab_items[thing].name);
}

static const char *bring_to_box(lab *l, int thing)
{
    const int box = lab_right_box(l);
    const char *action = bring(l, thing, box);
    return action ? action : say(l, "move %s to %s", lab_items[lab_handle(l, thing)].name, lab_items[box].name);
}

static const char *hold(lab *l, int thing)
{
    const char *action = reach(l, thing);
    return action ? action : say(l, "pick up %s", lab_items[lab_handle(l, thing)].name);
}

/* ---- what to do ---- */

static const char *heat(lab *l, int degrees)
{
    const int substance = l->target, vessel = l->where[substance];
    const char *action;
    int heater = degrees <= LAB_STOVE_DEGREES && !l->found_broken ? LAB_STOVE : LAB_FURNACE;
    if (l->where[vessel] == LAB_FURNACE)
        heater = LAB_FURNACE;

    if (!lab_heatproof(vessel)) {
        const int into = heater == LAB_STOVE ? LAB_POT : LAB_CRUCIBLE;
        action = bring(l, substance, into);
        return action ? action : say(l, "pour %s into %s", lab_items[substance].name, lab_items[into].name);
    }
    if (l->where[vessel] != heater) {
        action = bring(l, vessel, heater);
        return action ? action : say(l, "move %s to %s", lab_items[vessel].name, lab_items[heater].name);
    }
    if (!l->on[heater]) {
        action = reach(l, heater);
        return action ? action : say(l, "activate %s", lab_items[heater].name);
    }
    return say(l, "wait");
}

static const char *freeze(lab *l)
{
    const int vessel = l->where[l->target];
    const char *action;
    if (l->where[vessel] != LAB_FREEZER) {
        action = bring(l, l->target, LAB_FREEZER);
        if (action)
            return action;
        return l->open[LAB_FREEZER] ? say(l, "move %s to freezer", lab_items[lab_handle(l, vessel)].name)
                                    : say(l, "open freezer");
    }
    if (l->open[LAB_FREEZER]) {
        action = reach(l, LAB_FREEZER);
        return action ? action : say(l, "close freezer");
    }
    return say(l, "wait");
}

static const char *change_state(lab *l)
{
    const lab_item *s = &lab_items[l->target];
    if (!l->focused)
        return focus_on(l, l->target);
    return l->task.type == LAB_FREEZE ? freeze(l) : heat(l, l->task.type == LAB_BOIL ? s->boils : s->melts);
}

static const char *find_it(lab *l)
{
    if (l->focused)
        return bring_to_box(l, l->target);
    for (int t = LAB_ANIMAL; t < LAB_SAMPLE; t++) {
        if (!l->seen[t] || !lab_fits(&l->task, t))
            continue;
        return l->where[t] == l->task.box[1] ? hold(l, t) : focus_on(l, t); /* not judged in the wrong box */
    }
    for (int i = 1; i < LAB_ROOMS; i++) {
        const int room = (lab_here(l) + i) % LAB_ROOMS;
        if (!l->visited[room])
            return travel(l, room);
    }
    return NULL;
}

static const char *measure(lab *l)
{
    const char *action;
    if (!l->focused_tool)
        return focus_on(l, LAB_THERMOMETER);
    if (!l->measured && l->where[LAB_THERMOMETER] != LAB_SELF)
        return hold(l, LAB_THERMOMETER);
    if (!l->focused)
        return focus_on(l, l->target);
    if (l->measured)
        return bring_to_box(l, l->target);
    if (lab_in_box(l, l->task.box[0]) || lab_in_box(l, l->task.box[1])) /* it would be judged at once */
        return hold(l, l->target);
    action = reach(l, l->target);
    return action ? action : say(l, "use thermometer on %s", lab_items[l->target].name);
}

static const char *test_conductivity(lab *l)
{
    static const int poles[2] = {LAB_BATTERY, LAB_BULB};
    if (!l->focused)
        return focus_on(l, l->target);
    if (l->goal[2])
        return bring_to_box(l, l->target);
    for (int i = 0; i < 2; i++)
        if (l->joined[i] != l->target) {
            const char *action = bring(l, l->target, poles[i]);
            return action ? action : say(l, "connect %s to %s", lab_items[l->target].name, lab_items[poles[i]].name);
        }
    const char *action = reach(l, LAB_SWITCH);
    return action ? action : say(l, "activate switch");
}

/* Each of the two rooms holds one part, in the open or in its closet. */
static const char *search_parts(lab *l, const int part[2])
{
    for (int i = 0; i < 2; i++) {
        const int room = l->task.place[i];
        if ((l->seen[part[0]] && l->home[part[0]] == room) || (l->seen[part[1]] && l->home[part[1]] == room))
            continue;
        const char *action = travel(l, room);
        return action ? action : say(l, "open %s", lab_items[LAB_CLOSET + room].name);
    }
    return NULL;
}

/* Both parts are in one vessel; what else is in it goes elsewhere first. */
static const char *mix_in(lab *l, int vessel, const int part[2])
{
    const char *action = reach(l, part[0]);
    if (action)
        return action;
    for (int t = LAB_WATER; t < LAB_ANIMAL; t++) {
        if (l->where[t] != vessel || t == part[0] || t == part[1])
            continue;
        const int into = vessel == LAB_POT ? LAB_CRUCIBLE : LAB_POT;
        action = bring(l, t, into);
        return action ? action : say(l, "pour %s into %s", lab_items[t].name, lab_items[into].name);
    }
    return say(l, "mix %s", lab_items[lab_handle(l, vessel)].name);
}

static const char *mix(lab *l)
{
    const int *part = lab_recipes[l->target - LAB_PRODUCT];
    const int vessel[2] = {l->where[part[0]], l->where[part[1]]};

    if (l->where[l->target] != LAB_NOWHERE)
        return focus_on(l, l->target);
    if (vessel[0] == LAB_NOWHERE || vessel[1] == LAB_NOWHERE)
        return NULL;
    if (vessel[0] == vessel[1])
        return mix_in(l, vessel[0], part);
    if (l->seen[part[0]] && l->seen[part[1]]) {
        int from = 0; /* what is at hand is carried to the other */
        if (l->where[vessel[0]] != LAB_SELF && (l->where[vessel[1]] == LAB_SELF || !lab_visible(l, part[0])))
            from = 1;
        const char *action = bring(l, part[from], part[!from]);
        return action
                   ? action
                   : say(l, "pour %s into %s", lab_items[part[from]].name, lab_items[lab_handle(l, part[!from])].name);
    }
    for (int i = 0; i < 2; i++)
        if (l->seen[part[i]] && l->where[vessel[i]] != LAB_SELF)
            return hold(l, part[i]);
    return search_parts(l, part);
}

const char *lab_expert(dm_env *env)
{
    lab *l = (lab *)env;
    if (l->done)
        return NULL;
    switch (l->task.type) {
    case LAB_BOIL:
    case LAB_FREEZE:
    case LAB_MELT:
        return l->where[l->target] == LAB_NOWHERE ? NULL : change_state(l);
    case LAB_FIND_LIVING:
    case LAB_FIND_PLASTIC:
        return find_it(l);
    case LAB_MEASURE:
        return l->where[l->target] == LAB_NOWHERE ? NULL : measure(l);
    case LAB_CONDUCT:
        return test_conductivity(l);
    case LAB_MIX:
    case LAB_TYPES:
        break;
    }
    return mix(l);
}
