#include "model/network/network.h"

#include <string.h>

#include "core/numbers/numeric.h"
#include "model/network/head.h"
#include "model/network/rope.h"

/* Room for rows x cols floats, and for `bytes`. */
static float *room(dm_arena *a, size_t bytes, size_t rows, size_t cols)
{
    if (cols && rows > SIZE_MAX / cols / sizeof(float)) {
        a->failed = true;
        return NULL;
    }
    const size_t asked = rows * cols * sizeof(float);
    return dm_arena_alloc(a, asked > bytes ? asked : bytes, 1);
}

static float *floats(dm_arena *a, size_t rows, size_t cols)
{
    return room(a, 0, rows, cols);
}

/* A layer's activations except x (and, in a cache, k and v), which are its own in every mode. late: rows from mid
 * on. bf16: what products alone read is kept as that. */
static void place_shared(dm_layer_activations *acts, dm_arena *a, const dm_config *c, size_t rows, size_t late,
                         bool bf16)
{
    const size_t hq = (size_t)c->heads * c->head_dim, hk = (size_t)c->kv_heads * c->head_dim;
    acts->inv1 = floats(a, rows, 1);
    acts->q = floats(a, rows, hq);
    if (c->qk_norm) {
        acts->q_raw = floats(a, rows, hq);
        acts->k_raw = floats(a, rows, hk);
        acts->q_inv = floats(a, rows, c->heads);
        acts->k_inv = floats(a, rows, c->kv_heads);
    }
    if (bf16)
        acts->att_bf16 = (uint16_t *)(void *)floats(a, rows, (hq + 1) / 2);
    else
        acts->att = floats(a, rows, hq);
    if (dm_config_is_gemma(c)) {
        acts->o_raw = floats(a, late, c->hidden);
        acts->o_inv = floats(a, late, 1);
        acts->f_raw = floats(a, late, c->hidden);
        acts->f_inv = floats(a, late, 1);
    }
    acts->mid = floats(a, late, c->hidden);
    acts->inv2 = floats(a, late, 1);
    acts->gate = floats(a, late, c->intermediate);
    acts->up = floats(a, late, c->intermediate);
}

static void place_keys(dm_layer_activations *acts, dm_arena *a, const dm_config *c, size_t rows)
{
    acts->k = floats(a, rows, (size_t)c->kv_heads * c->head_dim);
    acts->v = floats(a, rows, (size_t)c->kv_heads * c->head_dim);
}

static size_t most_rows(const dm_network_size *s)
{
    return s->rows > s->predictions ? s->rows : s->predictions;
}

/* How far after the first activation gradients must begin that every layer's may begin at: those of layer `l` end
 * `end` bytes after it. */
static size_t lead_for(const dm_network *n, size_t l, size_t end)
{
    const size_t begin = (dm_param_layout_begin(n->layout, n->c->layers, l) - n->split) * sizeof(float);
    return end > begin ? end - begin : 0;
}

static void place_layers(dm_network *n, dm_arena *a, const dm_config *c, const dm_network_size *s)
{
    const int train = s->mode == DM_NETWORK_TRAIN, generate = s->mode == DM_NETWORK_GENERATE;
    const bool bf16 = train && s->precision == DM_PRECISION_BF16;
    const uint32_t shared = train ? s->recompute : c->layers; /* layers that share one set of activations */
    dm_layer_activations common = {0};
    size_t lead = 0;

    n->split = dm_param_layout_begin(n->layout, c->layers, 0);
    n->acts = dm_arena_zalloc(a, c->layers, sizeof *n->acts);
    n->out = floats(a, s->predictions, c->hidden);
    n->narrow = floats(a, s->predictions, (size_t)c->heads * c->head_dim);
    const dm_arena_marker block = dm_arena_mark(a);
    if (shared > 0)
        place_shared(&common, a, c, s->rows, most_rows(s), bf16);
    if (shared > 0 && !generate)
        place_keys(&common, a, c, s->rows);
    if (!train)
        common.x = floats(a, s->rows, c->hidden);
    for (uint32_t l = 0; l < c->layers; l++) {
        const int own = l >= shared;
        dm_layer_activations layer = common;
        if (own)
            place_shared(&layer, a, c, s->rows, l + 1 < c->layers ? s->rows : s->predictions, bf16);
        if (own || generate)
            place_keys(&layer, a, c, generate ? s->cache : s->rows);
        if (train)
            layer.x = floats(a, s->rows, c->hidden);
        if (n->acts)
            n->acts[l] = layer;
        const size_t least = lead_for(n, l, a->used - block.used);
        lead = least > lead ? least : lead;
    }
    if (s->overlay) { /* one piece for both */
        dm_arena_release(a, block);
        unsigned char *both = dm_arena_alloc(a, lead + (n->layout->floats - n->split) * sizeof(float), 1);
        n->late = both ? (float *)(void *)(both + lead) : NULL;
    }
}

void dm_network_place(dm_network *n, dm_arena *a, const dm_engine *e, const dm_config *c, const dm_param_layout *layout,
                      const dm_network_size *s)
{
    const size_t d = c->hidden, f = c->intermediate;
    const size_t hq = (size_t)c->heads * c->head_dim, hk = (size_t)c->kv_heads * c->head_dim;
    const int train = s->mode == DM_NETWORK_TRAIN;
    const size_t most = most_rows(s);
    const size_t keys = s->mode == DM_NETWORK_GENERATE ? s->cache : s->rows;

    *n = (dm_network){.e = e, .c = c, .layout = layout, .size = *s};
    dm_arena_enter(a, DM_ARENA_STEP);
    for (int t = DM_ROPE_MAIN; t <= DM_ROPE_LOCAL; t++)
        if (memchr(c->rope_use, t, c->layers)) {
            n->rope[t].cos = floats(a, s->longest, c->head_dim / 2);
            n->rope[t].sin = floats(a, s->longest, c->head_dim / 2);
        }
    if (dm_config_is_gemma(c))
        n->unit = floats(a, c->hidden > c->head_dim ? c->hidden : c->head_dim, 1);
    place_layers(n, a, c, s);

    dm_arena_enter(a, DM_ARENA_SCRATCH);
    const dm_arena_marker scratch = dm_arena_mark(a);
    n->norm = floats(a, most, d);
    n->delta = floats(a, most, d);
    n->ffn = floats(a, most, f);
    if (s->mode == DM_NETWORK_GENERATE) {
        n->new_k = floats(a, s->rows, hk);
        n->new_v = floats(a, s->rows, hk);
        n->segments = dm_arena_alloc(a, DM_CACHE_REGIONS_MAX, sizeof *n->segments);
        n->q_bases = dm_arena_alloc(a, DM_CACHE_REGIONS_MAX, sizeof *n->q_bases);
    }
    if (train) {
        n->dx = floats(a, s->rows, d);
        n->dffn = floats(a, most, f);
        n->datt = floats(a, s->rows, hq);
        n->dq = floats(a, most, hq);
        for (uint32_t l = 0; n->acts && s->precision == DM_PRECISION_BF16 && l < c->layers; l++)
            n->acts[l].att = n->dq; /* free until attention's backward */
        n->dk = floats(a, s->rows, hk);
        n->dv = floats(a, s->rows, hk);
    }
    n->low = floats(a, most, s->rank);
    n->attention = floats(a, dm_attention_scratch(e, c->heads, c->kv_heads, c->head_dim, s->longest, keys, train), 1);
    const size_t layers = a->used - scratch.used;

    dm_arena_release(a, scratch); /* the layers are done when the head begins, and the other way round */
    n->logits = room(a, layers, s->predictions, dm_head_width(c->vocab, s->keep_logits));
    if (train)
        n->dout = floats(a, s->predictions, d);
    n->hnorm = floats(a, s->predictions, d);
    n->hinv = floats(a, s->predictions, 1);
    n->lse = floats(a, s->predictions, DM_LSE_STATE);
    n->log_sum = floats(a, s->predictions, 1);
    n->target = floats(a, s->predictions, 1);
    n->logp = floats(a, s->predictions, 1);
}

void dm_network_tables(dm_network *n)
{
    for (int use = DM_ROPE_MAIN; use <= DM_ROPE_LOCAL; use++)
        if (n->rope[use].cos)
            dm_rope_tables(n->rope[use].cos, n->rope[use].sin, n->size.longest, n->c, (dm_rope_use)use);
}
