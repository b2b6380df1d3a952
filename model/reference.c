/* The reference policy's log-probabilities: computed once, kept in memory, optionally in a cache file.
 *
 * Cache file: a text header (one line, the key below), then the f32 values of training and evaluation data in the order
 * of dm_references. The key names everything they depend on (weights, configuration, the items as token ids and turns,
 * packing), so a stale cache is recomputed, never used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "model/trainer.h"

#define KEY_MAX 512

static void cache_key(const dm_run *r, char key[KEY_MAX])
{
    char items[DM_SHA256_HEX];
    dm_sha256 h;

    dm_sha256_init(&h);
    dm_dataset_hash(&r->train, &h);
    dm_dataset_hash(&r->eval, &h);
    dm_sha256_finish(&h, items);
    snprintf(key, KEY_MAX, "dmpo reference log-probabilities 2 model=%s items=%s share_prefix=%d values=%zu+%zu\n",
             r->reference_sha256, items, r->o.share_prefix, r->ref_train.n, r->ref_eval.n);
}

/* True when the cache held this run's values. An unreadable or foreign cache is not an error: it is written anew. */
static int cache_read(dm_run *r, const char *key)
{
    const size_t head = strlen(key), a = r->ref_train.n * sizeof(float), b = r->ref_eval.n * sizeof(float);
    char *data = NULL;
    size_t size = 0;
    int hit = 0;

    if (dm_file_exists(r->o.reference_cache) &&
        dm_file_read(r->o.reference_cache, head + a + b, &data, &size, NULL) == DM_OK) {
        hit = size == head + a + b && memcmp(data, key, head) == 0;
        if (hit) {
            memcpy(r->ref_train.logp, data + head, a);
            memcpy(r->ref_eval.logp, data + head + a, b);
        }
        free(data);
    }
    return hit;
}

static dm_status cache_write(const dm_run *r, const char *key, dm_error *err)
{
    dm_text text = {0};
    dm_text_add(&text, key, strlen(key));
    dm_text_add(&text, (const char *)r->ref_train.logp, r->ref_train.n * sizeof(float));
    dm_text_add(&text, (const char *)r->ref_eval.logp, r->ref_eval.n * sizeof(float));
    const dm_status s = text.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", r->o.reference_cache)
                                    : dm_file_write(r->o.reference_cache, text.data, text.size, err);
    dm_text_free(&text);
    return s;
}

static dm_status run_reference(dm_run *r, const float *w, const dm_dataset *data, dm_references *ref, size_t done,
                               dm_error *err)
{
    for (size_t i = 0; i < data->n; i++) {
        dm_pack_build(&r->pack, &data->items[i], r->o.share_prefix);
        dm_objective_forward(&r->objective, &r->network, w, &r->pack);
        for (int s = 0; s < 2; s++)
            memcpy(ref->logp + ref->begin[2 * i + (size_t)s], r->objective.logp[s], r->pack.side[s].n * sizeof(float));
        dm_run_event(r, DMPO_EVENT_PROGRESS, NULL, (int64_t)(done + i + 1), (int64_t)(r->train.n + r->eval.n), NULL);
        if (r->stop)
            return dm_fail(err, DM_ERR_INTERRUPTED, "stopped while running the reference policy; nothing was written");
    }
    return DM_OK;
}

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
        {"rope_scaling", a->rope == b->rope && a->rope_factor == b->rope_factor && a->rope_low == b->rope_low &&
                             a->rope_high == b->rope_high && a->rope_original == b->rope_original},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (!checks[i].same)
            return checks[i].key;
    return NULL;
}

/* A reference of its own runs in the policy's network; its weights borrow the gradient's place. */
static dm_status read_reference(dm_run *r, dm_error *err)
{
    dm_config config;
    const dm_status s = dm_config_read(&config, r->o.reference, err);
    const char *key = s == DM_OK ? difference(&config, &r->config) : NULL;

    if (s != DM_OK)
        return s;
    if (key)
        return dm_fail(err, DM_ERR_INPUT,
                       "%s/config.json: %s differs from that of the policy %s: both must be one architecture",
                       r->o.reference, key, r->o.model);
    return dm_weights_read(r->g, &r->layout, &r->config, r->o.reference, err);
}

dm_status dm_reference(dm_run *r, dm_error *err)
{
    char key[KEY_MAX];
    const char *dir = r->o.reference ? r->o.reference : r->o.model;
    dm_status s;

    if (!r->ref_train.logp)
        return DM_OK;
    if ((s = dm_model_sha256(dir, r->reference_sha256, err)) != DM_OK)
        return s;
    cache_key(r, key);
    if (r->o.reference_cache && cache_read(r, key)) {
        dm_run_event(r, DMPO_EVENT_NOTE, "reference log-probabilities read from the cache", 0, 0, NULL);
        return DM_OK;
    }
    if (r->o.reference && (s = read_reference(r, err)) != DM_OK)
        return s;
    const float *w = r->o.reference ? r->g : r->w;
    dm_run_event(r, DMPO_EVENT_PHASE, "reference policy", 0, (int64_t)(r->train.n + r->eval.n), NULL);
    if ((s = run_reference(r, w, &r->train, &r->ref_train, 0, err)) != DM_OK ||
        (s = run_reference(r, w, &r->eval, &r->ref_eval, r->train.n, err)) != DM_OK)
        return s;
    return r->o.reference_cache ? cache_write(r, key, err) : DM_OK;
}
