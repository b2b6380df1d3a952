/* How GGUF names what Hugging Face names otherwise, for reading and writing. */
#ifndef DM_MODEL_FORMATS_GGUF_NAMES_H
#define DM_MODEL_FORMATS_GGUF_NAMES_H

#include "model/network/params.h"

#define DM_GGUF_ROPE_FACTORS "rope_freqs.weight" /* llama3 scaling: what each inverse frequency is divided by */
#define DM_GGUF_ROPE_ORIGINAL "rope.scaling.original_context_length"

#define DM_GGUF_LOCAL_BASE "rope.freq_base_swa" /* Gemma 3: base of RoPE in windowed layers */

/* GGUF's name for an architecture; "llama" for mistral, which it does not tell apart. */
const char *dm_gguf_arch(const dm_config *c);

/* GGUF's name of a tensor of the layout. */
void dm_gguf_name(char out[DM_TENSOR_NAME], const dm_config *c, const char *name);

/* GGUF holds 1 + the tensor: Gemma 3's norms. */
bool dm_gguf_is_offset(const dm_config *c, const dm_tensor *t);

/* The heads in which GGUF has the rows of this tensor (Hugging Face's name; a bias is one column) in RoPE's pairs; 0:
 * as they are. GGML turns pairs of neighbours for llama and smollm3, halves for the others. */
unsigned dm_gguf_paired_heads(const dm_config *c, const char *name);

/* x [rows, cols] from Hugging Face's order of rows, halves, to RoPE's pairs. head: room for [rows / heads, cols]. */
void dm_gguf_pair_rows(float *x, size_t rows, size_t cols, size_t heads, float *head);

#endif
