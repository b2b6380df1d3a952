/* Training data from episodes as files: what is written, what is refused, and that the data reader reads back what was
 * made, of random runs and of the real data. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/numbers/philox.h"
#include "io/data/dataset.h"
#include "io/json.h"
#include "tests/support/check.h"
#include "tests/support/pairs_tool.h"

/* Runs are written down with what matters in them; the rest is zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* ---- files ---- */

#define HUMAN "{\"from\": \"human\", \"value\": \"x\"}"
#define GPT "{\"from\": \"gpt\", \"value\": \"y\"}"
#define ITEM(prompt, chosen, rejected)                                                                                 \
    "{\"id\": \"i\", \"prompt\": " prompt ", \"chosen\": " chosen ", \"rejected\": " rejected "}\n"

static void check_written(void)
{
    static const char want[] =
        "{\"id\": \"letters/train/4/0: expert 0 > model 1\", \"prompt\": [{\"from\": \"human\", \"value\": \"You "
        "are.\"}, "
        "{\"from\": \"gpt\", \"value\": \"OK\"}, {\"from\": \"human\", \"value\": \"Do it.\"}], \"chosen\": "
        "[{\"from\": "
        "\"gpt\", \"value\": \"Action: a\"}, {\"from\": \"human\", \"value\": \"Observation: a\"}, {\"from\": \"gpt\", "
        "\"value\": \"Action: b\"}], \"rejected\": [{\"from\": \"gpt\", \"value\": \"Action: c\"}], \"chosen_score\": "
        "1, "
        "\"rejected_score\": 0.5}";
    static const char sft[] =
        "{\"id\": \"letters/train/4/0: expert 0\", \"conversations\": [{\"from\": \"human\", \"value\": \"You are.\"}, "
        "{\"from\": \"gpt\", \"value\": \"OK\"}, {\"from\": \"human\", \"value\": \"Do it.\"}, {\"from\": \"gpt\", "
        "\"value\": \"Action: a\"}, {\"from\": \"human\", \"value\": \"Observation: a\"}, {\"from\": \"gpt\", "
        "\"value\": "
        "\"Action: b\"}], \"score\": 1}\n";
    dm_pairs p;
    dm_text lines = {0}, list = {0};
    RUNS(EXPERT, {"ab", 1, 4});
    RUNS(EXPLORED, {"c", 0.5, 4, 1});
    dm_pairs_options o = options_of("ex");

    CK(dm_pairs_make(&p, &o, NULL) == DM_OK);
    dm_pairs_write(&lines, &p, false);
    dm_pairs_write(&list, &p, true);
    CK_MSG(strncmp(lines.data, want, strlen(want)) == 0 && strcmp(lines.data + strlen(want), "\n") == 0, "%s",
           lines.data);
    CK(list.size == lines.size + 4 && memcmp(list.data, "[\n", 2) == 0);
    CK(memcmp(list.data + 2, lines.data, lines.size) == 0 && strcmp(list.data + 2 + lines.size, "]\n") == 0);
    dm_pairs_close(&p);
    o.form = DM_PAIRS_SFT;
    lines.size = 0;
    CK(dm_pairs_make(&p, &o, NULL) == DM_OK && p.n == 1);
    dm_pairs_write(&lines, &p, false);
    dm_pairs_close(&p);
    CK_MSG(strcmp(lines.data, sft) == 0, "%s", lines.data);

    /* what was written is read, and gives the same once more; a prompt that is not the authors' says what is trained */
    write_text(FROM, list.data);
    o = options_of("f");
    dm_text again = {0};
    CK(dm_pairs_make(&p, &o, NULL) == DM_OK);
    dm_pairs_write(&again, &p, true);
    dm_pairs_close(&p);
    CK(strcmp(again.data, list.data) == 0);
    again.size = 0;
    write_text(FROM,
               "{\"id\": 7, \"prompt\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"chosen\": [{\"role\": "
               "\"assistant\", \"content\": \"Action: a\"}], \"rejected\": [{\"role\": \"assistant\", \"content\": "
               "\"Action: b\"}]}\n");
    expect(&o, "|a>b", DM_PAIRS_DROPS, 0); /* no scores: taken as they stand */
    o.form = DM_PAIRS_SFT;
    CK(dm_pairs_make(&p, &o, NULL) == DM_OK);
    dm_pairs_write(&again, &p, false);
    dm_pairs_close(&p);
    CK_MSG(strcmp(again.data,
                  "{\"id\": \"7\", \"conversations\": [{\"from\": \"human\", \"value\": \"Hi\"}, {\"from\": "
                  "\"gpt\", \"value\": \"Action: a\", \"train\": true}]}\n") == 0,
           "%s", again.data);
    o.form = DM_PAIRS_WHOLE;
    write_text(FROM, "[" ITEM("[{\"from\": \"system\", \"value\": \"Be.\"}, " HUMAN "]", "[" GPT "]",
                              "[" GPT "," HUMAN "," GPT "]") "]");
    again.size = 0;
    CK(dm_pairs_make(&p, &o, NULL) == DM_OK);
    dm_pairs_write(&again, &p, false);
    dm_pairs_close(&p);
    CK_MSG(strstr(again.data, "\"prompt\": [{\"from\": \"system\", \"value\": \"Be.\"}, "), "%s", again.data);
    o.form = DM_PAIRS_SFT;
    o.min_chosen = 0.5; /* and not without a score where one is asked for */
    expect_error(&o, DM_ERR_INPUT, "no run is left of 1: 1 with a chosen run below the least reward");
    dm_text_free(&lines);
    dm_text_free(&list);
    dm_text_free(&again);
}

static void check_broken(void)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"3\n", "must be a list of pairs"},
        {"[3]\n", ":1:2: item 0: must be an object"},
        {"{\"pairs\": [3]}\n", "item 0: must be an object"},
        {"{\"pairs\": 3}\n", "item \"item 0\": \"prompt\" is missing"},
        {"{\"id\": \"i\"}\n", "item \"i\": \"prompt\" is missing: pairs are read as"},
        {ITEM("[]", "[" GPT "]", "[" GPT "]"), "\"prompt\" must be a list of messages that is not empty"},
        {ITEM("\"x\"", "[" GPT "]", "[" GPT "]"), "\"prompt\" must be a list of messages"},
        {ITEM("[" GPT "]", "[" GPT "]", "[" GPT "]"), "prompt[0]: user and agent must alternate"},
        {ITEM("[" HUMAN "," GPT "]", "[" GPT "]", "[" GPT "]"), "prompt[1]: the last message must be the user's"},
        {ITEM("[" HUMAN ", " GPT ", {\"from\": \"system\", \"value\": \"\"}]", "[" GPT "]", "[" GPT "]"),
         "prompt[2]: user and agent must alternate"},
        {ITEM("[" HUMAN "," HUMAN "]", "[" GPT "]", "[" GPT "]"), "prompt[1]: user and agent must alternate"},
        {ITEM("[" HUMAN "]", "[]", "[" GPT "]"), "\"chosen\" must be a list"},
        {ITEM("[" HUMAN "]", "{\"ids\": [1], \"turns\": []}", "[" GPT "]"), "\"chosen\" must be a list of messages"},
        {ITEM("[" HUMAN "]", "[" GPT "]", "[" GPT "," HUMAN "]"), "rejected[1]: the last message must be the agent's"},
        {ITEM("[" HUMAN "]", "[" GPT "]", "[" GPT "," GPT "," GPT "]"), "rejected[1]: agent and user must alternate"},
        {ITEM("[" HUMAN "]", "[{\"from\": \"tool\", \"value\": \"\"}]", "[" GPT "]"), "chosen[0]: must be an object"},
        {ITEM("[" HUMAN "]", "[{\"from\": \"gpt\", \"value\": 3}]", "[" GPT "]"), "chosen[0]: its words must be"},
        {ITEM("[" HUMAN "]", "[{\"from\": \"gpt\", \"value\": \"\\u0000\"}]", "[" GPT "]"), "must be a string without"},
        {"{\"prompt\": [" HUMAN "], \"chosen\": [" GPT "], \"rejected\": [" GPT "], \"chosen_score\": \"1\"}",
         "\"chosen_score\" is the string \"1\", must be a number"},
        {"[", "expected a value"},
    };
    dm_pairs_options o = options_of("f");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(FROM, bad[i].text);
        expect_error(&o, DM_ERR_INPUT, bad[i].says);
    }
    write_text(FROM, "[]\n");
    expect_error(&o, DM_ERR_INPUT, "the files hold no runs to make pairs from");
    remove(file[FROM]);
    expect_error(&o, DM_ERR_FILE, file[FROM]);

    RUNS(EXPERT, {"a", 1, 0});
    RUNS(EXPLORED, {"a", 1, 0});
    o = options_of("ex");
    expect_error(&o, DM_ERR_INPUT, "no pair is left of 1: 1 with rewards that differ by no more than the margin");
    write_text(EXPLORED, "{}\n");
    expect_error(&o, DM_ERR_INPUT, ":1:1: \"id\" is missing");
}

static void check_options(void)
{
    RUNS(EXPERT, {"a", 1, 0});
    RUNS(EXPLORED, {"b", 0, 0});
    RUNS(CONTINUATIONS, {"c", 1, 0});
#define REFUSED(sources, field, value, says)                                                                           \
    do {                                                                                                               \
        dm_pairs_options o = options_of(sources);                                                                      \
        o.field = value;                                                                                               \
        expect_error(&o, DM_ERR_ARGUMENT, says);                                                                       \
    } while (0)
    REFUSED("ex", max_length_ratio, 0.5, "--max-length-ratio 0.5 is out of range; legal: 0 (any) or at least 1");
    REFUSED("ex", perplexity_ratio, HUGE_VAL, "--perplexity-ratio inf is out of range");
    REFUSED("ex", segment_turns, 3, "--segment-turns is of --form segment and levels only");
    REFUSED("ex", refine, 1, "--refine compares an expert's turns with continuations of its runs");
    REFUSED("ex", erroneous, DM_PAIRS_ERRONEOUS_LAST, "--erroneous-turn is of --continuations FILE only");
    REFUSED("ex", invalid_answer, "no", "--invalid-answer is of --degrade meaningless only");
    REFUSED("", seed, 0, "no runs given");
    REFUSED("e", seed, 0, "no runs given");
    REFUSED("x", seed, 0, "explored runs have nothing to be compared with");
    REFUSED("ec", seed, 0, "--continuations needs explored runs");
    REFUSED("e", among, 1, "--among needs explored runs");
    dm_pairs_options o = options_of("ex");
    o.form = DM_PAIRS_SFT;
    o.cut = 5;
    expect_error(&o, DM_ERR_ARGUMENT, "--cut is for pairs, --form sft writes single runs");
}

/* ---- the data reader ---- */

static dm_tokenizer *tokenizer;
static dm_chat_template chat;

static void open_tokenizer(void)
{
    const char *const *specials, *nothing = "";
    const size_t n = dm_template_specials(DM_TEMPLATE_PLAIN, &specials), size = 0;
    CK(dm_tokenizer_train(&tokenizer, &nothing, &size, 1, 256 + n, 2, DM_WORD_SPLIT_GPT2, false, specials, n, NULL) ==
       DM_OK);
    CK(dm_template_open(&chat, &(dm_template_choice){.name = dm_template_name(DM_TEMPLATE_PLAIN)}, NULL, tokenizer,
                        NULL) == DM_OK);
}

/* What was made is read as it was meant: as many turns on each side, of exactly the actions' bytes, so that none of a
 * prompt's is trained. Returns how many items there were. */
static size_t check_read_back(const dm_pairs_options *o, const char *what)
{
    const dm_data_options data = {.tokenizer = tokenizer, .chat = &chat, .need_pairs = o->form != DM_PAIRS_SFT};
    dm_pairs p;
    dm_dataset d;
    dm_text text = {0};
    dm_error err = {0};
    size_t wrong = 0;

    const dm_status s = dm_pairs_make(&p, o, &err);
    if (s == DM_ERR_INPUT && strstr(err.message, " is left of "))
        return 0;
    if (!CK_MSG(s == DM_OK, "%s: %s", what, err.message))
        return 0;
    dm_pairs_write(&text, &p, o->seed % 2 == 1);
    CK(dm_file_write(file[OUTPUT], text.data, text.size, NULL) == DM_OK);
    if (CK_MSG(dm_dataset_open(&d, file[OUTPUT], &data, &err) == DM_OK, "%s: %s", what, err.message)) {
        CK_MSG(d.n == p.n, "%s: %zu items of %zu pairs", what, d.n, p.n);
        for (size_t i = 0; i < d.n; i++) {
            const dm_pairs_side *sides[] = {&p.pair[i].chosen, &p.pair[i].rejected};
            const dm_data_trajectory *read[] = {&d.items[i].chosen, &d.items[i].rejected};
            for (int k = 0; k < (o->form == DM_PAIRS_SFT ? 1 : 2); k++) {
                size_t bytes = 0;
                for (size_t t = 0; t < sides[k]->turns; t++)
                    bytes += strlen(sides[k]->turn[t].action) + 1;
                wrong += read[k]->n_turns != sides[k]->turns || read[k]->n_actions != bytes;
            }
            wrong += strcmp(d.items[i].id, p.pair[i].id) != 0;
        }
        CK_MSG(wrong == 0, "%s: %zu sides are read otherwise", what, wrong);
    }
    const size_t n = p.n;
    dm_dataset_close(&d);
    dm_pairs_close(&p);
    dm_text_free(&text);
    return n;
}

/* Random runs over three letters, in every form and with every change. */
static void check_property(void)
{
    enum { TASKS = 6, SAMPLES = 4, LONGEST = 8 };
    const int rounds = getenv("DMPO_TEST_FAST") ? 4 : 12;
    size_t made[4] = {0};

    for (int round = 0; round < rounds; round++) {
        run runs[2][TASKS * SAMPLES];
        char letters[2][TASKS * SAMPLES][LONGEST + 1];
        uint64_t counter = 0;
        for (int from = 0; from < 2; from++)
            for (int i = 0; i < TASKS * SAMPLES; i++) {
                const uint64_t stream = (uint64_t)round;
                const uint32_t n = 1 + dm_random_below(LONGEST, 1, DM_RNG_TEST, stream, &counter);
                for (uint32_t k = 0; k < n; k++)
                    letters[from][i][k] = (char)('a' + dm_random_below(3, 1, DM_RNG_TEST, stream, &counter));
                letters[from][i][n] = '\0';
                runs[from][i] = (run){.letters = letters[from][i],
                                      .reward = dm_random_below(5, 1, DM_RNG_TEST, stream, &counter) / 4.0,
                                      .task = i % TASKS,
                                      .sample = i / TASKS,
                                      .replayed = from ? dm_random_below(n, 1, DM_RNG_TEST, stream, &counter) : 0};
            }
        write_runs(EXPLORED, runs[0], TASKS * SAMPLES);
        write_runs(EXPERT, runs[0], TASKS); /* somebody's */
        write_runs(CONTINUATIONS, runs[1], TASKS * SAMPLES);
        for (int form = 0; form < 4; form++)
            for (int how = 0; how < 5; how++) {
                dm_pairs_options o = options_of(form == DM_PAIRS_SFT ? "ex" : how == 4 ? "xc" : "ex");
                char what[64];
                o.form = form;
                o.seed = (uint64_t)round;
                if (form != DM_PAIRS_SFT) {
                    o.among = how == 1;
                    o.cut = how == 2 ? 1 : -1;
                    o.degrade = how == 3 ? 1 + round % 2 : DM_PAIRS_DEGRADE_NONE;
                    o.invalid_answer = o.degrade == DM_PAIRS_DEGRADE_MEANINGLESS ? "No." : NULL;
                } else {
                    o.min_chosen = how / 4.0;
                }
                snprintf(what, sizeof what, "round %d, form %d, option %d", round, form, how);
                made[form] += check_read_back(&o, what);
            }
    }
    for (int form = 0; form < 4; form++)
        CK_MSG(made[form] > 20, "form %d made only %zu", form, made[form]);
}

/* The real data beside the repository. */
static void check_real(const char *path)
{
    const char *const paths[] = {path};
    dm_pairs_options o;

    if (!dm_file_exists(path)) {
        char why[256];
        snprintf(why, sizeof why, "%.200s is not here", path);
        ck_skip(why);
        return;
    }
    for (int form = 0; form < 4; form++) {
        dm_pairs_defaults(&o);
        o.pairs = (dm_pairs_files){paths, 1};
        o.form = form;
        const size_t n = check_read_back(&o, path);
        CK_MSG(n > 50, "%s: %zu of form %d", path, n, form);
    }
    o.form = DM_PAIRS_WHOLE;
    o.cut = 5;
    o.degrade = DM_PAIRS_DEGRADE_REPEAT;
    CK(check_read_back(&o, path) > 50);
}

int main(void)
{
    name_files("pairs-data");
    open_tokenizer();
    check_written();
    check_broken();
    check_options();
    check_property();
    const char *source = getenv("SRC"), *const names[] = {"sciworld_pref.json", "twx_pref.json"};
    for (int i = 0; i < 2; i++) {
        char path[512];
        snprintf(path, sizeof path, "%.400s/../shared/data/%s", source ? source : ".", names[i]);
        check_real(path);
    }
    dm_template_close(&chat);
    dm_tokenizer_close(&tokenizer);
    remove_files();
    return ck_done("pairs_data");
}
