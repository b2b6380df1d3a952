/* What a stored tensor must be, by the table of the model's tensors. */
#ifndef DM_MODEL_FORMATS_SOURCE_CHECK_H
#define DM_MODEL_FORMATS_SOURCE_CHECK_H

#include "io/safetensors.h"
#include "model/network/params.h"

/* What the check of names and shapes needs of a stored tensor. */
typedef struct dm_source_found {
    const char *name; /* as stored, for messages */
    const char *path; /* of its file */
    unsigned dims;
    uint64_t shape[DM_ST_DIMS]; /* rows first */
} dm_source_found;

dm_source_found dm_source_found_st(const dm_st *st, const dm_st_tensor *t);

/* found NULL: missing. `by`: what says how it must be ("config.json"). */
dm_status dm_source_check_shape(const dm_tensor *t, const char *name, const dm_source_found *found, const char *where,
                                const char *by, dm_error *err);

/* The error of a stored tensor that the model does not have. */
dm_status dm_source_fail_extra(const dm_source_found *found, const dm_config *c, const char *by, dm_error *err);

#endif
