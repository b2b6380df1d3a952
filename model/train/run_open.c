/* Opening and closing a run: options, then its stages in their order. */
#include "model/train/run.h"

static int differs(double a, double b)
{
    return !(a >= b && a <= b);
}

static dm_status check_range(const char *name, double value, double low, double high, const char *legal, dm_error *err)
{
    if (value >= low && value <= high) /* false for NaN */
        return DM_OK;
    return dm_fail(err, DM_ERR_ARGUMENT, "--%s %g is out of range; legal: %s", name, value, legal);
}

/* Options that only one method reads: with another one they would do nothing, and nobody would notice. */
static dm_status check_meaning(const dmpo_train_options *o, dm_error *err)
{
    dmpo_train_options d;

    dmpo_train_defaults(&d, o->objective);
    if (!o->reference2 && (o->alpha_mode != d.alpha_mode || o->alpha_pairing != d.alpha_pairing ||
                           differs(o->alpha, d.alpha) || differs(o->trust_region, d.trust_region)))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "--alpha, --alpha-mode, --alpha-pairing and --trust-region are for two references; "
                       "--reference2 DIR names the second one");
    if (o->objective != DMPO_KTO &&
        (differs(o->desirable_weight, d.desirable_weight) || differs(o->undesirable_weight, d.undesirable_weight)))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "--desirable-weight and --undesirable-weight are kto's; add --objective kto, or leave them out");
    return DM_OK;
}

static dm_status check_options(const dmpo_train_options *o, dm_error *err)
{
    const double tiny = 1e-300, huge = 1e300;
    const struct {
        const char *name;
        double value, low, high;
        const char *legal;
    } checks[] = {
        {"lr", o->lr, tiny, huge, "above 0"},
        {"adam-beta1", o->beta1, 0, 1 - 1e-9, "0 <= x < 1"},
        {"adam-beta2", o->beta2, 0, 1 - 1e-9, "0 <= x < 1"},
        {"adam-eps", o->eps, 1e-30, 1, "1e-30 to 1"},
        {"weight-decay", o->weight_decay, 0, huge, "0 or more"},
        {"max-grad-norm", o->max_grad_norm, 0, huge, "above 0, or 0 for no clipping"},
        {"warmup-ratio", o->warmup_ratio, 0, 1, "0 to 1"},
        {"warmup-steps", (double)o->warmup_steps, -1, 1e15, "0 or more"},
        {"batch", (double)o->batch, 1, 1e9, "1 or more"},
        {"steps", (double)o->steps, 0, 1e12, "1 or more (0: by --epochs)"},
        {"epochs", o->epochs, tiny, 1e9, "above 0"},
        {"max-length", (double)o->max_length, 2, 1 << 24, "2 to 16777216 tokens"},
        {"eval-every", (double)o->eval_every, 0, 1e15, "0 or more"},
        {"checkpoint-every", (double)o->checkpoint_every, 0, 1e15, "0 or more"},
        {"recompute", o->recompute, -1, 1, "-1 (as the memory limit needs), 0 or 1"},
        {"lora-rank", (double)o->lora_rank, 0, DM_LORA_RANK_MAX, "1 to 1024, or 0 for no adapter"},
        {"lora-alpha", o->lora_alpha, 0, 1e6, "above 0 (0: twice the rank)"},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const dm_status s =
            check_range(checks[i].name, checks[i].value, checks[i].low, checks[i].high, checks[i].legal, err);
        if (s != DM_OK)
            return s;
    }
    if (!o->model)
        return dm_fail(err, DM_ERR_ARGUMENT, "no model given; --model DIR names the policy's directory");
    if (!o->data)
        return dm_fail(err, DM_ERR_ARGUMENT, "no data given; --data FILE names the trajectories or pairs");
    return check_meaning(o, err);
}

static dm_status open_run(dm_run *r, const dm_engine *e, const dmpo_train_options *o, bool score_only,
                          dmpo_event_fn event, void *context, dm_error *err)
{
    dm_status s;

    *r = (dm_run){.engine = e,
                  .options = *o,
                  .score_only = score_only,
                  .memory = {.order_epoch = -1},
                  .output = {.event = event, .event_context = context, .metrics_fd = -1, .tensorboard_fd = -1}};
    r->loss = (dm_loss_options){.objective = o->objective,
                                .link = o->link,
                                .phi = o->phi,
                                .beta = o->beta,
                                .gamma = o->gamma,
                                .label_smoothing = o->label_smoothing,
                                .sft_weight = o->sft_weight,
                                .length_normalised = o->length_normalised,
                                .desirable_weight = o->desirable_weight,
                                .undesirable_weight = o->undesirable_weight,
                                .two_references = o->reference2 != NULL,
                                .alpha_mode = o->alpha_mode,
                                .alpha = o->alpha,
                                .alpha_pairing = o->alpha_pairing,
                                .trust_region = o->trust_region};
    if ((s = check_options(o, err)) != DM_OK || (s = dm_loss_check(&r->loss, err)) != DM_OK ||
        (s = dm_run_open_models(r, err)) != DM_OK || (s = dm_run_open_data(r, err)) != DM_OK)
        return s;
    return dm_run_plan(r, err);
}

dm_status dm_run_open(dm_run *r, const dm_engine *e, const dmpo_train_options *o, dmpo_event_fn event, void *context,
                      dm_error *err)
{
    return open_run(r, e, o, false, event, context, err);
}

dm_status dm_run_open_score(dm_run *r, const dm_engine *e, const dmpo_train_options *o, dmpo_event_fn event,
                            void *context, dm_error *err)
{
    return open_run(r, e, o, true, event, context, err);
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
    if (!r->models.new_adapter)
        return dm_loaded_model_read_adapter(&r->models.policy, err);
    dm_lora_init(r->memory.trained, &r->models.policy.lora, r->options.seed);
    return DM_OK;
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
    dm_tokenizer_close(&r->data.tokenizer);
    dm_layout_free(&r->models.layout);
    dm_loaded_model_close(&r->models.policy);
    for (int i = 0; i < 2; i++)
        dm_loaded_model_close(&r->models.reference[i]);
    dm_text_free(&r->output.line);
}
