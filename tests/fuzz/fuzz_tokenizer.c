/* Tokenizers: tokenizer.json, SentencePiece's model, llama2.c's tokenizer.bin (the first byte says how many tokens it
 * has). An accepted one encodes and decodes; where it knows every byte, decoding gives the text. */
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "io/tokenizer/tokenizer.h"
#include "io/tokenizer/tokenizer_internal.h"
#include "tests/fuzz/targets.h"

static void use(dm_tokenizer *t)
{
    static const char text[] = "the <s> a  b\xE6\x97\xA5\xF0\x9F\x99\x82 \x01\0ab";
    dm_error err;
    bool whole = t->bpe == DM_BPE_BYTES && !t->nfc && t->prefix_stage == SIZE_MAX;

    for (size_t b = 0; b < 256; b++)
        whole = whole && t->byte_id[b] >= 0;
    for (int added = 0; added < 2; added++) {
        dm_ids ids = {0};
        dm_text out = {0};
        if (dm_tokenizer_encode(t, text, sizeof text - 1, added == 1, &ids, &err) == DM_OK) {
            FUZZ_CHECK(dm_tokenizer_decode(t, ids.data, ids.size, false, &out, &err) == DM_OK);
            if (whole && !added)
                FUZZ_CHECK(out.size == sizeof text - 1 && memcmp(out.data, text, out.size) == 0);
        }
        dm_text_free(&out);
        dm_ids_free(&ids);
    }
    dm_tokenizer_close(&t);
}

void fuzz_tokenizer_json(const uint8_t *data, size_t size)
{
    dm_tokenizer *t;
    dm_error err;

    if (dm_tokenizer_open(&t, fuzz_file("tokenizer.json", data, size), &err) == DM_OK)
        use(t);
}

void fuzz_tokenizer_model(const uint8_t *data, size_t size)
{
    dm_tokenizer *t;
    dm_error err;

    if (dm_tokenizer_open_sentencepiece(&t, fuzz_file("tokenizer.model", data, size), &err) == DM_OK)
        use(t);
}

/* An accepted one that can be written is read again. */
void fuzz_tokenizer_bin(const uint8_t *data, size_t size)
{
    dm_tokenizer *t, *again;
    dm_path path;
    dm_error err;

    if (size == 0 ||
        dm_tokenizer_open_llama2c(&t, fuzz_file("tokenizer.bin", data + 1, size - 1), data[0], &err) != DM_OK)
        return;
    FUZZ_CHECK(dm_path_in(&path, fuzz_directory(), "written.bin", &err) == DM_OK);
    if (dm_tokenizer_write_llama2c(t, path.text, &err) == DM_OK) {
        FUZZ_CHECK(dm_tokenizer_open_llama2c(&again, path.text, dm_tokenizer_size(t), &err) == DM_OK);
        FUZZ_CHECK(dm_tokenizer_size(again) == dm_tokenizer_size(t));
        dm_tokenizer_close(&again);
    }
    use(t);
}

/* What a directory adds to its tokenizer.model: tokenizer_config.json, and after a NUL added_tokens.json. */
void fuzz_tokenizer_extra(const uint8_t *data, size_t size)
{
    static dm_path dir;
    const uint8_t *const end = size ? memchr(data, 0, size) : NULL;
    const size_t config = end ? (size_t)(end - data) : size, rest = end ? size - config - 1 : 0;
    const char *source = getenv("SRC");
    dm_tokenizer *t;
    dm_path path;
    char *model;
    size_t model_size;
    dm_error err;

    if (!*dir.text) {
        FUZZ_CHECK(dm_path_in(&path, source ? source : ".", "tests/data/tokenizer-pieces.model", &err) == DM_OK);
        FUZZ_CHECK(dm_file_read(path.text, 1 << 20, &model, &model_size, &err) == DM_OK);
        FUZZ_CHECK(dm_path_in(&dir, fuzz_directory(), "extra", &err) == DM_OK &&
                   dm_dir_create(dir.text, &err) == DM_OK);
        (void)fuzz_file("extra/tokenizer.model", (const uint8_t *)model, model_size);
        free(model);
    }
    (void)fuzz_file("extra/tokenizer_config.json", data, config);
    (void)fuzz_file("extra/added_tokens.json", end ? end + 1 : (const uint8_t *)"{}", end ? rest : 2);
    if (dm_tokenizer_open(&t, dir.text, &err) == DM_OK)
        use(t);
}
