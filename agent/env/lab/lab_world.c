/* What there is in the lab, how a world is laid out for a task, and what time does to it. */
#include "agent/env/lab/lab_internal.h"

#include "core/philox.h"

#define SUBSTANCE(name, melts, boils)                                                                                  \
    {                                                                                                                  \
        name, LAB_IS_SUBSTANCE, melts, boils                                                                           \
    }
#define SOLID(name) SUBSTANCE(name, LAB_NEVER, LAB_NEVER)

const lab_item lab_items[LAB_THINGS] = {
    [LAB_KITCHEN] = {"kitchen", LAB_IS_ROOM, 0, 0},
    [LAB_WORKSHOP] = {"workshop", LAB_IS_ROOM, 0, 0},
    [LAB_GREENHOUSE] = {"greenhouse", LAB_IS_ROOM, 0, 0},
    [LAB_STUDIO] = {"studio", LAB_IS_ROOM, 0, 0},
    [LAB_SELF] = {"inventory", LAB_IS_SELF, 0, 0},
    [LAB_DOOR] = {"door to kitchen", LAB_IS_DOOR, 0, 0},
    [LAB_DOOR + 1] = {"door to workshop", LAB_IS_DOOR, 0, 0},
    [LAB_DOOR + 2] = {"door to greenhouse", LAB_IS_DOOR, 0, 0},
    [LAB_DOOR + 3] = {"door to studio", LAB_IS_DOOR, 0, 0},
    [LAB_CLOSET] = {"cupboard", LAB_IS_CLOSET, 0, 0},
    [LAB_CLOSET + 1] = {"drawer", LAB_IS_CLOSET, 0, 0},
    [LAB_CLOSET + 2] = {"chest", LAB_IS_CLOSET, 0, 0},
    [LAB_CLOSET + 3] = {"cabinet", LAB_IS_CLOSET, 0, 0},
    [LAB_STOVE] = {"stove", LAB_IS_HEATER, 0, 0},
    [LAB_FURNACE] = {"furnace", LAB_IS_HEATER, 0, 0},
    [LAB_FREEZER] = {"freezer", LAB_IS_FREEZER, 0, 0},
    [LAB_BATTERY] = {"battery", LAB_IS_POLE, 0, 0},
    [LAB_BULB] = {"bulb", LAB_IS_POLE, 0, 0},
    [LAB_SWITCH] = {"switch", LAB_IS_SWITCH, 0, 0},
    [LAB_BOX] = {"red box", LAB_IS_BOX, 0, 0},
    [LAB_BOX + 1] = {"blue box", LAB_IS_BOX, 0, 0},
    [LAB_BOX + 2] = {"green box", LAB_IS_BOX, 0, 0},
    [LAB_BOX + 3] = {"yellow box", LAB_IS_BOX, 0, 0},
    [LAB_THERMOMETER] = {"thermometer", LAB_IS_TOOL, 0, 0},
    [LAB_POT] = {"pot", LAB_IS_VESSEL, 0, 0},
    [LAB_CRUCIBLE] = {"crucible", LAB_IS_VESSEL, 0, 0},
    [LAB_VESSEL] = {"cup", LAB_IS_VESSEL, 0, 0},
    [LAB_VESSEL + 1] = {"jar", LAB_IS_VESSEL, 0, 0},
    [LAB_VESSEL + 2] = {"jug", LAB_IS_VESSEL, 0, 0},
    [LAB_VESSEL + 3] = {"bowl", LAB_IS_VESSEL, 0, 0},
    [LAB_WATER] = SUBSTANCE("water", 0, 100),
    [LAB_MILK] = SUBSTANCE("milk", -10, 100),
    [LAB_TEA] = SUBSTANCE("tea", 0, 100),
    [LAB_OIL] = SUBSTANCE("oil", -20, 180),
    [LAB_BUTTER] = SUBSTANCE("butter", 40, LAB_NEVER),
    [LAB_WAX] = SUBSTANCE("wax", 80, LAB_NEVER),
    [LAB_TIN] = SUBSTANCE("tin", 230, LAB_NEVER),
    [LAB_LEAD] = SUBSTANCE("lead", 330, LAB_NEVER),
    [LAB_FLOUR] = SOLID("flour"),
    [LAB_SALT] = SOLID("salt"),
    [LAB_RED] = SUBSTANCE("red paint", 0, 100),
    [LAB_BLUE] = SUBSTANCE("blue paint", 0, 100),
    [LAB_YELLOW] = SUBSTANCE("yellow paint", 0, 100),
    [LAB_PRODUCT] = SUBSTANCE("orange paint", 0, 100),
    [LAB_PRODUCT + 1] = SUBSTANCE("green paint", 0, 100),
    [LAB_PRODUCT + 2] = SUBSTANCE("purple paint", 0, 100),
    [LAB_PRODUCT + 3] = SOLID("dough"),
    [LAB_PRODUCT + 4] = SUBSTANCE("brine", -20, 110),
    [LAB_PRODUCT + 5] = SUBSTANCE("batter", 0, 110),
    [LAB_ANIMAL] = {"frog", LAB_IS_LIFE, 0, 0},
    [LAB_ANIMAL + 1] = {"bird", LAB_IS_LIFE, 0, 0},
    [LAB_ANIMAL + 2] = {"bee", LAB_IS_LIFE, 0, 0},
    [LAB_PLANT] = {"fern", LAB_IS_LIFE, 0, 0},
    [LAB_PLANT + 1] = {"rose", LAB_IS_LIFE, 0, 0},
    [LAB_PLANT + 2] = {"moss", LAB_IS_LIFE, 0, 0},
    [LAB_PLASTIC] = {"plastic frog", LAB_IS_LIFE, 0, 0},
    [LAB_PLASTIC + 1] = {"plastic bird", LAB_IS_LIFE, 0, 0},
    [LAB_PLASTIC + 2] = {"plastic bee", LAB_IS_LIFE, 0, 0},
    [LAB_PLASTIC + 3] = {"plastic fern", LAB_IS_LIFE, 0, 0},
    [LAB_PLASTIC + 4] = {"plastic rose", LAB_IS_LIFE, 0, 0},
    [LAB_PLASTIC + 5] = {"plastic moss", LAB_IS_LIFE, 0, 0},
    [LAB_SAMPLE] = {"coin", LAB_IS_SAMPLE, 0, 0},
    [LAB_SAMPLE + 1] = {"key", LAB_IS_SAMPLE, 0, 0},
    [LAB_SAMPLE + 2] = {"ring", LAB_IS_SAMPLE, 0, 0},
    [LAB_SAMPLE + 3] = {"nail", LAB_IS_SAMPLE, 0, 0},
};

const int lab_recipes[LAB_PRODUCTS][2] = {
    {LAB_RED, LAB_YELLOW},  {LAB_BLUE, LAB_YELLOW}, {LAB_RED, LAB_BLUE},
    {LAB_WATER, LAB_FLOUR}, {LAB_WATER, LAB_SALT},  {LAB_MILK, LAB_FLOUR},
};

/* ---- where things are ---- */

int lab_room_of(const lab *l, int thing)
{
    while (thing != LAB_NOWHERE && lab_items[thing].kind != LAB_IS_ROOM)
        thing = l->where[thing];
    return thing;
}

int lab_here(const lab *l)
{
    return l->where[LAB_SELF];
}

bool lab_visible(const lab *l, int thing)
{
    const int here = lab_here(l);
    if (lab_items[thing].kind == LAB_IS_DOOR) /* all rooms are off one hall */
        return here != l->where[thing];
    if (lab_room_of(l, thing) != here)
        return false;
    for (int in = l->where[thing]; in != LAB_NOWHERE; in = l->where[in])
        if ((lab_items[in].kind & LAB_OPENABLE) && !l->open[in])
            return false;
    return thing != LAB_SELF && thing != here;
}

void lab_notice(lab *l)
{
    l->visited[lab_here(l)] = true;
    for (int t = 0; t < LAB_THINGS; t++)
        if (!l->seen[t] && lab_items[t].kind != LAB_IS_DOOR && lab_visible(l, t)) {
            l->seen[t] = true;
            l->home[t] = lab_here(l);
        }
}

bool lab_heatproof(int vessel)
{
    return vessel == LAB_POT || vessel == LAB_CRUCIBLE;
}

bool lab_fits(const lab_task *t, int thing)
{
    const bool plastic = t->type == LAB_FIND_PLASTIC;
    const int first = plastic ? LAB_PLASTIC : LAB_ANIMAL;
    if (thing < first || thing >= first + LAB_LIVING)
        return false;
    const int animals = LAB_PLANT - LAB_ANIMAL;
    return t->any || (thing - first < animals) == (t->object - first < animals);
}

/* ---- a world ---- */

/* No two draws are arguments of one call: C leaves their order open. */
static int draw(lab *l, int n)
{
    const uint32_t word = dm_random(l->seed, DM_RNG_ENV, l->stream, l->counter++).v[0];
    return (int)(((uint64_t)word * (uint32_t)n) >> 32);
}

static int any_room(lab *l)
{
    return draw(l, LAB_ROOMS);
}

/* Into the open or into the room's closet. */
static void place(lab *l, int thing, int room, bool hidden)
{
    l->where[thing] = hidden ? LAB_CLOSET + room : room;
}

static void scatter(lab *l, int thing)
{
    place(l, thing, any_room(l), false);
}

static void equip(lab *l, int thing, int room, bool hidden)
{
    place(l, thing, room, hidden);
    l->home[thing] = room;
}

static void build_rooms(lab *l)
{
    for (int r = 0; r < LAB_ROOMS; r++) {
        equip(l, LAB_DOOR + r, r, false);
        l->open[LAB_DOOR + r] = draw(l, 4) > 0;
        equip(l, LAB_CLOSET + r, r, false);
    }
    equip(l, LAB_STOVE, LAB_KITCHEN, false);
    equip(l, LAB_FREEZER, LAB_KITCHEN, false);
    equip(l, LAB_POT, LAB_KITCHEN, false);
    equip(l, LAB_THERMOMETER, LAB_KITCHEN, false);
    equip(l, LAB_FURNACE, LAB_WORKSHOP, false);
    equip(l, LAB_BATTERY, LAB_WORKSHOP, false);
    equip(l, LAB_BULB, LAB_WORKSHOP, false);
    equip(l, LAB_SWITCH, LAB_WORKSHOP, false);
    equip(l, LAB_CRUCIBLE, LAB_WORKSHOP, false);
    l->broken = draw(l, 6) == 0;
    l->where[LAB_SELF] = l->task.start;
}

/* One of n things from `first` that does not exist yet. */
static int another(lab *l, int first, int n)
{
    int t = draw(l, n);
    while (l->where[first + t] != LAB_NOWHERE)
        t = (t + 1) % n;
    return first + t;
}

/* A substance in a vessel of its own. */
static void fill(lab *l, int substance, int vessel, int room, bool hidden)
{
    place(l, vessel, room, hidden);
    l->where[substance] = vessel;
}

/* Substances that are not the task's: one beside what it needs, one elsewhere; beside paints the third paint. */
static void add_substances(lab *l)
{
    const bool paint = l->task.type == LAB_MIX && lab_recipes[l->task.object - LAB_PRODUCT][0] >= LAB_RED;
    for (int i = 0; i < 2; i++) {
        const bool third = paint && i == 0;
        const int substance = another(l, third ? LAB_RED : LAB_WATER, third ? 3 : LAB_LIQUIDS + LAB_SOLIDS);
        const int room = i == 0 || l->task.type == LAB_MIX ? l->task.place[i] : any_room(l);
        const int vessel = another(l, LAB_VESSEL, LAB_VESSELS);
        fill(l, substance, vessel, room, draw(l, 2));
    }
}

static void add_boxes(lab *l)
{
    for (int i = 0; i < 2; i++)
        equip(l, l->task.box[i], l->task.box_room, false);
}

static void build_substance(lab *l)
{
    const lab_task *t = &l->task;
    fill(l, t->object, t->vessel, t->place[0], t->hidden[0]);
    l->home[t->object] = t->place[0];
    add_substances(l);
    if (t->type == LAB_MEASURE) {
        const int steps = t->degrees / 10; /* 10, 20 .. below the threshold, or above it .. 90 */
        l->degrees[t->object] = draw(l, 2) ? 10 * (1 + draw(l, steps - 1)) : t->degrees + 10 * (1 + draw(l, 9 - steps));
        add_boxes(l);
    }
}

static void build_find(lab *l)
{
    const lab_task *t = &l->task;
    const bool plastic = t->type == LAB_FIND_PLASTIC;
    const int others = plastic ? LAB_ANIMAL : LAB_PLASTIC;
    const int twin = plastic ? t->object - LAB_PLASTIC + LAB_ANIMAL : t->object - LAB_ANIMAL + LAB_PLASTIC;

    place(l, t->object, t->place[0], false);
    scatter(l, twin);
    scatter(l, another(l, others, LAB_LIVING));
    if (!t->any) { /* of the right nature, but an animal for a plant and the reverse */
        const int first = plastic ? LAB_PLASTIC : LAB_ANIMAL, animals = LAB_PLANT - LAB_ANIMAL;
        const bool animal = t->object - first < animals;
        scatter(l, another(l, animal ? first + animals : first, animals));
    }
    add_boxes(l);
}

static void build_conduct(lab *l)
{
    const lab_task *t = &l->task;
    place(l, t->object, t->place[0], t->hidden[0]);
    l->home[t->object] = t->place[0];
    for (int i = 0; i < 2; i++) {
        const int sample = another(l, LAB_SAMPLE, LAB_SAMPLES);
        const int room = i == 0 ? t->place[0] : any_room(l);
        place(l, sample, room, draw(l, 2));
    }
    for (int i = 0; i < LAB_SAMPLES; i++)
        l->conducts[LAB_SAMPLE + i] = draw(l, 2);
    add_boxes(l);
}

static void build_mix(lab *l)
{
    const lab_task *t = &l->task;
    const int *parts = lab_recipes[t->object - LAB_PRODUCT];
    const int swap = draw(l, 2);
    for (int i = 0; i < 2; i++) {
        const int vessel = LAB_VESSEL + (t->vessel - LAB_VESSEL + i) % LAB_VESSELS;
        fill(l, parts[i ^ swap], vessel, t->place[i], t->hidden[i]);
    }
    add_substances(l);
}

void lab_build(lab *l)
{
    for (int t = 0; t < LAB_THINGS; t++) {
        l->where[t] = l->home[t] = LAB_NOWHERE;
        l->open[t] = l->on[t] = l->conducts[t] = l->seen[t] = false;
        l->degrees[t] = LAB_ROOM_DEGREES;
    }
    for (int r = 0; r < LAB_ROOMS; r++)
        l->visited[r] = false;
    for (int g = 0; g < LAB_GOALS; g++)
        l->goal[g] = false;
    const bool find = l->task.type == LAB_FIND_LIVING || l->task.type == LAB_FIND_PLASTIC;
    l->target = find ? LAB_NOWHERE : l->task.object;
    l->focused = l->focused_tool = l->measured = l->failed = l->wrong_box = l->found_broken = false;
    l->joined[0] = l->joined[1] = LAB_NOWHERE;
    l->turns = 0;
    l->counter = 0;
    build_rooms(l);

    switch (l->task.type) {
    case LAB_BOIL:
    case LAB_FREEZE:
    case LAB_MELT:
    case LAB_MEASURE:
        build_substance(l);
        break;
    case LAB_FIND_LIVING:
    case LAB_FIND_PLASTIC:
        build_find(l);
        break;
    case LAB_CONDUCT:
        build_conduct(l);
        break;
    case LAB_MIX:
    case LAB_TYPES:
        build_mix(l);
    }
    if (!find)
        scatter(l, another(l, LAB_ANIMAL, 2 * LAB_LIVING));
    lab_notice(l);
}

/* ---- time ---- */

static int towards(int degrees, int end, int step)
{
    if (degrees < end)
        return degrees + step < end ? degrees + step : end;
    return degrees - step > end ? degrees - step : end;
}

/* What is warmer or colder than a device and in it comes nearer to it each turn; nothing cools in a room. */
void lab_pass_time(lab *l, dm_text *out)
{
    for (int t = LAB_WATER; t < LAB_ANIMAL; t++) {
        const int vessel = l->where[t], device = vessel == LAB_NOWHERE ? LAB_NOWHERE : l->where[vessel];
        const int before = l->degrees[t];
        if (device == LAB_STOVE && l->on[device])
            l->degrees[t] = towards(before, LAB_STOVE_DEGREES, 40);
        else if (device == LAB_FURNACE && l->on[device])
            l->degrees[t] = towards(before, LAB_FURNACE_DEGREES, 200);
        else if (device == LAB_FREEZER && !l->open[device])
            l->degrees[t] = towards(before, LAB_FREEZER_DEGREES, 20);
        const char *was = lab_state(t, before), *is = lab_state(t, l->degrees[t]);
        if (is != was && lab_visible(l, t))
            dm_text_print(out, " The %s is now %s.", lab_items[t].name, is);
    }
}
