#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "core/arena.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif

#ifdef ASAN
#include <sanitizer/asan_interface.h>
#define RED_ZONE ((size_t)DM_ALIGN)
#define POISON(p, n) __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define RED_ZONE ((size_t)0)
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

dm_arena dm_arena_measure(void)
{
    return (dm_arena){.capacity = SIZE_MAX};
}

/* Linux grants more than it has and kills the process that uses it, so check before touching. SIZE_MAX: unknown. */
static size_t memory_available(void)
{
    unsigned long long kib, available = 0, swap = 0, limit = 0;
    size_t result = SIZE_MAX;
    char line[256];
    FILE *f = fopen("/proc/meminfo", "r");
    if (f) {
        while (fgets(line, sizeof line, f)) {
            if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
                available = kib;
            else if (sscanf(line, "SwapFree: %llu kB", &kib) == 1)
                swap = kib;
        }
        fclose(f);
    }
    if (available > 0 && available + swap < SIZE_MAX / 1024)
        result = (size_t)(available + swap) * 1024;
    f = fopen("/sys/fs/cgroup/memory.max", "r");
    if (f) {
        if (fscanf(f, "%llu", &limit) == 1 && limit < result)
            result = (size_t)limit;
        fclose(f);
    }
    return result;
}

dm_status dm_arena_open(dm_arena *arena, size_t capacity, dm_error *err)
{
    *arena = (dm_arena){0};
    if (capacity == 0)
        capacity = DM_ALIGN;
    const size_t available = memory_available();
    if (capacity > available)
        return dm_fail(err, DM_ERR_MEMORY, "%zu bytes of memory are needed, %zu are available", capacity, available);
    void *base = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return dm_fail(err, DM_ERR_MEMORY, "%zu bytes of memory are needed, the system refuses: %s", capacity,
                       strerror(errno));
#ifdef MADV_HUGEPAGE
    (void)madvise(base, capacity, MADV_HUGEPAGE); /* a tile of a matrix touches as many pages as it has rows */
#endif
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < capacity; i += page)
        *((volatile unsigned char *)base + i) = 0;
    POISON(base, capacity);
    arena->base = base;
    arena->capacity = capacity;
    return DM_OK;
}

void dm_arena_close(dm_arena *arena)
{
    if (arena->base) {
        UNPOISON(arena->base, arena->capacity);
        munmap(arena->base, arena->capacity);
    }
    *arena = (dm_arena){0};
}

void *dm_arena_alloc(dm_arena *arena, size_t count, size_t size)
{
    if (arena->failed)
        return NULL;
    if (size > 0 && count > (SIZE_MAX - DM_ALIGN - RED_ZONE) / size) {
        arena->failed = true;
        return NULL;
    }
    const size_t bytes = count * size;
    size_t taken = (bytes + DM_ALIGN - 1) / DM_ALIGN * DM_ALIGN;
    if (bytes > 0)
        taken += RED_ZONE;
    if (taken > arena->capacity - arena->used) {
        arena->failed = true;
        return NULL;
    }
    unsigned char *p = arena->base ? arena->base + arena->used : NULL;
    arena->used += taken;
    arena->phase_used[arena->phase] += taken;
    arena->allocations++;
    if (arena->used > arena->peak)
        arena->peak = arena->used;
    if (arena->phase_used[arena->phase] > arena->phase_peak[arena->phase])
        arena->phase_peak[arena->phase] = arena->phase_used[arena->phase];
    if (p)
        UNPOISON(p, bytes);
    return p;
}

void *dm_arena_zalloc(dm_arena *arena, size_t count, size_t size)
{
    void *p = dm_arena_alloc(arena, count, size);
    if (p)
        memset(p, 0, count * size);
    return p;
}

void dm_arena_enter(dm_arena *arena, dm_arena_phase phase)
{
    arena->phase = phase;
}

dm_arena_marker dm_arena_mark(const dm_arena *arena)
{
    dm_arena_marker mark = {.used = arena->used, .phase = arena->phase};
    memcpy(mark.phase_used, arena->phase_used, sizeof mark.phase_used);
    return mark;
}

void dm_arena_release(dm_arena *arena, dm_arena_marker mark)
{
    if (mark.used > arena->used) { /* not in stack order: what the mark covers was given back before */
        arena->failed = true;
        return;
    }
    if (arena->base)
        POISON(arena->base + mark.used, arena->used - mark.used);
    arena->used = mark.used;
    arena->phase = mark.phase;
    memcpy(arena->phase_used, mark.phase_used, sizeof mark.phase_used);
}
