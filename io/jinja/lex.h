/* A template's source as tokens: text, and what stands inside of {{ }} and {% %}.
 *
 * White space is dealt with here, as jinja2 does with trim_blocks and lstrip_blocks, which transformers sets: a line
 * end after a block is dropped, and so is white space before a block that begins its line; - beside a delimiter takes
 * all white space there, + keeps it. Comments and {% raw %} are gone. */
#ifndef DM_IO_JINJA_LEX_H
#define DM_IO_JINJA_LEX_H

#include "io/jinja/value.h"

typedef enum jinja_token_kind {
    JINJA_T_TEXT,      /* outside of tags */
    JINJA_T_PRINT,     /* {{ */
    JINJA_T_PRINT_END, /* }} */
    JINJA_T_BLOCK,     /* {% */
    JINJA_T_BLOCK_END, /* %} */
    JINJA_T_NAME,
    JINJA_T_STRING, /* text, its escapes resolved */
    JINJA_T_INT,
    JINJA_T_FLOAT,
    JINJA_T_OPERATOR, /* text: + - * / // % ** ~ [ ] ( ) { } == != > >= < <= = . : | , ; */
    JINJA_T_END
} jinja_token_kind;

typedef struct jinja_token {
    jinja_token_kind kind;
    uint32_t line; /* from 1 */
    const char *text;
    size_t size;
    int64_t integer;
    double number;
} jinja_token;

typedef struct jinja_tokens {
    jinja_token *items; /* [n], the last one is JINJA_T_END; malloc'ed */
    size_t n, capacity;
} jinja_tokens;

/* Texts lie in the arena. An error names the line. tokens->items is freed by the caller, on failure, too. */
dm_status jinja_lex(jinja_tokens *tokens, jinja_arena *arena, const char *source, size_t size, dm_error *err);

/* White space as Python's str has it; n bytes at s, valid UTF-8. Bytes of it that s begins (or ends) with. */
size_t jinja_space_left(const char *s, size_t n);
size_t jinja_space_right(const char *s, size_t n);

#endif
