/* A training item as one packed sequence: common prefix, rest of chosen, rest of rejected.
 *
 * The rows are cut into segments (simd/attention.h) so that attention sees two separate trajectories while their common
 * leading tokens are computed once, forward and backward; every other operation works row by row and does not care. A
 * prediction is one that the loss needs: the logits of `row` at `target`. The first tokens of both branches are
 * predicted by the same row, the prefix's last. */
#ifndef DM_MODEL_NETWORK_PACK_H
#define DM_MODEL_NETWORK_PACK_H

#include "core/arena.h"
#include "io/data/dataset.h"
#include "simd/attention.h"

typedef struct dm_pack_size {
    size_t rows, predictions, longest; /* packed rows; predictions; tokens of the longer trajectory */
    size_t actions[2];                 /* action tokens of chosen, rejected */
} dm_pack_size;

typedef struct dm_pack_side {
    size_t n; /* action tokens */
    size_t turns;
    uint32_t *prediction; /* [n] which prediction predicts action token i */
    size_t *turn_of;      /* [n] */
} dm_pack_side;

typedef struct dm_pack {
    size_t rows, predictions;
    int32_t *ids;               /* [rows] */
    uint32_t *position;         /* [rows] logical position, for RoPE */
    int32_t *prediction_row;    /* [predictions] */
    int32_t *prediction_target; /* [predictions] */
    dm_pack_side side[2];       /* chosen, rejected (n == 0 in SFT data) */
    dm_attention_segment segments[3];
    size_t n_segments;
} dm_pack;

/* What an item needs. share: false keeps the sides apart (two segments without a prefix). */
dm_pack_size dm_pack_measure(const dm_data_item *item, bool share);

/* Room for items up to `max` (each field the maximum over the data). */
void dm_pack_place(dm_pack *p, dm_arena *arena, const dm_pack_size *max);

/* Fills p; the item must fit the maximum given to dm_pack_place. */
void dm_pack_build(dm_pack *p, const dm_data_item *item, bool share);

#endif
