#include "simd/kernels/kernels.h"

#include "config.h"
#include "simd/kernels/gemm/amx.h"
#include "simd/kernels/families.h"

/* Scalar fills every slot; the level then puts its own kernels over them. A level that this build lacks never gets
 * here: dm_isa_usable() refuses it. */
void dm_kernels_init(dm_kernels *k, dm_isa isa)
{
    k->isa = isa;
#define INIT(family) dm_k_##family##_init_scalar(k);
    DM_FAMILIES(INIT)
#undef INIT
#if HAVE_AVX2
    if (isa == DM_ISA_AVX2) {
#define INIT(family) dm_k_##family##_init_avx2(k);
        DM_FAMILIES(INIT)
#undef INIT
    }
#endif
#if HAVE_AVX512
    if (isa == DM_ISA_AVX512 || isa == DM_ISA_AMX) {
#define INIT(family) dm_k_##family##_init_avx512(k);
        DM_FAMILIES(INIT)
#undef INIT
    }
#endif
#if HAVE_AMX
    if (isa == DM_ISA_AMX)
        dm_k_gemm_bf16_init_amx(&k->gemm_bf16, k->gemm.pack);
#endif
#if HAVE_NEON
    if (isa == DM_ISA_NEON) {
#define INIT(family) dm_k_##family##_init_neon(k);
        DM_FAMILIES(INIT)
#undef INIT
    }
#endif
}
