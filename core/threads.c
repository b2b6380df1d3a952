#define _GNU_SOURCE /* sched_getaffinity */
#include "core/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/system.h"

#define SPINS 4000u        /* pauses before sleeping: tens of microseconds, about the gap between two kernels */
#define YIELDS 16u         /* instead of spinning when threads have to share processors */
#define STACK_SIZE 1048576 /* bytes; musl's default of 128 KiB is thin for kernels with local tiles */

/* When other processes hold the processors, the caller waits for workers that do not get one. As soon as waiting has
 * cost LATE seconds more than doing the others' parts would have, tasks run on the caller alone for a while, at first
 * ALONE seconds, at most ALONE_MOST; then all threads are tried again. Times are forgotten every WINDOW seconds. */
#define LATE 0.002
#define WINDOW 0.02
#define ALONE 0.02
#define ALONE_MOST 1.0

typedef struct dm_worker {
    struct dm_pool *pool;
    pthread_t thread;
    unsigned part;
} dm_worker;

/* `round`, `finished` and `sense` are words that only change to wake a thread that waits for the change. */
struct dm_pool {
    dm_task_fn fn; /* of the current round; written before `round` changes */
    void *ctx;
    unsigned threads, started;
    bool alone; /* the calling thread runs a task by itself */
    bool shared_cpus;
    pthread_t caller;              /* of the current round */
    double ran, waited;            /* seconds of the caller in tasks of all threads, and of these in waits */
    double alone_until, alone_for; /* dm_seconds; how long the next time */
    _Alignas(64) atomic_uint round;
    _Alignas(64) atomic_uint finished;
    atomic_uint pending; /* workers that have not finished the current round */
    _Alignas(64) atomic_uint sense;
    atomic_uint arrived; /* parts that wait in the barrier */
    _Alignas(64) atomic_uint sleepers;
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    dm_worker workers[]; /* threads - 1; part 0 is the caller */
};

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void wait_while_equal(dm_pool *pool, atomic_uint *word, unsigned old)
{
    const unsigned tries = pool->shared_cpus ? YIELDS : SPINS;
    for (unsigned i = 0; i < tries; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old)
            return;
        if (pool->shared_cpus)
            sched_yield();
        else
            pause_cpu();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(word) == old)
        pthread_cond_wait(&pool->changed, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

/* The same for the caller, whose waiting is counted. */
static void caller_waits(dm_pool *pool, atomic_uint *word, unsigned old)
{
    if (atomic_load_explicit(word, memory_order_acquire) != old)
        return;
    const double begin = dm_seconds();
    wait_while_equal(pool, word, old);
    pool->waited += dm_seconds() - begin;
}

/* Sequentially consistent on both sides: either the sleeper sees the new word, or we see the sleeper. */
static void change(dm_pool *pool, atomic_uint *word)
{
    atomic_fetch_add(word, 1);
    if (atomic_load(&pool->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *arg)
{
    const dm_worker *worker = arg;
    dm_pool *pool = worker->pool;
    for (unsigned seen = 0;; seen++) {
        wait_while_equal(pool, &pool->round, seen);
        if (atomic_load(&pool->stop))
            return NULL;
        pool->fn(pool->ctx, worker->part, pool->threads);
        if (atomic_fetch_sub(&pool->pending, 1) == 1)
            change(pool, &pool->finished);
    }
}

/* The main thread handles signals, so workers start with all of them blocked. */
static int start_workers(dm_pool *pool)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int failure = pthread_attr_init(&attr);
    if (failure)
        return failure;
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i + 1 < pool->threads && !failure; i++) {
        pool->workers[i] = (dm_worker){.pool = pool, .part = i + 1};
        failure = pthread_create(&pool->workers[i].thread, &attr, work, &pool->workers[i]);
        if (!failure)
            pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return failure;
}

dm_status dm_pool_open(dm_pool **out, unsigned threads, dm_error *err)
{
    *out = NULL;
    if (threads < 1 || threads > DM_THREADS_MAX)
        return dm_fail(err, DM_ERR_ARGUMENT, "%u threads: must be 1 to %u", threads, DM_THREADS_MAX);
    const size_t size = sizeof(dm_pool) + threads * sizeof(dm_worker);
    void *memory = NULL;
    if (posix_memalign(&memory, 64, size) != 0)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for a pool of %u threads", threads);
    dm_pool *pool = memset(memory, 0, size);
    pool->threads = threads;
    pool->alone_for = ALONE;
    pool->shared_cpus = threads > dm_cpu_count();
    atomic_init(&pool->round, 0);
    atomic_init(&pool->finished, 0);
    atomic_init(&pool->pending, 0);
    atomic_init(&pool->sense, 0);
    atomic_init(&pool->arrived, 0);
    atomic_init(&pool->sleepers, 0);
    atomic_init(&pool->stop, false);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->changed, NULL);
    const int failure = start_workers(pool);
    if (failure) {
        const unsigned started = pool->started;
        dm_pool_close(&pool);
        return dm_fail(err, DM_ERR_MEMORY, "thread %u of %u cannot be started: %s", started + 2, threads,
                       strerror(failure));
    }
    *out = pool;
    return DM_OK;
}

void dm_pool_close(dm_pool **pool)
{
    if (!pool || !*pool)
        return;
    dm_pool *p = *pool;
    *pool = NULL;
    atomic_store(&p->stop, true);
    change(p, &p->round);
    for (unsigned i = 0; i < p->started; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

/* After a round of all threads that began at `begin`: shall the caller go on alone for a while? */
static void weigh_waiting(dm_pool *pool, double begin)
{
    const double now = dm_seconds();

    pool->ran += now - begin;
    const double parts = pool->ran - pool->waited; /* the caller's; the others' take as long */
    const bool late = pool->waited - (pool->threads - 1) * parts > LATE;
    if (late) {
        pool->alone_until = now + pool->alone_for;
        pool->alone_for = pool->alone_for * 2 < ALONE_MOST ? pool->alone_for * 2 : ALONE_MOST;
    } else if (pool->ran > WINDOW) {
        pool->alone_for = ALONE;
    } else {
        return;
    }
    pool->ran = pool->waited = 0;
}

void dm_pool_run(dm_pool *pool, dm_task_fn fn, void *ctx)
{
    if (pool->threads == 1) {
        fn(ctx, 0, 1);
        return;
    }
    const double begin = dm_seconds();
    const unsigned before = atomic_load(&pool->finished);
    pool->fn = fn;
    pool->ctx = ctx;
    pool->caller = pthread_self();
    atomic_store(&pool->pending, pool->threads - 1);
    change(pool, &pool->round);
    fn(ctx, 0, pool->threads);
    caller_waits(pool, &pool->finished, before);
    weigh_waiting(pool, begin);
}

/* A few microseconds of work: the cost of waking the other threads and of waiting for them. */
#define WORK_MIN ((size_t)1 << 17)

void dm_pool_run_sized(dm_pool *pool, size_t work, dm_task_fn fn, void *ctx)
{
    if (work >= WORK_MIN && (pool->alone_until == 0 || dm_seconds() >= pool->alone_until)) {
        dm_pool_run(pool, fn, ctx);
        return;
    }
    pool->alone = true;
    fn(ctx, 0, 1);
    pool->alone = false;
}

/* Sense-reversing: the last part to arrive resets the count before it changes the sense the others wait for. */
void dm_pool_barrier(dm_pool *pool)
{
    if (pool->alone || pool->threads == 1)
        return;
    const unsigned sense = atomic_load(&pool->sense);
    if (atomic_fetch_add(&pool->arrived, 1) + 1 < pool->threads) {
        if (pthread_equal(pool->caller, pthread_self()))
            caller_waits(pool, &pool->sense, sense);
        else
            wait_while_equal(pool, &pool->sense, sense);
        return;
    }
    atomic_store(&pool->arrived, 0);
    change(pool, &pool->sense);
}

dm_range dm_range_split(size_t n, size_t grain, unsigned part, unsigned parts)
{
    if (grain == 0)
        grain = 1;
    const size_t pieces = n / grain + (n % grain != 0);
    const size_t each = pieces / parts, extra = pieces % parts;
    const size_t first = part * each + (part < extra ? part : extra);
    const size_t last = first + each + (part < extra);
    return (dm_range){first >= pieces ? n : first * grain, last >= pieces ? n : last * grain};
}

unsigned dm_cpu_count(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}
