#include "model/train/shards.h"

#include "core/numbers/numeric.h"
#include "model/network/ops.h"

size_t dm_shard_levels(size_t count)
{
    size_t levels = 1;

    while (count >>= 1)
        levels++;
    return levels;
}

/* Of i finished shards as many sums are waiting as i has bits set: one for each whole subtree. */
size_t dm_shard_level(size_t i)
{
    size_t level = 0;

    for (; i; i &= i - 1)
        level++;
    return level;
}

void dm_shard_merge(const dm_engine *e, float *const level[DM_SHARD_LEVELS], size_t i, size_t count, size_t begin,
                    size_t end)
{
    /* After the last one everything is added, the latest first. */
    const size_t left = i + 1 < count ? dm_shard_level(i + 1) - 1 : 0;

    for (size_t k = dm_shard_level(i); k > left; k--)
        dm_op_add(e, level[k - 1] + begin, level[k] + begin, end - begin);
}

size_t dm_shard_middle(dm_shard_block block)
{
    size_t left = 1;

    while (2 * left < block.end - block.begin)
        left *= 2;
    return block.begin + left;
}

unsigned dm_shard_left_ranks(dm_shard_block block, unsigned ranks)
{
    const size_t n = block.end - block.begin, left = dm_shard_middle(block) - block.begin, right = n - left;
    size_t share = (ranks * left + n / 2) / n; /* rounded */

    share = share > left ? left : share < 1 ? 1 : share;
    if (share > ranks - 1)
        share = ranks - 1;
    return (unsigned)(ranks - share > right ? ranks - right : share);
}

dm_shard_block dm_shard_block_of(size_t shards, unsigned ranks, unsigned rank)
{
    dm_shard_block block = {0, shards};

    while (ranks > 1) {
        const unsigned left = dm_shard_left_ranks(block, ranks);
        if (rank < left) {
            block.end = dm_shard_middle(block);
            ranks = left;
        } else {
            block.begin = dm_shard_middle(block);
            ranks -= left;
            rank -= left;
        }
    }
    return block;
}
