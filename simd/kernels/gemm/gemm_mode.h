/* The mode of x86 that flushes what is tiny after rounding, as the bf16 product wants it. What computes in between must
 * be a call that is not inlined: the compiler may move arithmetic over what sets the mode, but not calls. */
#ifndef DM_SIMD_KERNELS_GEMM_GEMM_MODE_H
#define DM_SIMD_KERNELS_GEMM_GEMM_MODE_H

#include <immintrin.h>

/* Returns what gemm_mode_leave takes: the thread's mode and the exceptions that it had seen. */
static inline unsigned gemm_mode_enter(void)
{
    const unsigned before = _mm_getcsr(), flush = before | 0x8040u; /* flush to zero, denormals are zeros */

    __asm__ volatile("ldmxcsr %0" : : "m"(flush) : "memory");
    return before;
}

static inline void gemm_mode_leave(unsigned before)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(before) : "memory");
}

#endif
