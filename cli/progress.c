/* Progress on stderr: one line that is redrawn on a terminal; elsewhere plain lines, a few seconds apart. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/command.h"
#include "core/files/file.h"
#include "core/system.h"

#define BAR 8              /* characters: with the figures of a step it fits into 80 columns */
#define TERMINAL_EVERY 0.1 /* seconds */
#define LINE_EVERY 5.0

void cli_progress_open(cli_progress *p, const cli_common *common)
{
    *p = (cli_progress){.quiet = common->quiet, .terminal = isatty(STDERR_FILENO)};
}

static void end_line(cli_progress *p)
{
    if (p->line_open)
        fputc('\n', stderr);
    p->line_open = 0;
}

/* Draws a line over the last one, cut to a terminal's width because a wrapped line cannot be drawn over. */
static void show(cli_progress *p, const char *text)
{
    struct winsize size;
    int width = 80;

    if (!p->terminal) {
        fprintf(stderr, "%s\n", text);
        return;
    }
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
        width = size.ws_col;
    fprintf(stderr, "\r\033[K%.*s", width - 1, text);
    p->line_open = 1;
}

typedef struct line {
    char text[256];
    size_t size;
} line;

static void add(line *l, const char *fmt, ...) DM_PRINTF(2, 3);

static void add(line *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(l->text + l->size, sizeof l->text - l->size, fmt, args);
    va_end(args);
    if (n > 0)
        l->size = l->size + (size_t)n < sizeof l->text ? l->size + (size_t)n : sizeof l->text - 1;
}

static void add_duration(line *l, double seconds)
{
    const long s = seconds < 0 || seconds > 1e9 ? 0 : (long)(seconds + 0.5);
    if (s >= 3600)
        add(l, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        add(l, "%ld:%02ld", s / 60, s % 60);
}

/* "[###.....] 12/40 1.30/s 0:21 left" */
static void add_bar(line *l, const cli_clock *clock, int64_t done, int64_t total)
{
    const double elapsed = dm_seconds() - clock->start;
    const double rate = elapsed > 0 ? (double)(done - clock->first) / elapsed : 0;
    add(l, "[");
    for (int i = 0; i < BAR; i++)
        add(l, "%c", total > 0 && (int64_t)i * total < BAR * done ? '#' : '.');
    add(l, "] %lld/%lld %.2f/s ", (long long)done, (long long)total, rate);
    add_duration(l, rate > 0 ? (double)(total - done) / rate : 0);
    add(l, " left");
}

static void add_figures(line *l, const dmpo_metrics *m, int brief)
{
    if (m->episodes > 0)
        add(l, "reward %.3f%s", m->reward, isnan(m->loss) ? "" : ", ");
    if (!isnan(m->loss))
        add(l, "loss %.*f", brief ? 3 : 4, m->loss);
    if (!isnan(m->reward_margin))
        add(l, ", margin %+.*f, accuracy %.*f", brief ? 3 : 4, m->reward_margin, brief ? 2 : 3, m->reward_accuracy);
}

static int too_early(cli_progress *p)
{
    const double now = dm_seconds();
    if (now - p->last_shown < (p->terminal ? TERMINAL_EVERY : LINE_EVERY))
        return 1;
    p->last_shown = now;
    return 0;
}

static void on_step(cli_progress *p, const dmpo_event *e)
{
    line l = {.size = 0};
    const int first = p->of_steps.start == 0, last = e->done == e->total;

    if (first)
        p->of_steps = p->of_phase;
    if (too_early(p) && !first && !last)
        return;
    if (p->terminal) {
        add_bar(&l, &p->of_steps, e->done, e->total);
        add(&l, "  ");
        add_figures(&l, e->metrics, 1);
    } else {
        add(&l, "step %lld/%lld: ", (long long)e->done, (long long)e->total);
        add_figures(&l, e->metrics, 0);
        add(&l, ", grad norm %.4f, lr %.3g", e->metrics->grad_norm, e->metrics->lr);
    }
    add(&l, ", %.0f tokens/s", e->metrics->tokens_per_second);
    show(p, l.text);
}

static void on_progress(cli_progress *p, const dmpo_event *e)
{
    line l = {.size = 0};

    if (too_early(p) && !(p->terminal && e->done == e->total))
        return;
    add(&l, "%s ", p->phase);
    add_bar(&l, &p->of_phase, e->done, e->total);
    if (e->text)
        add(&l, "  %s", e->text);
    show(p, l.text);
}

static void on_phase(cli_progress *p, const dmpo_event *e)
{
    end_line(p);
    snprintf(p->phase, sizeof p->phase, "%s", e->text);
    p->of_phase = (cli_clock){dm_seconds(), e->done};
    p->last_shown = p->of_phase.start;
    if (!p->terminal)
        cli_note(e->text);
}

static void on_evaluation(cli_progress *p, const dmpo_event *e)
{
    line l = {.size = 0};

    add(&l, "held-out after step %lld: ", (long long)e->metrics->step);
    add_figures(&l, e->metrics, 0);
    show(p, l.text);
    end_line(p);
}

int cli_progress_event(void *context, const dmpo_event *e)
{
    cli_progress *p = context;
    if (p->quiet)
        return cli_interrupted();
    switch (e->kind) {
    case DMPO_EVENT_NOTE:
        end_line(p);
        cli_note(e->text);
        break;
    case DMPO_EVENT_PHASE:
        on_phase(p, e);
        break;
    case DMPO_EVENT_PROGRESS:
        on_progress(p, e);
        break;
    case DMPO_EVENT_STEP:
        on_step(p, e);
        break;
    case DMPO_EVENT_EVAL:
        on_evaluation(p, e);
        break;
    }
    fflush(stderr);
    return cli_interrupted();
}

void cli_progress_close(cli_progress *p)
{
    end_line(p);
}
