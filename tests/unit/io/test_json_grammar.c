/* JSON by RFC 8259's grammar, one production after the other: everything that it allows is read, with its value; what
 * it forbids is refused at the byte where it is forbidden. Tables where the RFC has words, all texts where they are
 * few: every byte in every place, every escape, every character, every text of up to five characters that numbers
 * have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/utf8.h"
#include "io/json.h"
#include "io/json_writer.h"
#include "tests/support/check.h"

static dm_json_doc *reads(const char *text, size_t size, dm_json_type type)
{
    dm_json_doc *doc;
    dm_error err = {0};

    CK_MSG(dm_json_parse(&doc, text, size, "t", &err) == DM_OK, "refused %.*s: %s", (int)size, text, err.message);
    if (doc && !CK_MSG(dm_json_root(doc)->type == type, "%.*s is of another type", (int)size, text))
        dm_json_close(&doc);
    return doc;
}

static void accepts(const char *text, size_t size, dm_json_type type)
{
    dm_json_doc *doc = reads(text, size, type);
    dm_json_close(&doc);
}

static void refuses(const char *text, size_t size, unsigned line, size_t column)
{
    dm_json_doc *doc;
    dm_error err = {0};
    char place[64];

    snprintf(place, sizeof place, "t:%u:%zu: ", line, column);
    CK_MSG(dm_json_parse(&doc, text, size, "t", &err) == DM_ERR_INPUT && doc == NULL, "accepted %.*s", (int)size, text);
    CK_MSG(strncmp(err.message, place, strlen(place)) == 0, "%.*s: '%s' is not at %s", (int)size, text, err.message,
           place);
}

/* ---- JSON-text = ws value ws; ws = space, tab, line feed, carriage return ---- */

static void check_space(void)
{
    for (int b = 0; b < 256; b++) {
        const char c = (char)b;
        const char before[] = {c, '1'}, behind[] = {'1', c}, between[] = {'[', '1', c, ',', c, '1', c, ']'},
                   object[] = {'{', c, '"', 'a', '"', c, ':', c, '1', c, '}'};
        const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
        if (space) {
            accepts(before, 2, DM_JSON_NUMBER);
            accepts(behind, 2, DM_JSON_NUMBER);
            accepts(between, sizeof between, DM_JSON_ARRAY);
            accepts(object, sizeof object, DM_JSON_OBJECT);
            refuses(&c, 1, c == '\n' ? 2 : 1, c == '\n' ? 1 : 2);
            continue;
        }
        if (b < '0' || b > '9') { /* a digit makes another number */
            refuses(behind, 2, 1, b == '.' || b == 'e' || b == 'E' ? 1 : 2);
            if (b != '-')
                refuses(before, 2, 1, b == '[' ? 3 : b == '{' ? 2 : 1);
        }
        if (b != '"')
            refuses(object, sizeof object, 1, b == '}' ? 3 : 2);
    }
    refuses("", 0, 1, 1);
    refuses("1 1", 3, 1, 3);
    refuses("[] []", 5, 1, 4);
    refuses("\xEF\xBB\xBF[]", 5, 1, 1); /* a byte order mark must not be added */
    refuses("[\n1\n2]", 6, 3, 1);
}

/* ---- value = false / null / true / object / array / number / string ---- */

static void check_literals(void)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < 3; i++) {
        const size_t n = strlen(words[i]);
        accepts(words[i], n, i == 2 ? DM_JSON_NULL : DM_JSON_BOOL);
        for (size_t k = 0; k < n; k++) {
            refuses(words[i], k, 1, 1);
            for (int b = 0; b < 256; b++) { /* they must be lower case */
                char text[8];
                memcpy(text, words[i], n);
                text[k] = (char)b;
                if (text[k] != words[i][k] && !(k == 0 && strchr(" \t\r\n-[{\"0123456789", b)))
                    refuses(text, n, 1, 1);
            }
        }
    }
    for (int b = 0; b < 256; b++) {
        const char c = (char)b;
        if (b >= '0' && b <= '9')
            accepts(&c, 1, DM_JSON_NUMBER);
        else if (!strchr(" \t\r\n[{", b) || b == 0)
            refuses(&c, 1, 1, 1);
    }
}

/* ---- object, array ---- */

static void check_structure(void)
{
    static const struct {
        const char *text;
        dm_json_type type;
    } good[] = {{"{}", DM_JSON_OBJECT},
                {"{\"\":0}", DM_JSON_OBJECT},
                {"{\"a\":1,\"b\":[],\"c\":{}}", DM_JSON_OBJECT},
                {"{\"a\\u0000\":1,\"a\":2}", DM_JSON_OBJECT},
                {"[]", DM_JSON_ARRAY},
                {"[null]", DM_JSON_ARRAY},
                {"[1,\"1\",true,[1],{\"1\":1}]", DM_JSON_ARRAY},
                {"[[[[]]],[]]", DM_JSON_ARRAY}};
    static const struct {
        const char *text;
        size_t column;
    } bad[] = {{"{", 2},
               {"{\"a\"", 5},
               {"{\"a\":", 6},
               {"{\"a\":1", 7},
               {"{\"a\":1,", 8},
               {"{\"a\":1,}", 8},
               {"{,}", 2},
               {"{\"a\"}", 5},
               {"{\"a\",\"b\"}", 5},
               {"{\"a\":1 \"b\":2}", 8},
               {"{1:2}", 2},
               {"{null:1}", 2},
               {"{'a':1}", 2},
               {"{\"a\"::1}", 6},
               {"{\"a\":1]", 7},
               {"[", 2},
               {"[1", 3},
               {"[1,", 4},
               {"[1,]", 4},
               {"[,]", 2},
               {"[1,,2]", 4},
               {"[1 2]", 4},
               {"[1}", 3},
               {"[\"a\":1]", 5},
               {"]", 1},
               {"}", 1},
               {"[]]", 3},
               {"{}}", 3},
               {"[1]/*c*/", 4},
               {"[1,//\n2]", 4},
               {"{\"a\":1,\"a\":2}", 12}};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        accepts(good[i].text, strlen(good[i].text), good[i].type);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuses(bad[i].text, strlen(bad[i].text), 1, bad[i].column);
}

/* ---- string ---- */

static void check_bytes_of_strings(void)
{
    static const char escapes[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";

    for (int b = 0; b < 256; b++) {
        const char plain[] = {'"', (char)b, '"'}, escaped[] = {'"', '\\', (char)b, '"'};
        const char *known = b ? strchr(escapes, b) : NULL;
        if (b == '"')
            refuses(plain, 3, 1, 3); /* "" and then a string that is not closed */
        else if (b < 0x20 || b == '\\' || b >= 0x80)
            refuses(plain, 3, 1, b == '\\' ? 1 : 2);
        else
            accepts(plain, 3, DM_JSON_STRING);
        if (!known) {
            refuses(escaped, 4, 1, 2);
            continue;
        }
        dm_json_doc *doc = reads(escaped, 4, DM_JSON_STRING);
        CK(doc && dm_json_root(doc)->length == 1 && *dm_json_root(doc)->text == values[known - escapes]);
        dm_json_close(&doc);
    }
    refuses("\"", 1, 1, 1);
    refuses("\"a", 2, 1, 1);
    refuses("'a'", 3, 1, 1);
}

/* Every \uXXXX in both spellings, all in one document as they are many. */
static void check_escapes(void)
{
    dm_text text = {0};
    char one[16];

    dm_text_add(&text, "[", 1);
    for (unsigned code = 0; code < 0x10000; code++)
        if (code < 0xD800 || code > 0xDFFF)
            dm_text_print(&text, code % 2 ? "%s\"\\u%04x\"" : "%s\"\\u%04X\"", code ? "," : "", code);
    dm_text_add(&text, "]", 1);
    dm_json_doc *doc = reads(text.data, text.size, DM_JSON_ARRAY);
    unsigned code = 0, wrong = 0;
    for (const dm_json *v = doc ? dm_json_root(doc)->child : NULL; v; v = v->next, code++) {
        unsigned char bytes[4];
        code = code == 0xD800 ? 0xE000 : code;
        const size_t n = dm_utf8_put(bytes, code);
        wrong += v->length != n || memcmp(v->text, bytes, n) != 0;
    }
    CK_MSG(code == 0x10000 && wrong == 0, "%u of %u escapes are read wrong", wrong, code);
    dm_json_close(&doc);
    dm_text_free(&text);
    for (code = 0xD800; code < 0xE000; code += 1 + code % 7) { /* half of a pair */
        snprintf(one, sizeof one, "\"\\u%04x\"", code);
        refuses(one, strlen(one), 1, 2);
        if (code < 0xDC00) {
            snprintf(one, sizeof one, "\"\\u%04xx\"", code);
            refuses(one, strlen(one), 1, 2);
            snprintf(one, sizeof one, "\"\\u%04x\\u%04x\"", code, code);
            refuses(one, strlen(one), 1, 2);
        }
    }
    static const struct {
        const char *text;
        unsigned code;
    } pairs[] = {{"\"\\uD800\\uDC00\"", 0x10000}, {"\"\\udbff\\udfff\"", 0x10FFFF}, {"\"\\uD83D\\uDE00\"", 0x1F600}};
    for (size_t i = 0; i < 3; i++) {
        unsigned char bytes[4];
        doc = reads(pairs[i].text, 14, DM_JSON_STRING);
        CK(doc && dm_json_root(doc)->length == dm_utf8_put(bytes, pairs[i].code) &&
           memcmp(dm_json_root(doc)->text, bytes, 4) == 0);
        dm_json_close(&doc);
    }
    static const char *const bad[] = {"\"\\u\"",     "\"\\u0\"",    "\"\\u00\"",   "\"\\u000\"", "\"\\u00 0\"",
                                      "\"\\u-001\"", "\"\\u00g0\"", "\"\\U0041\"", "\"\\x41\"",  "\"\\0\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuses(bad[i], strlen(bad[i]), 1, 2);
}

/* Every character as it stands (UTF-8), and every pair of bytes that is not one. */
static void check_characters(void)
{
    for (unsigned plane = 0; plane < 17; plane++) {
        dm_text text = {0};
        size_t size = 0;
        dm_text_add(&text, "\"", 1);
        for (unsigned code = plane << 16; code < (plane + 1) << 16; code++) {
            unsigned char bytes[4];
            if (code < 0x20 || code == '"' || code == '\\' || (code >= 0xD800 && code <= 0xDFFF))
                continue;
            const size_t n = dm_utf8_put(bytes, code);
            dm_text_add(&text, (const char *)bytes, n);
            size += n;
        }
        dm_text_add(&text, "\"", 1);
        dm_json_doc *doc = reads(text.data, text.size, DM_JSON_STRING);
        CK(doc && dm_json_root(doc)->length == size && memcmp(dm_json_root(doc)->text, text.data + 1, size) == 0);
        dm_json_close(&doc);
        dm_text_free(&text);
    }
    for (int a = 0x80; a < 256; a++)
        for (int b = 0x20; b < 256; b += 3) {
            const char text[] = {'"', (char)a, (char)b, '"'};
            if (a >= 0xC2 && a <= 0xDF && b >= 0x80 && b <= 0xBF)
                accepts(text, 4, DM_JSON_STRING);
            else
                refuses(text, 4, 1, 2);
        }
}

/* ---- number = [ minus ] int [ frac ] [ exp ] ---- */

/* By the grammar; *end: how many characters of it are a number, 0: none. */
static bool is_number(const char *s, size_t n, size_t *end)
{
    size_t i = 0;
#define DIGIT(k) ((k) < n && s[k] >= '0' && s[k] <= '9')
    *end = 0;
    i += i < n && s[i] == '-';
    if (!DIGIT(i))
        return false;
    if (s[i] == '0')
        i++;
    else
        while (DIGIT(i))
            i++;
    if (i < n && s[i] == '.') {
        if (!DIGIT(i + 1))
            return false;
        for (i++; DIGIT(i);)
            i++;
    }
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        size_t k = i + 1;
        k += k < n && (s[k] == '+' || s[k] == '-');
        if (!DIGIT(k))
            return false;
        for (i = k; DIGIT(i);)
            i++;
    }
#undef DIGIT
    *end = i;
    return i == n;
}

static void check_numbers(void)
{
    static const char alphabet[] = "019-+.eE";
    enum { KINDS = sizeof alphabet - 1, LENGTH = 6 };
    char text[LENGTH];

    for (size_t n = 1, count = KINDS; n <= LENGTH; n++, count *= KINDS)
        for (size_t number = 0; number < count; number += n < LENGTH ? 1 : 7) {
            size_t rest = number, end;
            for (size_t k = 0; k < n; k++, rest /= KINDS)
                text[k] = alphabet[rest % KINDS];
            dm_json_doc *doc = NULL;
            dm_error err = {0};
            const bool good = is_number(text, n, &end);
            const bool read = dm_json_parse(&doc, text, n, "t", &err) == DM_OK;
            char copy[LENGTH + 1] = "";
            memcpy(copy, text, n);
            if (read && CK_MSG(good, "%s is accepted", copy)) {
                const double want = strtod(copy, NULL), got = dm_json_root(doc)->number;
                CK_MSG(got >= want && got <= want, "%s is read as %g", copy, got);
            } else if (!read) { /* the one limit: 9e999 fits no double */
                CK_MSG(!good || strstr(err.message, "does not fit a double"), "%s: %s", copy, err.message);
                CK_MSG(strncmp(err.message, "t:1:", 4) == 0, "%s is refused at no place: %s", copy, err.message);
            }
            dm_json_close(&doc);
        }
}

/* ---- limits that the RFC allows a parser: depth, size, numbers ---- */

static void check_limits(void)
{
    char deep[4 * DM_JSON_DEPTH];
    size_t n = 0;

    for (size_t i = 0; i < DM_JSON_DEPTH; i++)
        deep[n++] = '[';
    memset(deep + n, ']', DM_JSON_DEPTH);
    accepts(deep, 2 * DM_JSON_DEPTH, DM_JSON_ARRAY);
    deep[n++] = '[';
    refuses(deep, n, 1, DM_JSON_DEPTH + 1);
    refuses("1e400", 5, 1, 1);
    refuses("-1e400", 6, 1, 1);
}

int main(void)
{
    check_space();
    check_literals();
    check_structure();
    check_bytes_of_strings();
    check_escapes();
    check_characters();
    check_numbers();
    check_limits();
    return ck_done("json_grammar");
}
