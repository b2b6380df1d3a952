/* BPE tokenizers in third-party formats: encode, decode, train, read, write (docs/tokenizers.md). */
#ifndef DM_IO_TOKENIZER_TOKENIZER_H
#define DM_IO_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "io/gguf.h"
#include "io/json.h"

typedef struct dm_tokenizer dm_tokenizer;

/* path: a tokenizer.json, a SentencePiece model (its name ends with ".model"), or a directory that holds
 * tokenizer.json or else tokenizer.model.
 * Supported in tokenizer.json: model BPE (vocab, merges as "a b" or ["a","b"], ignore_merges, unk_token, fuse_unk,
 * byte_fallback; no dropout, no continuing/end suffix); added_tokens with all their flags; post_processor is only kept.
 *   Byte-level: normalizer null or NFC, pre_tokenizer ByteLevel (add_prefix_space, use_regex) or a Sequence of
 *   Split(GPT-2, Llama-3/cl100k, Qwen2 regex)/Digits/ByteLevel, decoder ByteLevel.
 *   Llama-2's kind: normalizer null or a Sequence of NFC, Prepend and Replace, pre_tokenizer null or Metaspace, decoder
 *   Metaspace or a Sequence of Replace, ByteFallback, Fuse, Strip.
 * Of a SentencePiece model: type BPE, normalization identity, byte_fallback, add_dummy_prefix,
 * remove_extra_whitespaces. Anything else is DM_ERR_UNSUPPORTED naming the field and its value. */
dm_status dm_tokenizer_open(dm_tokenizer **out, const char *path, dm_error *err);
/* The tokenizer in a GGUF file: tokenizer.ggml.model "gpt2" (byte-level BPE; tokenizer.ggml.pre names how text is split
 * into words) or "llama" (SentencePiece's BPE). Others, and an unknown pre, are DM_ERR_UNSUPPORTED with their name. */
dm_status dm_tokenizer_from_gguf(dm_tokenizer **out, const dm_gguf *g, dm_error *err);
/* SentencePiece's tokenizer.model. */
dm_status dm_tokenizer_open_sentencepiece(dm_tokenizer **out, const char *path, dm_error *err);
/* llama2.c's tokenizer.bin; `vocabulary` is the model's, because the file does not say how many tokens it has. */
dm_status dm_tokenizer_open_llama2c(dm_tokenizer **out, const char *path, size_t vocabulary, dm_error *err);
/* Writes a tokenizer.bin. DM_ERR_UNSUPPORTED for tokenizers that the format cannot hold: byte-level ones, those unlike
 * Llama 2's SentencePiece tokenizer, and those of which a reader would have a token with another text. A tokenizer with
 * merges gets scores that keep their order. */
dm_status dm_tokenizer_write_llama2c(const dm_tokenizer *t, const char *path, dm_error *err);
/* The same, padded with empty tokens to a model's vocabulary, the number that readers expect. */
dm_status dm_tokenizer_write_llama2c_for(const dm_tokenizer *t, size_t vocabulary, const char *path, dm_error *err);
void dm_tokenizer_close(dm_tokenizer **t);

/* Number of ids: 1 + the largest id of vocab and added tokens. */
size_t dm_tokenizer_size(const dm_tokenizer *t);
/* Id of a token by its text as written in tokenizer.json (added tokens included), or -1. */
int32_t dm_tokenizer_id(const dm_tokenizer *t, const char *token);
/* Text of an id as written in tokenizer.json, or NULL. *special (optional) says if it is a special added token. */
const char *dm_tokenizer_token(const dm_tokenizer *t, int32_t id, bool *special);
/* Id of the unknown token, or -1. */
int32_t dm_tokenizer_unknown(const dm_tokenizer *t);

typedef struct dm_ids {
    int32_t *data; /* malloc'ed, grown as needed; dm_ids_free */
    size_t size, capacity;
} dm_ids;
void dm_ids_free(dm_ids *ids);
dm_status dm_ids_push(dm_ids *ids, int32_t id, dm_error *err);

/* Appends the ids of text[0..size) to *out. `special`: recognise special tokens inside the text; false: they are
 * ordinary text (the tokenizers library's encode_special_tokens), so that data can never forge a control token. Added
 * tokens that are not special, such as <think> of Qwen3, are recognised always. The text must be valid
 * UTF-8 (DM_ERR_INPUT with the byte offset otherwise). A byte without a token in the vocabulary is left out, as in the
 * library (SmolLM2 lacks some control characters). Adds no BOS or EOS. */
dm_status dm_tokenizer_encode(const dm_tokenizer *t, const char *text, size_t size, bool special, dm_ids *out,
                              dm_error *err);
/* Where a text is. SentencePiece and similar tokenizers put a space before text that begins a conversation or follows
 * an added token, and none before text in the middle of other text. */
typedef enum dm_text_place { DM_TEXT_FIRST, DM_TEXT_BEHIND_TOKEN, DM_TEXT_INSIDE } dm_text_place;

/* As dm_tokenizer_encode without special tokens, for a part of a longer text. */
dm_status dm_tokenizer_encode_part(const dm_tokenizer *t, const char *text, size_t size, dm_text_place place,
                                   dm_ids *out, dm_error *err);

/* Bytes [begin, end) of a text. */
typedef struct dm_byte_range {
    size_t begin, end;
} dm_byte_range;

/* A text in which some bytes are data: special tokens are recognised outside of `data` ([n], ascending, disjoint), so
 * that data can never forge one. */
typedef struct dm_mixed_text {
    const char *text;
    size_t size;
    const dm_byte_range *data;
    size_t n_data;
    size_t watch;   /* where a special token ends, or SIZE_MAX; in: a byte */
    size_t watched; /* out: the ids up to that token's, or SIZE_MAX: none ends there */
} dm_mixed_text;

/* Appends the ids of x to *ids. *place: where it stands; then, where a text after it stands. */
dm_status dm_tokenizer_encode_mixed(const dm_tokenizer *t, dm_mixed_text *x, dm_text_place *place, dm_ids *ids,
                                    dm_error *err);

/* Appends the bytes of ids to *out (special tokens left out when skip_special). Bytes that are not valid UTF-8 on their
 * own are kept as they are: tokens are bytes. An id out of range is DM_ERR_ARGUMENT. */
dm_status dm_tokenizer_decode(const dm_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, dm_text *out,
                              dm_error *err);
/* Narrows the decoded text of leading ids: without the space that encoding put before it. */
void dm_tokenizer_trim(const dm_tokenizer *t, const char **text, size_t *size);
/* Whether encoding puts a space before text that follows an added token. */
bool dm_tokenizer_prefixes(const dm_tokenizer *t);

typedef enum dm_word_split { DM_WORD_SPLIT_GPT2, DM_WORD_SPLIT_LLAMA3, DM_WORD_SPLIT_QWEN2 } dm_word_split;

/* Trains byte-level BPE (Sennrich et al. 2016): the 256 bytes, then merges of the most frequent pair (ties: the pair
 * whose (left, right) token ids are smallest) until `vocabulary` ids, special tokens first, are reached or no pair
 * occurs min_frequency times. Same texts, same bytes out. The Qwen2 split implies Qwen2's normalisation (NFC):
 * transformers gives every qwen2 model both, whatever its tokenizer.json says. */
dm_status dm_tokenizer_train(dm_tokenizer **out, const char *const *texts, const size_t *sizes, size_t n,
                             size_t vocabulary, size_t min_frequency, dm_word_split split, bool split_digits,
                             const char *const *specials, size_t n_specials, dm_error *err);
/* Writes tokenizer.json into directory `dir` (created), loadable by the tokenizers library with equal results. */
dm_status dm_tokenizer_save(const dm_tokenizer *t, const char *dir, dm_error *err);

#endif
