/* Generation: episodes decoded together, each from its own region of the KV cache.
 *
 * A request brings the whole sequence so far; what of it is in the cache is found by comparing tokens, so callers need
 * not keep track: between two turns of an episode only the new observation is computed, and the prompt that episodes of
 * one task share is computed once and copied. Rows of all episodes run through the network as one matrix. None of that
 * changes a bit: a row's result depends on its own sequence only (simd/attention.h). */
#include <string.h>

#include "core/numbers/numeric.h"
#include "model/infer/session.h"

typedef struct decoding {
    dmpo_model *m;
    dmpo_request *requests; /* [n] of this many bytes each: see request_at */
    size_t stride, n;
    dmpo_token_fn token;
    void *context;
    /* the run that is being put together */
    size_t rows, n_regions, n_wanted;
} decoding;

/* The caller's array has the element size of the version that it was compiled with. */
static dmpo_request *request_at(const decoding *d, size_t i)
{
    return (dmpo_request *)(void *)((char *)d->requests + i * d->stride);
}

static size_t common_prefix(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    const size_t most = n_a < n_b ? n_a : n_b;
    size_t n = 0;
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

/* ---- what the cache knows already ---- */

static void copy_cache(dmpo_model *m, size_t to, size_t from, size_t n)
{
    const size_t hk = (size_t)m->config.kv_heads * m->config.head_dim, stride = m->max_length * hk;
    for (uint32_t l = 0; l < m->config.layers; l++) {
        const dm_layer_activations *a = &m->network.acts[l];
        memcpy(a->k + to * stride, a->k + from * stride, n * hk * sizeof(float));
        memcpy(a->v + to * stride, a->v + from * stride, n * hk * sizeof(float));
    }
    memcpy(m->slot[to].ids, m->slot[from].ids, n * sizeof(int32_t));
}

/* The longest beginning of a request that some slot holds, except its last token: that one has to run, for its
 * output. */
static size_t known(const dmpo_model *m, const dmpo_request *r, size_t *where)
{
    size_t best = common_prefix(m->slot[r->slot].ids, m->slot[r->slot].n, r->ids, r->n - 1);

    *where = r->slot;
    for (size_t i = 0; i < m->slots; i++) {
        const size_t n = common_prefix(m->slot[i].ids, m->slot[i].n, r->ids, r->n - 1);
        if (n > best) {
            best = n;
            *where = i;
        }
    }
    return best;
}

/* Whether an earlier request, whose prompt is still to be computed, will know more of this one than the cache does
 * now. */
static int better_later(const decoding *d, size_t i, size_t now)
{
    const dmpo_request *r = request_at(d, i);
    for (size_t j = 0; j < i; j++)
        if (d->m->state[j].waiting && common_prefix(request_at(d, j)->ids, request_at(d, j)->n, r->ids, r->n - 1) > now)
            return 1;
    return 0;
}

/* Marks the requests that need not wait for another one; takes over what the cache knows of them. */
static void begin_wave(decoding *d)
{
    dmpo_model *m = d->m;

    for (size_t i = 0; i < d->n; i++) {
        dmpo_request *r = request_at(d, i);
        size_t from, n;
        if (!m->state[i].waiting || better_later(d, i, n = known(m, r, &from)))
            continue;
        if (from != r->slot)
            copy_cache(m, r->slot, from, n);
        m->slot[r->slot].n = n;
        m->state[i].fed = r->reused = n;
        m->state[i].active = true;
    }
    for (size_t i = 0; i < d->n; i++)
        if (m->state[i].active)
            m->state[i].waiting = false;
}

/* ---- rows ---- */

static int32_t token_at(const dmpo_request *r, size_t i)
{
    return i < r->n ? r->ids[i] : r->out[i - r->n];
}

/* Adds what request i still has to feed, while there is room. */
static void add_rows(decoding *d, size_t i)
{
    dmpo_model *m = d->m;
    const dmpo_request *r = request_at(d, i);
    dm_decode_state *e = &m->state[i];
    dm_cache_slot *slot = &m->slot[r->slot];
    const size_t left = r->n + r->n_out - e->fed, room = m->network.size.rows - d->rows;
    const size_t rows = left < room ? left : room;

    if (rows == 0)
        return;
    m->regions[d->n_regions++] = (dm_cache_region){r->slot * m->max_length, e->fed, rows};
    for (size_t k = 0; k < rows; k++, e->fed++, d->rows++) {
        m->ids[d->rows] = slot->ids[e->fed] = token_at(r, e->fed);
        m->position[d->rows] = (uint32_t)e->fed;
    }
    slot->n = e->fed;
    if (rows == left) {
        m->owner[d->n_wanted] = i;
        m->wanted[d->n_wanted++] = (int32_t)d->rows - 1;
    }
}

static int stops(const dmpo_sampling *o, int32_t id)
{
    for (size_t i = 0; i < o->n_stop; i++)
        if (o->stop[i] == id)
            return 1;
    return 0;
}

/* ---- tokens ---- */

typedef struct choice { /* for rows of logits: those of wanted[first .. first + n) */
    const decoding *d;
    size_t first, n;
} choice;

/* Every thread chooses tokens for its share of the rows. */
static void choose(void *context, unsigned part, unsigned parts)
{
    const choice *x = context;
    const dmpo_model *m = x->d->m;
    const size_t vocab = m->config.vocab;

    for (size_t j = part; j < x->n; j += parts) {
        const size_t i = m->owner[x->first + j];
        const dmpo_request *r = request_at(x->d, i);
        const float *logits = m->logits + j * vocab;
        if (m->state[i].closing)
            m->logp[j] = dm_token_logp(&m->e->k, logits, vocab, (size_t)(m->chosen[j] = *r->end));
        else
            m->chosen[j] = dm_sample(&m->sampler[part], &m->e->k, logits, vocab, &m->state[i].sampling, r->n + r->n_out,
                                     &m->logp[j]);
    }
}

static void take_token(decoding *d, size_t i, int32_t id, float logp)
{
    dmpo_model *m = d->m;
    dmpo_request *r = request_at(d, i);
    dm_decode_state *e = &m->state[i];
    const int room = r->n + r->n_out + 1 < m->max_length;

    if (r->logps)
        r->logps[r->n_out] = logp;
    r->out[r->n_out++] = id;
    const int wish = d->token && d->token(d->context, i, id, logp);
    if (e->closing || wish || stops(&e->sampling, id) || (int64_t)r->n_out == e->sampling.max_tokens || !room) {
        e->closing = !e->closing && r->end && *r->end != id && room;
        e->active = e->closing;
    }
}

/* Runs the rows of the active requests until each has one more token. */
static void step(decoding *d)
{
    dmpo_model *m = d->m;
    const size_t most = dm_session_logit_rows(m);

    for (size_t next = 0; next < d->n;) {
        d->rows = d->n_regions = d->n_wanted = 0;
        for (; next < d->n && d->rows < m->network.size.rows; next++) {
            if (m->state[next].active)
                add_rows(d, next);
            if (m->state[next].active && m->state[next].fed < request_at(d, next)->n + request_at(d, next)->n_out)
                break; /* full: its other rows run next */
        }
        if (d->rows == 0)
            break;
        dm_network_forward(&m->network, m->w,
                           &(dm_network_rows){.ids = m->ids,
                                              .position = m->position,
                                              .rows = d->rows,
                                              .regions = m->regions,
                                              .n_regions = d->n_regions,
                                              .wanted = m->wanted,
                                              .n_wanted = d->n_wanted});
        for (size_t k = 0; k < d->n_wanted; k += most) {
            const size_t rows = d->n_wanted - k < most ? d->n_wanted - k : most;
            dm_head_logits(&m->network, m->w, k, rows, m->logits);
            choice x = {.d = d, .first = k, .n = rows};
            dm_pool_run_sized(m->e->pool, 64 * rows * m->config.vocab, choose, &x);
            for (size_t j = 0; j < rows; j++)
                take_token(d, m->owner[k + j], m->chosen[j], m->logp[j]);
        }
    }
}

static dm_status check_requests(const decoding *d, dm_error *err)
{
    if (d->n > 0 && (d->stride < sizeof(dmpo_request) || d->stride > 65536))
        return dm_fail(err, DM_ERR_ARGUMENT, "dmpo_request.size is %zu; set it to sizeof(dmpo_request)", d->stride);
    for (size_t i = 0; i < d->n; i++) {
        const size_t slot = request_at(d, i)->slot;
        if (request_at(d, i)->size != d->stride)
            return dm_fail(err, DM_ERR_ARGUMENT,
                           "request %zu has size %zu and request 0 has %zu; both are "
                           "sizeof(dmpo_request)",
                           i, request_at(d, i)->size, d->stride);
        if (slot >= d->m->slots)
            return dm_fail(err, DM_ERR_ARGUMENT, "request %zu has slot %zu; the model was opened with %zu slots", i,
                           slot, d->m->slots);
        for (size_t j = 0; j < i; j++)
            if (request_at(d, j)->slot == slot)
                return dm_fail(err, DM_ERR_ARGUMENT, "requests %zu and %zu have the same slot %zu", j, i, slot);
    }
    return DM_OK;
}

/* Checks a new sequence and lets it wait for its prompt. */
static dm_status begin(decoding *d, size_t i, dm_error *err)
{
    dmpo_request *r = request_at(d, i);
    dm_decode_state *e = &d->m->state[i];
    dm_status s;

    *e = (dm_decode_state){0};
    if (r->size != d->stride)
        return dm_fail(err, DM_ERR_ARGUMENT, "dmpo_request.size of request %zu became %zu", i, r->size);
    if ((s = dm_sampling_read(&e->sampling, r->sampling, err)) != DM_OK ||
        (s = dm_model_check_ids(d->m, r->ids, r->n, err)) != DM_OK ||
        (r->end && (s = dm_model_check_ids(d->m, r->end, 1, err)) != DM_OK))
        return s;
    r->n_out = r->reused = 0;
    e->waiting = e->sampling.max_tokens > 0;
    return DM_OK;
}

static decoding decoding_of(dmpo_model *m, dmpo_request *requests, size_t n, dmpo_token_fn token, void *context)
{
    return (decoding){
        .m = m, .requests = requests, .stride = n ? requests->size : 0, .n = n, .token = token, .context = context};
}

static int any(const decoding *d, int waiting)
{
    for (size_t i = 0; i < d->n; i++)
        if (waiting ? d->m->state[i].waiting : d->m->state[i].active)
            return 1;
    return 0;
}

dmpo_status dmpo_model_generate(dmpo_model *m, dmpo_request *requests, size_t n, dmpo_token_fn token, void *context,
                                dmpo_error *error)
{
    dm_error err = {0};
    decoding d = decoding_of(m, requests, n, token, context);
    dm_status s = check_requests(&d, &err);

    for (size_t i = 0; s == DM_OK && i < n; i++)
        s = begin(&d, i, &err);
    if (s != DM_OK)
        return dm_api_report(error, s, &err);
    while (any(&d, 1)) {
        begin_wave(&d);
        step(&d); /* the requests before it take a step, too: all are in one matrix */
    }
    while (any(&d, 0))
        step(&d);
    return dm_api_report(error, DM_OK, &err);
}

dmpo_status dmpo_model_generate_continuous(dmpo_model *m, dmpo_request *requests, size_t n, dmpo_next_fn next,
                                           dmpo_token_fn token, void *context, dmpo_error *error)
{
    dm_error err = {0};
    decoding d = decoding_of(m, requests, n, token, context);
    dm_status s = check_requests(&d, &err);

    for (size_t i = 0; s == DM_OK && i < n; i++)
        m->state[i] = (dm_decode_state){0};
    while (s == DM_OK) {
        for (size_t i = 0; i < n; i++) {
            if (m->state[i].active || m->state[i].waiting)
                continue;
            const int more = next(context, i);
            if (more < 0)
                return dm_api_report(error, DM_OK, &err);
            if (more > 0 && (s = begin(&d, i, &err)) != DM_OK)
                break;
        }
        if (s != DM_OK || (!any(&d, 1) && !any(&d, 0)))
            break;
        begin_wave(&d);
        step(&d);
    }
    return dm_api_report(error, s, &err);
}
