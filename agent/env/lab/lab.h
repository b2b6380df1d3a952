/* The lab: its things, its tasks, its state (docs/environments.md, "lab").
 *
 * A thing is its number: every name exists once in a world, so that no action is ambiguous and all of the state is a
 * few arrays indexed by thing. A thing is in another (`where`); rooms and what does not exist are nowhere. */
#ifndef DM_AGENT_ENV_LAB_LAB_H
#define DM_AGENT_ENV_LAB_LAB_H

#include <stdbool.h>

#include "agent/env/env.h"
#include "io/json.h"

enum {
    DM_LAB_NOWHERE = -1,

    DM_LAB_KITCHEN = 0,
    DM_LAB_WORKSHOP,
    DM_LAB_GREENHOUSE,
    DM_LAB_STUDIO,
    DM_LAB_SELF, /* who acts; what is in it is the inventory */

    DM_LAB_DOOR, /* through which one comes into room n is DM_LAB_DOOR + n, its closet DM_LAB_CLOSET + n */
    DM_LAB_CLOSET = DM_LAB_DOOR + 4,

    DM_LAB_STOVE = DM_LAB_CLOSET + 4,
    DM_LAB_FURNACE,
    DM_LAB_FREEZER,
    DM_LAB_BATTERY,
    DM_LAB_BULB,
    DM_LAB_SWITCH,
    DM_LAB_BOX, /* 4 colours */
    DM_LAB_THERMOMETER = DM_LAB_BOX + 4,
    DM_LAB_POT,
    DM_LAB_CRUCIBLE,
    DM_LAB_VESSEL, /* 4 that stand no heat */

    DM_LAB_WATER = DM_LAB_VESSEL + 4,
    DM_LAB_MILK,
    DM_LAB_TEA,
    DM_LAB_OIL,
    DM_LAB_BUTTER,
    DM_LAB_WAX,
    DM_LAB_TIN,
    DM_LAB_LEAD,
    DM_LAB_FLOUR,
    DM_LAB_SALT,
    DM_LAB_RED,
    DM_LAB_BLUE,
    DM_LAB_YELLOW,
    DM_LAB_PRODUCT, /* 6, in the order of dm_lab_recipes */

    DM_LAB_ANIMAL = DM_LAB_PRODUCT + 6,
    DM_LAB_PLANT = DM_LAB_ANIMAL + 3,
    DM_LAB_PLASTIC = DM_LAB_PLANT + 3, /* DM_LAB_PLASTIC + i looks like DM_LAB_ANIMAL + i */
    DM_LAB_SAMPLE = DM_LAB_PLASTIC + 6,

    DM_LAB_THINGS = DM_LAB_SAMPLE + 4,
    DM_LAB_LIQUIDS = 4, /* from DM_LAB_WATER */
    DM_LAB_SOLIDS = 4,  /* from DM_LAB_BUTTER */
    DM_LAB_PRODUCTS = 6,
    DM_LAB_LIVING = 6,
    DM_LAB_SAMPLES = 4,
    DM_LAB_VESSELS = 4,
    DM_LAB_COLOURS = 4,
    DM_LAB_ROOMS = 4
};

/* Kinds are bits, so that an action names all the kinds it takes. */
enum {
    DM_LAB_IS_ROOM = 1 << 0,
    DM_LAB_IS_SELF = 1 << 1,
    DM_LAB_IS_DOOR = 1 << 2,
    DM_LAB_IS_CLOSET = 1 << 3,
    DM_LAB_IS_HEATER = 1 << 4,
    DM_LAB_IS_FREEZER = 1 << 5,
    DM_LAB_IS_POLE = 1 << 6, /* battery, bulb: an end of the circuit */
    DM_LAB_IS_SWITCH = 1 << 7,
    DM_LAB_IS_BOX = 1 << 8,
    DM_LAB_IS_TOOL = 1 << 9,
    DM_LAB_IS_VESSEL = 1 << 10,
    DM_LAB_IS_SUBSTANCE = 1 << 11, /* always in a vessel; what is done with it is done with the vessel */
    DM_LAB_IS_LIFE = 1 << 12,
    DM_LAB_IS_SAMPLE = 1 << 13,
    DM_LAB_PORTABLE = DM_LAB_IS_TOOL | DM_LAB_IS_VESSEL | DM_LAB_IS_SUBSTANCE | DM_LAB_IS_LIFE | DM_LAB_IS_SAMPLE,
    DM_LAB_OPENABLE = DM_LAB_IS_DOOR | DM_LAB_IS_CLOSET | DM_LAB_IS_FREEZER
};

typedef struct dm_lab_item {
    const char *name;
    int kind;
    int melts, boils; /* a substance's, degrees */
} dm_lab_item;

extern const dm_lab_item dm_lab_items[DM_LAB_THINGS];
extern const int dm_lab_recipes[DM_LAB_PRODUCTS][2]; /* two substances, mixed: DM_LAB_PRODUCT + i */

#define DM_LAB_ROOM_DEGREES 20
#define DM_LAB_STOVE_DEGREES 200
#define DM_LAB_FURNACE_DEGREES 1000
#define DM_LAB_FREEZER_DEGREES (-40)
#define DM_LAB_NEVER 100000 /* hotter than anything gets */

/* ---- tasks (lab_task.c) ---- */
typedef enum dm_lab_type {
    DM_LAB_BOIL,
    DM_LAB_FREEZE,
    DM_LAB_MELT,
    DM_LAB_FIND_LIVING,
    DM_LAB_FIND_PLASTIC, /* "non-living": what only looks like an animal or a plant */
    DM_LAB_MEASURE,
    DM_LAB_CONDUCT,
    DM_LAB_MIX,
    DM_LAB_TYPES
} dm_lab_type;

/* Type, object and places are the combination that no other split shares with unseen; of the find tasks also the right
 * box and its room. */
typedef struct dm_lab_task {
    dm_lab_type type;
    int object;           /* thing it is about; DM_LAB_MIX: the product */
    int place[2];         /* where it is; DM_LAB_MIX: where its two parts are, else the second is DM_LAB_NOWHERE */
    int start;            /* room */
    bool hidden[2];       /* in the closet of its place, not in the open */
    int vessel;           /* a substance's, DM_LAB_VESSEL .. */
    int box[2], box_room; /* right one (or: when above, when it conducts), and the other */
    int degrees;          /* threshold of DM_LAB_MEASURE */
    bool any;             /* DM_LAB_FIND_LIVING: any living thing, not only an animal or a plant as the object is */
} dm_lab_task;

#define DM_LAB_TRAIN_TASKS 2000
#define DM_LAB_OTHER_TASKS 200

void dm_lab_task_at(dm_lab_task *t, dm_env_split split, int64_t task);
void dm_lab_task_words(const dm_lab_task *t, dm_text *out);

/* ---- state ---- */
#define DM_LAB_GOALS 4 /* sub-goals of a task, a quarter of the score each */
#define DM_LAB_ACTIONS 512
#define DM_LAB_ACTION_SIZE 56

typedef struct dm_lab {
    dm_env env;
    dm_lab_task task;
    uint64_t seed, stream, counter; /* of the random numbers of this world */

    int where[DM_LAB_THINGS];
    bool open[DM_LAB_THINGS], on[DM_LAB_THINGS];
    int degrees[DM_LAB_THINGS]; /* substances' */
    bool broken;                /* the stove */
    bool conducts[DM_LAB_THINGS];
    int joined[2]; /* what is connected to the battery, to the bulb */

    int home[DM_LAB_THINGS];  /* room where a thing is expected, or was first seen */
    bool seen[DM_LAB_THINGS]; /* doors: tried or used */
    bool visited[DM_LAB_ROOMS];
    bool found_broken;

    int target; /* what the sub-goals are about; of the find tasks DM_LAB_NOWHERE before the right focus */
    bool focused, focused_tool;
    bool measured; /* the target; what the thermometer said is `reading` */
    int reading;
    bool goal[DM_LAB_GOALS];
    bool failed;    /* focus on a wrong thing: the score is 0 */
    bool wrong_box; /* the end, with the score so far */
    int turns;
    bool done;

    dm_text text;
    char advice[DM_LAB_ACTION_SIZE];
    char listed[DM_LAB_ACTIONS][DM_LAB_ACTION_SIZE];
    const char *list[DM_LAB_ACTIONS];
} dm_lab;

/* ---- world (lab_world.c) ---- */
void dm_lab_build(dm_lab *l);                   /* from l->task and the random numbers */
int dm_lab_room_of(const dm_lab *l, int thing); /* DM_LAB_NOWHERE: it does not exist */
bool dm_lab_visible(const dm_lab *l, int thing);
int dm_lab_here(const dm_lab *l);
bool dm_lab_heatproof(int vessel);
const char *dm_lab_state(int substance, int degrees); /* "solid", "liquid", "boiling" */
bool dm_lab_fits(const dm_lab_task *t, int thing);    /* a thing that a find task asks for */
void dm_lab_pass_time(dm_lab *l, dm_text *out);       /* one turn; reports changes of state that are seen */
void dm_lab_notice(dm_lab *l);                        /* what is visible has been seen */

/* ---- score (lab_score.c) ---- */
bool dm_lab_may_focus(const dm_lab *l, int thing); /* else the task has failed */
void dm_lab_judge(dm_lab *l);                      /* sub-goals from the state */
double dm_lab_score(const dm_lab *l);
int dm_lab_right_box(const dm_lab *l);        /* once what decides is known */
bool dm_lab_in_box(const dm_lab *l, int box); /* the target is */

/* ---- words (lab_text.c) ---- */
int dm_lab_handle(const dm_lab *l,
                  int thing); /* by which name a thing is handled: a vessel is called after what is in it */
void dm_lab_show(const dm_lab *l, int thing, dm_text *out);     /* "cup of milk", "freezer (closed)" */
void dm_lab_contents(const dm_lab *l, int thing, dm_text *out); /* "pot, cup of milk", "nothing" */
void dm_lab_look(const dm_lab *l, dm_text *out);                /* the room */
int dm_lab_resolve(const dm_lab *l, const char *words,
                   size_t size); /* thing that can be named here, or DM_LAB_NOWHERE */

/* ---- actions (lab_act.c) ---- */
void dm_lab_act(dm_lab *l, const char *action, dm_text *out);
size_t dm_lab_list(dm_lab *l);

/* ---- expert (lab_expert.c) ---- */
const char *dm_lab_expert(dm_env *env);

extern const dm_env_class dm_env_lab;

#endif
