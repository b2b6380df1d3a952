/* The thread pool: every part runs exactly once per round, barriers hold, nothing is lost over many rounds, and the
 * caller works alone for a while when the others are late. */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/threads.h"
#include "tests/support/check.h"

#define PARTS_MAX 64

typedef struct job {
    dm_pool *pool;
    unsigned calls[PARTS_MAX]; /* each written by its part only: a lost hand-over shows as a race under TSAN */
    unsigned parts_seen[PARTS_MAX];
    size_t *out;
    size_t n;
    unsigned steps;
    atomic_uint wrong;
} job;

static void count_call(void *ctx, unsigned part, unsigned parts)
{
    job *j = ctx;
    j->calls[part]++;
    j->parts_seen[part] = parts;
}

static void fill(void *ctx, unsigned part, unsigned parts)
{
    job *j = ctx;
    const dm_range r = dm_range_split(j->n, 4, part, parts);
    for (size_t i = r.begin; i < r.end; i++)
        j->out[i]++;
}

/* Each step every part adds 1 to its own slot; after the barrier all slots must be equal. */
static void march(void *ctx, unsigned part, unsigned parts)
{
    job *j = ctx;
    for (unsigned s = 0; s < j->steps; s++) {
        j->calls[part]++;
        dm_pool_barrier(j->pool);
        for (unsigned p = 0; p < parts; p++)
            if (j->calls[p] != s + 1)
                atomic_fetch_add(&j->wrong, 1);
        dm_pool_barrier(j->pool);
    }
}

static void pause_ms(long ms)
{
    const struct timespec t = {.tv_nsec = ms * 1000000};
    nanosleep(&t, NULL);
}

static void check_pool(unsigned threads)
{
    const unsigned rounds = getenv("DMPO_TEST_FAST") ? 200 : 2000;
    enum { N = 1003 };
    static size_t out[N];
    job j = {.out = out, .n = N, .steps = rounds / 4};
    dm_error err = {0};
    if (!CK_MSG(dm_pool_open(&j.pool, threads, &err) == DM_OK, "%s", err.message))
        return;
    for (unsigned i = 0; i < rounds; i++) {
        dm_pool_run(j.pool, count_call, &j);
        if (i % (rounds / 4) == 0)
            pause_ms(20); /* long enough for every worker to fall asleep */
    }
    for (unsigned p = 0; p < threads; p++)
        CK_MSG(j.calls[p] == rounds && j.parts_seen[p] == threads, "part %u of %u: %u calls", p, threads, j.calls[p]);

    memset(out, 0, sizeof out);
    for (unsigned i = 0; i < 10; i++)
        dm_pool_run(j.pool, fill, &j);
    size_t right = 0;
    for (size_t i = 0; i < N; i++)
        right += out[i] == 10;
    CK(right == N);

    memset(j.calls, 0, sizeof j.calls);
    dm_pool_run(j.pool, march, &j);
    CK(atomic_load(&j.wrong) == 0);
    dm_pool_close(&j.pool);
    CK(j.pool == NULL);
    dm_pool_close(&j.pool);
}

/* Part 0 has nothing to do; part 1 takes a millisecond, as one does that gets no processor. */
static void late(void *ctx, unsigned part, unsigned parts)
{
    job *j = ctx;
    j->parts_seen[part] = parts;
    if (part == 1)
        pause_ms(1);
}

static void check_late_thread(void)
{
    job j = {.steps = 10};
    dm_error err = {0};
    unsigned rounds = 0;

    if (!CK_MSG(dm_pool_open(&j.pool, 2, &err) == DM_OK, "%s", err.message))
        return;
    do
        dm_pool_run_sized(j.pool, SIZE_MAX, late, &j);
    while (j.parts_seen[0] == 2 && ++rounds < 1000);
    CK_MSG(j.parts_seen[0] == 1, "the caller never works alone");
    CK_MSG(rounds > 0, "nothing was late yet");
    dm_pool_run_sized(j.pool, SIZE_MAX, march, &j);
    CK(atomic_load(&j.wrong) == 0 && j.calls[0] == j.steps);

    pause_ms(500); /* longer than the first time alone */
    dm_pool_run_sized(j.pool, SIZE_MAX, count_call, &j);
    CK_MSG(j.parts_seen[0] == 2 && j.parts_seen[1] == 2, "the other thread never works again");
    dm_pool_close(&j.pool);
}

static void check_split(void)
{
    static const size_t sizes[] = {0, 1, 2, 15, 16, 17, 63, 64, 1000, SIZE_MAX};
    static const size_t grains[] = {0, 1, 3, 16, 64};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t g = 0; g < sizeof grains / sizeof *grains; g++)
            for (unsigned parts = 1; parts <= 9; parts++) {
                const size_t n = sizes[s], grain = grains[g] ? grains[g] : 1;
                size_t next = 0, least = SIZE_MAX, most = 0;
                bool aligned = true, joined = true;
                for (unsigned p = 0; p < parts; p++) {
                    const dm_range r = dm_range_split(n, grains[g], p, parts);
                    joined = joined && r.begin == next && r.end >= r.begin;
                    aligned = aligned && (r.begin % grain == 0 || r.begin == n);
                    const size_t pieces = (r.end - r.begin) / grain + ((r.end - r.begin) % grain != 0);
                    least = pieces < least ? pieces : least;
                    most = pieces > most ? pieces : most;
                    next = r.end;
                }
                CK_MSG(joined && aligned && next == n && most - least <= 1, "n=%zu grain=%zu parts=%u", n, grain,
                       parts);
            }
}

/* The system refuses a thread in the middle: a clean error, those already started are gone, and it works again. */
static void check_refused_threads(void)
{
    dm_error err = {0};
    dm_pool *pool;
    CK(dm_pool_open(&pool, 0, &err) == DM_ERR_ARGUMENT && pool == NULL);
    CK(dm_pool_open(&pool, DM_THREADS_MAX + 1, &err) == DM_ERR_ARGUMENT && strstr(err.message, "1 to 256"));

    struct rlimit before, tight;
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    memset(&before, 0, sizeof before);
    const bool known = f && fscanf(f, "%llu", &pages) == 1 && getrlimit(RLIMIT_AS, &before) == 0;
    if (f)
        fclose(f);
    tight = before;
    tight.rlim_cur = (rlim_t)(pages * (unsigned long long)sysconf(_SC_PAGESIZE)) + (64 << 20); /* 60 stacks */
    if (CK_SANITIZED || !known || setrlimit(RLIMIT_AS, &tight) != 0) {
        ck_skip("no limit on address space here");
        return;
    }
    const dm_status status = dm_pool_open(&pool, DM_THREADS_MAX, &err);
    setrlimit(RLIMIT_AS, &before);
    if (status == DM_OK) {
        dm_pool_close(&pool);
        ck_skip("the limit on address space is not enforced here");
        return;
    }
    CK(status == DM_ERR_MEMORY && pool == NULL);
    CK_MSG(strstr(err.message, "of 256 cannot be started"), "got '%s'", err.message);
    CK(dm_pool_open(&pool, 4, &err) == DM_OK);
    dm_pool_close(&pool);
}

int main(void)
{
    static const unsigned counts[] = {1, 2, 3, 8};
    CK(dm_cpu_count() >= 1);
    check_split();
    check_refused_threads();
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        check_pool(counts[i]);
    check_late_thread();
    dm_pool *none = NULL;
    dm_pool_close(&none);
    dm_pool_close(NULL);
    return ck_done("threads");
}
