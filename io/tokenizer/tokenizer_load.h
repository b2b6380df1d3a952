/* What the reader of tokenizer.json (tokenizer_load.c, tokenizer_pipeline.c) passes along. */
#ifndef DM_IO_TOKENIZER_TOKENIZER_LOAD_H
#define DM_IO_TOKENIZER_TOKENIZER_LOAD_H

#include "io/tokenizer/tokenizer_internal.h"

typedef struct dm_tokenizer_loader {
    const dm_json_doc *doc;
    const dm_json *model, *vocab, *merges, *added;
    dm_tokenizer *t;
    dm_error *err;
} dm_tokenizer_loader;

/* Refuses `v`, which is valid but not supported. */
dm_status dm_load_unsupported(const dm_tokenizer_loader *l, const dm_json *v, const char *what);
/* Refuses an object whose "type" is unknown. */
dm_status dm_load_unsupported_type(const dm_tokenizer_loader *l, const dm_json *v, const char *what, const char *known);
bool dm_load_is_null(const dm_json *v);  /* or not there */
bool dm_load_is_empty(const dm_json *v); /* or "" */
dm_status dm_load_flag(const dm_tokenizer_loader *l, const dm_json *v, const char *key, bool fallback, bool *out);

/* Normalizer, pre-tokenizer and decoder, and with them what kind of BPE it is. */
dm_status dm_load_pipeline(dm_tokenizer_loader *l);

#endif
