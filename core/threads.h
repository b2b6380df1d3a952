/* A pool of threads that all run the same function on different parts of the output.
 *
 * Work is split statically: part p of P always gets the same outputs, and a sum is never split, so
 * results do not depend on the number of threads. Waiting is a short spin, then a futex-like sleep. */
#ifndef DM_CORE_THREADS_H
#define DM_CORE_THREADS_H

#include <stddef.h>

#include "core/error.h"

#define DM_THREADS_MAX 256u

typedef struct dm_pool dm_pool;

/* Called once per part, part 0 on the calling thread. */
typedef void (*dm_task_fn)(void *ctx, unsigned part, unsigned parts);

/* threads: 1..DM_THREADS_MAX. On success *out must be given to dm_pool_close. */
dm_status dm_pool_open(dm_pool **out, unsigned threads, dm_error *err);
void dm_pool_close(dm_pool **pool); /* NULL and *pool == NULL are fine */

/* Runs fn(ctx, 0..threads-1, threads), returns when every part is done. Not reentrant. */
void dm_pool_run(dm_pool *pool, dm_task_fn fn, void *ctx);

/* The same, but on the calling thread alone (one part) when there is too little to do (`work` counts floats touched or
 * multiply-adds, whichever takes longer), and for a while when the other threads don't get a processor. */
void dm_pool_run_sized(dm_pool *pool, size_t work, dm_task_fn fn, void *ctx);

/* Inside a task: returns when every part has called it. All parts must call it the same number of times. */
void dm_pool_barrier(dm_pool *pool);

typedef struct dm_range {
    size_t begin, end;
} dm_range;

/* Part `part` of [0, n) in pieces that are multiples of `grain` (except the last). */
dm_range dm_range_split(size_t n, size_t grain, unsigned part, unsigned parts);

/* Processors this process may run on, at least 1. */
unsigned dm_cpu_count(void);

#endif
