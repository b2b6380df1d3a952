/* The verdict on a trace, from that trace alone: every operation is computed again in double from the trace's own
 * inputs, and the difference of its outputs is compared with what rounding can do (model/truth/formula.h). */
#ifndef DM_MODEL_CHECK_CHECK_H
#define DM_MODEL_CHECK_CHECK_H

#include "core/threads.h"
#include "model/check/bugs.h"
#include "model/trace/manifest.h"

typedef enum dm_verdict {
    DM_VERDICT_SOUND,       /* within the probable bound */
    DM_VERDICT_SUSPICIOUS,  /* over the probable bound somewhere, within the sound one everywhere */
    DM_VERDICT_WRONG,       /* over the sound bound: no order of summation explains it */
    DM_VERDICT_UNDECIDABLE, /* conditioned so badly that the sound bound is as large as the result */
    DM_VERDICT_UNCHECKED    /* what it is computed from is not in the trace and cannot be recomputed */
} dm_verdict;

const char *dm_verdict_name(dm_verdict v); /* "sound" ... */

#define DM_EXPLANATIONS 3

typedef struct dm_finding { /* of one operation */
    int64_t step;
    const dm_graph *g; /* good during the call */
    const dm_op *op;
    const dm_node *node; /* the output that is worst */
    dm_verdict verdict;
    bool bridged;        /* an input is missing and was recomputed from what is there */
    const char *missing; /* UNCHECKED: which input */
    const char *note;    /* "not finite", "shape"; else NULL */
    size_t row, col;     /* the element that is worst against its bound */
    double got, want, error, sound, likely;
    double conditioning;                 /* sum |t| / |sum t| of that element */
    uint64_t over;                       /* elements over the sound bound */
    const dm_bug *bugs[DM_EXPLANATIONS]; /* WRONG: the mistakes that explain the outputs to rounding */
    size_t n_bugs;
    double factor; /* of dm_bug_scaled */
} dm_finding;

typedef struct dm_check_counts {
    uint64_t verdicts[DM_VERDICT_UNCHECKED + 1], bridged, bytes; /* operations; of tensors that were read */
} dm_check_counts;

typedef void (*dm_check_sink)(void *context, const dm_finding *f);

/* Judges every operation of every step, in execution order, and calls the sink for each. figures: the worst element of
 * sound operations is wanted, too; without it, findings of those that can be proved sound for less
 * (model/truth/proof.h) lack it: index, values and bounds are 0. Nothing else depends on it. */
dm_status dm_check_trace(const dm_st *st, const dm_manifest *m, dm_pool *pool, bool figures, dm_check_sink sink,
                         void *context, dm_check_counts *counts, dm_error *err);

#endif
