/* Home in words: its vocabulary, what is seen, and what an action asks for. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/env/home/home.h"

/* ---- vocabulary ---- */

const dm_home_place_kind dm_home_places[DM_HOME_PLACE_KINDS] = {
    [DM_HOME_FRIDGE] = {"fridge", true, {true, false}, 1},
    [DM_HOME_MICROWAVE] = {"microwave", true, {true, false}, 1},
    [DM_HOME_SINKBASIN] = {"sinkbasin", false, {true, false}, 1},
    [DM_HOME_COUNTERTOP] = {"countertop", false, {true, false}, 1},
    [DM_HOME_DININGTABLE] = {"diningtable", false, {true, false}, 1},
    [DM_HOME_DESK] = {"desk", false, {false, true}, 1},
    [DM_HOME_BED] = {"bed", false, {false, true}, 1},
    [DM_HOME_DRESSER] = {"dresser", false, {false, true}, 1},
    [DM_HOME_SOFA] = {"sofa", false, {false, true}, 1},
    [DM_HOME_SAFE] = {"safe", true, {false, true}, 1},
    [DM_HOME_CABINET] = {"cabinet", true, {true, false}, 2},
    [DM_HOME_DRAWER] = {"drawer", true, {true, true}, 2},
    [DM_HOME_SHELF] = {"shelf", false, {true, true}, 1},
};

enum { FOOD, DISH, CUTLERY, PAPER, VALUABLE, SOFT };

const int dm_home_likely[] = {
    [FOOD] = DM_HOME_FRIDGE, [DISH] = DM_HOME_CABINET,     [CUTLERY] = DM_HOME_DRAWER,
    [PAPER] = DM_HOME_DESK,  [VALUABLE] = DM_HOME_DRESSER, [SOFT] = DM_HOME_BED,
};

#define TYPE(name) (1u << DM_HOME_##name)
#define KEPT (TYPE(PICK) | TYPE(TWO))
#define CLEANED (KEPT | TYPE(CLEAN))
#define EATEN (CLEANED | TYPE(HEAT) | TYPE(COOL))
#define EXAMINED (KEPT | TYPE(EXAMINE))

const dm_home_thing_kind dm_home_things[DM_HOME_THING_KINDS] = {
    {"apple", DM_HOME_KITCHEN, FOOD, EATEN},        {"tomato", DM_HOME_KITCHEN, FOOD, EATEN},
    {"egg", DM_HOME_KITCHEN, FOOD, EATEN},          {"bread", DM_HOME_KITCHEN, FOOD, EATEN},
    {"mug", DM_HOME_KITCHEN, DISH, EATEN},          {"cup", DM_HOME_KITCHEN, DISH, EATEN},
    {"plate", DM_HOME_KITCHEN, DISH, EATEN},        {"bowl", DM_HOME_KITCHEN, DISH, EATEN},
    {"fork", DM_HOME_KITCHEN, CUTLERY, CLEANED},    {"spoon", DM_HOME_KITCHEN, CUTLERY, CLEANED},
    {"pen", DM_HOME_BEDROOM, PAPER, EXAMINED},      {"pencil", DM_HOME_BEDROOM, PAPER, EXAMINED},
    {"book", DM_HOME_BEDROOM, PAPER, EXAMINED},     {"newspaper", DM_HOME_BEDROOM, PAPER, EXAMINED},
    {"watch", DM_HOME_BEDROOM, VALUABLE, EXAMINED}, {"keychain", DM_HOME_BEDROOM, VALUABLE, EXAMINED},
    {"pillow", DM_HOME_BEDROOM, SOFT, EXAMINED},    {"blanket", DM_HOME_BEDROOM, SOFT, EXAMINED},
};

/* Appends to the observation. */
void dm_home_print(dm_home *h, const char *format, ...)
{
    const size_t used = strlen(h->text);
    va_list args;
    va_start(args, format);
    vsnprintf(h->text + used, sizeof h->text - used, format, args);
    va_end(args);
}

const char *dm_home_place_name(const dm_home *h, int place)
{
    return dm_home_places[h->place[place].kind].name;
}

const char *dm_home_thing_name(const dm_home_thing *t)
{
    return dm_home_things[t->kind].name;
}

/* ---- what is seen ---- */

static void list_things(dm_home *h, int place)
{
    int n = 0;
    for (int i = 0; i < h->things; i++)
        if (h->thing[i].where == place)
            dm_home_print(h, "%s %s %d", n++ ? "," : "", dm_home_thing_name(&h->thing[i]), h->thing[i].number);
    if (h->place[place].kind == DM_HOME_DESK)
        dm_home_print(h, "%s desklamp 1", n++ ? "," : "");
    dm_home_print(h, n ? "." : " nothing.");
    h->place[place].seen = true;
}

void dm_home_describe_place(dm_home *h, int place)
{
    const dm_home_place *p = &h->place[place];
    if (!p->open) {
        dm_home_print(h, "The %s %d is closed.", dm_home_place_name(h, place), p->number);
        return;
    }
    dm_home_print(h, "%s the %s %d, you see", dm_home_places[p->kind].opens ? "In" : "On", dm_home_place_name(h, place),
                  p->number);
    list_things(h, place);
}

void dm_home_describe_room(dm_home *h)
{
    dm_home_print(h, "You are in a %s. You see", dm_home_things[h->task.object].room ? "bedroom" : "kitchen");
    for (int i = 0; i < h->places; i++)
        dm_home_print(h, "%s %s %d", i ? "," : "", dm_home_place_name(h, i), h->place[i].number);
    dm_home_print(h, ".");
}

void dm_home_describe_task(dm_home *h)
{
    const char *object = dm_home_things[h->task.object].name, *target = dm_home_places[h->task.target].name;
    dm_home_print(h, "Your task is to: ");
    switch (h->task.type) {
    case DM_HOME_CLEAN:
    case DM_HOME_HEAT:
    case DM_HOME_COOL: {
        static const char *const verb[] = {[DM_HOME_CLEAN] = "clean", [DM_HOME_HEAT] = "heat", [DM_HOME_COOL] = "cool"};
        dm_home_print(h, "%s some %s and put it in/on %s.", verb[h->task.type], object, target);
        break;
    }
    case DM_HOME_EXAMINE:
        dm_home_print(h, "look at some %s under the desklamp.", object);
        break;
    case DM_HOME_TWO:
        dm_home_print(h, "find two %s and put them in/on %s.", object, target);
        break;
    default:
        dm_home_print(h, "put some %s in/on %s.", object, target);
    }
}

/* ---- what is asked for ---- */

/* P stands for a receptacle and its number, O for a thing and its number. */
static const char *const patterns[DM_HOME_VERBS] = {
    [DM_HOME_VERB_GO] = "go to P",          [DM_HOME_VERB_OPEN] = "open P",
    [DM_HOME_VERB_CLOSE] = "close P",       [DM_HOME_VERB_TAKE] = "take O from P",
    [DM_HOME_VERB_PUT] = "put O in/on P",   [DM_HOME_VERB_CLEAN] = "clean O with P",
    [DM_HOME_VERB_HEAT] = "heat O with P",  [DM_HOME_VERB_COOL] = "cool O with P",
    [DM_HOME_VERB_USE] = "use desklamp 1",  [DM_HOME_VERB_LOOK] = "look",
    [DM_HOME_VERB_INVENTORY] = "inventory", [DM_HOME_VERB_EXAMINE] = "examine X",
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
        if (word_is(w->place, dm_home_place_name(h, i)) && number_is(w->place_number, h->place[i].number))
            return i;
    return -1;
}

static dm_home_thing *find_thing(dm_home *h, const words *w)
{
    for (int i = 0; w->thing && i < h->things; i++)
        if (word_is(w->thing, dm_home_thing_name(&h->thing[i])) && number_is(w->thing_number, h->thing[i].number))
            return &h->thing[i];
    return NULL;
}

dm_home_verb dm_home_parse(dm_home *h, const char *action, dm_home_thing **thing, int *place)
{
    words w = {0};
    dm_home_verb v = 0;

    while (v < DM_HOME_VERBS && !matches(action, patterns[v], &w))
        v++;
    *place = find_place(h, &w);
    *thing = find_thing(h, &w);
    return v;
}
