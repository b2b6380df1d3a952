/* The schedule and rounds of a block (FIPS 180-4, 6.2.2), for one message or, when the including file defines
 * DM_SHA256_WORD as a vector of uint32_t, for as many as it has lanes. */
#ifndef DM_CORE_SHA256_ROUNDS_H
#define DM_CORE_SHA256_ROUNDS_H

#include "core/sha256_blocks.h"

#ifndef DM_SHA256_WORD
#define DM_SHA256_WORD uint32_t
#endif

typedef DM_SHA256_WORD dm_sha256_word;

static inline dm_sha256_word dm_sha256_rotate(dm_sha256_word x, unsigned n)
{
    return x >> n | x << (32 - n);
}

/* w: the block's 16 words; the other 48 are filled. */
static inline void dm_sha256_rounds(dm_sha256_word state[8], dm_sha256_word w[64])
{
    for (size_t i = 16; i < 64; i++) {
        const dm_sha256_word s0 = dm_sha256_rotate(w[i - 15], 7) ^ dm_sha256_rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        const dm_sha256_word s1 = dm_sha256_rotate(w[i - 2], 17) ^ dm_sha256_rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    dm_sha256_word a = state[0], b = state[1], c = state[2], d = state[3];
    dm_sha256_word e = state[4], f = state[5], g = state[6], h = state[7];
    for (size_t i = 0; i < 64; i++) {
        const dm_sha256_word s1 = dm_sha256_rotate(e, 6) ^ dm_sha256_rotate(e, 11) ^ dm_sha256_rotate(e, 25);
        const dm_sha256_word t1 = h + s1 + ((e & f) ^ (~e & g)) + dm_sha256_constants[i] + w[i];
        const dm_sha256_word s0 = dm_sha256_rotate(a, 2) ^ dm_sha256_rotate(a, 13) ^ dm_sha256_rotate(a, 22);
        const dm_sha256_word t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

#endif
