/* NumPy's .npy arrays and .npz archives of them (https://numpy.org/neps/nep-0001-npy-format.html), from bytes in
 * memory; every claim of a header is checked. */
#ifndef DM_IO_NPY_H
#define DM_IO_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

#define DM_NPY_DIMS 8

typedef struct dm_npy {
    char kind;   /* 'f' or 'i' or 'u' */
    size_t size; /* bytes of an element: f 2, 4, 8; i, u 1, 4, 8 (u: 1) */
    unsigned dims;
    uint64_t shape[DM_NPY_DIMS]; /* of a Fortran-ordered array reversed: as its bytes lie */
    uint64_t count;
    const unsigned char *data; /* [count * size], little-endian, not aligned */
} dm_npy;

/* An array; `name` begins the message. Big-endian, structured and object arrays are refused by name. */
dm_status dm_npy_parse(dm_npy *out, const void *bytes, size_t size, const char *name, dm_error *err);

/* Element i. */
double dm_npy_value(const dm_npy *a, uint64_t i);

typedef dm_status (*dm_npz_entry)(void *context, const char *name, const void *bytes, size_t size, dm_error *err);

/* Every entry of an archive, stored as np.savez stores them; compressed ones (np.savez_compressed) are refused. */
dm_status dm_npz_each(const void *bytes, size_t size, const char *name, dm_npz_entry entry, void *context,
                      dm_error *err);

#endif
