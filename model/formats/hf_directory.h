/* A model's directory, except the weights: tokenizer, chat template, hash. */
#ifndef DM_MODEL_FORMATS_HF_DIRECTORY_H
#define DM_MODEL_FORMATS_HF_DIRECTORY_H

#include "core/sha256.h"
#include "io/data/template.h"
#include "model/network/config.h"

/* The tokenizer and chat template of a model directory, NULL without a tokenizer.json. chat NULL: only the
 * tokenizer. */
dm_status dm_hf_directory_tokenizer(dm_tokenizer **tokenizer, dm_chat_template *chat, const dm_config *config,
                                    const char *dir, const dm_template_choice *choice, dm_error *err);

/* SHA-256 over the hashes of a model directory's config.json and weight files. */
dm_status dm_hf_directory_sha256(const char *dir, char hex[DM_SHA256_HEX], dm_error *err);

#endif
