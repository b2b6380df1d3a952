/* Any bytes as a data file, text through a byte tokenizer; what is accepted must hold what io/data/dataset.h
 * promises. */
#include <stdlib.h>

#include "io/data/dataset.h"
#include "tests/fuzz/fuzz.h"

static void check(const dm_data_trajectory *t, const dm_data_options *o)
{
    size_t last = 1, actions = 0;

    if (t->n > o->max_length || t->n_turns == 0)
        abort();
    for (size_t i = 0; i < t->n; i++)
        if (t->ids[i] < 0 || (size_t)t->ids[i] >= o->vocabulary)
            abort();
    for (size_t i = 0; i < t->n_turns; i++) {
        if (t->turns[i].begin < last || t->turns[i].end <= t->turns[i].begin || t->turns[i].end > t->n)
            abort();
        last = t->turns[i].end;
        actions += last - t->turns[i].begin;
    }
    if (actions != t->n_actions)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dm_tokenizer *tokenizer;
    static dm_chat_template chat;
    dm_error err;

    if (!tokenizer) {
        const char *const text = "a";
        const size_t one = 1;
        const char *const *specials;
        const size_t n = dm_template_specials(DM_TEMPLATE_CHATML, &specials);
        if (dm_tokenizer_train(&tokenizer, &text, &one, 1, 256 + n, 2, DM_WORD_SPLIT_GPT2, false, specials, n, &err) !=
                DM_OK ||
            dm_template_open(&chat, "chatml", NULL, tokenizer, &err) != DM_OK)
            abort();
    }
    const char *path = fuzz_file(data, size);
    for (int skip = 0; skip < 2; skip++) {
        const dm_data_options o = {.tokenizer = tokenizer,
                                   .chat = &chat,
                                   .vocabulary = dm_tokenizer_size(tokenizer),
                                   .max_length = 64,
                                   .skip_invalid = skip == 1};
        dm_dataset d;
        if (dm_dataset_open(&d, path, &o, &err) != DM_OK)
            continue;
        for (size_t i = 0; i < d.n; i++) {
            check(&d.items[i].chosen, &o);
            if (d.pairs)
                check(&d.items[i].rejected, &o);
        }
        dm_dataset_close(&d);
    }
    return 0;
}
