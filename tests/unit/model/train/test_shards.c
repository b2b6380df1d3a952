/* Shards: the order in which their gradients add up, and who computes which. */
#include <string.h>

#include "core/cpu.h"
#include "core/numbers/numeric.h"
#include "model/train/shards.h"
#include "tests/support/check.h"

#define MOST 40
#define FLOATS 3000

static float value(size_t shard, size_t i) /* sums of these round */
{
    return 1.0f / (float)(1 + shard * 7 + i % 911) + (shard % 5 == 3 ? 1e4f : 0);
}

/* The tree as docs/numerics.md has it. */
static void plain_sum(float (*shard)[FLOATS], size_t count)
{
    for (size_t w = 1; w < count; w *= 2)
        for (size_t s = 0; s + w < count; s += 2 * w)
            for (size_t i = 0; i < FLOATS; i++)
                shard[s][i] = shard[s][i] + shard[s + w][i];
}

static void check_sum(const dm_engine *e, size_t count)
{
    static float want[MOST][FLOATS], room[DM_SHARD_LEVELS][FLOATS];
    float *level[DM_SHARD_LEVELS];

    for (size_t k = 0; k < DM_SHARD_LEVELS; k++)
        level[k] = room[k];
    for (size_t s = 0; s < count; s++) {
        float *dw = level[dm_shard_level(s)];
        CK(dm_shard_level(s) < dm_shard_levels(count));
        for (size_t i = 0; i < FLOATS; i++)
            want[s][i] = dw[i] = value(s, i);
        dm_shard_merge(e, level, s, count, 0, 100); /* in pieces, as layers are finished one after another */
        dm_shard_merge(e, level, s, count, 100, FLOATS);
    }
    plain_sum(want, count);
    CK_MSG(memcmp(want[0], level[0], sizeof want[0]) == 0, "%zu shards add up otherwise", count);
}

/* True when the shards [begin, end) are a node of the tree over `shards`. */
static int is_node(size_t shards, size_t begin, size_t end)
{
    dm_shard_block b = {0, shards};

    while (b.begin != begin || b.end != end) {
        if (b.end - b.begin < 2)
            return 0;
        const size_t middle = dm_shard_middle(b);
        if (begin < middle)
            b.end = middle;
        else
            b.begin = middle;
    }
    return 1;
}

static void check_blocks(size_t shards)
{
    for (unsigned ranks = 1; ranks <= shards; ranks++) {
        size_t next = 0, most = 0;
        for (unsigned r = 0; r < ranks; r++) {
            const dm_shard_block b = dm_shard_block_of(shards, ranks, r);
            CK_MSG(b.begin == next && b.end > b.begin && is_node(shards, b.begin, b.end),
                   "%zu shards, rank %u of %u: [%zu, %zu)", shards, r, ranks, b.begin, b.end);
            next = b.end;
            most = b.end - b.begin > most ? b.end - b.begin : most;
        }
        CK(next == shards);
        if ((shards & (shards - 1)) == 0 && (ranks & (ranks - 1)) == 0)
            CK_MSG(most == shards / ranks, "%zu shards on %u ranks: one has %zu", shards, ranks, most);
    }
}

int main(void)
{
    dm_engine e;
    dm_error err = {0};

    if (!CK_MSG(dm_engine_open(&e, DM_ISA_SCALAR, 2, &err) == DM_OK, "%s", err.message))
        return ck_done("shards");
    for (size_t count = 1; count <= MOST; count++)
        check_sum(&e, count);
    for (size_t shards = 1; shards <= 33; shards++)
        check_blocks(shards);
    check_blocks(DM_SHARDS_MAX);
    dm_engine_close(&e);
    return ck_done("shards");
}
