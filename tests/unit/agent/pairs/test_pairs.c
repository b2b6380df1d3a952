/* Training data from episodes: every form and option against an example worked out by hand. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "agent/env/registry.h"
#include "core/numbers/philox.h"
#include "io/json.h"
#include "tests/support/check.h"
#include "tests/support/pairs_tool.h"

/* Runs are written down with what matters in them; the rest is zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* ---- matching ---- */

static void check_matching(void)
{
    RUNS(EXPERT, {"abc", 1, 0}, {"ab", 0.5, 2});
    RUNS(EXPLORED, {"abd", 0.5, 0, 0}, {"c", 1, 2, 0}, {"q", 0, 1, 0}, {"ax", 0, 0, 1}, {"abcd", 1, 0, 2});
    dm_pairs_options o = options_of("ex");
    expect(&o, "|abc>abd |abc>ax |c>ab", DM_PAIRS_DROP_TIE, 1); /* tasks in order, in a task the files' order */
    expect(&o, "|abc>abd |abc>ax |c>ab", DM_PAIRS_DROP_UNMATCHED, 1);
    o.margin = 0.5; /* must be exceeded */
    expect(&o, "|abc>ax", DM_PAIRS_DROP_TIE, 3);
    o.margin = 0.25;
    expect(&o, "|abc>abd |abc>ax |c>ab", DM_PAIRS_DROP_TIE, 1);

    o = options_of("x");
    o.among = 1; /* abcd is the best of task 0, ax the worst; the other tasks have one run */
    expect(&o, "|abcd>ax", DM_PAIRS_DROP_UNMATCHED, 2);
    o = options_of("ex");
    o.among = 1;
    expect(&o, "|abc>abd |abc>ax |abcd>ax |c>ab", DM_PAIRS_DROP_UNMATCHED, 3);
    RUNS(EXPLORED, {"b", 1, 0, 0}, {"a", 0, 0, 1}, {"c", 1, 0, 2}, {"d", 0, 0, 3}, {"e", 1, 1, 0}, {"f", 1, 1, 1});
    o = options_of("x");
    o.among = 1; /* of equal ones the first */
    expect(&o, "|b>a", DM_PAIRS_DROP_TIE, 1);

    /* what makes a task: environment, split, task and seed */
    RUNS(EXPERT, {"a", 1, 0});
    RUNS(EXPLORED, {"b", 0, 0, .env = "others"}, {"c", 0, 0}, {"d", 0, 0, .split = DM_ENV_SPLIT_SEEN},
         {"e", 0, 0, .seed = 1});
    o = options_of("ex");
    expect(&o, "|a>c", DM_PAIRS_DROP_UNMATCHED, 3);
    RUNS(EXPLORED, {"b", 0, 0, .task_text = "Do that."}, {"c", 0, 0}, {"d", 0, 0, .end = "environment"}, {"", 0, 0},
         {"e ", 0, 0});
    expect(&o, "|a>c", DM_PAIRS_DROP_PROMPT, 1);
    expect(&o, "|a>c", DM_PAIRS_DROP_FAILED, 1);
    expect(&o, "|a>c", DM_PAIRS_DROP_EMPTY, 2); /* no turn; a turn of white space, which the reader refuses */

    /* a file that is given twice adds nothing, and its pairs' names stay distinct */
    const char *const twice[] = {file[EXPLORED], file[EXPLORED]};
    o.explored = (dm_pairs_files){twice, 2};
    expect(&o, "|a>c", DM_PAIRS_DROP_DUPLICATE, 1);
    RUNS(EXPLORED, {"b", 0, 0, 7}, {"c", 0, 0, 7}, {"d", 0, 0, 7, 1});
    o = options_of("ex");
    dm_pairs p;
    CK(dm_pairs_make(&p, &o, NULL) == DM_OK && p.n == 3);
    if (p.n == 3) {
        CK_MSG(strcmp(p.pair[0].id, "letters/train/0/0: expert 0 > model 7") == 0, "%s", p.pair[0].id);
        CK_MSG(strcmp(p.pair[1].id, "letters/train/0/0: expert 0 > model 7 #2") == 0, "%s", p.pair[1].id);
        CK_MSG(strcmp(p.pair[2].id, "letters/train/0/0: expert 0 > model 7@1") == 0, "%s", p.pair[2].id);
    }
    dm_pairs_close(&p);
}

static void check_runs(void)
{
    RUNS(EXPERT, {"abc", 1, 0}, {"ab", 0.5, 1});
    RUNS(EXPLORED, {"abdefg", 0.5, 0, 0}, {"c", 0.25, 1, 0}, {"dd", 0, 0, 1});
    dm_pairs_options o = options_of("ex");
    o.min_chosen = 0.75;
    expect(&o, "|abc>abdefg |abc>dd", DM_PAIRS_DROP_LOW, 1);
    o = options_of("ex");
    o.max_turns = 5;
    expect(&o, "|abc>dd |ab>c", DM_PAIRS_DROP_LONG, 1);
    o.max_turns = 2; /* of the chosen run too */
    expect(&o, "|ab>c", DM_PAIRS_DROP_LONG, 2);
    o = options_of("ex");
    o.max_repeats = 1; /* dd: the answer to the second d is not part of the run */
    expect(&o, "|abc>abdefg |ab>c", DM_PAIRS_DROP_REPEATS, 1);
    o.max_repeats = 2;
    expect(&o, "|abc>abdefg |abc>dd |ab>c", DM_PAIRS_DROPS, 0);
    o = options_of("ex");
    o.cut = 1;
    expect(&o, "|abc>abde |abc>dd |ab>c", DM_PAIRS_DROPS, 0);
    o.cut = 0;
    expect(&o, "|abc>abd |abc>dd |ab>c", DM_PAIRS_DROPS, 0);
    RUNS(EXPERT, {"abc", 1, 0});
    RUNS(EXPLORED, {"abcde", 0.5, 0}, {"d", 0, 0, 1});
    expect(&o, "|abc>d", DM_PAIRS_DROP_IDENTICAL, 1); /* by the cut */
    RUNS(EXPLORED, {"abababa", 0.5, 0}, {"aaa", 0, 0, 1});
    o = options_of("ex");
    o.max_repeats = 2; /* letters so far: no answer comes twice, but the last action's is open */
    expect(&o, "|abc>abababa |abc>aaa", DM_PAIRS_DROPS, 0);
    o.max_repeats = 1;
    expect_error(&o, DM_ERR_INPUT, "no pair is left of 2: 2 with a run that repeats itself");
}

/* ---- forms ---- */

static void check_forms(void)
{
    RUNS(EXPERT, {"abcdef", 1, 0});
    RUNS(EXPLORED, {"abxyz", 0, 0, 0}, {"pq", 0.5, 0, 1}, {"abc", 0.25, 0, 2}, {"abcdefgh", 0, 0, 3});
    dm_pairs_options o = options_of("ex");
    o.form = DM_PAIRS_STEP;
    expect(&o, "ab|c>x |a>p", DM_PAIRS_DROP_CONTAINED, 2);
    o.form = DM_PAIRS_SEGMENT; /* 4 and 3 turns are left, 6 and 2 */
    expect(&o, "ab|cde>xyz |ab>pq", DM_PAIRS_DROP_CONTAINED, 2);
    o.segment_turns = 2;
    expect(&o, "ab|cd>xy |ab>pq", DM_PAIRS_DROP_CONTAINED, 2);
    o.form = DM_PAIRS_WHOLE;
    o.segment_turns = 0;
    expect(&o, "|abcdef>abxyz |abcdef>pq |abcdef>abc |abcdef>abcdefgh", DM_PAIRS_DROPS, 0);

    /* what the form took into the prompt is counted as shared */
    dm_pairs p;
    dm_pairs_statistics f;
    o.form = DM_PAIRS_SEGMENT;
    CK(dm_pairs_make(&p, &o, NULL) == DM_OK && p.n == 2 && dm_pairs_measure(&f, &p, NULL) == DM_OK);
    CK(f.tasks == 1 && f.shared.max == 2 && f.shared.mean == 1);
    CK(f.chosen.turns.max == 3 && f.chosen.turns.mean == 2.5 && f.chosen.reward == 1 && f.rejected.reward == 0.25);
    /* "Action: c", "Observation: abc", ...: 3 * 9 + 16 + 17; 2 * 9 + 14 */
    CK(f.chosen.bytes.max == 60 && f.chosen.bytes.mean == 46);
    dm_pairs_close(&p);

    /* one action, answered in two ways: the runs part there, and with one turn there is nothing to learn */
    write_text(FROM,
               "{\"prompt\": [{\"from\": \"human\", \"value\": \"Do.\"}], \"chosen\": [{\"from\": \"gpt\", \"value\": "
               "\"Action: a\"}, {\"from\": \"human\", \"value\": \"1\"}, {\"from\": \"gpt\", \"value\": \"Action: "
               "b\"}], \"rejected\": [{\"from\": \"gpt\", \"value\": \"Action: a\"}, {\"from\": \"human\", "
               "\"value\": \"2\"}, {\"from\": \"gpt\", \"value\": \"Action: c\"}]}\n");
    o = options_of("f");
    o.form = DM_PAIRS_SEGMENT;
    expect(&o, "|ab>ac", DM_PAIRS_DROPS, 0);
    o.form = DM_PAIRS_STEP;
    expect_error(&o, DM_ERR_INPUT, "no pair is left of 1: 1 with two equal sides");
}

static void check_sft(void)
{
    RUNS(EXPERT, {"abc", 1, 0}, {"de", 0.5, 1});
    RUNS(EXPLORED, {"xbc", 1, 0, 0}, {"abc", 1, 0, 1}, {"ybc", 1, 0, 2}, {"xbc", 1, 0, 3}, {"q", 0.75, 1, 0},
         {"zbc", 1, 0, 4}, {"fg", 1, 1, 1}, {"h", 1, 2, 0});
    dm_pairs_options o = options_of("ex");
    o.form = DM_PAIRS_SFT; /* successes, each once; an expert's run is taken whatever its reward */
    expect(&o, "|abc |xbc |ybc |zbc |de |fg |h", DM_PAIRS_DROP_DUPLICATE, 2);
    expect(&o, "|abc |xbc |ybc |zbc |de |fg |h", DM_PAIRS_DROP_LOW, 1);
    o.min_chosen = 0.75;
    expect(&o, "|abc |xbc |ybc |zbc |de |q |fg |h", DM_PAIRS_DROP_DUPLICATE, 2);
    o.min_chosen = NAN;
    o.per_task = 2; /* explored ones */
    expect(&o, "|abc |xbc |ybc |de |fg |h", DM_PAIRS_DROP_PER_TASK, 1);
    o = options_of("x");
    o.form = DM_PAIRS_SFT;
    o.per_task = 1;
    expect(&o, "|xbc |fg |h", DM_PAIRS_DROP_PER_TASK, 3);
    o = options_of("e");
    o.form = DM_PAIRS_SFT;
    expect(&o, "|abc |de", DM_PAIRS_DROPS, 0);
}

/* The run's wrong turn is the first from which it could still have been better. */
static void check_continuations(void)
{
    RUNS(EXPLORED, {"abxy", 0.25, 0, 0}, {"pq", 0.5, 1, 0}, {"z", 0, 2, 0});
    RUNS(CONTINUATIONS, {"abxyw", 0.25, 0, 0, 3},                              /* after its turns 0 to 2: no better */
         {"abcde", 0.75, 0, 0, 2}, {"abcdf", 1, 0, 1, 2}, {"abg", 1, 0, 2, 2}, /* the best is abcdf, the first of 1 */
         {"ah", 0.5, 0, 0, 1}, {"axyz", 0.25, 0, 1, 1},                        /* better, and earlier */
         {"k", 0, 0, 0, 0},                                                    /* worse */
         {"am", 1, 0, 0, 1, .end = "environment"},                             /* not to be believed */
         {"bcd", 1, 0, 0, 1},                                                  /* not a continuation of it */
         {"pr", 0.5, 1, 0, 1}, {"s", 0.5, 1, 0, 0});
    dm_pairs_options o = options_of("xc");
    o.form = DM_PAIRS_SEGMENT;
    expect(&o, "a|h>b", DM_PAIRS_DROP_TIE, 1); /* task 1: none is better; task 2: no continuation */
    expect(&o, "a|h>b", DM_PAIRS_DROP_UNMATCHED, 1);
    o.margin = 0.25; /* 0.5 is not above 0.25 + 0.25 */
    expect(&o, "ab|cd>xy", DM_PAIRS_DROP_TIE, 1);
    o.form = DM_PAIRS_STEP;
    expect(&o, "ab|c>x", DM_PAIRS_DROP_TIE, 1);
    o.form = DM_PAIRS_WHOLE;
    expect(&o, "|abcdf>abxy", DM_PAIRS_DROP_TIE, 1);
    o.segment_turns = 1;
    o.form = DM_PAIRS_SEGMENT;
    expect(&o, "ab|c>x", DM_PAIRS_DROP_TIE, 1);
    o = options_of("xc");
    o.form = DM_PAIRS_SEGMENT;
    o.erroneous = DM_PAIRS_ERRONEOUS_LAST;
    expect(&o, "ab|cd>xy", DM_PAIRS_DROP_TIE, 1);

    /* the continuation takes the run's own action once more: the segments begin where they differ */
    RUNS(EXPLORED, {"abxy", 0, 0, 0});
    RUNS(CONTINUATIONS, {"abcd", 1, 0, 0, 1});
    o = options_of("xc");
    o.form = DM_PAIRS_SEGMENT;
    expect(&o, "ab|cd>xy", DM_PAIRS_DROPS, 0);
}

/* Each of an expert's turns against the policy's in its place, by what the policy's runs earn after either. */
static void check_refine(void)
{
    RUNS(EXPERT, {"abcd", 1, 0});
    RUNS(CONTINUATIONS, {"xy", 0, 0, 0, 0},          /* 0 after x; a quarter, on average, after a */
         {"amm", 0.5, 0, 0, 1}, {"aqq", 0, 0, 1, 1}, /* a half after m, as after b: a tie */
         {"abcn", 1, 0, 0, 2}, {"abn", 0, 0, 1, 2},  /* the policy does the same */
         {"abcz", 0, 0, 0, 3}, {"abcw", 1, 0, 1, 3, .end = "environment"}); /* the expert's last turn earns all */
    dm_pairs_options o = options_of("ec");
    o.refine = 1;
    expect(&o, "|abcd>xy |abcd>abcz", DM_PAIRS_DROP_TIE, 1);
    expect(&o, "|abcd>xy |abcd>abcz", DM_PAIRS_DROP_IDENTICAL, 1);
    o.margin = 0.25; /* must be exceeded */
    expect(&o, "|abcd>abcz", DM_PAIRS_DROP_TIE, 2);
    o.margin = 0;
    o.form = DM_PAIRS_LEVELS;
    o.segment_turns = 2;
    expect(&o, "|abcd>xy |ab>xy |a>x |abcd>abcz abc|d>z", DM_PAIRS_DROP_TIE, 3);
    expect(&o, "|abcd>xy |ab>xy |a>x |abcd>abcz abc|d>z", DM_PAIRS_DROP_DUPLICATE, 1);

    RUNS(EXPLORED, {"e", 0, 0, 0}); /* whole runs are compared besides */
    o = options_of("exc");
    o.refine = 1;
    expect(&o, "|abcd>e |abcd>xy |abcd>abcz", DM_PAIRS_DROP_TIE, 1);
}

/* ---- the degraded variant ---- */

static void check_degrade(void)
{
    RUNS(EXPERT, {"abc", 1, 0});
    RUNS(EXPLORED, {"defg", 0, 0, 0}, {"h", 0, 0, 1}, {"ij", 0, 0, 2});
    dm_pairs_options o = options_of("ex");
    o.degrade = DM_PAIRS_DEGRADE_REPEAT;
    o.degrade_turns = 4;
    bool seen[4] = {false};
    for (o.seed = 0; o.seed < 20; o.seed++) {
        /* the loop is of one to three turns before g; of i alone before j; of h, which was answered */
        static const char *const loops[] = {"", "deffffg", "defefefg", "defdefdg"};
        uint64_t counter = 0;
        const uint32_t k = 1 + dm_random_below(3, o.seed, DM_RNG_PAIRS, 1, &counter);
        char want[96];
        seen[k] = true;
        snprintf(want, sizeof want, "|abc>%s |abc>hhhhh |abc>iiiiij", k == 1 ? "defffffg" : loops[k]);
        expect(&o, want, DM_PAIRS_DROPS, 0);
    }
    CK(seen[1] && seen[2] && seen[3]);

    dm_pairs p, q;
    RUNS(EXPLORED, {"defg", 0, 0, 0, .logp = -1}, {"h", 0, 0, 1}, {"ij", 0, 0, 2});
    CK(dm_pairs_make(&p, &o, NULL) == DM_OK && p.n == 3);
    for (size_t t = 0; p.n && t < 8; t++) { /* the inserted turns were not chosen by a policy */
        const dm_episode_turn *turn = &p.pair[0].rejected.turn[t];
        CK(t < 3 || t == 7 ? turn->tokens == 4 : turn->tokens == 0 && isnan(turn->logp));
    }
    dm_pairs_close(&p);
    o.degrade = DM_PAIRS_DEGRADE_MEANINGLESS;
    o.invalid_answer = "What?";
    o.seed = 5;
    CK(dm_pairs_make(&p, &o, NULL) == DM_OK && p.n == 3);
    for (size_t i = 0; i < p.n; i++) {
        const dm_pairs_side *s = &p.pair[i].rejected;
        const size_t old = i == 0 ? 4 : i == 1 ? 1 : 2;
        CK(s->turns == old + 4);
        for (size_t t = old - 1; t < s->turns - 1; t++) {
            CK(strcmp(s->turn[t].observation, "Observation: What?") == 0);
            CK(strncmp(s->turn[t].action, "Action: ", 8) == 0 && strlen(s->turn[t].action) > 9);
            CK(s->turn[t].tokens == 0 && isnan(s->turn[t].logp));
        }
        CK(strcmp(s->turn[s->turns - 1].action, i == 0 ? "Action: g" : i == 1 ? "Action: h" : "Action: j") == 0);
    }
    dm_text first = {0}, second = {0}, other = {0};
    dm_pairs_write(&first, &p, false);
    dm_pairs_close(&p);
    CK(dm_pairs_make(&q, &o, NULL) == DM_OK);
    dm_pairs_write(&second, &q, false);
    dm_pairs_close(&q);
    o.seed = 6;
    CK(dm_pairs_make(&q, &o, NULL) == DM_OK);
    dm_pairs_write(&other, &q, false);
    dm_pairs_close(&q);
    CK(strcmp(first.data, second.data) == 0 && strcmp(first.data, other.data) != 0);
    dm_text_free(&first);
    dm_text_free(&second);
    dm_text_free(&other);

    /* without words for it the environment is asked */
    dm_env *env;
    dm_error err = {0};
    dm_observation answer = {0};
    o.invalid_answer = NULL;
    o.degrade_turns = 3;
    expect_error(&o, DM_ERR_INPUT, "environment 'letters' is not one of");
    RUNS(EXPERT, {"abc", 1, 3, .env = "home"});
    RUNS(EXPLORED, {"defg", 0, 3, .env = "home"});
    CK_MSG(dm_pairs_make(&p, &o, &err) == DM_OK && p.n == 1, "%s", err.message);
    if (p.n == 1 && CK(dm_env_open(&env, "home", &err) == DM_OK)) {
        const dm_episode_turn *turn = p.pair[0].rejected.turn;
        for (int t = 3; t < 6; t++) {
            CK(dm_env_reset(env, DM_ENV_SPLIT_TRAIN, 3, 0, &answer, NULL) == DM_OK);
            CK(dm_env_step(env, turn[t].action + strlen("Action: "), &answer, NULL) == DM_OK && !answer.done);
            CK_MSG(strcmp(turn[t].observation + strlen("Observation: "), answer.text) == 0, "%s", turn[t].observation);
        }
        dm_env_close(&env);
    }
    dm_pairs_close(&p);
}

/* ---- filters of pairs ---- */

static void check_filters(void)
{
    RUNS(EXPERT, {"kitten", 1, 0});
    RUNS(EXPLORED, {"sitting", 0, 0}, {"xyz", 0, 0, 1});
    dm_pairs_options o = options_of("ex");
    o.min_edit_distance = 3.0 / 7; /* Levenshtein's own: 2 replaced, 1 more, of 7 */
    expect(&o, "|kitten>sitting |kitten>xyz", DM_PAIRS_DROPS, 0);
    o.min_edit_distance = 0.43;
    expect(&o, "|kitten>xyz", DM_PAIRS_DROP_DISTANCE, 1);
    o.min_edit_distance = 1; /* kitten and xyz have nothing in common */
    expect(&o, "|kitten>xyz", DM_PAIRS_DROP_DISTANCE, 1);
    o.unit = DM_PAIRS_UNIT_TEXT;
    o.min_edit_distance = 12.0 / 70; /* "Action: g" and its line end are 10 bytes: 2 replaced, 10 more, of 70 */
    expect(&o, "|kitten>sitting |kitten>xyz", DM_PAIRS_DROPS, 0);
    o.min_edit_distance = 0.18;
    expect(&o, "|kitten>xyz", DM_PAIRS_DROP_DISTANCE, 1);
    o = options_of("ex");
    o.max_length_ratio = 7.0 / 6;
    expect(&o, "|kitten>sitting", DM_PAIRS_DROP_LENGTH, 1);
    o.max_length_ratio = 1.16;
    expect_error(&o, DM_ERR_INPUT, "no pair is left of 2: 2 with lengths too far apart");
    o.max_length_ratio = 2;
    o.unit = DM_PAIRS_UNIT_TEXT;
    expect(&o, "|kitten>sitting |kitten>xyz", DM_PAIRS_DROPS, 0);

    o = options_of("x");
    o.among = 1;
    RUNS(EXPLORED, {"a", 1, 0, 0, .logp = -1}, {"bb", 0, 0, 1, .logp = -2});
    o.perplexity_ratio = 2.72; /* e and e^2: their ratio is e */
    expect(&o, "|a>bb", DM_PAIRS_DROPS, 0);
    o.perplexity_ratio = 2.71;
    expect_error(&o, DM_ERR_INPUT, "no pair is left of 1: 1 with perplexities too far apart");
    RUNS(EXPLORED, {"a", 1, 0, 0, .logp = -1}, {"bb", 0, 0, 1});
    expect_error(&o, DM_ERR_INPUT, "model 0 > model 1: the rejected side has no log-probabilities; --perplexity-ratio");

    RUNS(EXPERT, {"a", 1, 0}, {"a", 1, 1});
    RUNS(EXPLORED, {"b", 0, 0, 0}, {"c", 0, 0, 1}, {"d", 0, 0, 2}, {"e", 0, 1, 0});
    o = options_of("ex");
    o.per_task = 2;
    expect(&o, "|a>b |a>c |a>e", DM_PAIRS_DROP_PER_TASK, 1);
}

static void check_limit(void)
{
    run runs[26];
    static char letters[26][2];
    dm_pairs first = {0}, p = {0};
    size_t same = 0;

    for (int i = 0; i < 26; i++) {
        letters[i][0] = (char)('a' + i);
        runs[i] = (run){.letters = letters[i], .sample = i};
    }
    write_runs(EXPLORED, runs, 26);
    RUNS(EXPERT, {"Z", 1, 0});
    dm_pairs_options o = options_of("ex");
    o.limit = 5;
    CK(dm_pairs_make(&first, &o, NULL) == DM_OK && first.n == 5 && first.dropped[DM_PAIRS_DROP_LIMIT] == 21);
    for (size_t i = 1; i < first.n; i++) /* in their order */
        CK(strcmp(first.pair[i - 1].rejected.turn->action, first.pair[i].rejected.turn->action) < 0);
    for (o.seed = 0; o.seed < 10; o.seed++) {
        bool equal = dm_pairs_make(&p, &o, NULL) == DM_OK && p.n == 5;
        for (size_t i = 0; i < p.n; i++)
            equal = equal && strcmp(p.pair[i].id, first.pair[i].id) == 0;
        same += equal;
        CK(equal || o.seed > 0);
        dm_pairs_close(&p);
    }
    CK_MSG(same < 10, "every seed chooses the same");
    dm_pairs_close(&first);
    o.limit = 26;
    CK(dm_pairs_make(&p, &o, NULL) == DM_OK && p.n == 26);
    dm_pairs_close(&p);
}

int main(void)
{
    name_files("pairs");
    check_matching();
    check_runs();
    check_forms();
    check_sft();
    check_continuations();
    check_refine();
    check_degrade();
    check_filters();
    check_limit();
    remove_files();
    return ck_done("pairs");
}
