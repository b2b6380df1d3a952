/* llama2.c's .bin files: the header, and the order of the tensors in versions 0 and 1.
 *
 *   version 0   7 int32: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size (negative: the head is not the
 *               embedding), seq_len; then f32 tensors and, before the head, two tables of RoPE angles that readers skip
 *   version 1   "24ka", int32 version, the 7 int32 (vocab_size positive), a byte: shared head; zeros to byte 256;
 *               then f32 tensors
 *
 * Rows of q and k are in RoPE's pairs (2i, 2i + 1). The rest of the configuration is fixed: theta 10000, eps 1e-5. */
#ifndef DM_MODEL_FORMATS_LLAMA2C_H
#define DM_MODEL_FORMATS_LLAMA2C_H

#include <stdbool.h>

#include "core/error.h"
#include "core/files/input.h"
#include "core/files/path.h"
#include "model/network/params.h"

#define DM_LLAMA2C_EPS 1e-5
#define DM_LLAMA2C_THETA 10000.0
#define DM_LLAMA2C_MAGIC "24ka" /* 0x616b3432, little-endian */
#define DM_LLAMA2C_HEADER ((size_t)256)

/* Opens the file and reads its first bytes, *size of them: enough to tell what it is. */
dm_status dm_llama2c_head(dm_input *in, unsigned char head[DM_LLAMA2C_HEADER], size_t *size, const char *path,
                          dm_error *err);

/* What the header says: *version, the configuration and where the tensors begin. *known: it is the header of such a
 * file, however broken; false (and DM_OK): nothing points to one. head: the first DM_LLAMA2C_HEADER bytes, or all of a
 * shorter file's. */
dm_status dm_llama2c_header(dm_config *out, int *version, size_t *begin, bool *known, const unsigned char *head,
                            size_t size, const char *path, dm_error *err);

#define DM_LLAMA2C_ANGLES ((size_t)-1)

/* The tensors in the file's order, by their index in the layout, DM_LLAMA2C_ANGLES for the two tables together;
 * out [layout->n + 1]. Returns how many. */
size_t dm_llama2c_order(size_t *out, const dm_param_layout *layout, const dm_config *c, int version);

/* Where the tokenizer of the model at `path` is: tokenizer.bin beside it. */
dm_status dm_llama2c_tokenizer_path(dm_path *out, const char *path, dm_error *err);

#endif
