#include "model/infer/memory_estimate.h"

#include "model/network/network.h"
#include "model/formats/loaded_model.h"
#include "model/infer/session.h"

static size_t measure(const dm_engine *e, const dm_config *c, const dm_param_layout *layout, size_t arrays,
                      const dm_network_size *size)
{
    dm_arena a = dm_arena_measure();
    dm_network network = {0};

    for (size_t i = 0; i < arrays; i++)
        dm_arena_zalloc(&a, layout->floats, sizeof(float));
    dm_network_place(&network, &a, e, c, layout, size);
    return a.failed ? SIZE_MAX : a.peak;
}

dm_status dm_memory_estimate_of(dm_memory_estimate *out, const dm_engine *e, const dm_source *s, size_t tokens,
                                dm_error *err)
{
    const dm_config *c = dm_source_config(s);
    const dm_loaded_model loaded = {.source = (dm_source *)(uintptr_t)s};
    dm_param_layout stored = {0}, plain = {0};
    const size_t n = tokens < c->max_positions ? tokens : c->max_positions;
    const size_t chunk = n < DM_SESSION_CHUNK_ROWS ? n : DM_SESSION_CHUNK_ROWS;
    const dm_network_size run = {
        .mode = DM_NETWORK_GENERATE, .cache = n, .longest = n, .rows = chunk, .predictions = chunk};
    dm_network_size train = {.mode = DM_NETWORK_TRAIN, .rows = n, .predictions = n, .longest = n};
    dm_status status;

    out->tokens = n;
    if ((status = dm_loaded_model_layout(&stored, &loaded, 1, err)) == DM_OK &&
        (status = dm_loaded_model_layout(&plain, &loaded, 0, err)) == DM_OK) {
        out->run = measure(e, c, &stored, 1, &run);
        out->train = measure(e, c, &plain, 4, &train);
        train.recompute = c->layers > 1 ? c->layers : 0;
        out->train_less = measure(e, c, &plain, 4, &train);
    }
    dm_param_layout_free(&stored);
    dm_param_layout_free(&plain);
    return status;
}
