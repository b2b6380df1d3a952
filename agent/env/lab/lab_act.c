/* Actions: a table of sentences, and for each a function that says why it is not possible or else does it. */
#include "agent/env/lab/lab.h"

#include <stdio.h>
#include <string.h>

#define NO_MATCH "No known action matches that input."
#define IMPOSSIBLE "That is not possible."

/* NULL: possible, and done when `out` is not NULL; else the answer to who tries. */
typedef const char *verb_function(dm_lab *l, int x, int y, dm_text *out);

/* The vessel of a substance, else the thing itself: what is moved when x is. */
static int body(const dm_lab *l, int x)
{
    return dm_lab_items[x].kind == DM_LAB_IS_SUBSTANCE ? l->where[x] : x;
}

/* A thing that is moved leaves the circuit. */
static void put(dm_lab *l, int x, int where)
{
    l->where[x] = where;
    for (int i = 0; i < 2; i++)
        if (l->joined[i] == x)
            l->joined[i] = DM_LAB_NOWHERE;
}

/* The bulb follows the circuit; it is mentioned when it could be on. */
static void light(dm_lab *l, dm_text *out)
{
    const int x = l->joined[0];
    const bool closed = x != DM_LAB_NOWHERE && x == l->joined[1] && l->on[DM_LAB_SWITCH];
    l->on[DM_LAB_BULB] = closed && l->conducts[x];
    if (closed && out)
        dm_text_print(out, " The bulb is %s.", l->on[DM_LAB_BULB] ? "on" : "off");
}

static const char *look_around(dm_lab *l, int x, int y, dm_text *out)
{
    (void)x;
    (void)y;
    if (out)
        dm_lab_look(l, out);
    return NULL;
}

static const char *inventory(dm_lab *l, int x, int y, dm_text *out)
{
    (void)x;
    (void)y;
    if (out) {
        dm_text_print(out, "You hold ");
        dm_lab_contents(l, DM_LAB_SELF, out);
        dm_text_print(out, ".");
    }
    return NULL;
}

static const char *pass(dm_lab *l, int x, int y, dm_text *out)
{
    (void)l;
    (void)x;
    (void)y;
    if (out)
        dm_text_print(out, "You wait.");
    return NULL;
}

static const char *go(dm_lab *l, int x, int y, dm_text *out)
{
    (void)y;
    if (x == dm_lab_here(l))
        return IMPOSSIBLE;
    if (!out)
        return NULL;
    l->seen[DM_LAB_DOOR + x] = true;
    if (!l->open[DM_LAB_DOOR + x]) { /* as with a broken stove, it is possible to try */
        dm_text_print(out, "The door is closed.");
    } else {
        l->where[DM_LAB_SELF] = x;
        dm_lab_look(l, out);
    }
    return NULL;
}

static const char *open_it(dm_lab *l, int x, int y, dm_text *out)
{
    (void)y;
    if (l->open[x])
        return "It is already open.";
    if (out) {
        l->open[x] = l->seen[x] = true;
        dm_text_print(out, "The %s is now open.",
                      dm_lab_items[x].kind == DM_LAB_IS_DOOR ? "door" : dm_lab_items[x].name);
        if (dm_lab_items[x].kind != DM_LAB_IS_DOOR) {
            dm_text_print(out, " You see ");
            dm_lab_contents(l, x, out);
            dm_text_print(out, ".");
        }
    }
    return NULL;
}

static const char *close_it(dm_lab *l, int x, int y, dm_text *out)
{
    (void)y;
    if (!l->open[x])
        return "It is already closed.";
    if (out) {
        l->open[x] = false;
        l->seen[x] = true;
        dm_text_print(out, "The %s is now closed.",
                      dm_lab_items[x].kind == DM_LAB_IS_DOOR ? "door" : dm_lab_items[x].name);
    }
    return NULL;
}

static const char *pick_up(dm_lab *l, int x, int y, dm_text *out)
{
    (void)y;
    if (l->where[body(l, x)] == DM_LAB_SELF)
        return IMPOSSIBLE;
    if (out) {
        put(l, body(l, x), DM_LAB_SELF);
        light(l, NULL);
        dm_text_print(out, "You pick up the %s.", dm_lab_items[x].name);
    }
    return NULL;
}

static const char *put_down(dm_lab *l, int x, int y, dm_text *out)
{
    (void)y;
    if (l->where[body(l, x)] != DM_LAB_SELF)
        return IMPOSSIBLE;
    if (out) {
        put(l, body(l, x), dm_lab_here(l));
        dm_text_print(out, "You put down the %s.", dm_lab_items[x].name);
    }
    return NULL;
}

static const char *move(dm_lab *l, int x, int y, dm_text *out)
{
    const int b = body(l, x), to = dm_lab_items[y].kind;
    if (l->where[b] == y || ((to & DM_LAB_OPENABLE) && !l->open[y]) ||
        (to == DM_LAB_IS_HEATER && !dm_lab_heatproof(b)) ||
        (to == DM_LAB_IS_FREEZER && dm_lab_items[b].kind != DM_LAB_IS_VESSEL))
        return (to & DM_LAB_OPENABLE) && !l->open[y] ? "It is closed." : IMPOSSIBLE;
    if (out) {
        put(l, b, y);
        light(l, NULL);
        dm_text_print(out, "You move the %s to the %s.", dm_lab_items[x].name, dm_lab_items[y].name);
    }
    return NULL;
}

static int first_in(const dm_lab *l, int vessel)
{
    for (int t = DM_LAB_WATER; t < DM_LAB_ANIMAL; t++)
        if (l->where[t] == vessel)
            return t;
    return DM_LAB_NOWHERE;
}

static const char *pour(dm_lab *l, int x, int y, dm_text *out)
{
    const int to = body(l, y), from = body(l, x);
    if (to == from || first_in(l, from) == DM_LAB_NOWHERE)
        return IMPOSSIBLE;
    if (out) {
        for (int t = DM_LAB_WATER; t < DM_LAB_ANIMAL; t++)
            if (t == x || (x == from && l->where[t] == from))
                l->where[t] = to;
        dm_text_print(out, "You pour the %s into the %s.", dm_lab_items[x].name, dm_lab_items[y].name);
    }
    return NULL;
}

static const char *mix(dm_lab *l, int x, int y, dm_text *out)
{
    const int vessel = body(l, x);
    int inside = 0;
    (void)y;
    for (int t = DM_LAB_WATER; t < DM_LAB_ANIMAL; t++)
        inside += l->where[t] == vessel;
    if (inside < 2)
        return IMPOSSIBLE;
    for (int i = 0; out && i < DM_LAB_PRODUCTS && inside == 2; i++) {
        const int *part = dm_lab_recipes[i];
        if (l->where[part[0]] != vessel || l->where[part[1]] != vessel)
            continue;
        l->where[part[0]] = l->where[part[1]] = DM_LAB_NOWHERE;
        l->where[DM_LAB_PRODUCT + i] = vessel;
        dm_text_print(out, "You mix %s and %s to make %s.", dm_lab_items[part[0]].name, dm_lab_items[part[1]].name,
                      dm_lab_items[DM_LAB_PRODUCT + i].name);
        return NULL;
    }
    if (out)
        dm_text_print(out, "Nothing happens.");
    return NULL;
}

static const char *focus(dm_lab *l, int x, int y, dm_text *out)
{
    (void)y;
    if (!out)
        return NULL;
    dm_text_print(out, "You focus on the %s.", dm_lab_items[x].name);
    if (!dm_lab_may_focus(l, x)) {
        l->failed = true;
        dm_text_print(out, " That is wrong.");
    } else if (l->task.type == DM_LAB_MEASURE && x == DM_LAB_THERMOMETER) {
        l->focused_tool = true;
    } else {
        l->focused = true;
        l->target = x;
    }
    return NULL;
}

static const char *use_thermometer(dm_lab *l, int x, int y, dm_text *out)
{
    (void)y;
    if (!dm_lab_visible(l, DM_LAB_THERMOMETER))
        return "You have no thermometer.";
    if (out) {
        dm_text_print(out, "The thermometer says %d degrees.", l->degrees[x]);
        if (x == l->target) {
            l->measured = true;
            l->reading = l->degrees[x];
        }
    }
    return NULL;
}

/* The circuit has one place for a sample at each pole; connecting lays it down on the bench. */
static const char *connect(dm_lab *l, int x, int y, dm_text *out)
{
    const int pole = y == DM_LAB_BULB;
    if (l->joined[pole] == x)
        return IMPOSSIBLE;
    if (out) {
        if (l->joined[!pole] != x)
            put(l, x, dm_lab_here(l));
        l->joined[pole] = x;
        dm_text_print(out, "The %s is now connected to the %s.", dm_lab_items[x].name, dm_lab_items[y].name);
        light(l, out);
    }
    return NULL;
}

static const char *connect_to(dm_lab *l, int x, int y, dm_text *out)
{
    return connect(l, y, x, out);
}

static const char *turn(dm_lab *l, int x, bool on, dm_text *out)
{
    if (l->on[x] == on)
        return on ? "It is already on." : "It is already off.";
    if (out && x == DM_LAB_STOVE && l->broken) { /* this shows only after trying, so it is possible to try */
        l->found_broken = true;
        dm_text_print(out, "The stove is broken.");
    } else if (out) {
        l->on[x] = on;
        dm_text_print(out, "The %s is now %s.", dm_lab_items[x].name, on ? "on" : "off");
        if (x == DM_LAB_SWITCH)
            light(l, out);
    }
    return NULL;
}

static const char *activate(dm_lab *l, int x, int y, dm_text *out)
{
    (void)y;
    return turn(l, x, true, out);
}

static const char *deactivate(dm_lab *l, int x, int y, dm_text *out)
{
    (void)y;
    return turn(l, x, false, out);
}

static const char *look_at(dm_lab *l, int x, int y, dm_text *out)
{
    (void)y;
    if (out) {
        dm_text_print(out, "You see ");
        dm_lab_show(l, x, out);
        dm_text_print(out, ".");
    }
    return NULL;
}

typedef struct verb {
    const char *words, *joint; /* "move X to Y": "move ", " to "; joint NULL: no y; without kinds no x */
    int x, y;                  /* kinds that it takes */
    bool by_handle;            /* listed with the name by which x is handled (dm_lab_handle), y always is */
    verb_function *function;
} verb;

enum {
    MOVE_TO = DM_LAB_IS_BOX | DM_LAB_IS_CLOSET | DM_LAB_IS_FREEZER | DM_LAB_IS_HEATER,
    THINGS = ~(DM_LAB_IS_ROOM | DM_LAB_IS_SELF | DM_LAB_IS_DOOR)
};

static const verb verbs[] = {
    {"look around", NULL, 0, 0, false, look_around},
    {"inventory", NULL, 0, 0, false, inventory},
    {"wait", NULL, 0, 0, false, pass},
    {"go to ", NULL, DM_LAB_IS_ROOM, 0, false, go},
    {"open ", NULL, DM_LAB_OPENABLE, 0, false, open_it},
    {"close ", NULL, DM_LAB_OPENABLE, 0, false, close_it},
    {"pick up ", NULL, DM_LAB_PORTABLE, 0, true, pick_up},
    {"put down ", NULL, DM_LAB_PORTABLE, 0, true, put_down},
    {"move ", " to ", DM_LAB_PORTABLE, MOVE_TO, true, move},
    {"pour ", " into ", DM_LAB_IS_SUBSTANCE | DM_LAB_IS_VESSEL, DM_LAB_IS_SUBSTANCE | DM_LAB_IS_VESSEL, false, pour},
    {"mix ", NULL, DM_LAB_IS_SUBSTANCE | DM_LAB_IS_VESSEL, 0, true, mix},
    {"focus on ", NULL, THINGS, 0, false, focus},
    {"use thermometer on ", NULL, DM_LAB_IS_SUBSTANCE, 0, false, use_thermometer},
    {"connect ", " to ", DM_LAB_IS_SAMPLE, DM_LAB_IS_POLE, false, connect},
    {"connect ", " to ", DM_LAB_IS_POLE, DM_LAB_IS_SAMPLE, false, connect_to},
    {"activate ", NULL, DM_LAB_IS_HEATER | DM_LAB_IS_SWITCH, 0, false, activate},
    {"deactivate ", NULL, DM_LAB_IS_HEATER | DM_LAB_IS_SWITCH, 0, false, deactivate},
    {"look at ", NULL, THINGS, 0, false, look_at},
};

#define VERBS (sizeof verbs / sizeof *verbs)

/* ---- from words ---- */

static const char *find(const char *words, size_t size, const char *part)
{
    const size_t n = strlen(part);
    for (size_t i = 0; i + n <= size; i++)
        if (memcmp(words + i, part, n) == 0)
            return words + i;
    return NULL;
}

static bool is(int thing, int kinds)
{
    return thing != DM_LAB_NOWHERE && (dm_lab_items[thing].kind & kinds);
}

/* Whether the sentence is this verb's, with things that are here and that it takes. */
static bool match(const dm_lab *l, const verb *v, const char *words, size_t size, int *x, int *y)
{
    const size_t n = strlen(v->words);
    if (size < n || memcmp(words, v->words, n) != 0)
        return false;
    if (!v->x)
        return size == n;
    words += n;
    size -= n;
    if (v->joint) {
        const char *joint = find(words, size, v->joint);
        if (!joint)
            return false;
        const char *second = joint + strlen(v->joint);
        *y = dm_lab_resolve(l, second, (size_t)(words + size - second));
        if (!is(*y, v->y))
            return false;
        size = (size_t)(joint - words);
    }
    *x = dm_lab_resolve(l, words, size);
    return is(*x, v->x);
}

/* Lower case, one blank between words, no full stop; too long is cut, and then matches nothing. */
static size_t normalize(const char *action, char words[DM_LAB_ACTION_SIZE])
{
    size_t n = 0;
    for (; *action && n < DM_LAB_ACTION_SIZE; action++) {
        const char c = *action >= 'A' && *action <= 'Z' ? (char)(*action - 'A' + 'a') : *action;
        if (c != ' ' && c != '\t')
            words[n++] = c;
        else if (n > 0 && words[n - 1] != ' ')
            words[n++] = ' ';
    }
    while (n > 0 && (words[n - 1] == ' ' || words[n - 1] == '.'))
        n--;
    return n;
}

void dm_lab_act(dm_lab *l, const char *action, dm_text *out)
{
    char words[DM_LAB_ACTION_SIZE];
    const size_t size = normalize(action, words);
    for (size_t v = 0; v < VERBS; v++) {
        int x = DM_LAB_NOWHERE, y = DM_LAB_NOWHERE;
        if (!match(l, &verbs[v], words, size, &x, &y))
            continue;
        const char *refusal = verbs[v].function(l, x, y, out);
        if (refusal)
            dm_text_print(out, "%s", refusal);
        return;
    }
    dm_text_print(out, NO_MATCH);
}

/* ---- to words ---- */

static void list_one(dm_lab *l, size_t *n, const verb *v, int x, int y)
{
    if (*n == DM_LAB_ACTIONS || v->function(l, x, y, NULL))
        return;
    snprintf(l->listed[*n], DM_LAB_ACTION_SIZE, "%s%s%s%s", v->words, x == DM_LAB_NOWHERE ? "" : dm_lab_items[x].name,
             v->joint ? v->joint : "", y == DM_LAB_NOWHERE ? "" : dm_lab_items[y].name);
    l->list[*n] = l->listed[*n];
    ++*n;
}

/* Each possibility once: by the name that a thing is handled by, and of two orders the first. */
size_t dm_lab_list(dm_lab *l)
{
    int here[DM_LAB_THINGS], things = 0;
    size_t n = 0;
    for (int t = 0; t < DM_LAB_THINGS; t++)
        if (dm_lab_items[t].kind == DM_LAB_IS_ROOM || dm_lab_visible(l, t))
            here[things++] = t;
    for (size_t i = 0; i < VERBS; i++) {
        const verb *v = &verbs[i];
        if (v->function == connect_to)
            continue;
        if (!v->x)
            list_one(l, &n, v, DM_LAB_NOWHERE, DM_LAB_NOWHERE);
        for (int a = 0; a < things; a++) {
            const int x = here[a];
            if (!is(x, v->x) || (v->by_handle && dm_lab_handle(l, x) != x) ||
                (v->function == pour && dm_lab_items[x].kind != DM_LAB_IS_SUBSTANCE))
                continue;
            if (!v->joint)
                list_one(l, &n, v, x, DM_LAB_NOWHERE);
            for (int b = 0; v->joint && b < things; b++)
                if (is(here[b], v->y) && dm_lab_handle(l, here[b]) == here[b])
                    list_one(l, &n, v, x, here[b]);
        }
    }
    return n;
}
