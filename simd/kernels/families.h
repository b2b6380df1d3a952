/* The kernel families: one k_<family>.c each, here or in gemm/. The list makes their prototypes here and the calls in
 * kernels.c. */
#ifndef DM_SIMD_KERNELS_FAMILIES_H
#define DM_SIMD_KERNELS_FAMILIES_H

#include "simd/kernels/kernels.h"

#define DM_FAMILIES(X)                                                                                                 \
    X(element)                                                                                                         \
    X(norm)                                                                                                            \
    X(rope)                                                                                                            \
    X(softmax)                                                                                                         \
    X(swiglu)                                                                                                          \
    X(geglu)                                                                                                           \
    X(head)                                                                                                            \
    X(adamw)                                                                                                           \
    X(convert)                                                                                                         \
    X(widen)                                                                                                           \
    X(quantised)                                                                                                       \
    X(gemm)                                                                                                            \
    X(triangular)                                                                                                      \
    X(skinny)                                                                                                          \
    X(weigh)                                                                                                           \
    X(double)                                                                                                          \
    X(gemm_bf16)                                                                                                       \
    X(skinny_bf16)

#define DM_FAMILY_INIT(family)                                                                                         \
    void dm_k_##family##_init_scalar(dm_kernels *k);                                                                   \
    void dm_k_##family##_init_avx2(dm_kernels *k);                                                                     \
    void dm_k_##family##_init_avx512(dm_kernels *k);                                                                   \
    void dm_k_##family##_init_neon(dm_kernels *k);
DM_FAMILIES(DM_FAMILY_INIT)
#undef DM_FAMILY_INIT

#endif
