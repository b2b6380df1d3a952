/* The models of a run: policy and references, what of them is trained, and whether they fit together. */
#include <string.h>

#include "model/formats/adapter.h"
#include "model/train/run.h"

/* The key in which two configurations compute something else with the same weights, or NULL. */
static const char *difference(const dm_config *a, const dm_config *b)
{
    const struct {
        const char *key;
        int same;
    } checks[] = {
        {"model_type", a->arch == b->arch},
        {"hidden_size", a->hidden == b->hidden},
        {"intermediate_size", a->intermediate == b->intermediate},
        {"num_hidden_layers", a->layers == b->layers},
        {"num_attention_heads", a->heads == b->heads},
        {"num_key_value_heads", a->kv_heads == b->kv_heads},
        {"head_dim", a->head_dim == b->head_dim},
        {"vocab_size", a->vocab == b->vocab},
        {"tie_word_embeddings", a->tied == b->tied},
        {"rms_norm_eps", a->eps == b->eps},
        {"sliding_window", a->window == b->window && memcmp(a->windowed, b->windowed, sizeof a->windowed) == 0},
        {"rope_theta", a->rope_theta == b->rope_theta},
        {"layers without RoPE", memcmp(a->rope_use, b->rope_use, sizeof a->rope_use) == 0},
        {"attention_bias", a->qkv_bias == b->qkv_bias && a->o_bias == b->o_bias},
        {"query_pre_attn_scalar", a->query_scalar == b->query_scalar},
        {"rope_local_base_freq", a->rope_local_theta == b->rope_local_theta},
        {"rope_scaling", a->rope_fast == b->rope_fast && a->rope_slow == b->rope_slow &&
                             a->rope_attention == b->rope_attention && a->rope_whole == b->rope_whole},
        {"rope_scaling", a->rope == b->rope && a->rope_factor == b->rope_factor && a->rope_low == b->rope_low &&
                             a->rope_high == b->rope_high && a->rope_original == b->rope_original},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (!checks[i].same)
            return checks[i].key;
    return NULL;
}

/* The policy's adapter: a new one, or the one that --model is. */
static dm_status choose_adapter(dm_run *r, dm_error *err)
{
    const dm_train_options *o = &r->options;
    const uint32_t rank = r->models.policy.lora.o.rank;
    dm_lora_options lora = {.rank = (uint32_t)o->lora_rank,
                            .alpha = o->lora_alpha > 0 ? o->lora_alpha : 2.0 * (double)o->lora_rank,
                            .stabilised = o->lora_stabilised != 0};
    const int chosen = o->lora_alpha > 0 || o->lora_targets || o->lora_stabilised;
    dm_status s;

    if (rank && (o->lora_rank || chosen))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "%s is an adapter of rank %u, which is trained on: leave the LoRA options out, or merge it into "
                       "its base first, as dmpo convert does",
                       o->model, rank);
    if (!rank && !o->lora_rank)
        return !chosen
                   ? DM_OK
                   : dm_fail(err, DM_ERR_ARGUMENT,
                             "`lora-alpha`, `lora-targets` and `lora-stabilised` are an adapter's: add `lora-rank`");
    if (rank)
        return DM_OK;
    if ((s = dm_lora_targets(&lora.targets, o->lora_targets ? o->lora_targets : "all", err)) != DM_OK)
        return s;
    r->models.new_adapter = 1;
    return dm_lora_build(&r->models.policy.lora, &lora, &r->models.config, err);
}

static dm_status same_base(dm_loaded_model *a, dm_loaded_model *b, bool *same, dm_error *err)
{
    dm_status s;

    *same = strcmp(dm_source_path(a->source), dm_source_path(b->source)) == 0;
    if (*same)
        return DM_OK;
    if ((s = dm_loaded_model_hash(a, err)) != DM_OK || (s = dm_loaded_model_hash(b, err)) != DM_OK)
        return s;
    *same = strcmp(a->base_sha256, b->base_sha256) == 0;
    return DM_OK;
}

static dm_status open_reference(dm_run *r, int which, const char *path, dm_error *err)
{
    dm_loaded_model *o = &r->models.reference[which];
    dm_status s;

    if (!path)
        return DM_OK;
    if ((s = dm_loaded_model_open(o, path, dm_adapter_is(path) ? r->options.base : NULL, err)) != DM_OK)
        return s;
    const char *key = difference(dm_source_config(o->source), &r->models.config);
    if (key)
        return dm_fail(err, DM_ERR_INPUT, "%s: %s differs from that of the policy %s: both must be one architecture",
                       path, key, r->options.model);
    if ((s = same_base(&r->models.policy, o, &r->models.same_base[which], err)) != DM_OK)
        return s;
    if (!r->models.same_base[which] && r->models.policy.lora.o.rank && !r->score_only)
        return dm_fail(err, DM_ERR_INPUT,
                       "%s: is another model than the base %s; beside an adapter the reference must be its base, or an "
                       "adapter of that",
                       path, dm_source_path(r->models.policy.source));
    return DM_OK;
}

/* While scoring, a reference with another base takes the policy's place: in one layout, stored in its type where both
 * are. */
static int same_types(const dm_run *r)
{
    const dm_source *reference = r->models.reference[0].source;

    for (size_t i = 0; reference && !r->models.same_base[0] && i < r->models.layout.n; i++) {
        const char *name = r->models.layout.tensors[i].name;
        if (dm_source_type(reference, name) != dm_source_type(r->models.policy.source, name))
            return 0;
    }
    return 1;
}

/* A base is no policy's that is whole, where a reference is an adapter. */
static const char *base_of_policy(const dm_train_options *o)
{
    const bool other = (o->reference && dm_adapter_is(o->reference)) || (o->reference2 && dm_adapter_is(o->reference2));
    return other && !dm_adapter_is(o->model) ? NULL : o->base;
}

dm_status dm_run_open_models(dm_run *r, dm_error *err)
{
    dm_status s;

    if ((s = dm_loaded_model_open(&r->models.policy, r->options.model, base_of_policy(&r->options), err)) != DM_OK)
        return s;
    r->models.config = *dm_source_config(r->models.policy.source);
    if ((!r->score_only && (s = choose_adapter(r, err)) != DM_OK) ||
        (s = open_reference(r, 0, r->options.reference, err)) != DM_OK ||
        (s = open_reference(r, 1, r->options.reference2, err)) != DM_OK)
        return s;
    const int frozen = r->score_only || r->models.policy.lora.o.rank;
    if ((s = dm_loaded_model_layout(&r->models.layout, &r->models.policy, frozen, err)) != DM_OK)
        return s;
    if (frozen && !same_types(r)) {
        dm_param_layout_free(&r->models.layout);
        s = dm_loaded_model_layout(&r->models.layout, &r->models.policy, 0, err);
    }
    r->models.trained_layout =
        r->models.policy.lora.o.rank && !r->score_only ? &r->models.policy.lora.layout : &r->models.layout;
    return s;
}
