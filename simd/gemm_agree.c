/* Does a kernel of the bf16 product keep the contract on this machine? */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/numeric.h"
#include "core/numbers/philox.h"
#include "simd/gemm.h"

#define ROWS 64
#define COLUMNS 64
#define DEPTH 128

/* Kinds of operands: noise, products around 2^-126 of both signs, and any mixture with infinities and zeros. */
static void fill(float *x, size_t n, int kind, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t r = (uint32_t)(dm_random_uniform(seed, DM_RNG_TEST, (uint64_t)kind, i) * 0x1p32);
        uint32_t bits = r & 0x807fffffu;
        if (kind == 0)
            bits |= (120u + r % 8) << 23;
        else if (kind == 1)
            bits |= (58u + r % 13) << 23;
        else
            bits = r % 61 == 0 ? 0x7f800000u : r % 7 == 0 ? r & 0x80000000u : bits | (1u + r % 250) << 23;
        memcpy(x + i, &bits, sizeof bits);
    }
}

static void multiply(const dm_gemm_kernel *g, float *work, const float *a, const float *b, float *c, size_t m, size_t n,
                     size_t k, int first)
{
    float *packed_a = work, *packed_b = work + dm_gemm_panel(g, g->mr, DEPTH);

    for (size_t i = 0; i < m; i += g->mr)
        for (size_t j = 0; j < n; j += g->nr) {
            const size_t rows = m - i < g->mr ? m - i : g->mr, columns = n - j < g->nr ? n - j : g->nr;
            dm_gemm_pack(g, g->finish_a, packed_a, a + i * DEPTH, rows, k, DEPTH, 1, g->mr);
            dm_gemm_pack(g, g->finish_b, packed_b, b + j * DEPTH, columns, k, DEPTH, 1, g->nr);
            g->micro(rows, columns, k, packed_a, packed_b, c + i * COLUMNS + j, COLUMNS, first);
        }
}

static bool same(const float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(x + i, y + i, sizeof *x) != 0 && !(isnan(x[i]) && isnan(y[i])))
            return false;
    return true;
}

dm_status dm_gemm_bf16_agree(const dm_gemm_kernel *known, const dm_gemm_kernel *other, bool *agree, dm_error *err)
{
    const size_t work = 2 * (size_t)DM_GEMM_NR_MAX * (DEPTH + 2), size = ROWS * COLUMNS;
    float *memory = NULL;
    uint64_t seed = 1;

    if (posix_memalign((void **)&memory, 64, (work + (ROWS + COLUMNS) * DEPTH + 2 * size) * sizeof *memory) != 0)
        return dm_fail(err, DM_ERR_MEMORY, "no memory to check the bf16 kernels");
    float *a = memory + work, *b = a + ROWS * DEPTH, *c = b + COLUMNS * DEPTH, *d = c + size;
    *agree = true;
    if (other->enter)
        other->enter();
    for (int kind = 0; kind < 3; kind++)
        for (int odd = 0; odd < 2; odd++) { /* whole tiles that start at C; edges that start at 0 */
            fill(a, ROWS * DEPTH, kind, seed++);
            fill(b, COLUMNS * DEPTH, kind, seed++);
            fill(c, size, kind, seed++);
            for (size_t i = 0; kind == 1 && i < size; i++)
                c[i] *= 0x1p-61f; /* around 2^-126, subnormal among them */
            memcpy(d, c, size * sizeof *c);
            multiply(known, memory, a, b, c, ROWS - odd, COLUMNS - odd, DEPTH - 5 * odd, odd);
            multiply(other, memory, a, b, d, ROWS - odd, COLUMNS - odd, DEPTH - 5 * odd, odd);
            *agree = *agree && same(c, d, size);
        }
    if (other->leave)
        other->leave();
    free(memory);
    return DM_OK;
}
