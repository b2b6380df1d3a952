/* Memory that only grows, in mapped blocks, returned to the system all at once.
 *
 * For parsed documents and data sets: malloc would keep the memory that they free, and the memory plan could not
 * account for it. */
#ifndef DM_CORE_NUMBERS_BLOCK_H
#define DM_CORE_NUMBERS_BLOCK_H

#include <stddef.h>

typedef struct dm_block dm_block; /* newest block of a chain; NULL is an empty one */

/* `size` zeroed bytes, aligned to 16; NULL when memory ran out. */
void *dm_block_alloc(dm_block **chain, size_t size);
void dm_block_free(dm_block **chain);

/* Whole mappings, zeroed. dm_pages_free takes NULL. */
void *dm_pages_alloc(size_t size);
void dm_pages_free(void *memory, size_t size);

#endif
