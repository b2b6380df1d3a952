/* The reference policy's log-probabilities: computed once, kept in memory, optionally in a cache file.
 *
 * Cache file: for the reference, then for the second one where there is one, a text header (one line, the key below)
 * and the f32 values of all parts (training data, evaluation data, kto's mismatched sequences of both) in the order of
 * dm_run_references; at the end the SHA-256 of all of this, in hex. The key names everything they depend on (weights,
 * configuration, the items as token ids and turns, packing, precision), so a stale cache is recomputed, never used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/foreign.h"
#include "core/files/file.h"
#include "core/files/input.h"
#include "core/files/place.h"
#include "model/train/run.h"

#define KEY_MAX 512
#define KIND "dmpo reference log-probabilities " /* how every such file begins */

typedef struct part {
    const dm_dataset *data;
    dm_run_references *ref; /* of these items */
} part;

#define PARTS 4

/* The parts in their order; returns how many there are. */
static size_t parts_of(dm_run *r, part out[PARTS])
{
    out[0] = (part){&r->train.data, &r->train.reference};
    out[1] = (part){&r->eval.data, &r->eval.reference};
    out[2] = (part){&r->train.mismatched, &r->train.mismatched_reference};
    out[3] = (part){&r->eval.mismatched, &r->eval.mismatched_reference};
    return r->train.mismatched.n ? 4 : 2;
}

/* Where the values of reference `which` (0, 1) are. */
static float *values_of(const part *p, int which)
{
    return which ? p->ref->second : p->ref->logp;
}

static void cache_key(dm_run *r, int which, char key[KEY_MAX])
{
    char items[DM_SHA256_HEX], counts[96];
    part parts[PARTS];
    const size_t n = parts_of(r, parts);
    size_t size = 0;
    dm_sha256 h;

    dm_sha256_init(&h);
    for (size_t i = 0; i < n; i++) {
        dm_dataset_hash(parts[i].data, &h);
        size += (size_t)snprintf(counts + size, sizeof counts - size, "%s%zu", i ? "+" : "", parts[i].ref->n);
    }
    dm_sha256_finish(&h, items);
    snprintf(key, KEY_MAX, KIND "3 model=%s items=%s share_prefix=%d%s%s values=%s\n",
             dm_run_reference_sha256(r, which), items, r->options.share_prefix,
             r->options.precision == DM_PRECISION_BF16 ? " precision=bf16" : "", DM_FOREIGN_MATH ? " math=foreign" : "",
             counts);
}

const char *dm_run_reference_sha256(const dm_run *r, int which)
{
    return r->models.reference[which].source ? r->models.reference[which].sha256 : r->models.policy.sha256;
}

static int references(const dm_run *r)
{
    return r->options.reference2 ? 2 : 1;
}

/* Compares and copies one reference's share of the cache; returns what follows it, or NULL. */
static const char *cache_take(dm_run *r, int which, const char *data, const char *end)
{
    char key[KEY_MAX];
    part parts[PARTS];
    const size_t n = parts_of(r, parts);

    cache_key(r, which, key);
    const size_t head = strlen(key);
    if ((size_t)(end - data) < head || memcmp(data, key, head) != 0)
        return NULL;
    data += head;
    for (size_t i = 0; i < n; i++) {
        const size_t size = parts[i].ref->n * sizeof(float);
        if ((size_t)(end - data) < size)
            return NULL;
        memcpy(values_of(&parts[i], which), data, size);
        data += size;
    }
    return data;
}

static void checksum(const char *data, size_t size, char hex[DM_SHA256_HEX])
{
    dm_sha256 h;
    dm_sha256_init(&h);
    dm_sha256_update(&h, data, size);
    dm_sha256_finish(&h, hex);
}

/* The file ends with the checksum of what comes before. */
static bool is_sound(const char *data, size_t size)
{
    char hex[DM_SHA256_HEX];
    if (size < DM_SHA256_HEX)
        return false;
    size -= DM_SHA256_HEX - 1;
    checksum(data, size, hex);
    return memcmp(data + size, hex, DM_SHA256_HEX - 1) == 0;
}

/* Nothing is replaced but another cache. */
static dm_status check_place(const char *path, dm_error *err)
{
    char begin[sizeof KIND - 1];
    dm_input in;
    dm_status s;

    if (dm_place_is_free(path))
        return DM_OK;
    if ((s = dm_input_open(&in, path, err)) != DM_OK)
        return s;
    if (in.size < sizeof begin || dm_input_read(&in, begin, sizeof begin, 0, NULL) != DM_OK ||
        memcmp(begin, KIND, sizeof begin) != 0)
        s = dm_fail(err, DM_ERR_FILE, "%s: already exists and is not a `reference-cache`; name another file", path);
    dm_input_close(&in);
    return s;
}

/* True when the cache held this run's values. An unreadable or foreign cache is not an error: it is rewritten. */
static int cache_read(dm_run *r)
{
    part parts[PARTS];
    const size_t n = parts_of(r, parts);
    size_t most = KEY_MAX + DM_SHA256_HEX, size = 0;
    char *data = NULL;

    for (size_t i = 0; i < n; i++)
        most += parts[i].ref->n * sizeof(float);
    if (!dm_file_exists(r->options.reference_cache) ||
        dm_file_read(r->options.reference_cache, most * (size_t)references(r), &data, &size, NULL) != DM_OK)
        return 0;
    const char *end = data + size, *at = is_sound(data, size) ? data : NULL;
    end -= at ? DM_SHA256_HEX - 1 : 0;
    for (int which = 0; at && which < references(r); which++)
        at = cache_take(r, which, at, end);
    const int hit = at == end;
    free(data);
    return hit;
}

static dm_status cache_write(dm_run *r, dm_error *err)
{
    dm_text text = {0};
    part parts[PARTS];
    const size_t n = parts_of(r, parts);

    for (int which = 0; which < references(r); which++) {
        char key[KEY_MAX];
        cache_key(r, which, key);
        dm_text_add(&text, key, strlen(key));
        for (size_t i = 0; i < n; i++)
            dm_text_add(&text, (const char *)values_of(&parts[i], which), parts[i].ref->n * sizeof(float));
    }
    if (!text.failed) {
        char hex[DM_SHA256_HEX];
        checksum(text.data, text.size, hex);
        dm_text_add(&text, hex, sizeof hex - 1);
    }
    const dm_status s = text.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", r->options.reference_cache)
                                    : dm_file_write(r->options.reference_cache, text.data, text.size, err);
    dm_text_free(&text);
    return s;
}

/* done, total: items of this reference, for progress. */
static dm_status run_part(dm_run *r, const float *w, const part *p, int which, size_t done, size_t total, dm_error *err)
{
    float *out = values_of(p, which);

    for (size_t i = r->ranks.self; i < p->data->n; i += r->ranks.count) {
        dm_pack_build(&r->memory.pack, &p->data->items[i], r->options.share_prefix);
        if (r->memory.pack.predictions) /* a mismatched sequence may have been cut to nothing */
            dm_objective_forward(&r->memory.objective, &r->memory.network, w, &r->memory.pack);
        for (int s = 0; s < 2; s++)
            if (r->memory.pack.side[s].n)
                memcpy(out + p->ref->begin[2 * i + (size_t)s], r->memory.objective.logp[s],
                       r->memory.pack.side[s].n * sizeof(float));
        dm_run_event(r, DMPO_EVENT_PROGRESS, NULL, (int64_t)(done + i + 1), (int64_t)total, NULL);
        if (r->stop)
            return dm_fail(err, DM_ERR_INTERRUPTED, "stopped while running the reference policy; nothing was written");
    }
    const dm_run_parts parts = {out, sizeof *out, p->ref->begin, 2, p->data->n, p->ref->n};
    return dm_run_share_parts(r, &parts, DM_REFERENCE_PARTS, err);
}

static dm_status run_reference(dm_run *r, const float *w, int which, dm_error *err)
{
    part parts[PARTS];
    const size_t n = parts_of(r, parts);
    size_t total = 0, done = 0;
    dm_status s = DM_OK;

    for (size_t i = 0; i < n; i++)
        total += parts[i].data->n;
    dm_run_event(r, DMPO_EVENT_PHASE, which ? "second reference policy" : "reference policy", 0, (int64_t)total, NULL);
    for (size_t i = 0; s == DM_OK && i < n; done += parts[i++].data->n)
        s = run_part(r, w, &parts[i], which, done, total, err);
    return s;
}

/* The reference's weights, and its adapter in the network. */
static dm_status prepare(dm_run *r, int which, const float **w, dm_error *err)
{
    dm_loaded_model *o = &r->models.reference[which];
    dm_status s;

    *w = r->memory.weights;
    if (!o->source) { /* the initial policy */
        if (r->models.new_adapter)
            r->memory.network.adapter = NULL;
        return DM_OK;
    }
    dm_loaded_model_use(o, &r->memory.network);
    if ((s = dm_loaded_model_read_adapter(o, err)) != DM_OK || r->models.same_base[which])
        return s;
    *w = r->memory.gradient;
    return dm_loaded_model_read_base(r->memory.gradient, &r->models.layout, o, err);
}

static dm_status run_references(dm_run *r, dm_error *err)
{
    const float *w;
    dm_status s = DM_OK;

    for (int which = 0; s == DM_OK && which < references(r); which++) {
        if ((s = prepare(r, which, &w, err)) == DM_OK)
            s = run_reference(r, w, which, err);
        dm_loaded_model_use(&r->models.policy, &r->memory.network);
    }
    return s;
}

/* Rank 0's cache holds this run's values: then all have them. */
static dm_status read_cache(dm_run *r, int *hit, dm_error *err)
{
    part parts[PARTS];
    const size_t n = parts_of(r, parts);
    dm_status s;

    *hit = r->ranks.self == 0 && r->options.reference_cache && cache_read(r);
    if (*hit)
        dm_run_event(r, DMPO_EVENT_NOTE, "reference log-probabilities read from the cache", 0, 0, NULL);
    s = dm_ranks_share(DM_RANK_ITEMS, hit, sizeof *hit, "the reference's cache", err);
    for (int which = 0; *hit && which < references(r); which++)
        for (size_t i = 0; s == DM_OK && i < n; i++)
            s = dm_ranks_share(DM_RANK_ITEMS, values_of(&parts[i], which), parts[i].ref->n * sizeof(float),
                               "the reference's cache", err);
    return s;
}

static dm_status open_references(dm_run *r, dm_error *err)
{
    dm_status s = DM_OK;

    if (r->options.reference_cache && r->ranks.self == 0)
        s = check_place(r->options.reference_cache, err);
    for (int which = 0; s == DM_OK && which < references(r); which++)
        if (r->models.reference[which].source)
            s = dm_loaded_model_hash(&r->models.reference[which], err);
    return dm_run_agree(r, s, err);
}

dm_status dm_run_reference(dm_run *r, dm_error *err)
{
    int hit;
    dm_status s;

    if (!r->train.reference.logp)
        return DM_OK;
    if (!r->score_only && !dm_loss_needs_reference(&r->loss)) { /* as if each token's were 0 */
        memset(r->train.reference.logp, 0, r->train.reference.n * sizeof(float));
        if (r->eval.reference.logp)
            memset(r->eval.reference.logp, 0, r->eval.reference.n * sizeof(float));
        return DM_OK;
    }
    if ((s = open_references(r, err)) != DM_OK || (s = read_cache(r, &hit, err)) != DM_OK || hit)
        return s;
    s = run_references(r, err);
    return s == DM_OK && r->options.reference_cache && r->ranks.self == 0 ? cache_write(r, err) : s;
}
