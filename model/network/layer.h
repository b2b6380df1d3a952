/* One layer forward, one layer backward: the two halves that model/network/network.h describes. */
#ifndef DM_MODEL_NETWORK_LAYER_H
#define DM_MODEL_NETWORK_LAYER_H

#include "model/network/network.h"

/* After the last layer's attention only the rows that the head reads continue: its activations from mid on have these
 * rows, in this order (a row may be there twice: it predicts the first token of both branches). */
static inline bool dm_layer_is_narrow(const dm_network *n, size_t layer, const dm_network_rows *r)
{
    return r->wanted && layer + 1 == n->c->layers;
}

/* y [rows, n] = rmsnorm(x) with the weights of `t`; inv [rows] receives 1/rms, unless it is NULL. */
void dm_layer_norm(dm_network *n, const float *w, const dm_tensor *t, float *y, float *inv, const float *x,
                   size_t rows);
/* dx (+)= its derivative at x; the gradient of the weights goes to dw. dx == dy is fine when add == 0. */
void dm_layer_norm_backward(dm_network *n, const float *w, float *dw, const dm_tensor *t, float *dx, const float *dy,
                            const float *x, const float *inv, size_t rows, bool add);

/* The angles by which a layer turns queries and keys, [positions, head_dim/2]; false: it turns none. */
static inline bool dm_layer_rope(const dm_network *n, size_t layer, const float **cosine, const float **sine)
{
    const dm_network_angles *t = &n->rope[n->c->rope_use[layer] == DM_ROPE_LOCAL];

    *cosine = t->cos;
    *sine = t->sin;
    return n->c->rope_use[layer] != DM_ROPE_NONE;
}

/* What the layer's attention reads: its own rows of a pass, without a cache. */
dm_attention dm_layer_attention(const dm_network *n, size_t layer, const dm_network_rows *r);

/* From acts->x; `out` NULL stops before the down projection (recomputation needs no output). */
void dm_layer_forward(dm_network *n, const float *w, size_t layer, const dm_network_rows *rows, float *out);

/* n->dx (n->dout, when the layer is narrow) holds dL/dout on prediction, n->dx dL/dx on return; adds to dw. Overwrites
 * acts->gate and acts->up. */
void dm_layer_backward(dm_network *n, const float *w, float *dw, size_t layer, const dm_network_rows *rows);

/* The adapter's share of a projection (model/network/lora.h); nothing where the projection has none. n->adapter is its
 * values. Forward: y [rows, out] += , x [rows, in]. */
void dm_lora_forward(dm_network *n, size_t layer, dm_projection p, const float *x, float *y, size_t rows);
/* Adds to dw, an array of the adapter's layout; dx [rows, in] += unless it is NULL. After the base's data gradient. */
void dm_lora_backward(dm_network *n, float *dw, size_t layer, dm_projection p, const float *dy, const float *x,
                      float *dx, size_t rows);

#endif
