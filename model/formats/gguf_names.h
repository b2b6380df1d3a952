/* How GGUF names what Hugging Face names otherwise, for reading and writing. */
#ifndef DM_MODEL_FORMATS_GGUF_NAMES_H
#define DM_MODEL_FORMATS_GGUF_NAMES_H

#include "model/network/params.h"

#define DM_GGUF_ROPE_FACTORS "rope_freqs.weight" /* llama3 scaling: what each inverse frequency is divided by */
#define DM_GGUF_ROPE_ORIGINAL "rope.scaling.original_context_length"

/* GGUF's name of a tensor of the layout. */
void dm_gguf_name(char out[DM_TENSOR_NAME], const char *name);

/* The heads in which GGUF has the rows of this tensor (Hugging Face's name) in RoPE's pairs; 0: as they are. GGML turns
 * pairs of neighbours for the llama architecture, halves for qwen2 and qwen3. */
unsigned dm_gguf_paired_heads(const dm_config *c, const char *name);

#endif
