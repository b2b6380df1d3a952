/* The parser of one value. Strings are decoded in place (an escape is never shorter than what it stands for); values
 * are placed in a chain of blocks. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/hash.h"
#include "core/utf8.h"
#include "io/json_internal.h"

enum {
    NUMBER_MAX = 1000, /* characters of a number; a longer one is a mistake */
    FEW_KEYS = 8       /* objects up to this size are searched for duplicates pair by pair */
};

static dm_status fail_at(dm_json_parser *p, const char *where, const char *what)
{
    return dm_fail(p->err, DM_ERR_INPUT, "%s:%u:%zu: %s", p->doc->name, (unsigned)p->line,
                   (size_t)(where - p->line_begin) + 1, what);
}

dm_status dm_json_expected(dm_json_parser *p, const char *expected, const dm_json *open)
{
    char found[48], within[96] = "";

    if (p->at >= p->end)
        snprintf(found, sizeof found, "the %s", p->end_name);
    else if (*p->at > ' ' && *p->at < 0x7F)
        snprintf(found, sizeof found, "'%c'", *p->at);
    else
        snprintf(found, sizeof found, "byte 0x%02X", (unsigned)(unsigned char)*p->at);
    if (open)
        snprintf(within, sizeof within, " in the %s that begins at line %u, column %u",
                 open->type == DM_JSON_ARRAY ? "array" : "object", (unsigned)open->line, (unsigned)open->column);
    char what[256];
    snprintf(what, sizeof what, "expected %s, found %s%s", expected, found, within);
    return fail_at(p, p->at, what);
}

void dm_json_skip_space(dm_json_parser *p)
{
    for (; p->at < p->end; p->at++) {
        if (*p->at == '\n') {
            p->line++;
            p->line_begin = p->at + 1;
        } else if (*p->at != ' ' && *p->at != '\t' && *p->at != '\r') {
            return;
        }
    }
}

static bool is_digit(const dm_json_parser *p, const char *c)
{
    return c < p->end && *c >= '0' && *c <= '9';
}

/* -1 when the four bytes at c are not hexadecimal digits. */
static long hex4(const dm_json_parser *p, const char *c)
{
    long value = 0;

    if (p->end - c < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const char d = c[i];
        if (d >= '0' && d <= '9')
            value = value * 16 + (d - '0');
        else if (d >= 'a' && d <= 'f')
            value = value * 16 + (d - 'a' + 10);
        else if (d >= 'A' && d <= 'F')
            value = value * 16 + (d - 'A' + 10);
        else
            return -1;
    }
    return value;
}

/* Decodes the escape at *in (a backslash) to *out and moves both. */
static dm_status parse_escape(dm_json_parser *p, char **in, char **out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char *c = *in;

    if (p->end - c < 2)
        return fail_at(p, c, "the text ends inside an escape");
    if (c[1] != 'u') {
        const char *name = c[1] ? strchr(names, c[1]) : NULL;
        if (!name)
            return fail_at(p, c, "unknown escape: legal are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
        *(*out)++ = values[name - names];
        *in = c + 2;
        return DM_OK;
    }
    long code = hex4(p, c + 2);
    if (code < 0)
        return fail_at(p, c, "\\u needs four hexadecimal digits");
    c += 6;
    if (code >= 0xDC00 && code <= 0xDFFF)
        return fail_at(p, *in, "lone low surrogate: \\uDC00 to \\uDFFF must follow a high surrogate");
    if (code >= 0xD800 && code <= 0xDBFF) {
        const long low = p->end - c >= 6 && c[0] == '\\' && c[1] == 'u' ? hex4(p, c + 2) : -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return fail_at(p, *in, "lone high surrogate: \\uD800 to \\uDBFF must be followed by a low surrogate");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        c += 6;
    }
    *out += dm_utf8_put((unsigned char *)*out, (unsigned long)code);
    *in = c;
    return DM_OK;
}

/* p->at is at the opening quote. */
static dm_status parse_string(dm_json_parser *p, const char **text, size_t *length)
{
    char *const begin = p->at + 1;
    char *in = begin, *out = begin;

    for (;;) {
        if (in >= p->end) {
            char what[64];
            snprintf(what, sizeof what, "the string is not closed before the %s", p->end_name);
            return fail_at(p, p->at, what);
        }
        const unsigned char c = (unsigned char)*in;
        if (c == '"')
            break;
        if (c == '\\') {
            const dm_status st = parse_escape(p, &in, &out);
            if (st != DM_OK)
                return st;
        } else if (c < 0x20) {
            return fail_at(p, in,
                           c == '\n' ? "the line ends inside a string (write \\n for a line break)"
                                     : "control character in a string (write it as \\u00XX)");
        } else {
            size_t n = 1;
            if (c >= 0x80 && !(n = dm_utf8_length((const unsigned char *)in, (const unsigned char *)p->end)))
                return fail_at(p, in, "invalid UTF-8");
            if (out != in)
                memmove(out, in, n);
            in += n;
            out += n;
        }
    }
    *out = '\0'; /* at most the closing quote is overwritten */
    *text = begin;
    *length = (size_t)(out - begin);
    p->at = in + 1;
    return DM_OK;
}

/* strtod of digits[0..n), whose grammar is checked; the C library wants the locale's decimal point. */
static double to_double(const char *digits, size_t n)
{
    const char *point = localeconv()->decimal_point;
    char buf[NUMBER_MAX + 32];
    size_t size = 0;

    for (size_t i = 0; i < n; i++) {
        if (digits[i] == '.')
            for (const char *c = point; *c && size < sizeof buf - 1; c++)
                buf[size++] = *c;
        else if (size < sizeof buf - 1)
            buf[size++] = digits[i];
    }
    buf[size] = '\0';
    return strtod(buf, NULL);
}

static dm_status parse_number(dm_json_parser *p, dm_json *v)
{
    const char *const begin = p->at;
    const char *c = begin;
    const bool negative = *c == '-';
    uint64_t magnitude = 0;
    bool fits = true;

    c += negative;
    if (!is_digit(p, c))
        return fail_at(p, begin, "'-' must be followed by a digit");
    if (*c == '0' && is_digit(p, c + 1))
        return fail_at(p, begin, "a number must not begin with 0");
    for (; is_digit(p, c); c++) {
        const unsigned digit = (unsigned)(*c - '0');
        fits = fits && magnitude <= (UINT64_MAX - digit) / 10;
        magnitude = magnitude * 10 + digit;
    }
    v->is_integer = true;
    if (c < p->end && *c == '.') {
        v->is_integer = false;
        if (!is_digit(p, ++c))
            return fail_at(p, begin, "the decimal point must be followed by a digit");
        while (is_digit(p, c))
            c++;
    }
    if (c < p->end && (*c == 'e' || *c == 'E')) {
        v->is_integer = false;
        c++;
        if (c < p->end && (*c == '+' || *c == '-'))
            c++;
        if (!is_digit(p, c))
            return fail_at(p, begin, "the exponent must have a digit");
        while (is_digit(p, c))
            c++;
    }
    const size_t length = (size_t)(c - begin);
    if (length > NUMBER_MAX)
        return fail_at(p, begin, "the number is longer than 1000 characters");

    v->type = DM_JSON_NUMBER;
    v->is_integer = v->is_integer && fits && magnitude <= (uint64_t)INT64_MAX + negative;
    if (v->is_integer && magnitude <= (uint64_t)INT64_MAX) {
        v->integer = negative ? -(int64_t)magnitude : (int64_t)magnitude;
        v->number = negative ? -(double)magnitude : (double)magnitude; /* keeps -0 */
    } else {
        v->integer = v->is_integer ? INT64_MIN : 0;
        v->number = to_double(begin, length);
    }
    if (isinf(v->number))
        return fail_at(p, begin, "the number does not fit a double (at most 1.8e308)");
    p->at += length;
    return DM_OK;
}

static bool same_key(const dm_json *a, const dm_json *b)
{
    return a->key_length == b->key_length && memcmp(a->key, b->key, a->key_length) == 0;
}

static dm_status check_duplicates(dm_json_parser *p, const dm_json *object)
{
    const dm_json *twice = NULL;

    if (object->length <= FEW_KEYS) {
        for (const dm_json *a = object->child; a && !twice; a = a->next)
            for (const dm_json *b = a->next; b && !twice; b = b->next)
                if (same_key(a, b))
                    twice = b;
    } else {
        const dm_hash_key key = dm_hash_key_get();
        size_t slots = 4 * FEW_KEYS;
        while (slots < 2 * object->length)
            slots *= 2;
        const size_t bytes = slots * sizeof *p->slots;
        if (bytes > p->slots_bytes) {
            dm_pages_free(p->slots, p->slots_bytes);
            p->slots = dm_pages_alloc(bytes);
            p->slots_bytes = p->slots ? bytes : 0;
            if (!p->slots)
                return dm_fail(p->err, DM_ERR_MEMORY, "%s: no memory left to parse it", p->doc->name);
        } else {
            memset(p->slots, 0, bytes);
        }
        for (const dm_json *a = object->child; a && !twice; a = a->next) {
            size_t i = (size_t)dm_hash(key, a->key, a->key_length) & (slots - 1);
            while (p->slots[i] && !same_key(p->slots[i], a))
                i = (i + 1) & (slots - 1);
            if (p->slots[i])
                twice = a;
            p->slots[i] = a;
        }
    }
    if (!twice)
        return DM_OK;
    return dm_json_fail(p->doc, twice, p->err, "duplicate key \"%.80s\"", twice->key);
}

/* Elements or members up to the closing bracket, which `v->type` tells; p->at is after the opening one. */
static dm_status parse_children(dm_json_parser *p, dm_json *v, unsigned depth)
{
    const bool object = v->type == DM_JSON_OBJECT;
    const char close = object ? '}' : ']';
    const dm_json **tail = &v->child;
    dm_status st;

    dm_json_skip_space(p);
    if (p->at < p->end && *p->at == close) {
        p->at++;
        return DM_OK;
    }
    for (;;) {
        const char *key = NULL;
        size_t key_length = 0;
        if (object) {
            if (p->at >= p->end || *p->at != '"')
                return dm_json_expected(p, v->length ? "a key in quotes" : "a key in quotes or '}'", v);
            if ((st = parse_string(p, &key, &key_length)) != DM_OK)
                return st;
            dm_json_skip_space(p);
            if (p->at >= p->end || *p->at != ':')
                return dm_json_expected(p, "':' after the key", v);
            p->at++;
            dm_json_skip_space(p);
        }
        if (p->at >= p->end || *p->at == close)
            return dm_json_expected(p, "a value", v);
        dm_json *c = dm_block_alloc(&p->doc->values, sizeof *c);
        if (!c)
            return dm_fail(p->err, DM_ERR_MEMORY, "%s: no memory left to parse it", p->doc->name);
        c->key = key;
        c->key_length = (uint32_t)key_length; /* a document has at most DM_JSON_BYTES */
        *tail = c;
        tail = &c->next;
        v->length++;
        if ((st = dm_json_parse_value(p, c, depth)) != DM_OK)
            return st;
        dm_json_skip_space(p);
        if (p->at < p->end && *p->at == close)
            break;
        if (p->at >= p->end || *p->at != ',')
            return dm_json_expected(p, object ? "',' or '}'" : "',' or ']'", v);
        p->at++;
        dm_json_skip_space(p);
    }
    p->at++;
    return object ? check_duplicates(p, v) : DM_OK;
}

static dm_status parse_literal(dm_json_parser *p, const char *word)
{
    const size_t n = strlen(word);

    if ((size_t)(p->end - p->at) < n || memcmp(p->at, word, n) != 0)
        return fail_at(p, p->at, "expected a value: only true, false and null are words in JSON");
    p->at += n;
    return DM_OK;
}

dm_status dm_json_parse_value(dm_json_parser *p, dm_json *v, unsigned depth)
{
    v->line = p->line;
    v->column = (uint32_t)(p->at - p->line_begin) + 1;
    if (p->at >= p->end)
        return dm_json_expected(p, "a value", NULL);

    switch (*p->at) {
    case '{':
    case '[':
        if (depth == DM_JSON_DEPTH)
            return fail_at(p, p->at, "arrays and objects are nested deeper than 64");
        v->type = *p->at++ == '{' ? DM_JSON_OBJECT : DM_JSON_ARRAY;
        return parse_children(p, v, depth + 1);
    case '"':
        v->type = DM_JSON_STRING;
        return parse_string(p, &v->text, &v->length);
    case 't':
        v->type = DM_JSON_BOOL;
        v->boolean = true;
        return parse_literal(p, "true");
    case 'f':
        v->type = DM_JSON_BOOL;
        return parse_literal(p, "false");
    case 'n':
        return parse_literal(p, "null");
    default:
        if (*p->at == '-' || is_digit(p, p->at))
            return parse_number(p, v);
        if (p->end - p->at >= 3 && memcmp(p->at, "\xEF\xBB\xBF", 3) == 0)
            return fail_at(p, p->at, "a byte order mark is not JSON: save the file as UTF-8 without it");
        return dm_json_expected(p, "a value", NULL);
    }
}
