/* What a tokenizer is made of, shared by its loader, trainer, writer and encoder. */
#ifndef DM_IO_TOKENIZER_TOKENIZER_INTERNAL_H
#define DM_IO_TOKENIZER_TOKENIZER_INTERNAL_H

#include "core/hash.h"
#include "io/tokenizer/added.h"
#include "io/tokenizer/split.h"
#include "io/tokenizer/tokenizer.h"

#define DM_NO_TEXT UINT32_MAX /* offset of an id that no token has */
#define DM_NO_RANK UINT32_MAX /* rank of a pair that does not merge */
#define DM_TOKENS_MAX ((size_t)1 << 22)
#define DM_STAGES_MAX 8

#define DM_SPACE "\xE2\x96\x81" /* U+2581, a space in the tokens of SentencePiece */
#define DM_SPACE_SIZE (sizeof DM_SPACE - 1)

/* dm_tokenizer.flags */
enum {
    DM_TOKEN_VOCAB = 1, /* in the model's vocabulary, so that merges can produce it */
    DM_TOKEN_ADDED = 2,
    DM_TOKEN_SPECIAL = 4,
    DM_TOKEN_PIECE = 8,  /* of DM_BPE_SCORES: what pieces may be joined to */
    DM_TOKEN_UNUSED = 16 /* and taken apart again at the end */
};

/* What a word is made of at first, and which neighbours are joined next. */
typedef enum dm_bpe_kind {
    DM_BPE_BYTES,      /* bytes, written as printable characters; the merge that stands first in the list */
    DM_BPE_CHARACTERS, /* characters, or the bytes of those without a token; the same */
    DM_BPE_SCORES      /* the same; those that give the token with the highest score (SentencePiece) */
} dm_bpe_kind;

typedef enum dm_prefix { DM_PREFIX_NEVER, DM_PREFIX_FIRST, DM_PREFIX_ALWAYS } dm_prefix;

typedef struct dm_bpe_merge {
    int32_t left, right, id;
} dm_bpe_merge;

typedef struct dm_added_token {
    uint32_t offset, size; /* in dm_tokenizer.text, of the text it matches */
    int32_t id;
    bool lstrip, rstrip, single_word;
    bool normalized; /* matched in normalized text, after those that are not */
} dm_added_token;

struct dm_tokenizer {
    /* the tokens: texts as written in tokenizer.json, NUL-terminated, one after another */
    char *text;
    size_t text_size, text_capacity;
    uint32_t *offset; /* [capacity] of each id, or DM_NO_TEXT */
    uint8_t *flags;   /* [capacity] */
    size_t size, capacity;
    uint32_t *token_slots; /* hash of the texts: id + 1, 0 free; a power of two of them */
    size_t token_mask;
    dm_hash_key key; /* of both tables */

    dm_bpe_merge *merges; /* by rank */
    size_t n_merges, merges_capacity;
    uint32_t *merge_slots; /* hash of (left, right): rank + 1, 0 free */
    size_t merge_mask;

    dm_added_token *added; /* in the order of the list they come from */
    size_t n_added;
    dm_added_index raw, normal; /* those matched in raw text, then those matched in normalized text */

    dm_bpe_kind bpe;
    int32_t byte_id[256]; /* -1: the vocabulary lacks the byte */
    bool ignore_merges;   /* a word that is a token is not merged from its parts */
    bool byte_fallback;   /* a character without a token becomes its bytes, else `unknown` */
    bool fuse_unknown;    /* a run of unknown characters is one token */
    int32_t unknown;      /* -1: unknown characters are left out */
    float *scores;        /* [size], DM_BPE_SCORES */
    size_t longest;       /* bytes of the longest DM_TOKEN_PIECE */
    bool has_unused;

    /* normalization, in this order */
    bool nfc;
    bool squeeze; /* spaces at both ends go, runs of them become one */
    bool prepend; /* DM_SPACE before text that is not empty */
    bool replace; /* spaces become DM_SPACE */

    /* how text is cut into words */
    bool metaspace; /* spaces become DM_SPACE, and one precedes the text as `metaspace_prefix` says */
    bool metaspace_split;
    dm_prefix metaspace_prefix;
    size_t n_stages; /* patterns that cut the text one after the other */
    dm_pattern stages[DM_STAGES_MAX];
    size_t prefix_stage;  /* before this stage a missing leading space is put in; SIZE_MAX: never */
    bool prefix_pattern;  /* the last stage belongs to ByteLevel (use_regex), for the writer */
    char *post_processor; /* JSON text, written back as it came; NULL: none */

    /* decoding of what is not DM_BPE_BYTES */
    uint32_t *decoded; /* [capacity] 1 + offset of what an added token matched, where that is not its text; or NULL */
    bool decode_bytes; /* <0x0A> is a byte */
    bool decode_metaspace; /* the decoder is Metaspace, for the writer */
    bool strip;            /* a space at the beginning is the one that encoding put there */
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
/* Gives back what was asked for and is not used, fills byte_id and the indexes of `added`: the tokenizer is
 * complete. */
dm_status dm_tokenizer_finish(dm_tokenizer *t, dm_error *err);

/* Text as the vocabulary has it: *out malloc'ed, or NULL when that is the text itself. */
dm_status dm_tokenizer_normalize(const dm_tokenizer *t, const char *text, size_t size, dm_text_place place, char **out,
                                 size_t *out_size, dm_error *err);
/* The same with its spaces marked, and one before it when `prefix`. *out is malloc'ed. */
dm_status dm_mark_spaces(const char *text, size_t size, bool prefix, char **out, size_t *out_size, dm_error *err);

/* A token matched in normalized text is normalized itself. Bytes of text that an added token asks for: itself, and its
 * normal form, at most three times as long with a space before it. */
#define DM_ADDED_ROOM(size) (5 * (size) + DM_SPACE_SIZE + 1)
dm_status dm_tokenizer_normal_form(dm_tokenizer *t, dm_added_token *a, dm_error *err);

/* The merges of a DM_BPE_SCORES in order, as transformers converts SentencePiece's; free(*out). */
dm_status dm_tokenizer_ranked(const dm_tokenizer *t, dm_bpe_merge **out, size_t *n, dm_error *err);

/* ---- words to ids (tokenizer_bpe.c) ---- */

typedef struct dm_symbol dm_symbol;

typedef struct dm_bpe {
    const dm_tokenizer *t;
    dm_ids *out;
    dm_error *err;
    dm_symbol *symbols; /* [capacity] */
    uint64_t *heap;     /* [3 * capacity] rank << 32 | position: the lowest rank first, then the leftmost */
    size_t heap_size, capacity;
    int32_t *ids; /* [ids_capacity] of a word's parts */
    size_t ids_capacity;
    uint32_t *split;             /* of each DM_TOKEN_UNUSED: bytes of its left half as it was joined last */
    struct dm_mixed_text *mixed; /* which bytes of the text are data; NULL: no matter */
    bool ends_with_token;        /* the text that was cut at tokens of raw text ended with one */
    bool unknown_last;           /* the last id is `unknown` and takes in the unknown characters that follow */
} dm_bpe;

/* Appends the ids of a word, 1 or more bytes of valid UTF-8, to *b->out. */
dm_status dm_bpe_word(dm_bpe *b, const char *s, size_t n);
void dm_bpe_close(dm_bpe *b);

/* The printable character that represents a byte in token texts, and back (-1: it represents none). */
uint32_t dm_byte_to_code(unsigned char byte);
int dm_code_to_byte(uint32_t code);
/* The byte that a token like <0x0A> represents, or -1. */
int dm_token_byte(const char *text, size_t size);

#endif
