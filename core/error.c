#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/utf8.h"

#define CUT "..."

/* Makes the text one line without control characters. */
static void make_printable(char *text)
{
    unsigned char *p = (unsigned char *)text;

    for (const unsigned char *end = p + strlen(text); p < end;) {
        const size_t bad = dm_utf8_unprintable(p, end);
        memset(p, '?', bad);
        p += bad ? bad : dm_utf8_length(p, end);
    }
}

/* Marks a text that was cut, without leaving half a UTF-8 sequence before the mark. */
static void mark_cut(char *text, size_t size)
{
    size_t end = size - sizeof CUT;
    while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80)
        end--;
    memcpy(text + end, CUT, sizeof CUT);
}

/* Formats; returns the length of the text in the buffer. */
static size_t format(char *text, size_t size, const char *fmt, va_list args)
{
    const int length = vsnprintf(text, size, fmt, args);
    if (length < 0)
        text[0] = '\0';
    else if ((size_t)length >= size)
        mark_cut(text, size);
    make_printable(text);
    return strlen(text);
}

dm_status dm_fail(dm_error *err, dm_status status, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        format(err->message, sizeof err->message, fmt, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

dm_status dm_fail_context(dm_error *err, dm_status status, const char *fmt, ...)
{
    if (!err)
        return status;
    char text[2 * DM_ERROR_MAX + 2];
    va_list args;
    va_start(args, fmt);
    const size_t length = format(text, DM_ERROR_MAX, fmt, args);
    va_end(args);
    snprintf(text + length, sizeof text - length, ": %s", err->message);
    if (strlen(text) >= sizeof err->message)
        mark_cut(text, sizeof err->message);
    memcpy(err->message, text, strlen(text) + 1);
    return err->status;
}
