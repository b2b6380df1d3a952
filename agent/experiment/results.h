/* The results of an experiment: results.json, whose form is in docs/experiments.md. */
#ifndef DM_AGENT_EXPERIMENT_RESULTS_H
#define DM_AGENT_EXPERIMENT_RESULTS_H

#include "agent/rollout/eval.h"
#include "agent/experiment/stages.h"

/* One evaluation of the plan, read from its episodes. */
typedef struct dm_experiment_result {
    const dm_experiment_evaluation *of;
    double *reward;  /* [tasks] mean over a task's samples; of best-of-n the best of them */
    double *best;    /* [tasks] */
    double *by_turn; /* [turn_limit + 1] */
    size_t tasks, samples, turn_limit;
    double success, turns;
    char model[DM_SHA256_HEX]; /* hash of the model that played; "": no model */
} dm_experiment_result;

typedef struct dm_experiment_results {
    dm_experiment_result *result; /* [n] in the order of the plan, without those whose stage is not done */
    size_t n;
} dm_experiment_results;

dm_status dm_experiment_results_read(dm_experiment_results *out, dm_experiment_plan *plan, dm_error *err);
void dm_experiment_results_close(dm_experiment_results *r); /* fine on a zeroed struct */

typedef struct dm_experiment_run { /* of this machine and run: not part of any comparison */
    const char *version, *isa;
    unsigned threads, jobs;
    double seconds;
} dm_experiment_run;

/* Writes OUTPUT/results.json. */
dm_status dm_experiment_results_write(const dm_experiment_results *r, dm_experiment_plan *plan, const dm_recipe *recipe,
                                      const dm_experiment_run *run, dm_error *err);

#endif
