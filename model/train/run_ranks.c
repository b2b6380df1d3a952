#include "model/train/run_ranks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/numbers/numeric.h"
#include "model/network/ops.h"
#include "model/train/rounds.h"

/* ---- who has what ---- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The first chunk of the norm that begins in a layer or after it; of `layers`: after them. */
static size_t boundary(const dm_run *r, size_t layer)
{
    const dm_param_layout *trained = r->models.trained_layout;
    const dm_lora *lora = &r->models.policy.lora;
    const size_t layers = r->models.config.layers;
    size_t at = trained->floats;

    if (lora->o.rank == 0)
        at = dm_param_layout_begin(trained, layers, layer);
    else
        for (int p = 0; layer < layers && p < DM_PROJECTIONS; p++)
            if (lora->pairs[layer][p].a)
                at = smaller(at, lora->pairs[layer][p].a->offset);
    return smaller((at + DM_NORM_CHUNK - 1) / DM_NORM_CHUNK * DM_NORM_CHUNK, trained->floats);
}

dm_range dm_run_piece(const dm_run *r, size_t b, unsigned rank)
{
    const dm_run_bucket *k = &r->ranks.bucket[b];
    const dm_range part = dm_range_split(k->end - k->begin, DM_NORM_CHUNK, rank, r->ranks.count);

    return (dm_range){k->begin + part.begin, k->begin + part.end};
}

static size_t length(dm_range piece)
{
    return piece.end - piece.begin;
}

/* This rank's floats of bucket b, when it begins and ends there. */
static size_t own_piece(const dm_run *r, size_t begin, size_t end)
{
    return length(dm_range_split(end - begin, DM_NORM_CHUNK, r->ranks.self, r->ranks.count));
}

size_t dm_run_own_floats(const dm_run *r)
{
    size_t own = 0, begin = 0;

    if (r->ranks.count == 1)
        return r->models.trained_layout->floats;
    for (size_t b = 0; b < r->models.config.layers + (size_t)2; b++) {
        const size_t end = b <= r->models.config.layers ? boundary(r, b) : r->models.trained_layout->floats;
        own += own_piece(r, begin, end);
        begin = end;
    }
    return own;
}

size_t dm_run_moments(const dm_run *r)
{
    return r->ranks.self == 0 ? r->models.trained_layout->floats : dm_run_own_floats(r);
}

/* Where in the moments those of this rank's piece of bucket b are. */
static size_t moments_at(const dm_run *r, size_t b)
{
    return r->ranks.self == 0 ? dm_run_piece(r, b, 0).begin : r->ranks.bucket[b].own;
}

uint64_t dm_run_step_bytes(const dm_run *r)
{
    const uint64_t own = dm_run_own_floats(r), all = r->models.trained_layout->floats;

    return (all - own + own * (r->ranks.count - 1)) * sizeof(float);
}

static dm_shard_block block_of(const dm_run *r, unsigned rank)
{
    return dm_shard_block_of((size_t)r->options.shards, r->ranks.count, rank);
}

static bool has_items(const dm_run *r, unsigned rank)
{
    return block_of(r, rank).begin < r->ranks.batch;
}

static bool owns_item(const dm_run *r, unsigned rank, size_t item)
{
    const dm_shard_block block = block_of(r, rank);
    const size_t shard = item % (size_t)r->options.shards;

    return shard >= block.begin && shard < block.end;
}

dm_status dm_run_ranks_check(const dm_run *r, dm_error *err)
{
    if ((int64_t)r->ranks.count <= r->options.shards)
        return DM_OK;
    return dm_fail(
        err, DM_ERR_ARGUMENT,
        "%u ranks for `shards` %lld: each rank computes at least one shard; start at most %lld, or set `shards` "
        "to %u, which is another sum",
        r->ranks.count, (long long)r->options.shards, (long long)r->options.shards, r->ranks.count);
}

void dm_run_ranks_place(dm_run *r, dm_arena *a)
{
    dm_run_ranks *k = &r->ranks;
    const size_t chunks = r->models.trained_layout->floats / DM_NORM_CHUNK + 1;
    const size_t item = larger(sizeof *r->memory.results, r->policy ? sizeof *r->policy->results : 0);
    const size_t critic = r->policy && r->policy->critic.o.on ? r->models.config.hidden + 1 : 0;
    const size_t room = larger(larger(r->memory.results_room * item, chunks * sizeof(float)),
                               (size_t)r->options.shards * critic * sizeof(double));

    k->shards = block_of(r, k->self);
    if (k->count == 1)
        return;
    k->n = r->models.config.layers + (size_t)2;
    k->own = dm_run_own_floats(r);
    k->bucket = dm_arena_alloc(a, k->n, sizeof *k->bucket);
    k->inbox = dm_arena_alloc(a, (k->count - 1) * k->own, sizeof *k->inbox);
    k->sending = dm_arena_zalloc(a, k->n * k->count, sizeof *k->sending);
    k->receiving = dm_arena_zalloc(a, k->n * k->count, sizeof *k->receiving);
    k->items = dm_arena_alloc(a, room, 1);
    for (size_t b = 0, begin = 0, own = 0; k->bucket && b < k->n; b++) {
        const size_t end = b + 1 < k->n ? boundary(r, b) : r->models.trained_layout->floats;
        k->bucket[b] = (dm_run_bucket){begin, end, own};
        own += own_piece(r, begin, end);
        begin = end;
    }
}

/* ---- agreement ---- */

static void fact(dm_ranks_fact *f, const char *name, dm_sha256 *h)
{
    dm_sha256_finish(h, f->value);
    snprintf(f->name, sizeof f->name, "%s", name);
}

dm_status dm_run_agree(const dm_run *r, dm_status s, dm_error *err)
{
    dm_ranks_fact facts[DM_RANKS_FACTS] = {{"", ""}};
    const dm_train_options *o = &r->options;
    char text[320];
    dm_sha256 h;

    if (r->ranks.count == 1)
        return s;
    if (s != DM_OK)
        return dm_ranks_agree(s, facts, err);
    dm_sha256_init(&h);
    for (int part = DM_IDENTITY_ELSEWHERE + 1; part < DM_IDENTITIES; part++)
        dm_train_options_hash(o, (dm_identity)part, &h);
    snprintf(text, sizeof text, "%lld %lld %d %d", (long long)o->eval_every, (long long)o->checkpoint_every, o->resume,
             r->score_only);
    dm_sha256_update(&h, text, strlen(text));
    if (r->policy)
        dm_sha256_update(&h, r->policy->identity, strlen(r->policy->identity));
    fact(&facts[0], "set of options", &h);
    dm_sha256_init(&h);
    snprintf(text, sizeof text, "%s %s %s %zu %zu", r->models.policy.sha256, r->models.reference[0].sha256,
             r->models.reference[1].sha256, r->models.layout.parameters, r->models.trained_layout->parameters);
    dm_sha256_update(&h, text, strlen(text));
    fact(&facts[1], "model", &h);
    dm_sha256_init(&h);
    dm_dataset_hash(&r->train.data, &h);
    dm_dataset_hash(&r->eval.data, &h);
    fact(&facts[2], "data", &h);
    return dm_ranks_agree(s, facts, err);
}

/* ---- a batch ---- */

dm_status dm_run_share_items(dm_run *r, void *data, size_t size, size_t n, dm_error *err)
{
    static const char what[] = "the losses of a batch's items";
    const dm_run_ranks *k = &r->ranks;
    char *all = data;
    dm_status s = DM_OK;

    if (k->count == 1)
        return DM_OK;
    for (unsigned rank = 1; s == DM_OK && rank < k->count; rank++) {
        size_t packed = 0;
        if (k->self != 0 && k->self != rank)
            continue;
        for (size_t j = 0; j < n; j++)
            if (owns_item(r, rank, j)) {
                if (k->self)
                    memcpy(k->items + packed, all + j * size, size);
                packed += size;
            }
        s = k->self ? dm_ranks_send(0, DM_RANK_ITEMS, k->items, packed, what, err)
                    : dm_ranks_receive(rank, DM_RANK_ITEMS, k->items, packed, what, err);
        for (size_t j = 0, at = 0; k->self == 0 && at < packed; j++)
            if (owns_item(r, rank, j)) {
                memcpy(all + j * size, k->items + at, size);
                at += size;
            }
    }
    return s == DM_OK ? dm_ranks_share(DM_RANK_ITEMS, data, n * size, what, err) : s;
}

dm_status dm_run_share_parts(const dm_run *r, const dm_run_parts *parts, const char *what, dm_error *err)
{
    const dm_run_ranks *k = &r->ranks;
    char *data = parts->data;
    dm_status s = DM_OK;

    if (k->count == 1 || parts->n == 0)
        return DM_OK;
    for (size_t i = 0; s == DM_OK && i < parts->n; i++) {
        const unsigned owner = (unsigned)(i % k->count);
        const size_t first = parts->begin[parts->stride * i],
                     next = i + 1 < parts->n ? parts->begin[parts->stride * (i + 1)] : parts->end,
                     bytes = (next - first) * parts->size;
        if (owner && k->self == owner)
            s = dm_ranks_send(0, DM_RANK_ITEMS, data + first * parts->size, bytes, what, err);
        else if (owner && k->self == 0)
            s = dm_ranks_receive(owner, DM_RANK_ITEMS, data + first * parts->size, bytes, what, err);
    }
    return s == DM_OK ? dm_ranks_share(DM_RANK_ITEMS, data, parts->end * parts->size, what, err) : s;
}

static dm_rank_message *message(const dm_run *r, dm_rank_message *all, size_t b, unsigned peer)
{
    return &all[b * r->ranks.count + peer];
}

/* What `rank` sends of this rank's piece of bucket b. */
static float *inbox(const dm_run *r, size_t b, unsigned rank)
{
    const size_t slot = rank - (rank > r->ranks.self);
    return r->ranks.inbox + slot * r->ranks.own + r->ranks.bucket[b].own;
}

void dm_run_gradient_begin(dm_run *r, size_t n)
{
    dm_run_ranks *k = &r->ranks;

    k->batch = n;
    k->unsent = k->n;
    for (size_t b = k->n; b-- > 0;)
        for (unsigned peer = 0; peer < k->count; peer++) {
            const size_t floats = length(dm_run_piece(r, b, k->self));
            if (peer != k->self && floats && has_items(r, peer))
                dm_ranks_here()->receive(message(r, k->receiving, b, peer), peer, DM_RANK_GRADIENT, inbox(r, b, peer),
                                         floats * sizeof(float));
        }
}

static void send_bucket(dm_run *r, size_t b)
{
    dm_run_ranks *k = &r->ranks;
    const size_t shards = smaller(k->shards.end, k->batch) - k->shards.begin;

    dm_shard_merge(r->engine, r->memory.level, shards - 1, shards, k->bucket[b].begin, k->bucket[b].end);
    for (unsigned i = 1; i < k->count; i++) {
        const unsigned peer = (k->self + i) % k->count; /* not all to the same one at once */
        const dm_range piece = dm_run_piece(r, b, peer);
        if (length(piece))
            dm_ranks_here()->send(message(r, k->sending, b, peer), peer, DM_RANK_GRADIENT,
                                  r->memory.gradient + piece.begin, length(piece) * sizeof(float));
    }
}

void dm_run_gradient_ready(dm_run *r, size_t layer)
{
    dm_run_ranks *k = &r->ranks;

    while (k->unsent > layer)
        send_bucket(r, --k->unsent);
    for (size_t i = 0; i < k->n * k->count; i++) { /* messages move while somebody looks at them */
        dm_ranks_here()->done(&k->sending[i]);
        dm_ranks_here()->done(&k->receiving[i]);
    }
}

/* Adds up what the ranks [first, first + ranks) have computed, the shards of `block`, of this rank's piece of bucket b.
 * Returns where the sum is; NULL: they had no items. */
static float *add_up(dm_run *r, size_t b, dm_shard_block block, unsigned first, unsigned ranks)
{
    const dm_range piece = dm_run_piece(r, b, r->ranks.self);

    if (ranks == 1 && !has_items(r, first))
        return NULL;
    if (ranks == 1)
        return first == r->ranks.self ? r->memory.gradient + piece.begin : inbox(r, b, first);
    const unsigned left_ranks = dm_shard_left_ranks(block, ranks);
    const size_t middle = dm_shard_middle(block);
    float *left = add_up(r, b, (dm_shard_block){block.begin, middle}, first, left_ranks);
    const float *right = add_up(r, b, (dm_shard_block){middle, block.end}, first + left_ranks, ranks - left_ranks);

    if (right) /* then there is a left one */
        dm_op_add(r->engine, left, right, length(piece));
    return left;
}

dm_status dm_run_gradient_end(dm_run *r, dm_error *err)
{
    dm_run_ranks *k = &r->ranks;
    const dm_shard_block all = {0, (size_t)r->options.shards};
    dm_status s = DM_OK;

    if (k->count > 1 && has_items(r, k->self))
        dm_run_gradient_ready(r, 0);
    for (size_t b = k->n; s == DM_OK && b-- > 0;) {
        const dm_range piece = dm_run_piece(r, b, k->self);
        float *own = r->memory.gradient + piece.begin;
        s = dm_ranks_wait_all(message(r, k->receiving, b, 0), k->count, "a part of the gradient", err);
        if (s != DM_OK || length(piece) == 0)
            continue;
        const float *sum = add_up(r, b, all, 0, k->count);
        if (sum != own)
            memcpy(own, sum, length(piece) * sizeof *own);
    }
    return s == DM_OK ? dm_ranks_wait_all(k->sending, k->n * k->count, "a part of the gradient to be taken", err) : s;
}

/* ---- the update ---- */

static size_t chunks_of(dm_range piece)
{
    return (length(piece) + DM_NORM_CHUNK - 1) / DM_NORM_CHUNK;
}

/* Copies the norm's partial sums of a rank's pieces to `packed`, or from there. Returns how many they are. */
static size_t pack_partials(const dm_run *r, unsigned rank, float *packed, bool out)
{
    size_t n = 0;

    for (size_t b = 0; b < r->ranks.n; b++) {
        const dm_range piece = dm_run_piece(r, b, rank);
        float *at = r->memory.norm_partial + piece.begin / DM_NORM_CHUNK;
        if (out)
            memcpy(packed + n, at, chunks_of(piece) * sizeof *at);
        else
            memcpy(at, packed + n, chunks_of(piece) * sizeof *at);
        n += chunks_of(piece);
    }
    return n;
}

static size_t count_partials(const dm_run *r, unsigned rank)
{
    size_t n = 0;

    for (size_t b = 0; b < r->ranks.n; b++)
        n += chunks_of(dm_run_piece(r, b, rank));
    return n;
}

dm_status dm_run_norm(dm_run *r, double *norm, dm_error *err)
{
    static const char what[] = "the gradient's norm";
    const dm_run_ranks *k = &r->ranks;
    const dm_gradient whole = dm_run_gradient_at(r);
    float *packed = (float *)(void *)k->items, *partial = r->memory.norm_partial;
    dm_status s = DM_OK;

    if (k->count == 1) {
        *norm = dm_grad_norm(r->engine, &whole, partial);
        return DM_OK;
    }
    for (size_t b = 0; b < k->n; b++) {
        const dm_range piece = dm_run_piece(r, b, k->self);
        const dm_gradient g = dm_gradient_whole(r->memory.gradient + piece.begin, length(piece));
        if (length(piece))
            dm_grad_norm(r->engine, &g, partial + piece.begin / DM_NORM_CHUNK);
    }
    if (k->self)
        s = dm_ranks_send(0, DM_RANK_STATE, packed, pack_partials(r, k->self, packed, true) * sizeof *packed, what,
                          err);
    for (unsigned rank = 1; k->self == 0 && s == DM_OK && rank < k->count; rank++) {
        s = dm_ranks_receive(rank, DM_RANK_STATE, packed, count_partials(r, rank) * sizeof *packed, what, err);
        pack_partials(r, rank, packed, false);
    }
    const size_t chunks = (whole.n + DM_NORM_CHUNK - 1) / DM_NORM_CHUNK;
    if (s == DM_OK)
        s = dm_ranks_share(DM_RANK_STATE, partial, chunks * sizeof *partial, what, err);
    *norm = dm_grad_norm_of(partial, chunks);
    return s;
}

dm_status dm_run_update(dm_run *r, const dm_adamw_options *o, double lr, double scale, int64_t t, dm_error *err)
{
    static const char what[] = "a part of the weights";
    dm_run_ranks *k = &r->ranks;
    dm_run_memory *m = &r->memory;

    if (k->count == 1) {
        const dm_gradient g = dm_run_gradient_at(r);
        dm_adamw_update(r->engine, m->trained, m->adam_m, m->adam_v, &g, o, lr, scale, t);
        return DM_OK;
    }
    for (size_t b = 0; b < k->n; b++) {
        const dm_range piece = dm_run_piece(r, b, k->self);
        const size_t at = moments_at(r, b), bytes = length(piece) * sizeof(float);
        const dm_gradient g = dm_gradient_whole(m->gradient + piece.begin, length(piece));
        if (bytes)
            dm_adamw_update(r->engine, m->trained + piece.begin, m->adam_m + at, m->adam_v + at, &g, o, lr, scale, t);
        for (unsigned i = 1; i < k->count; i++) {
            const unsigned to = (k->self + i) % k->count, from = (k->self + k->count - i) % k->count;
            const dm_range theirs = dm_run_piece(r, b, from);
            if (length(theirs))
                dm_ranks_here()->receive(message(r, k->receiving, b, from), from, DM_RANK_WEIGHTS,
                                         m->trained + theirs.begin, length(theirs) * sizeof(float));
            if (bytes)
                dm_ranks_here()->send(message(r, k->sending, b, to), to, DM_RANK_WEIGHTS, m->trained + piece.begin,
                                      bytes);
        }
    }
    const dm_status s = dm_ranks_wait_all(k->receiving, k->n * k->count, what, err);
    return s == DM_OK ? dm_ranks_wait_all(k->sending, k->n * k->count, "its weights to be taken", err) : s;
}

dm_status dm_run_share_stop(dm_run *r, dm_error *err)
{
    return dm_ranks_share(DM_RANK_STATE, &r->stop, sizeof r->stop, "the next step", err);
}

/* ---- checkpoints ---- */

/* Moves the moments of all pieces but rank 0's to rank 0, or from there. */
static dm_status move_moments(dm_run *r, bool home, dm_error *err)
{
    static const char what[] = "moments for a checkpoint";
    const dm_run_ranks *k = &r->ranks;
    dm_status s = DM_OK;

    for (unsigned rank = 1; rank < k->count; rank++)
        for (size_t b = 0; s == DM_OK && b < k->n && (k->self == 0 || k->self == rank); b++)
            for (int moment = 0; s == DM_OK && moment < 2; moment++) {
                const dm_range piece = dm_run_piece(r, b, rank);
                float *at = (moment ? r->memory.adam_v : r->memory.adam_m) + (k->self ? moments_at(r, b) : piece.begin);
                const size_t bytes = length(piece) * sizeof *at;
                s = home == (k->self == 0) ? dm_ranks_receive(home ? rank : 0, DM_RANK_MOMENTS, at, bytes, what, err)
                                           : dm_ranks_send(home ? 0 : rank, DM_RANK_MOMENTS, at, bytes, what, err);
            }
    return s;
}

dm_status dm_run_gather_moments(dm_run *r, dm_error *err)
{
    return r->ranks.count == 1 ? DM_OK : move_moments(r, true, err);
}

dm_status dm_run_share_state(dm_run *r, dm_error *err)
{
    static const char what[] = "the checkpoint";
    dm_status s =
        dm_ranks_share(DM_RANK_WEIGHTS, r->memory.trained, r->models.trained_layout->floats * sizeof(float), what, err);

    if (s == DM_OK && r->policy && r->policy->critic.o.on)
        s = dm_ranks_share(DM_RANK_WEIGHTS, r->policy->critic.weight,
                           3 * r->policy->critic.width * sizeof *r->policy->critic.weight, what, err);
    return s == DM_OK && r->ranks.count > 1 ? move_moments(r, false, err) : s;
}
