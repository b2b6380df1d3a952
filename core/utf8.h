/* UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing over U+10FFFF. */
#ifndef DM_CORE_UTF8_H
#define DM_CORE_UTF8_H

#include <stddef.h>

/* Bytes of the character at p (1 to 4), or 0 when p[0..end) does not begin with a valid one. p < end. */
static inline size_t dm_utf8_length(const unsigned char *p, const unsigned char *end)
{
    const size_t left = (size_t)(end - p);
    const unsigned c = p[0];

    if (c < 0x80)
        return 1;
    if (c < 0xC2 || c > 0xF4)
        return 0;
    /* Only the second byte's range depends on the first: it keeps out overlong forms and surrogates. */
    const unsigned low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    const unsigned high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    const size_t n = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

    if (left < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xBF)
            return 0;
    return n;
}

/* Number of bytes at p that must not reach a terminal: a C0 or C1 control, DEL, or a byte that is not UTF-8. 0: the
 * character at p may be shown. */
static inline size_t dm_utf8_unprintable(const unsigned char *p, const unsigned char *end)
{
    const size_t n = dm_utf8_length(p, end);

    if (n == 0 || *p < 0x20 || *p == 0x7F)
        return 1;
    return n == 2 && p[0] == 0xC2 && p[1] < 0xA0 ? 2 : 0;
}

/* Writes code point c (valid) and returns its bytes. */
static inline size_t dm_utf8_put(unsigned char out[4], unsigned long c)
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (unsigned char)(0xC0 | c >> 6);
        out[1] = (unsigned char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (unsigned char)(0xE0 | c >> 12);
        out[1] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (unsigned char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (unsigned char)(0xF0 | c >> 18);
    out[1] = (unsigned char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (unsigned char)(0x80 | (c & 0x3F));
    return 4;
}

#endif
