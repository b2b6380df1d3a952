/* The frame of checkasm (tests/checkasm/checkasm.c): memory whose ends are guarded, inputs of many kinds, comparison of
 * bits.
 *
 * A check function runs one kernel twice on one case, by the reference and by the level under test:
 *
 *     static void check_add(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n)
 *     {
 *         const float *x = ck_in(c, n);
 *         const ck_floats y = ck_inout(c, n);
 *         ref->add(y.want, x, n);
 *         k->add(y.got, x, n);
 *         ck_same(c, "y", y, n);
 *     }
 *
 * Buffers live until the next case. Every buffer of a case lies in the same place: before an unreadable page, after
 * one, or in between and misaligned. Outputs have canaries on both sides as far as their memory goes. */
#ifndef DM_TESTS_CHECKASM_CHECKASM_H
#define DM_TESTS_CHECKASM_CHECKASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simd/kernels/kernels.h"

typedef enum ck_place { CK_AT_END, CK_AT_START, CK_BETWEEN, CK_PLACES } ck_place;

typedef enum ck_fill {
    CK_NOISE,     /* uniform in [-1, 1) */
    CK_LOGITS,    /* uniform in [-20, 20) */
    CK_WIDE,      /* any finite number, all exponents alike */
    CK_SUBNORMAL, /* subnormals and the smallest normals */
    CK_ZEROS,     /* +0 and -0, a few other numbers */
    CK_TINY,      /* near 2^-80, one sign in a buffer and the other in the next: products underflow to -0 */
    CK_HUGE,      /* the largest numbers: sums overflow */
    CK_ONE,       /* noise with one NaN or infinity */
    CK_SPECIAL,   /* NaN, infinities, zeros, extremes, subnormals, ones in any mixture */
    CK_BITS,      /* any 32 bits */
    CK_FILLS
} ck_fill;

typedef struct ck {
    uint64_t random;
    ck_place place;
    ck_fill fill;
    size_t n;
    size_t slots;             /* handed out in this case */
    bool negative;            /* the sign of CK_TINY, another for each buffer */
    const char *name, *level; /* for messages */
    unsigned long differences;
} ck;

typedef struct ck_floats {
    float *want, *got;
} ck_floats;

typedef struct ck_halves {
    uint16_t *want, *got;
} ck_halves;

uint32_t ck_random(ck *c);
size_t ck_below(ck *c, size_t n); /* 0 .. n-1 */
float ck_uniform(ck *c, float low, float high);
float ck_number(ck *c); /* one number of the case's fill */

const float *ck_in(ck *c, size_t n);
const uint16_t *ck_in_halves(ck *c, size_t n); /* any 16 bits */
ck_floats ck_inout(ck *c, size_t n);           /* the same numbers twice, for outputs and in-place work */
ck_floats ck_inout_abs(ck *c, size_t n);       /* not negative */
ck_halves ck_out_halves(ck *c, size_t n);

/* Bytes at any address; not filled: ck_seal does the rest. */
uint8_t *ck_bytes(ck *c, size_t n, size_t alignment);

/* Like ck_in, but 64-byte aligned whatever the place; not filled. At the end: with less than 64 bytes to spare. */
float *ck_aligned(ck *c, size_t n);
void ck_set(ck *c, float *p, size_t n); /* fills */
void ck_seal(ck *c);                    /* makes the latest buffer an input, which kernels must not write to */

/* Takes back all buffers but the first `keep`; records canaries and inputs that changed. The end of each case does. */
void ck_release(ck *c, size_t keep);

/* Records a difference of bits (a NaN equals any NaN). */
void ck_same(ck *c, const char *what, ck_floats y, size_t n);
void ck_same_halves(ck *c, const char *what, ck_halves y, size_t n, uint16_t infinity);
void ck_same_value(ck *c, const char *what, float want, float got);
void ck_differ(ck *c, const char *fmt, ...) DM_PRINTF(2, 3);

/* One kernel of the table. bench: one call on b's data; returns how many elements (GEMM: multiply-adds) it did. */
typedef struct ck_bench {
    size_t n;
    float *a, *b, *c, *d, *e; /* n each, 64-byte aligned */
    uint16_t *h;
} ck_bench;

typedef struct ck_kernel {
    const char *name;
    void (*check)(ck *c, const dm_kernels *ref, const dm_kernels *k, size_t n);
    size_t (*bench)(const dm_kernels *k, ck_bench *b);
    bool own_sizes; /* check ignores n: it is called once for each fill and place */
} ck_kernel;

/* Each ends with name NULL. */
extern const ck_kernel ck_row_kernels[], ck_convert_kernels[], ck_gemm_kernels[], ck_attention_kernels[],
    ck_quantised_kernels[], ck_bf16_kernels[], ck_double_kernels[];

/* The contract of simd/kernels/kernels.h written down a second time, as plain loops: what the scalar level is held
 * against. Without the GEMM kernel, whose check brings its own. */
void ck_reference(dm_kernels *k);

#endif
