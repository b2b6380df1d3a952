/* A trace's file (docs/trace.md): safetensors, written as the tensors come, with room for the header first. */
#ifndef DM_MODEL_TRACE_WRITER_H
#define DM_MODEL_TRACE_WRITER_H

#include "core/numbers/dtype.h"
#include "core/files/output.h"
#include "core/text.h"

#define DM_TRACE_DIMS 8

typedef struct dm_trace_tensor { /* one that was written */
    char *name;
    dm_dtype type; /* F32, F64 */
    unsigned dims;
    uint64_t shape[DM_TRACE_DIMS];
    uint64_t begin, size;          /* bytes in the data */
    char sha256[DM_SHA256_HEX];    /* of its bytes */
    double least, most, mean, rms; /* of its finite values */
    uint64_t wrong;                /* values that are not finite */
} dm_trace_tensor;

typedef struct dm_trace_writer {
    dm_output file;
    uint64_t reserved, at; /* bytes: of the header; of data so far */
    bool statistics;       /* tensors are measured and hashed but not written */
    dm_trace_tensor *tensors;
    size_t n, room;
} dm_trace_writer;

/* reserve: bytes that the header will not exceed. */
dm_status dm_trace_writer_open(dm_trace_writer *w, const char *path, bool overwrite, uint64_t reserve, bool statistics,
                               dm_error *err);

/* A whole tensor; type F32 or F64, data of that type; dims 1: [shape[1]]. */
dm_status dm_trace_writer_add(dm_trace_writer *w, const char *name, dm_dtype type, unsigned dims, size_t rows,
                              size_t cols, const void *data, dm_error *err);
/* The shape of the latest tensor, where rows and columns are not all of it; as many elements, dims <= DM_TRACE_DIMS. */
void dm_trace_writer_shape(dm_trace_writer *w, unsigned dims, const uint64_t *shape);

/* Columns [first, first + cols) of an F32 tensor [rows, width], whose first come first and whose last come last; no
 * other tensor between them. */
dm_status dm_trace_writer_columns(dm_trace_writer *w, const char *name, size_t rows, size_t width, size_t first,
                                  size_t cols, const float *x, size_t ld, dm_error *err);

/* Writes the header with the manifest (NULL: without one) and puts the file into place; with another status than DM_OK
 * nothing remains. */
dm_status dm_trace_writer_close(dm_trace_writer *w, dm_status status, const dm_text *manifest, dm_error *err);

#endif
