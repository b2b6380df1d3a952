#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include "tests/support/engines.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/cpu.h"
#include "simd/engine.h"

int engines_open(engines *all, int argc, char **argv, const unsigned *counts, size_t n_counts)
{
    const char *isa_name = getenv("DMPO_ISA"), *threads_name = getenv("DMPO_THREADS");
    dm_error err = {.status = DM_OK};
    unsigned one;
    dm_isa only = DM_ISA_SCALAR;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc) {
            isa_name = argv[++i];
        } else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
            threads_name = argv[++i];
        } else {
            fprintf(stderr, "usage: %s [--isa NAME] [--threads N]\n", argv[0]);
            return 2;
        }
    }
    if (isa_name && dm_isa_choose(&only, isa_name, &err) != DM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 2;
    }
    if (threads_name) {
        char *end;
        const unsigned long value = strtoul(threads_name, &end, 10);
        if (*end || value < 1 || value > DM_THREADS_MAX) {
            fprintf(stderr, "threads '%s': must be 1 to %u\n", threads_name, DM_THREADS_MAX);
            return 2;
        }
        one = (unsigned)value;
        counts = &one;
        n_counts = 1;
    }
    all->n = 0;
    for (int isa = 0; isa < DM_ISA_COUNT; isa++) {
        if (!dm_isa_usable((dm_isa)isa) || (isa_name && only != (dm_isa)isa))
            continue;
        for (size_t t = 0; t < n_counts && all->n < TEST_ENGINES; t++) {
            if (dm_engine_open(&all->e[all->n], (dm_isa)isa, counts[t], &err) != DM_OK) {
                fprintf(stderr, "%s\n", err.message);
                return 2;
            }
            all->n++;
        }
    }
    return 0;
}

void engines_close(engines *all)
{
    for (size_t i = 0; i < all->n; i++)
        dm_engine_close(&all->e[i]);
}

static uint64_t test_state = 0x9E3779B97F4A7C15u;

void test_seed(uint64_t seed)
{
    test_state = seed * 2654435769u + 0x9E3779B97F4A7C15u;
}

uint32_t test_random(void)
{
    test_state ^= test_state >> 12;
    test_state ^= test_state << 25;
    test_state ^= test_state >> 27;
    return (uint32_t)((test_state * 0x2545F4914F6CDD1Du) >> 32);
}

float test_uniform(void)
{
    return (float)(test_random() >> 8) * 0x1p-23f - 1.0f;
}

void test_fill(float *x, size_t n, int fill)
{
    for (size_t i = 0; i < n; i++) {
        const float u = test_uniform();
        switch (fill) {
        case 1:
            x[i] = ldexpf(u, (int)(test_random() % 81) - 40);
            break;
        case 2:
            x[i] = ldexpf(fabsf(u), -(int)(test_random() % 20) - 60);
            break;
        case 3:
            x[i] = -ldexpf(fabsf(u), -(int)(test_random() % 20) - 80);
            break;
        case 4:
            x[i] = test_random() % 2 ? u : test_random() % 2 ? 0.0f : -0.0f;
            break;
        default:
            x[i] = u;
        }
    }
}

guarded guarded_open(size_t floats)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = floats * sizeof(float);
    const size_t body = (bytes + page - 1) / page * page;
    guarded g = {.size = body + page};

    g.map = mmap(NULL, g.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED || mprotect((char *)g.map + body, page, PROT_NONE) != 0) {
        perror("mmap");
        exit(2);
    }
    g.data = (float *)(void *)((char *)g.map + body - bytes);
    return g;
}

void guarded_close(guarded *g)
{
    munmap(g->map, g->size);
}

int same_bits(float a, float b)
{
    uint32_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x == y || (a != a && b != b);
}
