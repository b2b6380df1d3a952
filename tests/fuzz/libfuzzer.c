/* All targets as one program of libFuzzer: DMPO_FUZZ names the one to run. What a target does depends on its input,
 * neither on the process's number nor on its random numbers, so that a run can be made the same again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

dm_hash_key __wrap_dm_hash_key_get(void); /* instead of the random one (Makefile) */

static const fuzz_target *target;

dm_hash_key __wrap_dm_hash_key_get(void)
{
    return (dm_hash_key){0x9E3779B97F4A7C15u, 0xD1B54A32D192ED03u};
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("DMPO_FUZZ");

    (void)argc;
    (void)argv;
    for (target = fuzz_targets; target->name; target++)
        if (name && strcmp(target->name, name) == 0) {
            fuzz_enter_directory();
            return 0;
        }
    fprintf(stderr, "DMPO_FUZZ must be one of");
    for (target = fuzz_targets; target->name; target++)
        fprintf(stderr, " %s", target->name);
    fprintf(stderr, "\n");
    exit(1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target->run(data, size);
    return 0;
}

/* ---- formats with lengths in them ---- */

static uint64_t load(const uint8_t *p, size_t width)
{
    uint64_t x = 0;
    for (size_t i = width; i-- > 0;)
        x = x << 8 | p[i];
    return x;
}

static void store(uint8_t *p, size_t width, uint64_t x)
{
    for (size_t i = 0; i < width; i++, x >>= 8)
        p[i] = (uint8_t)x;
}

/* Changes a stretch that a length before it counts (8 or 4 bytes, or one as protobuf has it), and that length. 0: found
 * none. */
static size_t change_counted(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    static const size_t widths[] = {8, 8, 4, 1};
    const size_t width = widths[seed % 4];
    uint8_t part[4096];

    for (unsigned tries = 0; tries < 64; tries++) {
        seed = seed * 1664525 + 1013904223;
        const size_t at = width == 8 && tries == 0 ? 0 : (seed >> 8) % size, begin = at + width;
        if (begin >= size)
            continue;
        const uint64_t n = load(data + at, width);
        if (n == 0 || n > size - begin || n > sizeof part / 2 || (width == 1 && n > 127))
            continue;
        const size_t most = sizeof part < room - (size - n) ? sizeof part : room - (size - (size_t)n);
        memcpy(part, data + begin, (size_t)n);
        size_t now = LLVMFuzzerMutate(part, (size_t)n, width == 1 && most > 127 ? 127 : most);
        memmove(data + begin + now, data + begin + n, size - begin - (size_t)n);
        memcpy(data + begin, part, now);
        store(data + at, width, now);
        return size - (size_t)n + now;
    }
    return 0;
}

static void change_number(uint8_t *data, size_t size, unsigned seed)
{
    static const uint64_t values[] = {0,          1,           2,          0x7FFFFFFF,        0x80000000,
                                      0xFFFFFFFF, 0x100000000, UINT64_MAX, (uint64_t)1 << 63, ((uint64_t)1 << 61) + 1};
    const size_t width = seed & 1 ? 8 : 4;

    if (size < width)
        return;
    const size_t at = (seed >> 8) % (size - width + 1);
    const uint64_t old = load(data + at, width);
    switch (seed >> 1 & 3) {
    case 0:
        store(data + at, width, old + 1);
        break;
    case 1:
        store(data + at, width, old - 1);
        break;
    case 2:
        store(data + at, width, size - at);
        break;
    default:
        store(data + at, width, values[(seed >> 3) % (sizeof values / sizeof *values)]);
        break;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    if (target->binary && size > 0 && seed % 3 == 1) {
        const size_t now = change_counted(data, size, room, seed / 3);
        if (now)
            return now;
    }
    if (target->binary && seed % 3 == 2) {
        change_number(data, size, seed / 3);
        return size;
    }
    return LLVMFuzzerMutate(data, size, room);
}
