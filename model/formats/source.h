/* A model as others stored it, whatever the form: a Hugging Face directory, a GGUF file, a llama2.c .bin file. Names
 * and shapes are Hugging Face's for all three; the q and k rows of GGUF's llama architecture and of llama2.c are put
 * back into the order of Hugging Face's rotate-half RoPE. */
#ifndef DM_MODEL_FORMATS_SOURCE_H
#define DM_MODEL_FORMATS_SOURCE_H

#include "core/numbers/dtype.h"
#include "core/sha256.h"
#include "io/data/template.h"
#include "model/network/config.h"
#include "model/network/params.h"

typedef enum dm_source_kind { DM_SOURCE_HF, DM_SOURCE_GGUF, DM_SOURCE_LLAMA2C } dm_source_kind;

/* What a regular file looks like by its first bytes, however broken: DM_SOURCE_GGUF, DM_SOURCE_LLAMA2C or -1. */
int dm_source_file_kind(const char *path);

typedef struct dm_source dm_source;

/* Recognised by what is there, not by the name's end: a directory with config.json; a file that begins with "GGUF"; a
 * file with a plausible llama2.c header; a directory with adapter_config.json is a LoRA adapter, and all but
 * dm_source_adapter and dm_source_sha256 speaks of the base that it names. Anything else is one line that says what was
 * found and what would be right. Reads and checks the configuration and the list of tensors (names, shapes, none
 * missing, none unknown). */
dm_status dm_source_open(dm_source **out, const char *path, dm_error *err);
/* The same, with an adapter's base at `base` instead of where the adapter says; NULL: there. A path that is no adapter
 * is refused beside a base. */
dm_status dm_source_open_on(dm_source **out, const char *path, const char *base, dm_error *err);
void dm_source_close(dm_source **s);

dm_source_kind dm_source_kind_of(const dm_source *s);
const char *dm_source_path(const dm_source *s); /* of the base, where there is an adapter */
/* The paths that a writer must not replace: more than dm_source_path's where a GGUF file has parts. */
size_t dm_source_files(const dm_source *s);
const char *dm_source_file(const dm_source *s, size_t i);
const char *dm_source_adapter(const dm_source *s); /* its directory; NULL: none */
const dm_config *dm_source_config(const dm_source *s);
/* The stored type of a tensor by its Hugging Face name. */
dm_dtype dm_source_type(const dm_source *s, const char *name);

/* Reads a tensor as f32 (exactly as core/numbers/dtype.h says), out [count]. NaN and infinity name the tensor. */
dm_status dm_source_read_f32(const dm_source *s, const char *name, float *out, dm_error *err);
/* Reads a tensor's rows as they are stored (F16, BF16 or blocks, rows in Hugging Face's order), out
 * [rows * dm_dtype_bytes(type, cols)]. Scales that are NaN or infinite name the tensor. */
dm_status dm_source_read_stored(const dm_source *s, const char *name, void *out, dm_error *err);

/* Tokenizer and chat template; *tokenizer NULL where there is none. chat NULL: only the tokenizer. template_name as for
 * dm_template_open. */
dm_status dm_source_tokenizer(const dm_source *s, dm_tokenizer **tokenizer, dm_chat_template *chat,
                              const dm_template_choice *choice, dm_error *err);
/* Whether the adapter's directory, and not the base's, says which chat template the model was trained with. */
bool dm_source_adapter_has_template(const dm_source *s);

/* SHA-256 that stands for configuration and weights: of a directory over the hashes of config.json and weight files, of
 * a file its own; with an adapter, over that of the base and those of the adapter's files. */
dm_status dm_source_sha256(const dm_source *s, char hex[DM_SHA256_HEX], dm_error *err);
dm_status dm_source_base_sha256(const dm_source *s, char hex[DM_SHA256_HEX], dm_error *err); /* without the adapter */

#endif
