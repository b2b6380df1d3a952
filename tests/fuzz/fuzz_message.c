/* Any bytes as each answer of the environment protocol; what is read is within the limits. */
#include <stdlib.h>
#include <string.h>

#include "agent/env/message.h"
#include "io/json.h"
#include "io/tokenizer/unicode.h"
#include "tests/fuzz/targets.h"

/* What we say is JSON with these words in it. */
static void ask(const char *words)
{
    static const dm_message_wants wants = {.expert = true};
    dm_json_doc *doc;
    dm_error err;
    dm_text t = {0};

    dm_message_ask_hello(&t);
    dm_message_ask_reset(&t, DM_ENV_SPLIT_TRAIN, 3, UINT64_MAX, wants);
    FUZZ_CHECK(!t.failed && dm_json_parse_lines(&doc, t.data, t.size, "asked", &err) == DM_OK);
    dm_json_close(&doc);
    dm_text_free(&t);
    t = (dm_text){0};
    dm_message_ask_step(&t, words);
    FUZZ_CHECK(!t.failed && dm_json_parse(&doc, t.data, t.size, "asked", &err) == DM_OK);
    if (dm_utf8_check(words, strlen(words)) == strlen(words)) /* else it was mended */
        FUZZ_CHECK(dm_json_is(dm_json_get(dm_json_root(doc), "action"), words));
    dm_json_close(&doc);
    dm_text_free(&t);
}

void fuzz_message(const uint8_t *data, size_t size)
{
    char *line = malloc(size + 1);
    dm_error err;
    dm_message_hello hello;
    dm_message_answer answer;

    FUZZ_CHECK(line != NULL);
    if (size)
        memcpy(line, data, size);
    line[size] = '\0';
    if (dm_message_read_hello(&hello, line, size, &err) == DM_OK) {
        FUZZ_CHECK(*hello.name && *hello.instruction && hello.max_turns > 0);
        FUZZ_CHECK(dm_message_hello_equal(&hello, &hello));
    }
    dm_message_hello_free(&hello);
    for (int to_reset = 0; to_reset < 2; to_reset++) {
        if (dm_message_read_answer(&answer, to_reset, line, size, &err) == DM_OK) {
            FUZZ_CHECK(answer.score >= 0 && answer.score <= 1 && answer.observation && !answer.task == !to_reset);
            for (size_t i = 0; i < answer.n_actions; i++)
                FUZZ_CHECK(*answer.actions[i] && !strchr(answer.actions[i], '\n'));
        }
        dm_message_answer_free(&answer);
    }
    ask(line);
    free(line);
}
