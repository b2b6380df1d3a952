/* GGUF files (versions 2 and 3, little-endian), metadata, tensors, every claim checked at opening.
 *
 * Checks: magic and version; counts, string and array lengths inside the file (sizes near 2^63 too); no key and no
 * tensor twice; alignment a power of two; every tensor's dimensions, their product, its type's block, offset and size
 * inside the file, no two overlapping. An unknown type is an error only when such a tensor is read; the message
 * names the type. */
#ifndef DM_IO_GGUF_H
#define DM_IO_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/files/input.h"
#include "core/numbers/dtype.h"
#include "core/sha256.h"

#define DM_GGUF_DIMS 4

typedef struct dm_gguf dm_gguf;

typedef struct dm_gguf_tensor {
    const char *name;      /* NUL-terminated copy, as in the file: "blk.0.attn_q.weight" */
    dm_dtype type;         /* DM_DTYPE_COUNT: not one of ours */
    const char *type_name; /* "Q4_1"; "IQ2_XS"; "type 77" if it is unknown */
    unsigned dims;
    uint64_t shape[DM_GGUF_DIMS]; /* GGUF's order: shape[0] is the contiguous one, the row length */
    uint64_t count;               /* product of shape */
    uint64_t offset, size;        /* byte offset and size of its data in the file; size 0 if the type is unknown */
    const dm_input *in;           /* the open file that has it, until dm_gguf_close */
} dm_gguf_tensor;

dm_status dm_gguf_open(dm_gguf **out, const char *path, dm_error *err);
/* The same of a model that may be split into files NAME-00001-of-0000N.gguf, of which path is the first: metadata are
 * its, tensors those of all parts. A part that is missing or another model's, and a path that is another part's, are
 * named. */
dm_status dm_gguf_open_whole(dm_gguf **out, const char *path, dm_error *err);
size_t dm_gguf_files(const dm_gguf *g);               /* 1, or the number of parts */
const char *dm_gguf_file(const dm_gguf *g, size_t i); /* its path */
/* Of the file; of several, over their hashes in order. */
dm_status dm_gguf_sha256(const dm_gguf *g, char hex[DM_SHA256_HEX], dm_error *err);
void dm_gguf_close(dm_gguf **g);
const char *dm_gguf_path(const dm_gguf *g);

size_t dm_gguf_count(const dm_gguf *g);
const dm_gguf_tensor *dm_gguf_at(const dm_gguf *g, size_t i); /* in the file's order */
const dm_gguf_tensor *dm_gguf_find(const dm_gguf *g, const char *name);

/* ---- metadata: `key` as in the file, "llama.block_count" ----
 * dm_gguf_has says whether it is there. A getter of an absent key, or of a key of another kind, fails with DM_ERR_INPUT
 * and names file, key, what is there and what is needed. Integers of every width are read as i64 when they fit. */
bool dm_gguf_has(const dm_gguf *g, const char *key);
dm_status dm_gguf_i64(const dm_gguf *g, const char *key, int64_t *out, dm_error *err);
dm_status dm_gguf_f64(const dm_gguf *g, const char *key, double *out, dm_error *err); /* f32, f64 or integer */
dm_status dm_gguf_bool(const dm_gguf *g, const char *key, bool *out, dm_error *err);
/* NUL-terminated, without NUL inside, valid UTF-8; lives until dm_gguf_close. */
dm_status dm_gguf_string(const dm_gguf *g, const char *key, const char **out, dm_error *err);

typedef struct dm_gguf_text {
    const char *data; /* valid until dm_gguf_close, not NUL-terminated */
    size_t size;
} dm_gguf_text;

/* Arrays are copied out; free(*out). */
dm_status dm_gguf_texts(const dm_gguf *g, const char *key, dm_gguf_text **out, size_t *n, dm_error *err);
dm_status dm_gguf_floats(const dm_gguf *g, const char *key, float **out, size_t *n, dm_error *err);
dm_status dm_gguf_ints(const dm_gguf *g, const char *key, int32_t **out, size_t *n, dm_error *err);

#endif
