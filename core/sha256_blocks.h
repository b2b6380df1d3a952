/* What the two compression functions of SHA-256 share. */
#ifndef DM_CORE_SHA256_BLOCKS_H
#define DM_CORE_SHA256_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/sha256.h"

extern const uint32_t dm_sha256_constants[64];

/* Takes `blocks` times 64 bytes into the state. */
void dm_sha256_blocks_plain(uint32_t state[8], const unsigned char *p, size_t blocks);
void dm_sha256_blocks_four(uint32_t state[DM_SHA256_LANES][8], const unsigned char *const p[DM_SHA256_LANES],
                           size_t blocks);                                           /* of each message */
void dm_sha256_blocks_x86(uint32_t state[8], const unsigned char *p, size_t blocks); /* where usable */
bool dm_sha256_x86_usable(void);

#endif
