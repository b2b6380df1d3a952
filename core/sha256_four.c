/* SHA-256 of four messages at once, a lane of a vector each: where no instruction does SHA-256's rounds, a message by
 * itself leaves most of a core idle. */
#include <string.h>

#include "core/sha256.h"
#include "core/sha256_blocks.h"

#define LANES DM_SHA256_LANES

typedef uint32_t lanes __attribute__((vector_size(LANES * sizeof(uint32_t))));

static inline lanes rotate(lanes x, unsigned n)
{
    return x >> n | x << (32 - n);
}

/* As compress() in core/sha256.c. */
static void compress(lanes state[8], const unsigned char *const block[LANES], size_t at)
{
    lanes w[64];
    for (size_t i = 0; i < 16; i++) {
        for (size_t k = 0; k < LANES; k++) {
            const unsigned char *p = block[k] + at + 4 * i;
            w[i][k] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
    }
    for (size_t i = 16; i < 64; i++) {
        const lanes s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        const lanes s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    lanes a = state[0], b = state[1], c = state[2], d = state[3];
    lanes e = state[4], f = state[5], g = state[6], h = state[7];
    for (size_t i = 0; i < 64; i++) {
        const lanes s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        const lanes t1 = h + s1 + ((e & f) ^ (~e & g)) + dm_sha256_constants[i] + w[i];
        const lanes s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        const lanes t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
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
