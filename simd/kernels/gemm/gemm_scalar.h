/* GEMM without vectors: 4 x 4, a "register" is one float. This is the specification of the others. */
#ifndef DM_SIMD_KERNELS_GEMM_GEMM_SCALAR_H
#define DM_SIMD_KERNELS_GEMM_GEMM_SCALAR_H

#include <math.h>
#include <stddef.h>

#define GEMM_LEVEL(name) name##_scalar
#define GEMM_VL 1
#define GEMM_MR 4
#define GEMM_NV 4
#define GEMM_ROWS(F) F(0) F(1) F(2) F(3)
#define GEMM_COLS(F, i) F(i, 0) F(i, 1) F(i, 2) F(i, 3)
#define GEMM_MODE 0
#define GEMM_MC 128
#define GEMM_KC 256
#define GEMM_NC 512

typedef float gv;

static inline gv gv_zero(void)
{
    return 0.0f;
}

static inline gv gv_set1(const float *p)
{
    return *p;
}

static inline gv gv_load(const float *p)
{
    return *p;
}

static inline gv gv_loadn(const float *p, size_t n)
{
    return n > 0 ? *p : 0.0f;
}

static inline void gv_store(float *p, gv x)
{
    *p = x;
}

static inline void gv_storen(float *p, gv x, size_t n)
{
    if (n > 0)
        *p = x;
}

static inline gv gv_fma(gv x, gv y, gv z)
{
    return fmaf(x, y, z);
}

static inline gv gv_add(gv x, gv y)
{
    return x + y;
}

/* A subnormal number becomes a zero of its sign. */
static inline gv gv_flush(gv x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

/* In the lanes from n on; z in those below. */
static inline gv gv_fma_from(gv x, gv y, gv z, size_t n)
{
    return n > 0 ? z : fmaf(x, y, z);
}

static inline void gv_transpose(gv r[1])
{
    (void)r;
}

#endif
