/* A SentencePiece vocabulary, however it is stored: tokenizer.model, GGUF, llama2.c's tokenizer.bin. */
#ifndef DM_IO_TOKENIZER_TOKENIZER_PIECES_H
#define DM_IO_TOKENIZER_TOKENIZER_PIECES_H

#include "io/tokenizer/tokenizer_extra.h"

/* Numbered as SentencePiece and GGUF do. */
typedef enum dm_piece_type {
    DM_PIECE_NORMAL = 1,
    DM_PIECE_UNKNOWN,
    DM_PIECE_CONTROL,
    DM_PIECE_USER,
    DM_PIECE_UNUSED,
    DM_PIECE_BYTE
} dm_piece_type;

#define DM_PIECE_MAX 4096 /* bytes */

typedef struct dm_piece {
    const char *text;
    size_t size;
    float score;
    int type;
} dm_piece;

typedef struct dm_piece_rules {
    bool prefix;          /* a space before the text */
    bool squeeze;         /* extra white space is removed */
    bool byte_fallback;   /* needs the 256 byte pieces */
    bool user_normalized; /* user-defined pieces are found in normalized text (SentencePiece), else in raw text */
    int32_t bos;          /* that readers put before a text, or -1 */
    const dm_extra_tokens *extra; /* added to the pieces; NULL: none */
} dm_piece_rules;

/* `file` and `list` begin messages: "FILE: LIST[7] ...". An empty piece, which GGUF may have, is not a token. */
dm_status dm_tokenizer_from_pieces(dm_tokenizer **out, const dm_piece *pieces, size_t n, const dm_piece_rules *rules,
                                   const char *file, const char *list, dm_error *err);

/* The post_processor of tokenizer.json that puts `bos` before a text. */
dm_status dm_tokenizer_set_bos(dm_tokenizer *t, int32_t bos, dm_error *err);

#endif
