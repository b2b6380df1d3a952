/* What the formulas share: shapes, bounds, sums. */
#ifndef DM_MODEL_TRUTH_FORMULA_INTERNAL_H
#define DM_MODEL_TRUTH_FORMULA_INTERNAL_H

#include <math.h>
#include <stdlib.h>

#include "model/check/bugs.h"
#include "model/truth/formula.h"

typedef struct dm_both { /* a sound and a probable bound */
    double sound, likely;
} dm_both;

typedef struct dm_total {
    double value, size; /* sum of terms, sum of their magnitudes */
} dm_total;

static inline const dm_node *dm_eval_in(const dm_evaluation *e, size_t i)
{
    return &e->g->nodes[dm_op_in(e->g, e->op, i)];
}

static inline const dm_node *dm_eval_out(const dm_evaluation *e, size_t i)
{
    return &e->g->nodes[dm_op_out(e->g, e->op, i)];
}

static inline const dm_graph_item *dm_eval_item(const dm_evaluation *e)
{
    return &e->g->items[e->op->item];
}

/* The value to which a mistake sets `knob`; 0 without one. */
static inline double dm_knob_of(const dm_evaluation *e, dm_knob knob)
{
    return e->bug && e->bug->knob == knob ? e->bug->value : 0;
}

/* The operation's scale, as a mistake changes it. */
static inline double dm_scale_of(const dm_evaluation *e)
{
    const double power = dm_knob_of(e, DM_KNOB_POWER), factor = dm_knob_of(e, DM_KNOB_FACTOR);
    double scale = e->op->scale;

    if (power > 0)
        scale = power < 1 ? 1 : scale * scale;
    if (dm_knob_of(e, DM_KNOB_HIDDEN) > 0)
        scale = 1 / sqrt((double)e->g->o.config->hidden);
    return factor > 0 ? scale * factor : scale;
}

/* The first input of a sum over items, which has so many of each: a mistake leaves all but the last item out. */
static inline size_t dm_first_item(const dm_evaluation *e, size_t each)
{
    return dm_knob_of(e, DM_KNOB_ITEMS) > 0 ? (e->g->o.n_items - 1) * each : 0;
}

/* gamma_n = n u / (1 - n u), and with lambda sqrt(n) for n. A sum of n terms in any order (Higham 2002, section 4.2;
 * Higham and Mary 2019, theorem 2.4). */
static inline dm_both dm_gamma(const dm_evaluation *e, double n)
{
    const double nu = n * e->r.acc, sound = nu < 1 ? nu / (1 - nu) : INFINITY;
    const double root = e->r.lambda * sqrt(n) * e->r.acc, likely = root < 0.5 ? expm1(root) : INFINITY;

    return (dm_both){sound, likely < sound ? likely : sound};
}

/* What elements that are sums of as many terms have in common. */
typedef struct dm_terms {
    dm_both g;
    double share, lost; /* of the terms' magnitude; absolute */
} dm_terms;

/* n terms. inputs: how many factors of a term are rounded by a matrix product; stages: values of about the terms'
 * magnitude that may be stored on the way. */
static inline dm_terms dm_terms_of(const dm_evaluation *e, double n, int inputs, double stages)
{
    return (dm_terms){dm_gamma(e, n + 2), inputs * e->r.in * (1 + e->r.in) + stages * e->r.out,
                      e->r.flush * (n + 2) + e->r.least * (stages + 1)};
}

/* Element i of output o: terms whose magnitudes add up to y.size. more: other errors. */
static inline void dm_put_terms(const dm_evaluation *e, size_t o, size_t i, dm_total y, const dm_terms *t, dm_both more)
{
    i -= e->first[o];
    e->out[o][i] = y.value;
    if (!e->sound)
        return;
    const double common = t->share * y.size + e->r.out * fabs(y.value) + t->lost;
    e->sound[o][i] = (t->g.sound * y.size + more.sound) * (1 + e->r.out) + common;
    e->likely[o][i] = (t->g.likely * y.size + more.likely) * (1 + e->r.out) + common;
    e->size[o][i] = y.size;
}

static inline void dm_put(const dm_evaluation *e, size_t o, size_t i, dm_total y, double n, int inputs, double stages,
                          dm_both more)
{
    const dm_terms t = dm_terms_of(e, n, inputs, stages);

    dm_put_terms(e, o, i, y, &t, more);
}

/* The same of a value that is copied: it is rounded when it is stored, if at all. */
static inline void dm_put_exact(const dm_evaluation *e, size_t o, size_t i, double y)
{
    i -= e->first[o];
    e->out[o][i] = y;
    if (!e->sound)
        return;
    e->sound[o][i] = e->likely[o][i] = e->r.out * fabs(y) + e->r.flush + e->r.least;
    e->size[o][i] = fabs(y);
}

/* x in this many bits, round to nearest even; 0: as it is. */
static inline double dm_in_bits(double x, int bits)
{
    int exponent;
    const double fraction = frexp(x, &exponent);

    return bits ? ldexp(nearbyint(ldexp(fraction, bits)), exponent - bits) : x;
}

static const dm_both dm_nothing_more = {0, 0};

#define DM_SUM_LANES 8

/* sum of x y, in 8 chains that a compiler makes vectors of */
static inline dm_total dm_dot(const double *x, const double *y, size_t n)
{
    double s[DM_SUM_LANES] = {0}, a[DM_SUM_LANES] = {0};
    size_t i = 0;

    for (; i + DM_SUM_LANES <= n; i += DM_SUM_LANES)
        for (size_t l = 0; l < DM_SUM_LANES; l++) {
            const double t = x[i + l] * y[i + l];
            s[l] += t;
            a[l] += fabs(t);
        }
    for (; i < n; i++) {
        s[0] += x[i] * y[i];
        a[0] += fabs(x[i] * y[i]);
    }
    for (size_t w = DM_SUM_LANES / 2; w > 0; w /= 2)
        for (size_t l = 0; l < w; l++) {
            s[l] += s[l + w];
            a[l] += a[l + w];
        }
    return (dm_total){s[0], a[0]};
}

/* s += x y, a += |x y|, for a row y */
static inline void dm_axpy(double *restrict s, double *restrict a, double x, const double *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double t = x * y[i];
        s[i] += t;
        a[i] += fabs(t);
    }
}

/* Scratch of n doubles, zeroed; sets *failed when there is no memory. */
static inline double *dm_eval_scratch(const dm_evaluation *e, size_t n)
{
    double *p = calloc(n ? n : 1, sizeof *p);

    if (!p)
        *e->failed = true;
    return p;
}

typedef struct dm_formula_row {
    void (*run)(const dm_evaluation *e, size_t begin, size_t end); /* outputs of units [begin, end) */
    size_t (*units)(const dm_evaluation *e);
} dm_formula_row;

/* model/truth/formula_linear.c */
void dm_compute_linear(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_linear_dx(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_linear_dw(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_bias_dw(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_lora_down(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_lora_dus(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_embed(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_embed_dw(const dm_evaluation *e, size_t begin, size_t end);
/* model/truth/formula_rows.c */
void dm_compute_tokens(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_norm(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_norm_dx(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_norm_dw(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_rope(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_gather(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_scatter(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_add(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_glu(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_glu_grad(const dm_evaluation *e, size_t begin, size_t end);
/* model/truth/formula_attention.c */
void dm_compute_attention(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_attention_grad(const dm_evaluation *e, size_t begin, size_t end);
/* model/truth/formula_loss.c */
void dm_compute_logp(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_logits_grad(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_phi(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_score(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_loss(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_coef(const dm_evaluation *e, size_t begin, size_t end);
/* model/truth/formula_optimizer.c */
void dm_compute_clip(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_adam_m(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_adam_v(const dm_evaluation *e, size_t begin, size_t end);
void dm_compute_adam_w(const dm_evaluation *e, size_t begin, size_t end);

#endif
