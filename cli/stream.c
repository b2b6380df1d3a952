#include "cli/stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/utf8.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

void cli_stream_open(cli_stream *s, FILE *out, const char *stop)
{
    *s = (cli_stream){.out = out, .terminal = out && isatty(fileno(out))};
    dm_stop_text_begin(&s->stop, stop);
}

void cli_stream_close(cli_stream *s)
{
    dm_text_free(&s->text);
    dm_stop_text_free(&s->stop);
}

/* Whether more bytes can make p[0..n), which is not a character yet, one. */
static int is_beginning(const unsigned char *p, size_t n)
{
    unsigned char whole[4] = {p[0], 0x80, 0x80, 0x80};

    if (n == 1) /* whatever the second byte must be */
        return p[0] >= 0xC2 && p[0] <= 0xF4;
    memcpy(whole, p, n);
    return dm_utf8_length(whole, whole + sizeof whole) > n;
}

/* C0 except tab and line end, DEL, and C1, whose UTF-8 form begins with C2. */
static int is_control(const unsigned char *p)
{
    return (p[0] < 0x20 && p[0] != '\n' && p[0] != '\t') || p[0] == 0x7F || (p[0] == 0xC2 && p[1] < 0xA0);
}

static void put(cli_stream *s, const char *character, size_t n)
{
    dm_text_add(&s->text, character, n);
    if (!s->out)
        return;
    if (s->terminal && is_control((const unsigned char *)character))
        fputs(REPLACEMENT, s->out);
    else
        fwrite(character, 1, n, s->out);
}

static dm_status check(const cli_stream *s, dm_error *err)
{
    if (s->text.failed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the text");
    if (s->out && (fflush(s->out) != 0 || ferror(s->out)))
        return dm_fail(err, DM_ERR_FILE, "cannot write standard output: %s", strerror(errno));
    return DM_OK;
}

/* Shows the beginning of `pending` once it is decided: a whole character, or a byte that is not part of one. */
static void settle(cli_stream *s)
{
    while (s->n_pending > 0) {
        const size_t length = dm_utf8_length(s->pending, s->pending + s->n_pending), taken = length ? length : 1;
        if (length == 0 && is_beginning(s->pending, s->n_pending))
            return;
        if (length)
            put(s, (const char *)s->pending, length);
        else
            put(s, REPLACEMENT, strlen(REPLACEMENT));
        s->n_pending -= taken;
        memmove(s->pending, s->pending + taken, s->n_pending);
    }
}

static void show(cli_stream *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        s->pending[s->n_pending++] = (unsigned char)bytes[i];
        settle(s);
    }
}

dm_status cli_stream_add(cli_stream *s, const char *bytes, size_t n, dm_error *err)
{
    const dm_status status = dm_stop_text_add(&s->stop, bytes, n, &bytes, &n, err);

    if (status != DM_OK)
        return status;
    show(s, bytes, n);
    return check(s, err);
}

dm_status cli_stream_end(cli_stream *s, dm_error *err)
{
    const char *rest;
    size_t n;

    dm_stop_text_end(&s->stop, &rest, &n);
    show(s, rest, n);
    if (s->n_pending > 0)
        put(s, REPLACEMENT, strlen(REPLACEMENT));
    s->n_pending = 0;
    if (s->out)
        fputc('\n', s->out);
    return check(s, err);
}
