/* Shards: how a batch's gradients add up (docs/numerics.md, section 5).
 *
 * Item i of a batch belongs to shard i mod `shards`. Within a shard gradients add in one chain, as without shards.
 * Shards then add up in a tree: for w = 1, 2, 4, ...: shard s, a multiple of 2w, takes shard s + w. A shard without an
 * item takes no part. So the sum is a function of the number of shards, and of nothing else. */
#ifndef DM_MODEL_TRAIN_SHARDS_H
#define DM_MODEL_TRAIN_SHARDS_H

#include <stddef.h>

#include "simd/engine.h"

#define DM_SHARDS_MAX 256
#define DM_SHARD_LEVELS 9 /* sums of finished shards that can be waiting at once: 1 + log2(DM_SHARDS_MAX) */

/* Arrays of gradients that `count` shards, taken one after another, need. */
size_t dm_shard_levels(size_t count);

/* The level whose array shard `i` of them (from 0) is computed in. */
size_t dm_shard_level(size_t i);

/* Once shard i of `count` is computed: adds what the tree adds then, of the elements [begin, end). After the last one
 * the sum of all is in level[0]. */
void dm_shard_merge(const dm_engine *e, float *const level[DM_SHARD_LEVELS], size_t i, size_t count, size_t begin,
                    size_t end);

/* The shards [begin, end) that rank `rank` of `ranks` computes (1 <= ranks <= shards): one whole subtree for each rank,
 * in their order, dealt out as evenly as that allows. */
typedef struct dm_shard_block {
    size_t begin, end;
} dm_shard_block;

dm_shard_block dm_shard_block_of(size_t shards, unsigned ranks, unsigned rank);

/* Where the tree divides the shards of a block of two or more: the first shard of the right half. */
size_t dm_shard_middle(dm_shard_block block);

/* How many of the ranks that have this block have its left half. */
unsigned dm_shard_left_ranks(dm_shard_block block, unsigned ranks);

#endif
