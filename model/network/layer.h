/* One layer forward, one layer backward: the two halves that model/network/network.h describes. */
#ifndef DM_MODEL_NETWORK_LAYER_H
#define DM_MODEL_NETWORK_LAYER_H

#include "model/network/network.h"

/* Behind the last layer's attention only the rows that the head reads go on: its activations from mid on have these
 * rows, in this order (a row may be there twice: it predicts the first token of both branches). */
static inline bool dm_layer_is_narrow(const dm_network *n, size_t layer, const dm_network_rows *r)
{
    return r->wanted && layer + 1 == n->c->layers;
}

/* From acts->x; `out` NULL stops before the down projection (recomputation needs no output). */
void dm_layer_forward(dm_network *n, const float *w, size_t layer, const dm_network_rows *rows, float *out);

/* n->dx (n->dout, when the layer is narrow) holds dL/dout on prediction, n->dx dL/dx on return; adds to dw. Overwrites
 * acts->gate and acts->up. */
void dm_layer_backward(dm_network *n, const float *w, float *dw, size_t layer, const dm_network_rows *rows);

/* The adapter's share of a projection (model/network/lora.h); nothing where the projection has none. n->adapter is its
 * values. Forward: y [rows, out] += , x [rows, in]. */
void dm_lora_forward(dm_network *n, size_t layer, dm_projection p, const float *x, float *y, size_t rows);
/* Adds to dw, an array of the adapter's layout; dx [rows, in] += unless it is NULL. Behind the base's data gradient. */
void dm_lora_backward(dm_network *n, float *dw, size_t layer, dm_projection p, const float *dy, const float *x,
                      float *dx, size_t rows);

#endif
