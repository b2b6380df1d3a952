/* Models written in the forms that others read, from a source of any form. Weights come one tensor at a time: the
 * largest is what is in memory. Files appear whole or not at all; an existing one is replaced with `overwrite` only
 * (core/files/output.h). */
#ifndef DM_MODEL_FORMATS_WRITE_H
#define DM_MODEL_FORMATS_WRITE_H

#include "model/formats/loaded_model.h"

/* Gives each tensor whole, in f32, by Hugging Face's name. */
typedef struct dm_weight_reader {
    dm_status (*read)(void *context, const char *name, float *out, dm_error *err);
    void *context;
} dm_weight_reader;

dm_weight_reader dm_weight_reader_of_source(const dm_source *s);

/* Configuration, tokenizer and template are the source's; hex (optional) receives the SHA-256 of the weights' file. */

/* A Hugging Face directory; type: F32, F16 or BF16. */
dm_status dm_write_hf(const char *dir, bool overwrite, const dm_source *s, dm_weight_reader w, dm_dtype type,
                      char hex[DM_SHA256_HEX], dm_error *err);

/* A GGUF file. type: of matrices, F32, F16, BF16 or Q8_0 (F16 where a row is not a multiple of 32); vectors are F32. */
dm_status dm_write_gguf(const char *path, bool overwrite, const dm_source *s, dm_weight_reader w, dm_dtype type,
                        char hex[DM_SHA256_HEX], dm_error *err);

/* A LoRA adapter, without its base, as `llama.cpp --lora` reads it; type as above. The adapter's values must have been
 * read. The scale is alpha / rank there: a rank-stabilised adapter gets the alpha that makes it so. */
dm_status dm_write_gguf_adapter(const char *path, bool overwrite, const dm_loaded_model *m, dm_dtype type,
                                char hex[DM_SHA256_HEX], dm_error *err);

/* What both write: llama.cpp's number for what most of a file's tensors are; the refusal of a model that has no form
 * there. */
uint32_t dm_gguf_file_type(dm_dtype type);
dm_status dm_gguf_check_form(const dm_source *s, dm_error *err);

/* A llama2.c file of version 0 or 1, and tokenizer.bin beside it (the same one may be there already). A tokenizer that
 * has no such form is left out: *no_tokenizer. What the format cannot say of the model (another eps or theta, biases,
 * ...) is DM_ERR_UNSUPPORTED. */
dm_status dm_write_llama2c(const char *path, bool overwrite, const dm_source *s, dm_weight_reader w, int version,
                           bool *no_tokenizer, char hex[DM_SHA256_HEX], dm_error *err);

#endif
