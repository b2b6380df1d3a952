/* One block of memory, sized before anything is placed in it.
 *
 * A layout function is written once and run twice: first on a measuring arena (base NULL: every
 * allocation only counts and returns NULL), then on a real one of exactly that size, so size and
 * placement cannot drift apart. The block has three phases, one after another:
 *
 *     | permanent (weights, optimizer state) | step (activations) | scratch (one operation) |
 *
 * dm_arena_mark / dm_arena_release give back everything allocated since the mark (stack order).
 * Under AddressSanitizer free space is poisoned and every allocation is followed by a red zone.
 * All sizes are overflow-checked; an allocation that does not fit sets the sticky `failed` flag and
 * returns NULL, so that a layout function checks once, at its end. Not thread-safe. */
#ifndef DM_CORE_ARENA_H
#define DM_CORE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

#define DM_ALIGN 64 /* bytes; every allocation starts on a cache line */

typedef enum dm_arena_phase { DM_ARENA_PERMANENT, DM_ARENA_STEP, DM_ARENA_SCRATCH, DM_ARENA_PHASES } dm_arena_phase;

typedef struct dm_arena {
    unsigned char *base;                /* NULL: measuring */
    size_t capacity;                    /* bytes; SIZE_MAX while measuring */
    size_t used;                        /* bytes, red zones included */
    size_t peak;                        /* high-water mark of `used` */
    size_t phase_peak[DM_ARENA_PHASES]; /* most bytes ever live in allocations made in that phase */
    size_t phase_used[DM_ARENA_PHASES];
    dm_arena_phase phase;
    bool failed;
    size_t allocations; /* number of successful dm_arena_alloc calls */
} dm_arena;

typedef struct dm_arena_marker {
    size_t used;
    size_t phase_used[DM_ARENA_PHASES];
    dm_arena_phase phase;
} dm_arena_marker;

/* A measuring arena: nothing is allocated, `peak` becomes the size a real one needs. */
dm_arena dm_arena_measure(void);

/* Maps `capacity` bytes and touches every page, so that a size the machine cannot provide fails here, not hours
 * later. `capacity` is the `peak` of a measuring run. */
dm_status dm_arena_open(dm_arena *arena, size_t capacity, dm_error *err);

/* Unmaps; the arena becomes empty. Accepts an arena that was never opened. */
void dm_arena_close(dm_arena *arena);

/* `count * size` bytes, 64-byte aligned, uninitialised (pages are zero only at first use). NULL while
 * measuring and on failure; count*size == 0 gives a valid, unusable pointer (or NULL). */
void *dm_arena_alloc(dm_arena *arena, size_t count, size_t size);

/* As dm_arena_alloc, but zeroed. */
void *dm_arena_zalloc(dm_arena *arena, size_t count, size_t size);

/* Allocations from here on belong to `phase`. */
void dm_arena_enter(dm_arena *arena, dm_arena_phase phase);

dm_arena_marker dm_arena_mark(const dm_arena *arena);
void dm_arena_release(dm_arena *arena, dm_arena_marker mark);

#endif
