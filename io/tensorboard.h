/* TensorBoard's event files, written without TensorBoard.
 *
 * A file is a sequence of TFRecords: length (u64), masked CRC-32C of these 8 bytes (u32), data, masked CRC-32C of the
 * data (u32); all little-endian. The data is a protobuf message tensorflow.Event: wall_time (1, double), step (2,
 * int64), and file_version (3, string) or summary (5), a list of values (1) with tag (1, string) and simple_value (2,
 * float). */
#ifndef DM_IO_TENSORBOARD_H
#define DM_IO_TENSORBOARD_H

#include <stddef.h>
#include <stdint.h>

#define DM_TENSORBOARD_RECORD ((size_t)4096) /* bytes that one record may take */

typedef struct dm_tensorboard_scalar {
    const char *tag;
    double value; /* rounded to f32; NaN: left out */
} dm_tensorboard_scalar;

/* CRC-32C (Castagnoli) of bytes, and TFRecord's masked form of it. */
uint32_t dm_crc32c(const void *data, size_t size);
uint32_t dm_crc32c_masked(const void *data, size_t size);

/* The record that every file begins with. Both functions return the bytes in out, 0 when they do not fit. wall_time:
 * seconds since 1970. */
size_t dm_tensorboard_begin(unsigned char out[DM_TENSORBOARD_RECORD], double wall_time);

/* The scalars of one step, each as "prefix/tag". */
size_t dm_tensorboard_scalars(unsigned char out[DM_TENSORBOARD_RECORD], double wall_time, int64_t step,
                              const char *prefix, const dm_tensorboard_scalar *scalar, size_t n);

#endif
