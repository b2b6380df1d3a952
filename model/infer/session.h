/* A model in memory and what it remembers of the sequences that it saw. */
#ifndef DM_MODEL_INFER_SESSION_H
#define DM_MODEL_INFER_SESSION_H

#include "model/api.h"
#include "model/formats/loaded_model.h"
#include "model/infer/sampling.h"

#define DM_SESSION_CHUNK_ROWS ((size_t)256)     /* rows computed at once; any value gives the same bits */
#define DM_CACHE_SLOTS_MAX DM_CACHE_REGIONS_MAX /* <= DM_SESSION_CHUNK_ROWS: every slot can take a step at once */

/* One sequence's region of the KV cache: rows [slot * max_length, ...) hold the keys and values of ids[0..n). */
typedef struct dm_cache_slot {
    int32_t *ids; /* [max_length] */
    size_t n;
} dm_cache_slot;

/* How far a request has come (model/infer/decode.c). */
typedef struct dm_decode_state {
    dmpo_sampling sampling;
    size_t fed;   /* tokens of its sequence that are in the cache or on their way there */
    bool waiting; /* its prompt is not in the cache yet */
    bool active;  /* it wants another token */
    bool closing; /* that is the request's end, which is given */
} dm_decode_state;

struct dmpo_model {
    const dm_engine *e;
    dm_loaded_model loaded; /* its adapter; the files are closed once they are read */
    dm_config config;
    dm_param_layout layout;
    dm_arena arena;
    dm_network network;
    bool shares; /* weights, adapter and layout are another's */
    size_t slots, max_length;
    float *w;
    dm_sampler *sampler;    /* [dm_session_samplers] */
    dm_cache_slot *slot;    /* [slots] */
    dm_decode_state *state; /* [slots] */
    /* the rows of one run through the network */
    int32_t *ids; /* [DM_SESSION_CHUNK_ROWS] */
    uint32_t *position;
    dm_cache_region *regions; /* [slots] */
    int32_t *wanted;          /* [slots] */
    size_t *owner;            /* [slots] which request asked for wanted[i] */
    float *logits;            /* [dm_session_logit_rows, vocab] */
    int32_t *chosen;          /* [dm_session_logit_rows] */
    float *logp;              /* [dm_session_logit_rows] of the chosen ones */
};

/* Rows of logits made at once: enough for one pass over the head to serve several episodes. */
static inline size_t dm_session_logit_rows(const dmpo_model *m)
{
    return m->slots < 8 ? m->slots : 8;
}

/* Threads that choose tokens at the same time. */
static inline size_t dm_session_samplers(const dmpo_model *m)
{
    return m->e->threads < dm_session_logit_rows(m) ? m->e->threads : dm_session_logit_rows(m);
}

/* A model whose weights another one owns, which outlive it and may change between generations (then call
 * dm_session_forget). w: [layout]. max_length >= 1, 1 <= slots <= DM_CACHE_SLOTS_MAX. */
typedef struct dm_session_weights {
    const dm_config *config;
    const dm_param_layout *layout;
    float *w;
    const dm_loaded_model *adapted; /* its adapter, or none */
} dm_session_weights;

dm_status dm_session_share(dmpo_model **model, const dm_engine *e, const dm_session_weights *of, size_t slots,
                           size_t max_length, dm_error *err);
/* Bytes that such a model takes; SIZE_MAX: more than can be addressed. Of `of` only w may be NULL. */
size_t dm_session_bytes(const dm_engine *e, const dm_session_weights *of, size_t slots, size_t max_length);
void dm_session_forget(dmpo_model *m);

/* Ids and length in order, or an error that names the token. */
dm_status dm_model_check_ids(const dmpo_model *m, const int32_t *ids, size_t n, dm_error *err);

#endif
