/* An adapter merged into its base: W + s B A. */
#ifndef DM_MODEL_FORMATS_MERGE_H
#define DM_MODEL_FORMATS_MERGE_H

#include "model/formats/loaded_model.h"
#include "model/formats/write.h"

typedef struct dm_adapter_merge {
    const dm_engine *e;
    dm_loaded_model loaded;
    float *scaled; /* [largest B] s B */
} dm_adapter_merge;

/* path: an adapter's directory; base: as dm_source_open_on takes it. dm_adapter_merge_close is fine on a zeroed
 * struct. */
dm_status dm_adapter_merge_open(dm_adapter_merge *m, const dm_engine *e, const char *path, const char *base,
                                dm_error *err);
void dm_adapter_merge_close(dm_adapter_merge *m);

/* The base's tensors in f32, projections with what the adapter adds: w = fma((B[o, k] * s), A[k, i], w), k
 * ascending. */
dm_weight_reader dm_weight_reader_of_merge(dm_adapter_merge *m);

#endif
