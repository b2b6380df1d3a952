/* The patterns that split text into words before BPE, as hand-written scanners. */
#ifndef DM_IO_TOKENIZER_SPLIT_H
#define DM_IO_TOKENIZER_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum dm_pattern {
    DM_PATTERN_GPT2,
    DM_PATTERN_LLAMA3,       /* also OpenAI's cl100k: up to three digits per word */
    DM_PATTERN_QWEN2,        /* one digit per word */
    DM_PATTERN_LLAMA3_ASCII, /* 's spelled '[sS]: unlike (?i:'s), it does not match U+017F, the long s */
    DM_PATTERN_QWEN2_ASCII,
    DM_PATTERN_DIGIT,  /* every digit alone, the text between them whole */
    DM_PATTERN_DIGITS, /* runs of digits, the text between them whole */
    DM_PATTERN_COUNT
} dm_pattern;

/* The regex as in tokenizer.json (NULL for the last two, which are a pre-tokenizer of their own). */
const char *dm_pattern_regex(dm_pattern pattern);
/* The pattern that a regex of tokenizer.json means, or false. */
bool dm_pattern_recognise(const char *regex, dm_pattern *out);

/* End of the word of s[0..n) that begins at `begin` < n. s is valid UTF-8 and `begin` an earlier end, or 0. */
size_t dm_pattern_next(dm_pattern pattern, const char *s, size_t n, size_t begin);

#endif
