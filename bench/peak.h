/* The FMA peak of all threads of an engine together. */
#ifndef DM_BENCH_PEAK_H
#define DM_BENCH_PEAK_H

#include "bench/bench.h"
#include "simd/engine.h"

typedef struct peak_task {
    dm_isa isa;
    double rate[DM_THREADS_MAX];
} peak_task;

static inline void peak_part(void *ctx, unsigned part, unsigned parts)
{
    peak_task *t = ctx;
    (void)parts;
    t->rate[part] = peak_now(t->isa);
}

/* flop/s of all the engine's threads together, now */
static inline double peak_of_all(const dm_engine *e)
{
    peak_task t = {.isa = e->k.isa};
    double sum = 0;

    dm_pool_run(e->pool, peak_part, &t);
    for (unsigned i = 0; i < e->threads; i++)
        sum += t.rate[i];
    return sum;
}

#endif
