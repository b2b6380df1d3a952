/* Proof that a product with weights is sound, without computing it in double: in float first, with a rigorous bound of
 * what float loses, which is far below what an honest implementation may lose. */
#ifndef DM_MODEL_TRUTH_PROOF_H
#define DM_MODEL_TRUTH_PROOF_H

#include "model/truth/formula.h"

typedef struct dm_factor {
    const double *a,
        *b; /* element (i, p) of a is a[i * a_row + p * a_column], (p, j) of b b[p * b_row + j * b_column] */
    size_t a_row, a_column, b_row, b_column, k;
} dm_factor;

/* What model/truth/formula_linear.c adds up, as a list. dm_factor_of: product f for all rows of the output; false:
 * there are no more, or the operation isn't such a sum. dm_factor_terms: what dm_terms_of is given for it.
 * dm_factor_more: what is added to columns [first, first + count) of a row, with magnitudes; returns how many stages
 * that adds. */
bool dm_factor_of(const dm_evaluation *e, size_t f, dm_factor *out);
void dm_factor_terms(const dm_evaluation *e, double *terms, double *stages);
double dm_factor_more(const dm_evaluation *e, size_t row, size_t first, size_t count, double *more, double *size);

/* True: dm_formula_eval would make bounds within which every element of `got`, the operation's only output, is
 * probable, and whose sum is below the output's. False says nothing. Every input must be made of floats.
 *
 * e: in, r and op are read; bug must be NULL. Needs about 4 MB for each thread; *e->failed is set when they are not
 * there. */
bool dm_product_proved(const dm_evaluation *e, const double *got, dm_pool *pool);

#endif
