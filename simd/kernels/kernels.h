/* The kernel table: one function pointer per kernel, filled once per engine for one ISA level.
 *
 * Every kernel gives the same bits on every level; the scalar one is the specification. Words used:
 *   lanes16 sum    16 accumulators start at +0; element i goes to lane i % 16, i ascending; then lanes
 *                  fold: l += l + 8, l + 4, l + 2, l + 1 (lane l + lane l+w, in that operand order).
 *                  Lanes that a tail does not reach stay untouched.
 *   max(a,b)       a > b ? a : b. Equal (also +0 and -0) and unordered operands give b, on every level.
 *   lanes16 max    16 lanes start at -inf; lane = max(x[i], lane), so the first of equals stays and a NaN is
 *                  passed over; they fold like a sum: l = max(l, l + 8), ...
 *   fma(a,b,c)     one rounding. Everything else rounds after each operation; nothing is contracted.
 * Pointers need no alignment beyond that of float. n == 0 is legal everywhere. Outputs may not
 * overlap inputs unless a comment says "in place". Kernels cannot fail and run on any thread.
 *
 * NaN policy: a NaN input makes the affected outputs NaN; payload and sign are not part of the contract
 * (state[0] of lse_chunk, a maximum, passes it over; the lane of the sum has it). */
#ifndef DM_SIMD_KERNELS_KERNELS_H
#define DM_SIMD_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "core/cpu.h"
#include "core/numbers/dtype.h"
#include "simd/kernels/gemm/gemm_kernel.h"

/* AdamW (Loshchilov & Hutter 2019, as torch.optim.AdamW). All rounded once from f64 by the caller. */
typedef struct dm_adamw_step {
    float scale; /* gradient multiplier (clipping) */
    float beta1, one_minus_beta1;
    float beta2, one_minus_beta2;
    float decay;                /* 1 - lr * weight_decay */
    float step_size;            /* lr / (1 - beta1^t) */
    float inv_sqrt_correction2; /* 1 / sqrt(1 - beta2^t) */
    float eps;
} dm_adamw_step;

#define DM_DOUBLE_ROWS 8
#define DM_DOUBLE_COLUMNS 16
#define DM_DOUBLE_CHAIN ((size_t)32)

/* double_exp: 1 / 13!, 1 / 12!, ... 1 / 2!; ln 2 in two parts, the first with 33 bits */
#define DM_DOUBLE_EXP_COEFFICIENTS                                                                                     \
    {                                                                                                                  \
        1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,       \
            1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5                                                               \
    }
#define DM_DOUBLE_EXP_MAGIC 0x1.8p52
#define DM_DOUBLE_EXP_LEAST (-708.0)
#define DM_DOUBLE_LOG2E 0x1.71547652b82fep0
#define DM_DOUBLE_LN2_HI 0x1.62e42fefap-1
#define DM_DOUBLE_LN2_LO 0x1.cf79abc9e3b3ap-40

#define DM_LSE_STATE 17 /* floats: running maximum, then 16 lanes of sum exp(x - maximum) */

typedef struct dm_kernels {
    dm_isa isa;
    dm_gemm_kernel gemm, gemm_bf16;
    dm_gemm_skinny_fn skinny;
    dm_gemm_skinny_fn skinny_bf16;         /* the bf16 product; A rounded by round_bf16. NULL: packing is as good */
    dm_gemm_quantised_fn skinny_quantised; /* NULL: widening pieces and `skinny` are as fast */
    dm_gemm_lanes_fn lanes;
    dm_gemm_rows_fn rows;

    /* ---- reductions ---- */
    /* lanes16 sum of fma(x[i], y[i], lane). */
    float (*dot)(const float *x, const float *y, size_t n);

    /* ---- element by element ---- */
    void (*add)(float *y, const float *x, size_t n);     /* y[i] = y[i] + x[i] */
    void (*scale)(float *y, float a, size_t n);          /* y[i] = y[i] * a */
    void (*exp)(float *y, const float *x, size_t n);     /* dm_expf; in place allowed */
    void (*sigmoid)(float *y, const float *x, size_t n); /* dm_sigmoidf; in place allowed */

    /* ---- RMSNorm (Zhang & Sennrich 2019), one row of n ----
     * ms = dot(x, x) / (float)n; inv = 1 / sqrt(ms + eps); y[i] = (x[i] * inv) * w[i]. Returns inv.
     * y == x in place allowed. */
    float (*rmsnorm)(float *y, const float *x, const float *w, size_t n, float eps);
    /* a[i] = dy[i] * w[i]; c = (lanes16 sum of fma(a[i], x[i], lane)) * ((inv * inv) * inv) / (float)n
     * [evaluated: t = inv*inv; t = t*inv; c = sum*t; c = c/n]; dx[i] = dx[i] + (a[i]*inv - c*x[i])
     * as  r = a[i]*inv; r = fma(-c, x[i], r); dx[i] = dx[i] + r   when add != 0, else dx[i] = r.
     * dx == dy in place allowed when add == 0. */
    void (*rmsnorm_dx)(float *dx, const float *dy, const float *x, const float *w, float inv, size_t n, int add);
    /* dw[j] = fma(dy[t*stride + j], x[t*stride + j] * inv[t], dw[j]) for t = 0 .. rows-1 ascending, j < n. */
    void (*rmsnorm_dw)(float *dw, const float *dy, const float *x, const float *inv, size_t rows, size_t stride,
                       size_t n);
    /* db[j] = db[j] + dy[t*stride + j], t ascending (bias gradients). */
    void (*column_sum)(float *db, const float *dy, size_t rows, size_t stride, size_t n);

    /* ---- RoPE (Su et al. 2021), Hugging Face's rotate-half layout, in place on one head of n = head_dim
     * (even): for i < n/2: a = x[i], b = x[i + n/2]; x[i] = fma(-b, sin[i], a*cos[i]);
     * x[i + n/2] = fma(a, sin[i], b*cos[i]). The inverse rotation (backward) negates sin:
     * x[i] = fma(b, sin[i], a*cos[i]); x[i + n/2] = fma(-a, sin[i], b*cos[i]). cos, sin: [n/2]. */
    void (*rope)(float *x, const float *cos, const float *sin, size_t n, int inverse);

    /* ---- softmax of one row of n >= 1, in place ----
     * s[i] = s[i]*scale; m = lanes16 max; s[i] = dm_expf(s[i] - m); sum = lanes16 sum (plain +) of s[i];
     * r = 1 / sum; s[i] = s[i] * r. */
    void (*softmax)(float *s, size_t n, float scale);
    /* p: softmax output, ds: in dL/dp, out dL/ds before scaling, in place:
     * d = lanes16 sum of fma(p[i], ds[i], lane); ds[i] = (p[i] * (ds[i] - d)) * scale. */
    void (*softmax_backward)(float *ds, const float *p, size_t n, float scale);

    /* The same for `lanes` <= 16 rows that lie in the columns of s (or p and ds), `ld` floats from one key to the next.
     * Column l sees keys [0, full + l) of `keys` <= full + lanes - 1; what it does not see is left undefined. */
    void (*softmax_columns)(float *s, size_t ld, size_t lanes, size_t full, size_t keys, float scale);
    void (*softmax_columns_backward)(float *ds, const float *p, size_t ld, size_t lanes, size_t full, size_t keys,
                                     float scale);

    /* ---- the values that one query row sees, weighed: heads * group rows of d, n <= d columns of each ----
     * out[i*d + c] = fma(p[i*ldp + j], v[j*ldv + (i/group)*d + c], out[i*d + c]) for j = 0 .. keys-1 ascending, i <
     * heads*group, c < n; with first != 0 out starts as +0 and is not read. */
    void (*weigh)(float *out, const float *p, size_t ldp, const float *v, size_t ldv, size_t keys, size_t heads,
                  size_t group, size_t d, size_t n, int first);

    /* ---- a tile of a product in double ----
     * c[i*16 + j] = c[i*16 + j] + the sum of a[p*8 + i] * b[p*16 + j] over 32 p, from +0, p ascending; then the next 32
     * p, to k-1; i < 8, j < 16. Each product is rounded, then each sum. */
    void (*double_tile)(double *c, const double *a, const double *b, size_t k);

    /* exp(x[i]), x <= 709, within 2^-52 relative; 0 below -708. With t = x * log2(e) + magic, n = t - magic,
     * r = (x - n * ln2_hi) - n * ln2_lo, q by Horner from the coefficients: (1 + (r + (r*r) * q)) * 2^n, rounded after
     * each operation. In place allowed. */
    void (*double_exp)(double *y, const double *x, size_t n);

    /* value[j] = sum of x[i] * w[i*stride + j] over i = 0 .. d-1 ascending, from +0; size[j] = the sum of the products'
     * magnitudes; j < n. The product is rounded, then the sum. */
    void (*double_dots)(double *value, double *size, const double *x, const double *w, size_t stride, size_t d,
                        size_t n);

    /* Rows of x, weighed, added to a sum and to three sums of magnitudes, for j = 0 .. count-1 ascending:
     * s[i] = s[i] + w[j] * x[j*row + i] and s[m*stride + i] = s[m*stride + i] + w[m*ws + j] * |x[j*row + i]| for
     * m = 1, 2, 3; i < n. The product is rounded, then the sum. */
    void (*double_share)(double *s, size_t stride, const double *x, size_t row, size_t n, const double *w, size_t ws,
                         size_t count);

    /* ---- SwiGLU (Shazeer 2020): h = (g * sigmoid(g)) * u ---- h == g or h == u in place allowed. */
    void (*swiglu)(float *h, const float *g, const float *u, size_t n);
    /* s = sigmoid(g); a = g*s; du = dh*a; dg = (dh*u) * (s * fma(g, 1 - s, 1)).
     * In place: dg may be g, du may be u. dh may equal neither output. */
    void (*swiglu_backward)(float *dg, float *du, const float *dh, const float *g, const float *u, size_t n);

    /* ---- GeGLU (Shazeer 2020) with the tanh form of GELU (Hendrycks & Gimpel 2016) ----
     * 0.5 (1 + tanh z) is sigmoid(2z): c = min(max(g, -16), 16); s = sigmoid(c * fma(C3, c*c, C1)); h = (g*s) * u,
     * with C1 = 2 sqrt(2/pi), C3 = 0.044715 C1 (core/numbers/exact_coeffs.h). h == g or h == u in place allowed. */
    void (*geglu)(float *h, const float *g, const float *u, size_t n);
    /* c, s as above; du = dh * (g*s); t = c * fma(3 C3, c*c, C1); dg = (dh*u) * (s * fma(t, 1 - s, 1)).
     * In place: dg may be g, du may be u. dh may equal neither output. */
    void (*geglu_backward)(float *dg, float *du, const float *dh, const float *g, const float *u, size_t n);

    /* ---- log-softmax over a vocabulary in chunks (online, Milakov & Gimelshein 2018) ----
     * state starts as {-FLT_MAX, 0 x 16}. For one chunk of n logits (all chunks but the last have the same
     * length, a multiple of 16): cm = lanes16 max of the chunk; if cm > state[0]:
     * f = dm_expf(state[0] - cm), every lane *= f, state[0] = cm; else cm = state[0].
     * Then lane[i % 16] += dm_expf(x[i] - cm). */
    void (*lse_chunk)(float *state, const float *logits, size_t n);
    /* Gradient of coef * log-softmax at the target, for one chunk, in place (the target's own +coef is
     * added by the caller): l[i] = -(coef * dm_expf((l[i] - max) - log_sum)). */
    void (*logit_grad)(float *l, size_t n, float max, float log_sum, float coef);

    /* ---- AdamW, element by element ----
     * g' = g*scale; w = w*decay; m = fma(one_minus_beta1, g', beta1*m); v = fma(one_minus_beta2, g'*g', beta2*v);
     * d = fma(sqrt(v), inv_sqrt_correction2, eps); w = w - (step_size*m)/d. */
    void (*adamw)(float *w, float *m, float *v, const float *g, size_t n, const dm_adamw_step *step);

    /* ---- storage formats: exact widening, round-to-nearest-even narrowing (NaN stays NaN) ---- */
    void (*from_bf16)(float *y, const uint16_t *x, size_t n);
    void (*to_bf16)(uint16_t *y, const float *x, size_t n);
    /* y[i] = x[i] to bf16 and back, what is subnormal then as a zero of its sign; in place allowed. */
    void (*round_bf16)(float *y, const float *x, size_t n);
    void (*from_f16)(float *y, const uint16_t *x, size_t n);
    void (*to_f16)(uint16_t *y, const float *x, size_t n);

    /* ---- stored weights (core/numbers/dtype.h): y[i] = value of element first + i of a row of type `type` ----
     * For blocks first and n are multiples of 32. row: aligned to the element of plain types; blocks: not at all. */
    void (*widen)(float *y, dm_dtype type, const void *row, size_t first, size_t n);
#if HAVE_SLEEF
    void (*own_exp)(float *y, const float *x, size_t n); /* what a build without SLEEF has for exp, sigmoid */
    void (*own_sigmoid)(float *y, const float *x, size_t n);
#endif
} dm_kernels;

/* Fills the table for a level that dm_isa_usable() accepts: scalar first, then what the level does better. */
void dm_kernels_init(dm_kernels *k, dm_isa isa);

#endif
