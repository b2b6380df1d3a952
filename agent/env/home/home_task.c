/* How home's houses and tasks are drawn. */
#include "agent/env/home/home.h"
#include "core/numbers/philox.h"

typedef struct dice {
    uint64_t seed, stream, counter;
} dice;

static int roll(dice *d, int sides)
{
    return (int)dm_random_below((uint32_t)sides, d->seed, DM_RNG_ENV, d->stream, &d->counter);
}

/* The splits are residue classes: with any two of the parameters given, the third still takes both sides, so that
 * every word and every pair of words of the unseen tasks is learnt from others. */
static bool is_unseen(const dm_home_task *t)
{
    return (3 * (int)t->type + t->object + 2 * t->target) % 5 == 0;
}

static bool is_seen(const dm_home_task *t)
{
    return ((int)t->type + 2 * t->object + 3 * t->target + t->source[0] + t->source[1]) % 7 == 0;
}

static bool is_target(dm_home_type type, int room, int place)
{
    if (type == DM_HOME_EXAMINE)
        return place == DM_HOME_DESK;
    return dm_home_places[place].room[room] && place != DM_HOME_SINKBASIN &&
           !(type == DM_HOME_HEAT && place == DM_HOME_MICROWAVE) && !(type == DM_HOME_COOL && place == DM_HOME_FRIDGE);
}

static void draw_words(dm_home_task *t, dice *d)
{
    t->type = (dm_home_type)roll(d, DM_HOME_TYPES);
    do
        t->object = roll(d, DM_HOME_THING_KINDS);
    while (!(dm_home_things[t->object].types >> t->type & 1));
    do
        t->target = roll(d, DM_HOME_PLACE_KINDS);
    while (!is_target(t->type, dm_home_things[t->object].room, t->target));
}

/* A house with what its room always has, the target, and others; listed in the order of the kinds. */
static void draw_places(dm_home *h, dice *d)
{
    const int room = dm_home_things[h->task.object].room;
    int count[DM_HOME_PLACE_KINDS] = {0};
    int n = 0;

    for (int kind = 0; kind < DM_HOME_PLACE_KINDS; kind++) {
        count[kind] = (kind <= DM_HOME_ALWAYS || kind == h->task.target) && dm_home_places[kind].room[room];
        n += count[kind];
    }
    for (const int wanted = DM_HOME_PLACES - roll(d, 2); n < wanted;) {
        const int kind = roll(d, DM_HOME_PLACE_KINDS);
        if (dm_home_places[kind].room[room] && count[kind] < dm_home_places[kind].most) {
            count[kind]++;
            n++;
        }
    }
    h->places = 0;
    for (int kind = 0; kind < DM_HOME_PLACE_KINDS; kind++)
        for (int k = 1; k <= count[kind]; k++)
            h->place[h->places++] =
                (dm_home_place){.kind = kind, .number = k, .open = !dm_home_places[kind].opens, .seen = false};
}

#define CROWD 3 /* things in one place at most, so that observations stay short */

/* A place for a thing of that kind: the likely ones are it with one chance in two, then each in the order of search
 * with one in three, so that any can be. Never one of the kind `not`. */
static int draw_place(const dm_home *h, int kind, int not, dice *d)
{
    const int likely = dm_home_likely[dm_home_things[kind].family];
    int order[DM_HOME_PLACES];
    dm_home_order(h, kind, order);
    for (;;)
        for (int k = 0; k < h->places; k++) {
            const int place = order[k];
            int crowd = 0;
            for (int j = 0; j < h->things; j++)
                crowd += h->thing[j].where == place;
            if (h->place[place].kind != not &&crowd < CROWD && roll(d, h->place[place].kind == likely ? 2 : 3) == 0)
                return place;
        }
}

static int add_thing(dm_home *h, int kind, int not, dice *d)
{
    dm_home_thing t = {.kind = kind, .number = 1};
    for (int i = 0; i < h->things; i++)
        t.number += h->thing[i].kind == kind;
    t.where = draw_place(h, kind, not, d);
    h->thing[h->things++] = t;
    return h->place[t.where].kind;
}

static void draw_things(dm_home *h, dice *d)
{
    dm_home_task *t = &h->task;
    const int room = dm_home_things[t->object].room;
    const int not = t->type == DM_HOME_EXAMINE ? -1 : t->target;

    h->things = 0;
    t->source[0] = add_thing(h, t->object, not, d);
    t->source[1] = t->type == DM_HOME_TWO ? add_thing(h, t->object, not, d) : -1;
    if (t->source[1] >= 0 && t->source[1] < t->source[0]) {
        const int low = t->source[1];
        t->source[1] = t->source[0];
        t->source[0] = low;
    }
    if (roll(d, 4) > 0) /* what is easily mistaken for it */
        add_thing(h, t->object ^ 1, -1, d);
    for (int others = 2 + roll(d, 3); others > 0; others--) {
        int kind, same;
        do {
            kind = roll(d, DM_HOME_THING_KINDS);
            same = 0;
            for (int i = 0; i < h->things; i++)
                same += h->thing[i].kind == kind;
        } while (dm_home_things[kind].room != room || kind == t->object || same >= DM_HOME_NUMBERS);
        add_thing(h, kind, -1, d);
    }
}

/* The order in which things are listed must not tell which of them is the task's. */
static void shuffle_things(dm_home *h, dice *d)
{
    for (int i = h->things - 1; i > 0; i--) {
        const int j = roll(d, i + 1);
        const dm_home_thing swapped = h->thing[i];
        h->thing[i] = h->thing[j];
        h->thing[j] = swapped;
    }
}

static bool solvable(const dm_home *h)
{
    dm_home trial = *h;
    while (!trial.done && trial.turns < DM_HOME_EXPERT_TURNS)
        dm_home_act(&trial, dm_home_expert(&trial));
    return trial.done;
}

void dm_home_draw(dm_home *h, dm_env_split split, int64_t task, uint64_t seed)
{
    dice d = {.seed = seed, .stream = (uint64_t)split << 32 | (uint64_t)task};
    for (;;) {
        do
            draw_words(&h->task, &d);
        while (is_unseen(&h->task) != (split == DM_ENV_SPLIT_UNSEEN));
        draw_places(h, &d);
        draw_things(h, &d);
        shuffle_things(h, &d);
        h->at = -1;
        h->turns = 0;
        h->done = false;
        if ((split == DM_ENV_SPLIT_UNSEEN || is_seen(&h->task) == (split == DM_ENV_SPLIT_SEEN)) && solvable(h))
            return;
    }
}
