/* What every computation needs: a kernel table, a thread pool and packing buffers. */
#ifndef DM_SIMD_ENGINE_H
#define DM_SIMD_ENGINE_H

#include "core/threads.h"
#include "simd/kernels/kernels.h"

typedef struct dm_engine {
    dm_kernels k;
    dm_pool *pool;
    unsigned threads;
    float *pack_b;  /* shared panel of B, kc x nc */
    float **pack_a; /* one per thread: dm_gemm_local_pack floats (a private A block and B panel) */
    size_t bytes;   /* what the engine itself allocated */
} dm_engine;

/* isa: a usable level. threads: 1 .. DM_THREADS_MAX. Checks the floating-point environment.
 * All its memory is allocated here; no later call allocates. */
dm_status dm_engine_open(dm_engine *e, dm_isa isa, unsigned threads, dm_error *err);
void dm_engine_close(dm_engine *e); /* accepts a zeroed struct */

#endif
