/* SHA-256 (FIPS 180-4), for checksums that a user can repeat with sha256sum. */
#ifndef DM_CORE_SHA256_H
#define DM_CORE_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct dm_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64];
} dm_sha256;

#define DM_SHA256_HEX 65 /* 64 digits and NUL */

void dm_sha256_init(dm_sha256 *h);
void dm_sha256_update(dm_sha256 *h, const void *data, size_t size);
void dm_sha256_finish(dm_sha256 *h, char hex[DM_SHA256_HEX]);

typedef struct dm_digest { /* as bytes */
    unsigned char byte[32];
} dm_digest;
void dm_sha256_digest(dm_sha256 *h, dm_digest *out);

/* Of four messages of the same length, in the time of two where the machine has no instructions for SHA-256. */
#define DM_SHA256_LANES 4
void dm_sha256_four(const void *const data[DM_SHA256_LANES], size_t size, dm_digest out[DM_SHA256_LANES]);

void dm_digest_hex(const dm_digest *d, char hex[DM_SHA256_HEX]);
void dm_digest_read(dm_digest *out, const char *hex); /* 64 digits as dm_digest_hex writes them; others count as 0 */

#endif
