/* What goes with the weights in a model directory, from a source of any form. */
#ifndef DM_MODEL_FORMATS_SIDECAR_H
#define DM_MODEL_FORMATS_SIDECAR_H

#include "model/formats/source.h"

/* Writes dir/config.json for weights of this type (F32, F16, BF16): of a directory every key is kept. */
dm_status dm_sidecar_config(const dm_source *s, dm_dtype stored, const char *dir, dm_error *err);

/* Writes the tokenizer and its configuration with the chat template: of a directory the files as they are, else
 * new tokenizer.json and tokenizer_config.json, the template's text as the source has it. `chat` (may be NULL) is
 * written where the source has no template, and where a user chose it: then the files that dm_sidecar_config wrote, the
 * tokenizer's and generation_config.json name its end of turn as an end, too. */
dm_status dm_sidecar_tokenizer(const dm_source *s, const dm_chat_template *chat, const char *dir, dm_error *err);

/* The text of the chat template; nothing where there is none. */
dm_status dm_sidecar_template(const dm_source *s, dm_text *out, dm_error *err);

#endif
