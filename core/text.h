/* A string that grows, and numbers as text: the same in every locale. */
#ifndef DM_CORE_TEXT_H
#define DM_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

typedef struct dm_text { /* zeroed: empty. data is NUL-terminated once something was added; dm_text_free frees it */
    char *data;
    size_t size, capacity; /* bytes, without the NUL */
    bool failed;           /* memory ran out: sticky, so that a caller checks once, at the end */
} dm_text;

void dm_text_free(dm_text *t); /* leaves an empty text; NULL is fine */
void dm_text_add(dm_text *t, const char *bytes, size_t size);
/* Takes printf's formats except floating-point ones, whose decimal point depends on the locale: see dm_double_text. */
void dm_text_print(dm_text *t, const char *fmt, ...) DM_PRINTF(2, 3);

#define DM_DOUBLE_TEXT 40
/* Shortest of 15 to 17 digits that reads back to x, with a '.' in any locale; "inf", "-inf", "nan". */
void dm_double_text(char buf[DM_DOUBLE_TEXT], double x);

/* Shortest of 6 to 9 digits that reads back to x as a double that is narrowed. */
void dm_float_text(char buf[DM_DOUBLE_TEXT], float x);

/* "%a" of a finite x: exact, with a '.' in any locale; 0 and subnormals as the GNU C library writes them. */
void dm_double_hex(char buf[DM_DOUBLE_TEXT], double x);

#define DM_FIXED_TEXT 352
/* "%.*f" of x with a '.' in any locale, 0 to 9 decimals. */
void dm_fixed_text(char buf[DM_FIXED_TEXT], double x, int decimals);

/* strtod with a '.' in any locale. *end is where the number ends: `text` itself if there is no number. */
double dm_double_parse(const char *text, const char **end);

#endif
