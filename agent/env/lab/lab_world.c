/* What there is in the lab, how a world is laid out for a task, and what time does to it. */
#include "agent/env/lab/lab.h"

#include "core/numbers/philox.h"

#define SUBSTANCE(name, melts, boils)                                                                                  \
    {                                                                                                                  \
        name, DM_LAB_IS_SUBSTANCE, melts, boils                                                                        \
    }
#define SOLID(name) SUBSTANCE(name, DM_LAB_NEVER, DM_LAB_NEVER)

const dm_lab_item dm_lab_items[DM_LAB_THINGS] = {
    [DM_LAB_KITCHEN] = {"kitchen", DM_LAB_IS_ROOM, 0, 0},
    [DM_LAB_WORKSHOP] = {"workshop", DM_LAB_IS_ROOM, 0, 0},
    [DM_LAB_GREENHOUSE] = {"greenhouse", DM_LAB_IS_ROOM, 0, 0},
    [DM_LAB_STUDIO] = {"studio", DM_LAB_IS_ROOM, 0, 0},
    [DM_LAB_SELF] = {"inventory", DM_LAB_IS_SELF, 0, 0},
    [DM_LAB_DOOR] = {"door to kitchen", DM_LAB_IS_DOOR, 0, 0},
    [DM_LAB_DOOR + 1] = {"door to workshop", DM_LAB_IS_DOOR, 0, 0},
    [DM_LAB_DOOR + 2] = {"door to greenhouse", DM_LAB_IS_DOOR, 0, 0},
    [DM_LAB_DOOR + 3] = {"door to studio", DM_LAB_IS_DOOR, 0, 0},
    [DM_LAB_CLOSET] = {"cupboard", DM_LAB_IS_CLOSET, 0, 0},
    [DM_LAB_CLOSET + 1] = {"drawer", DM_LAB_IS_CLOSET, 0, 0},
    [DM_LAB_CLOSET + 2] = {"chest", DM_LAB_IS_CLOSET, 0, 0},
    [DM_LAB_CLOSET + 3] = {"cabinet", DM_LAB_IS_CLOSET, 0, 0},
    [DM_LAB_STOVE] = {"stove", DM_LAB_IS_HEATER, 0, 0},
    [DM_LAB_FURNACE] = {"furnace", DM_LAB_IS_HEATER, 0, 0},
    [DM_LAB_FREEZER] = {"freezer", DM_LAB_IS_FREEZER, 0, 0},
    [DM_LAB_BATTERY] = {"battery", DM_LAB_IS_POLE, 0, 0},
    [DM_LAB_BULB] = {"bulb", DM_LAB_IS_POLE, 0, 0},
    [DM_LAB_SWITCH] = {"switch", DM_LAB_IS_SWITCH, 0, 0},
    [DM_LAB_BOX] = {"red box", DM_LAB_IS_BOX, 0, 0},
    [DM_LAB_BOX + 1] = {"blue box", DM_LAB_IS_BOX, 0, 0},
    [DM_LAB_BOX + 2] = {"green box", DM_LAB_IS_BOX, 0, 0},
    [DM_LAB_BOX + 3] = {"yellow box", DM_LAB_IS_BOX, 0, 0},
    [DM_LAB_THERMOMETER] = {"thermometer", DM_LAB_IS_TOOL, 0, 0},
    [DM_LAB_POT] = {"pot", DM_LAB_IS_VESSEL, 0, 0},
    [DM_LAB_CRUCIBLE] = {"crucible", DM_LAB_IS_VESSEL, 0, 0},
    [DM_LAB_VESSEL] = {"cup", DM_LAB_IS_VESSEL, 0, 0},
    [DM_LAB_VESSEL + 1] = {"jar", DM_LAB_IS_VESSEL, 0, 0},
    [DM_LAB_VESSEL + 2] = {"jug", DM_LAB_IS_VESSEL, 0, 0},
    [DM_LAB_VESSEL + 3] = {"bowl", DM_LAB_IS_VESSEL, 0, 0},
    [DM_LAB_WATER] = SUBSTANCE("water", 0, 100),
    [DM_LAB_MILK] = SUBSTANCE("milk", -10, 100),
    [DM_LAB_TEA] = SUBSTANCE("tea", 0, 100),
    [DM_LAB_OIL] = SUBSTANCE("oil", -20, 180),
    [DM_LAB_BUTTER] = SUBSTANCE("butter", 40, DM_LAB_NEVER),
    [DM_LAB_WAX] = SUBSTANCE("wax", 80, DM_LAB_NEVER),
    [DM_LAB_TIN] = SUBSTANCE("tin", 230, DM_LAB_NEVER),
    [DM_LAB_LEAD] = SUBSTANCE("lead", 330, DM_LAB_NEVER),
    [DM_LAB_FLOUR] = SOLID("flour"),
    [DM_LAB_SALT] = SOLID("salt"),
    [DM_LAB_RED] = SUBSTANCE("red paint", 0, 100),
    [DM_LAB_BLUE] = SUBSTANCE("blue paint", 0, 100),
    [DM_LAB_YELLOW] = SUBSTANCE("yellow paint", 0, 100),
    [DM_LAB_PRODUCT] = SUBSTANCE("orange paint", 0, 100),
    [DM_LAB_PRODUCT + 1] = SUBSTANCE("green paint", 0, 100),
    [DM_LAB_PRODUCT + 2] = SUBSTANCE("purple paint", 0, 100),
    [DM_LAB_PRODUCT + 3] = SOLID("dough"),
    [DM_LAB_PRODUCT + 4] = SUBSTANCE("brine", -20, 110),
    [DM_LAB_PRODUCT + 5] = SUBSTANCE("batter", 0, 110),
    [DM_LAB_ANIMAL] = {"frog", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_ANIMAL + 1] = {"bird", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_ANIMAL + 2] = {"bee", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_PLANT] = {"fern", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_PLANT + 1] = {"rose", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_PLANT + 2] = {"moss", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_PLASTIC] = {"plastic frog", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_PLASTIC + 1] = {"plastic bird", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_PLASTIC + 2] = {"plastic bee", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_PLASTIC + 3] = {"plastic fern", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_PLASTIC + 4] = {"plastic rose", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_PLASTIC + 5] = {"plastic moss", DM_LAB_IS_LIFE, 0, 0},
    [DM_LAB_SAMPLE] = {"coin", DM_LAB_IS_SAMPLE, 0, 0},
    [DM_LAB_SAMPLE + 1] = {"key", DM_LAB_IS_SAMPLE, 0, 0},
    [DM_LAB_SAMPLE + 2] = {"ring", DM_LAB_IS_SAMPLE, 0, 0},
    [DM_LAB_SAMPLE + 3] = {"nail", DM_LAB_IS_SAMPLE, 0, 0},
};

const int dm_lab_recipes[DM_LAB_PRODUCTS][2] = {
    {DM_LAB_RED, DM_LAB_YELLOW},  {DM_LAB_BLUE, DM_LAB_YELLOW}, {DM_LAB_RED, DM_LAB_BLUE},
    {DM_LAB_WATER, DM_LAB_FLOUR}, {DM_LAB_WATER, DM_LAB_SALT},  {DM_LAB_MILK, DM_LAB_FLOUR},
};

/* ---- where things are ---- */

int dm_lab_room_of(const dm_lab *l, int thing)
{
    while (thing != DM_LAB_NOWHERE && dm_lab_items[thing].kind != DM_LAB_IS_ROOM)
        thing = l->where[thing];
    return thing;
}

int dm_lab_here(const dm_lab *l)
{
    return l->where[DM_LAB_SELF];
}

bool dm_lab_visible(const dm_lab *l, int thing)
{
    const int here = dm_lab_here(l);
    if (dm_lab_items[thing].kind == DM_LAB_IS_DOOR) /* all rooms are off one hall */
        return here != l->where[thing];
    if (dm_lab_room_of(l, thing) != here)
        return false;
    for (int in = l->where[thing]; in != DM_LAB_NOWHERE; in = l->where[in])
        if ((dm_lab_items[in].kind & DM_LAB_OPENABLE) && !l->open[in])
            return false;
    return thing != DM_LAB_SELF && thing != here;
}

void dm_lab_notice(dm_lab *l)
{
    l->visited[dm_lab_here(l)] = true;
    for (int t = 0; t < DM_LAB_THINGS; t++)
        if (!l->seen[t] && dm_lab_items[t].kind != DM_LAB_IS_DOOR && dm_lab_visible(l, t)) {
            l->seen[t] = true;
            l->home[t] = dm_lab_here(l);
        }
}

bool dm_lab_heatproof(int vessel)
{
    return vessel == DM_LAB_POT || vessel == DM_LAB_CRUCIBLE;
}

bool dm_lab_fits(const dm_lab_task *t, int thing)
{
    const bool plastic = t->type == DM_LAB_FIND_PLASTIC;
    const int first = plastic ? DM_LAB_PLASTIC : DM_LAB_ANIMAL;
    if (thing < first || thing >= first + DM_LAB_LIVING)
        return false;
    const int animals = DM_LAB_PLANT - DM_LAB_ANIMAL;
    return t->any || (thing - first < animals) == (t->object - first < animals);
}

const char *dm_lab_state(int substance, int degrees)
{
    return degrees >= dm_lab_items[substance].boils   ? "boiling"
           : degrees >= dm_lab_items[substance].melts ? "liquid"
                                                      : "solid";
}

/* ---- a world ---- */

/* No two draws are arguments of one call: C leaves their order open. */
static int draw(dm_lab *l, int n)
{
    const uint32_t word = dm_random(l->seed, DM_RNG_ENV, l->stream, l->counter++).v[0];
    return (int)(((uint64_t)word * (uint32_t)n) >> 32);
}

static int any_room(dm_lab *l)
{
    return draw(l, DM_LAB_ROOMS);
}

/* Into the open or into the room's closet. */
static void place(dm_lab *l, int thing, int room, bool hidden)
{
    l->where[thing] = hidden ? DM_LAB_CLOSET + room : room;
}

static void scatter(dm_lab *l, int thing)
{
    place(l, thing, any_room(l), false);
}

static void equip(dm_lab *l, int thing, int room, bool hidden)
{
    place(l, thing, room, hidden);
    l->home[thing] = room;
}

static void build_rooms(dm_lab *l)
{
    for (int r = 0; r < DM_LAB_ROOMS; r++) {
        equip(l, DM_LAB_DOOR + r, r, false);
        l->open[DM_LAB_DOOR + r] = draw(l, 4) > 0;
        equip(l, DM_LAB_CLOSET + r, r, false);
    }
    equip(l, DM_LAB_STOVE, DM_LAB_KITCHEN, false);
    equip(l, DM_LAB_FREEZER, DM_LAB_KITCHEN, false);
    equip(l, DM_LAB_POT, DM_LAB_KITCHEN, false);
    equip(l, DM_LAB_THERMOMETER, DM_LAB_KITCHEN, false);
    equip(l, DM_LAB_FURNACE, DM_LAB_WORKSHOP, false);
    equip(l, DM_LAB_BATTERY, DM_LAB_WORKSHOP, false);
    equip(l, DM_LAB_BULB, DM_LAB_WORKSHOP, false);
    equip(l, DM_LAB_SWITCH, DM_LAB_WORKSHOP, false);
    equip(l, DM_LAB_CRUCIBLE, DM_LAB_WORKSHOP, false);
    l->broken = draw(l, 6) == 0;
    l->where[DM_LAB_SELF] = l->task.start;
}

/* One of n things from `first` that does not exist yet. */
static int another(dm_lab *l, int first, int n)
{
    int t = draw(l, n);
    while (l->where[first + t] != DM_LAB_NOWHERE)
        t = (t + 1) % n;
    return first + t;
}

/* A substance in a vessel of its own. */
static void fill(dm_lab *l, int substance, int vessel, int room, bool hidden)
{
    place(l, vessel, room, hidden);
    l->where[substance] = vessel;
}

/* Substances that are not the task's: one beside what it needs, one elsewhere; beside paints the third paint. */
static void add_substances(dm_lab *l)
{
    const bool paint = l->task.type == DM_LAB_MIX && dm_lab_recipes[l->task.object - DM_LAB_PRODUCT][0] >= DM_LAB_RED;
    for (int i = 0; i < 2; i++) {
        const bool third = paint && i == 0;
        const int substance = another(l, third ? DM_LAB_RED : DM_LAB_WATER, third ? 3 : DM_LAB_LIQUIDS + DM_LAB_SOLIDS);
        const int room = i == 0 || l->task.type == DM_LAB_MIX ? l->task.place[i] : any_room(l);
        const int vessel = another(l, DM_LAB_VESSEL, DM_LAB_VESSELS);
        fill(l, substance, vessel, room, draw(l, 2));
    }
}

static void add_boxes(dm_lab *l)
{
    for (int i = 0; i < 2; i++)
        equip(l, l->task.box[i], l->task.box_room, false);
}

static void build_substance(dm_lab *l)
{
    const dm_lab_task *t = &l->task;
    fill(l, t->object, t->vessel, t->place[0], t->hidden[0]);
    l->home[t->object] = t->place[0];
    add_substances(l);
    if (t->type == DM_LAB_MEASURE) {
        const int steps = t->degrees / 10; /* 10, 20 .. below the threshold, or above it .. 90 */
        l->degrees[t->object] = draw(l, 2) ? 10 * (1 + draw(l, steps - 1)) : t->degrees + 10 * (1 + draw(l, 9 - steps));
        add_boxes(l);
    }
}

static void build_find(dm_lab *l)
{
    const dm_lab_task *t = &l->task;
    const bool plastic = t->type == DM_LAB_FIND_PLASTIC;
    const int others = plastic ? DM_LAB_ANIMAL : DM_LAB_PLASTIC;
    const int twin = plastic ? t->object - DM_LAB_PLASTIC + DM_LAB_ANIMAL : t->object - DM_LAB_ANIMAL + DM_LAB_PLASTIC;

    place(l, t->object, t->place[0], false);
    scatter(l, twin);
    scatter(l, another(l, others, DM_LAB_LIVING));
    if (!t->any) { /* of the right nature, but an animal for a plant and the reverse */
        const int first = plastic ? DM_LAB_PLASTIC : DM_LAB_ANIMAL, animals = DM_LAB_PLANT - DM_LAB_ANIMAL;
        const bool animal = t->object - first < animals;
        scatter(l, another(l, animal ? first + animals : first, animals));
    }
    add_boxes(l);
}

static void build_conduct(dm_lab *l)
{
    const dm_lab_task *t = &l->task;
    place(l, t->object, t->place[0], t->hidden[0]);
    l->home[t->object] = t->place[0];
    for (int i = 0; i < 2; i++) {
        const int sample = another(l, DM_LAB_SAMPLE, DM_LAB_SAMPLES);
        const int room = i == 0 ? t->place[0] : any_room(l);
        place(l, sample, room, draw(l, 2));
    }
    for (int i = 0; i < DM_LAB_SAMPLES; i++)
        l->conducts[DM_LAB_SAMPLE + i] = draw(l, 2);
    add_boxes(l);
}

static void build_mix(dm_lab *l)
{
    const dm_lab_task *t = &l->task;
    const int *parts = dm_lab_recipes[t->object - DM_LAB_PRODUCT];
    const int swap = draw(l, 2);
    for (int i = 0; i < 2; i++) {
        const int vessel = DM_LAB_VESSEL + (t->vessel - DM_LAB_VESSEL + i) % DM_LAB_VESSELS;
        fill(l, parts[i ^ swap], vessel, t->place[i], t->hidden[i]);
    }
    add_substances(l);
}

void dm_lab_build(dm_lab *l)
{
    for (int t = 0; t < DM_LAB_THINGS; t++) {
        l->where[t] = l->home[t] = DM_LAB_NOWHERE;
        l->open[t] = l->on[t] = l->conducts[t] = l->seen[t] = false;
        l->degrees[t] = DM_LAB_ROOM_DEGREES;
    }
    for (int r = 0; r < DM_LAB_ROOMS; r++)
        l->visited[r] = false;
    for (int g = 0; g < DM_LAB_GOALS; g++)
        l->goal[g] = false;
    const bool find = l->task.type == DM_LAB_FIND_LIVING || l->task.type == DM_LAB_FIND_PLASTIC;
    l->target = find ? DM_LAB_NOWHERE : l->task.object;
    l->focused = l->focused_tool = l->measured = l->failed = l->wrong_box = l->found_broken = false;
    l->joined[0] = l->joined[1] = DM_LAB_NOWHERE;
    l->turns = 0;
    l->counter = 0;
    build_rooms(l);

    switch (l->task.type) {
    case DM_LAB_BOIL:
    case DM_LAB_FREEZE:
    case DM_LAB_MELT:
    case DM_LAB_MEASURE:
        build_substance(l);
        break;
    case DM_LAB_FIND_LIVING:
    case DM_LAB_FIND_PLASTIC:
        build_find(l);
        break;
    case DM_LAB_CONDUCT:
        build_conduct(l);
        break;
    case DM_LAB_MIX:
    case DM_LAB_TYPES:
        build_mix(l);
    }
    if (!find)
        scatter(l, another(l, DM_LAB_ANIMAL, 2 * DM_LAB_LIVING));
    dm_lab_notice(l);
}

/* ---- time ---- */

static int towards(int degrees, int end, int step)
{
    if (degrees < end)
        return degrees + step < end ? degrees + step : end;
    return degrees - step > end ? degrees - step : end;
}

/* What is warmer or colder than a device and in it comes nearer to it each turn; nothing cools in a room. */
void dm_lab_pass_time(dm_lab *l, dm_text *out)
{
    for (int t = DM_LAB_WATER; t < DM_LAB_ANIMAL; t++) {
        const int vessel = l->where[t], device = vessel == DM_LAB_NOWHERE ? DM_LAB_NOWHERE : l->where[vessel];
        const int before = l->degrees[t];
        if (device == DM_LAB_STOVE && l->on[device])
            l->degrees[t] = towards(before, DM_LAB_STOVE_DEGREES, 40);
        else if (device == DM_LAB_FURNACE && l->on[device])
            l->degrees[t] = towards(before, DM_LAB_FURNACE_DEGREES, 200);
        else if (device == DM_LAB_FREEZER && !l->open[device])
            l->degrees[t] = towards(before, DM_LAB_FREEZER_DEGREES, 20);
        const char *was = dm_lab_state(t, before), *is = dm_lab_state(t, l->degrees[t]);
        if (is != was && dm_lab_visible(l, t))
            dm_text_print(out, " The %s is now %s.", dm_lab_items[t].name, is);
    }
}
