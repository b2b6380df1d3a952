/* Home, after ALFWorld (Shridhar et al., ICLR 2021) in its text form: a room with receptacles, some of them closed,
 * things in and on them, a task to do with one or two things. The reward is 1 when it is done, else 0. */
#include "agent/env/home/home.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char instruction[] =
    "Interact with a house to solve a task. Each turn, write one action: go to, open, close, take from, put in/on, "
    "clean with, heat with, cool with, use, examine, look, inventory. Write Action: and the action.";

static void print(dm_home *h, const char *format, ...) DM_PRINTF(2, 3);

/* Appends to the observation. */
static void print(dm_home *h, const char *format, ...)
{
    const size_t used = strlen(h->text);
    va_list args;
    va_start(args, format);
    vsnprintf(h->text + used, sizeof h->text - used, format, args);
    va_end(args);
}

static const char *place_name(const dm_home *h, int place)
{
    return dm_home_places[h->place[place].kind].name;
}

static const char *thing_name(const dm_home_thing *t)
{
    return dm_home_things[t->kind].name;
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

/* ---- what is seen ---- */

static void list_things(dm_home *h, int place)
{
    int n = 0;
    for (int i = 0; i < h->things; i++)
        if (h->thing[i].where == place)
            print(h, "%s %s %d", n++ ? "," : "", thing_name(&h->thing[i]), h->thing[i].number);
    if (h->place[place].kind == DM_HOME_DESK)
        print(h, "%s desklamp 1", n++ ? "," : "");
    print(h, n ? "." : " nothing.");
    h->place[place].seen = true;
}

static void describe_place(dm_home *h, int place)
{
    const dm_home_place *p = &h->place[place];
    if (!p->open) {
        print(h, "The %s %d is closed.", place_name(h, place), p->number);
        return;
    }
    print(h, "%s the %s %d, you see", dm_home_places[p->kind].opens ? "In" : "On", place_name(h, place), p->number);
    list_things(h, place);
}

static void describe_room(dm_home *h)
{
    print(h, "You are in a %s. You see", dm_home_things[h->task.object].room ? "bedroom" : "kitchen");
    for (int i = 0; i < h->places; i++)
        print(h, "%s %s %d", i ? "," : "", place_name(h, i), h->place[i].number);
    print(h, ".");
}

static void describe_task(dm_home *h)
{
    const char *object = dm_home_things[h->task.object].name, *target = dm_home_places[h->task.target].name;
    print(h, "Your task is to: ");
    switch (h->task.type) {
    case DM_HOME_CLEAN:
    case DM_HOME_HEAT:
    case DM_HOME_COOL: {
        static const char *const verb[] = {[DM_HOME_CLEAN] = "clean", [DM_HOME_HEAT] = "heat", [DM_HOME_COOL] = "cool"};
        print(h, "%s some %s and put it in/on %s.", verb[h->task.type], object, target);
        break;
    }
    case DM_HOME_EXAMINE:
        print(h, "look at some %s under the desklamp.", object);
        break;
    case DM_HOME_TWO:
        print(h, "find two %s and put them in/on %s.", object, target);
        break;
    default:
        print(h, "put some %s in/on %s.", object, target);
    }
}

/* ---- what is done ---- */

typedef enum verb { GO, OPEN, CLOSE, TAKE, PUT, CLEAN, HEAT, COOL, USE, LOOK, INVENTORY, EXAMINE, VERBS } verb;

/* P stands for a receptacle and its number, O for a thing and its number. */
static const char *const patterns[VERBS] = {
    [GO] = "go to P",         [OPEN] = "open P",         [CLOSE] = "close P",
    [TAKE] = "take O from P", [PUT] = "put O in/on P",   [CLEAN] = "clean O with P",
    [HEAT] = "heat O with P", [COOL] = "cool O with P",  [USE] = "use desklamp 1",
    [LOOK] = "look",          [INVENTORY] = "inventory", [EXAMINE] = "examine X",
};

typedef struct words {
    const char *place, *place_number, *thing, *thing_number; /* each ends at a blank or the end */
} words;

static size_t word_length(const char *s)
{
    return strcspn(s, " \t\r\n");
}

static const char *next_word(const char *s)
{
    s += word_length(s);
    return s + strspn(s, " \t\r\n");
}

static bool word_is(const char *s, const char *word)
{
    const size_t n = word_length(word);
    return word_length(s) == n && memcmp(s, word, n) == 0;
}

/* Does the action have the words of the pattern? X is P or O. */
static bool matches(const char *action, const char *pattern, words *w)
{
    const char *a = action + strspn(action, " \t\r\n");
    for (const char *p = pattern; *p; p = next_word(p)) {
        if (!*a)
            return false;
        if (word_is(p, "P") || word_is(p, "O") || word_is(p, "X")) {
            const char *number = next_word(a);
            if (!*number)
                return false;
            if (*p != 'O') {
                w->place = a;
                w->place_number = number;
            }
            if (*p != 'P') {
                w->thing = a;
                w->thing_number = number;
            }
            a = next_word(number);
            continue;
        }
        if (!word_is(a, p) && !(word_is(p, "in/on") && (word_is(a, "in") || word_is(a, "on"))))
            return false;
        a = next_word(a);
    }
    return !*a;
}

static bool number_is(const char *s, int number)
{
    return word_length(s) == 1 && *s == '0' + number;
}

static int find_place(const dm_home *h, const words *w)
{
    for (int i = 0; w->place && i < h->places; i++)
        if (word_is(w->place, place_name(h, i)) && number_is(w->place_number, h->place[i].number))
            return i;
    return -1;
}

static dm_home_thing *find_thing(dm_home *h, const words *w)
{
    for (int i = 0; w->thing && i < h->things; i++)
        if (word_is(w->thing, thing_name(&h->thing[i])) && number_is(w->thing_number, h->thing[i].number))
            return &h->thing[i];
    return NULL;
}

/* What is impossible is answered as ALFWorld does, and with a reason. */
#define NOTHING "Nothing happens."

static void go_to(dm_home *h, int place)
{
    if (place == h->at) {
        print(h, NOTHING " You are at the %s %d.", place_name(h, place), h->place[place].number);
        return;
    }
    h->at = place;
    describe_place(h, place);
}

static void set_open(dm_home *h, int place, bool open)
{
    dm_home_place *p = &h->place[place];
    if (!dm_home_places[p->kind].opens) {
        print(h, NOTHING " The %s %d has no door.", place_name(h, place), p->number);
    } else if (p->open == open) {
        print(h, NOTHING " The %s %d is %s.", place_name(h, place), p->number, open ? "open" : "closed");
    } else if (open) {
        p->open = true;
        describe_place(h, place);
    } else {
        p->open = false;
        print(h, "You close the %s %d.", place_name(h, place), p->number);
    }
}

static void take(dm_home *h, dm_home_thing *t, int place)
{
    const dm_home_thing *held = dm_home_held(h);
    if (held) {
        print(h, NOTHING " You carry %s %d.", thing_name(held), held->number);
    } else if (!h->place[place].open) {
        print(h, NOTHING " The %s %d is closed.", place_name(h, place), h->place[place].number);
    } else if (!t || t->where != place) {
        print(h, NOTHING " It is not there.");
    } else {
        t->where = DM_HOME_HAND;
        print(h, "You take the %s %d.", thing_name(t), t->number);
    }
}

static void put(dm_home *h, dm_home_thing *held, int place)
{
    if (!h->place[place].open) {
        print(h, NOTHING " The %s %d is closed.", place_name(h, place), h->place[place].number);
        return;
    }
    held->where = place;
    print(h, "You put down the %s %d.", thing_name(held), held->number);
}

static void change(dm_home *h, verb v, dm_home_thing *held, int place)
{
    static const struct {
        const char *does;
        int place;
    } by[VERBS] = {
        [CLEAN] = {"clean", DM_HOME_SINKBASIN},
        [HEAT] = {"heat", DM_HOME_MICROWAVE},
        [COOL] = {"cool", DM_HOME_FRIDGE},
    };
    if (h->place[place].kind != by[v].place) {
        print(h, NOTHING " The %s %d can not %s.", place_name(h, place), h->place[place].number, by[v].does);
        return;
    }
    if (v == CLEAN)
        held->clean = true;
    else
        held->warmth = v == HEAT ? 1 : -1;
    print(h, "You %s the %s %d.", by[v].does, thing_name(held), held->number);
}

static void use_lamp(dm_home *h)
{
    const dm_home_thing *held = dm_home_held(h);
    if (h->at < 0 || h->place[h->at].kind != DM_HOME_DESK) {
        print(h, NOTHING " You are not at the desklamp 1.");
        return;
    }
    print(h, "You turn on the desklamp 1.");
    h->done = h->task.type == DM_HOME_EXAMINE && held && held->kind == h->task.object;
}

static void examine(dm_home *h, const dm_home_thing *t, int place)
{
    if (place >= 0 && place == h->at) {
        describe_place(h, place);
    } else if (place >= 0) {
        print(h, NOTHING " You are not at the %s %d.", place_name(h, place), h->place[place].number);
    } else if (t && (t->where == DM_HOME_HAND || (t->where == h->at && h->place[h->at].open))) {
        print(h, "The %s %d is %s%s.", thing_name(t), t->number, t->clean ? "clean" : "normal",
              t->warmth > 0   ? " and hot"
              : t->warmth < 0 ? " and cool"
                              : "");
    } else {
        print(h, NOTHING " It is not there.");
    }
}

static void inventory(dm_home *h)
{
    const dm_home_thing *held = dm_home_held(h);
    if (held)
        print(h, "You carry %s %d.", thing_name(held), held->number);
    else
        print(h, "You carry nothing.");
}

static void look(dm_home *h)
{
    if (h->at < 0)
        describe_room(h);
    else
        describe_place(h, h->at);
}

/* An action that names a place where the agent is, or ought to be. */
static void at_place(dm_home *h, verb v, dm_home_thing *t, int place)
{
    dm_home_thing *held = dm_home_held(h);

    if (place < 0)
        print(h, NOTHING " It is not there.");
    else if (v == GO)
        go_to(h, place);
    else if (place != h->at)
        print(h, NOTHING " You are not at the %s %d.", place_name(h, place), h->place[place].number);
    else if (v == OPEN || v == CLOSE)
        set_open(h, place, v == OPEN);
    else if (v == TAKE)
        take(h, t, place);
    else if (!held || held != t)
        print(h, NOTHING " You do not carry it.");
    else if (v == PUT)
        put(h, held, place);
    else
        change(h, v, held, place);
}

static bool all_delivered(const dm_home *h)
{
    int n = 0;
    for (int i = 0; i < h->things; i++)
        n += dm_home_delivered(h, &h->thing[i]);
    return n > (h->task.type == DM_HOME_TWO);
}

void dm_home_act(dm_home *h, const char *action)
{
    words w = {0};
    verb v = GO;

    h->text[0] = 0;
    h->turns++;
    while (v < VERBS && !matches(action, patterns[v], &w))
        v++;
    const int place = find_place(h, &w);
    dm_home_thing *thing = find_thing(h, &w);
    switch (v) {
    case USE:
        use_lamp(h);
        break;
    case LOOK:
        look(h);
        break;
    case INVENTORY:
        inventory(h);
        break;
    case EXAMINE:
        examine(h, thing, place);
        break;
    case VERBS:
        print(h, NOTHING);
        break;
    default:
        at_place(h, v, thing, place);
    }
    h->done = h->done || all_delivered(h);
}

/* ---- the interface ---- */

static void observe(const dm_home *h, dm_observation *o)
{
    *o = (dm_observation){.text = h->text, .score = h->done ? 1 : 0, .done = h->done || h->turns >= DM_HOME_TURNS};
}

static dm_status home_open(dm_env *env, const char *arguments, dm_error *err)
{
    if (arguments)
        return dm_fail(err, DM_ERR_ARGUMENT, "environment 'home' takes no arguments, not '%s'", arguments);
    env->instruction = instruction;
    env->tasks[DM_ENV_SPLIT_TRAIN] = 2000;
    env->tasks[DM_ENV_SPLIT_SEEN] = 200;
    env->tasks[DM_ENV_SPLIT_UNSEEN] = 200;
    env->max_turns = DM_HOME_TURNS;
    return DM_OK;
}

static dm_status home_reset(dm_env *env, dm_env_split split, int64_t task, uint64_t seed, dm_observation *o,
                            dm_error *err)
{
    dm_home *h = (dm_home *)env;
    (void)err;
    dm_home_draw(h, split, task, seed);
    h->text[0] = 0;
    describe_task(h);
    print(h, "\n\nObservation: ");
    describe_room(h);
    observe(h, o);
    return DM_OK;
}

static dm_status home_step(dm_env *env, const char *action, dm_observation *o, dm_error *err)
{
    dm_home *h = (dm_home *)env;
    (void)err;
    dm_home_act(h, action);
    observe(h, o);
    return DM_OK;
}

static const char *home_expert(dm_env *env)
{
    dm_home *h = (dm_home *)env;
    return h->turns < DM_HOME_TURNS ? dm_home_expert(h) : NULL;
}

static void add_action(dm_home *h, size_t *n, const char *format, ...) DM_PRINTF(3, 4);

static void add_action(dm_home *h, size_t *n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(h->action[*n], DM_HOME_ACTION, format, args);
    va_end(args);
    h->actions[*n] = h->action[*n];
    (*n)++;
}

static size_t home_admissible(dm_env *env, const char *const **actions)
{
    dm_home *h = (dm_home *)env;
    const dm_home_thing *held = dm_home_held(h);
    const dm_home_place *here = h->at >= 0 ? &h->place[h->at] : NULL;
    const char *place = here ? place_name(h, h->at) : "";
    size_t n = 0;

    *actions = h->actions;
    if (h->done || h->turns >= DM_HOME_TURNS)
        return 0;
    for (int i = 0; i < h->places; i++)
        if (i != h->at)
            add_action(h, &n, "go to %s %d", place_name(h, i), h->place[i].number);
    if (here && dm_home_places[here->kind].opens)
        add_action(h, &n, "%s %s %d", here->open ? "close" : "open", place, here->number);
    for (int i = 0; i < h->things; i++) {
        const dm_home_thing *t = &h->thing[i];
        const bool visible = here && here->open && t->where == h->at;
        if (visible && !held)
            add_action(h, &n, "take %s %d from %s %d", thing_name(t), t->number, place, here->number);
        if (visible || t == held)
            add_action(h, &n, "examine %s %d", thing_name(t), t->number);
    }
    if (held && here && here->open)
        add_action(h, &n, "put %s %d in/on %s %d", thing_name(held), held->number, place, here->number);
    if (held && here && here->kind == DM_HOME_SINKBASIN)
        add_action(h, &n, "clean %s %d with %s %d", thing_name(held), held->number, place, here->number);
    if (held && here && here->kind == DM_HOME_MICROWAVE)
        add_action(h, &n, "heat %s %d with %s %d", thing_name(held), held->number, place, here->number);
    if (held && here && here->kind == DM_HOME_FRIDGE)
        add_action(h, &n, "cool %s %d with %s %d", thing_name(held), held->number, place, here->number);
    if (here && here->kind == DM_HOME_DESK)
        add_action(h, &n, "use desklamp 1");
    if (here)
        add_action(h, &n, "examine %s %d", place, here->number);
    add_action(h, &n, "look");
    add_action(h, &n, "inventory");
    return n;
}

const dm_env_class dm_env_home = {
    .name = "home",
    .summary = "after ALFWorld: find, clean, heat, cool, look at and put away things in a house",
    .size = sizeof(dm_home),
    .open = home_open,
    .reset = home_reset,
    .step = home_step,
    .expert = home_expert,
    .admissible = home_admissible,
};
