/* Episodes: what is written is read back to the last bit, is training data as it is, and broken lines are refused with
 * their place. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/rollout/episode.h"
#include "core/files/file.h"
#include "io/data/dataset.h"
#include "tests/support/check.h"

static char path[64];

static dm_status read_text(dm_episodes *e, const char *text, dm_error *err)
{
    const char *const paths[] = {path};
    CK(dm_file_write(path, text, strlen(text), NULL) == DM_OK);
    return dm_episodes_read(e, paths, 1, err);
}

static const int32_t ids[3] = {0, 7, INT32_MAX};
static const float logps[3] = {-1.0F / 3, -1e-45F, -0.1F};

static dm_episode_turn turns[3] = {
    {"Action: look", "Observation: \"a\tdoor\"\n\xF0\x9F\x98\x80", 0.1, -1.0 / 3, 7, NULL, 0, NULL},
    {"Thought: hm.\nAction: open door", "Observation: It is open.", 0.5, NAN, 0, ids + 1, 2, NULL},
    {"Action: go", "Observation: Done.", 2.0 / 3, -1e-300, 3, ids, 3, logps},
};

static const dm_episode example = {
    .id = "home/seen/12/7/1@2",
    .env = "home",
    .split = DM_ENV_SPLIT_SEEN,
    .task = 12,
    .seed = UINT64_MAX,
    .sample = 1,
    .policy = "model",
    .model = "0123456789abcdef",
    .tokenizer = "fedcba9876543210",
    .temperature = 0.7,
    .sampling_seed = (uint64_t)1 << 53,
    .replayed = 2,
    .reward = 2.0 / 3,
    .done = 1,
    .end = "done",
    .prompt = {"You are in a house.", "OK", "Go out.\n\nObservation: a door"},
    .turn = turns,
    .turns = 3,
};

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_number(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void check_same(const dm_episode *a, const dm_episode *b)
{
    CK(same_text(a->id, b->id) && same_text(a->env, b->env) && same_text(a->policy, b->policy));
    CK(same_text(a->model, b->model) && same_text(a->end, b->end) && same_text(a->tokenizer, b->tokenizer));
    CK(a->split == b->split && a->task == b->task && a->seed == b->seed && a->sample == b->sample);
    CK(a->sampling_seed == b->sampling_seed && a->replayed == b->replayed && a->done == b->done);
    CK(same_number(a->temperature, b->temperature) && same_number(a->reward, b->reward));
    for (size_t i = 0; i < DM_EPISODE_PROMPT; i++)
        CK(same_text(a->prompt[i], b->prompt[i]));
    if (!CK(a->turns == b->turns))
        return;
    for (size_t i = 0; i < a->turns; i++) {
        CK(same_text(a->turn[i].action, b->turn[i].action));
        CK(same_text(a->turn[i].observation, b->turn[i].observation));
        CK(same_number(a->turn[i].score, b->turn[i].score) && same_number(a->turn[i].logp, b->turn[i].logp));
        CK(a->turn[i].tokens == b->turn[i].tokens && a->turn[i].n_ids == b->turn[i].n_ids);
        CK(!a->turn[i].ids == !b->turn[i].ids && !a->turn[i].token_logps == !b->turn[i].token_logps);
        for (size_t k = 0; k < a->turn[i].n_ids; k++) {
            CK(a->turn[i].ids[k] == b->turn[i].ids[k]);
            CK(!a->turn[i].token_logps ||
               memcmp(&a->turn[i].token_logps[k], &b->turn[i].token_logps[k], sizeof(float)) == 0);
        }
    }
}

static void check_round_trip(void)
{
    dm_episode none = example, one = example;
    dm_text text = {0}, again = {0};
    dm_episodes e;
    dm_error err = {0};
    dm_episode_turn lost = turns[0];

    none.turns = 0; /* the environment failed before the first answer */
    none.replayed = 0;
    none.model = NULL;
    none.end = "environment";
    one.turns = 1;
    one.turn = &lost;
    one.replayed = 0;
    lost.observation = NULL; /* or before its last */
    const dm_episode *const all[] = {&example, &none, &one};
    for (int i = 0; i < 3; i++)
        dm_episode_write(&text, all[i]);
    CK_MSG(read_text(&e, text.data, &err) == DM_OK, "%s", err.message);
    if (CK(e.n == 3))
        for (int i = 0; i < 3; i++) {
            check_same(&e.episode[i], all[i]);
            dm_episode_write(&again, &e.episode[i]);
        }
    CK(same_text(text.data, again.data));
    dm_episodes_close(&e);
    CK(e.n == 0 && !e.memory);

    /* a killed writer's last line is left out, and two files are one list */
    text.data[text.size - 1] = '\0';
    CK_MSG(read_text(&e, text.data, &err) == DM_OK, "%s", err.message);
    CK(e.n == 2);
    dm_episodes_close(&e);
    const char *const twice[] = {path, path};
    CK(dm_episodes_read(&e, twice, 2, &err) == DM_OK && e.n == 4);
    if (e.n == 4)
        check_same(&e.episode[2], &example);
    dm_episodes_close(&e);
    CK(read_text(&e, "", &err) == DM_OK && e.n == 0);
    dm_episodes_close(&e);
    dm_text_free(&text);
    dm_text_free(&again);
}

/* A line is supervised data: all actions are trained, the OK is not. */
static void check_training_data(void)
{
    const char *const *specials, *nothing = "";
    const size_t n = dm_template_specials(DM_TEMPLATE_PLAIN, &specials), size = 0;
    dm_tokenizer *t = NULL;
    dm_chat_template chat = {0};
    dm_error err = {0};
    dm_dataset d = {0};
    dm_text text = {0};

    CK(dm_tokenizer_train(&t, &nothing, &size, 1, 256 + n, 2, DM_WORD_SPLIT_GPT2, false, specials, n, &err) == DM_OK);
    CK(dm_template_open(&chat, &(dm_template_choice){.name = dm_template_name(DM_TEMPLATE_PLAIN)}, NULL, t, &err) ==
       DM_OK);
    dm_episode_write(&text, &example);
    dm_episode_write(&text, &example);
    CK(dm_file_write(path, text.data, text.size, NULL) == DM_OK);
    const dm_data_options options = {.tokenizer = t, .chat = &chat};
    CK_MSG(dm_dataset_open(&d, path, &options, &err) == DM_OK, "%s", err.message);
    if (CK(d.n == 2 && !d.pairs)) {
        size_t letters = 0;
        for (size_t i = 0; i < example.turns; i++)
            letters += strlen(turns[i].action) + 1; /* and the end of the turn */
        CK(d.items[0].chosen.n_turns == 3);
        CK_MSG(d.items[0].chosen.n_actions == letters, "%zu, not %zu", d.items[0].chosen.n_actions, letters);
        CK(strcmp(d.items[0].id, example.id) == 0);
    }
    dm_dataset_close(&d);
    dm_template_close(&chat);
    dm_tokenizer_close(&t);
    dm_text_free(&text);
}

/* The example's line with `from` replaced by `to`. */
static void spoil(dm_text *out, const char *from, const char *to)
{
    dm_text line = {0};
    dm_episode_write(&line, &example);
    const char *at = strstr(line.data, from);
    out->size = 0;
    if (CK_MSG(at != NULL, "no %s", from)) {
        dm_text_add(out, line.data, (size_t)(at - line.data));
        dm_text_print(out, "%s%s", to, at + strlen(from));
    }
    dm_text_free(&line);
}

static void check_broken(void)
{
    static const struct {
        const char *from, *to, *says;
    } cases[] = {
        {"{\"id\"", "[\"id\"", ":2:"},
        {"\"id\": \"home/seen/12/7/1@2\"", "\"id\": 3", "\"id\" must be a string"},
        {"\"id\": \"home", "\"id\": \"\\u0000home", "\"id\" must be a string without NUL"},
        {"\"env\": ", "\"inv\": ", "\"env\" is missing: it must be a string"},
        {"\"seen\"", "\"test\"", "\"split\" must be one of: train, seen, unseen"},
        {"\"task\": 12", "\"task\": -1", "\"task\" is -1, must be an integer, at least 0"},
        {"\"18446744073709551615\"", "\"18446744073709551616\"", "\"seed\" must be a whole number from 0 to 2^64-1"},
        {"\"18446744073709551615\"", "\"\"", "\"seed\" must be"},
        {"\"18446744073709551615\"", "-1", "\"seed\" must be"},
        {"\"temperature\": 0.7", "\"temperature\": -1", "\"temperature\" is -1, must be a number"},
        {"\"replayed\": 2", "\"replayed\": 4", "\"replayed\" is 4, must be an integer from 0 to 3"},
        {"\"reward\": 0.66", "\"reward\": 1.66", "must be a number from 0 to 1"},
        {"\"done\": true", "\"done\": 1", "\"done\" is 1, must be true or false"},
        {"\"end\": \"done\"", "\"end\": \"bored\"", "\"end\" must be one of: done, turns, length, environment"},
        {"\"scores\": [", "\"scores\": [0, ", "\"scores\" has 4 values for 3 turns"},
        {"\"scores\": [0.1", "\"scores\": [2", "scores[0] must be a number from 0 to 1"},
        {"null, -1e-300]", "\"x\", -1e-300]", "logps[1] must be a number or null"},
        {"\"tokens\": [7", "\"tokens\": [0.5", "tokens[0] must be a whole number"},
        {"\"tokens\": [7, 0, 3]", "\"tokens\": 3", "\"tokens\" must be a list with one value a turn"},
        {"\"conversations\": [", "\"conversations\": [{\"from\": \"human\", \"value\": \"\"}, ", "has 9 messages"},
        {"\"gpt\", \"value\": \"OK\"", "\"human\", \"value\": \"OK\"", "conversations[1] must be {\"from\": \"gpt\""},
        {"\"OK\"", "7", "conversations[1] must be"},
        {"\"ids\": [7", "\"ids\": [-7", "conversations[5]: \"ids\" must be a list of token ids"},
        {"\"ids\": [7, 2147483647]", "\"ids\": []", "conversations[5]: \"ids\" must be"},
        {", -1.4013e-45", "", "conversations[7]: \"logps\" must be a list of as many numbers"},
        {"-1.4013e-45", "null", "conversations[7]: logps[1] must be a number"},
        {"\"final\": \"", "\"final\": 3, \"x\": \"", "\"final\" must be a string without NUL"},
    };
    dm_text line = {0}, bad = {0};
    dm_episode_write(&line, &example);
    const size_t first = line.size;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dm_episodes e;
        dm_error err = {0};
        spoil(&bad, cases[i].from, cases[i].to);
        line.size = first;
        dm_text_add(&line, bad.data, bad.size);
        const dm_status s = read_text(&e, line.data, &err);
        CK_MSG(s == DM_ERR_INPUT, "%s: status %d", cases[i].to, (int)s);
        CK_MSG(strstr(err.message, cases[i].says) != NULL, "%s: %s", cases[i].to, err.message);
        CK_MSG(strstr(err.message, path) && strstr(err.message, ":2:"), "no place: %s", err.message);
        CK(e.n == 0 && !e.memory);
    }
    dm_text_free(&line);
    dm_text_free(&bad);

    dm_episodes e;
    dm_error err = {0};
    const char *const nowhere[] = {"/nonexistent/episodes.jsonl"};
    CK(dm_episodes_read(&e, nowhere, 1, &err) == DM_ERR_FILE && strstr(err.message, nowhere[0]));
    CK(read_text(&e, "3\n", &err) == DM_ERR_INPUT && strstr(err.message, ":1:1: a line must be an episode"));
}

static void check_actions(void)
{
    static const struct {
        const char *words, *action;
    } cases[] = {
        {"Action: go north", "go north"},
        {"Action:go\t\r\n", "go"},
        {"Thought: Action: wait\nAction:  take mug 1 \nmore", "take mug 1"},
        {"Action: a Action: b", "b"},
        {"  Action: x", "x"},
        {"Action: \nopen", NULL},
        {"Action:", NULL},
        {"action: go", NULL},
        {"go", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *a;
        CK(dm_episode_action(&a, cases[i].words, strlen(cases[i].words)));
        CK_MSG(same_text(a, cases[i].action), "'%s' gave '%s'", cases[i].words, a ? a : "nothing");
        free(a);
    }
    char *a;
    CK(dm_episode_action(&a, "Action: abcdef", 11)); /* `size` bounds it */
    CK(same_text(a, "abc"));
    free(a);
}

int main(void)
{
    snprintf(path, sizeof path, "/tmp/dmpo-test-episode-%ld.jsonl", (long)getpid());
    check_round_trip();
    check_training_data();
    check_broken();
    check_actions();
    remove(path);
    return ck_done("episode");
}
