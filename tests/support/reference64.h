/* The Llama family and the preference losses once more, in f64, as the papers write them: plain loops over one
 * trajectory, libm, nothing shared with the engine. What hand-derived backwards are held against
 * (tests/unit/model/loss/test_gradients.c). */
#ifndef DM_TESTS_SUPPORT_REFERENCE64_H
#define DM_TESTS_SUPPORT_REFERENCE64_H

#include "model/loss/loss.h"
#include "model/network/params.h"

double *f64_alloc(size_t n);

/* ---- operations; y [rows, ...] of x [rows, ...] ---- */

/* y = x w^T + b; w [out, in], b may be NULL */
void f64_linear(double *y, const double *x, const double *w, const double *b, size_t rows, size_t out, size_t in);
void f64_rmsnorm(double *y, const double *x, const double *w, size_t rows, size_t n, double eps);
/* The same with weights of offset + w; y == x is fine. */
void f64_offset_rmsnorm(double *y, const double *x, const double *w, size_t rows, size_t n, double eps, double offset);

/* In place, row t at position t; heads of head_dim, halves turned against each other. */
void f64_rope(const dm_config *c, dm_rope_use use, double *x, size_t rows, size_t heads);

/* Causal attention of n rows, scores divided by sqrt(scalar); row_of[i] (NULL: i) is where position i lies in q, k, v
 * and out. */
void f64_attention(double *out, const double *q, const double *k, const double *v, const size_t *row_of, size_t n,
                   size_t heads, size_t kv_heads, size_t d, size_t window, double scalar);
void f64_geglu(double *h, const double *gate, const double *up, size_t n);
void f64_swiglu(double *h, const double *gate, const double *up, size_t n);

/* log softmax(logits)[target] */
double f64_log_softmax(const double *logits, size_t n, size_t target);

/* ---- the model ---- */

/* logp[t] = log p(ids[t] | ids[0 .. t-1]) for 1 <= t < n */
void f64_logps(const dm_config *c, const dm_param_layout *l, const double *w, const int32_t *ids, size_t n,
               double *logp);

/* ---- the losses ---- */

typedef struct f64_side {
    size_t n, turns;
    const size_t *turn_of;
    const double *logp, *reference, *second; /* second: with two references */
} f64_side;

/* Mean over the pairs; chosen[i] and rejected[i] are a pair. kl: kto's constant. */
double f64_batch_loss(const dm_loss_options *o, const f64_side *chosen, const f64_side *rejected, size_t pairs,
                      double kl);

#endif
