/* Hashes for tables whose keys come from outside: SipHash-2-4 under a secret key, so that nobody can make a
 * file whose keys collide. The key differs from process to process: no output and no result may
 * depend on a hash, on a slot's number or on an order of slots. */
#ifndef DM_CORE_HASH_H
#define DM_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct dm_hash_key {
    uint64_t a, b;
} dm_hash_key;

/* This process's key, the same at every call: random bytes of the system, or time and addresses without them. */
dm_hash_key dm_hash_key_get(void);

uint64_t dm_hash(dm_hash_key key, const void *bytes, size_t size);

/* Hash of two numbers: multiply-shift, universal for random keys, then mixed. */
static inline uint64_t dm_hash_pair(dm_hash_key key, uint32_t x, uint32_t y)
{
    const uint64_t h = key.a * x + key.b * y;
    return (h ^ h >> 32) * 0x9E3779B97F4A7C15u >> 32;
}

#endif
