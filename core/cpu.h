/* Which instruction-set level the processor AND the operating system can run. */
#ifndef DM_CORE_CPU_H
#define DM_CORE_CPU_H

#include <stdbool.h>

#include "core/error.h"

typedef enum dm_isa { DM_ISA_SCALAR, DM_ISA_AVX2, DM_ISA_AVX512, DM_ISA_AMX, DM_ISA_NEON, DM_ISA_COUNT } dm_isa;

/* "scalar", "avx2" (with FMA and F16C), "avx512" (F, VL, DQ, BW), "amx" (avx512, and tiles of bf16), "neon". */
const char *dm_isa_name(dm_isa isa);

/* This build contains the level (configure's HAVE_AVX2 ...) and the machine can run it (CPUID and, on
 * x86, XCR0: the OS saves the registers; Linux is asked for the tiles of AMX, once for the process). scalar is always
 * usable. */
bool dm_isa_usable(dm_isa isa);
bool dm_isa_built(dm_isa isa); /* this build contains it; the machine is not checked */
dm_isa dm_isa_best(void);      /* never amx, which has to be asked for */

/* name NULL: DMPO_ISA from the environment, or the best level without it. An unknown name is
 * DM_ERR_ARGUMENT, a level that this machine or build lacks DM_ERR_UNSUPPORTED: never a fallback. */
dm_status dm_isa_choose(dm_isa *out, const char *name, dm_error *err);

/* The processor's name for reports, e.g. "AMD EPYC"; "unknown" if it has none. */
void dm_cpu_name(char *buf, int size);

/* Fails (DM_ERR_UNSUPPORTED) when this thread flushes subnormals or does not round to nearest. */
dm_status dm_float_env_check(dm_error *err);

#endif
