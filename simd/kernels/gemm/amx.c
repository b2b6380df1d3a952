/* 32 x 32 of C are four tiles, beside which two of A and two of B have a place. A tile is 16 rows of 64 bytes: of C, 16
 * floats; of A, 32 steps of k of one row; of B, two steps of k of 16 columns, one column's beside each other. A panel
 * holds such tiles, one block of 32 steps after the other, in the first half of the room that it had as f32. */
#include "simd/kernels/gemm/amx.h"

#include <stdint.h>
#include <string.h>

#ifdef DM_AMX_MODEL
#include "tests/support/amx_model.h"
#else
#include <immintrin.h>
#define AMX_INIT dm_k_gemm_bf16_init_amx
#define AMX_CONFIGURE(config) _tile_loadconfig(config)
#define AMX_RELEASE() _tile_release()
#define AMX_ZERO(tile) _tile_zero(tile)
#define AMX_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define AMX_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define AMX_PRODUCT(c, a, b) _tile_dpbf16ps(c, a, b)
#endif

#define SIDE 32u /* rows and columns of the register tile: two tiles each */
#define STEP DM_GEMM_BF16_STEP
#define TILE 512u /* bf16 numbers of a tile */

static void enter(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};

    _Static_assert(sizeof config == 64, "as LDTILECFG reads it");
    for (int t = 0; t < 8; t++) {
        config.row_bytes[t] = 64;
        config.rows[t] = 16;
    }
    AMX_CONFIGURE(&config);
}

static void leave(void)
{
    AMX_RELEASE();
}

/* Tiles 0 to 3: C; 4, 5: A; 6, 7: B. c: ldc floats from row to row, whole tiles. */
static void product(size_t blocks, const uint16_t *a, const uint16_t *b, float *c, size_t ldc, int first)
{
    const size_t stride = ldc * sizeof(float);

    if (first) {
        AMX_ZERO(0);
        AMX_ZERO(1);
        AMX_ZERO(2);
        AMX_ZERO(3);
    } else {
        AMX_LOAD(0, c, stride);
        AMX_LOAD(1, c + 16, stride);
        AMX_LOAD(2, c + 16 * ldc, stride);
        AMX_LOAD(3, c + 16 * ldc + 16, stride);
    }
    for (; blocks > 0; blocks--, a += 2 * TILE, b += 2 * TILE) {
        AMX_LOAD(4, a, 64);
        AMX_LOAD(6, b, 64);
        AMX_LOAD(7, b + TILE, 64);
        AMX_LOAD(5, a + TILE, 64);
        AMX_PRODUCT(0, 4, 6);
        AMX_PRODUCT(1, 4, 7);
        AMX_PRODUCT(2, 5, 6);
        AMX_PRODUCT(3, 5, 7);
    }
    AMX_STORE(0, c, stride);
    AMX_STORE(1, c + 16, stride);
    AMX_STORE(2, c + 16 * ldc, stride);
    AMX_STORE(3, c + 16 * ldc + 16, stride);
}

static void micro(size_t m, size_t n, size_t k, const float *a, const float *b, float *c, size_t ldc, int first)
{
    const uint16_t *x = (const uint16_t *)(const void *)a, *y = (const uint16_t *)(const void *)b;
    const size_t blocks = (k + STEP - 1) / STEP;
    _Alignas(64) float edge[SIDE * SIDE];

    if (m == SIDE && n == SIDE) {
        product(blocks, x, y, c, ldc, first);
        return;
    }
    if (!first)
        for (size_t i = 0; i < SIDE; i++)
            for (size_t j = 0; j < SIDE; j++)
                edge[i * SIDE + j] = i < m && j < n ? c[i * ldc + j] : 0.0f;
    product(blocks, x, y, edge, SIDE, first);
    for (size_t i = 0; i < m; i++)
        memcpy(c + i * ldc, edge + i * SIDE, n * sizeof *c);
}

/* To nearest even; a NaN stays one, and what is subnormal becomes a zero. */
static uint16_t rounded(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    const uint32_t near = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)(near & 0x7f80 ? near : near & 0x8000);
}

/* A block's steps as bf16 in the order of memory, what the last block lacks as zeros. */
static void round_block(uint16_t out[STEP][SIDE], const float *from, size_t steps)
{
    for (size_t p = 0; p < steps; p++)
        for (size_t i = 0; i < SIDE; i++)
            out[p][i] = rounded(from[p * SIDE + i]);
    memset(out[steps], 0, (STEP - steps) * sizeof out[0]);
}

/* In place: a block takes half of the room that it had, and is read as a whole before it is written. */
static void finish_a(float *panel, size_t width, size_t k)
{
    uint16_t block[STEP + 1][SIDE], tiles[SIDE][STEP];

    (void)width;
    for (size_t p = 0; p < k; p += STEP) {
        round_block(block, panel + p * SIDE, k - p < STEP ? k - p : STEP);
        for (size_t i = 0; i < SIDE; i++)
            for (size_t s = 0; s < STEP; s++)
                tiles[i][s] = block[s][i];
        memcpy(panel + p / STEP * TILE, tiles, sizeof tiles);
    }
}

static void finish_b(float *panel, size_t width, size_t k)
{
    uint16_t block[STEP + 1][SIDE], tiles[2][STEP / 2][16][2];

    (void)width;
    for (size_t p = 0; p < k; p += STEP) {
        round_block(block, panel + p * SIDE, k - p < STEP ? k - p : STEP);
        for (size_t j = 0; j < SIDE; j++)
            for (size_t s = 0; s < STEP; s++)
                tiles[j / 16][s / 2][j % 16][s % 2] = block[s][j];
        memcpy(panel + p / STEP * TILE, tiles, sizeof tiles);
    }
}

void AMX_INIT(dm_gemm_kernel *g, dm_gemm_pack_fn pack)
{
    *g = (dm_gemm_kernel){
        .mr = SIDE,
        .nr = SIDE,
        .mc = 160,
        .kc = 512,
        .nc = 1536,
        .micro = micro,
        .pack = pack,
        .finish_a = finish_a,
        .finish_b = finish_b,
        .grain = STEP,
        .enter = enter,
        .leave = leave,
    };
}
