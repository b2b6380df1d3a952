#include "core/text.h"

#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Puts a '.' where the locale has its own decimal point. */
static void put_point(char *number)
{
    const char *point = localeconv()->decimal_point;
    char *at = strstr(number, point);

    if (at && *point) {
        const size_t n = strlen(point);
        *at = '.';
        memmove(at + 1, at + n, strlen(at + n) + 1);
    }
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
    put_point(buf);
}

void dm_float_text(char buf[DM_DOUBLE_TEXT], float x)
{
    for (int digits = 6; isfinite(x) && digits <= 9; digits++) {
        snprintf(buf, DM_DOUBLE_TEXT, "%.*g", digits, (double)x);
        if ((float)strtod(buf, NULL) == x) {
            put_point(buf);
            return;
        }
    }
    dm_double_text(buf, (double)x);
}

void dm_double_hex(char buf[DM_DOUBLE_TEXT], double x)
{
    snprintf(buf, DM_DOUBLE_TEXT, "%a", x);
    put_point(buf);
}

void dm_fixed_text(char buf[DM_FIXED_TEXT], double x, int decimals)
{
    snprintf(buf, DM_FIXED_TEXT, "%.*f", decimals, x);
    put_point(buf);
}

double dm_double_parse(const char *text, const char **end)
{
    const char *point = localeconv()->decimal_point;
    const char *dot = text + strspn(text, " \t+-0123456789");
    char copy[512], *stop;
    const size_t before = (size_t)(dot - text), n = strlen(point), rest = strcspn(dot, " \t\r\n,]}");

    if (strcmp(point, ".") == 0 || *dot != '.' || before + n + rest > sizeof copy) {
        const double x = strtod(text, &stop);
        const char *foreign = strcmp(point, ".") == 0 ? NULL : strstr(text, point);
        *end = stop;
        if (!foreign || foreign >= stop || (size_t)(foreign - text) >= sizeof copy)
            return x;
        memcpy(copy, text, (size_t)(foreign - text)); /* the locale's own point ends the number */
        copy[foreign - text] = '\0';
        const double whole = strtod(copy, &stop);
        *end = text + (stop - copy);
        return whole;
    }
    memcpy(copy, text, before);
    memcpy(copy + before, point, n);
    memcpy(copy + before + n, dot + 1, rest - 1);
    copy[before + n + rest - 1] = '\0';
    const double x = strtod(copy, &stop);
    const size_t used = (size_t)(stop - copy);
    *end = text + (used <= before ? used : used - n + 1);
    return x;
}
