/* Any bytes as a chat template: compiled, rendered and its turns found, continued, with limits that hold. What stands
 * in "{#options " and "#}" at its beginning is its template-option. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/data/template.h"
#include "io/jinja/jinja.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

static const char talk_json[] =
    "{\"tools\": [{\"function\": {\"name\": \"f\", \"parameters\": {\"properties\": {\"a\": {\"type\": \"string\"}}}}}],"
    " \"members\": {\"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"a\": [1, 2.5, null, \"x\"]}}}]}}";

#define MESSAGE(who, said)                                                                                             \
    {                                                                                                                  \
        .role = who, .text = said, .size = sizeof(said) - 1, .train = who == DM_ROLE_ASSISTANT                         \
    }

void fuzz_chat_template(const uint8_t *data, size_t size)
{
    static dm_tokenizer *tokenizer;
    static dm_json_doc *doc;
    dm_error err;
    if (tokenizer == NULL) {
        const char *const *specials, *text = "user assistant system";
        const size_t n = dm_template_specials(DM_TEMPLATE_CHATML, &specials), length = strlen(text);
        FUZZ_CHECK(dm_tokenizer_train(&tokenizer, &text, &length, 1, 300, 2, DM_WORD_SPLIT_GPT2, false, specials, n,
                                      &err) == DM_OK);
        FUZZ_CHECK(dm_json_parse(&doc, talk_json, sizeof talk_json - 1, "talk", &err) == DM_OK);
    }
    dm_message messages[] = {MESSAGE(DM_ROLE_SYSTEM, "s"), MESSAGE(DM_ROLE_USER, "\xC3\xA9<|im_end|>"),
                             MESSAGE(DM_ROLE_ASSISTANT, "<think>\nt\n</think>\n\nw "), MESSAGE(DM_ROLE_TOOL, "{}"),
                             MESSAGE(DM_ROLE_ASSISTANT, "z")};
    messages[2].members = dm_json_get(dm_json_root(doc), "members");
    char *source = malloc(size + 1);
    FUZZ_CHECK(source != NULL);
    memcpy(source, data, size);
    source[size] = '\0';
    dm_chat_template chat = {0};
    char options[256] = "";
    dm_template_choice choice = {.options = options};
    if (sscanf(source, "{#options %255[^#]#}", options) != 1)
        choice.options = NULL;
    const dm_template_texts texts = {.jinja = source, .bos = "<s>", .eos = "<|im_end|>", .where = "fuzz"};
    if (strlen(source) == size && dm_template_from_text(&chat, &choice, &texts, tokenizer, &err) == DM_OK) {
        for (size_t n = 2; n <= 5; n++) {
            dm_conversation talk = {.messages = messages, .n = n};
            dm_span spans[5];
            dm_ids ids = {0};
            size_t count = 0;
            talk.tools = n == 5 ? dm_json_get(dm_json_root(doc), "tools") : NULL;
            if (dm_template_render(&chat, tokenizer, &talk, n % 2 == 0 && n < 4, &ids, spans, &count, &err) == DM_OK)
                for (size_t i = 0; i < count; i++)
                    FUZZ_CHECK(spans[i].begin < spans[i].end && spans[i].end <= ids.size &&
                               (i == 0 || spans[i].begin >= spans[i - 1].end));
            dm_ids_free(&ids);
            talk.n = n == 5 ? 4 : 2; /* after the agent's words comes the result of a tool; here there are none */
            (void)dm_template_continue(&chat, tokenizer, &talk, &ids, &err);
            dm_ids_free(&ids);
        }
        const char *words = "<think>\nw\n</think>\n\nx";
        size_t words_size = strlen(words);
        dm_template_words(&chat, tokenizer, &words, &words_size);
        fuzz_touch(words, words_size);
    }
    dm_template_close(&chat);
    free(source);
}
