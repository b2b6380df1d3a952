/* Growing strings, and JSON strings and numbers into them. */
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "core/utf8.h"

void dm_text_free(dm_text *t)
{
    if (t) {
        free(t->data);
        *t = (dm_text){0};
    }
}

/* Room for `more` bytes and the NUL. */
static bool reserve(dm_text *t, size_t more)
{
    if (t->failed || more >= SIZE_MAX / 2 - t->size) {
        t->failed = true;
        return false;
    }
    const size_t need = t->size + more + 1;
    if (need <= t->capacity)
        return true;
    const size_t capacity = need > 2 * t->capacity ? (need > 64 ? need : 64) : 2 * t->capacity;
    char *data = realloc(t->data, capacity);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->capacity = capacity;
    return true;
}

void dm_text_add(dm_text *t, const char *bytes, size_t size)
{
    if (!reserve(t, size))
        return;
    if (size)
        memcpy(t->data + t->size, bytes, size);
    t->size += size;
    t->data[t->size] = '\0';
}

void dm_text_print(dm_text *t, const char *fmt, ...)
{
    va_list args, again;

    va_start(args, fmt);
    va_copy(again, args);
    const int size = vsnprintf(NULL, 0, fmt, args);
    if (size < 0) {
        t->failed = true;
    } else if (reserve(t, (size_t)size)) {
        vsnprintf(t->data + t->size, (size_t)size + 1, fmt, again);
        t->size += (size_t)size;
    }
    va_end(again);
    va_end(args);
}

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

void dm_double_text(char buf[DM_DOUBLE_TEXT], double x)
{
    if (!isfinite(x)) {
        snprintf(buf, DM_DOUBLE_TEXT, "%s", x > 0 ? "inf" : x < 0 ? "-inf" : "nan");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, DM_DOUBLE_TEXT, "%.*g", digits, x);
        if (digits == 17 || strtod(buf, NULL) == x) /* both in the same locale */
            break;
    }
    const char *point = localeconv()->decimal_point;
    char *at = strstr(buf, point);
    if (at && *point) {
        const size_t n = strlen(point);
        *at = '.';
        memmove(at + 1, at + n, strlen(at + n) + 1);
    }
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
