/* Tokenizers: tokenizer.json, SentencePiece's model, llama2.c's tokenizer.bin (the first byte says how many tokens it
 * has). An accepted one encodes and decodes; where it knows every byte, decoding gives the text. */
#include <stdlib.h>
#include <string.h>

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

void fuzz_tokenizer_bin(const uint8_t *data, size_t size)
{
    dm_tokenizer *t;
    dm_error err;

    if (size > 0 &&
        dm_tokenizer_open_llama2c(&t, fuzz_file("tokenizer.bin", data + 1, size - 1), data[0], &err) == DM_OK)
        use(t);
}
