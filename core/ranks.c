#include "core/ranks.h"

#include <string.h>
#include <time.h>

#include "core/system.h"

#define GRACE 10.0 /* seconds for an answer */

static const dm_ranks alone = {.self = 0, .count = 1};
static const dm_ranks *here = &alone;
static double limit = 600;
static bool failed;

const dm_ranks *dm_ranks_here(void)
{
    return here;
}

void dm_ranks_use(const dm_ranks *ranks)
{
    here = ranks ? ranks : &alone;
}

void dm_ranks_limit(double seconds)
{
    limit = seconds;
}

bool dm_ranks_agreed_to_fail(void)
{
    return failed;
}

dm_status dm_ranks_fail_together(dm_status s)
{
    failed = true;
    return s;
}

/* ---- whom everyone waits for ---- */

typedef struct answer {
    uint32_t waits_for;
} answer;

/* Looks again and again, less often the longer it takes. */
static void pause_a_little(unsigned *looks)
{
    const struct timespec wait = {0, *looks < 2000 ? 50000 : 2000000};

    if (++*looks > 200)
        nanosleep(&wait, NULL);
}

void dm_ranks_answer(unsigned peer)
{
    unsigned from, looks = 0;
    size_t bytes;

    while (here->count > 1 && here->arrived(DM_RANK_ASK, &from, &bytes)) {
        uint32_t question = 0;
        const answer mine = {peer};
        dm_rank_message m = {0};
        here->receive(&m, from, DM_RANK_ASK, &question, bytes < sizeof question ? bytes : sizeof question);
        while (!here->done(&m))
            pause_a_little(&looks);
        here->send(&m, from, DM_RANK_ANSWER, &mine, sizeof mine);
        while (!here->done(&m)) /* as small as that, it is buffered */
            pause_a_little(&looks);
    }
}

static bool ask(unsigned rank, unsigned peer, answer *out)
{
    const uint32_t question = here->self;
    const double end = dm_seconds() + GRACE;
    dm_rank_message m = {0};
    unsigned looks = 0;

    here->send(&m, rank, DM_RANK_ASK, &question, sizeof question);
    while (!here->done(&m) && dm_seconds() < end)
        pause_a_little(&looks);
    here->receive(&m, rank, DM_RANK_ANSWER, out, sizeof *out);
    while (dm_seconds() < end) {
        if (here->done(&m))
            return out->waits_for < here->count;
        dm_ranks_answer(peer);
        pause_a_little(&looks);
    }
    return false;
}

static dm_status give_up(unsigned peer, const char *what, dm_error *err)
{
    unsigned rank = peer;
    answer a = {0};

    for (unsigned i = 0; i < here->count && ask(rank, peer, &a); i++) {
        if (a.waits_for == here->self)
            return dm_fail(err, DM_ERR_INTERNAL, "rank %u and rank %u wait for each other, for %.0f s (%s)", here->self,
                           rank, limit, what);
        rank = a.waits_for;
    }
    return dm_fail(
        err, DM_ERR_INTERRUPTED,
        "rank %u does not answer: rank %u has waited %.0f s for %s; the last checkpoint is whole, and `resume` "
        "continues from it, on as many ranks as there are then",
        rank, here->self, limit, what);
}

/* ---- messages ---- */

dm_status dm_ranks_wait(dm_rank_message *m, const char *what, dm_error *err)
{
    const double start = dm_seconds();
    unsigned looks = 0;

    while (!here->done(m)) {
        pause_a_little(&looks);
        if (looks % 128)
            continue;
        dm_ranks_answer(m->peer);
        if (dm_seconds() - start > limit)
            return give_up(m->peer, what, err);
    }
    return DM_OK;
}

dm_status dm_ranks_wait_all(dm_rank_message *m, size_t n, const char *what, dm_error *err)
{
    dm_status s = DM_OK;

    for (size_t i = 0; s == DM_OK && i < n; i++)
        s = dm_ranks_wait(&m[i], what, err);
    return s;
}

dm_status dm_ranks_send(unsigned to, dm_rank_tag tag, const void *data, size_t bytes, const char *what, dm_error *err)
{
    dm_rank_message m = {0};

    if (bytes == 0)
        return DM_OK;
    here->send(&m, to, tag, data, bytes);
    return dm_ranks_wait(&m, what, err);
}

dm_status dm_ranks_receive(unsigned from, dm_rank_tag tag, void *data, size_t bytes, const char *what, dm_error *err)
{
    dm_rank_message m = {0};

    if (bytes == 0)
        return DM_OK;
    here->receive(&m, from, tag, data, bytes);
    return dm_ranks_wait(&m, what, err);
}

dm_status dm_ranks_share(dm_rank_tag tag, void *data, size_t bytes, const char *what, dm_error *err)
{
    dm_rank_message m[DM_RANKS_MAX] = {{{0}, 0}};

    if (here->count == 1 || bytes == 0)
        return DM_OK;
    if (here->self > 0)
        return dm_ranks_receive(0, tag, data, bytes, what, err);
    for (unsigned r = 1; r < here->count; r++)
        here->send(&m[r], r, tag, data, bytes);
    return dm_ranks_wait_all(m, here->count, what, err);
}

/* ---- agreement ---- */

typedef struct statement {
    int32_t status;
    char message[DM_ERROR_MAX];
    dm_ranks_fact facts[DM_RANKS_FACTS];
} statement;

/* Rank 0: what it says of itself becomes the verdict on all. */
static void judge(statement *verdict, const statement *other, unsigned rank)
{
    dm_error why = {0};

    if (verdict->status != DM_OK)
        return;
    if (other->status != DM_OK) {
        verdict->status = other->status;
        dm_fail(&why, (dm_status)other->status, "rank %u: %s", rank, other->message);
    }
    for (size_t i = 0; i < DM_RANKS_FACTS && verdict->status == DM_OK; i++)
        if (strcmp(verdict->facts[i].value, other->facts[i].value) != 0) {
            verdict->status = DM_ERR_ARGUMENT;
            dm_fail(&why, DM_ERR_ARGUMENT, "rank %u has another %s than rank 0; all ranks need the same", rank,
                    verdict->facts[i].name);
        }
    memcpy(verdict->message, why.message, sizeof verdict->message);
}

dm_status dm_ranks_agree(dm_status s, const dm_ranks_fact facts[DM_RANKS_FACTS], dm_error *err)
{
    statement mine = {.status = s}, other;
    dm_status sent = DM_OK;

    if (here->count == 1)
        return s;
    memcpy(mine.facts, facts, sizeof mine.facts);
    if (s != DM_OK)
        memcpy(mine.message, err->message, sizeof mine.message);
    if (here->self > 0)
        sent = dm_ranks_send(0, DM_RANK_AGREE, &mine, sizeof mine, "the other ranks to begin", err);
    for (unsigned r = 1; here->self == 0 && sent == DM_OK && r < here->count; r++) {
        sent = dm_ranks_receive(r, DM_RANK_AGREE, &other, sizeof other, "the other ranks to begin", err);
        judge(&mine, &other, r);
    }
    if (sent == DM_OK)
        sent = dm_ranks_share(DM_RANK_AGREE, &mine, sizeof mine, "the other ranks to begin", err);
    if (sent != DM_OK || mine.status == DM_OK)
        return sent;
    failed = true;
    return dm_fail(err, (dm_status)mine.status, "%s", mine.message);
}
