/* What a tokenizer is made of, shared by its loader, trainer, writer and encoder. */
#ifndef DM_IO_TOKENIZER_INTERNAL_H
#define DM_IO_TOKENIZER_INTERNAL_H

#include "io/split.h"
#include "io/tokenizer.h"

#define DM_NO_TEXT UINT32_MAX /* offset of an id that no token has */
#define DM_NO_RANK UINT32_MAX /* rank of a pair that does not merge */
#define DM_TOKENS_MAX ((size_t)1 << 22)
#define DM_STAGES_MAX 8

/* dm_tokenizer.flags */
enum {
    DM_TOKEN_VOCAB = 1, /* in the model's vocabulary, so that BPE can produce it */
    DM_TOKEN_ADDED = 2,
    DM_TOKEN_SPECIAL = 4
};

typedef struct dm_merge {
    int32_t left, right, id;
} dm_merge;

typedef struct dm_added_token {
    uint32_t offset, size; /* in dm_tokenizer.text, of the text it matches */
    int32_t id;
    bool lstrip, rstrip, single_word;
    bool normalized; /* matched in normalized text, after those that are not */
} dm_added_token;

struct dm_tokenizer {
    /* the tokens: texts as written in tokenizer.json, NUL-terminated, one behind the other */
    char *text;
    size_t text_size, text_capacity;
    uint32_t *offset; /* [capacity] of each id, or DM_NO_TEXT */
    uint8_t *flags;   /* [capacity] */
    size_t size, capacity;
    uint32_t *token_slots; /* hash of the texts: id + 1, 0 free; a power of two of them */
    size_t token_mask;

    dm_merge *merges; /* by rank */
    size_t n_merges, merges_capacity;
    uint32_t *merge_slots; /* hash of (left, right): rank + 1, 0 free */
    size_t merge_mask;

    dm_added_token *added; /* n_raw of them matched in raw text, then the normalized; each part by text */
    size_t n_raw, n_added;

    int32_t byte_id[256]; /* -1: the vocabulary lacks the byte */
    bool ignore_merges;   /* a word that is a token is not merged from its bytes */
    bool nfc;
    size_t n_stages; /* patterns that cut the text one after the other */
    dm_pattern stages[DM_STAGES_MAX];
    size_t prefix_stage;  /* before this stage a missing leading space is put in; SIZE_MAX: never */
    bool prefix_pattern;  /* the last stage belongs to ByteLevel (use_regex), for the writer */
    char *post_processor; /* JSON text, written back as it came; NULL: none */
};

/* An empty tokenizer with room for ids below `tokens`, `text` bytes of token text (NULs included) and so on. */
dm_status dm_tokenizer_create(dm_tokenizer **out, size_t tokens, size_t text, size_t merges, size_t added,
                              dm_error *err);
/* Adds a token (room was asked for), or flags to the token of that id. False: the id has another text already, or the
 * text another id. */
bool dm_tokenizer_add(dm_tokenizer *t, int32_t id, const char *text, size_t size, uint8_t flags);
/* The id of a text, or -1. */
int32_t dm_tokenizer_find(const dm_tokenizer *t, const char *text, size_t size);
/* Room for so many merges in all (at least those there are). */
dm_status dm_tokenizer_reserve_merges(dm_tokenizer *t, size_t merges, dm_error *err);
/* False: the pair merges already. */
bool dm_tokenizer_add_merge(dm_tokenizer *t, int32_t left, int32_t right, int32_t id);
/* Rank of a pair, or DM_NO_RANK. */
uint32_t dm_tokenizer_rank(const dm_tokenizer *t, int32_t left, int32_t right);
/* Gives back what was asked for and is not used, fills byte_id and sorts `added`: the tokenizer is complete. */
void dm_tokenizer_finish(dm_tokenizer *t);

uint64_t dm_tokenizer_hash(const void *bytes, size_t size);

/* The printable character that stands for a byte in token texts, and back (-1: it stands for none). */
uint32_t dm_byte_to_code(unsigned char byte);
int dm_code_to_byte(uint32_t code);

#endif
