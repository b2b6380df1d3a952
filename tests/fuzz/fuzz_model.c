/* Models: llama2.c files, config.json, adapter_config.json. */
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "model/formats/adapter.h"
#include "model/formats/source.h"
#include "tests/fuzz/model.h"
#include "tests/fuzz/targets.h"

#define SMALL ((size_t)1 << 16) /* elements of a tensor that is read */

const dm_config fuzz_small_model = {.arch = DM_ARCH_LLAMA,
                                    .hidden = 4,
                                    .intermediate = 4,
                                    .layers = 1,
                                    .heads = 2,
                                    .kv_heads = 1,
                                    .head_dim = 2,
                                    .vocab = 8,
                                    .max_positions = 16,
                                    .tied = true,
                                    .eps = 1e-5,
                                    .rope_theta = 10000,
                                    .bos = -1,
                                    .eos = -1};

void fuzz_model(const char *path)
{
    static float out[SMALL];
    dm_source *s;
    dm_param_layout layout;
    dm_error err;

    if (dm_source_open(&s, path, &err) != DM_OK)
        return;
    FUZZ_CHECK(dm_param_layout_build(&layout, dm_source_config(s), &err) == DM_OK);
    for (size_t i = 0; i < layout.n; i++) {
        const dm_tensor *t = &layout.tensors[i];
        if (t->rows > SMALL / t->cols)
            continue;
        (void)dm_source_read_f32(s, t->name, out, &err);
        (void)dm_source_read_stored(s, t->name, out, &err);
    }
    dm_param_layout_free(&layout);
    dm_source_close(&s);
}

void fuzz_llama2c(const uint8_t *data, size_t size)
{
    fuzz_model(fuzz_file("model.bin", data, size));
}

void fuzz_config(const uint8_t *data, size_t size)
{
    dm_config c;
    dm_param_layout layout;
    int32_t stop[DM_ENDS_MAX + 1];
    dm_error err;

    (void)fuzz_file("config.json", data, size);
    (void)fuzz_file("generation_config.json", data, size); /* whose eos_token_id is read, too */
    if (dm_config_read(&c, fuzz_directory(), &err) != DM_OK)
        return;
    FUZZ_CHECK(c.hidden && c.heads && c.kv_heads && c.head_dim && c.heads % c.kv_heads == 0 && c.layers && c.vocab);
    const size_t stops = dm_config_stops(stop, &c, 7); /* each token once, 7 among them */
    bool there = false;
    for (size_t i = 0; i < stops; i++) {
        there = there || stop[i] == 7;
        for (size_t k = 0; k < i; k++)
            FUZZ_CHECK(stop[k] != stop[i]);
    }
    FUZZ_CHECK(there);
    if ((uint64_t)c.layers * c.hidden < SMALL && dm_param_layout_build(&layout, &c, &err) == DM_OK)
        dm_param_layout_free(&layout);
}

/* An adapter of these options is written and read, and is what it was. */
static void write_adapter(const dm_lora_options *o)
{
    static const char base[] = "base";
    char hex[DM_SHA256_HEX];
    dm_lora_options read;
    dm_lora lora;
    dm_path dir;
    dm_error err;

    FUZZ_CHECK(dm_path_in(&dir, fuzz_directory(), "adapter", &err) == DM_OK && dm_dir_create(dir.text, &err) == DM_OK);
    FUZZ_CHECK(dm_lora_build(&lora, o, &fuzz_small_model, &err) == DM_OK);
    float *w = calloc(2 * lora.layout.floats, sizeof *w);
    FUZZ_CHECK(w != NULL);
    dm_lora_init(w, &lora, 1);
    FUZZ_CHECK(dm_adapter_write(w, &lora, dir.text, base, "0", hex, &err) == DM_OK);
    FUZZ_CHECK(dm_adapter_config(&read, NULL, dir.text, &err) == DM_OK);
    FUZZ_CHECK(read.rank == o->rank && read.targets == o->targets && read.stabilised == o->stabilised);
    FUZZ_CHECK(read.alpha <= o->alpha && read.alpha >= o->alpha);
    FUZZ_CHECK(dm_adapter_read(w + lora.layout.floats, &lora, dir.text, "0", &err) == DM_OK);
    FUZZ_CHECK(memcmp(w, w + lora.layout.floats, lora.layout.floats * sizeof *w) == 0);
    FUZZ_CHECK(dm_adapter_read(w, &lora, dir.text, "1", &err) != DM_OK); /* another base */
    FUZZ_CHECK(dm_adapter_sha256(dir.text, hex, &err) == DM_OK);
    free(w);
    dm_lora_free(&lora);
}

void fuzz_adapter(const uint8_t *data, size_t size)
{
    dm_path base;
    dm_lora_options options;
    dm_error err;

    (void)fuzz_file("adapter_config.json", data, size);
    if (dm_adapter_config(&options, &base, fuzz_directory(), &err) == DM_OK) {
        FUZZ_CHECK(options.rank > 0 && strlen(base.text) < sizeof base.text);
        if (options.rank < 4)
            write_adapter(&options);
    }
}
