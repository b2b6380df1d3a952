/* A model in memory: log-probabilities, logits, generation with a KV cache. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/exact.h"
#include "core/numeric.h"
#include "core/philox.h"
#include "model/api.h"
#include "model/network.h"
#include "model/sampling.h"

#define CHUNK_ROWS ((size_t)256) /* rows computed at once; any value gives the same bits */

struct dmpo_model {
    const dm_engine *e;
    dm_config config;
    dm_layout layout;
    dm_arena arena;
    dm_network network;
    float *w, *logits;      /* [vocab] of one position */
    dm_sampler sampler;
    uint32_t *position;     /* [max_length] 0, 1, 2, ... */
    size_t max_length;
};

static void layout_model(dmpo_model *m, dm_arena *a)
{
    const dm_network_size size = { .mode = DM_NETWORK_GENERATE, .cache = m->max_length, .longest = m->max_length,
                                   .rows = m->max_length < CHUNK_ROWS ? m->max_length : CHUNK_ROWS,
                                   .entries = m->max_length < CHUNK_ROWS ? m->max_length : CHUNK_ROWS };
    m->w = dm_arena_zalloc(a, m->layout.floats, sizeof(float));
    m->logits = dm_arena_alloc(a, m->config.vocab, sizeof(float));
    m->position = dm_arena_alloc(a, m->max_length, sizeof *m->position);
    dm_sampler_place(&m->sampler, a, m->config.vocab);
    dm_network_place(&m->network, a, m->e, &m->config, &m->layout, &size);
}

static dm_status open_model(dmpo_model *m, const char *path, dm_error *err)
{
    dm_arena measure = dm_arena_measure();
    dm_status s;

    if ((s = dm_config_read(&m->config, path, err)) != DM_OK ||
        (s = dm_layout_build(&m->layout, &m->config, err)) != DM_OK)
        return s;
    layout_model(m, &measure);
    if (measure.failed)
        return dm_fail(err, DM_ERR_MEMORY, "%s: a sequence of %zu tokens needs more memory than can be addressed", path,
                       m->max_length);
    if ((s = dm_arena_open(&m->arena, measure.peak, err)) != DM_OK)
        return s;
    layout_model(m, &m->arena);
    dm_network_tables(&m->network);
    for (size_t i = 0; i < m->max_length; i++)
        m->position[i] = (uint32_t)i;
    return dm_weights_read(m->w, &m->layout, &m->config, path, err);
}

int dmpo_model_open(dmpo_model **model, dmpo_engine *engine, const char *path, size_t max_length, dmpo_error *error)
{
    dm_error err = { 0 };
    dm_status s;

    *model = NULL;
    if (max_length < 1 || max_length > ((size_t)1 << 24))
        return dm_api_report(error, dm_fail(&err, DM_ERR_ARGUMENT, "max_length %zu is out of range; legal: 1 to 16777216",
                                     max_length), &err);
    dmpo_model *m = calloc(1, sizeof *m);
    if (!m)
        return dm_api_report(error, dm_fail(&err, DM_ERR_MEMORY, "no memory for a model"), &err);
    m->e = &engine->e;
    m->max_length = max_length;
    if ((s = open_model(m, path, &err)) != DM_OK)
        dmpo_model_close(&m);
    *model = m;
    return dm_api_report(error, s, &err);
}

void dmpo_model_close(dmpo_model **model)
{
    if (!model || !*model)
        return;
    dm_arena_close(&(*model)->arena);
    dm_layout_free(&(*model)->layout);
    free(*model);
    *model = NULL;
}

size_t dmpo_model_vocabulary(const dmpo_model *m)
{
    return m->config.vocab;
}

static dm_status check_ids(const dmpo_model *m, const int32_t *ids, size_t n, dm_error *err)
{
    if (n < 1 || n > m->max_length)
        return dm_fail(err, DM_ERR_ARGUMENT, "a sequence of %zu tokens; this model was opened for 1 to %zu", n,
                       m->max_length);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= m->config.vocab)
            return dm_fail(err, DM_ERR_ARGUMENT, "token %zu has id %d; legal: 0 to %u", i, (int)ids[i],
                           m->config.vocab - 1);
    return DM_OK;
}

/* Appends ids[0..n), n <= CHUNK_ROWS, to the cache that holds `past` positions. wanted: rows that get an output; NULL:
 * all. */
static void run_chunk(dmpo_model *m, const int32_t *ids, size_t n, size_t past, const int32_t *wanted, size_t n_wanted)
{
    const dm_segment all = { 0, past + n, 0, past };
    dm_network_forward(&m->network, m->w, ids, m->position + past, n, &all, 1, past, wanted, n_wanted);
}

int dmpo_model_logprobs(dmpo_model *m, const int32_t *ids, size_t n, float *logps, dmpo_error *error)
{
    dm_error err = { 0 };
    const dm_status s = check_ids(m, ids, n, &err);

    for (size_t i = 0; s == DM_OK && i < n; i += CHUNK_ROWS) {
        const size_t rows = n - i < CHUNK_ROWS ? n - i : CHUNK_ROWS;
        const size_t predicted = i + rows < n ? rows : rows - 1; /* the last token predicts nothing */
        run_chunk(m, ids + i, rows, i, NULL, 0);
        if (!predicted)
            break;
        dm_head_forward(&m->network, m->w, ids + i + 1, predicted);
        memcpy(logps + i, m->network.logp, predicted * sizeof *logps);
    }
    return dm_api_report(error, s, &err);
}

int dmpo_model_logits(dmpo_model *m, const int32_t *ids, size_t n, float *logits, dmpo_error *error)
{
    dm_error err = { 0 };
    const dm_status s = check_ids(m, ids, n, &err);

    for (size_t i = 0; s == DM_OK && i < n; i += CHUNK_ROWS) {
        const size_t rows = n - i < CHUNK_ROWS ? n - i : CHUNK_ROWS;
        run_chunk(m, ids + i, rows, i, NULL, 0);
        dm_head_logits(&m->network, m->w, 0, rows, logits + i * m->config.vocab);
    }
    return dm_api_report(error, s, &err);
}

static int stops(const dmpo_sampling *o, int32_t id)
{
    for (size_t i = 0; i < o->n_stop; i++)
        if (o->stop[i] == id)
            return 1;
    return 0;
}

int dmpo_model_generate(dmpo_model *m, const int32_t *ids, size_t n, const dmpo_sampling *o, int32_t *out, size_t *n_out,
                        dmpo_token_fn token, void *context, dmpo_error *error)
{
    dm_error err = { 0 };
    dm_status s = dm_sampling_check(o, &err);

    *n_out = 0;
    if (s == DM_OK)
        s = check_ids(m, ids, n, &err);
    if (s != DM_OK)
        return dm_api_report(error, s, &err);
    size_t rows = 0;
    for (size_t i = 0; i < n; i += rows) {
        rows = n - i < CHUNK_ROWS ? n - i : CHUNK_ROWS;
        const int32_t last = (int32_t)(rows - 1);
        run_chunk(m, ids + i, rows, i, &last, i + rows == n);
    }
    for (int64_t k = 0; k < o->max_tokens; k++) {
        float logp;
        dm_head_logits(&m->network, m->w, 0, 1, m->logits);
        const int32_t id = dm_sample(&m->sampler, &m->e->k, m->logits, m->config.vocab, o, n + (size_t)k, &logp);
        out[(*n_out)++] = id;
        if ((token && token(context, id, logp)) || stops(o, id) || n + (size_t)k + 1 >= m->max_length)
            break;
        run_chunk(m, &id, 1, n + (size_t)k, NULL, 0);
    }
    return dm_api_report(error, DM_OK, &err);
}
