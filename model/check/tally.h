/* The worst element of an output against its bounds, and the verdict on it: counted whole or in parts. */
#ifndef DM_MODEL_CHECK_TALLY_H
#define DM_MODEL_CHECK_TALLY_H

#include "model/check/check.h"
#include "model/check/walk.h"

/* What is known of elements of an output; before the first, zeroed but for worst, which is -1. */
typedef struct dm_tally {
    dm_finding f; /* node, over, and the worst of them */
    double worst; /* its error against its sound bound */
    double all, bound;
    bool suspicious;
} dm_tally;

/* Adds elements [first, first + count) of node n, whose values are got[first] and on; b's arrays of output o begin with
 * the first of them. */
void dm_tally_weigh(const dm_node *n, const double *got, size_t first, size_t count, const dm_recomputed *b, uint32_t o,
                    dm_tally *t);

/* Adds what later elements of the same output have. */
void dm_tally_add(dm_tally *t, const dm_tally *more);

dm_verdict dm_tally_verdict(const dm_tally *t);

/* The finding takes what is worst of the tally if that is worse than what it has, *worst, and what is over. */
void dm_tally_give(dm_finding *f, double *worst, const dm_tally *t);

#endif
