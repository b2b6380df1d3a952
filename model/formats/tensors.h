/* A table of f32 tensors in a safetensors file: weights that the engine wrote, an adapter, the optimizer's moments. */
#ifndef DM_MODEL_FORMATS_TENSORS_H
#define DM_MODEL_FORMATS_TENSORS_H

#include "core/sha256.h"
#include "io/safetensors.h"
#include "model/network/params.h"

/* Reads exactly the tensors of the layout, with their shapes. `where` begins messages, `by` names what says which
 * tensors there must be. */
dm_status dm_tensors_read(float *w, const dm_param_layout *layout, const dm_st *st, const char *where, const char *by,
                          dm_error *err);

/* Writes one file, atomically; hex receives its SHA-256. metadata as for dm_st_write. */
dm_status dm_tensors_write(const float *w, const dm_param_layout *layout, const char *path,
                           const char *const (*metadata)[2], size_t n_metadata, char hex[DM_SHA256_HEX], dm_error *err);

/* The same as dir/model.safetensors, without metadata. */
dm_status dm_weights_write(const float *w, const dm_param_layout *layout, const char *dir, char hex[DM_SHA256_HEX],
                           dm_error *err);

#endif
