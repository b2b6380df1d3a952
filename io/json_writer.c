#include "io/json_writer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/utf8.h"

void dm_text_json_string(dm_text *t, const char *bytes, size_t size)
{
    const unsigned char *p = (const unsigned char *)(size ? bytes : ""), *const end = p + size;

    dm_text_add(t, "\"", 1);
    while (p < end) {
        const unsigned char *run = p; /* what needs no change is added in one piece */
        size_t n = 0;
        while (p < end && *p >= 0x20 && *p != '"' && *p != '\\' && (n = dm_utf8_length(p, end)) > 0)
            p += n;
        dm_text_add(t, (const char *)run, (size_t)(p - run));
        if (p == end)
            break;
        if (*p == '"' || *p == '\\')
            dm_text_print(t, "\\%c", *p);
        else if (*p < 0x20)
            dm_text_print(t, "\\u%04x", (unsigned)*p);
        else
            dm_text_add(t, "\xEF\xBF\xBD", 3);
        p++;
    }
    dm_text_add(t, "\"", 1);
}

void dm_text_json_double(dm_text *t, double x)
{
    char buf[DM_DOUBLE_TEXT];

    if (isfinite(x))
        dm_double_text(buf, x);
    else
        snprintf(buf, sizeof buf, "null");
    dm_text_add(t, buf, strlen(buf));
}

static void line(dm_json_writer *w, unsigned depth)
{
    dm_text_add(w->out, "\n", 1);
    for (unsigned i = 0; i < depth; i++)
        dm_text_add(w->out, "  ", 2);
}

/* Writes what precedes a value: comma, line, name. */
static void begin(dm_json_writer *w, const char *key)
{
    const bool inside = w->depth > 0, any = inside && w->any[w->depth - 1];

    if (any)
        dm_text_add(w->out, ",", 1);
    if ((w->new_line || w->lines) && inside)
        line(w, w->depth);
    else if (any)
        dm_text_add(w->out, " ", 1);
    w->new_line = false;
    if (inside)
        w->any[w->depth - 1] = true;
    if (key) {
        dm_text_json_string(w->out, key, strlen(key));
        dm_text_add(w->out, ": ", 2);
    }
}

static void open_value(dm_json_writer *w, const char *key, const char *bracket, char close)
{
    begin(w, key);
    dm_text_add(w->out, bracket, 1);
    if (w->depth == DM_JSON_WRITER_DEPTH) { /* deeper than anything that is written: a bug, shown as a failure */
        w->out->failed = true;
        return;
    }
    w->close[w->depth] = close;
    w->any[w->depth++] = false;
}

void dm_json_open_object(dm_json_writer *w, const char *key)
{
    open_value(w, key, "{", '}');
}

void dm_json_open_array(dm_json_writer *w, const char *key)
{
    open_value(w, key, "[", ']');
}

void dm_json_close_value(dm_json_writer *w)
{
    if (w->depth == 0)
        return;
    w->depth--;
    if (w->new_line || (w->lines && w->any[w->depth]))
        line(w, w->depth);
    w->new_line = false;
    dm_text_add(w->out, &w->close[w->depth], 1);
}

void dm_json_new_line(dm_json_writer *w)
{
    w->new_line = true;
}

void dm_json_put_bytes(dm_json_writer *w, const char *key, const char *bytes, size_t size)
{
    begin(w, key);
    dm_text_json_string(w->out, bytes, size);
}

void dm_json_put_string(dm_json_writer *w, const char *key, const char *text)
{
    if (text)
        dm_json_put_bytes(w, key, text, strlen(text));
    else
        dm_json_put_null(w, key);
}

void dm_json_put_int(dm_json_writer *w, const char *key, int64_t value)
{
    begin(w, key);
    dm_text_print(w->out, "%" PRId64, value);
}

void dm_json_put_uint(dm_json_writer *w, const char *key, uint64_t value)
{
    begin(w, key);
    dm_text_print(w->out, "%" PRIu64, value);
}

void dm_json_put_double(dm_json_writer *w, const char *key, double value)
{
    begin(w, key);
    dm_text_json_double(w->out, value);
}

void dm_json_put_float(dm_json_writer *w, const char *key, float value)
{
    char text[DM_DOUBLE_TEXT];

    dm_float_text(text, value);
    dm_json_put_raw(w, key, isfinite(value) ? text : "null");
}

void dm_json_put_fixed(dm_json_writer *w, const char *key, double value, int decimals)
{
    char text[DM_FIXED_TEXT];

    dm_fixed_text(text, value, decimals);
    dm_json_put_raw(w, key, isfinite(value) ? text : "null");
}

void dm_json_put_bool(dm_json_writer *w, const char *key, bool value)
{
    dm_json_put_raw(w, key, value ? "true" : "false");
}

void dm_json_put_null(dm_json_writer *w, const char *key)
{
    dm_json_put_raw(w, key, "null");
}

void dm_json_put_raw(dm_json_writer *w, const char *key, const char *json)
{
    begin(w, key);
    dm_text_add(w->out, json, strlen(json));
}
