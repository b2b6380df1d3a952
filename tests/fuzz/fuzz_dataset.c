/* Any bytes as a data file and as a conversation, text through a byte tokenizer; what is accepted must hold what
 * io/data/dataset.h promises. */
#include <stdlib.h>
#include <string.h>

#include "io/data/dataset.h"
#include "tests/fuzz/targets.h"

static void check(const dm_data_trajectory *t, const dm_data_options *o)
{
    size_t last = 1, actions = 0;

    FUZZ_CHECK(t->n <= o->max_length && t->n_turns > 0);
    for (size_t i = 0; i < t->n; i++)
        FUZZ_CHECK(t->ids[i] >= 0 && (size_t)t->ids[i] < o->vocabulary);
    for (size_t i = 0; i < t->n_turns; i++) {
        FUZZ_CHECK(t->turns[i].begin >= last && t->turns[i].end > t->turns[i].begin && t->turns[i].end <= t->n);
        last = t->turns[i].end;
        actions += last - t->turns[i].begin;
    }
    FUZZ_CHECK(actions == t->n_actions);
}

static dm_tokenizer *tokenizer;
static dm_chat_template chat, tools; /* chatml; one that writes calls and results of tools, too */

static void open_once(void)
{
    const char *const text = "a";
    const size_t one = 1;
    const char *const *specials;
    static const dm_template_texts texts = {
        .jinja =
            "{% if tools %}{{ tools }}{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
            "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        .eos = "<|im_end|>",
        .where = "the fuzz target"};
    const size_t n = dm_template_specials(DM_TEMPLATE_CHATML, &specials);
    dm_error err;

    if (tokenizer)
        return;
    FUZZ_CHECK(dm_tokenizer_train(&tokenizer, &text, &one, 1, 256 + n, 2, DM_WORD_SPLIT_GPT2, false, specials, n,
                                  &err) == DM_OK);
    FUZZ_CHECK(dm_template_open(&chat, &(dm_template_choice){.name = "chatml"}, NULL, tokenizer, &err) == DM_OK);
    FUZZ_CHECK(dm_template_from_text(&tools, NULL, &texts, tokenizer, &err) == DM_OK);
}

void fuzz_conversation(const uint8_t *data, size_t size)
{
    dm_json_doc *doc;
    dm_messages messages;
    dm_ids ids = {0};
    size_t items;
    dm_error err;

    open_once();
    if (dm_json_parse(&doc, (const char *)data, size, "fuzzed", &err) != DM_OK)
        return;
    if (dm_conversation_read(&messages, &items, doc, &err) == DM_OK) {
        FUZZ_CHECK(messages.n > 0 && items > 0);
        dm_messages_free(&messages);
    }
    (void)dm_prompt_render(&ids, doc, tokenizer, &chat, &err);
    dm_ids_free(&ids);
    dm_json_close(&doc);
}

void fuzz_dataset(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("data.json", data, size);
    dm_error err;

    open_once();
    for (int way = 0; way < 6; way++) {
        const dm_data_options o = {.tokenizer = way == 4 ? NULL : tokenizer,
                                   .chat = way == 4  ? NULL
                                           : way % 2 ? &chat
                                                     : &tools,
                                   .vocabulary = dm_tokenizer_size(tokenizer),
                                   .max_length = way < 2 ? 64 : 512,
                                   .take_labels = way == 2,
                                   .need_pairs = way == 3,
                                   .drop_equal = way == 3,
                                   .join_messages = way == 1 || way == 2,
                                   .skip_invalid = way > 0 && way < 4,
                                   .one = way == 5,
                                   .only = way == 5 ? "1" : NULL};
        dm_dataset d;
        dm_sha256 h;
        if (dm_dataset_open(&d, path, &o, &err) != DM_OK)
            continue;
        for (size_t i = 0; i < d.n; i++) {
            if (d.items[i].chosen.n || !o.take_labels)
                check(&d.items[i].chosen, &o);
            if (d.items[i].rejected.n || (d.pairs && !o.take_labels))
                check(&d.items[i].rejected, &o);
        }
        dm_sha256_init(&h);
        dm_dataset_hash(&d, &h);
        dm_dataset_close(&d);
    }
}
