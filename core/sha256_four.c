/* SHA-256 of four messages at once, a lane of a vector each: where no instruction does SHA-256's rounds, a message by
 * itself leaves most of a core idle. */
#include <string.h>

#include "core/sha256.h"
#include "core/sha256_blocks.h"

#define LANES DM_SHA256_LANES

typedef uint32_t lanes __attribute__((vector_size(LANES * sizeof(uint32_t))));
#define DM_SHA256_WORD lanes
#include "core/sha256_rounds.h"

static void compress(lanes state[8], const unsigned char *const block[LANES], size_t at)
{
    lanes w[64];
    for (size_t i = 0; i < 16; i++) {
        for (size_t k = 0; k < LANES; k++) {
            const unsigned char *p = block[k] + at + 4 * i;
            w[i][k] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
    }
    dm_sha256_rounds(state, w);
}

void dm_sha256_blocks_four(uint32_t state[LANES][8], const unsigned char *const p[LANES], size_t blocks)
{
    lanes s[8];

    for (size_t i = 0; i < 8; i++)
        for (size_t k = 0; k < LANES; k++)
            s[i][k] = state[k][i];
    for (size_t i = 0; i < blocks; i++)
        compress(s, p, 64 * i);
    for (size_t i = 0; i < 8; i++)
        for (size_t k = 0; k < LANES; k++)
            state[k][i] = s[i][k];
}

void dm_sha256_four(const void *const data[LANES], size_t size, dm_digest out[LANES])
{
    const size_t whole = dm_sha256_x86_usable() ? 0 : size / 64;
    const unsigned char *p[LANES];
    uint32_t state[LANES][8];
    dm_sha256 h;

    dm_sha256_init(&h);
    for (size_t k = 0; k < LANES; k++) {
        p[k] = data[k];
        memcpy(state[k], h.state, sizeof h.state);
    }
    dm_sha256_blocks_four(state, p, whole);
    for (size_t k = 0; k < LANES; k++) {
        memcpy(h.state, state[k], sizeof h.state);
        h.bytes = 64 * whole;
        dm_sha256_update(&h, p[k] + 64 * whole, size - 64 * whole);
        dm_sha256_digest(&h, &out[k]);
    }
}
