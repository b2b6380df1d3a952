/* A step's figures as a JSON line. The line buffer grows once and is reused: no allocation in the training loop. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "model/trainer.h"

static void number(dm_text *out, const char *key, double value)
{
    dm_text_print(out, ", \"%s\": ", key);
    dm_text_json_double(out, value);
}

void dm_metrics_json(dm_text *out, const char *kind, const dmpo_metrics *m)
{
    dm_text_print(out, "{\"kind\": \"%s\", \"step\": %lld", kind, (long long)m->step);
    number(out, "epoch", m->epoch);
    number(out, "loss", m->loss);
    number(out, "rewards/chosen", m->reward_chosen);
    number(out, "rewards/rejected", m->reward_rejected);
    number(out, "rewards/margins", m->reward_margin);
    number(out, "rewards/accuracies", m->reward_accuracy);
    number(out, "logps/chosen", m->logp_chosen);
    number(out, "logps/rejected", m->logp_rejected);
    number(out, "grad_norm", m->grad_norm);
    number(out, "lr", m->lr);
    number(out, "tokens_per_second", m->tokens_per_second);
    number(out, "seconds", m->seconds);
    dm_text_print(out, ", \"peak_memory\": %llu, \"tokens\": %lld, \"action_tokens\": %lld}\n",
                  (unsigned long long)m->peak_memory, (long long)m->tokens, (long long)m->action_tokens);
}

dm_status dm_metrics_write(dm_run *r, const char *kind, const dmpo_metrics *m, dm_error *err)
{
    r->line.size = 0;
    dm_metrics_json(&r->line, kind, m);
    if (r->line.failed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for a metrics line");
    for (size_t at = 0; at < r->line.size;) {
        const ssize_t n = write(r->metrics_fd, r->line.data + at, r->line.size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dm_fail(err, DM_ERR_FILE, "cannot write %s/metrics.jsonl: %s", r->o.output, strerror(errno));
        at += (size_t)n;
    }
    return DM_OK;
}

void dm_run_event(dm_run *r, dmpo_event_kind kind, const char *text, int64_t done, int64_t total, const dmpo_metrics *m)
{
    const dmpo_event event = {kind, text, done, total, m};
    if (r->event && r->event(r->event_context, &event))
        r->stop = 1;
}
