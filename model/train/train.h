/* What dmpo_train, dmpo_plan_train and dmpo_score do, from the options as a struct. */
#ifndef DM_MODEL_TRAIN_TRAIN_H
#define DM_MODEL_TRAIN_TRAIN_H

#include "dmpo.h"
#include "model/train/run.h"

dmpo_status dm_train(dmpo_engine *engine, const dm_train_options *options, dmpo_event_fn event, void *context,
                     dm_train_result *result, dmpo_error *error);
dmpo_status dm_plan_train(dmpo_engine *engine, const dm_train_options *options, dmpo_plan *plan, dmpo_error *error);
/* Of a run on `ranks` ranks: what each of them, out[ranks], needs and does. */
typedef struct dm_rank_plan {
    dm_shard_block shards;
    uint64_t memory, step_bytes; /* peak; what it sends in a step */
} dm_rank_plan;
dmpo_status dm_plan_ranks(dmpo_engine *engine, const dm_train_options *options, unsigned ranks, dm_rank_plan *out,
                          dmpo_error *error);
dmpo_status dm_score(dmpo_engine *engine, const dm_train_options *options, dmpo_score_fn score, void *score_context,
                     dmpo_event_fn event, void *event_context, dmpo_error *error);

#endif
