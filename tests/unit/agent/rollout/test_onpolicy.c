/* On-policy exactness: what sampling says of a token is what scoring and the first forward of training compute, bit for
 * bit, for every token of every episode: in all environments, greedy and at two temperatures, alone and in a batch, of
 * f32 weights and of quantised ones with an adapter. The model says anything: words that are tokenized otherwise than
 * they were sampled, bytes that are no text, nothing at all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs.h"
#include "agent/rollout/rollout.h"
#include "core/files/file.h"
#include "model/api.h"
#include "model/formats/write.h"
#include "model/train/run.h"
#include "tests/support/check.h"
#include "tests/support/speaker.h"
#include "tests/support/train_tool.h"

typedef struct totals {
    size_t tokens, empty, retokenized;
} totals;

static dmpo_engine *open_engine(void)
{
    dmpo_engine *engine;
    dmpo_error error = {0};
    if (!CK_MSG(dmpo_engine_open(&engine, NULL, 2, &error) == DMPO_OK, "%s", error.message))
        exit(ck_done("onpolicy"));
    return engine;
}

static void play(dmpo_engine *engine, dm_rollout_options *o, const char *output, int64_t at_once)
{
    dm_rollout_status status;
    dm_error err = {0};

    o->output = output;
    o->at_once = at_once;
    CK_MSG(dm_rollout(engine, o, NULL, NULL, &status, &err) == DM_OK, "%s: %s", output, err.message);
}

/* ---- the tokens of an episode against a trajectory's ---- */

/* Leading turns that were given have no log-probabilities. */
static void compare(const dm_episode *e, const int32_t *ids, const dm_span *turns, size_t n_turns, const float *logp,
                    const char *who)
{
    if (!CK_MSG(n_turns == e->turns, "%s: %s has %zu turns of %zu", e->id, who, n_turns, e->turns))
        return;
    for (size_t k = 0; k < e->turns; logp += turns[k].end - turns[k].begin, k++) {
        const dm_episode_turn *t = &e->turn[k];
        const size_t n = turns[k].end - turns[k].begin;
        CK_MSG(t->ids && n == t->n_ids && memcmp(ids + turns[k].begin, t->ids, n * sizeof *ids) == 0,
               "%s: turn %zu: %s has other ids", e->id, k, who);
        CK_MSG(k < (size_t)e->replayed ? !t->token_logps
                                       : t->token_logps && memcmp(logp, t->token_logps, n * sizeof *logp) == 0,
               "%s: turn %zu: %s has other log-probabilities", e->id, k, who);
    }
}

typedef struct scoring {
    const dm_episodes *e;
    size_t n;
} scoring;

static int compare_score(void *context, const dmpo_scored *s)
{
    scoring *c = context;
    dm_span span[64];

    for (size_t k = 0; k < s->turns && k < 64; k++)
        span[k] = (dm_span){s->turn[k].begin, s->turn[k].end};
    compare(&c->e->episode[s->item], s->ids, span, s->turns, s->logp, "scoring");
    c->n++;
    return 0;
}

static void check_score(dmpo_engine *engine, const dm_train_options *o, const dm_episodes *e)
{
    scoring c = {e, 0};
    dmpo_error error = {0};
    CK_MSG(dm_score(engine, o, compare_score, &c, NULL, NULL, &error) == DMPO_OK, "%s", error.message);
    CK_MSG(c.n == e->n, "%zu of %zu episodes scored", c.n, e->n);
}

/* As training begins: the forward pass of each item whose gradient is taken. */
static void check_training(dmpo_engine *engine, const dm_train_options *o, const dm_episodes *e)
{
    dm_run run;
    dm_error err = {0};
    dmpo_metrics m;
    dm_status s = dm_run_open(&run, &engine->e, o, NULL, NULL, &err);

    if (s == DM_OK)
        s = dm_run_place(&run, &err);
    CK(s != DM_OK || run.train.data.n == e->n);
    for (uint32_t i = 0; s == DM_OK && i < e->n; i++) {
        const dm_data_trajectory *t = &run.train.data.items[i].chosen;
        if ((s = dm_run_gradient(&run, &i, 1, &m, &err)) == DM_OK)
            compare(&e->episode[i], t->ids, t->turns, t->n_turns, run.memory.objective.logp[0], "training");
    }
    CK_MSG(s == DM_OK, "%s", err.message);
    dm_run_close(&run);
}

/* ---- the cases ---- */

static void count(totals *sum, const dm_episodes *e, const dm_tokenizer *t)
{
    for (size_t i = 0; i < e->n; i++)
        for (size_t k = 0; k < e->episode[i].turns; k++) {
            const dm_episode_turn *turn = &e->episode[i].turn[k];
            dm_ids again = {0};
            CK(dm_tokenizer_encode(t, turn->action, strlen(turn->action), false, &again, NULL) == DM_OK);
            sum->tokens += turn->n_ids;
            sum->empty += !*turn->action;
            sum->retokenized += again.size + 1 != turn->n_ids ||
                                (again.size > 0 && memcmp(again.data, turn->ids, again.size * sizeof *again.data) != 0);
            dm_ids_free(&again);
        }
}

static dm_train_options training_on(const char *model, const char *data, const char *output)
{
    dm_train_options o;
    dm_train_defaults(&o, DM_OBJECTIVE_SFT);
    o.model = model;
    o.data = data;
    o.output = output;
    o.batch = 1;
    o.max_length = 2048;
    o.overwrite = true;
    return o;
}

static void check_case(dmpo_engine *engine, const char *model, const char *env, double temperature,
                       const dm_tokenizer *t, totals *sum)
{
    dm_rollout_options o;
    dm_episodes e;
    dm_error err = {0};
    const char *const batched = at("batched.jsonl");

    dm_rollout_defaults(&o);
    o.env = env;
    o.model = model;
    o.tasks = 2;
    o.samples = 2;
    o.temperature = temperature;
    o.max_turns = 4;
    o.max_tokens = 9;
    o.overwrite = true;
    play(engine, &o, at("alone.jsonl"), 1);
    play(engine, &o, batched, 3);
    CK_MSG(same_file(at("alone.jsonl"), batched), "%s: alone and in a batch differ", env);
    if (!CK_MSG(dm_episodes_read(&e, &batched, 1, &err) == DM_OK, "%s", err.message))
        return;
    const dm_train_options train_options = training_on(model, batched, at("out"));
    check_score(engine, &train_options, &e);
    check_training(engine, &train_options, &e);
    count(sum, &e, t);
    dm_episodes_close(&e);
}

/* A continuation keeps the tokens of the turns that it was given. */
static void check_continuation(dmpo_engine *engine, const char *model)
{
    dm_rollout_options o;
    dm_episodes e;
    dm_error err = {0};
    const char *const continued = at("continued.jsonl");

    dm_rollout_defaults(&o);
    o.from = at("batched.jsonl");
    o.model = model;
    o.continue_at = 2;
    o.temperature = 1;
    o.max_turns = 4;
    o.max_tokens = 9;
    o.seed = 1;
    o.overwrite = true;
    play(engine, &o, continued, 2);
    if (!CK_MSG(dm_episodes_read(&e, &continued, 1, &err) == DM_OK && e.n > 0, "%s", err.message))
        return;
    const dm_train_options train_options = training_on(model, continued, at("out"));
    check_score(engine, &train_options, &e);
    dm_episodes_close(&e);
}

typedef struct sides {
    const dm_episodes *e;
    size_t same, n;
} sides;

/* The ids of a side are those of the episode that says the same in the same task. */
static int compare_side(void *context, const dmpo_scored *s)
{
    sides *c = context;

    c->n++;
    for (size_t i = 0; i < c->e->n; i++) {
        const dm_episode *e = &c->e->episode[i];
        const float *logp = s->logp;
        bool same = e->turns == s->turns;
        for (size_t k = 0; k < s->turns && same; k++) {
            const size_t n = s->turn[k].end - s->turn[k].begin;
            same = e->turn[k].n_ids == n && memcmp(e->turn[k].token_logps, logp, n * sizeof *logp) == 0 &&
                   memcmp(e->turn[k].ids, s->ids + s->turn[k].begin, n * sizeof *s->ids) == 0;
            logp += n;
        }
        if (same) {
            c->same++;
            break;
        }
    }
    return 0;
}

/* Both sides of pairs are the runs as they were sampled, empty answers included. */
static void check_pairs(dmpo_engine *engine, const char *model, const char *plain)
{
    dm_rollout_options o;
    dm_episodes e;
    dm_pairs p;
    dm_pairs_options po;
    dm_text text = {0};
    dm_error err = {0};
    dmpo_error error = {0};
    const char *const runs = at("runs.jsonl");

    dm_rollout_defaults(&o);
    o.env = "shop";
    o.model = model;
    o.tasks = 2;
    o.samples = 3;
    o.temperature = 1;
    o.max_turns = 3;
    o.max_tokens = 9;
    play(engine, &o, runs, 4);
    if (!CK(dm_episodes_read(&e, &runs, 1, &err) == DM_OK))
        return;
    dm_text lines = {0}; /* rewards that differ: sample 0 is the best */
    for (size_t i = 0; i < e.n; i++) {
        e.episode[i].reward = 1.0 / (double)(1 + e.episode[i].sample);
        dm_episode_write(&lines, &e.episode[i]);
    }
    CK(dm_file_write(at("rewarded.jsonl"), lines.data, lines.size, &err) == DM_OK);
    dm_text_free(&lines);
    const char *const rewarded = at("rewarded.jsonl");
    dm_pairs_defaults(&po);
    po.among = true;
    po.explored = (dm_pairs_files){&rewarded, 1};
    if (CK_MSG(dm_pairs_make(&p, &po, &err) == DM_OK, "%s", err.message)) {
        CK(p.n == 2);
        dm_pairs_write(&text, &p, true);
        CK(dm_file_write(at("pairs.json"), text.data, text.size, &err) == DM_OK);
        dm_pairs_close(&p);
    }
    sides c = {.e = &e};
    dm_train_options train_options = training_on(model, at("pairs.json"), at("out"));
    CK_MSG(dm_score(engine, &train_options, compare_side, &c, NULL, NULL, &error) == DMPO_OK, "%s", error.message);
    CK_MSG(c.n == 4 && c.same == 4, "%zu of %zu sides are runs as they were sampled", c.same, c.n);
    c = (sides){.e = &e}; /* another tokenizer's ids are not taken: the words are tokenized */
    train_options.model = plain;
    CK_MSG(dm_score(engine, &train_options, compare_side, &c, NULL, NULL, &error) == DMPO_OK, "%s", error.message);
    CK_MSG(c.n == 4 && c.same == 0, "another model's %zu of %zu sides are these ids", c.same, c.n);
    dm_text_free(&text);
    dm_episodes_close(&e);
}

/* Quantised weights, and an adapter that two steps have moved. */
static void make_adapter(dmpo_engine *engine, const char *model, const char *adapter)
{
    dm_source *source;
    dm_error err = {0};
    char hex[DM_SHA256_HEX];

    if (!CK_MSG(dm_source_open(&source, model, &err) == DM_OK, "%s", err.message))
        return;
    CK_MSG(dm_write_gguf(at("base.gguf"), true, source, dm_weight_reader_of_source(source), DM_Q8_0, hex, &err) ==
               DM_OK,
           "%s", err.message);
    dm_source_close(&source);
    dm_train_options o = training_on(at("base.gguf"), at("batched.jsonl"), adapter);
    dmpo_error error = {0};
    dm_train_result result;
    o.lora_rank = 4;
    o.lr = 0.01;
    o.steps = 2;
    CK_MSG(dm_train(engine, &o, NULL, NULL, &result, &error) == DMPO_OK, "%s", error.message);
}

int main(void)
{
    static const char *const envs[] = {"home", "shop", "lab"};
    static const double temperatures[] = {0, 0.7, 1};
    totals sum = {0};

    work_open();
    const char *const models[] = {at("model"), at("adapter")};
    dmpo_engine *engine = open_engine();
    dm_tokenizer *t;
    dm_chat_template chat;
    make_speaker(models[0], DM_TEMPLATE_CHATML, true);
    make_speaker(at("plain"), DM_TEMPLATE_PLAIN, true);
    speaker_tokenizer(&t, &chat, DM_TEMPLATE_CHATML, true, NULL);
    for (int m = 0; m < 2; m++) {
        if (m == 1)
            make_adapter(engine, models[0], models[1]);
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 3; k++)
                check_case(engine, models[m], envs[i], temperatures[k], t, &sum);
        check_continuation(engine, models[m]);
    }
    check_pairs(engine, models[0], at("plain"));
    CK_MSG(sum.empty > 0 && sum.retokenized > 0, "%zu turns are empty, %zu are tokenized otherwise: both must happen",
           sum.empty, sum.retokenized);
    printf("onpolicy: %zu tokens, %zu turns without words, %zu turns that are tokenized otherwise\n", sum.tokens,
           sum.empty, sum.retokenized);
    dm_template_close(&chat);
    dm_tokenizer_close(&t);
    dmpo_engine_close(&engine);
    work_close();
    return ck_done("onpolicy");
}
