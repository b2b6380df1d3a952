/* Known mistakes as changes of a formula: one row each in model/check/bugs.def. */
#ifndef DM_MODEL_CHECK_BUGS_H
#define DM_MODEL_CHECK_BUGS_H

#include "model/truth/graph.h"

typedef enum dm_knob { DM_KNOB_NONE } dm_knob;

typedef struct dm_bug {
    const char *name;
    const char *changes; /* what it changes, for people */
    const char *written; /* the formula with the mistake */
    dm_formula formula;
    dm_knob knob;
    double value;
} dm_bug;

extern const dm_bug dm_bugs[];
extern const size_t dm_bugs_count;

#endif
