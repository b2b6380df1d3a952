/* What a critic needs beside its network: advantages from values, and the loss of a value. docs/losses.md, "PPO", has
 * the formulas and their sources. All arithmetic in f64, sums in the order of the steps. */
#ifndef DM_MODEL_LOSS_VALUE_H
#define DM_MODEL_LOSS_VALUE_H

#include <stddef.h>

/* Generalised advantage estimation (arXiv 1506.02438, equation 16) over the n steps of one trajectory, which ends after
 * the last: reward[t] follows step t, value[t] is that of the state before it. */
void dm_value_gae(const double *reward, const double *value, size_t n, double discount, double lambda,
                  double *advantage);

/* Half the squared error of a value to its target. clip > 0: the larger one of this and that of the value kept within
 * `old` -+ clip. *slope: the derivative by the value. */
double dm_value_loss(double value, double old, double target, double clip, double *slope);

#endif
