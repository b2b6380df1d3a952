/* What the implementation files of include/dmpo.h share. */
#ifndef DM_MODEL_API_H
#define DM_MODEL_API_H

#include "dmpo.h"
#include "simd/engine.h"

struct dmpo_engine {
    dm_engine e;
    dmpo_metrics before, after; /* of the newest run, for its result */
};

/* Copies `in`, a struct that begins with its size, to the caller's: as much as both know, and zeros to what only the
 * caller knows. Refuses a caller's size that no version of the struct had, naming its type. */
dm_status dm_api_copy_out(void *out, const void *in, size_t in_size, const char *type, dm_error *err);

/* Copies the error out (when the caller wants it) and returns the status. */
dmpo_status dm_api_report(dmpo_error *out, dm_status status, const dm_error *err);

#endif
