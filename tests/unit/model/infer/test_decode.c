/* Generation: what a request gives depends neither on the others in the call, nor on what is remembered, nor on the
 * engine; what is known is not computed again; and conversations that are served together are those that are held one
 * after the other. Cold runs of one sequence at a time are the reference; they themselves are held against the logits
 * of dmpo_model_logits. */
#include "dmpo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "tests/support/check.h"

#define SLOTS 6
#define LENGTH 360
#define PROMPT 300
#define TOKENS 9

typedef struct answer {
    int32_t out[TOKENS];
    float logps[TOKENS];
    size_t n, reused;
} answer;

typedef struct question {
    int32_t ids[LENGTH];
    size_t n;
    dmpo_sampling sampling;
} question;

static unsigned state = 7;

static int32_t random_id(size_t vocabulary)
{
    state = state * 1664525u + 1013904223u;
    return (int32_t)((state >> 8) % vocabulary);
}

static dmpo_model *open_model(dmpo_engine *engine, const char *dir, size_t slots)
{
    dmpo_model *m = NULL;
    dmpo_error error;
    if (!CK_MSG(dmpo_model_open(&m, engine, dir, slots, LENGTH, &error) == DMPO_OK, "%s", error.message))
        exit(ck_done("decode"));
    return m;
}

static dmpo_request ask(const question *q, size_t slot, answer *a)
{
    return (dmpo_request){.size = sizeof(dmpo_request),
                          .slot = slot,
                          .ids = q->ids,
                          .n = q->n,
                          .sampling = &q->sampling,
                          .out = a->out,
                          .logps = a->logps};
}

static void generate(dmpo_model *m, const question *q, answer *a, size_t n, size_t first_slot)
{
    dmpo_request r[SLOTS];
    dmpo_error error;

    for (size_t i = 0; i < n; i++)
        r[i] = ask(&q[i], (first_slot + i) % SLOTS, &a[i]);
    CK_MSG(dmpo_model_generate(m, r, n, NULL, NULL, &error) == DMPO_OK, "%s", error.message);
    for (size_t i = 0; i < n; i++) {
        a[i].n = r[i].n_out;
        a[i].reused = r[i].reused;
    }
}

static void same(const char *what, const answer *got, const answer *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        CK_MSG(got[i].n == want[i].n && memcmp(got[i].out, want[i].out, want[i].n * sizeof *want[i].out) == 0 &&
                   memcmp(got[i].logps, want[i].logps, want[i].n * sizeof *want[i].logps) == 0,
               "%s: request %zu differs from the same one alone", what, i);
}

/* Greedy picks the largest logit of the row that a pass over the whole sequence gives, and logp is its log-softmax. */
static void check_greedy(dmpo_model *m, const question *q, const answer *a)
{
    const size_t vocab = dmpo_model_vocabulary(m), n = q->n + a->n - 1;
    float *logits = malloc(n * vocab * sizeof *logits);
    int32_t ids[LENGTH];
    dmpo_error error;

    if (!logits)
        exit(1);
    memcpy(ids, q->ids, q->n * sizeof *ids);
    memcpy(ids + q->n, a->out, (a->n - 1) * sizeof *ids);
    CK_MSG(dmpo_model_logits(m, ids, n, logits, &error) == DMPO_OK, "%s", error.message);
    for (size_t k = 0; k < a->n; k++) {
        const float *row = logits + (q->n - 1 + k) * vocab;
        size_t best = 0;
        double sum = 0;
        for (size_t i = 1; i < vocab; i++)
            if (row[i] > row[best])
                best = i;
        for (size_t i = 0; i < vocab; i++)
            sum += exp((double)row[i] - (double)row[best]);
        CK_MSG(a->out[k] == (int32_t)best, "token %zu is %d, the largest logit is %zu's", k, (int)a->out[k], best);
        CK(fabs((double)a->logps[k] + log(sum)) < 1e-5);
    }
    free(logits);
}

static void questions(question *q, size_t vocab)
{
    int32_t task[PROMPT];
    for (size_t i = 0; i < PROMPT; i++)
        task[i] = random_id(vocab);
    for (size_t i = 0; i < SLOTS; i++) { /* 0, 1: the same; 2: 200 tokens in common with them; 3: one token; 4, 5:
                                            apart, but for a chance token */
        q[i].n = i == 3 ? 1 : i == 4 ? 33 : PROMPT;
        for (size_t k = 0; k < q[i].n; k++)
            q[i].ids[k] = i < 2 || (i == 2 && k < 200) ? task[k] : random_id(vocab);
        q[i].sampling = (dmpo_sampling){.size = sizeof(dmpo_sampling),
                                        .temperature = i % 2 ? 0.9 : 0,
                                        .top_p = i == 5 ? 0.8 : 1,
                                        .top_k = i == 1 ? 5 : 0,
                                        .seed = 3,
                                        .episode = i,
                                        .max_tokens = i == 4 ? 2 : TOKENS};
    }
}

/* The next turn: prompt, answer, a new observation. */
static void next_turn(question *q, const answer *a, size_t vocab)
{
    memcpy(q->ids + q->n, a->out, a->n * sizeof *a->out);
    q->n += a->n;
    for (size_t k = 0; k < 17; k++)
        q->ids[q->n++] = random_id(vocab);
}

/* ---- an end that is given; conversations served ---- */

/* What is appended to a cut answer has the log-probability that it has in the whole sequence. */
static void check_end(dmpo_model *m, const question *q)
{
    const int32_t end = 11, never = -1;
    int32_t out[TOKENS + 1], ids[LENGTH];
    float logps[TOKENS + 1], want[LENGTH];
    dmpo_error error;
    dmpo_request r = {
        .size = sizeof r, .ids = q->ids, .n = q->n, .sampling = &q->sampling, .out = out, .logps = logps, .end = &end};

    CK_MSG(dmpo_model_generate(m, &r, 1, NULL, NULL, &error) == DMPO_OK, "%s", error.message);
    const size_t cut = r.n_out - 1;
    CK(out[cut] == end && cut <= (size_t)q->sampling.max_tokens);
    memcpy(ids, q->ids, q->n * sizeof *ids);
    memcpy(ids + q->n, out, r.n_out * sizeof *ids);
    CK(dmpo_model_logprobs(m, ids, q->n + r.n_out, want, &error) == DMPO_OK);
    for (size_t k = 0; k < r.n_out; k++)
        CK_MSG(memcmp(&logps[k], &want[q->n - 1 + k], sizeof *logps) == 0, "token %zu: %g instead of %g", k,
               (double)logps[k], (double)want[q->n - 1 + k]);
    dmpo_sampling one;
    dmpo_sampling_defaults(&one, sizeof one);
    one.max_tokens = 1;
    r.sampling = &one;
    r.end = NULL;
    CK(dmpo_model_generate(m, &r, 1, NULL, NULL, &error) == DMPO_OK && r.n_out == 1);
    const int32_t greedy = out[0];
    r.end = &greedy; /* what it ends with already is not appended */
    CK(dmpo_model_generate(m, &r, 1, NULL, NULL, &error) == DMPO_OK && r.n_out == 1 && out[0] == greedy);
    r.end = &never;
    CK(dmpo_model_generate(m, &r, 1, NULL, NULL, &error) == DMPO_ERR_ARGUMENT);
}

typedef struct server {
    question q[SLOTS];
    dmpo_request r[SLOTS];
    answer got[2][SLOTS];
    size_t turns[SLOTS], calls;
    int stop;
} server;

/* Two turns each; the last request has none. */
static int next_turn_of(void *context, size_t i)
{
    server *s = context;
    const size_t turn = s->turns[i];

    s->calls++;
    if (i == SLOTS - 1 || turn > 2 || s->stop)
        return s->stop ? -1 : 0;
    if (turn > 0)
        s->got[turn - 1][i].n = s->r[i].n_out;
    if (turn == 1) {
        memcpy(s->q[i].ids + s->q[i].n, s->got[0][i].out, s->got[0][i].n * sizeof(int32_t));
        s->q[i].n += s->got[0][i].n;
        s->q[i].ids[s->q[i].n++] = (int32_t)i;
    }
    s->turns[i]++;
    if (turn == 2)
        return 0;
    s->r[i] = ask(&s->q[i], i, &s->got[turn][i]);
    return 1;
}

static void check_serve(dmpo_model *m, const question *first)
{
    static server s;
    dmpo_error error;

    s = (server){.calls = 0};
    memcpy(s.q, first, sizeof s.q);
    for (size_t i = 0; i < SLOTS; i++)
        s.r[i] = (dmpo_request){.size = sizeof s.r[i], .slot = i};
    CK_MSG(dmpo_model_generate_continuous(m, s.r, SLOTS, next_turn_of, NULL, &s, &error) == DMPO_OK, "%s",
           error.message);
    for (size_t i = 0; i + 1 < SLOTS; i++) { /* the same two turns asked for one after the other */
        question q = first[i];
        answer want[2] = {{.n = 0}};
        generate(m, &q, &want[0], 1, i);
        memcpy(q.ids + q.n, want[0].out, want[0].n * sizeof(int32_t));
        q.n += want[0].n;
        q.ids[q.n++] = (int32_t)i;
        generate(m, &q, &want[1], 1, i);
        CK(s.turns[i] == 3);
        same("served, first turn", &s.got[0][i], &want[0], 1);
        same("served, second turn", &s.got[1][i], &want[1], 1);
    }
    CK(s.turns[SLOTS - 1] == 0);
    s = (server){.stop = 1};
    for (size_t i = 0; i < SLOTS; i++)
        s.r[i] = (dmpo_request){.size = sizeof s.r[i], .slot = i};
    CK(dmpo_model_generate_continuous(m, s.r, SLOTS, next_turn_of, NULL, &s, &error) == DMPO_OK && s.calls == 1);
    s.r[1].slot = 0;
    CK(dmpo_model_generate_continuous(m, s.r, SLOTS, next_turn_of, NULL, &s, &error) == DMPO_ERR_ARGUMENT);
}

static void check_model(const char *dir)
{
    question first[SLOTS], second[SLOTS];
    answer want[2][SLOTS], got[SLOTS];
    dmpo_engine *engine;
    dmpo_error error;

    CK_MSG(dmpo_engine_open(&engine, "scalar", 1, &error) == DMPO_OK, "%s", error.message);
    dmpo_model *m = open_model(engine, dir, 1);
    const size_t vocab = dmpo_model_vocabulary(m);
    questions(first, vocab);
    memcpy(second, first, sizeof first);
    dmpo_model_close(&m);
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < SLOTS; i++) {
            const question *q = turn ? &second[i] : &first[i];
            m = open_model(engine, dir, 1);
            generate(m, q, &want[turn][i], 1, 0);
            CK(want[turn][i].reused == 0);
            if (q->sampling.temperature <= 0)
                check_greedy(m, q, &want[turn][i]);
            dmpo_model_close(&m);
            if (turn == 0)
                next_turn(&second[i], &want[0][i], vocab);
        }
    dmpo_engine_close(&engine);

    for (int isa = 0; isa < DM_ISA_COUNT; isa++)
        for (unsigned threads = 1; threads <= 3; threads += 2) {
            if (!dm_isa_usable((dm_isa)isa))
                continue;
            CK_MSG(dmpo_engine_open(&engine, dm_isa_name((dm_isa)isa), threads, &error) == DMPO_OK, "%s",
                   error.message);
            m = open_model(engine, dir, SLOTS);
            generate(m, first, got, SLOTS, 0);
            same("together", got, want[0], SLOTS);
            CK_MSG(got[1].reused == PROMPT - 1 && got[2].reused == 200 && got[5].reused < 8,
                   "shared prompts: %zu, %zu and %zu tokens were known", got[1].reused, got[2].reused, got[5].reused);
            generate(m, second, got, SLOTS, 0);
            same("the next turn", got, want[1], SLOTS);
            for (size_t i = 0; i < SLOTS; i++)
                CK_MSG(got[i].reused >= first[i].n + want[0][i].n - 1,
                       "turn 2 of request %zu: only %zu tokens were known", i, got[i].reused);
            generate(m, first, got, SLOTS, 2); /* back in time, in other slots */
            same("again in other slots", got, want[0], SLOTS);
            check_end(m, &first[4]);
            check_serve(m, first);
            dmpo_model_close(&m);
            dmpo_engine_close(&engine);
        }
}

static int stop_at_third(void *context, size_t index, int32_t id, float logp)
{
    size_t *count = context;
    (void)id;
    (void)logp;
    return ++count[index] == 3;
}

static void check_ends(const char *dir)
{
    question q[SLOTS];
    answer a[SLOTS], b;
    dmpo_engine *engine;
    dmpo_error error;
    size_t count[2] = {0, 0};

    CK(dmpo_engine_open(&engine, NULL, 1, &error) == DMPO_OK);
    dmpo_model *m = open_model(engine, dir, SLOTS);
    questions(q, dmpo_model_vocabulary(m));
    generate(m, q, a, 2, 0);

    dmpo_request r[2] = {ask(&q[0], 0, &b), ask(&q[1], 1, &a[3])};
    q[1].sampling.max_tokens = 0;
    CK(dmpo_model_generate(m, r, 2, stop_at_third, count, &error) == DMPO_OK && r[0].n_out == 3 && r[1].n_out == 0);
    CK(memcmp(b.out, a[0].out, 3 * sizeof *b.out) == 0);
    q[0].sampling.stop = &a[0].out[1];
    q[0].sampling.n_stop = 1;
    CK(dmpo_model_generate(m, r, 1, NULL, NULL, &error) == DMPO_OK && r[0].n_out <= 2 &&
       b.out[r[0].n_out - 1] == a[0].out[1]);

    r[1].size -= 8;
    CK(dmpo_model_generate(m, r, 2, NULL, NULL, &error) == DMPO_ERR_ARGUMENT && strstr(error.message, "has size"));
    r[1].size += 8;
    q[0].sampling.size = 0;
    CK(dmpo_model_generate(m, r, 1, NULL, NULL, &error) == DMPO_ERR_ARGUMENT && strstr(error.message, "dmpo_sampling"));
    q[0].sampling.size = sizeof(dmpo_sampling);
    r[1].slot = 0;
    CK(dmpo_model_generate(m, r, 2, NULL, NULL, &error) == DMPO_ERR_ARGUMENT && strstr(error.message, "same slot"));
    r[1].slot = SLOTS;
    CK(dmpo_model_generate(m, r, 2, NULL, NULL, &error) == DMPO_ERR_ARGUMENT && strstr(error.message, "slot"));
    q[0].ids[5] = -1;
    CK(dmpo_model_generate(m, r, 1, NULL, NULL, &error) == DMPO_ERR_ARGUMENT && strstr(error.message, "token 5"));
    dmpo_model_close(&m);
    CK(dmpo_model_open(&m, engine, dir, 0, 10, &error) == DMPO_ERR_ARGUMENT && m == NULL);
    CK(dmpo_model_open(&m, engine, dir, 257, 10, &error) == DMPO_ERR_ARGUMENT && m == NULL);
    dmpo_engine_close(&engine);
}

int main(void)
{
    static const char *const cases[] = {"llama-tied-gqa", "mistral-window", "qwen2-bias", "qwen3-qknorm"};
    const char *root = getenv("SRC");
    const size_t n = getenv("DMPO_TEST_FAST") ? 2 : sizeof cases / sizeof *cases;
    char dir[4096];

    for (size_t i = 0; i < n; i++) {
        snprintf(dir, sizeof dir, "%s/tests/golden/%s/model", root ? root : ".", cases[i]);
        check_model(dir);
        if (i == 0)
            check_ends(dir);
    }
    return ck_done("decode");
}
