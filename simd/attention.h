/* Causal attention over a packed sequence, grouped-query, optionally windowed; forward and backward.
 *
 * A packed sequence is rows 0 .. T-1 cut into segments. A segment is a branch of a tree: its logical sequence
 * is the packed rows [0, prefix) followed by its own rows [begin, end); the row i of the segment has logical
 * position prefix + (i - begin) and sees the logical positions p' <= p with p - p' < window (window 0: all).
 * One trajectory is {0, T, 0, 0}. A pair with P common leading tokens is {0,P,0,0}, {P,P+C,P,P}, {P+C,T,P,P+C}.
 * Query rows before `first` are neither computed nor written (a KV cache: the past is only keys).
 *
 * Numeric order, per head h (kv head h / (heads/kv_heads)) and query row: s[j] = chain over head_dim of
 * fma(q, k, acc) for the visible logical positions j ascending; softmax of the row (simd/kernels/kernels.h, scale =
 * that of the problem, element 0 = first visible key); out = chain over visible keys ascending of
 * fma(p, v, acc), starting from +0.
 * Backward: P recomputed as in forward; dP[j] = chain over head_dim of fma(dout, v, acc); dS = softmax_backward;
 * dq = chain over visible keys ascending of fma(ds, k, acc) from +0; dk[j] (dv[j]): one chain for each packed
 * key row, over the segments in packed order, within one over the heads of its group ascending and within a head over
 * the segment's query rows that see it ascending, of fma(ds, q, acc) (fma(p, dout, acc)), from +0.
 * A masked pair of query and key never enters a chain: adding its zero product would not be exact (fma(+0, x, -0) is
 * +0, and x may be infinite). Tiles are cut at the mask's edges instead, so results never depend on tile size, thread
 * count or ISA, and a row alone (generation) has the bits that it has among others (training). */
#ifndef DM_SIMD_ATTENTION_H
#define DM_SIMD_ATTENTION_H

#include "simd/engine.h"

typedef struct dm_attention_segment {
    size_t begin, end, prefix, first; /* begin <= first <= end */
} dm_attention_segment;

typedef struct dm_attention {
    size_t heads, kv_heads, head_dim, window;
    const dm_attention_segment *segments; /* in packed order, disjoint */
    size_t n_segments;
    size_t q_base;         /* packed row of q's (and out's, dout's, dq's) first row; 0 in training */
    const size_t *q_bases; /* forward only: a q_base for each segment, when many sequences continue at once; or NULL */
    const float *q;        /* [rows - q_base, heads*head_dim], contiguous */
    const float *k;        /* [rows, kv_heads*head_dim] */
    const float *v;        /* [rows, kv_heads*head_dim] */
    float scale;           /* of the scores; 0: (float)(1/sqrt(head_dim)) */
} dm_attention;

/* out [rows - q_base, heads*head_dim]. scratch: dm_attention_scratch floats, 64-byte aligned. */
void dm_attention_forward(const dm_engine *e, const dm_attention *a, float *out, float *scratch);

/* dq like q, dk and dv like k and v; all three are overwritten for every row in a segment (+0 where no query sees a
 * key, and in the rows of dq before `first`). */
void dm_attention_backward(const dm_engine *e, const dm_attention *a, const float *dout, float *dq, float *dk,
                           float *dv, float *scratch);

/* Floats of scratch (a multiple of 16) for sequences whose longest logical segment (prefix + own) is `longest` and
 * that have at most `rows` packed rows, on this engine. Forward alone needs less than forward and backward: 4096 tokens
 * of 9 heads on 3 with head_dim 64 and two threads take 8 and 20 MiB. */
size_t dm_attention_scratch(const dm_engine *e, size_t heads, size_t kv_heads, size_t head_dim, size_t longest,
                            size_t rows, bool backward);

#endif
