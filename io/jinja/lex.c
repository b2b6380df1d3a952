#include "io/jinja/lex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/utf8.h"
#include "io/json.h"
#include "io/tokenizer/unicode.h"

typedef struct lexer {
    jinja_tokens *tokens;
    jinja_arena *arena;
    const char *s;
    size_t n, at;
    uint32_t line;
    bool line_starts; /* what was read last ended with a line end, so text begins a line */
    dm_error *err;
} lexer;

static dm_status fail(const lexer *x, const char *what)
{
    return dm_fail(x->err, DM_ERR_INPUT, "line %u: %s", (unsigned)x->line, what);
}

static dm_status no_memory(const lexer *x)
{
    return dm_fail(x->err, DM_ERR_MEMORY, "no memory for a template of %zu bytes", x->n);
}

/* ---- white space ---- */

static bool is_space(uint32_t code)
{
    return dm_is_space(code) || code - 0x1C < 4;
}

size_t jinja_space_left(const char *s, size_t n)
{
    size_t at = 0, step;
    uint32_t code;
    while (at < n && (step = dm_utf8_decode(s + at, n - at, &code)) > 0 && is_space(code))
        at += step;
    return at;
}

size_t jinja_space_right(const char *s, size_t n)
{
    size_t end = n;
    uint32_t code;
    while (end > 0) {
        size_t last = end - 1;
        while (last > 0 && ((unsigned char)s[last] & 0xC0) == 0x80)
            last--;
        if (dm_utf8_decode(s + last, end - last, &code) == 0 || !is_space(code))
            break;
        end = last;
    }
    return n - end;
}

/* ---- tokens ---- */

static dm_status push(lexer *x, jinja_token token)
{
    jinja_tokens *t = x->tokens;
    if (t->n == t->capacity) {
        const size_t room = t->capacity > 0 ? 2 * t->capacity : 256;
        jinja_token *more = realloc(t->items, room * sizeof *more);
        if (more == NULL)
            return no_memory(x);
        t->items = more;
        t->capacity = room;
    }
    t->items[t->n++] = token;
    return DM_OK;
}

static dm_status push_kind(lexer *x, jinja_token_kind kind)
{
    return push(x, (jinja_token){.kind = kind, .line = x->line});
}

static void advance(lexer *x, size_t to)
{
    for (; x->at < to; x->at++)
        x->line += x->s[x->at] == '\n';
}

static bool looking_at(const lexer *x, const char *text)
{
    const size_t size = strlen(text);
    return x->n - x->at >= size && memcmp(x->s + x->at, text, size) == 0;
}

/* ---- inside of a tag ---- */

static bool is_name(unsigned char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

static bool is_digit(const lexer *x, size_t at)
{
    return at < x->n && x->s[at] >= '0' && x->s[at] <= '9';
}

static bool hex(const char *s, size_t digits, uint32_t *code)
{
    *code = 0;
    for (size_t i = 0; i < digits; i++) {
        const char c = s[i];
        const int v = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (v < 0)
            return false;
        *code = *code * 16 + (uint32_t)v;
    }
    return *code <= 0x10FFFF && (*code < 0xD800 || *code > 0xDFFF);
}

/* Resolves the escape at s[*i], a backslash, into out[*n]. */
static bool unescape(const char *s, size_t size, size_t *i, char *out, size_t *n)
{
    static const char letters[] = "abfnrtv\\'\"", bytes[] = "\a\b\f\n\r\t\v\\'\"";
    const char c = s[*i + 1]; /* the string's end is no escaped quote, so there is one */
    const char *at = c != '\0' ? strchr(letters, c) : NULL;
    uint32_t code = 0;
    if (at != NULL) {
        out[(*n)++] = bytes[at - letters];
        *i += 2;
        return true;
    }
    if (c == '\n') { /* a line goes on */
        *i += 2;
        return true;
    }
    if (c >= '0' && c <= '7') {
        size_t digits = 0;
        while (digits < 3 && *i + 1 + digits < size && s[*i + 1 + digits] >= '0' && s[*i + 1 + digits] <= '7')
            code = code * 8 + (uint32_t)(s[*i + 1 + digits++] - '0');
        *i += 1 + digits;
    } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        if (size - *i < 2 + digits || !hex(s + *i + 2, digits, &code))
            return false;
        *i += 2 + digits;
    } else if (c == 'N' || (unsigned char)c >= 0x80) {
        return false;
    } else { /* no escape: both characters stay */
        out[(*n)++] = '\\';
        out[(*n)++] = c;
        *i += 2;
        return true;
    }
    *n += dm_utf8_put((unsigned char *)out + *n, code);
    return true;
}

static dm_status lex_string(lexer *x)
{
    const char quote = x->s[x->at];
    size_t end = x->at + 1;
    while (end < x->n && x->s[end] != quote)
        end += x->s[end] == '\\' ? 2 : 1;
    if (end >= x->n)
        return fail(x, "a string has no end");
    const char *s = x->s + x->at + 1;
    const size_t size = end - x->at - 1;
    char *out = jinja_alloc(x->arena, size + 4);
    jinja_token token = {.kind = JINJA_T_STRING, .line = x->line, .text = out};
    if (out == NULL)
        return no_memory(x);
    for (size_t i = 0; i < size;) {
        if (s[i] != '\\')
            out[token.size++] = s[i++];
        else if (!unescape(s, size, &i, out, &token.size))
            return dm_fail(x->err, DM_ERR_UNSUPPORTED, "line %u: a string has an escape that is not supported: \\%.8s",
                           (unsigned)x->line, s + i + 1);
    }
    advance(x, end + 1);
    return push(x, token);
}

static dm_status lex_number(lexer *x)
{
    char text[64];
    size_t end = x->at, n = 0;
    bool is_float = false;
    const bool behind_dot = x->at > 0 && x->s[x->at - 1] == '.';
    if (x->s[x->at] == '0' && x->at + 1 < x->n && strchr("xXoObB", x->s[x->at + 1]) != NULL)
        return dm_fail(x->err, DM_ERR_UNSUPPORTED, "line %u: numbers that are not decimal are not supported",
                       (unsigned)x->line);
    while (is_digit(x, end) || (end < x->n && x->s[end] == '_' && is_digit(x, end + 1)))
        end++;
    if (!behind_dot && end < x->n && x->s[end] == '.' && is_digit(x, end + 1)) {
        is_float = true;
        for (end++; is_digit(x, end) || (end < x->n && x->s[end] == '_' && is_digit(x, end + 1));)
            end++;
    }
    if (!behind_dot && end < x->n && (x->s[end] == 'e' || x->s[end] == 'E')) {
        const size_t sign = end + 1 < x->n && (x->s[end + 1] == '-' || x->s[end + 1] == '+');
        if (is_digit(x, end + 1 + sign)) {
            is_float = true;
            for (end += 1 + sign; is_digit(x, end);)
                end++;
        }
    }
    for (size_t i = x->at; i < end; i++)
        if (x->s[i] != '_') {
            if (n + 1 == sizeof text)
                return fail(x, "a number is too long");
            text[n++] = x->s[i];
        }
    text[n] = '\0';
    jinja_token token = {.kind = is_float ? JINJA_T_FLOAT : JINJA_T_INT, .line = x->line};
    if (is_float) {
        dm_json_doc *doc; /* its numbers do not depend on the locale */
        const dm_status status = dm_json_parse(&doc, text, n, "number", NULL);
        if (status != DM_OK)
            return fail(x, "a number is not one");
        token.number = dm_json_root(doc)->number;
        dm_json_close(&doc);
    } else {
        errno = 0;
        token.integer = strtoll(text, NULL, 10);
        if (errno != 0 || (n > 1 && text[0] == '0' && token.integer != 0))
            return fail(x, errno != 0 ? "an integer is too large" : "an integer begins with 0");
    }
    advance(x, end);
    return push(x, token);
}

/* The longest operator here. */
static size_t operator_size(const lexer *x)
{
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (looking_at(x, two[i]))
            return 2;
    return x->s[x->at] != '\0' && strchr("+-*/%~[](){}><=.:|,;", x->s[x->at]) != NULL ? 1 : 0;
}

/* The end of a tag here, with what it takes of the text after it; 0: none. */
static size_t tag_end(const lexer *x, const char *close, bool block)
{
    const char sign = x->s[x->at];
    const size_t signs = sign == '-' || (block && sign == '+') ? 1 : 0;
    size_t end = x->at + signs;
    if (x->n - end < 2 || memcmp(x->s + end, close, 2) != 0)
        return 0;
    end += 2;
    if (sign == '-')
        return end + jinja_space_left(x->s + end, x->n - end);
    return block && signs == 0 && end < x->n && x->s[end] == '\n' ? end + 1 : end;
}

/* Everything up to the tag's end, which is passed. */
static dm_status lex_tag(lexer *x, bool block)
{
    const char *close = block ? "%}" : "}}";
    char open[128];
    size_t depth = 0, end;
    dm_status status = DM_OK;
    const uint32_t line = x->line;
    while (status == DM_OK) {
        advance(x, x->at + jinja_space_left(x->s + x->at, x->n - x->at));
        if (x->at == x->n) {
            x->line = line;
            return fail(x, block ? "{% has no %}" : "{{ has no }}");
        }
        if (depth == 0 && (end = tag_end(x, close, block)) > 0) {
            status = push_kind(x, block ? JINJA_T_BLOCK_END : JINJA_T_PRINT_END);
            advance(x, end);
            x->line_starts = x->s[end - 1] == '\n';
            return status;
        }
        const char c = x->s[x->at];
        if (is_name((unsigned char)c, true)) {
            const size_t begin = x->at;
            while (x->at < x->n && is_name((unsigned char)x->s[x->at], false))
                x->at++;
            status = push(
                x, (jinja_token){.kind = JINJA_T_NAME, .line = x->line, .text = x->s + begin, .size = x->at - begin});
        } else if (c == '\'' || c == '"') {
            status = lex_string(x);
        } else if (is_digit(x, x->at)) {
            status = lex_number(x);
        } else if ((end = operator_size(x)) > 0) {
            if (strchr("([{", c) != NULL) {
                if (depth == sizeof open)
                    return fail(x, "brackets are nested deeper than 128 levels");
                open[depth++] = c;
            } else if (strchr(")]}", c) != NULL && (depth == 0 || open[--depth] != (c == ')'   ? '('
                                                                                    : c == ']' ? '['
                                                                                               : '{'))) {
                return dm_fail(x->err, DM_ERR_INPUT, "line %u: unexpected \"%c\"", (unsigned)x->line, c);
            }
            status =
                push(x, (jinja_token){.kind = JINJA_T_OPERATOR, .line = x->line, .text = x->s + x->at, .size = end});
            x->at += end;
        } else {
            return dm_fail(x->err, DM_ERR_INPUT, "line %u: unexpected \"%.4s\"", (unsigned)x->line, x->s + x->at);
        }
    }
    return status;
}

/* ---- text between tags ---- */

/* Whether "{%" here opens {% word %}; *end: after it. */
static bool is_word_tag(const lexer *x, size_t at, const char *word, size_t *end)
{
    const size_t size = strlen(word);
    if (x->n - at < 2 || memcmp(x->s + at, "{%", 2) != 0)
        return false;
    at += 2;
    at += at < x->n && (x->s[at] == '-' || x->s[at] == '+');
    at += jinja_space_left(x->s + at, x->n - at);
    if (x->n - at < size || memcmp(x->s + at, word, size) != 0)
        return false;
    at += size;
    at += jinja_space_left(x->s + at, x->n - at);
    const bool minus = at < x->n && x->s[at] == '-', plus = at < x->n && x->s[at] == '+';
    at += minus || plus;
    if (x->n - at < 2 || memcmp(x->s + at, "%}", 2) != 0 || (plus && strcmp(word, "raw") == 0))
        return false;
    at += 2;
    if (minus)
        at += jinja_space_left(x->s + at, x->n - at);
    else if (!plus && strcmp(word, "raw") != 0 && at < x->n && x->s[at] == '\n')
        at++;
    *end = at;
    return true;
}

/* Text from x->at to `end`, where a tag opens: as its sign, and for blocks the beginning of its line, want it. */
static dm_status push_text(lexer *x, size_t end, bool block)
{
    const char *text = x->s + x->at;
    size_t size = end - x->at;
    const char sign = end + 2 < x->n ? x->s[end + 2] : '\0';
    if (sign == '-') {
        size -= jinja_space_right(text, size);
    } else if (sign != '+' && block) {
        size_t begin = size;
        while (begin > 0 && text[begin - 1] != '\n')
            begin--;
        if ((begin > 0 || x->line_starts) && jinja_space_left(text + begin, size - begin) == size - begin)
            size = begin;
    }
    return size == 0 ? DM_OK
                     : push(x, (jinja_token){.kind = JINJA_T_TEXT, .line = x->line, .text = text, .size = size});
}

static dm_status lex_comment(lexer *x)
{
    size_t begin = x->at + 2; /* of what it says */
    begin += begin < x->n && (x->s[begin] == '-' || x->s[begin] == '+');
    for (size_t at = begin; at + 2 <= x->n; at++) {
        if (x->s[at] != '#' || x->s[at + 1] != '}')
            continue;
        size_t end = at + 2;
        const char sign = at > begin ? x->s[at - 1] : '\0';
        if (sign == '-')
            end += jinja_space_left(x->s + end, x->n - end);
        else if (sign != '+' && end < x->n && x->s[end] == '\n')
            end++;
        advance(x, end);
        x->line_starts = x->s[end - 1] == '\n';
        return DM_OK;
    }
    return fail(x, "a comment has no end");
}

static dm_status lex_raw(lexer *x, size_t begin)
{
    advance(x, begin);
    x->line_starts = begin > 0 && x->s[begin - 1] == '\n';
    for (size_t at = begin, end; at < x->n; at++)
        if (x->s[at] == '{' && is_word_tag(x, at, "endraw", &end)) {
            const dm_status status = push_text(x, at, true);
            advance(x, end);
            x->line_starts = x->s[end - 1] == '\n';
            return status;
        }
    return fail(x, "{% raw %} has no {% endraw %}");
}

static dm_status lex_all(lexer *x)
{
    dm_status status = DM_OK;
    while (x->at < x->n && status == DM_OK) {
        size_t at = x->at, end;
        while (at + 1 < x->n && !(x->s[at] == '{' && strchr("{%#", x->s[at + 1]) != NULL && x->s[at + 1] != '\0'))
            at++;
        if (at + 1 >= x->n)
            at = x->n;
        const char kind = at < x->n ? x->s[at + 1] : '\0';
        status = push_text(x, at, kind == '%' || kind == '#');
        advance(x, at);
        if (status != DM_OK || at == x->n)
            break;
        if (kind == '#') {
            status = lex_comment(x);
        } else if (is_word_tag(x, at, "raw", &end)) {
            status = lex_raw(x, end);
        } else {
            status = push_kind(x, kind == '{' ? JINJA_T_PRINT : JINJA_T_BLOCK);
            advance(x, at + 2);
            if (x->at < x->n && (x->s[x->at] == '-' || x->s[x->at] == '+'))
                x->at++;
            if (status == DM_OK)
                status = lex_tag(x, kind == '%');
        }
    }
    return status == DM_OK ? push_kind(x, JINJA_T_END) : status;
}

dm_status jinja_lex(jinja_tokens *tokens, jinja_arena *arena, const char *source, size_t size, dm_error *err)
{
    lexer x = {.tokens = tokens, .arena = arena, .n = size, .line = 1, .line_starts = true, .err = err};
    char *copy = jinja_alloc(arena, size + 1);
    const size_t valid = dm_utf8_check(source, size);
    *tokens = (jinja_tokens){0};
    if (valid < size)
        return dm_fail(err, DM_ERR_INPUT, "byte %zu is no valid UTF-8", valid);
    if (copy == NULL)
        return no_memory(&x);
    x.n = 0;
    for (size_t i = 0; i < size; i++) { /* every line end is \n */
        const bool pair = source[i] == '\r' && i + 1 < size && source[i + 1] == '\n';
        copy[x.n++] = source[i] == '\r' ? '\n' : source[i];
        i += pair;
    }
    if (x.n > 0 && copy[x.n - 1] == '\n') /* the file's last line end is no text */
        x.n--;
    copy[x.n] = '\0';
    x.s = copy;
    return lex_all(&x);
}
