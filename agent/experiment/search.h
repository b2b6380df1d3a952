/* Which of the points that a search tried are the best: a pure function of the trials' episodes. */
#ifndef DM_AGENT_EXPERIMENT_SEARCH_H
#define DM_AGENT_EXPERIMENT_SEARCH_H

#include "agent/experiment/stages.h"

bool dm_search_done(const dm_experiment_plan *plan); /* every trial has been played; also when there are none */

/* Reads the trials' mean rewards, fills plan->choice: of each subject the point whose mean over the seeds is highest,
 * the first of equal ones. */
dm_status dm_search_choose(dm_experiment_plan *plan, dm_error *err);

/* The subject with the point that was chosen for it: as it is where nothing was. */
dm_stage_subject dm_search_chosen(const dm_experiment_plan *plan, dm_stage_subject of);

#endif
