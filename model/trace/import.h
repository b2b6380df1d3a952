/* Traces that other programs wrote as NumPy files. */
#ifndef DM_MODEL_TRACE_IMPORT_H
#define DM_MODEL_TRACE_IMPORT_H

#include "io/safetensors.h"

/* Opens a trace: safetensors, or a .npz archive, a .npy file or a directory of .npy files, whose tensors have the names
 * of entries and files without ".npy". Arrays are read into a temporary file that is gone when *out is closed. */
dm_status dm_trace_open(dm_st **out, const char *path, dm_error *err);

#endif
