/* A step's figures as a JSON line, and as TensorBoard's scalars. The line buffer grows once and is reused: no
 * allocation in the training loop. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "io/tensorboard.h"
#include "model/train/run.h"

#define FIGURES 17
#define KL 10 /* of the figures, where it has a meaning; then up to CLIPPED those of learning while acting */
#define CLIPPED 14
#define LINE 1200 /* bytes: more than the longest one has */

/* What both forms have, in order; returns how many. */
static size_t figures_of(const dmpo_metrics *m, dm_tensorboard_scalar out[FIGURES])
{
    const dm_tensorboard_scalar all[FIGURES] = {
        {"epoch", m->epoch},
        {"loss", m->loss},
        {"rewards/chosen", m->reward_chosen},
        {"rewards/rejected", m->reward_rejected},
        {"rewards/margins", m->reward_margin},
        {"rewards/accuracies", m->reward_accuracy},
        {"logps/chosen", m->logp_chosen},
        {"logps/rejected", m->logp_rejected},
        {"grad_norm", m->grad_norm},
        {"lr", m->lr},
        {"kl", m->kl},
        {"reward", m->reward},
        {"ratio/low", m->ratio_low},
        {"ratio/high", m->ratio_high},
        {"clipped", m->clipped},
        {"tokens_per_second", m->tokens_per_second},
        {"seconds", m->seconds},
    };
    size_t n = 0;
    for (size_t i = 0; i < FIGURES; i++)
        if (i < KL || i > CLIPPED || (i == KL ? !isnan(m->kl) : m->episodes > 0))
            out[n++] = all[i];
    return n;
}

void dm_metrics_json(dm_json_writer *w, const char *key, const char *kind, const dmpo_metrics *m)
{
    dm_tensorboard_scalar figure[FIGURES];
    const size_t n = figures_of(m, figure);

    dm_json_open_object(w, key);
    dm_json_put_string(w, "kind", kind);
    dm_json_put_int(w, "step", m->step);
    for (size_t i = 0; i < n; i++)
        dm_json_put_double(w, figure[i].tag, figure[i].value);
    dm_json_put_uint(w, "peak_memory", m->peak_memory);
    dm_json_put_int(w, "tokens", m->tokens);
    dm_json_put_int(w, "action_tokens", m->action_tokens);
    dm_json_close_value(w);
}

static dm_status append(int fd, const char *dir, const char *name, const void *data, size_t size, dm_error *err)
{
    for (size_t at = 0; at < size;) {
        const ssize_t n = write(fd, (const char *)data + at, size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dm_fail(err, DM_ERR_FILE, "cannot write %s/%s: %s", dir, name, strerror(errno));
        at += (size_t)n;
    }
    return DM_OK;
}

/* Seconds since 1970. TensorBoard draws over it; nothing else in the output knows the time. */
static double wall_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static dm_status write_scalars(dm_run *r, const char *kind, const dmpo_metrics *m, dm_error *err)
{
    unsigned char record[DM_TENSORBOARD_RECORD];
    dm_tensorboard_scalar figure[FIGURES + 1];
    size_t n = figures_of(m, figure);

    for (size_t i = 0; i < n; i++) /* an evaluation takes no step */
        if (strcmp(kind, "eval") == 0 && (strcmp(figure[i].tag, "grad_norm") == 0 || strcmp(figure[i].tag, "lr") == 0))
            figure[i].value = NAN;
    figure[n++] = (dm_tensorboard_scalar){"peak_memory", (double)m->peak_memory};
    const size_t size = dm_tensorboard_scalars(record, wall_time(), m->step, kind, figure, n);
    return append(r->output.tensorboard_fd, r->options.output, DM_TENSORBOARD_FILE, record, size, err);
}

dm_status dm_metrics_write(dm_run *r, const char *kind, const dmpo_metrics *m, dm_error *err)
{
    dm_text *line = &r->output.line;
    dm_json_writer w = {.out = line};

    if (line->capacity <= LINE)
        dm_text_print(line, "%*s", LINE, ""); /* room, once */
    line->size = 0;
    dm_metrics_json(&w, NULL, kind, m);
    dm_text_add(line, "\n", 1);
    if (line->failed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for a metrics line");
    const dm_status s = append(r->output.metrics_fd, r->options.output, "metrics.jsonl", line->data, line->size, err);
    return s == DM_OK && r->output.tensorboard_fd >= 0 ? write_scalars(r, kind, m, err) : s;
}

/* ---- the event file ---- */

int64_t dm_run_tensorboard_size(const dm_run *r)
{
    dm_path path;
    struct stat st;

    if (dm_path_in(&path, r->options.output, DM_TENSORBOARD_FILE, NULL) != DM_OK || stat(path.text, &st) != 0)
        return 0;
    return (int64_t)st.st_size;
}

dm_status dm_run_tensorboard_open(dm_run *r, int64_t bytes, dm_error *err)
{
    dm_path path;
    unsigned char record[DM_TENSORBOARD_RECORD];
    dm_status s = dm_path_in(&path, r->options.output, DM_TENSORBOARD_FILE, err);
    const int64_t size = dm_run_tensorboard_size(r);

    if (s != DM_OK)
        return s;
    if (r->options.tensorboard && size < bytes)
        return dm_fail(
            err, DM_ERR_INPUT,
            "%s has %lld bytes, the checkpoint belongs to one of %lld or more; put that file back, or resume "
            "without `tensorboard`",
            path.text, (long long)size, (long long)bytes);
    if (size > bytes && (bytes ? truncate(path.text, (off_t)bytes) : unlink(path.text)) != 0)
        return dm_fail(err, DM_ERR_FILE, "%s: cannot cut: %s", path.text, strerror(errno));
    if (!r->options.tensorboard)
        return DM_OK;
    r->output.tensorboard_fd = dm_open(path.text, O_WRONLY | O_CREAT | O_APPEND);
    if (r->output.tensorboard_fd < 0)
        return dm_fail(err, DM_ERR_FILE, "%s: cannot create: %s", path.text, strerror(errno));
    return bytes ? DM_OK
                 : append(r->output.tensorboard_fd, r->options.output, DM_TENSORBOARD_FILE, record,
                          dm_tensorboard_begin(record, wall_time()), err);
}

void dm_run_event(dm_run *r, dmpo_event_kind kind, const char *text, int64_t done, int64_t total, const dmpo_metrics *m)
{
    const dmpo_event event = {kind, text, done, total, m};
    if (r->output.event && r->output.event(r->output.event_context, &event))
        r->stop = 1;
}
