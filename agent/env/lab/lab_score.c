/* Sub-goals: four for each type of task, a quarter of the score each, kept once reached. */
#include "agent/env/lab/lab_internal.h"

bool lab_may_focus(const lab *l, int thing)
{
    switch (l->task.type) {
    case LAB_FIND_LIVING:
    case LAB_FIND_PLASTIC:
        return l->focused ? thing == l->target : lab_fits(&l->task, thing);
    case LAB_MEASURE:
        return thing == l->target || thing == LAB_THERMOMETER;
    default:
        return thing == l->target;
    }
}

bool lab_in_box(const lab *l, int box)
{
    const int t = l->target;
    const int held = t != LAB_NOWHERE && lab_items[t].kind == LAB_IS_SUBSTANCE ? l->where[t] : t;
    return held != LAB_NOWHERE && l->where[held] == box;
}

int lab_right_box(const lab *l)
{
    const lab_task *t = &l->task;
    const bool other =
        (t->type == LAB_MEASURE && l->reading < t->degrees) || (t->type == LAB_CONDUCT && !l->conducts[l->target]);
    return t->box[other];
}

bool lab_decided(const lab *l)
{
    return l->task.type == LAB_MEASURE ? l->measured : l->task.type == LAB_CONDUCT ? l->goal[2] : l->focused;
}

static void judge_state(const lab *l, bool now[LAB_GOALS])
{
    const lab_item *s = &lab_items[l->target];
    const int wanted = l->task.type == LAB_BOIL ? s->boils : s->melts;
    const int vessel = l->where[l->target], device = vessel == LAB_NOWHERE ? LAB_NOWHERE : l->where[vessel];
    now[0] = l->focused;
    if (l->task.type == LAB_FREEZE) {
        now[1] = device == LAB_FREEZER;
        now[2] = now[1] && !l->open[LAB_FREEZER];
        now[3] = l->degrees[l->target] < wanted;
    } else { /* on a stove that will never be hot enough is nowhere */
        now[1] = device == LAB_FURNACE || (device == LAB_STOVE && wanted <= LAB_STOVE_DEGREES);
        now[2] = now[1] && l->on[device];
        now[3] = l->degrees[l->target] >= wanted;
    }
}

static void judge_find(const lab *l, bool now[LAB_GOALS])
{
    const bool boxed = l->focused && lab_in_box(l, lab_right_box(l));
    const bool held = l->focused && l->where[l->target] == LAB_SELF;
    now[0] = l->focused;
    now[1] = held || boxed;
    now[2] = boxed || (held && lab_here(l) == l->task.box_room);
    now[3] = boxed;
}

static void judge_measure(const lab *l, bool now[LAB_GOALS])
{
    now[0] = l->focused_tool;
    now[1] = l->focused;
    now[2] = l->measured;
    now[3] = l->measured && lab_in_box(l, lab_right_box(l));
}

static void judge_conduct(const lab *l, bool now[LAB_GOALS])
{
    now[0] = l->focused;
    now[1] = l->joined[0] == l->target && l->joined[1] == l->target;
    now[2] = now[1] && l->on[LAB_SWITCH];
    now[3] = l->goal[2] && lab_in_box(l, lab_right_box(l));
}

static void judge_mix(const lab *l, bool now[LAB_GOALS])
{
    const int *part = lab_recipes[l->target - LAB_PRODUCT];
    const int a = l->where[part[0]], b = l->where[part[1]];
    now[3] = l->focused;
    now[2] = l->where[l->target] != LAB_NOWHERE;
    now[1] = now[2] || (a == b && a != LAB_NOWHERE);
    now[0] = now[1] || (a != LAB_NOWHERE && l->where[a] == LAB_SELF) || (b != LAB_NOWHERE && l->where[b] == LAB_SELF);
}

void lab_judge(lab *l)
{
    bool now[LAB_GOALS] = {false};
    switch (l->task.type) {
    case LAB_BOIL:
    case LAB_FREEZE:
    case LAB_MELT:
        judge_state(l, now);
        break;
    case LAB_FIND_LIVING:
    case LAB_FIND_PLASTIC:
        judge_find(l, now);
        break;
    case LAB_MEASURE:
        judge_measure(l, now);
        break;
    case LAB_CONDUCT:
        judge_conduct(l, now);
        break;
    case LAB_MIX:
    case LAB_TYPES:
        judge_mix(l, now);
    }
    for (int g = 0; g < LAB_GOALS; g++)
        l->goal[g] |= now[g];

    if (l->task.box_room != LAB_NOWHERE && lab_decided(l)) {
        const int right = lab_right_box(l);
        l->wrong_box |= lab_in_box(l, right == l->task.box[0] ? l->task.box[1] : l->task.box[0]);
    }
}

double lab_score(const lab *l)
{
    int reached = 0;
    for (int g = 0; g < LAB_GOALS; g++)
        reached += l->goal[g];
    return l->failed ? 0 : (double)reached / LAB_GOALS;
}
