/* f32 numbers as files store them, little-endian: rounded to nearest even, or in blocks as GGML rounds them. */
#ifndef DM_CORE_NUMBERS_NARROW_H
#define DM_CORE_NUMBERS_NARROW_H

#include "core/error.h"
#include "core/numbers/dtype.h"

/* Writes x[0..n) as F32, F16, BF16 or Q8_0 (n a multiple of 32) to out [dm_dtype_bytes(type, n)]. Returns n, or the
 * index of the first element that is not finite in that type (NaN, infinity, over its largest number). */
size_t dm_narrow(dm_dtype type, const float *x, size_t n, unsigned char *out);

/* Reads all of tensor i of a list, as f32. A writer that takes this function holds one tensor at a time. */
typedef dm_status (*dm_tensor_read)(void *context, size_t i, float *out, dm_error *err);

#endif
