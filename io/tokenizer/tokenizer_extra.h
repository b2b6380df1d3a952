/* Tokens that a model's directory adds to its tokenizer.model: added_tokens.json, and added_tokens_decoder of
 * tokenizer_config.json, which has their flags. */
#ifndef DM_IO_TOKENIZER_TOKENIZER_EXTRA_H
#define DM_IO_TOKENIZER_TOKENIZER_EXTRA_H

#include "io/tokenizer/tokenizer_internal.h"

typedef struct dm_extra_token {
    const char *text; /* lives as long as the list */
    size_t size;
    int32_t id;
    bool special, lstrip, rstrip, single_word, normalized;
    const dm_json_doc *doc; /* where it stands, for messages */
    const dm_json *at;
} dm_extra_token;

typedef struct dm_extra_tokens {
    dm_extra_token *token; /* [n], no id twice */
    size_t n;
    dm_prefix prefix; /* where a space is put before text, by tokenizer_config.json's legacy and add_prefix_space */
    dm_json_doc *added, *config, *special; /* the files; NULL: not there */
} dm_extra_tokens;

/* Of the directory that the file `model` is in; empty where it has neither list. dm_extra_tokens_free in any case. */
dm_status dm_extra_tokens_read(dm_extra_tokens *out, const char *model, dm_error *err);
void dm_extra_tokens_free(dm_extra_tokens *e);

#endif
