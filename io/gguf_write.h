/* GGUF files, version 3, alignment 32: metadata in the given order, then tensors one at a time. */
#ifndef DM_IO_GGUF_WRITE_H
#define DM_IO_GGUF_WRITE_H

#include <stdbool.h>

#include "core/sha256.h"
#include "io/gguf.h"
#include "io/json.h"
#include "core/numbers/narrow.h"
#include "io/tokenizer/tokenizer.h"

typedef struct dm_gguf_meta {
    dm_text bytes; /* the pairs as in the file; `failed` is sticky */
    uint64_t n;
} dm_gguf_meta;

void dm_gguf_meta_free(dm_gguf_meta *m);
void dm_gguf_put_u32(dm_gguf_meta *m, const char *key, uint32_t x);
void dm_gguf_put_f32(dm_gguf_meta *m, const char *key, float x);
void dm_gguf_put_bool(dm_gguf_meta *m, const char *key, bool x);
void dm_gguf_put_string(dm_gguf_meta *m, const char *key, const char *text, size_t size);
void dm_gguf_put_i32s(dm_gguf_meta *m, const char *key, const int32_t *x, size_t n);
void dm_gguf_put_f32s(dm_gguf_meta *m, const char *key, const float *x, size_t n);
/* Begins an array of n strings; n calls of dm_gguf_put_text follow. */
void dm_gguf_put_texts(dm_gguf_meta *m, const char *key, size_t n);
void dm_gguf_put_text(dm_gguf_meta *m, const char *text, size_t size);
/* Copies every pair of g whose key begins with `prefix`. */
void dm_gguf_put_from(dm_gguf_meta *m, const dm_gguf *g, const char *prefix);
void dm_gguf_put_pair(dm_gguf_meta *m, const dm_gguf *g, const char *key); /* copies only this one */

typedef struct dm_gguf_out {
    char name[96];
    dm_dtype type; /* F32, F16, BF16 or Q8_0 */
    unsigned dims;
    uint64_t shape[2]; /* GGUF's order: the row length first */
} dm_gguf_out;

/* Writes one file atomically; reads each tensor once, in order, and converts it. A number that is not finite in
 * the stored type is DM_ERR_NONFINITE. The same input gives the same bytes. hex (optional) receives the SHA-256. */
dm_status dm_gguf_write(const char *path, bool overwrite, const dm_gguf_meta *m, const dm_gguf_out *tensors, size_t n,
                        dm_tensor_read read, void *context, char hex[DM_SHA256_HEX], dm_error *err);

/* Puts the pairs that hold a tokenizer, its list padded to `vocabulary` tokens; bos (or -1) is the token that readers
 * may put before a text. What GGUF cannot express is DM_ERR_UNSUPPORTED. */
dm_status dm_tokenizer_to_gguf(dm_gguf_meta *m, const dm_tokenizer *t, size_t vocabulary, int32_t bos, dm_error *err);

#endif
