/* Opening and closing a run: options, then its stages in their order. */
#include "model/network/ops.h"
#include "model/train/rounds.h"

static dm_status open_run(dm_run *r, const dm_engine *e, const dm_train_options *o, bool score_only, unsigned self,
                          unsigned count, dm_run_policy *policy, dmpo_event_fn event, void *context, dm_error *err)
{
    dm_status s;

    *r = (dm_run){.engine = e,
                  .options = *o,
                  .score_only = score_only,
                  .ranks = {.self = self, .count = count},
                  .policy = policy,
                  .memory = {.order_epoch = -1},
                  .output = {.event = self ? NULL : event, /* rank 0 reports */
                             .event_context = context,
                             .metrics_fd = -1,
                             .tensorboard_fd = -1,
                             .transcript_fd = -1}};
    r->loss = dm_train_loss_options(o);
    if ((s = dm_train_options_check(o, err)) != DM_OK || (s = dm_loss_check(&r->loss, err)) != DM_OK ||
        (!score_only && (s = dm_run_ranks_check(r, err)) != DM_OK) || (s = dm_run_open_models(r, err)) != DM_OK ||
        (s = policy ? dm_run_open_rounds(r, err) : dm_run_open_data(r, err)) != DM_OK)
        return s;
    return dm_run_plan(r, err);
}

dm_status dm_run_open(dm_run *r, const dm_engine *e, const dm_train_options *o, dmpo_event_fn event, void *context,
                      dm_error *err)
{
    const dm_ranks *ranks = dm_ranks_here();

    return open_run(r, e, o, false, ranks->self, ranks->count, NULL, event, context, err);
}

dm_status dm_run_open_as(dm_run *r, const dm_engine *e, const dm_train_options *o, unsigned self, unsigned count,
                         dm_error *err)
{
    return open_run(r, e, o, false, self, count, NULL, NULL, NULL, err);
}

dm_status dm_run_open_score(dm_run *r, const dm_engine *e, const dm_train_options *o, dmpo_event_fn event,
                            void *context, dm_error *err)
{
    const dm_ranks *ranks = dm_ranks_here();

    return open_run(r, e, o, true, ranks->self, ranks->count, NULL, event, context, err);
}

dm_status dm_run_open_policy(dm_run *r, const dm_engine *e, const dm_train_options *o, dm_run_policy *policy,
                             dmpo_event_fn event, void *context, dm_error *err)
{
    const dm_ranks *ranks = dm_ranks_here();

    return open_run(r, e, o, false, ranks->self, ranks->count, policy, event, context, err);
}

static dm_status read_adapter(dm_run *r, dm_error *err)
{
    if (!r->models.new_adapter)
        return dm_loaded_model_read_adapter(&r->models.policy, err);
    dm_lora_init(r->memory.trained, &r->models.policy.lora, r->options.seed);
    return DM_OK;
}

dm_status dm_run_place(dm_run *r, dm_error *err)
{
    dm_status s = dm_run_allocate(r, err);

    if (s != DM_OK)
        return s;
    dm_network_tables(&r->memory.network);
    dm_loaded_model_use(&r->models.policy, &r->memory.network);
    if ((s = dm_loaded_model_hash(&r->models.policy, err)) != DM_OK ||
        (s = dm_loaded_model_read_base(r->memory.weights, &r->models.layout, &r->models.policy, err)) != DM_OK)
        return s;
    return read_adapter(r, err);
}

dm_status dm_run_ready(dm_run *r, const dm_engine *e, const dm_train_options *o, dmpo_event_fn event, void *context,
                       dm_error *err)
{
    dm_status s = dm_run_open(r, e, o, event, context, err);

    s = s == DM_OK ? dm_run_place(r, err) : s;
    return s == DM_OK ? dm_run_reference(r, err) : s;
}

dm_status dm_run_restart(dm_run *r, dm_error *err)
{
    const size_t floats = r->models.trained_layout->floats;

    dm_op_zero(r->engine, r->memory.adam_m, floats);
    dm_op_zero(r->engine, r->memory.adam_v, floats);
    if (r->policy && r->policy->critic.o.on)
        dm_critic_restart(&r->policy->critic);
    return r->models.policy.lora.o.rank
               ? read_adapter(r, err)
               : dm_loaded_model_read_base(r->memory.weights, &r->models.layout, &r->models.policy, err);
}

static void close_set(dm_run_set *set)
{
    dm_dataset_close(&set->data);
    dm_dataset_close(&set->mismatched);
}

void dm_run_close(dm_run *r)
{
    dm_arena_close(&r->memory.arena);
    close_set(&r->train);
    close_set(&r->eval);
    dm_template_close(&r->data.chat);
    dm_tokenizer_close(&r->data.tokenizer);
    dm_param_layout_free(&r->models.layout);
    dm_loaded_model_close(&r->models.policy);
    for (int i = 0; i < 2; i++)
        dm_loaded_model_close(&r->models.reference[i]);
    dm_text_free(&r->output.line);
}
