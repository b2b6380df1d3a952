/* The list of targets. */
#ifndef DM_TESTS_FUZZ_TARGETS_H
#define DM_TESTS_FUZZ_TARGETS_H

#include "tests/fuzz/fuzz.h"

/* name, whether it is binary */
#define FUZZ_TARGETS(x)                                                                                                \
    x(json, false) x(safetensors, true) x(index, false) x(gguf, true) x(llama2c, true) x(config, false)                \
        x(adapter, false) x(tokenizer_json, false) x(tokenizer_model, true) x(tokenizer_bin, true)                     \
            x(conversation, false) x(dataset, false) x(episodes, false) x(recipe, false) x(results, false)             \
                x(message, false) x(chat_template, false) x(npy, true) x(checkpoint, true) x(tokenizer_extra, false)   \
                    x(gguf_parts, true)

#define FUZZ_DECLARE(name, binary) void fuzz_##name(const uint8_t *data, size_t size);
FUZZ_TARGETS(FUZZ_DECLARE)

#endif
