/* Things in words, and words for things. */
#include "agent/env/lab/lab.h"

#include <string.h>

int dm_lab_handle(const dm_lab *l, int thing)
{
    const int vessel = dm_lab_items[thing].kind == DM_LAB_IS_SUBSTANCE ? l->where[thing] : thing;
    if (vessel == DM_LAB_NOWHERE || dm_lab_items[vessel].kind != DM_LAB_IS_VESSEL || dm_lab_heatproof(vessel))
        return vessel;
    for (int t = DM_LAB_WATER; t < DM_LAB_ANIMAL; t++)
        if (l->where[t] == vessel)
            return t;
    return vessel;
}

/* What is in a thing, after `first` and joined by `joint`. */
static int show_inside(const dm_lab *l, int thing, const char *first, const char *joint, dm_text *out)
{
    int n = 0;
    for (int t = 0; t < DM_LAB_THINGS; t++) {
        if (l->where[t] != thing || t == DM_LAB_SELF || dm_lab_items[t].kind == DM_LAB_IS_DOOR)
            continue;
        dm_text_print(out, "%s", n++ ? joint : first);
        dm_lab_show(l, t, out);
    }
    return n;
}

void dm_lab_show(const dm_lab *l, int thing, dm_text *out)
{
    const int kind = dm_lab_items[thing].kind;
    if (kind == DM_LAB_IS_SUBSTANCE) {
        const char *is = dm_lab_state(thing, l->degrees[thing]);
        if (is != dm_lab_state(thing, DM_LAB_ROOM_DEGREES))
            dm_text_print(out, "%s ", is);
    }
    dm_text_print(out, "%s", dm_lab_items[thing].name);
    if (kind == DM_LAB_IS_VESSEL)
        show_inside(l, thing, " of ", " and ", out);
    else if ((kind & DM_LAB_OPENABLE) && !l->open[thing])
        return;
    else if (kind & (DM_LAB_IS_HEATER | DM_LAB_IS_SWITCH) || thing == DM_LAB_BULB) {
        dm_text_print(out, l->on[thing] ? " (on" : "");
        const bool inside = show_inside(l, thing, l->on[thing] ? ", " : " (", ", ", out);
        dm_text_print(out, l->on[thing] || inside ? ")" : "");
    } else if (kind & (DM_LAB_IS_BOX | DM_LAB_IS_CLOSET | DM_LAB_IS_FREEZER)) {
        dm_text_print(out, show_inside(l, thing, " (", ", ", out) ? ")" : kind == DM_LAB_IS_BOX ? "" : " (open)");
    }
}

void dm_lab_contents(const dm_lab *l, int thing, dm_text *out)
{
    if (show_inside(l, thing, "", ", ", out) == 0)
        dm_text_print(out, "nothing");
}

void dm_lab_look(const dm_lab *l, dm_text *out)
{
    const int here = dm_lab_here(l);
    dm_text_print(out, "You are in the %s. You see ", dm_lab_items[here].name);
    dm_lab_contents(l, here, out);
    dm_text_print(out, ".");
}

static bool starts(const char *words, size_t size, const char *with)
{
    return size > strlen(with) && memcmp(words, with, strlen(with)) == 0;
}

int dm_lab_resolve(const dm_lab *l, const char *words, size_t size)
{
    static const char *const skipped[] = {"the ", "a ", "solid ", "liquid ", "boiling "};
    for (size_t i = 0; i < sizeof skipped / sizeof *skipped; i++)
        if (starts(words, size, skipped[i])) {
            words += strlen(skipped[i]);
            size -= strlen(skipped[i]);
        }
    for (size_t i = 1; i + 4 < size; i++) /* "cup of milk": the cup */
        if (memcmp(words + i, " of ", 4) == 0)
            size = i;
    for (int t = 0; t < DM_LAB_THINGS; t++) {
        const char *name = dm_lab_items[t].name;
        if (strlen(name) == size && memcmp(name, words, size) == 0 &&
            (dm_lab_items[t].kind == DM_LAB_IS_ROOM || dm_lab_visible(l, t)))
            return t;
    }
    return DM_LAB_NOWHERE;
}
