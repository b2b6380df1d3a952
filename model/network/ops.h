/* Kernels over many rows, on all threads of the engine. Every function splits outputs, never a sum. */
#ifndef DM_MODEL_NETWORK_OPS_H
#define DM_MODEL_NETWORK_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simd/engine.h"

/* x[t, :] = table[ids[t], :]; x [rows, n], table [vocab, n]. */
void dm_op_gather(const dm_engine *e, float *x, const float *table, const int32_t *ids, size_t rows, size_t n);
/* dtable[ids[t], :] += dx[t, :], t ascending. */
void dm_op_scatter_add(const dm_engine *e, float *dtable, const float *dx, const int32_t *ids, size_t rows, size_t n);

/* y[t, :] = rmsnorm(x[t, :]) with weights w [n]; inv [rows] receives 1/rms, unless it is NULL. */
void dm_op_rmsnorm(const dm_engine *e, float *y, float *inv, const float *x, const float *w, size_t rows, size_t n,
                   float eps);
/* dx[t, :] (+)= d rmsnorm; dw[j] += over t ascending, unless dw is NULL. */
void dm_op_rmsnorm_backward(const dm_engine *e, float *dx, float *dw, const float *dy, const float *x, const float *w,
                            const float *inv, size_t rows, size_t n, bool add);

/* y[t, :] += b[:]. */
void dm_op_bias(const dm_engine *e, float *y, const float *b, size_t rows, size_t n);
/* db[j] += dy[t, j], t ascending. */
void dm_op_bias_backward(const dm_engine *e, float *db, const float *dy, size_t rows, size_t n);

/* Rotates every head of x [rows, heads*head_dim] by its row's position; cos, sin [positions, head_dim/2]. */
void dm_op_rope(const dm_engine *e, float *x, const float *cos, const float *sin, const uint32_t *position, size_t rows,
                size_t heads, size_t head_dim, bool inverse);

/* Storage as bf16, to nearest even, and back. */
void dm_op_to_bf16(const dm_engine *e, uint16_t *y, const float *x, size_t n);
void dm_op_from_bf16(const dm_engine *e, float *y, const uint16_t *x, size_t n);

void dm_op_zero(const dm_engine *e, float *y, size_t n);
void dm_op_add(const dm_engine *e, float *y, const float *x, size_t n); /* y += x */
void dm_op_scale(const dm_engine *e, float *y, float a, size_t n);      /* y *= a */
/* The gated activations: geglu 0: SwiGLU, else GeGLU. */
void dm_op_glu(const dm_engine *e, bool geglu, float *h, const float *gate, const float *up, size_t n);
/* In place: gate becomes dgate, up becomes dup. */
void dm_op_glu_backward(const dm_engine *e, bool geglu, float *gate, float *up, const float *dh, size_t n);

#endif
