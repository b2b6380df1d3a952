/* Things in words, and words for things. */
#include "agent/env/lab/lab_internal.h"

#include <string.h>

const char *lab_state(int substance, int degrees)
{
    return degrees >= lab_items[substance].boils   ? "boiling"
           : degrees >= lab_items[substance].melts ? "liquid"
                                                   : "solid";
}

int lab_handle(const lab *l, int thing)
{
    const int vessel = lab_items[thing].kind == LAB_IS_SUBSTANCE ? l->where[thing] : thing;
    if (vessel == LAB_NOWHERE || lab_items[vessel].kind != LAB_IS_VESSEL || lab_heatproof(vessel))
        return vessel;
    for (int t = LAB_WATER; t < LAB_ANIMAL; t++)
        if (l->where[t] == vessel)
            return t;
    return vessel;
}

/* What is in a thing, after `first` and joined by `joint`. */
static int show_inside(const lab *l, int thing, const char *first, const char *joint, dm_text *out)
{
    int n = 0;
    for (int t = 0; t < LAB_THINGS; t++) {
        if (l->where[t] != thing || t == LAB_SELF || lab_items[t].kind == LAB_IS_DOOR)
            continue;
        dm_text_print(out, "%s", n++ ? joint : first);
        lab_show(l, t, out);
    }
    return n;
}

void lab_show(const lab *l, int thing, dm_text *out)
{
    const int kind = lab_items[thing].kind;
    if (kind == LAB_IS_SUBSTANCE) {
        const char *is = lab_state(thing, l->degrees[thing]);
        if (is != lab_state(thing, LAB_ROOM_DEGREES))
            dm_text_print(out, "%s ", is);
    }
    dm_text_print(out, "%s", lab_items[thing].name);
    if (kind == LAB_IS_VESSEL)
        show_inside(l, thing, " of ", " and ", out);
    else if ((kind & LAB_OPENABLE) && !l->open[thing])
        return;
    else if (kind & (LAB_IS_HEATER | LAB_IS_SWITCH) || thing == LAB_BULB) {
        dm_text_print(out, l->on[thing] ? " (on" : "");
        const bool inside = show_inside(l, thing, l->on[thing] ? ", " : " (", ", ", out);
        dm_text_print(out, l->on[thing] || inside ? ")" : "");
    } else if (kind & (LAB_IS_BOX | LAB_IS_CLOSET | LAB_IS_FREEZER)) {
        dm_text_print(out, show_inside(l, thing, " (", ", ", out) ? ")" : kind == LAB_IS_BOX ? "" : " (open)");
    }
}

void lab_contents(const lab *l, int thing, dm_text *out)
{
    if (show_inside(l, thing, "", ", ", out) == 0)
        dm_text_print(out, "nothing");
}

void lab_look(const lab *l, dm_text *out)
{
    const int here = lab_here(l);
    dm_text_print(out, "You are in the %s. You see ", lab_items[here].name);
    lab_contents(l, here, out);
    dm_text_print(out, ".");
}

static bool starts(const char *words, size_t size, const char *with)
{
    return size > strlen(with) && memcmp(words, with, strlen(with)) == 0;
}

int lab_resolve(const lab *l, const char *words, size_t size)
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
    for (int t = 0; t < LAB_THINGS; t++) {
        const char *name = lab_items[t].name;
        if (strlen(name) == size && memcmp(name, words, size) == 0 &&
            (lab_items[t].kind == LAB_IS_ROOM || lab_visible(l, t)))
            return t;
    }
    return LAB_NOWHERE;
}
