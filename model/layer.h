/* One layer forward, one layer backward: the two halves that model/network.h describes. */
#ifndef DM_MODEL_LAYER_H
#define DM_MODEL_LAYER_H

#include "model/network.h"

typedef struct dm_rows { /* what a layer needs to know of the packed rows */
    const uint32_t *position;
    const dm_segment *segments;
    size_t rows, n_segments, past;
} dm_rows;

/* From acts->x; `out` NULL stops before the down projection (recomputation needs no output). */
void dm_layer_forward(dm_network *n, const float *w, size_t layer, const dm_rows *rows, float *out);

/* n->dx holds dL/dout on entry and dL/dx on return; adds to dw. Overwrites acts->gate and acts->up. */
void dm_layer_backward(dm_network *n, const float *w, float *dw, size_t layer, const dm_rows *rows);

#endif
