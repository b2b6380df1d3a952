/* Progress on stderr: one line that is redrawn on a terminal, plain lines elsewhere. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/command.h"
#include "core/file.h"

void cli_progress_open(cli_progress *p, const cli_common *common)
{
    *p = (cli_progress){.quiet = common->quiet, .terminal = isatty(STDERR_FILENO), .phase = ""};
}

static void end_line(cli_progress *p)
{
    if (p->line_open)
        fputc('\n', stderr);
    p->line_open = 0;
}

static void duration(char buf[32], double seconds)
{
    const long s = seconds < 0 || seconds > 1e9 ? 0 : (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buf, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buf, 32, "%ld:%02ld", s / 60, s % 60);
}

/* "[#####.....] 12/40, 1.3/s, 0:21 left" */
static void bar(const cli_progress *p, int64_t done, int64_t total)
{
    const double elapsed = dm_seconds() - p->phase_start;
    const double rate = elapsed > 0 ? (double)(done - p->first) / elapsed : 0;
    char left[32];
    duration(left, rate > 0 ? (double)(total - done) / rate : 0);
    fputc('[', stderr);
    for (int i = 0; i < 20; i++)
        fputc(total > 0 && (int64_t)i * total < 20 * done ? '#' : '.', stderr);
    fprintf(stderr, "] %lld/%lld, %.2f/s, %s left", (long long)done, (long long)total, rate, left);
}

static void figures(const dmpo_metrics *m)
{
    fprintf(stderr, "loss %.4f", m->loss);
    if (!isnan(m->reward_margin))
        fprintf(stderr, ", margin %+.4f, accuracy %.3f", m->reward_margin, m->reward_accuracy);
}

static void step(cli_progress *p, const dmpo_event *e)
{
    if (p->terminal) {
        fputs("\r\033[K", stderr);
        bar(p, e->done, e->total);
        fputs("  ", stderr);
        figures(e->metrics);
        fprintf(stderr, ", %.0f tokens/s", e->metrics->tokens_per_second);
        p->line_open = 1;
        return;
    }
    fprintf(stderr, "step %lld/%lld: ", (long long)e->done, (long long)e->total);
    figures(e->metrics);
    fprintf(stderr, ", grad norm %.4f, lr %.3g, %.0f tokens/s\n", e->metrics->grad_norm, e->metrics->lr,
            e->metrics->tokens_per_second);
}

static void progress(cli_progress *p, const dmpo_event *e)
{
    const double now = dm_seconds();
    const double every = p->terminal ? 0.1 : 10.0;
    if (now - p->last_shown < every && (e->done < e->total || !p->terminal))
        return;
    p->last_shown = now;
    if (p->terminal)
        fputs("\r\033[K", stderr);
    fprintf(stderr, "%s ", p->phase_text);
    bar(p, e->done, e->total);
    if (p->terminal)
        p->line_open = 1;
    else
        fputc('\n', stderr);
}

int cli_progress_event(void *context, const dmpo_event *e)
{
    cli_progress *p = context;
    if (p->quiet)
        return cli_interrupted();
    switch (e->kind) {
    case DMPO_EVENT_NOTE:
        end_line(p);
        fprintf(stderr, "%s\n", e->text);
        break;
    case DMPO_EVENT_PHASE:
        end_line(p);
        snprintf(p->phase_text, sizeof p->phase_text, "%s", e->text);
        p->phase_start = p->last_shown = dm_seconds();
        p->first = e->done;
        if (!p->terminal)
            fprintf(stderr, "%s\n", e->text);
        break;
    case DMPO_EVENT_PROGRESS:
        progress(p, e);
        break;
    case DMPO_EVENT_STEP:
        step(p, e);
        break;
    case DMPO_EVENT_EVAL:
        if (p->terminal)
            fputs("\r\033[K", stderr);
        p->line_open = 0;
        fprintf(stderr, "held-out after step %lld: ", (long long)e->metrics->step);
        figures(e->metrics);
        fputc('\n', stderr);
        break;
    }
    fflush(stderr);
    return cli_interrupted();
}

void cli_progress_close(cli_progress *p)
{
    end_line(p);
}
