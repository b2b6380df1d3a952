/* What the files behind include/dmpo.h share. */
#ifndef DM_MODEL_API_H
#define DM_MODEL_API_H

#include "dmpo.h"
#include "simd/engine.h"

struct dmpo_engine {
    dm_engine e;
};

/* Copies the error out (when the caller wants it) and returns the status. */
dmpo_status dm_api_report(dmpo_error *out, dm_status status, const dm_error *err);

#endif
