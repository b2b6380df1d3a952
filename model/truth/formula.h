/* Every formula of a step (model/truth/graph.h) in double, from the inputs of one operation to its outputs, with bounds
 * for what an honest implementation's rounding can do to each element.
 *
 * Plain loops, written for reading; nothing is shared with the engine but the shape of the model, the packing, the
 * angles' frequencies and the loss links, which are double already. */
#ifndef DM_MODEL_TRUTH_FORMULA_H
#define DM_MODEL_TRUTH_FORMULA_H

#include "core/threads.h"
#include "model/truth/graph.h"

/* Precision of what is judged. Unit roundoffs: f64 2^-53, f32 2^-24, tf32 and f16 2^-11, bf16 2^-8. */
typedef struct dm_rounding {
    double in;     /* what matrix products round their inputs to; 0: they take them as they are */
    double acc;    /* of sums and functions */
    double out;    /* of what is stored */
    double flush;  /* smallest normal number of sums: below it anything may become 0 */
    double least;  /* what storing may lose of a number however small it is */
    double lambda; /* of the probable bound: it fails with probability 2 n exp(-lambda^2 / 2) for each element */
} dm_rounding;

struct dm_bug; /* a known mistake changes one thing in a formula: model/check/bugs.h */

typedef struct dm_evaluation {
    const dm_graph *g;
    const dm_op *op;
    const double *const *in; /* [op.n_in]; NULL: absent */
    double *const *out;      /* [op.n_out] */
    double *const *sound;    /* [op.n_out] |error| <= sound for every order of summation; NULL: no bounds are wanted */
    double *const *likely;   /* [op.n_out] the same with sqrt(n) for n (Higham and Mary 2019, 2020) */
    double *const *size;     /* [op.n_out] sum of the terms' magnitudes; size / |out| is the conditioning */
    dm_rounding r;
    size_t first[3];          /* the element of each output with which its arrays begin; 0 but in dm_formula_part */
    const struct dm_bug *bug; /* NULL: none */
    bool *failed;             /* memory ran out */
    /* filled by dm_formula_eval or dm_formula_prepare (simd/kernels/kernels.h): the best there is, all have the same
     * bits */
    void (*tile)(double *c, const double *a, const double *b, size_t k);
    void (*share)(double *s, size_t stride, const double *x, size_t row, size_t n, const double *w, size_t ws,
                  size_t count);
    void (*exp)(double *y, const double *x, size_t n);
    void (*dots)(double *value, double *size, const double *x, const double *w, size_t stride, size_t d, size_t n);
} dm_evaluation;

/* Evaluates the formula on all threads of the pool (NULL: on this one alone). */
void dm_formula_eval(const dm_evaluation *e, dm_pool *pool);

/* For formulas whose outputs can be computed in parts at no more cost: into how many units they fall, each with as many
 * elements of every output; else 0. dm_formula_part: units [begin, end) into arrays that begin with these, on the
 * calling thread; dm_formula_prepare has filled e. */
void dm_formula_prepare(dm_evaluation *e);
size_t dm_formula_units(const dm_evaluation *e);
void dm_formula_part(const dm_evaluation *e, size_t begin, size_t end);

#endif
