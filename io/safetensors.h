/* safetensors files: one file or shards with an index, every claim of the header checked, written atomically. */
#ifndef DM_IO_SAFETENSORS_H
#define DM_IO_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/numbers/dtype.h"
#include "core/error.h"
#include "core/sha256.h"
#include "core/numbers/narrow.h"

#define DM_ST_DIMS 8

typedef struct dm_st_tensor {
    const char *name;
    dm_dtype type;         /* DM_DTYPE_COUNT: a type that cannot be read (its size is checked if known) */
    const char *type_name; /* as in the file */
    unsigned dims;
    uint64_t shape[DM_ST_DIMS];
    uint64_t count;      /* product of shape; 1 without dimensions */
    uint64_t begin, end; /* absolute byte range in its file */
    unsigned file;       /* index into the set's files */
} dm_st_tensor;

typedef struct dm_st dm_st;

/* `path`: a .safetensors file, a *.index.json, or a directory with model.safetensors or
 * model.safetensors.index.json. Checks: header length inside the file and <= 100 MB, strict JSON, known dtypes,
 * shape*size == byte range, ranges inside the file, no two overlapping, no holes, no tensor twice, index and
 * shards agree. Unknown dtypes are an error only when such a tensor is read. */
dm_status dm_st_open(dm_st **out, const char *path, dm_error *err);
void dm_st_close(dm_st **st);
size_t dm_st_count(const dm_st *st);
const dm_st_tensor *dm_st_at(const dm_st *st, size_t i); /* in order of (file, offset) */
const dm_st_tensor *dm_st_find(const dm_st *st, const char *name);
const char *dm_st_path(const dm_st *st, const dm_st_tensor *t); /* the file it is in */
/* SHA-256 of the file that a set of one file has open. */
dm_status dm_st_sha256(const dm_st *st, char hex[DM_SHA256_HEX], dm_error *err);
const char *dm_st_metadata(const dm_st *st, const char *key); /* __metadata__ value, or NULL */

/* Reads a tensor as f32 (F32, F16, BF16 exactly; F64 rounded) into out[count] with pread(2), no mmap, through a small
 * fixed buffer. A NaN or infinity in it is DM_ERR_NONFINITE naming tensor and element; integers and unknown types
 * are DM_ERR_UNSUPPORTED. Safe from several threads. */
dm_status dm_st_read_f32(const dm_st *st, const dm_st_tensor *t, float *out, dm_error *err);
/* Likewise as f64 (goldens), integers too. */
dm_status dm_st_read_f64(const dm_st *st, const dm_st_tensor *t, double *out, dm_error *err);
/* The stored bytes of a tensor, out[end - begin]. */
dm_status dm_st_read_stored(const dm_st *st, const dm_st_tensor *t, void *out, dm_error *err);

/* Whether two tensors hold the same bytes of the same type and shape. */
dm_status dm_st_same(const dm_st *st, const dm_st_tensor *a, const dm_st_tensor *b, bool *same, dm_error *err);

typedef struct dm_st_out {
    const char *name;
    dm_dtype type; /* F32, F16 or BF16 as stored; `data` is always f32 and converted while writing */
    unsigned dims;
    uint64_t shape[DM_ST_DIMS];
    const float *data;
} dm_st_out;

/* Writes one file atomically (core/files/output.h). Header keys in the given order, 8-byte padded with spaces,
 * __metadata__ first: {"format":"pt"} plus the optional pairs. Data in the given order too, but F32 before 16-bit
 * tensors, so that each is aligned. Names are distinct. The same input gives the same bytes. A value that is not finite
 * in the stored type is DM_ERR_NONFINITE. `hex` (optional) receives the file's SHA-256, computed while writing. */
dm_status dm_st_write(const char *path, const dm_st_out *tensors, size_t n, const char *const (*metadata)[2],
                      size_t n_metadata, char hex[DM_SHA256_HEX], dm_error *err);

/* The same, but reads the data of the tensors one after another, in the order of the file; their `data` is ignored. */
dm_status dm_st_write_from(const char *path, const dm_st_out *tensors, size_t n, const char *const (*metadata)[2],
                           size_t n_metadata, dm_tensor_read read, void *context, char hex[DM_SHA256_HEX],
                           dm_error *err);

#endif
