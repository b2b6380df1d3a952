/* What forward and backward of attention share: how the scratch is laid out, how keys are packed, and the three
 * products of a block of query rows with a band of keys. Positions are logical (simd/attention.h) everywhere. */
#ifndef DM_SIMD_ATTENTION_INTERNAL_H
#define DM_SIMD_ATTENTION_INTERNAL_H

#include <math.h>

#include "simd/attention.h"

/* Sizes in floats, offsets from the scratch's start. "Packed for scores": panels of nr keys, head_dim deep. "Packed for
 * sums": panels of nr columns of the head, as deep as there are keys. */
typedef struct dm_attention_plan {
    size_t unit, block;           /* query rows that one thread takes at a time: backward, forward */
    size_t strip;                 /* query rows of one head whose P and dS exist at a time in the backward pass */
    size_t batch;                 /* kv heads in flight */
    size_t width;                 /* between the rows of a strip of scores */
    size_t keys_size;             /* one head packed for scores */
    size_t sums_size;             /* one head packed for sums */
    size_t strip_size, rows_size; /* backward: strip x width; strip rows packed for sums */
    size_t k_scores, v_scores, k_sums, v_sums; /* [batch] heads each */
    size_t p, ds;                              /* [batch] strips */
    size_t q_rows, dout_rows;                  /* [batch] strips of query rows packed for sums */
    size_t own, own_size;                      /* per thread: packed query rows, then (forward) its block of scores */
    size_t own_scores, own_sums;               /* offsets inside: its scores; its sums in columns */
    size_t total;
} dm_attention_plan;

dm_attention_plan dm_attention_layout(const dm_engine *e, size_t heads, size_t kv_heads, size_t head_dim,
                                      size_t longest, bool backward);

/* The longest logical sequence of the segments. */
size_t dm_attention_longest(const dm_attention *a);

/* One segment as a logical sequence. */
typedef struct dm_attention_sequence {
    size_t prefix, begin; /* position j is packed row j below prefix, begin + j - prefix from there on */
    size_t length;
    size_t first;  /* position of the first query */
    size_t window; /* 1 .. length */
    size_t ldq, ldk;
    size_t q_base; /* packed row r's query is row r - q_base of q */
} dm_attention_sequence;

dm_attention_sequence dm_attention_sequence_of(const dm_attention *a, size_t segment);

static inline size_t dm_attention_sequence_row(const dm_attention_sequence *s, size_t position)
{
    return position < s->prefix ? position : s->begin + (position - s->prefix);
}

/* First key that the query at `position` sees. */
static inline size_t dm_attention_sequence_low(const dm_attention_sequence *s, size_t position)
{
    return position < s->window ? 0 : position - s->window + 1;
}

/* Whether every query sees all keys before it. */
static inline bool dm_attention_sequence_is_open(const dm_attention_sequence *s)
{
    return s->window >= s->length;
}

/* This part's share of the keys that any query sees, in whole panels of `width` keys. */
dm_range dm_attention_sequence_share(const dm_attention_sequence *s, size_t width, unsigned part, unsigned parts);

static inline size_t dm_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t dm_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Packs keys [r.begin, r.end) of one head in panels of `width`; src is the head's column of k or v. For scores, r.begin
 * is a multiple of the width, and r.end too or the length. */
void dm_attention_pack_scores(const dm_gemm_kernel *g, const dm_attention_sequence *s, float *dst, const float *src,
                              size_t head_dim, dm_range r, size_t width);
void dm_attention_pack_sums(const dm_gemm_kernel *g, const dm_attention_sequence *s, float *dst, const float *src,
                            size_t head_dim, dm_range r, size_t width);

/* ---- in rows: any window ---- */

/* Query rows against keys: strip[p - rows.begin][j - column] for every key that row p sees (and some that it does not:
 * each element is a chain of its own). `x` are the rows packed in panels of mr, column is a multiple of nr. */
void dm_attention_band_scores(const dm_gemm_kernel *g, const dm_attention_sequence *s, const float *x,
                              const float *keys, size_t head_dim, dm_range rows, float *strip, size_t width,
                              size_t column);

/* out[p] = sum over the keys that row p sees, ascending, of strip[p - rows.begin][j - column] * keys[j]. */
void dm_attention_band_sums(const dm_gemm_kernel *g, const dm_attention_sequence *s, float *pack, const float *strip,
                            size_t width, size_t column, const float *keys, size_t head_dim, dm_range rows, float *out,
                            size_t ldo);

/* A tile of m rows of C whose row i takes part in the steps [first + i, last + i] only: c += a * b over the steps
 * [t0, t1), ascending. a and b (packed panels) start at step t0. This exact cut is why masks need no zeros. */
void dm_attention_band_tile(const dm_gemm_kernel *g, size_t m, size_t n, ptrdiff_t first, ptrdiff_t last, size_t t0,
                            size_t t1, const float *a, const float *b, float *c, size_t ldc);

/* ---- in columns: an open sequence ----
 * A panel holds the scores of up to nr query rows, [key][nr]. As it is, it is the packed B of the sums over keys (A:
 * keys packed for sums in panels of mr) and the A of the sums over queries (simd/kernels/gemm/gemm_kernel.h, rows).
 * Nothing of size queries x keys is ever packed, and lanes are queries or keys, never the columns of a narrow head. */

/* panel: the scores of the rows [rows.begin, rows.end), at most nr, for all keys up to the last. x: rows packed as B;
 * keys packed for scores in panels of mr. */
void dm_attention_panel_scores(const dm_gemm_kernel *g, const float *x, const float *keys, size_t head_dim,
                               dm_range rows, float *panel);
void dm_attention_panel_softmax(const dm_kernels *k, dm_range rows, float *panel, float scale);
void dm_attention_panel_softmax_backward(const dm_kernels *k, dm_range rows, float *ds, const float *p, float scale);
/* out[p] = sum over the keys that row p sees, ascending, of panel[j][p - rows.begin] * keys[j]. sums:
 * round_up(head_dim, mr) x nr floats. */
void dm_attention_panel_sums(const dm_kernels *k, const dm_attention_sequence *s, const float *panel, const float *keys,
                             size_t head_dim, dm_range rows, float *sums, float *out, size_t ldo);

static inline float dm_attention_scale(const dm_attention *a)
{
    return a->scale > 0 ? a->scale : (float)(1.0 / sqrt((double)a->head_dim));
}

#endif
