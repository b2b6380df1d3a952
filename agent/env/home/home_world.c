/* What an action changes in a house, and its answer. */
#include "agent/env/home/home.h"

void dm_home_order(const dm_home *h, int kind, int order[DM_HOME_PLACES])
{
    const int likely = dm_home_likely[dm_home_things[kind].family];
    int n = 0;
    for (int turn = 1; turn >= 0; turn--)
        for (int i = 0; i < h->places; i++)
            if ((h->place[i].kind == likely) == turn)
                order[n++] = i;
}

dm_home_thing *dm_home_held(dm_home *h)
{
    for (int i = 0; i < h->things; i++)
        if (h->thing[i].where == DM_HOME_HAND)
            return &h->thing[i];
    return NULL;
}

bool dm_home_ready(const dm_home *h, const dm_home_thing *t)
{
    return t->kind == h->task.object && (h->task.type != DM_HOME_CLEAN || t->clean) &&
           (h->task.type != DM_HOME_HEAT || t->warmth > 0) && (h->task.type != DM_HOME_COOL || t->warmth < 0);
}

bool dm_home_delivered(const dm_home *h, const dm_home_thing *t)
{
    return dm_home_ready(h, t) && h->task.type != DM_HOME_EXAMINE && t->where != DM_HOME_HAND &&
           h->place[t->where].kind == h->task.target;
}

/* What is impossible is answered as ALFWorld does, and with a reason. */
#define NOTHING "Nothing happens."

static void go_to(dm_home *h, int place)
{
    if (place == h->at) {
        dm_home_print(h, NOTHING " You are at the %s %d.", dm_home_place_name(h, place), h->place[place].number);
        return;
    }
    h->at = place;
    dm_home_describe_place(h, place);
}

static void set_open(dm_home *h, int place, bool open)
{
    dm_home_place *p = &h->place[place];
    if (!dm_home_places[p->kind].opens) {
        dm_home_print(h, NOTHING " The %s %d has no door.", dm_home_place_name(h, place), p->number);
    } else if (p->open == open) {
        dm_home_print(h, NOTHING " The %s %d is %s.", dm_home_place_name(h, place), p->number,
                      open ? "open" : "closed");
    } else if (open) {
        p->open = true;
        dm_home_describe_place(h, place);
    } else {
        p->open = false;
        dm_home_print(h, "You close the %s %d.", dm_home_place_name(h, place), p->number);
    }
}

static void take(dm_home *h, dm_home_thing *t, int place)
{
    const dm_home_thing *held = dm_home_held(h);
    if (held) {
        dm_home_print(h, NOTHING " You carry %s %d.", dm_home_thing_name(held), held->number);
    } else if (!h->place[place].open) {
        dm_home_print(h, NOTHING " The %s %d is closed.", dm_home_place_name(h, place), h->place[place].number);
    } else if (!t || t->where != place) {
        dm_home_print(h, NOTHING " It is not there.");
    } else {
        t->where = DM_HOME_HAND;
        dm_home_print(h, "You take the %s %d.", dm_home_thing_name(t), t->number);
    }
}

static void put(dm_home *h, dm_home_thing *held, int place)
{
    if (!h->place[place].open) {
        dm_home_print(h, NOTHING " The %s %d is closed.", dm_home_place_name(h, place), h->place[place].number);
        return;
    }
    held->where = place;
    dm_home_print(h, "You put down the %s %d.", dm_home_thing_name(held), held->number);
}

static void change(dm_home *h, dm_home_verb v, dm_home_thing *held, int place)
{
    static const struct {
        const char *does;
        int place;
    } by[DM_HOME_VERBS] = {
        [DM_HOME_VERB_CLEAN] = {"clean", DM_HOME_SINKBASIN},
        [DM_HOME_VERB_HEAT] = {"heat", DM_HOME_MICROWAVE},
        [DM_HOME_VERB_COOL] = {"cool", DM_HOME_FRIDGE},
    };
    if (h->place[place].kind != by[v].place) {
        dm_home_print(h, NOTHING " The %s %d can not %s.", dm_home_place_name(h, place), h->place[place].number,
                      by[v].does);
        return;
    }
    if (v == DM_HOME_VERB_CLEAN)
        held->clean = true;
    else
        held->warmth = v == DM_HOME_VERB_HEAT ? 1 : -1;
    dm_home_print(h, "You %s the %s %d.", by[v].does, dm_home_thing_name(held), held->number);
}

static void use_lamp(dm_home *h)
{
    const dm_home_thing *held = dm_home_held(h);
    if (h->at < 0 || h->place[h->at].kind != DM_HOME_DESK) {
        dm_home_print(h, NOTHING " You are not at the desklamp 1.");
        return;
    }
    dm_home_print(h, "You turn on the desklamp 1.");
    h->done = h->task.type == DM_HOME_EXAMINE && held && held->kind == h->task.object;
}

static void examine(dm_home *h, const dm_home_thing *t, int place)
{
    if (place >= 0 && place == h->at) {
        dm_home_describe_place(h, place);
    } else if (place >= 0) {
        dm_home_print(h, NOTHING " You are not at the %s %d.", dm_home_place_name(h, place), h->place[place].number);
    } else if (t && (t->where == DM_HOME_HAND || (t->where == h->at && h->place[h->at].open))) {
        dm_home_print(h, "The %s %d is %s%s.", dm_home_thing_name(t), t->number, t->clean ? "clean" : "normal",
                      t->warmth > 0   ? " and hot"
                      : t->warmth < 0 ? " and cool"
                                      : "");
    } else {
        dm_home_print(h, NOTHING " It is not there.");
    }
}

static void inventory(dm_home *h)
{
    const dm_home_thing *held = dm_home_held(h);
    if (held)
        dm_home_print(h, "You carry %s %d.", dm_home_thing_name(held), held->number);
    else
        dm_home_print(h, "You carry nothing.");
}

static void look(dm_home *h)
{
    if (h->at < 0)
        dm_home_describe_room(h);
    else
        dm_home_describe_place(h, h->at);
}

/* An action that names a place where the agent is, or ought to be. */
static void at_place(dm_home *h, dm_home_verb v, dm_home_thing *t, int place)
{
    dm_home_thing *held = dm_home_held(h);

    if (place < 0)
        dm_home_print(h, NOTHING " It is not there.");
    else if (v == DM_HOME_VERB_GO)
        go_to(h, place);
    else if (place != h->at)
        dm_home_print(h, NOTHING " You are not at the %s %d.", dm_home_place_name(h, place), h->place[place].number);
    else if (v == DM_HOME_VERB_OPEN || v == DM_HOME_VERB_CLOSE)
        set_open(h, place, v == DM_HOME_VERB_OPEN);
    else if (v == DM_HOME_VERB_TAKE)
        take(h, t, place);
    else if (!held || held != t)
        dm_home_print(h, NOTHING " You do not carry it.");
    else if (v == DM_HOME_VERB_PUT)
        put(h, held, place);
    else
        change(h, v, held, place);
}

static bool all_delivered(const dm_home *h)
{
    int n = 0;
    for (int i = 0; i < h->things; i++)
        n += dm_home_delivered(h, &h->thing[i]);
    return n >= (h->task.type == DM_HOME_TWO ? 2 : 1);
}

void dm_home_act(dm_home *h, const char *action)
{
    dm_home_thing *thing;
    int place;

    h->text[0] = 0;
    h->turns++;
    const dm_home_verb v = dm_home_parse(h, action, &thing, &place);
    switch (v) {
    case DM_HOME_VERB_USE:
        use_lamp(h);
        break;
    case DM_HOME_VERB_LOOK:
        look(h);
        break;
    case DM_HOME_VERB_INVENTORY:
        inventory(h);
        break;
    case DM_HOME_VERB_EXAMINE:
        examine(h, thing, place);
        break;
    case DM_HOME_VERBS:
        dm_home_print(h, NOTHING);
        break;
    default:
        at_place(h, v, thing, place);
    }
    h->done = h->done || all_delivered(h);
}
