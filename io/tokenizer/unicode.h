/* UTF-8, the character classes of tokenizer patterns, and normalization form C. */
#ifndef DM_IO_TOKENIZER_UNICODE_H
#define DM_IO_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* Decodes the character at s[0..n) and returns its bytes (1 to 4), or 0 when it is not valid UTF-8 (overlong forms,
 * surrogates and values over 10FFFF included) or n is 0. */
size_t dm_utf8_decode(const char *s, size_t n, uint32_t *code);
/* First byte of s[0..n) that is not part of a valid character; n if there is none. */
size_t dm_utf8_check(const char *s, size_t n);

/* As in the tokenizers library: \p{L}, \p{N}, \s and \w of its regexes, and what its Digits isolates. */
bool dm_is_letter(uint32_t code);
bool dm_is_number(uint32_t code);
bool dm_is_space(uint32_t code);
bool dm_is_word(uint32_t code);
bool dm_is_digit(uint32_t code);

/* Normalization form C of valid UTF-8, as the tokenizers library computes it. *out is malloc'ed, or NULL when the
 * text has no character that normalization could change: then it is its own normal form. */
dm_status dm_nfc(const char *text, size_t size, char **out, size_t *out_size, dm_error *err);

#endif
