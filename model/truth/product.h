/* Matrix products in double, and an upper bound for the magnitudes of their terms. */
#ifndef DM_MODEL_TRUTH_PRODUCT_H
#define DM_MODEL_TRUTH_PRODUCT_H

#include "model/truth/formula.h"

typedef struct dm_double_matrix { /* element (i, p) is x[i * row + p * column] */
    const double *x;
    size_t row, column;
} dm_double_matrix;

/* value[i*n + j] += sum of a(i, p) b(p, j) over p < k, for i < m and j < n.
 *
 * size[i*n + j] += at least sum |a(i, p) b(p, j)|: by Cauchy and Schwarz the terms of 8 neighbouring p add up to
 * at most the product of the two norms. That costs an eighth of a product, and is 1.5 times the sum for normal numbers,
 * 2.8 times at most. NULL: not wanted. On the calling thread; false: memory ran out. */
bool dm_product(const dm_evaluation *e, double *value, double *size, size_t m, size_t n, size_t k, dm_double_matrix a,
                dm_double_matrix b);

#endif
