/* Any bytes as a tokenizer: the first says of which kind, a SentencePiece model or llama2.c's tokenizer.bin (and how
 * many tokens it has); an accepted one encodes and decodes. */
#include <stdlib.h>

#include "io/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "the <s> a  b\xE6\x97\xA5\xF0\x9F\x99\x82 \x01";
    dm_tokenizer *t;
    dm_error err;
    dm_ids ids = {0};
    dm_text out = {0};

    if (size == 0)
        return 0;
    const char *path = fuzz_file(data + 1, size - 1);
    if ((data[0] ? dm_tokenizer_open_llama2c(&t, path, data[0], &err)
                 : dm_tokenizer_open_sentencepiece(&t, path, &err)) != DM_OK)
        return 0;
    if (dm_tokenizer_encode(t, text, sizeof text - 1, true, &ids, &err) == DM_OK &&
        dm_tokenizer_decode(t, ids.data, ids.size, false, &out, &err) != DM_OK)
        abort();
    dm_text_free(&out);
    dm_ids_free(&ids);
    dm_tokenizer_close(&t);
    return 0;
}
