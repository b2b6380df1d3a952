/* Sub-goals: four for each type of task, a quarter of the score each, kept once reached. */
#include "agent/env/lab/lab.h"

bool dm_lab_may_focus(const dm_lab *l, int thing)
{
    switch (l->task.type) {
    case DM_LAB_FIND_LIVING:
    case DM_LAB_FIND_PLASTIC:
        return l->focused ? thing == l->target : dm_lab_fits(&l->task, thing);
    case DM_LAB_MEASURE:
        return thing == l->target || thing == DM_LAB_THERMOMETER;
    default:
        return thing == l->target;
    }
}

bool dm_lab_in_box(const dm_lab *l, int box)
{
    const int t = l->target;
    const int held = t != DM_LAB_NOWHERE && dm_lab_items[t].kind == DM_LAB_IS_SUBSTANCE ? l->where[t] : t;
    return held != DM_LAB_NOWHERE && l->where[held] == box;
}

int dm_lab_right_box(const dm_lab *l)
{
    const dm_lab_task *t = &l->task;
    const bool other = (t->type == DM_LAB_MEASURE && l->reading < t->degrees) ||
                       (t->type == DM_LAB_CONDUCT && !l->conducts[l->target]);
    return t->box[other];
}

static bool decided(const dm_lab *l)
{
    return l->task.type == DM_LAB_MEASURE ? l->measured : l->task.type == DM_LAB_CONDUCT ? l->goal[2] : l->focused;
}

static void judge_state(const dm_lab *l, bool now[DM_LAB_GOALS])
{
    const dm_lab_item *s = &dm_lab_items[l->target];
    const int wanted = l->task.type == DM_LAB_BOIL ? s->boils : s->melts;
    const int vessel = l->where[l->target], device = vessel == DM_LAB_NOWHERE ? DM_LAB_NOWHERE : l->where[vessel];
    now[0] = l->focused;
    if (l->task.type == DM_LAB_FREEZE) {
        now[1] = device == DM_LAB_FREEZER;
        now[2] = now[1] && !l->open[DM_LAB_FREEZER];
        now[3] = l->degrees[l->target] < wanted;
    } else { /* on a stove that will never be hot enough is nowhere */
        now[1] = device == DM_LAB_FURNACE || (device == DM_LAB_STOVE && wanted <= DM_LAB_STOVE_DEGREES);
        now[2] = now[1] && l->on[device];
        now[3] = l->degrees[l->target] >= wanted;
    }
}

static void judge_find(const dm_lab *l, bool now[DM_LAB_GOALS])
{
    const bool boxed = l->focused && dm_lab_in_box(l, dm_lab_right_box(l));
    const bool held = l->focused && l->where[l->target] == DM_LAB_SELF;
    now[0] = l->focused;
    now[1] = held || boxed;
    now[2] = boxed || (held && dm_lab_here(l) == l->task.box_room);
    now[3] = boxed;
}

static void judge_measure(const dm_lab *l, bool now[DM_LAB_GOALS])
{
    now[0] = l->focused_tool;
    now[1] = l->focused;
    now[2] = l->measured;
    now[3] = l->measured && dm_lab_in_box(l, dm_lab_right_box(l));
}

static void judge_conduct(const dm_lab *l, bool now[DM_LAB_GOALS])
{
    now[0] = l->focused;
    now[1] = l->joined[0] == l->target && l->joined[1] == l->target;
    now[2] = now[1] && l->on[DM_LAB_SWITCH];
    now[3] = l->goal[2] && dm_lab_in_box(l, dm_lab_right_box(l));
}

static void judge_mix(const dm_lab *l, bool now[DM_LAB_GOALS])
{
    const int *part = dm_lab_recipes[l->target - DM_LAB_PRODUCT];
    const int a = l->where[part[0]], b = l->where[part[1]];
    now[3] = l->focused;
    now[2] = l->where[l->target] != DM_LAB_NOWHERE;
    now[1] = now[2] || (a == b && a != DM_LAB_NOWHERE);
    now[0] = now[1] || (a != DM_LAB_NOWHERE && l->where[a] == DM_LAB_SELF) ||
             (b != DM_LAB_NOWHERE && l->where[b] == DM_LAB_SELF);
}

void dm_lab_judge(dm_lab *l)
{
    bool now[DM_LAB_GOALS] = {false};
    switch (l->task.type) {
    case DM_LAB_BOIL:
    case DM_LAB_FREEZE:
    case DM_LAB_MELT:
        judge_state(l, now);
        break;
    case DM_LAB_FIND_LIVING:
    case DM_LAB_FIND_PLASTIC:
        judge_find(l, now);
        break;
    case DM_LAB_MEASURE:
        judge_measure(l, now);
        break;
    case DM_LAB_CONDUCT:
        judge_conduct(l, now);
        break;
    case DM_LAB_MIX:
    case DM_LAB_TYPES:
        judge_mix(l, now);
    }
    for (int g = 0; g < DM_LAB_GOALS; g++)
        l->goal[g] |= now[g];

    if (l->task.box_room != DM_LAB_NOWHERE && decided(l)) {
        const int right = dm_lab_right_box(l);
        l->wrong_box |= dm_lab_in_box(l, right == l->task.box[0] ? l->task.box[1] : l->task.box[0]);
    }
}

double dm_lab_score(const dm_lab *l)
{
    int reached = 0;
    for (int g = 0; g < DM_LAB_GOALS; g++)
        reached += l->goal[g];
    return l->failed ? 0 : (double)reached / DM_LAB_GOALS;
}
