/* Episodes on several ranks: each plays every `count`-th one of what is missing, rank 0 writes them in their order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/rollout/rollout_internal.h"
#include "core/ranks.h"

typedef struct header { /* before a line */
    uint64_t index, size;
    double reward;
    int64_t turns, tokens; /* of the policy since the last one */
    int32_t failed;
} header;

static const char what[] = "an episode";

dm_status dm_rollout_ranks_open(dm_rollout_run *r, dm_status s, const dm_text *described)
{
    dm_ranks_fact facts[DM_RANKS_FACTS] = {{"set of options", ""}};
    uint64_t written = r->file.written;
    dm_sha256 h;

    if (dm_ranks_here()->count == 1)
        return s;
    dm_sha256_init(&h);
    dm_sha256_update(&h, described->data, described->failed ? 0 : described->size);
    dm_sha256_finish(&h, facts[0].value);
    if ((s = dm_ranks_agree(s, facts, r->err)) != DM_OK)
        return s;
    s = dm_ranks_share(DM_RANK_STATE, &written, sizeof written, "the first episode", r->err);
    r->file.written = (size_t)written;
    return s;
}

dm_status dm_rollout_ranks_send(dm_rollout_run *r, size_t index, dm_rollout_line *line)
{
    const header h = {.index = index,
                      .size = line->text.size,
                      .reward = line->reward,
                      .turns = r->status.turns - r->reported.turns,
                      .tokens = r->status.tokens - r->reported.tokens,
                      .failed = line->failed};
    dm_status s = dm_ranks_send(0, DM_RANK_WORK, &h, sizeof h, what, r->err);

    if (s == DM_OK)
        s = dm_ranks_send(0, DM_RANK_WORK, line->text.data, line->text.size, what, r->err);
    r->reported = r->status;
    dm_text_free(&line->text);
    return s;
}

static dm_status take(dm_rollout_run *r, unsigned from)
{
    header h;
    dm_rollout_line line = {0};
    dm_status s = dm_ranks_receive(from, DM_RANK_WORK, &h, sizeof h, what, r->err);

    if (s != DM_OK)
        return s;
    if (h.index >= r->todo.n)
        return dm_fail(r->err, DM_ERR_INTERNAL, "rank %u played an episode %llu that there is not", from,
                       (unsigned long long)h.index);
    if (!(line.text.data = malloc((size_t)h.size + 1)))
        return dm_rollout_no_memory(r);
    line.text.size = (size_t)h.size;
    line.text.data[line.text.size] = '\0';
    if ((s = dm_ranks_receive(from, DM_RANK_WORK, line.text.data, line.text.size, what, r->err)) != DM_OK) {
        dm_text_free(&line.text);
        return s;
    }
    line.reward = h.reward;
    line.failed = h.failed;
    r->status.turns += h.turns;
    r->status.tokens += h.tokens;
    r->status.done++;
    r->status.played++;
    return dm_rollout_file_add(&r->file, (size_t)h.index, &line, r->err);
}

dm_status dm_rollout_ranks_take(dm_rollout_run *r)
{
    const dm_ranks *ranks = dm_ranks_here();
    dm_status s = DM_OK;
    unsigned from;
    size_t bytes;

    while (s == DM_OK && ranks->count > 1 && ranks->self == 0 && ranks->arrived(DM_RANK_WORK, &from, &bytes))
        s = take(r, from);
    return s;
}

dm_status dm_rollout_ranks_finish(dm_rollout_run *r)
{
    const struct timespec wait = {0, 10000000};
    const size_t count = dm_ranks_here()->count;

    while (dm_ranks_here()->self == 0 && r->file.written < r->todo.n && !dm_rollout_report(r, NULL)) {
        dm_ranks_answer((unsigned)((r->file.written + count - r->next % count) % count)); /* whose episode it is */
        nanosleep(&wait, NULL);
    }
    return r->s;
}
