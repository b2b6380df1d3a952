#include "core/sha256.h"

#include <string.h>

#include "core/sha256_blocks.h"
#include "core/sha256_rounds.h"

static void compress(uint32_t state[8], const unsigned char block[64])
{
    uint32_t w[64];
    for (size_t i = 0; i < 16; i++) {
        const unsigned char *p = block + 4 * i;
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    dm_sha256_rounds(state, w);
}

void dm_sha256_blocks_plain(uint32_t state[8], const unsigned char *p, size_t blocks)
{
    for (; blocks > 0; blocks--, p += 64)
        compress(state, p);
}

static void take_blocks(uint32_t state[8], const unsigned char *p, size_t blocks)
{
    if (dm_sha256_x86_usable())
        dm_sha256_blocks_x86(state, p, blocks);
    else
        dm_sha256_blocks_plain(state, p, blocks);
}

void dm_sha256_init(dm_sha256 *h)
{
    *h = (dm_sha256){
        .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void dm_sha256_update(dm_sha256 *h, const void *data, size_t size)
{
    const unsigned char *p = data;
    const size_t filled = (size_t)(h->bytes % 64);
    h->bytes += size;
    if (filled > 0) {
        const size_t n = size < 64 - filled ? size : 64 - filled;
        if (n > 0)
            memcpy(h->block + filled, p, n);
        if (filled + n < 64)
            return;
        take_blocks(h->state, h->block, 1);
        p += n;
        size -= n;
    }
    take_blocks(h->state, p, size / 64);
    if (size % 64 > 0)
        memcpy(h->block, p + size / 64 * 64, size % 64);
}

void dm_sha256_digest(dm_sha256 *h, dm_digest *out)
{
    const uint64_t bits = h->bytes * 8;
    unsigned char tail[72] = {0x80}; /* the mark, zeros to 56 modulo 64, the length in bits */
    const size_t zeros = (size_t)((119 - h->bytes % 64) % 64);
    for (size_t i = 0; i < 8; i++)
        tail[1 + zeros + i] = (unsigned char)(bits >> (56 - 8 * i));
    dm_sha256_update(h, tail, 1 + zeros + 8);
    for (size_t i = 0; i < 32; i++)
        out->byte[i] = (unsigned char)(h->state[i / 4] >> (24 - 8 * (i % 4)));
}

void dm_digest_hex(const dm_digest *d, char hex[DM_SHA256_HEX])
{
    for (size_t i = 0; i < 64; i++)
        hex[i] = "0123456789abcdef"[d->byte[i / 2] >> (4 - 4 * (i % 2)) & 15];
    hex[64] = '\0';
}

static unsigned digit(char c)
{
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 0;
}

void dm_digest_read(dm_digest *out, const char *hex)
{
    for (size_t i = 0; i < 32; i++)
        out->byte[i] = (unsigned char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
}

void dm_sha256_finish(dm_sha256 *h, char hex[DM_SHA256_HEX])
{
    dm_digest d;
    dm_sha256_digest(h, &d);
    dm_digest_hex(&d, hex);
}
