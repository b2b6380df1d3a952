/* GGUF: every tensor's data lies in the file, every key is asked for as everything, the tokenizer in it is opened; and
 * what is a model is read. */
#include <stdlib.h>
#include <string.h>

#include "io/gguf_internal.h"
#include "io/gguf_write.h"
#include "io/tokenizer/tokenizer.h"
#include "tests/fuzz/model.h"
#include "tests/fuzz/targets.h"

static void ask(const dm_gguf *g, const char *key)
{
    dm_error err;
    int64_t i;
    double d;
    bool b;
    const char *text;
    dm_gguf_text *texts;
    float *floats;
    int32_t *ints;
    size_t n;

    FUZZ_CHECK(dm_gguf_has(g, key));
    (void)dm_gguf_i64(g, key, &i, &err);
    (void)dm_gguf_f64(g, key, &d, &err);
    (void)dm_gguf_bool(g, key, &b, &err);
    if (dm_gguf_string(g, key, &text, &err) == DM_OK)
        fuzz_touch(text, strlen(text) + 1);
    if (dm_gguf_texts(g, key, &texts, &n, &err) == DM_OK)
        for (size_t k = 0; k < n; k++)
            fuzz_touch(texts[k].data, texts[k].size);
    free(texts);
    if (dm_gguf_floats(g, key, &floats, &n, &err) == DM_OK)
        fuzz_touch(floats, n * sizeof *floats);
    free(floats);
    if (dm_gguf_ints(g, key, &ints, &n, &err) == DM_OK)
        fuzz_touch(ints, n * sizeof *ints);
    free(ints);
}

void fuzz_gguf(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("model.gguf", data, size);
    dm_gguf *g;
    dm_tokenizer *t;
    dm_error err;

    if (dm_gguf_open(&g, path, &err) != DM_OK)
        return;
    for (size_t i = 0; i < dm_gguf_count(g); i++) {
        const dm_gguf_tensor *x = dm_gguf_at(g, i);
        FUZZ_CHECK(dm_gguf_find(g, x->name) == x && x->offset <= size && x->size <= size - x->offset);
    }
    for (size_t i = 0; i < g->n_pairs; i++)
        ask(g, g->text.data + g->pairs[i].key);
    if (dm_tokenizer_from_gguf(&t, g, &err) == DM_OK)
        dm_tokenizer_close(&t);
    dm_gguf_close(&g);
    fuzz_model(path);
}

static dm_status read_zeros(void *context, size_t i, float *out, dm_error *err)
{
    (void)context;
    (void)i;
    (void)err;
    memset(out, 0, 2 * sizeof *out);
    return DM_OK;
}

/* The second part of a model, with a tensor "x". */
static void put_second(void)
{
    const dm_gguf_out x = {.name = "x", .type = DM_F32, .dims = 1, .shape = {2}};
    dm_gguf_meta m = {0};
    dm_error err;

    dm_gguf_put_u32(&m, "split.no", 1);
    dm_gguf_put_u32(&m, "split.count", 2);
    FUZZ_CHECK(dm_gguf_write(fuzz_file("split-00002-of-00002.gguf", (const uint8_t *)"", 0), true, &m, &x, 1,
                             read_zeros, NULL, NULL, &err) == DM_OK);
    dm_gguf_meta_free(&m);
}

/* Any bytes as the first one. */
void fuzz_gguf_parts(const uint8_t *data, size_t size)
{
    static bool there;
    dm_gguf *g;
    char hex[DM_SHA256_HEX];
    dm_error err;

    if (!there)
        put_second();
    there = true;
    if (dm_gguf_open_whole(&g, fuzz_file("split-00001-of-00002.gguf", data, size), &err) != DM_OK)
        return;
    FUZZ_CHECK(dm_gguf_files(g) == 1 || (dm_gguf_files(g) == 2 && dm_gguf_find(g, "x")));
    FUZZ_CHECK(dm_gguf_sha256(g, hex, &err) == DM_OK && dm_gguf_file(g, dm_gguf_files(g) - 1));
    dm_gguf_close(&g);
}
