/* Student's t distribution, and what follows from it for several comparisons of paired values. Computed without libm:
 * every digit is the same on every machine. */
#ifndef DM_AGENT_ROLLOUT_STUDENT_H
#define DM_AGENT_ROLLOUT_STUDENT_H

#include <stddef.h>

/* The value that is exceeded with probability 1/40, for `freedom` >= 1 degrees of freedom. */
double dm_t_quantile(size_t freedom);
/* The value that |T| stays below with probability `inside`, 0 <= inside < 1. */
double dm_t_within(size_t freedom, double inside);
double dm_t_outside(size_t freedom, double t); /* P(|T| > t), t >= 0; absolute error 1e-15 */

/* Mean of x[0..n), NaN of none, and the sum of squares around it. */
double dm_mean_of(const double *x, size_t n, double *squares);

/* One of several differences. With fewer than two values everything but mean and n is NaN or 0. */
typedef struct dm_comparison {
    size_t n;
    double mean, deviation; /* of the differences; the latter with n - 1 */
    double half;            /* the 95 % interval is mean - half to mean + half */
    double wide;    /* half of the interval at 1 - 0.05 / comparisons: all of them hold with 95 % (Bonferroni) */
    double p, holm; /* two-sided, of a mean of 0; the latter by Holm's method, see dm_comparisons_holm */
    double power;   /* chance that the wide interval of n values leaves out 0, were the mean `sought` */
    size_t needed;  /* the fewest values with which it is 80 %; 0: unknown, or more than a million */
} dm_comparison;

/* Of the differences x[0..n), one of so many comparisons. Power and needed n come from shifting the central
 * distribution: t(1 - 0.025 / comparisons) + t(0.8) <= sought sqrt(n) / deviation, each t with n - 1 degrees. */
dm_comparison dm_comparison_of(const double *x, size_t n, size_t comparisons, double sought);

/* holm of every c[0..n): sorted, p times how many are left, at least that of the one before, at most 1. */
void dm_comparisons_holm(dm_comparison *c, size_t n);

#endif
