/* A listener to what a network computes, between the operations: for traces (docs/trace.md). One test of a pointer for
 * each tensor where nobody listens. */
#ifndef DM_MODEL_NETWORK_TAP_H
#define DM_MODEL_NETWORK_TAP_H

#include <stddef.h>

#define DM_TAP_OUTSIDE (-1) /* in place of a layer */

/* A tensor [rows, cols], or columns [first, first + cols) of one that has `width` of them, whose rows are `ld` floats
 * apart. It may be overwritten after the call. */
typedef struct dm_tapped {
    int layer;        /* DM_TAP_OUTSIDE: of no layer */
    const char *name; /* in the layer: "self_attn.q_proj.out" */
    const float *x;
    size_t rows, cols, ld, first, width;
} dm_tapped;

typedef struct dm_tap {
    void (*put)(void *context, const dm_tapped *t);
    /* Queries and keys of a layer as attention saw them. */
    void (*attended)(void *context, int layer, const float *q, const float *k, size_t rows);
    void *context;
} dm_tap;

static inline void dm_tap_put(const dm_tap *tap, int layer, const char *name, const float *x, size_t rows, size_t cols)
{
    if (tap)
        tap->put(tap->context, &(dm_tapped){layer, name, x, rows, cols, cols, 0, cols});
}

#endif
