/* Known mistakes as changes of a formula. */
#ifndef DM_MODEL_CHECK_BUGS_H
#define DM_MODEL_CHECK_BUGS_H

#include "model/truth/graph.h"

typedef enum dm_knob { DM_KNOB_NONE } dm_knob;

struct dm_bug {
    const char *name;
    dm_formula formula;
    dm_knob knob;
    double value;
};

#endif
