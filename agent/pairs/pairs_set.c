/* A set of digests: open addressing over an array that grows. */
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs_internal.h"

static size_t first_slot(const dm_pairs_digest *x, size_t slots)
{
    size_t at = 0;
    for (int i = 0; i < 12; i++) /* 48 bits */
        at = at * 16 + (size_t)(x->hex[i] <= '9' ? x->hex[i] - '0' : x->hex[i] - 'a' + 10);
    return at % slots;
}

/* The slot that holds x, or the free one where it belongs. */
static size_t find(const dm_pairs_digests *d, const dm_pairs_digest *x)
{
    const size_t slots = 2 * d->capacity;
    size_t i = first_slot(x, slots);
    while (d->slot[i] && memcmp(d->digest[d->slot[i] - 1].hex, x->hex, sizeof x->hex) != 0)
        i = (i + 1) % slots;
    return i;
}

static bool grow(dm_pairs_digests *d)
{
    const size_t capacity = d->capacity ? 2 * d->capacity : 64;
    dm_pairs_digest *digest = capacity < UINT32_MAX / 2 ? realloc(d->digest, capacity * sizeof *digest) : NULL;
    if (!digest)
        return false;
    d->digest = digest;
    uint32_t *slot = calloc(2 * capacity, sizeof *slot);
    if (!slot)
        return false;
    free(d->slot);
    d->slot = slot;
    d->capacity = capacity;
    for (size_t i = 0; i < d->n; i++)
        d->slot[find(d, &d->digest[i])] = (uint32_t)i + 1;
    return true;
}

bool dm_pairs_digests_add(dm_pairs_digests *d, dm_sha256 *hash, size_t *number, bool *is_new)
{
    dm_pairs_digest x;

    dm_sha256_finish(hash, x.hex);
    if (d->n == d->capacity && !grow(d))
        return false;
    const size_t i = find(d, &x);
    *is_new = d->slot[i] == 0;
    if (*is_new) {
        d->digest[d->n] = x;
        d->slot[i] = (uint32_t)++d->n;
    }
    *number = d->slot[i] - 1;
    return true;
}

void dm_pairs_digests_free(dm_pairs_digests *d)
{
    free(d->digest);
    free(d->slot);
    *d = (dm_pairs_digests){0};
}
