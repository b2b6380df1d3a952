#include "io/jinja/characters.h"

#include "io/jinja/lex.h"
#include "io/tokenizer/unicode.h"

size_t jinja_characters(const jinja_string *s)
{
    return jinja_characters_before(s, s->size);
}

size_t jinja_characters_before(const jinja_string *s, size_t at)
{
    size_t n = 0;
    for (size_t i = 0; i < at; i++)
        n += ((unsigned char)s->data[i] & 0xC0) != 0x80;
    return n;
}

size_t jinja_character_end(const jinja_string *s, size_t at)
{
    at += at < s->size;
    while (at < s->size && ((unsigned char)s->data[at] & 0xC0) == 0x80)
        at++;
    return at;
}

size_t jinja_character_before(const jinja_string *s, size_t at)
{
    at -= at > 0;
    while (at > 0 && ((unsigned char)s->data[at] & 0xC0) == 0x80)
        at--;
    return at;
}

size_t jinja_character_at(const jinja_string *s, size_t index)
{
    size_t at = 0;
    while (index-- > 0)
        at = jinja_character_end(s, at);
    return at;
}

size_t jinja_find_bytes(const jinja_string *s, const jinja_string *what, size_t from)
{
    if (what->size == 0)
        return from <= s->size ? from : JINJA_NOT_FOUND;
    while (from + what->size <= s->size) {
        const char *first = memchr(s->data + from, what->data[0], s->size - what->size - from + 1);
        if (first == NULL)
            break;
        from = (size_t)(first - s->data);
        if (memcmp(first, what->data, what->size) == 0)
            return from;
        from++;
    }
    return JINJA_NOT_FOUND;
}

size_t jinja_find_last(const jinja_string *s, const jinja_string *what, size_t to)
{
    if (what->size > to)
        return JINJA_NOT_FOUND;
    for (size_t at = to - what->size + 1; at-- > 0;)
        if (memcmp(s->data + at, what->data, what->size) == 0)
            return at;
    return JINJA_NOT_FOUND;
}

bool jinja_is_ascii(const jinja_string *s)
{
    for (size_t i = 0; i < s->size; i++)
        if ((unsigned char)s->data[i] >= 0x80)
            return false;
    return true;
}

/* Whether the character at s[from..to) is one of the set's. */
static bool is_of(const jinja_string *s, size_t from, size_t to, const jinja_string *set)
{
    const jinja_string c = {.data = s->data + from, .size = (uint32_t)(to - from)};
    return jinja_find_bytes(set, &c, 0) != JINJA_NOT_FOUND; /* a character's bytes are no part of another's */
}

size_t jinja_strip_left(const jinja_string *s, const jinja_string *set)
{
    size_t at = 0, end;
    if (set == NULL)
        return jinja_space_left(s->data, s->size);
    while (at < s->size && is_of(s, at, end = jinja_character_end(s, at), set))
        at = end;
    return at;
}

size_t jinja_strip_right(const jinja_string *s, const jinja_string *set, size_t from)
{
    size_t end = s->size, at;
    if (set == NULL)
        return jinja_space_right(s->data + from, s->size - from);
    while (end > from && is_of(s, at = jinja_character_before(s, end), end, set))
        end = at;
    return s->size - end;
}

bool jinja_line(const jinja_string *s, size_t at, size_t *end, size_t *next)
{
    if (at >= s->size)
        return false;
    for (*end = at; *end < s->size; *end = *next) {
        uint32_t code = 0;
        const size_t step = dm_utf8_decode(s->data + *end, s->size - *end, &code);
        *next = *end + (step > 0 ? step : 1);
        if (code == '\r' && *next < s->size && s->data[*next] == '\n')
            ++*next;
        if ((code >= '\n' && code <= '\r') || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
            code == 0x2029)
            return true;
    }
    *next = s->size;
    return true;
}
