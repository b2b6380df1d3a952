/* Training data from episodes: every form and option against an example worked out by hand, broken inputs, and that the
 * data reader reads back what was made. A run is written as the letters of its actions; the environment answers with
 * all letters so far. A pair is written "prompt|chosen>rejected": "ab|c>d" has two shared turns in its prompt. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/pairs.h"
#include "core/file.h"
#include "core/philox.h"
#include "io/dataset.h"
#include "tests/check.h"

/* Runs are written down with what matters in them; the rest is zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

enum { EXPERT, EXPLORED, CONTINUATIONS, FROM, OUTPUT, FILES };

static char file[FILES][64];
static const char *const file_path[FILES] = {file[0], file[1], file[2], file[3], file[4]};

/* ---- writing episodes ---- */

typedef struct run {
    const char *letters;
    double reward;
    int64_t task, sample, replayed;
    double logp; /* of a token; each turn has 4 */
    const char *end, *env, *task_text;
} run;

static void add_run(dm_text *out, const run *r, const char *policy)
{
    char action[64][16], answer[64][96];
    dm_episode_turn turn[64] = {{0}};
    const size_t n = strlen(r->letters);
    const dm_episode e = {.id = "x",
                          .env = r->env ? r->env : "letters",
                          .task = r->task,
                          .sample = r->sample,
                          .policy = policy,
                          .replayed = r->replayed,
                          .reward = r->reward,
                          .done = 1,
                          .end = r->end ? r->end : "done",
                          .prompt = {"You are.", "OK", r->task_text ? r->task_text : "Do it."},
                          .turn = turn,
                          .turns = n};
    for (size_t i = 0; i < n; i++) {
        snprintf(action[i], sizeof action[i], r->letters[i] == ' ' ? " \t" : "Action: %c", r->letters[i]);
        snprintf(answer[i], sizeof answer[i], "Observation: %.*s", (int)i + 1, r->letters);
        turn[i] = (dm_episode_turn){.action = action[i], .observation = answer[i], .logp = NAN};
        if (r->logp < 0) {
            turn[i].logp = 4 * r->logp;
            turn[i].tokens = 4;
        }
    }
    dm_episode_write(out, &e);
}

static void write_runs(int which, const run *runs, size_t n)
{
    dm_text text = {0};
    for (size_t i = 0; i < n; i++)
        add_run(&text, &runs[i], which == EXPERT ? "expert" : "model");
    CK(!text.failed && dm_file_write(file[which], text.size ? text.data : "", text.size, NULL) == DM_OK);
    dm_text_free(&text);
}

#define RUNS(which, ...) write_runs(which, (const run[]){__VA_ARGS__}, sizeof((const run[]){__VA_ARGS__}) / sizeof(run))

static void write_text(int which, const char *text)
{
    CK(dm_file_write(file[which], text, strlen(text), NULL) == DM_OK);
}

/* ---- reading pairs ---- */

static dm_pairs_options options_of(const char *sources)
{
    dm_pairs_options o;
    dm_pairs_defaults(&o);
    for (const char *c = sources; *c; c++) {
        const int which = *c == 'e' ? EXPERT : *c == 'x' ? EXPLORED : *c == 'c' ? CONTINUATIONS : FROM;
        dm_files *const to[] = {&o.expert, &o.explored, &o.continuations, &o.pairs};
        to[which]->path = &file_path[which];
        to[which]->n = 1;
    }
    return o;
}

static void add_letters(dm_text *t, const dm_side *s)
{
    for (size_t i = 0; i < s->turns; i++)
        dm_text_add(t, s->turn[i].action + strlen("Action: "), 1);
}

static void add_pair(dm_text *t, const dm_pair *p)
{
    for (size_t i = DM_EPISODE_PROMPT; i < p->n_prompt; i += 2)
        dm_text_add(t, p->prompt[i].text + strlen("Action: "), 1);
    dm_text_add(t, "|", 1);
    add_letters(t, &p->chosen);
    if (p->rejected.turns) {
        dm_text_add(t, ">", 1);
        add_letters(t, &p->rejected);
    }
}

/* The pairs are `want`, separated by blanks, and `dropped` of them went for `why` (DM_DROPS: none was dropped). */
static void expect(const dm_pairs_options *o, const char *want, dm_drop why, size_t dropped)
{
    dm_pairs p;
    dm_error err = {0};
    dm_text got = {0};

    if (!CK_MSG(dm_pairs_make(&p, o, &err) == DM_OK, "%s: %s", want, err.message))
        return;
    for (size_t i = 0; i < p.n; i++) {
        dm_text_add(&got, " ", i ? 1 : 0);
        add_pair(&got, &p.pair[i]);
    }
    CK_MSG(strcmp(got.data, want) == 0, "made %s, not %s", got.data, want);
    size_t all = 0;
    for (int i = 0; i < DM_DROPS; i++)
        all += p.dropped[i];
    CK_MSG(all + p.n == p.candidates, "%s: %zu of %zu candidates are not counted", want, p.candidates - all - p.n,
           p.candidates);
    if (why == DM_DROPS)
        CK_MSG(all == 0, "%s: %zu are dropped", want, all);
    else
        CK_MSG(p.dropped[why] == dropped, "%s: %zu are dropped as %s, not %zu", want, p.dropped[why],
               dm_drop_texts[why].key, dropped);
    dm_text_free(&got);
    dm_pairs_close(&p);
}

static void expect_error(const dm_pairs_options *o, dm_status status, const char *says)
{
    dm_pairs p;
    dm_error err = {0};
    const dm_status s = dm_pairs_make(&p, o, &err);
    CK_MSG(s == status && strstr(err.message, says), "status %d, '%s' instead of '%s'", (int)s, err.message, says);
    CK(p.n == 0 && !p.pair && !p.memory);
}

/* ---- matching ---- */

static void check_matching(void)
{
    RUNS(EXPERT, {"abc", 1, 0}, {"ab", 0.5, 2});
    RUNS(EXPLORED, {"abd", 0.5, 0, 0}, {"c", 1, 2, 0}, {"q", 0, 1, 0}, {"ax", 0, 0, 1}, {"abcd", 1, 0, 2});
    dm_pairs_options o = options_of("ex");
    expect(&o, "|abc>abd |abc>ax |c>ab", DM_DROP_TIE, 1); /* tasks in order, in a task the files' order */
    expect(&o, "|abc>abd |abc>ax |c>ab", DM_DROP_UNMATCHED, 1);
    o.margin = 0.5; /* must be exceeded */
    expect(&o, "|abc>ax", DM_DROP_TIE, 3);
    o.margin = 0.25;
    expect(&o, "|abc>abd |abc>ax |c>ab", DM_DROP_TIE, 1);

    o = options_of("x");
    o.among = 1; /* abcd is the best of task 0, ax the worst; the other tasks have one run */
    expect(&o, "|abcd>ax", DM_DROP_UNMATCHED, 2);
    o = options_of("ex");
    o.among = 1;
    expect(&o, "|abc>abd |abc>ax |abcd>ax |c>ab", DM_DROP_UNMATCHED, 3);
    RUNS(EXPLORED, {"b", 1, 0, 0}, {"a", 0, 0, 1}, {"c", 1, 0, 2}, {"d", 0, 0, 3}, {"e", 1, 1, 0}, {"f", 1, 1, 1});
    o = options_of("x");
    o.among = 1; /* of equal ones the first */
    expect(&o, "|b>a", DM_DROP_TIE, 1);

    /* what makes a task: environment, split, task and seed */
    RUNS(EXPERT, {"a", 1, 0});
    RUNS(EXPLORED, {"b", 0, 0, .env = "others"}, {"c", 0, 0});
    o = options_of("ex");
    expect(&o, "|a>c", DM_DROP_UNMATCHED, 1);
    RUNS(EXPLORED, {"b", 0, 0, .task_text = "Do that."}, {"c", 0, 0}, {"d", 0, 0, .end = "environment"}, {"", 0, 0},
         {"e ", 0, 0});
    expect(&o, "|a>c", DM_DROP_PROMPT, 1);
    expect(&o, "|a>c", DM_DROP_FAILED, 1);
    expect(&o, "|a>c", DM_DROP_EMPTY, 2); /* no turn; a turn of white space, which the reader refuses */

    /* a file that is given twice adds nothing, and its pairs' names stay distinct */
    const char *const twice[] = {file[EXPLORED], file[EXPLORED]};
    o.explored = (dm_files){twice, 2};
    expect(&o, "|a>c", DM_DROP_DUPLICATE, 1);
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
    expect(&o, "|abc>abdefg |abc>dd", DM_DROP_LOW, 1);
    o = options_of("ex");
    o.max_turns = 5;
    expect(&o, "|abc>dd |ab>c", DM_DROP_LONG, 1);
    o.max_turns = 2; /* of the chosen run too */
    expect(&o, "|ab>c", DM_DROP_LONG, 2);
    o = options_of("ex");
    o.max_repeats = 1; /* dd: the answer to the second d is not part of the run */
    expect(&o, "|abc>abdefg |ab>c", DM_DROP_REPEATS, 1);
    o.max_repeats = 2;
    expect(&o, "|abc>abdefg |abc>dd |ab>c", DM_DROPS, 0);
    o = options_of("ex");
    o.cut = 1;
    expect(&o, "|abc>abde |abc>dd |ab>c", DM_DROPS, 0);
    o.cut = 0;
    expect(&o, "|abc>abd |abc>dd |ab>c", DM_DROPS, 0);
    RUNS(EXPERT, {"abc", 1, 0});
    RUNS(EXPLORED, {"abcde", 0.5, 0}, {"d", 0, 0, 1});
    expect(&o, "|abc>d", DM_DROP_IDENTICAL, 1); /* by the cut */
    RUNS(EXPLORED, {"abababa", 0.5, 0}, {"aaa", 0, 0, 1});
    o = options_of("ex");
    o.max_repeats = 2; /* letters so far: no answer comes twice, but the last action's is open */
    expect(&o, "|abc>abababa |abc>aaa", DM_DROPS, 0);
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
    expect(&o, "ab|c>x |a>p", DM_DROP_CONTAINED, 2);
    o.form = DM_PAIRS_SEGMENT; /* 4 and 3 turns are left, 6 and 2 */
    expect(&o, "ab|cde>xyz |ab>pq", DM_DROP_CONTAINED, 2);
    o.segment_turns = 2;
    expect(&o, "ab|cd>xy |ab>pq", DM_DROP_CONTAINED, 2);
    o.form = DM_PAIRS_WHOLE;
    o.segment_turns = 0;
    expect(&o, "|abcdef>abxyz |abcdef>pq |abcdef>abc |abcdef>abcdefgh", DM_DROPS, 0);

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
    expect(&o, "|ab>ac", DM_DROPS, 0);
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
    expect(&o, "|abc |xbc |ybc |zbc |de |fg |h", DM_DROP_DUPLICATE, 2);
    expect(&o, "|abc |xbc |ybc |zbc |de |fg |h", DM_DROP_LOW, 1);
    o.min_chosen = 0.75;
    expect(&o, "|abc |xbc |ybc |zbc |de |q |fg |h", DM_DROP_DUPLICATE, 2);
    o.min_chosen = NAN;
    o.per_task = 2; /* explored ones */
    expect(&o, "|abc |xbc |ybc |de |fg |h", DM_DROP_PER_TASK, 1);
    o = options_of("x");
    o.form = DM_PAIRS_SFT;
    o.per_task = 1;
    expect(&o, "|xbc |fg |h", DM_DROP_PER_TASK, 3);
    o = options_of("e");
    o.form = DM_PAIRS_SFT;
    expect(&o, "|abc |de", DM_DROPS, 0);
}

/* The run's wrong turn is the first from which it could still have been better. */
static void check_continuations(void)
{
    RUNS(EXPLORED, {"abxy", 0.25, 0, 0}, {"pq", 0.5, 1, 0}, {"z", 0, 2, 0});
    RUNS(CONTINUATIONS, {"abxyw", 0.25, 0, 0, 3},                              /* behind its turns 0 to 2: no better */
         {"abcde", 0.75, 0, 0, 2}, {"abcdf", 1, 0, 1, 2}, {"abg", 1, 0, 2, 2}, /* the best is abcdf, the first of 1 */
         {"ah", 0.5, 0, 0, 1}, {"axyz", 0.25, 0, 1, 1},                        /* better, and earlier */
         {"k", 0, 0, 0, 0},                                                    /* worse */
         {"am", 1, 0, 0, 1, .end = "environment"},                             /* not to be believed */
         {"bcd", 1, 0, 0, 1},                                                  /* not a continuation of it */
         {"pr", 0.5, 1, 0, 1}, {"s", 0.5, 1, 0, 0});
    dm_pairs_options o = options_of("xc");
    o.form = DM_PAIRS_SEGMENT;
    expect(&o, "a|h>b", DM_DROP_TIE, 1); /* task 1: none is better; task 2: no continuation */
    expect(&o, "a|h>b", DM_DROP_UNMATCHED, 1);
    o.margin = 0.25; /* 0.5 is not above 0.25 + 0.25 */
    expect(&o, "ab|cd>xy", DM_DROP_TIE, 1);
    o.form = DM_PAIRS_STEP;
    expect(&o, "ab|c>x", DM_DROP_TIE, 1);
    o.form = DM_PAIRS_WHOLE;
    expect(&o, "|abcdf>abxy", DM_DROP_TIE, 1);
    o.segment_turns = 1;
    o.form = DM_PAIRS_SEGMENT;
    expect(&o, "ab|c>x", DM_DROP_TIE, 1);

    /* the continuation takes the run's own action once more: the segments begin where they differ */
    RUNS(EXPLORED, {"abxy", 0, 0, 0});
    RUNS(CONTINUATIONS, {"abcd", 1, 0, 0, 1});
    o = options_of("xc");
    o.form = DM_PAIRS_SEGMENT;
    expect(&o, "ab|cd>xy", DM_DROPS, 0);
}

/* ---- the degraded variant ---- */

static void check_degrade(void)
{
    RUNS(EXPERT, {"abc", 1, 0});
    RUNS(EXPLORED, {"defg", 0, 0, 0}, {"h", 0, 0, 1}, {"ij", 0, 0, 2});
    dm_pairs_options o = options_of("ex");
    o.degrade = DM_DEGRADE_REPEAT;
    o.degrade_turns = 4;
    bool seen[4] = {false};
    for (o.seed = 0; o.seed < 20; o.seed++) {
        /* the loop is of one to three turns in front of g; of i alone in front of j; of h, which was answered */
        static const char *const loops[] = {"", "deffffg", "defefefg", "defdefdg"};
        uint64_t counter = 0;
        const uint32_t k = 1 + dm_random_below(3, o.seed, DM_RNG_PAIRS, 1, &counter);
        char want[96];
        seen[k] = true;
        snprintf(want, sizeof want, "|abc>%s |abc>hhhhh |abc>iiiiij", k == 1 ? "defffffg" : loops[k]);
        expect(&o, want, DM_DROPS, 0);
    }
    CK(seen[1] && seen[2] && seen[3]);

    dm_pairs p, q;
    o.degrade = DM_DEGRADE_MEANINGLESS;
    o.invalid_answer = "What?";
    o.seed = 5;
    CK(dm_pairs_make(&p, &o, NULL) == DM_OK && p.n == 3);
    for (size_t i = 0; i < p.n; i++) {
        const dm_side *s = &p.pair[i].rejected;
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
    expect_error(&o, DM_ERR_INPUT, "environment 'letters' is none of");
    RUNS(EXPERT, {"abc", 1, 3, .env = "home"});
    RUNS(EXPLORED, {"defg", 0, 3, .env = "home"});
    CK_MSG(dm_pairs_make(&p, &o, &err) == DM_OK && p.n == 1, "%s", err.message);
    if (p.n == 1 && CK(dm_env_open(&env, "home", &err) == DM_OK)) {
        const dm_episode_turn *turn = p.pair[0].rejected.turn;
        for (int t = 3; t < 6; t++) {
            CK(dm_env_reset(env, DM_SPLIT_TRAIN, 3, 0, &answer, NULL) == DM_OK);
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
    expect(&o, "|kitten>sitting |kitten>xyz", DM_DROPS, 0);
    o.min_edit_distance = 0.43;
    expect(&o, "|kitten>xyz", DM_DROP_DISTANCE, 1);
    o.min_edit_distance = 1; /* kitten and xyz have nothing in common */
    expect(&o, "|kitten>xyz", DM_DROP_DISTANCE, 1);
    o.unit = DM_UNIT_TEXT;
    o.min_edit_distance = 12.0 / 70; /* "Action: g" and its line end are 10 bytes: 2 replaced, 10 more, of 70 */
    expect(&o, "|kitten>sitting |kitten>xyz", DM_DROPS, 0);
    o.min_edit_distance = 0.18;
    expect(&o, "|kitten>xyz", DM_DROP_DISTANCE, 1);
    o = options_of("ex");
    o.max_length_ratio = 7.0 / 6;
    expect(&o, "|kitten>sitting", DM_DROP_LENGTH, 1);
    o.max_length_ratio = 1.16;
    expect_error(&o, DM_ERR_INPUT, "no pair is left of 2: 2 with lengths too far apart");
    o.max_length_ratio = 2;
    o.unit = DM_UNIT_TEXT;
    expect(&o, "|kitten>sitting |kitten>xyz", DM_DROPS, 0);

    o = options_of("x");
    o.among = 1;
    RUNS(EXPLORED, {"a", 1, 0, 0, .logp = -1}, {"bb", 0, 0, 1, .logp = -2});
    o.perplexity_ratio = 2.72; /* e and e^2: their ratio is e */
    expect(&o, "|a>bb", DM_DROPS, 0);
    o.perplexity_ratio = 2.71;
    expect_error(&o, DM_ERR_INPUT, "no pair is left of 1: 1 with perplexities too far apart");
    RUNS(EXPLORED, {"a", 1, 0, 0, .logp = -1}, {"bb", 0, 0, 1});
    expect_error(&o, DM_ERR_INPUT, "model 0 > model 1: the rejected side has no log-probabilities; --perplexity-ratio");

    RUNS(EXPERT, {"a", 1, 0}, {"a", 1, 1});
    RUNS(EXPLORED, {"b", 0, 0, 0}, {"c", 0, 0, 1}, {"d", 0, 0, 2}, {"e", 0, 1, 0});
    o = options_of("ex");
    o.per_task = 2;
    expect(&o, "|a>b |a>c |a>e", DM_DROP_PER_TASK, 1);
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
    CK(dm_pairs_make(&first, &o, NULL) == DM_OK && first.n == 5 && first.dropped[DM_DROP_LIMIT] == 21);
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

/* ---- files ---- */

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
    expect(&o, "|a>b", DM_DROPS, 0); /* no scores: taken as they stand */
    o.form = DM_PAIRS_SFT;
    CK(dm_pairs_make(&p, &o, NULL) == DM_OK);
    dm_pairs_write(&again, &p, false);
    dm_pairs_close(&p);
    CK_MSG(strcmp(again.data,
                  "{\"id\": \"7\", \"conversations\": [{\"from\": \"human\", \"value\": \"Hi\"}, {\"from\": "
                  "\"gpt\", \"value\": \"Action: a\", \"train\": true}]}\n") == 0,
           "%s", again.data);
    o.min_chosen = 0.5; /* and not without a score where one is asked for */
    expect_error(&o, DM_ERR_INPUT, "no run is left of 1: 1 with a chosen run below the least reward");
    dm_text_free(&lines);
    dm_text_free(&list);
    dm_text_free(&again);
}

#define HUMAN "{\"from\": \"human\", \"value\": \"x\"}"
#define GPT "{\"from\": \"gpt\", \"value\": \"y\"}"
#define ITEM(prompt, chosen, rejected)                                                                                 \
    "{\"id\": \"i\", \"prompt\": " prompt ", \"chosen\": " chosen ", \"rejected\": " rejected "}\n"

static void check_broken(void)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"3\n", "must be a list of pairs"},
        {"[3]\n", ":1:2: item 0: must be an object"},
        {"{\"pairs\": [3]}\n", "item 0: must be an object"},
        {"{\"id\": \"i\"}\n", "item \"i\": \"prompt\" is missing: pairs are read as"},
        {ITEM("[]", "[" GPT "]", "[" GPT "]"), "\"prompt\" must be a list of messages that is not empty"},
        {ITEM("\"x\"", "[" GPT "]", "[" GPT "]"), "\"prompt\" must be a list of messages"},
        {ITEM("[" GPT "]", "[" GPT "]", "[" GPT "]"), "prompt[0]: user and agent must alternate"},
        {ITEM("[" HUMAN "," GPT "]", "[" GPT "]", "[" GPT "]"), "prompt[1]: the last message must be the user's"},
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
    REFUSED("ex", margin, -0.1, "--margin -0.1 is out of range; legal: 0 to 1");
    REFUSED("ex", margin, NAN, "--margin");
    REFUSED("ex", min_chosen, 1.5, "--min-chosen 1.5 is out of range; legal: 0 to 1");
    REFUSED("ex", min_edit_distance, 2, "--min-edit-distance 2 is out of range; legal: 0 to 1");
    REFUSED("ex", max_length_ratio, 0.5, "--max-length-ratio 0.5 is out of range; legal: 0 (any) or at least 1");
    REFUSED("ex", perplexity_ratio, HUGE_VAL, "--perplexity-ratio inf is out of range");
    REFUSED("ex", max_turns, -1, "--max-turns -1 is out of range; legal: 0 to 1000000000");
    REFUSED("ex", max_repeats, -1, "--max-repeats -1 is out of range");
    REFUSED("ex", cut, -2, "--cut -2 is out of range; legal: -1 to 1000000000");
    REFUSED("ex", degrade_turns, 0, "--degrade-turns 0 is out of range; legal: 1 to 10000");
    REFUSED("ex", per_task, -1, "--per-task -1 is out of range");
    REFUSED("ex", limit, -1, "--limit -1 is out of range");
    REFUSED("ex", segment_turns, 3, "--segment-turns is of --form segment only");
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
    CK(dm_tokenizer_train(&tokenizer, &nothing, &size, 1, 256 + n, 2, DM_SPLIT_GPT2, false, specials, n, NULL) ==
       DM_OK);
    CK(dm_template_open(&chat, dm_template_name(DM_TEMPLATE_PLAIN), NULL, tokenizer, NULL) == DM_OK);
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
            const dm_side *sides[] = {&p.pair[i].chosen, &p.pair[i].rejected};
            const dm_trajectory *read[] = {&d.items[i].chosen, &d.items[i].rejected};
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
                    o.degrade = how == 3 ? 1 + round % 2 : DM_DEGRADE_NONE;
                    o.invalid_answer = o.degrade == DM_DEGRADE_MEANINGLESS ? "No." : NULL;
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
        o.pairs = (dm_files){paths, 1};
        o.form = form;
        const size_t n = check_read_back(&o, path);
        CK_MSG(n > 50, "%s: %zu of form %d", path, n, form);
    }
    o.form = DM_PAIRS_WHOLE;
    o.cut = 5;
    o.degrade = DM_DEGRADE_REPEAT;
    CK(check_read_back(&o, path) > 50);
}

int main(int argc, char **argv)
{
    for (int i = 0; i < FILES; i++)
        snprintf(file[i], sizeof file[i], "/tmp/dmpo-test-pairs-%ld-%d", (long)getpid(), i);
    open_tokenizer();
    check_matching();
    check_runs();
    check_forms();
    check_sft();
    check_continuations();
    check_degrade();
    check_filters();
    check_limit();
    check_written();
    check_broken();
    check_options();
    check_property();
    const char *source = getenv("SRC");
    for (int i = 0; i < 2; i++) {
        char path[512];
        snprintf(path, sizeof path, "%.400s/../shared/data/%s_pref.json", source ? source : ".",
                 i ? "twx" : "sciworld");
        check_real(argc > 1 && i == 0 ? argv[1] : path);
    }
    dm_tokenizer_close(&tokenizer);
    for (int i = 0; i < FILES; i++)
        remove(file[i]);
    return ck_done("pairs");
}
