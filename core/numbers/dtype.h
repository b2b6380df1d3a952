/* How numbers are stored in files and, for weights that are not trained, in memory.
 *
 * Plain types hold one number after another. Quantised ones are GGML's blocks, byte for byte (little-endian): a row
 * of n elements is n / block of them, and a block has scales and small integers. The value of an element is one fused
 * multiply-add in f32, fma(q, d, m), which for every type here has the bits of GGML's own dequantisation (tested
 * against the gguf package):
 *
 *   type   elements bytes   q                     d                        m
 *   Q8_0       32     34    int8                  f16 d                    -0
 *   Q4_0       32     18    nibble - 8            f16 d                    -0
 *   Q4_1       32     20    nibble                f16 d                    f16 m
 *   Q5_0       32     22    5 bits - 16           f16 d                    -0
 *   Q5_1       32     24    5 bits                f16 d                    f16 m
 *   Q4_K      256    144    nibble                f16 d * 6-bit scale      -(f16 dmin * 6-bit minimum)   of each 32
 *   Q5_K      256    176    5 bits                the same                 the same                      of each 32
 *   Q6_K      256    210    6 bits - 32           f16 d * int8 scale       -0                            of each 16
 *   Q2_K      256     84    2 bits                f16 d * 4-bit scale      -(f16 dmin * 4-bit minimum)   of each 16
 *   Q3_K      256    110    3 bits - 4            f16 d * (6 bits - 32)    -0                            of each 16
 *
 * (-0 keeps the sign of a product that is zero.) */
#ifndef DM_CORE_NUMBERS_DTYPE_H
#define DM_CORE_NUMBERS_DTYPE_H

#include <stddef.h>
#include <stdint.h>

typedef enum dm_dtype {
    DM_F32,
    DM_F16,
    DM_BF16,
    DM_F64,
    DM_I64,
    DM_I32,
    DM_U8,
    DM_DTYPE_PLAIN, /* number of types that hold one number after another */
    DM_Q8_0 = DM_DTYPE_PLAIN,
    DM_Q4_0,
    DM_Q4_1,
    DM_Q5_0,
    DM_Q5_1,
    DM_Q4_K,
    DM_Q5_K,
    DM_Q6_K,
    DM_Q2_K,
    DM_Q3_K,
    DM_DTYPE_COUNT
} dm_dtype;

const char *dm_dtype_name(dm_dtype t); /* "F32", "Q4_1" ...; "unknown" for DM_DTYPE_COUNT */
size_t dm_dtype_block(dm_dtype t);     /* elements of a block: 1 for plain types; 0 for DM_DTYPE_COUNT */
size_t dm_dtype_size(dm_dtype t);      /* bytes of a block; 0 for DM_DTYPE_COUNT */

/* Bytes of a row of n elements; n is a multiple of the block. */
static inline uint64_t dm_dtype_bytes(dm_dtype t, uint64_t n)
{
    return n / dm_dtype_block(t) * dm_dtype_size(t);
}

#endif
