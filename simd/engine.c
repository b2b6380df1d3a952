#define _DEFAULT_SOURCE /* madvise */
#include "simd/engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "simd/gemm.h"

#define LARGE_PAGE ((size_t)2 << 20) /* bytes of a large page */

/* 64-byte aligned at least and touched, so that memory in use does not depend on what is computed first. */
static float *buffer(dm_engine *e, size_t floats)
{
    const size_t bytes = floats * sizeof(float);
    void *memory = NULL;
    if (posix_memalign(&memory, bytes >= LARGE_PAGE ? LARGE_PAGE : 64, bytes) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= LARGE_PAGE)
        (void)madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    memset(memory, 0, bytes);
    e->bytes += bytes;
    return memory;
}

static int open_buffers(dm_engine *e)
{
    e->pack_b = buffer(e, dm_gemm_shared_pack(&e->k));
    e->pack_a = calloc(e->threads, sizeof *e->pack_a);
    if (!e->pack_b || !e->pack_a)
        return 0;
    e->bytes += e->threads * sizeof *e->pack_a;
    for (unsigned t = 0; t < e->threads; t++)
        if (!(e->pack_a[t] = buffer(e, dm_gemm_local_pack(&e->k))))
            return 0;
    return 1;
}

/* The tiles' order is AMX's to keep; the level below it keeps the contract by plain arithmetic. */
static dm_status check_tiles(const dm_kernels *k, dm_error *err)
{
    dm_kernels plain;
    bool agree;

    dm_kernels_init(&plain, DM_ISA_AVX512);
    const dm_status s = dm_gemm_bf16_agree(&plain.gemm_bf16, &k->gemm_bf16, &agree, err);
    if (s == DM_OK && !agree)
        return dm_fail(
            err, DM_ERR_UNSUPPORTED,
            "this machine's AMX adds in another order than the numerics contract; choose the instruction set "
            "avx512 (--isa, DMPO_ISA)");
    return s;
}

dm_status dm_engine_open(dm_engine *e, dm_isa isa, unsigned threads, dm_error *err)
{
    *e = (dm_engine){0};
    dm_status status = dm_float_env_check(err);
    if (status != DM_OK)
        return status;
    if (!dm_isa_usable(isa))
        return dm_fail(err, DM_ERR_UNSUPPORTED, "this build or machine lacks the %s kernels", dm_isa_name(isa));
    status = dm_pool_open(&e->pool, threads, err);
    if (status != DM_OK)
        return status;
    e->threads = threads;
    dm_kernels_init(&e->k, isa);
    if (isa == DM_ISA_AMX && (status = check_tiles(&e->k, err)) != DM_OK) {
        dm_engine_close(e);
        return status;
    }
    if (!open_buffers(e)) {
        dm_engine_close(e);
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the packing buffers of %u threads", threads);
    }
    return DM_OK;
}

void dm_engine_close(dm_engine *e)
{
    dm_pool_close(&e->pool);
    if (e->pack_a)
        for (unsigned t = 0; t < e->threads; t++)
            free(e->pack_a[t]);
    free(e->pack_a);
    free(e->pack_b);
    *e = (dm_engine){0};
}
