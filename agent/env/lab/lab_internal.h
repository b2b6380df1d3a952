/* The lab: its things, its tasks, its state (docs/environments.md, "lab").
 *
 * A thing is its number: every name exists once in a world, so that no action is ambiguous and all of the state is a
 * few arrays indexed by thing. A thing is in another (`where`); rooms and what does not exist are nowhere. */
#ifndef DM_AGENT_ENV_LAB_LAB_INTERNAL_H
#define DM_AGENT_ENV_LAB_LAB_INTERNAL_H

#include <stdbool.h>

#include "agent/env/env.h"
#include "io/json.h"

enum {
    LAB_NOWHERE = -1,

    LAB_KITCHEN = 0,
    LAB_WORKSHOP,
    LAB_GREENHOUSE,
    LAB_STUDIO,
    LAB_SELF, /* who acts; what is in it is the inventory */

    LAB_DOOR, /* through which one comes into room n is LAB_DOOR + n, its closet LAB_CLOSET + n */
    LAB_CLOSET = LAB_DOOR + 4,

    LAB_STOVE = LAB_CLOSET + 4,
    LAB_FURNACE,
    LAB_FREEZER,
    LAB_BATTERY,
    LAB_BULB,
    LAB_SWITCH,
    LAB_BOX, /* 4 colours */
    LAB_THERMOMETER = LAB_BOX + 4,
    LAB_POT,
    LAB_CRUCIBLE,
    LAB_VESSEL, /* 4 that stand no heat */

    LAB_WATER = LAB_VESSEL + 4,
    LAB_MILK,
    LAB_TEA,
    LAB_OIL,
    LAB_BUTTER,
    LAB_WAX,
    LAB_TIN,
    LAB_LEAD,
    LAB_FLOUR,
    LAB_SALT,
    LAB_RED,
    LAB_BLUE,
    LAB_YELLOW,
    LAB_PRODUCT, /* 6, in the order of lab_recipes */

    LAB_ANIMAL = LAB_PRODUCT + 6,
    LAB_PLANT = LAB_ANIMAL + 3,
    LAB_PLASTIC = LAB_PLANT + 3, /* LAB_PLASTIC + i looks like LAB_ANIMAL + i */
    LAB_SAMPLE = LAB_PLASTIC + 6,

    LAB_THINGS = LAB_SAMPLE + 4,
    LAB_LIQUIDS = 4, /* from LAB_WATER */
    LAB_SOLIDS = 4,  /* from LAB_BUTTER */
    LAB_PRODUCTS = 6,
    LAB_LIVING = 6,
    LAB_SAMPLES = 4,
    LAB_VESSELS = 4,
    LAB_COLOURS = 4,
    LAB_ROOMS = 4
};

/* Kinds are bits, so that an action names all the kinds it takes. */
enum {
    LAB_IS_ROOM = 1 << 0,
    LAB_IS_SELF = 1 << 1,
    LAB_IS_DOOR = 1 << 2,
    LAB_IS_CLOSET = 1 << 3,
    LAB_IS_HEATER = 1 << 4,
    LAB_IS_FREEZER = 1 << 5,
    LAB_IS_POLE = 1 << 6, /* battery, bulb: an end of the circuit */
    LAB_IS_SWITCH = 1 << 7,
    LAB_IS_BOX = 1 << 8,
    LAB_IS_TOOL = 1 << 9,
    LAB_IS_VESSEL = 1 << 10,
    LAB_IS_SUBSTANCE = 1 << 11, /* always in a vessel; what is done with it is done with the vessel */
    LAB_IS_LIFE = 1 << 12,
    LAB_IS_SAMPLE = 1 << 13,
    LAB_PORTABLE = LAB_IS_TOOL | LAB_IS_VESSEL | LAB_IS_SUBSTANCE | LAB_IS_LIFE | LAB_IS_SAMPLE,
    LAB_OPENABLE = LAB_IS_DOOR | LAB_IS_CLOSET | LAB_IS_FREEZER
};

typedef struct lab_item {
    const char *name;
    int kind;
    int melts, boils; /* a substance's, degrees */
} lab_item;

extern const lab_item lab_items[LAB_THINGS];
extern const int lab_recipes[LAB_PRODUCTS][2]; /* two substances, mixed: LAB_PRODUCT + i */

#define LAB_ROOM_DEGREES 20
#define LAB_STOVE_DEGREES 200
#define LAB_FURNACE_DEGREES 1000
#define LAB_FREEZER_DEGREES (-40)
#define LAB_NEVER 100000 /* hotter than anything gets */

/* ---- tasks (lab_task.c) ---- */
typedef enum lab_type {
    LAB_BOIL,
    LAB_FREEZE,
    LAB_MELT,
    LAB_FIND_LIVING,
    LAB_FIND_PLASTIC, /* "non-living": what only looks like an animal or a plant */
    LAB_MEASURE,
    LAB_CONDUCT,
    LAB_MIX,
    LAB_TYPES
} lab_type;

/* Type, object and places are the combination that no other split shares with unseen; of the find tasks also the right
 * box and its room. */
typedef struct lab_task {
    lab_type type;
    int object;           /* thing it is about; LAB_MIX: the product */
    int place[2];         /* where it is; LAB_MIX: where its two parts are, else the second is LAB_NOWHERE */
    int start;            /* room */
    bool hidden[2];       /* in the closet of its place, not in the open */
    int vessel;           /* a substance's, LAB_VESSEL .. */
    int box[2], box_room; /* right one (or: when above, when it conducts), and the other */
    int degrees;          /* threshold of LAB_MEASURE */
    bool any;             /* LAB_FIND_LIVING: any living thing, not only an animal or a plant as the object is */
} lab_task;

#define LAB_TRAIN_TASKS 2000
#define LAB_OTHER_TASKS 200

void lab_task_at(lab_task *t, dm_env_split split, int64_t task);
void lab_task_words(const lab_task *t, dm_text *out);

/* ---- state ---- */
#define LAB_GOALS 4 /* sub-goals of a task, a quarter of the score each */
#define LAB_ACTIONS 512
#define LAB_ACTION_SIZE 56

typedef struct lab {
    dm_env env;
    lab_task task;
    uint64_t seed, stream, counter; /* of the random numbers of this world */

    int where[LAB_THINGS];
    bool open[LAB_THINGS], on[LAB_THINGS];
    int degrees[LAB_THINGS]; /* substances' */
    bool broken;             /* the stove */
    bool conducts[LAB_THINGS];
    int joined[2]; /* what is connected to the battery, to the bulb */

    int home[LAB_THINGS];  /* room where a thing is expected, or was first seen */
    bool seen[LAB_THINGS]; /* doors: tried or used */
    bool visited[LAB_ROOMS];
    bool found_broken;

    int target; /* what the sub-goals are about; of the find tasks LAB_NOWHERE before the right focus */
    bool focused, focused_tool;
    bool measured; /* the target; what the thermometer said is `reading` */
    int reading;
    bool goal[LAB_GOALS];
    bool failed;    /* focus on a wrong thing: the score is 0 */
    bool wrong_box; /* the end, with the score so far */
    int turns;
    bool done;

    dm_text text;
    char advice[LAB_ACTION_SIZE];
    char listed[LAB_ACTIONS][LAB_ACTION_SIZE];
    const char *list[LAB_ACTIONS];
} lab;

/* ---- world (lab_world.c) ---- */
void lab_build(lab *l);                   /* from l->task and the random numbers */
int lab_room_of(const lab *l, int thing); /* LAB_NOWHERE: it does not exist */
bool lab_visible(const lab *l, int thing);
int lab_here(const lab *l);
bool lab_heatproof(int vessel);
bool lab_fits(const lab_task *t, int thing); /* a thing that a find task asks for */
void lab_pass_time(lab *l, dm_text *out);    /* one turn; reports changes of state that are seen */
void lab_notice(lab *l);                     /* what is visible has been seen */

/* ---- score (lab_score.c) ---- */
bool lab_may_focus(const lab *l, int thing); /* else the task has failed */
void lab_judge(lab *l);                      /* sub-goals from the state */
double lab_score(const lab *l);
int lab_right_box(const lab *l); /* once what decides is known */
bool lab_decided(const lab *l);
bool lab_in_box(const lab *l, int box); /* the target is */

/* ---- words (lab_text.c) ---- */
int lab_handle(const lab *l, int thing); /* by which name a thing is handled: a vessel is called after what is in it */
void lab_show(const lab *l, int thing, dm_text *out);          /* "cup of milk", "freezer (closed)" */
void lab_contents(const lab *l, int thing, dm_text *out);      /* "pot, cup of milk", "nothing" */
void lab_look(const lab *l, dm_text *out);                     /* the room */
const char *lab_state(int substance, int degrees);             /* "solid", "liquid", "boiling" */
int lab_resolve(const lab *l, const char *words, size_t size); /* thing that can be named here, or LAB_NOWHERE */

/* ---- actions (lab_act.c) ---- */
void lab_act(lab *l, const char *action, dm_text *out);
size_t lab_list(lab *l);

/* ---- expert (lab_expert.c) ---- */
const char *lab_expert(dm_env *env);

#endif
