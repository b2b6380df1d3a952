/* Products with a weight matrix as it is stored: f32, 16-bit or quantised. Stored types are dequantised while
 * they are packed for GEMM, a tile at a time: no f32 copy of the matrix ever exists.
 *
 * Numeric order: an element's value is what core/numbers/dtype.h says, in f32; then everything is as in simd/gemm.h, so
 * the products have the bits of products with the same matrix widened to f32 first. */
#ifndef DM_SIMD_WEIGHT_H
#define DM_SIMD_WEIGHT_H

#include "simd/gemm.h"

/* y [m, w.rows] = x [m, w.cols] * W^T, rows of y `ldy` floats apart. On all threads; not from inside a task. */
void dm_weight_forward(const dm_engine *e, dm_precision precision, size_t m, const float *x, dm_weight w, float *y,
                       size_t ldy);

/* dx [m, w.cols] (+)= dy [m, w.rows] * W, rows of dy `lddy` floats apart: the data gradient. Likewise. */
void dm_weight_backward(const dm_engine *e, dm_precision precision, size_t m, const float *dy, size_t lddy, dm_weight w,
                        float *dx, dm_gemm_mode mode);

/* out [w.rows, w.cols] = W as f32. Likewise. Without an engine, a row at a time: dm_kernels.widen. */
void dm_weight_widen(const dm_engine *e, float *out, dm_weight w);

/* x[t, :] = W[ids[t], :] as f32; x [n, w.cols]. Likewise. */
void dm_weight_gather(const dm_engine *e, float *x, dm_weight w, const int32_t *ids, size_t n);

#endif
