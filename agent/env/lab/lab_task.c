/* Tasks by number, without a table: a split's tasks take the types in turn, and of a type the combinations of object
 * and place in turn, each time with another variant (start, vessel, boxes ...) of that combination. */
#include "agent/env/lab/lab.h"

#include "core/numbers/philox.h"

/* Every fourth combination is unseen's: along a row of objects and along a column of places alike, so that each
 * object and each place occurs in training, in other company. */
#define UNSEEN_EVERY 4

/* From one combination to the next: the counts of them have no factor but 2 and 3, and neighbours are alike. */
#define NEXT_COMBINATION 5

typedef struct shape {
    int first, objects; /* things it can be about */
    int places;         /* 4 rooms, or 12 ordered pairs of them */
    uint32_t variants;
} shape;

enum {
    STARTS = DM_LAB_ROOMS,
    COLOUR_PAIRS = DM_LAB_COLOURS * (DM_LAB_COLOURS - 1),
    THRESHOLDS = 3,
    BOXES = DM_LAB_ROOMS * COLOUR_PAIRS,
    PLACE_PAIRS = DM_LAB_ROOMS * (DM_LAB_ROOMS - 1),

    HEAT_VARIANTS = 2 * STARTS * DM_LAB_VESSELS, /* 2: in the open, in the closet */
    PLASTIC_VARIANTS = STARTS * (DM_LAB_ROOMS - 1) * (DM_LAB_COLOURS - 1) * (DM_LAB_COLOURS - 1),
    LIVING_VARIANTS = 2 * PLASTIC_VARIANTS, /* 2: any living thing, an animal or plant */
    MEASURE_VARIANTS = HEAT_VARIANTS * BOXES * THRESHOLDS,
    CONDUCT_VARIANTS = 2 * STARTS * BOXES,
    MIX_VARIANTS = 2 * HEAT_VARIANTS
};

static const shape shapes[DM_LAB_TYPES] = {
    [DM_LAB_BOIL] = {DM_LAB_WATER, DM_LAB_LIQUIDS, DM_LAB_ROOMS, HEAT_VARIANTS},
    [DM_LAB_FREEZE] = {DM_LAB_WATER, DM_LAB_LIQUIDS, DM_LAB_ROOMS, HEAT_VARIANTS},
    [DM_LAB_MELT] = {DM_LAB_BUTTER, DM_LAB_SOLIDS, DM_LAB_ROOMS, HEAT_VARIANTS},
    [DM_LAB_FIND_LIVING] = {DM_LAB_ANIMAL, DM_LAB_LIVING, DM_LAB_ROOMS, LIVING_VARIANTS},
    [DM_LAB_FIND_PLASTIC] = {DM_LAB_PLASTIC, DM_LAB_LIVING, DM_LAB_ROOMS, PLASTIC_VARIANTS},
    [DM_LAB_MEASURE] = {DM_LAB_WATER, DM_LAB_LIQUIDS, DM_LAB_ROOMS, MEASURE_VARIANTS},
    [DM_LAB_CONDUCT] = {DM_LAB_SAMPLE, DM_LAB_SAMPLES, DM_LAB_ROOMS, CONDUCT_VARIANTS},
    [DM_LAB_MIX] = {DM_LAB_PRODUCT, DM_LAB_PRODUCTS, PLACE_PAIRS, MIX_VARIANTS},
};

static bool is_unseen(int object, int place, int type)
{
    return (object + place + type) % UNSEEN_EVERY == 0;
}

/* The n-th combination of a type, of those that are unseen's or of the others, starting over after the last; *round
 * is how often it did. */
static void combination(dm_lab_task *t, bool unseen, int64_t n, int *place, int64_t *round)
{
    const shape *s = &shapes[t->type];
    int64_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        int64_t at = 0;
        for (int o = 0; o < s->objects; o++)
            for (int p = 0; p < s->places; p++) {
                if (is_unseen(o, p, (int)t->type) != unseen)
                    continue;
                if (pass == 1 && at == n * NEXT_COMBINATION % count) {
                    t->object = s->first + o;
                    *place = p;
                    *round = n / count;
                    return;
                }
                at++;
            }
        count = at;
    }
}

static int digit(uint32_t *number, int base)
{
    const int d = (int)(*number % (uint32_t)base);
    *number /= (uint32_t)base;
    return d;
}

/* Ordered pairs of two different ones out of n. */
static void pair(int number, int n, int first, int out[2])
{
    const int a = number / (n - 1), b = number % (n - 1);
    out[0] = first + a;
    out[1] = first + b + (b >= a);
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
    return b == 0 ? a : gcd(b, a % b);
}

static bool is_find(const dm_lab_task *t)
{
    return t->type == DM_LAB_FIND_LIVING || t->type == DM_LAB_FIND_PLASTIC;
}

/* Each combination begins at a random variant and continues in a random stride, so that no two rounds agree. */
static uint32_t variant(const dm_lab_task *t, int place, int64_t round, bool unseen)
{
    const uint32_t n = shapes[t->type].variants / (is_find(t) && unseen ? DM_LAB_COLOURS - 1 : 1);
    const dm_u32x4 r = dm_random(0, DM_RNG_ENV, (uint64_t)t->type, (uint64_t)(t->object * PLACE_PAIRS + place));
    uint32_t stride = 1 + r.v[1] % n;
    while (gcd(stride, n) != 1)
        stride++;
    return (uint32_t)((r.v[0] % n + (uint64_t)round * stride) % n);
}

/* The find tasks do not say where the thing is, so what they say is kept apart as well: of each room's boxes one
 * colour is asked for in unseen alone. The box is not where the thing is, which therefore must be carried. */
static void choose_boxes_of_find(dm_lab_task *t, bool unseen, uint32_t *v)
{
    t->box_room = digit(v, DM_LAB_ROOMS - 1);
    t->box_room += t->box_room >= t->place[0];
    const int other = digit(v, DM_LAB_COLOURS - 1);
    if (t->type == DM_LAB_FIND_LIVING)
        t->any = digit(v, 2);
    const int held_out = t->box_room % DM_LAB_COLOURS;
    const int colour = unseen ? held_out : (held_out + 1 + digit(v, DM_LAB_COLOURS - 1)) % DM_LAB_COLOURS;
    pair(colour * (DM_LAB_COLOURS - 1) + other, DM_LAB_COLOURS, DM_LAB_BOX, t->box);
}

void dm_lab_task_at(dm_lab_task *t, dm_env_split split, int64_t task)
{
    const bool unseen = split == DM_ENV_SPLIT_UNSEEN;
    int place = 0;
    int64_t round = 0;
    int64_t n = task / DM_LAB_TYPES;

    *t = (dm_lab_task){.type = (dm_lab_type)(task % DM_LAB_TYPES),
                       .place = {DM_LAB_NOWHERE, DM_LAB_NOWHERE},
                       .box = {DM_LAB_NOWHERE, DM_LAB_NOWHERE},
                       .box_room = DM_LAB_NOWHERE};
    if (split == DM_ENV_SPLIT_SEEN) /* the same combinations; variants where train stops */
        n += DM_LAB_TRAIN_TASKS / DM_LAB_TYPES;
    combination(t, unseen, n, &place, &round);

    uint32_t v = variant(t, place, round, unseen);
    t->start = digit(&v, STARTS);
    if (t->type == DM_LAB_MIX)
        pair(place, DM_LAB_ROOMS, 0, t->place);
    else
        t->place[0] = place;
    if (is_find(t)) {
        choose_boxes_of_find(t, unseen, &v);
        return;
    }
    t->hidden[0] = digit(&v, 2);
    if (t->type == DM_LAB_MIX)
        t->hidden[1] = digit(&v, 2);
    if (t->type != DM_LAB_CONDUCT)
        t->vessel = DM_LAB_VESSEL + digit(&v, DM_LAB_VESSELS);
    if (t->type == DM_LAB_MEASURE || t->type == DM_LAB_CONDUCT) {
        t->box_room = digit(&v, DM_LAB_ROOMS);
        pair(digit(&v, COLOUR_PAIRS), DM_LAB_COLOURS, DM_LAB_BOX, t->box);
    }
    if (t->type == DM_LAB_MEASURE)
        t->degrees = 30 + 20 * digit(&v, THRESHOLDS);
}

static const char *name_of(int thing)
{
    return thing == DM_LAB_NOWHERE ? "" : dm_lab_items[thing].name;
}

void dm_lab_task_words(const dm_lab_task *t, dm_text *out)
{
    const char *name = name_of(t->object), *room = name_of(t->place[0]), *boxes = name_of(t->box_room);
    const char *a = name_of(t->box[0]), *b = name_of(t->box[1]);
    static const char *const verb[] = {[DM_LAB_BOIL] = "boil", [DM_LAB_FREEZE] = "freeze", [DM_LAB_MELT] = "melt"};

    const int nature = t->type == DM_LAB_FIND_PLASTIC ? DM_LAB_PLASTIC : DM_LAB_ANIMAL;
    const char *found = t->any ? "thing" : t->object - nature < DM_LAB_PLANT - DM_LAB_ANIMAL ? "animal" : "plant";

    dm_text_print(out, "Your task is to ");
    switch (t->type) {
    case DM_LAB_BOIL:
    case DM_LAB_FREEZE:
    case DM_LAB_MELT:
        dm_text_print(out, "%s the %s in the %s. First, focus on it.", verb[t->type], name, room);
        break;
    case DM_LAB_FIND_LIVING:
    case DM_LAB_FIND_PLASTIC:
        dm_text_print(out, "find a %s %s. First, focus on it. Then, move it to the %s in the %s.",
                      t->type == DM_LAB_FIND_PLASTIC ? "non-living" : "living", found, a, boxes);
        break;
    case DM_LAB_MEASURE:
        dm_text_print(out,
                      "measure the %s in the %s. First, focus on the thermometer, then on the %s. If it is above %d "
                      "degrees, move it to the %s, else to the %s in the %s.",
                      name, room, name, t->degrees, a, b, boxes);
        break;
    case DM_LAB_CONDUCT:
        dm_text_print(out,
                      "test if the %s in the %s conducts. First, focus on it. If it conducts, move it to the %s, else "
                      "to the %s in the %s.",
                      name, room, a, b, boxes);
        break;
    case DM_LAB_MIX:
    case DM_LAB_TYPES:
        dm_text_print(out, "mix %s. What you need is in the %s and the %s. Then, focus on the %s.", name, room,
                      name_of(t->place[1]), name);
    }
}
