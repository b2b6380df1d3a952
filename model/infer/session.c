/* A model in memory: opening it, log-probabilities, logits. Generation is in decode.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"
#include "core/numbers/philox.h"
#include "model/infer/session.h"

static void layout_model(dmpo_model *m, dm_arena *a)
{
    const size_t rows = m->max_length < DM_SESSION_CHUNK_ROWS && m->slots == 1 ? m->max_length : DM_SESSION_CHUNK_ROWS;
    const dm_network_size size = {.mode = DM_NETWORK_GENERATE,
                                  .cache = m->slots * m->max_length,
                                  .longest = m->max_length,
                                  .rows = rows,
                                  .predictions = rows,
                                  .rank = m->loaded.lora.o.rank};
    if (!m->shares) {
        dm_loaded_model_place(&m->loaded, a);
        m->w = dm_arena_zalloc(a, m->layout.floats, sizeof(float));
    }
    m->slot = dm_arena_zalloc(a, m->slots, sizeof *m->slot);
    for (size_t i = 0; i < m->slots; i++) {
        int32_t *ids = dm_arena_alloc(a, m->max_length, sizeof *ids);
        if (m->slot)
            m->slot[i].ids = ids;
    }
    m->state = dm_arena_alloc(a, m->slots, sizeof *m->state);
    m->ids = dm_arena_alloc(a, rows, sizeof *m->ids);
    m->position = dm_arena_alloc(a, rows, sizeof *m->position);
    m->regions = dm_arena_alloc(a, m->slots, sizeof *m->regions);
    m->wanted = dm_arena_alloc(a, m->slots, sizeof *m->wanted);
    m->owner = dm_arena_alloc(a, m->slots, sizeof *m->owner);
    m->logits = dm_arena_alloc(a, dm_session_logit_rows(m) * m->config.vocab, sizeof(float));
    m->chosen = dm_arena_alloc(a, dm_session_logit_rows(m), sizeof *m->chosen);
    m->logp = dm_arena_alloc(a, dm_session_logit_rows(m), sizeof *m->logp);
    m->sampler = dm_arena_alloc(a, dm_session_samplers(m), sizeof *m->sampler);
    for (size_t i = 0; i < dm_session_samplers(m); i++) {
        dm_sampler s;
        dm_sampler_place(&s, a, m->config.vocab);
        if (m->sampler)
            m->sampler[i] = s;
    }
    dm_network_place(&m->network, a, m->e, &m->config, &m->layout, &size);
}

static dm_status open_model(dmpo_model *m, const char *path, const char *base, dm_error *err)
{
    dm_arena measure = dm_arena_measure();
    dm_status s;

    if ((s = dm_loaded_model_open(&m->loaded, path, base, err)) != DM_OK ||
        (s = dm_loaded_model_layout(&m->layout, &m->loaded, 1, err)) != DM_OK)
        return s;
    m->config = *dm_source_config(m->loaded.source);
    if (m->max_length > SIZE_MAX / m->slots)
        measure.failed = true;
    else
        layout_model(m, &measure);
    if (measure.failed)
        return dm_fail(err, DM_ERR_MEMORY, "%s: %zu sequences of %zu tokens need more memory than can be addressed",
                       path, m->slots, m->max_length);
    if ((s = dm_arena_open(&m->arena, measure.peak, err)) != DM_OK)
        return s;
    layout_model(m, &m->arena);
    dm_network_tables(&m->network);
    dm_loaded_model_use(&m->loaded, &m->network);
    if ((s = dm_loaded_model_read_base(m->w, &m->layout, &m->loaded, err)) == DM_OK)
        s = dm_loaded_model_read_adapter(&m->loaded, err);
    dm_source_close(&m->loaded.source);
    return s;
}

dmpo_status dmpo_model_open(dmpo_model **model, dmpo_engine *engine, const char *path, size_t slots, size_t max_length,
                            dmpo_error *error)
{
    return dmpo_model_open_on(model, engine, path, NULL, slots, max_length, error);
}

dmpo_status dmpo_model_open_on(dmpo_model **model, dmpo_engine *engine, const char *path, const char *base,
                               size_t slots, size_t max_length, dmpo_error *error)
{
    dm_error err = {0};
    dm_status s;

    *model = NULL;
    if (max_length < 1 || max_length > ((size_t)1 << 24))
        return dm_api_report(
            error, dm_fail(&err, DM_ERR_ARGUMENT, "max_length %zu is out of range; legal: 1 to 16777216", max_length),
            &err);
    if (slots < 1 || slots > DM_CACHE_SLOTS_MAX)
        return dm_api_report(
            error,
            dm_fail(&err, DM_ERR_ARGUMENT, "%zu slots is out of range; legal: 1 to %zu", slots, DM_CACHE_SLOTS_MAX),
            &err);
    dmpo_model *m = calloc(1, sizeof *m);
    if (!m)
        return dm_api_report(error, dm_fail(&err, DM_ERR_MEMORY, "no memory for a model"), &err);
    m->e = &engine->e;
    m->slots = slots;
    m->max_length = max_length;
    if ((s = open_model(m, path, base, &err)) != DM_OK)
        dmpo_model_close(&m);
    *model = m;
    return dm_api_report(error, s, &err);
}

void dmpo_model_close(dmpo_model **model)
{
    if (!model || !*model)
        return;
    dm_arena_close(&(*model)->arena);
    if (!(*model)->shares) {
        dm_param_layout_free(&(*model)->layout);
        dm_loaded_model_close(&(*model)->loaded);
    }
    free(*model);
    *model = NULL;
}

dmpo_status dmpo_model_set_precision(dmpo_model *m, const char *name, dmpo_error *error)
{
    dm_error err = {0};
    int p = 0;

    while (dm_precision_names[p] && strcmp(name, dm_precision_names[p]) != 0)
        p++;
    if (!dm_precision_names[p])
        return dm_api_report(error, dm_fail(&err, DM_ERR_ARGUMENT, "precision '%s': must be f32 or bf16", name), &err);
    if (m->network.size.precision != (dm_precision)p)
        for (size_t i = 0; i < m->slots; i++)
            m->slot[i].n = 0;
    m->network.size.precision = (dm_precision)p;
    return dm_api_report(error, DM_OK, &err);
}

static dmpo_model sharing(const dm_engine *e, const dm_session_weights *of, size_t slots, size_t max_length)
{
    return (dmpo_model){.e = e,
                        .loaded = *of->adapted,
                        .config = *of->config,
                        .layout = *of->layout,
                        .w = of->w,
                        .shares = true,
                        .slots = slots,
                        .max_length = max_length};
}

size_t dm_session_bytes(const dm_engine *e, const dm_session_weights *of, size_t slots, size_t max_length)
{
    dm_arena measure = dm_arena_measure();
    dmpo_model m = sharing(e, of, slots, max_length);

    if (max_length > SIZE_MAX / slots)
        return SIZE_MAX;
    layout_model(&m, &measure);
    return measure.failed ? SIZE_MAX : measure.peak;
}

dm_status dm_session_share(dmpo_model **model, const dm_engine *e, const dm_session_weights *of, size_t slots,
                           size_t max_length, dm_error *err)
{
    const size_t bytes = dm_session_bytes(e, of, slots, max_length);
    dmpo_model *m = *model = calloc(1, sizeof *m);

    if (!m || bytes == SIZE_MAX) {
        free(m);
        *model = NULL;
        return dm_fail(err, DM_ERR_MEMORY, "%zu sequences of %zu tokens need more memory than there is", slots,
                       max_length);
    }
    *m = sharing(e, of, slots, max_length);
    const dm_status s = dm_arena_open(&m->arena, bytes, err);
    if (s != DM_OK) {
        dmpo_model_close(model);
        return s;
    }
    layout_model(m, &m->arena);
    dm_network_tables(&m->network);
    dm_loaded_model_use(of->adapted, &m->network);
    return DM_OK;
}

void dm_session_forget(dmpo_model *m)
{
    for (size_t i = 0; i < m->slots; i++)
        m->slot[i].n = 0;
}

size_t dmpo_model_vocabulary(const dmpo_model *m)
{
    return m->config.vocab;
}

size_t dmpo_model_positions(const dmpo_model *m)
{
    return m->config.max_positions;
}

dm_status dm_model_check_ids(const dmpo_model *m, const int32_t *ids, size_t n, dm_error *err)
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

/* Rows [begin, begin + n) of a sequence, n <= DM_SESSION_CHUNK_ROWS, through the network and into the first slot. */
static void run_chunk(dmpo_model *m, const int32_t *ids, size_t begin, size_t n)
{
    const dm_cache_region region = {0, begin, n};
    for (size_t i = 0; i < n; i++)
        m->position[i] = (uint32_t)(begin + i);
    m->slot[0].n = 0; /* what it remembered is overwritten */
    dm_network_forward(
        &m->network, m->w,
        &(dm_network_rows){.ids = ids + begin, .position = m->position, .rows = n, .regions = &region, .n_regions = 1});
}

dmpo_status dmpo_model_logprobs(dmpo_model *m, const int32_t *ids, size_t n, float *logps, dmpo_error *error)
{
    dm_error err = {0};
    const dm_status s = dm_model_check_ids(m, ids, n, &err);

    for (size_t i = 0; s == DM_OK && i < n; i += DM_SESSION_CHUNK_ROWS) {
        const size_t rows = n - i < DM_SESSION_CHUNK_ROWS ? n - i : DM_SESSION_CHUNK_ROWS;
        const size_t predicted = i + rows < n ? rows : rows - 1; /* the last token predicts nothing */
        run_chunk(m, ids, i, rows);
        if (!predicted)
            break;
        dm_head_forward(&m->network, m->w, ids + i + 1, predicted);
        memcpy(logps + i, m->network.logp, predicted * sizeof *logps);
    }
    return dm_api_report(error, s, &err);
}

dmpo_status dmpo_model_logits(dmpo_model *m, const int32_t *ids, size_t n, float *logits, dmpo_error *error)
{
    dm_error err = {0};
    const dm_status s = dm_model_check_ids(m, ids, n, &err);

    for (size_t i = 0; s == DM_OK && i < n; i += DM_SESSION_CHUNK_ROWS) {
        const size_t rows = n - i < DM_SESSION_CHUNK_ROWS ? n - i : DM_SESSION_CHUNK_ROWS;
        run_chunk(m, ids, i, rows);
        dm_head_logits(&m->network, m->w, 0, rows, logits + i * m->config.vocab);
    }
    return dm_api_report(error, s, &err);
}
