/* The house of agent/env/home/home.c: what is where, what the task is, what the agent has seen. */
#ifndef DM_AGENT_ENV_HOME_HOME_H
#define DM_AGENT_ENV_HOME_HOME_H

#include <stdbool.h>

#include "agent/env/env.h"

#define DM_HOME_PLACES 7        /* receptacles a house has at most */
#define DM_HOME_THINGS 10       /* objects a house has at most */
#define DM_HOME_TURNS 20        /* an episode has at most */
#define DM_HOME_EXPERT_TURNS 12 /* the expert needs at most, else the task is drawn again */
#define DM_HOME_NUMBERS 2       /* of a kind of things or of places are at most so many in a house, and numbered */
#define DM_HOME_ACTIONS 64      /* possible at once at most */
#define DM_HOME_ACTION 48       /* bytes of the longest action, "put newspaper 3 in/on diningtable 1" and the like */
#define DM_HOME_TEXT 1024       /* bytes of the longest observation */

typedef enum dm_home_type {
    DM_HOME_PICK,
    DM_HOME_TWO,
    DM_HOME_CLEAN,
    DM_HOME_HEAT,
    DM_HOME_COOL,
    DM_HOME_EXAMINE,
    DM_HOME_TYPES
} dm_home_type;

typedef enum dm_home_place_id {
    DM_HOME_FRIDGE,
    DM_HOME_COUNTERTOP,
    DM_HOME_SINKBASIN,
    DM_HOME_MICROWAVE,
    DM_HOME_DESK,
    DM_HOME_BED,
    DM_HOME_DRESSER,
    DM_HOME_CABINET,
    DM_HOME_DRAWER,
    DM_HOME_ALWAYS = DM_HOME_DRAWER, /* each room has all of its kinds up to here */
    DM_HOME_DININGTABLE,
    DM_HOME_SOFA,
    DM_HOME_SAFE,
    DM_HOME_SHELF,
    DM_HOME_PLACE_KINDS
} dm_home_place_id;

typedef struct dm_home_place_kind {
    const char *name;
    bool opens;
    bool room[2]; /* found in kitchens, in bedrooms */
    int most;     /* of them in a house */
} dm_home_place_kind;

#define DM_HOME_THING_KINDS 18

typedef struct dm_home_thing_kind {
    const char *name; /* the kinds 2 k and 2 k + 1 are easily mistaken for each other */
    int room;
    int family;     /* index of dm_home_likely */
    unsigned types; /* of tasks it occurs in: bit `1 << type` */
} dm_home_thing_kind;

extern const dm_home_place_kind dm_home_places[DM_HOME_PLACE_KINDS];
extern const dm_home_thing_kind dm_home_things[DM_HOME_THING_KINDS];

typedef struct dm_home_place {
    int kind, number;
    bool open; /* things in it can be seen and reached */
    bool seen; /* what is in it has been seen: since then only the agent has changed it */
} dm_home_place;

#define DM_HOME_HAND (-1)

typedef struct dm_home_thing {
    int kind, number;
    int where; /* place or DM_HOME_HAND */
    bool clean;
    int warmth; /* 1 hot, -1 cool, 0 neither */
} dm_home_thing;

/* A task's parameters. Whatever the seed, unseen tasks have combinations of type, object and target that train and seen
 * have not; seen ones have combinations of all four that train has not. */
typedef struct dm_home_task {
    dm_home_type type;
    int object, target; /* kinds; the target of DM_HOME_EXAMINE is the desk, where the lamp is */
    int source[2];      /* kinds of the places where the objects are at first, ascending; [1] is -1 except for two */
} dm_home_task;

typedef struct dm_home {
    dm_env env;
    dm_home_task task;
    dm_home_place place[DM_HOME_PLACES];
    dm_home_thing thing[DM_HOME_THINGS];
    int places, things;
    int at; /* place; -1: the middle of the room */
    bool done;
    int turns;
    char text[DM_HOME_TEXT];
    char action[DM_HOME_ACTIONS][DM_HOME_ACTION];
    const char *actions[DM_HOME_ACTIONS];
} dm_home;

/* ---- words (home_words.c) ---- */

enum { DM_HOME_KITCHEN, DM_HOME_BEDROOM };

extern const int dm_home_likely[]; /* by family: the kind of places where its things are looked for first */

typedef enum dm_home_verb {
    DM_HOME_VERB_GO,
    DM_HOME_VERB_OPEN,
    DM_HOME_VERB_CLOSE,
    DM_HOME_VERB_TAKE,
    DM_HOME_VERB_PUT,
    DM_HOME_VERB_CLEAN,
    DM_HOME_VERB_HEAT,
    DM_HOME_VERB_COOL,
    DM_HOME_VERB_USE,
    DM_HOME_VERB_LOOK,
    DM_HOME_VERB_INVENTORY,
    DM_HOME_VERB_EXAMINE,
    DM_HOME_VERBS
} dm_home_verb;

/* The action's verb, DM_HOME_VERBS for none, and what it names: NULL and -1 for what is not there. */
dm_home_verb dm_home_parse(dm_home *h, const char *action, dm_home_thing **thing, int *place);

/* These append to h->text. */
void dm_home_print(dm_home *h, const char *format, ...) DM_PRINTF(2, 3);
void dm_home_describe_place(dm_home *h, int place); /* what is in an open place has been seen then */
void dm_home_describe_room(dm_home *h);
void dm_home_describe_task(dm_home *h);

const char *dm_home_place_name(const dm_home *h, int place);
const char *dm_home_thing_name(const dm_home_thing *t);

/* ---- world (home_world.c) ---- */

/* Does the action and answers in h->text. */
void dm_home_act(dm_home *h, const char *action);

/* The places in the order in which a thing of that kind is looked for: the likely one, then as they are listed. */
void dm_home_order(const dm_home *h, int kind, int order[DM_HOME_PLACES]);

dm_home_thing *dm_home_held(dm_home *h); /* NULL: nothing */
/* It is of the task's kind and as the task wants it: clean, hot or cool. */
bool dm_home_ready(const dm_home *h, const dm_home_thing *t);
/* It is ready and where it should be. */
bool dm_home_delivered(const dm_home *h, const dm_home_thing *t);

/* ---- expert (home_expert.c) and tasks (home_task.c) ---- */

/* The expert's next action, in h->action[0]. */
const char *dm_home_expert(dm_home *h);

/* Puts the split's task into *h. */
void dm_home_draw(dm_home *h, dm_env_split split, int64_t task, uint64_t seed);

extern const dm_env_class dm_env_home;

#endif
