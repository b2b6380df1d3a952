#include "cli/commands/chat/lines.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#define LINE_BYTES ((size_t)1 << 26)

static volatile sig_atomic_t interrupted, terminated;

static void on_signal(int number)
{
    interrupted = 1;
    if (number == SIGTERM)
        terminated = 1;
}

void cli_lines_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = SA_RESTART}; /* an answer's words are still written */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_lines_interrupted(void)
{
    return interrupted;
}

bool cli_lines_terminated(void)
{
    return terminated;
}

void cli_lines_calm(void)
{
    interrupted = terminated;
}

/* Signals are blocked except while it waits, so none is missed between testing the flag and waiting. */
static bool wait_for_input(void)
{
    sigset_t both, before;
    fd_set fds;

    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    sigprocmask(SIG_BLOCK, &both, &before);
    int ready = 0;
    while (!interrupted && ready <= 0) {
        FD_ZERO(&fds);
        FD_SET(STDIN_FILENO, &fds);
        ready = pselect(STDIN_FILENO + 1, &fds, NULL, NULL, NULL, &before);
        if (ready < 0 && errno != EINTR)
            break; /* read reports it */
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return !interrupted;
}

static dm_status fill(cli_lines *l, bool *stopped, dm_error *err)
{
    ssize_t n = -1;

    l->at = l->n = 0;
    do {
        if (!wait_for_input()) {
            *stopped = true;
            return DM_OK;
        }
        n = read(STDIN_FILENO, l->buffer, sizeof l->buffer);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0)
        return dm_fail(err, DM_ERR_FILE, "cannot read standard input: %s", strerror(errno));
    l->n = (size_t)n;
    l->end = n == 0;
    return DM_OK;
}

dm_status cli_lines_next(cli_lines *l, cli_got *got, dm_error *err)
{
    bool stopped = false;

    dm_text_free(&l->line);
    l->number++;
    for (;;) {
        if (l->at == l->n && !l->end) {
            const dm_status s = fill(l, &stopped, err);
            if (s != DM_OK)
                return s;
        }
        if (stopped || (l->end && l->line.size == 0)) {
            l->end = false; /* a terminal's Ctrl-D ends only this wait */
            *got = stopped ? CLI_GOT_INTERRUPT : CLI_GOT_END;
            return DM_OK;
        }
        const char *from = l->buffer + l->at, *line_end = memchr(from, '\n', l->n - l->at);
        const size_t taken = line_end ? (size_t)(line_end - from) : l->n - l->at;
        dm_text_add(&l->line, from, taken);
        l->at += taken + (line_end != NULL);
        if (l->line.failed)
            return dm_fail(err, DM_ERR_MEMORY, "no memory for a line of input");
        if (l->line.size > LINE_BYTES)
            return dm_fail(err, DM_ERR_INPUT, "a line is longer than %zu bytes, the limit for a message", LINE_BYTES);
        if (line_end || l->end)
            break;
    }
    l->cut = l->line.size >= CLI_LINE_MAX && isatty(STDIN_FILENO);
    if (l->line.size > 0 && l->line.data[l->line.size - 1] == '\r')
        l->line.data[--l->line.size] = 0;
    *got = CLI_GOT_LINE;
    return DM_OK;
}

void cli_lines_close(cli_lines *l)
{
    dm_text_free(&l->line);
}
