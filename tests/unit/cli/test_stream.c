/* Text in pieces of bytes, shown in whole characters (cli/stream.c): what is written so far is always valid UTF-8 and
 * lacks nothing that is decided, however the bytes come. */
#include <stdlib.h>
#include <string.h>

#include "cli/stream.h"
#include "io/tokenizer/unicode.h"
#include "tests/support/check.h"

/* What it shows of bytes[0..n) when they come in pieces of `piece`; freed by the caller. */
static char *shown(const char *bytes, size_t n, size_t piece, size_t *size)
{
    cli_stream s;
    dm_error err = {0};

    cli_stream_open(&s, NULL, NULL);
    for (size_t i = 0; i < n; i += piece)
        CK(cli_stream_add(&s, bytes + i, n - i < piece ? n - i : piece, &err) == DM_OK);
    CK(cli_stream_end(&s, &err) == DM_OK);
    char *copy = malloc(s.text.size + 1);
    if (copy && s.text.size)
        memcpy(copy, s.text.data, s.text.size);
    *size = copy ? s.text.size : 0;
    cli_stream_close(&s);
    return copy;
}

static const char *const characters[] = {"a",
                                         "\n",
                                         "\x7F",
                                         "\xC2\x80",
                                         "\xC3\xA9",
                                         "\xDF\xBF",
                                         "\xE0\xA0\x80",
                                         "\xE4\xBD\xA0",
                                         "\xED\x9F\xBF",
                                         "\xEF\xBF\xBF",
                                         "\xF0\x90\x80\x80",
                                         "\xF0\x9F\x99\x82",
                                         "\xF4\x8F\xBF\xBF"};
#define CHARACTERS (sizeof characters / sizeof *characters)

/* A character is shown with its last byte, not before and not later. */
static void test_held_back(void)
{
    cli_stream s;
    dm_error err = {0};
    size_t whole = 0;

    cli_stream_open(&s, NULL, NULL);
    for (size_t i = 0; i < CHARACTERS * CHARACTERS; i++) {
        const char *c = characters[i % 2 ? i / CHARACTERS : i % CHARACTERS];
        for (size_t k = 0; c[k]; k++) {
            CK(cli_stream_add(&s, c + k, 1, &err) == DM_OK);
            whole += c[k + 1] ? 0 : k + 1;
            CK_MSG(s.text.size == whole, "character %zu, byte %zu: %zu bytes are shown, not %zu", i, k, s.text.size,
                   whole);
        }
        CK(memcmp(s.text.data + whole - strlen(c), c, strlen(c)) == 0);
    }
    cli_stream_close(&s);
}

/* Every string of four bytes of these, and one after them: beginnings, middles, neither. */
static void test_broken(void)
{
    static const unsigned char bytes[] = {0x00, 'a',  0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1,
                                          0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
    const size_t n = sizeof bytes;

    for (size_t i = 0; i < n * n * n * n; i++) {
        const char text[5] = {(char)bytes[i % n], (char)bytes[i / n % n], (char)bytes[i / n / n % n],
                              (char)bytes[i / n / n / n], 'z'};
        size_t size = 0, again = 0;
        char *one = shown(text, sizeof text, 1, &size), *all = shown(text, sizeof text, sizeof text, &again);
        if (!CK(one && all))
            return;
        CK_MSG(size == again && memcmp(one, all, size) == 0, "string %zu: pieces change what is shown", i);
        CK_MSG(dm_utf8_check(one, size) == size, "string %zu: byte %zu shown is not UTF-8", i,
               dm_utf8_check(one, size));
        CK_MSG(size > 0 && one[size - 1] == 'z', "string %zu: swallows what follows", i);
        if (dm_utf8_check(text, sizeof text) == sizeof text)
            CK_MSG(size == sizeof text && memcmp(one, text, size) == 0, "string %zu: valid text is changed", i);
        free(one);
        free(all);
        i += getenv("DMPO_TEST_FAST") ? 12 : 0;
    }
}

/* The end of an answer in the middle of a character. */
static void test_end(void)
{
    for (size_t i = 0; i < CHARACTERS; i++)
        for (size_t k = 1; characters[i][k]; k++) {
            size_t size;
            char *text = shown(characters[i], k, 1, &size);
            CK_MSG(text && size == 3 && memcmp(text, "\xEF\xBF\xBD", 3) == 0, "character %zu cut at byte %zu", i, k);
            free(text);
        }
}

int main(void)
{
    test_held_back();
    test_broken();
    test_end();
    return ck_done("stream");
}
