/* Text by its characters, as Python counts them, and the changes of case that are known: ASCII's. */
#ifndef DM_IO_JINJA_CHARACTERS_H
#define DM_IO_JINJA_CHARACTERS_H

#include "io/jinja/value.h"

#define JINJA_NOT_FOUND SIZE_MAX

/* Positions are bytes; strings are valid UTF-8. */
size_t jinja_characters(const jinja_string *s);
size_t jinja_character_at(const jinja_string *s, size_t index); /* index at most the number of characters */
size_t jinja_character_end(const jinja_string *s, size_t at);
size_t jinja_character_before(const jinja_string *s, size_t at);
size_t jinja_characters_before(const jinja_string *s, size_t at); /* how many characters end at or before it */

/* The first (last) place of `what` at or after `from` (that ends at or before `to`), or JINJA_NOT_FOUND. */
size_t jinja_find_bytes(const jinja_string *s, const jinja_string *what, size_t from);
size_t jinja_find_last(const jinja_string *s, const jinja_string *what, size_t to);

bool jinja_is_ascii(const jinja_string *s);

/* How many bytes at the left (right) of s are characters of `set`; NULL: white space. */
size_t jinja_strip_left(const jinja_string *s, const jinja_string *set);
size_t jinja_strip_right(const jinja_string *s, const jinja_string *set, size_t from);

/* Where a line's words end and where the next line begins, for Python's splitlines. false: no more lines. */
bool jinja_line(const jinja_string *s, size_t at, size_t *end, size_t *next);

#endif
