#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "core/numbers/block.h"

#include <stdint.h>
#include <sys/mman.h>

#if !defined(MAP_ANONYMOUS) && defined(MAP_ANON)
#define MAP_ANONYMOUS MAP_ANON
#endif

enum { BLOCK_ALIGN = 16 };
#define BLOCK_FIRST ((size_t)64 << 10)
#define BLOCK_LAST ((size_t)4 << 20) /* untouched pages cost nothing, so blocks may be large */

struct dm_block {
    dm_block *older;
    size_t size, used; /* bytes, this header included */
};

void *dm_pages_alloc(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void dm_pages_free(void *memory, size_t size)
{
    if (memory)
        munmap(memory, size);
}

void *dm_block_alloc(dm_block **chain, size_t size)
{
    const size_t header = (sizeof(dm_block) + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;

    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;

    dm_block *b = *chain;
    if (!b || b->size - b->used < size) {
        size_t want = !b ? BLOCK_FIRST : b->size < BLOCK_LAST ? 2 * b->size : BLOCK_LAST;
        if (want < header + size)
            want = header + size;
        dm_block *fresh = dm_pages_alloc(want);
        if (!fresh)
            return NULL;
        fresh->older = b;
        fresh->size = want;
        fresh->used = header;
        *chain = b = fresh;
    }
    void *p = (char *)b + b->used;
    b->used += size;
    return p;
}

void dm_block_free(dm_block **chain)
{
    while (*chain) {
        dm_block *b = *chain;
        *chain = b->older;
        dm_pages_free(b, b->size);
    }
}
