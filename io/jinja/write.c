/* Values as text: str() and repr() as Python has them, JSON as json.dumps writes it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/jinja/printable.h"
#include "io/jinja/value.h"
#include "io/tokenizer/unicode.h"

#define DEPTH 100 /* of nested lists and dicts */
#define TOO_DEEP "a value nested deeper than 100 levels"

static void put(jinja_text *t, const char *text)
{
    jinja_text_add(t, text, strlen(text), 0);
}

/* The digits and the exponent of the shortest decimal that reads back to x: x = 0.d1d2d3... * 10^*point. */
static size_t shortest_digits(double x, char digits[24], int *point)
{
    char buf[48];
    size_t n = 0;
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(buf, sizeof buf, "%.*e", precision - 1, x);
        if (strtod(buf, NULL) == x)
            break;
    }
    const char *s = buf;
    for (; *s != 'e'; s++)
        if (*s >= '0' && *s <= '9') /* what stands between them depends on the locale */
            digits[n++] = *s;
    *point = atoi(s + 1) + 1;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

void jinja_float_text(char buf[JINJA_NUMBER_TEXT], double x)
{
    char digits[24], *out = buf;
    int point;
    if (x != x || x - x != 0) {
        strcpy(buf, x != x ? "nan" : x > 0 ? "inf" : "-inf");
        return;
    }
    if (x < 0 || (x == 0 && 1 / x < 0)) {
        *out++ = '-';
        x = -x;
    }
    const int n = (int)shortest_digits(x, digits, &point);
    if (x == 0)
        point = 1;
    if (point > 16 || point < -3) { /* 1e+16, 1.5e-05 */
        *out++ = digits[0];
        if (n > 1)
            *out++ = '.';
        memcpy(out, digits + 1, (size_t)n - 1);
        out += n - 1;
        const int e = point - 1;
        snprintf(out, 16, "e%c%02d", e < 0 ? '-' : '+', e < 0 ? -e : e);
        return;
    }
    const int zeros = point < 0 ? -point : n < point ? point - n : 0;
    if (point <= 0)
        snprintf(out, JINJA_NUMBER_TEXT - 2, "0.%.*s%.*s", zeros, "000", n, digits);
    else if (n <= point)
        snprintf(out, JINJA_NUMBER_TEXT - 2, "%.*s%.*s.0", n, digits, zeros, "0000000000000000");
    else
        snprintf(out, JINJA_NUMBER_TEXT - 2, "%.*s.%.*s", point, digits, n - point, digits + point);
}

/* ---- str and repr ---- */

/* A string in quotes with escapes: everything that Python thinks cannot be printed. */
static void put_repr(jinja_text *t, const jinja_string *s)
{
    const char quote = memchr(s->data, '\'', s->size) != NULL && memchr(s->data, '"', s->size) == NULL ? '"' : '\'';
    jinja_text_add(t, &quote, 1, 0);
    size_t done = 0;
    for (size_t i = 0; i < s->size;) {
        const unsigned char c = (unsigned char)s->data[i];
        uint32_t code = c;
        size_t step = 1;
        if (c >= 0x80)
            step = dm_utf8_decode(s->data + i, s->size - i, &code);
        if (step == 0)
            step = 1;
        char escape[12];
        if (c == (unsigned char)quote || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(escape, sizeof escape, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (jinja_is_printable(code))
            *escape = '\0';
        else
            snprintf(escape, sizeof escape,
                     code < 0x100     ? "\\x%02x"
                     : code < 0x10000 ? "\\u%04x"
                                      : "\\U%08x",
                     (unsigned)code);
        if (*escape != '\0') {
            jinja_text_part(t, s, done, i);
            jinja_text_add(t, escape, strlen(escape), jinja_origin_at(s, i) & JINJA_ORIGIN);
            done = i + step;
        }
        i += step;
    }
    jinja_text_part(t, s, done, s->size);
    jinja_text_add(t, &quote, 1, 0);
}

static const char *write(jinja_text *t, jinja_value v, jinja_form form, int depth)
{
    char number[JINJA_NUMBER_TEXT];
    const char *wrong = NULL;
    if (depth > DEPTH)
        return TOO_DEEP;
    switch (v.type) {
    case JINJA_UNDEFINED:
        put(t, form == JINJA_REPR ? "Undefined" : "");
        return NULL;
    case JINJA_NONE:
        put(t, "None");
        return NULL;
    case JINJA_BOOL:
        put(t, v.as.boolean ? "True" : "False");
        return NULL;
    case JINJA_INT:
        snprintf(number, sizeof number, "%lld", (long long)v.as.integer);
        put(t, number);
        return NULL;
    case JINJA_FLOAT:
        jinja_float_text(number, v.as.number);
        put(t, number);
        return NULL;
    case JINJA_STRING:
        if (form == JINJA_STR)
            jinja_text_string(t, v.as.string);
        else
            put_repr(t, v.as.string);
        return NULL;
    case JINJA_LIST:
    case JINJA_TUPLE:
        put(t, v.type == JINJA_LIST ? "[" : "(");
        for (size_t i = 0; i < v.as.list->n && wrong == NULL; i++) {
            put(t, i > 0 ? ", " : "");
            wrong = write(t, v.as.list->items[i], JINJA_REPR, depth + 1);
        }
        put(t, v.type == JINJA_LIST ? "]" : v.as.list->n == 1 ? ",)" : ")");
        return wrong;
    case JINJA_DICT:
        put(t, "{");
        for (size_t i = 0; i < v.as.dict->n && wrong == NULL; i++) {
            put(t, i > 0 ? ", " : "");
            wrong = write(t, v.as.dict->entries[i].key, JINJA_REPR, depth + 1);
            put(t, ": ");
            if (wrong == NULL)
                wrong = write(t, v.as.dict->entries[i].value, JINJA_REPR, depth + 1);
        }
        put(t, "}");
        return wrong;
    default:
        return jinja_type_name(v);
    }
}

const char *jinja_write(jinja_text *t, jinja_value v, jinja_form form)
{
    return write(t, v, form, 0);
}

/* ---- JSON ---- */

static void put_json_string(jinja_text *t, const jinja_string *s, bool ascii)
{
    static const char special[] = "\"\\\n\r\t\f\b", letters[] = "\"\\nrtfb";
    size_t done = 0;
    put(t, "\"");
    for (size_t i = 0; i < s->size;) {
        const unsigned char c = (unsigned char)s->data[i];
        const char *at = c != '\0' ? strchr(special, c) : NULL;
        char escape[16] = "";
        uint32_t code = c;
        size_t step = 1;
        if (c >= 0x80 && ascii && (step = dm_utf8_decode(s->data + i, s->size - i, &code)) == 0)
            step = 1;
        if (at != NULL)
            snprintf(escape, sizeof escape, "\\%c", letters[at - special]);
        else if (c < 0x20 || (ascii && code >= 0x7F && code < 0x10000))
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)code);
        else if (code >= 0x10000)
            snprintf(escape, sizeof escape, "\\u%04x\\u%04x", (unsigned)(0xD800 + ((code - 0x10000) >> 10)),
                     (unsigned)(0xDC00 + ((code - 0x10000) & 0x3FF)));
        if (*escape != '\0') {
            jinja_text_part(t, s, done, i);
            jinja_text_add(t, escape, strlen(escape), jinja_origin_at(s, i) & JINJA_ORIGIN);
            done = i + step;
        }
        i += step;
    }
    jinja_text_part(t, s, done, s->size);
    put(t, "\"");
}

static void put_line(jinja_text *t, const jinja_json *form, int level)
{
    if (form->indent == NULL)
        return;
    put(t, "\n");
    for (int i = 0; i < level; i++)
        jinja_text_add(t, form->indent, form->indent_size, 0);
}

static void put_separator(jinja_text *t, const jinja_string *s, const char *usual)
{
    if (s != NULL)
        jinja_text_string(t, s);
    else
        put(t, usual);
}

static const char *put_json(jinja_text *t, jinja_value v, const jinja_json *form, int level);

static int by_key(const void *a, const void *b)
{
    int order = 0;
    jinja_compare(((const jinja_entry *)a)->key, ((const jinja_entry *)b)->key, &order);
    return order;
}

static const char *put_json_key(jinja_text *t, jinja_value key, const jinja_json *form)
{
    if (key.type == JINJA_STRING) {
        put_json_string(t, key.as.string, form->ascii);
        return NULL;
    }
    if (key.type != JINJA_NONE && !jinja_is_number(key))
        return "a dict whose keys are no strings";
    put(t, "\"");
    const char *wrong = put_json(t, key, form, 0);
    put(t, "\"");
    return wrong;
}

static const char *put_json_dict(jinja_text *t, const jinja_dict *d, const jinja_json *form, int level)
{
    const jinja_entry *entries = d->entries;
    const char *wrong = NULL;
    if (form->sorted && d->n > 1) {
        jinja_entry *sorted = jinja_alloc(t->arena, d->n * sizeof *sorted);
        for (size_t i = 0; i < d->n; i++)
            if (d->entries[i].key.type != JINJA_STRING)
                return "a dict whose keys are not all strings, sorted";
        if (sorted == NULL) {
            t->failed = true;
            return NULL;
        }
        memcpy(sorted, entries, d->n * sizeof *sorted);
        qsort(sorted, d->n, sizeof *sorted, by_key); /* keys differ, so the order is the only one */
        entries = sorted;
    }
    put(t, "{");
    for (size_t i = 0; i < d->n && wrong == NULL; i++) {
        if (i > 0)
            put_separator(t, form->item, form->indent != NULL ? "," : ", ");
        put_line(t, form, level + 1);
        if ((wrong = put_json_key(t, entries[i].key, form)) != NULL)
            break;
        put_separator(t, form->key, ": ");
        wrong = put_json(t, entries[i].value, form, level + 1);
    }
    if (d->n > 0)
        put_line(t, form, level);
    put(t, "}");
    return wrong;
}

static const char *put_json(jinja_text *t, jinja_value v, const jinja_json *form, int level)
{
    const char *wrong = NULL;
    if (level > DEPTH)
        return TOO_DEEP;
    switch (v.type) {
    case JINJA_NONE:
        put(t, "null");
        return NULL;
    case JINJA_BOOL:
        put(t, v.as.boolean ? "true" : "false");
        return NULL;
    case JINJA_INT:
        return jinja_write(t, v, JINJA_STR);
    case JINJA_FLOAT:
        if (v.as.number - v.as.number != 0)
            put(t, v.as.number != v.as.number ? "NaN" : v.as.number > 0 ? "Infinity" : "-Infinity");
        else
            wrong = jinja_write(t, v, JINJA_STR);
        return wrong;
    case JINJA_STRING:
        put_json_string(t, v.as.string, form->ascii);
        return NULL;
    case JINJA_LIST:
    case JINJA_TUPLE:
        put(t, "[");
        for (size_t i = 0; i < v.as.list->n && wrong == NULL; i++) {
            if (i > 0)
                put_separator(t, form->item, form->indent != NULL ? "," : ", ");
            put_line(t, form, level + 1);
            wrong = put_json(t, v.as.list->items[i], form, level + 1);
        }
        if (v.as.list->n > 0)
            put_line(t, form, level);
        put(t, "]");
        return wrong;
    case JINJA_DICT:
        return put_json_dict(t, v.as.dict, form, level);
    default:
        return jinja_type_name(v);
    }
}

const char *jinja_write_json(jinja_text *t, jinja_value v, const jinja_json *form)
{
    return put_json(t, v, form, 0);
}
