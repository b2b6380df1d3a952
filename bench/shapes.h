/* Models of the three shapes that are measured everywhere, with seeded weights, in a temporary directory. */
#ifndef DM_BENCH_SHAPES_H
#define DM_BENCH_SHAPES_H

#include <stdio.h>
#include <unistd.h>

#include "bench/bench.h"
#include "core/arena.h"
#include "model/formats/tensors.h"
#include "model/network/config.h"
#include "model/network/params.h"

typedef struct bench_shape {
    const char *name;
    uint32_t hidden, intermediate, layers, heads, kv_heads, vocab;
} bench_shape;

static const bench_shape bench_shapes[] = {
    {"260k", 64, 172, 5, 8, 4, 512},
    {"15m", 288, 768, 6, 6, 6, 32000},
    {"135m", 576, 1536, 30, 9, 3, 49152}, /* SmolLM2-135M */
};
#define BENCH_SHAPES (sizeof bench_shapes / sizeof *bench_shapes)

static inline void bench_die(const char *message)
{
    fprintf(stderr, "bench: %s\n", message);
    exit(1);
}

/* Writes the model. dir: a template for mkdtemp. */
static inline void bench_model_write(const bench_shape *s, char *dir)
{
    const dm_config c = {
        .arch = DM_ARCH_LLAMA,
        .hidden = s->hidden,
        .intermediate = s->intermediate,
        .layers = s->layers,
        .heads = s->heads,
        .kv_heads = s->kv_heads,
        .head_dim = s->hidden / s->heads,
        .vocab = s->vocab,
        .max_positions = 8192,
        .tied = true,
        .eps = 1e-5,
        .rope_theta = 10000,
        .bos = -1,
        .eos = -1,
    };
    dm_param_layout layout = {0};
    dm_arena arena = {0};
    dm_error err;
    char hex[DM_SHA256_HEX];

    if (!mkdtemp(dir))
        bench_die("cannot make a temporary directory");
    if (dm_param_layout_build(&layout, &c, &err) != DM_OK ||
        dm_arena_open(&arena, layout.floats * sizeof(float) + 4096, &err) != DM_OK)
        bench_die(err.message);
    float *w = dm_arena_zalloc(&arena, layout.floats, sizeof *w);
    dm_weights_init(w, &layout, 1, 0.02);
    if (dm_config_write(&c, DM_F32, dir, &err) != DM_OK || dm_weights_write(w, &layout, dir, hex, &err) != DM_OK)
        bench_die(err.message);
    dm_arena_close(&arena);
    dm_param_layout_free(&layout);
}

static inline void bench_model_remove(const char *dir)
{
    static const char *const files[] = {"config.json", "model.safetensors"};
    char path[4096];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    rmdir(dir);
}

#endif
