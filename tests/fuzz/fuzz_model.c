/* Models: llama2.c files, config.json, adapter_config.json. */
#include <stdlib.h>
#include <string.h>

#include "model/formats/adapter.h"
#include "model/formats/source.h"
#include "tests/fuzz/model.h"
#include "tests/fuzz/targets.h"

#define SMALL ((size_t)1 << 16) /* elements of a tensor that is read */

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
    dm_error err;

    (void)fuzz_file("config.json", data, size);
    if (dm_config_read(&c, fuzz_directory(), &err) != DM_OK)
        return;
    FUZZ_CHECK(c.hidden && c.heads && c.kv_heads && c.head_dim && c.heads % c.kv_heads == 0 && c.layers && c.vocab);
    if ((uint64_t)c.layers * c.hidden < SMALL && dm_param_layout_build(&layout, &c, &err) == DM_OK)
        dm_param_layout_free(&layout);
}

void fuzz_adapter(const uint8_t *data, size_t size)
{
    dm_path base;
    dm_lora_options options;
    dm_error err;

    (void)fuzz_file("adapter_config.json", data, size);
    if (dm_adapter_config(&options, &base, fuzz_directory(), &err) == DM_OK)
        FUZZ_CHECK(options.rank > 0 && strlen(base.text) < sizeof base.text);
}
