/* Rollouts: the file is the same for any number of episodes at once, of threads, on any level, and after a stop at any
 * place; what a model saw and how probable it found its words is what training sees in that file, bit for bit;
 * continuations begin where they say. The model is random but speaks letters only, so that its words are tokenized as
 * they were generated. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/rollout/rollout.h"
#include "core/cpu.h"
#include "core/files/file.h"
#include "dmpo.h"
#include "tests/support/check.h"
#include "tests/support/speaker.h"
#include "tests/support/train_tool.h"

#define TASKS 5
#define SAMPLES 2

/* ---- a conversation grows as it is rendered ---- */

static void check_continue(dm_template_kind kind)
{
    static const char *const texts[] = {
        "Be brief.",           "Instruction.",    "OK", "Task: \xC3\xA9t\xC3\xA9", "Action: go",
        "Observation: a\n b ", "Action: stop now"};
    dm_tokenizer *t;
    dm_chat_template c;
    dm_error err = {0};

    speaker_tokenizer(&t, &c, kind, false, NULL);
    for (size_t first = 0; first < 2; first++) { /* with a system message and without */
        dm_message m[7];
        dm_span span[7];
        dm_ids whole = {0}, grown = {0};
        size_t n = 0, spans, none;
        for (size_t i = first; i < 7; i++, n++)
            m[n] = (dm_message){.role = i == 0  ? DM_ROLE_SYSTEM
                                        : i % 2 ? DM_ROLE_USER
                                                : DM_ROLE_ASSISTANT,
                                .text = texts[i],
                                .size = strlen(texts[i]),
                                .train = i > 2};
        CK(dm_template_render(&c, t, &(dm_conversation){.messages = m, .n = n}, false, &whole, span, &spans, &err) ==
               DM_OK &&
           spans == 2);
        CK(dm_template_render(&c, t, &(dm_conversation){.messages = m, .n = n - 3}, true, &grown, NULL, &none, &err) ==
           DM_OK);
        CK_MSG(grown.size == span[0].begin, "%s: the prompt has %zu tokens, the first turn begins at %zu",
               dm_template_name(kind), grown.size, span[0].begin);
        for (size_t i = span[0].begin; i < span[0].end; i++) /* the turn as a model would say it */
            dm_ids_push(&grown, whole.data[i], NULL);
        CK(dm_template_continue(&c, t, &(dm_conversation){.messages = m, .n = n - 1}, &grown, &err) == DM_OK);
        CK_MSG(grown.size == span[1].begin && memcmp(grown.data, whole.data, grown.size * sizeof *grown.data) == 0,
               "%s: what follows a turn differs from the whole conversation's rendering", dm_template_name(kind));

        dm_text said = {0};
        CK(dm_tokenizer_decode(t, whole.data + span[0].begin, span[0].end - span[0].begin, true, &said, &err) == DM_OK);
        const char *words = said.data;
        size_t size = said.size;
        dm_template_words(&c, t, &words, &size);
        CK_MSG(size == strlen(texts[4]) && memcmp(words, texts[4], size) == 0, "%s: the words are '%.*s'",
               dm_template_name(kind), (int)size, words);
        dm_text_free(&said);
        m[n - 2].text = "\xFF";
        m[n - 2].size = 1;
        CK(dm_template_continue(&c, t, &(dm_conversation){.messages = m, .n = n - 1}, &grown, &err) == DM_ERR_INPUT);
        dm_ids_free(&whole);
        dm_ids_free(&grown);
    }
    dm_template_close(&c);
    dm_tokenizer_close(&t);
}

/* ---- a model that plays ---- */

static dm_rollout_options speaker(const char *model, const char *output)
{
    dm_rollout_options o;
    dm_rollout_defaults(&o);
    o.env = "home";
    o.split = DM_ENV_SPLIT_SEEN;
    o.model = model;
    o.output = output;
    o.first = 3;
    o.tasks = TASKS;
    o.samples = SAMPLES;
    o.temperature = 1;
    o.top_k = 8;
    o.max_turns = 4;
    o.max_tokens = 7;
    return o;
}

typedef struct played {
    dm_status s;
    dm_rollout_status status;
    char message[DM_ERROR_MAX];
} played;

static played play(const dm_rollout_options *o, const char *isa, unsigned threads, dm_rollout_fn fn, void *context)
{
    played p = {0};
    dmpo_engine *engine;
    dmpo_error error;
    dm_error err = {0};

    if (!CK_MSG(dmpo_engine_open(&engine, isa, threads, &error) == DMPO_OK, "%s", error.message))
        exit(ck_done("rollout"));
    p.s = dm_rollout(engine, o, fn, context, &p.status, &err);
    dmpo_engine_close(&engine);
    memcpy(p.message, err.message, sizeof p.message);
    return p;
}

static void must_play(const dm_rollout_options *o, const char *isa, unsigned threads)
{
    const played p = play(o, isa, threads, NULL, NULL);
    CK_MSG(p.s == DM_OK && p.status.written == p.status.total, "%s: %s", o->output, p.message);
}

static void must_fail(const dm_rollout_options *o, dm_status s, const char *says)
{
    const played p = play(o, "scalar", 1, NULL, NULL);
    CK_MSG(p.s == s && strstr(p.message, says), "status %d, '%s' instead of %d, '... %s ...'", (int)p.s, p.message,
           (int)s, says);
}

static void must_read(dm_episodes *e, const char *path, size_t n)
{
    dm_error err = {0};
    if (!CK_MSG(dm_episodes_read(e, &path, 1, &err) == DM_OK, "%s", err.message) ||
        !CK_MSG(e->n == n, "%s: %zu episodes instead of %zu", path, e->n, n))
        exit(ck_done("rollout"));
}

/* ---- the same file however it is played ---- */

static void check_same_everywhere(const char *model)
{
    static const int64_t at_once[] = {2, 3, 32};
    dm_rollout_options o = speaker(model, at("one.jsonl"));
    dm_episodes e;

    o.at_once = 1;
    must_play(&o, "scalar", 1);
    must_read(&e, o.output, TASKS * SAMPLES);
    CK(strcmp(e.episode[0].id, "home/seen/3/0/0") == 0 && strcmp(e.episode[3].id, "home/seen/4/0/1") == 0);
    CK(strcmp(e.episode[0].turn[0].action, e.episode[1].turn[0].action) != 0); /* samples differ */
    size_t cut = 0, ended = 0;
    for (size_t i = 0; i < e.n; i++)
        for (size_t k = 0; k < e.episode[i].turns; k++)
            *(e.episode[i].turn[k].tokens == o.max_tokens + 1 ? &cut : &ended) += 1;
    CK_MSG(cut > 0 && ended > 0, "%zu turns were cut, %zu ended by themselves: both must happen", cut, ended);
    dm_episodes_close(&e);
    o.output = at("many.jsonl");
    o.overwrite = 1;
    for (int isa = 0; isa < DM_ISA_COUNT; isa++) {
        if (!dm_isa_usable((dm_isa)isa))
            continue;
        for (size_t i = fast() ? 2 : 0; i < 3; i++) {
            o.at_once = at_once[i];
            must_play(&o, dm_isa_name((dm_isa)isa), 1 + (unsigned)i);
            CK_MSG(same_file(at("one.jsonl"), o.output), "%s, %lld at once: another file", dm_isa_name((dm_isa)isa),
                   (long long)at_once[i]);
        }
    }
}

/* ---- stopped, killed, asked for something else ---- */

static int stop_after(void *context, const dm_rollout_status *s, const char *note)
{
    (void)note;
    return s->done >= *(int64_t *)context;
}

static void write_part(const char *path, const char *text, size_t size)
{
    CK(dm_file_write(path, text, size, NULL) == DM_OK);
}

static void check_restart(const char *model)
{
    dm_rollout_options o = speaker(model, at("part.jsonl"));
    char *whole = slurp(at("one.jsonl")), run[PATH];
    const size_t size = whole ? strlen(whole) : 0;

    o.at_once = 3;
    for (int64_t stop = fast() ? 3 : 0; stop < 8; stop += fast() ? 8 : 3) {
        const played p = play(&o, "scalar", 1, stop_after, &stop);
        CK_MSG(p.s == DM_ERR_INTERRUPTED && strstr(p.message, "stopped after"), "'%s'", p.message);
    }
    must_play(&o, NULL, 2);
    CK_MSG(same_file(at("one.jsonl"), o.output), "stopped and continued: another file");
    const size_t line = whole ? strcspn(whole, "\n") + 1 : 0;
    const size_t cuts[] = {0, 1, line - 1, line, line + 1, size - 1, size};
    for (size_t i = fast() ? 4 : 0; whole && i < sizeof cuts / sizeof *cuts; i++) {
        write_part(o.output, whole, cuts[i]);
        must_play(&o, NULL, 1);
        CK_MSG(same_file(at("one.jsonl"), o.output), "killed at byte %zu of %zu: another file", cuts[i], size);
    }
    write_part(o.output, whole ? whole : "", line);
    o.seed = 1;
    must_fail(&o, DM_ERR_INPUT, "\"seed\": \"0\" there, \"seed\": \"1\" now");
    o.seed = 0;
    o.tasks++;
    must_fail(&o, DM_ERR_INPUT, "\"tasks\": 5 there, \"tasks\": 6 now");
    o.tasks--;
    o.model = at("llama3");
    must_fail(&o, DM_ERR_INPUT, "\"tokenizer_sha256\": ");
    o.model = model;
    if (whole)
        memcpy(strstr(whole, "seen/3"), "seen/4", 6);
    write_part(o.output, whole ? whole : "", line);
    must_fail(&o, DM_ERR_INPUT, "is 'home/seen/4/0/0', must be 'home/seen/3/0/0'");
    snprintf(run, sizeof run, "%s.run.json", o.output);
    CK(unlink(run) == 0);
    must_fail(&o, DM_ERR_FILE, "without the");
    o.overwrite = 1;
    must_play(&o, NULL, 1);
    CK(same_file(at("one.jsonl"), o.output));
    free(whole);
}

/* ---- what training sees ---- */

typedef struct compare {
    const dm_episodes *e;
    size_t scored, turns;
} compare;

static const dm_episode *find(const dm_episodes *e, const char *id)
{
    for (size_t i = 0; i < e->n; i++)
        if (strcmp(e->episode[i].id, id) == 0)
            return &e->episode[i];
    return NULL;
}

static int compare_scored(void *context, const dmpo_scored *s)
{
    compare *c = context;
    const dm_episode *e = find(c->e, s->id);

    if (!CK_MSG(e && e->turns == s->turns, "%s: other turns", s->id))
        return 0;
    c->scored++;
    for (size_t k = 0; k < s->turns; k++, c->turns++) {
        const dm_episode_turn *t = &e->turn[k];
        CK_MSG((size_t)t->tokens == s->turn[k].end - s->turn[k].begin, "%s: turn %zu has %lld tokens, scored %zu",
               s->id, k, (long long)t->tokens, s->turn[k].end - s->turn[k].begin);
        CK_MSG(memcmp(&t->logp, &s->turn[k].logp, sizeof t->logp) == 0, "%s: turn %zu has logp %.17g, scored %.17g",
               s->id, k, t->logp, s->turn[k].logp);
    }
    return 0;
}

static void check_scores(const char *model, dm_template_kind kind)
{
    dm_rollout_options o = speaker(model, at("scored.jsonl"));
    dm_episodes e;
    compare c = {.e = &e};
    dm_train_options t;
    dmpo_engine *engine;
    dmpo_error error = {0};

    o.overwrite = 1;
    must_play(&o, NULL, 0);
    must_read(&e, o.output, TASKS * SAMPLES);
    dm_train_defaults(&t, DM_OBJECTIVE_SFT);
    t.model = model;
    t.data = o.output;
    CK(dmpo_engine_open(&engine, NULL, 0, &error) == DMPO_OK);
    CK_MSG(dm_score(engine, &t, compare_scored, &c, NULL, NULL, &error) == DMPO_OK, "%s", error.message);
    CK_MSG(c.scored == TASKS * SAMPLES && c.turns >= (size_t)o.max_turns * TASKS, "%s: only %zu episodes were compared",
           dm_template_name(kind), c.scored);
    dmpo_engine_close(&engine);
    dm_episodes_close(&e);
}

/* ---- continuations ---- */

/* A greedy policy that continues its own episode says again what it said. */
static void check_continuations(const char *model)
{
    dm_rollout_options o = speaker(model, at("greedy.jsonl"));
    dm_episodes source, e;
    size_t turns = 0, at_turn = 0;

    o.temperature = 0;
    o.samples = 1;
    must_play(&o, NULL, 1);
    must_read(&source, o.output, TASKS);
    for (size_t i = 0; i < source.n; i++)
        turns += source.episode[i].turns;
    o.from = o.output;
    o.env = NULL;
    o.samples = 2;
    o.output = at("continued.jsonl");
    must_play(&o, NULL, 2);
    must_read(&e, o.output, 2 * turns);
    for (size_t i = 0; i < source.n; i++)
        for (size_t t = 0; t < source.episode[i].turns; t++, at_turn++)
            for (size_t k = 0; k < 2; k++) {
                const dm_episode *a = &source.episode[i], *b = &e.episode[2 * at_turn + k];
                char id[96];
                snprintf(id, sizeof id, "home/seen/%lld/0/%zu@%zu", (long long)a->task, k, t);
                CK_MSG(strcmp(id, b->id) == 0, "'%s' instead of '%s'", b->id, id);
                CK(b->replayed == (int64_t)t && a->turns == b->turns && a->reward == b->reward);
                for (size_t n = 0; n < a->turns; n++) {
                    const dm_episode_turn *x = &a->turn[n], *y = &b->turn[n];
                    CK_MSG(strcmp(x->action, y->action) == 0 && strcmp(x->observation, y->observation) == 0,
                           "%s: turn %zu differs from the source's", b->id, n);
                    CK(n < t ? isnan(y->logp) && y->tokens == 0 : y->logp == x->logp && y->tokens == x->tokens);
                }
            }
    dm_episodes_close(&e);
    o.continue_at = 3;
    o.overwrite = 1;
    must_play(&o, NULL, 1);
    must_read(&e, o.output, 2 * TASKS);
    CK(e.episode[0].replayed == 3);
    dm_episodes_close(&e);
    o.continue_at = 4;
    must_fail(&o, DM_ERR_INPUT, "no episode has more than 4 turns");
    o.env = "shop";
    o.continue_at = DM_ROLLOUT_CONTINUE_ALL;
    must_fail(&o, DM_ERR_INPUT, "the environment gives its task in other words");
    dm_episodes_close(&source);
}

/* ---- players without a model, limits, options ---- */

static void check_scripted(void)
{
    dm_rollout_options o = speaker(NULL, at("scripted.jsonl"));
    dm_episodes e;

    o.max_turns = 0;
    o.player = DM_ROLLOUT_PLAYER_EXPERT;
    must_play(&o, NULL, 1);
    must_read(&e, o.output, TASKS * SAMPLES);
    for (size_t i = 0; i < e.n; i++) {
        const dm_episode *x = &e.episode[i];
        CK(x->reward >= 1 && x->done && strcmp(x->end, "done") == 0 && strcmp(x->policy, "expert") == 0 && !x->model);
        CK(strncmp(x->turn[0].action, "Action: ", 8) == 0 && isnan(x->turn[0].logp));
        CK(strncmp(x->turn[0].observation, "Observation: ", 13) == 0);
        CK(strcmp(x->turn[x->turns - 1].action, e.episode[i / 2 * 2].turn[x->turns - 1].action) == 0);
    }
    dm_episodes_close(&e);
    o.player = DM_ROLLOUT_PLAYER_RANDOM;
    o.output = at("random.jsonl");
    must_play(&o, NULL, 1);
    must_read(&e, o.output, TASKS * SAMPLES);
    const dm_episode *x = e.episode;
    CK(strcmp(x[0].turn[0].action, x[1].turn[0].action) != 0 || strcmp(x[0].turn[1].action, x[1].turn[1].action) != 0);
    CK(strcmp(x[0].end, "turns") == 0 && x[0].reward <= 0);
    dm_episodes_close(&e);
    o.output = at("random2.jsonl");
    must_play(&o, "scalar", 1);
    CK(same_file(at("random.jsonl"), at("random2.jsonl")));
    o.overwrite = 1;
    o.seed = 5;
    must_play(&o, "scalar", 1);
    CK(!same_file(at("random.jsonl"), at("random2.jsonl")));
}

/* An end of text of generation_config.json ends a turn as that token's text in --stop does. */
static void check_end(const char *model, const dm_rollout_options *stopped)
{
    dm_rollout_options o = *stopped;
    dmpo_tokenizer *t = NULL;
    const dmpo_encoding *e = NULL;
    char path[PATH], text[64];

    CK(dmpo_tokenizer_open(&t, model, NULL, NULL, NULL) == DMPO_OK &&
       dmpo_tokenizer_encode(t, o.stop, 1, 0, &e, NULL) == DMPO_OK && e->n == 1);
    snprintf(text, sizeof text, "{\"eos_token_id\": [%d]}", e ? (int)e->ids[0] : 0);
    dmpo_tokenizer_close(&t);
    CK(dm_file_write(join(path, model, "generation_config.json"), text, strlen(text), NULL) == DM_OK);
    o.stop = NULL;
    o.output = at("ends.jsonl");
    must_play(&o, NULL, 1);
    CK(same_file(stopped->output, o.output));
    unlink(path);
}

static void check_limits(const char *model)
{
    dm_rollout_options o = speaker(model, at("limits.jsonl"));
    dm_episodes e;

    o.overwrite = 1;
    o.max_turns = 0;
    o.tasks = 1;
    o.samples = 3;
    o.max_length = 700;
    must_play(&o, NULL, 1);
    must_read(&e, o.output, 3);
    for (size_t i = 0; i < e.n; i++)
        CK(strcmp(e.episode[i].end, "length") == 0 && !e.episode[i].done && e.episode[i].turns > 0);
    dm_episodes_close(&e);
    o.max_length = 20; /* not even the task fits */
    must_play(&o, NULL, 1);
    must_read(&e, o.output, 3);
    CK(e.episode[0].turns == 0 && strcmp(e.episode[0].end, "length") == 0);
    dm_episodes_close(&e);
    o.max_length = 8;
    must_fail(&o, DM_ERR_ARGUMENT, "leave no room for a prompt");

    o.max_length = 0;
    o.max_turns = 4;
    o.max_tokens = 30;
    o.stop = "e";
    must_play(&o, NULL, 1);
    must_read(&e, o.output, 3);
    size_t stopped = 0;
    for (size_t i = 0; i < e.n; i++)
        for (size_t k = 0; k < e.episode[i].turns; k++) {
            const char *words = e.episode[i].turn[k].action, *stop = strchr(words, 'e');
            CK_MSG(!stop || !stop[1], "'%s' continues after the text that stops it", words);
            if (stop && CK_MSG((size_t)e.episode[i].turn[k].tokens == strlen(words) + 1, "'%s': %lld tokens", words,
                               (long long)e.episode[i].turn[k].tokens))
                stopped++;
        }
    CK(stopped > 0);
    dm_episodes_close(&e);
    check_end(model, &o);
}

static void check_options(const char *model)
{
    dm_rollout_options o = speaker(model, at("none.jsonl"));

    o.env = "palace";
    must_fail(&o, DM_ERR_ARGUMENT, "environment 'palace' is not one of");
    o.env = NULL;
    must_fail(&o, DM_ERR_ARGUMENT, "no environment given");
    o.env = "home";
    o.first = 1 << 20;
    must_fail(&o, DM_ERR_ARGUMENT, "split seen of home has 0 to");
    o.first = 0;
    o.player = DM_ROLLOUT_PLAYER_EXPERT;
    must_fail(&o, DM_ERR_ARGUMENT, "who plays");
    o.player = DM_ROLLOUT_PLAYER_MODEL;
    o.top_p = 0;
    must_fail(&o, DM_ERR_ARGUMENT, "`top-p`");
    o.top_p = 1;
    o.model = at("nowhere");
    must_fail(&o, DM_ERR_FILE, "nowhere: cannot open");
    CK(access(o.output, F_OK) != 0); /* nothing was begun */
    o.model = model;
    o.output = at("none/none.jsonl");
    must_fail(&o, DM_ERR_FILE, "none/none.jsonl");
}

int main(void)
{
    static const dm_template_kind kinds[] = {DM_TEMPLATE_PLAIN, DM_TEMPLATE_CHATML, DM_TEMPLATE_LLAMA3};

    work_open();
    for (int kind = 0; kind < DM_TEMPLATE_COUNT; kind++)
        check_continue((dm_template_kind)kind);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *model = at(dm_template_name(kinds[i]));
        make_speaker(model, kinds[i], false);
        if (!fast() || i == 1)
            check_scores(model, kinds[i]);
    }
    check_same_everywhere(at("plain"));
    check_restart(at("plain"));
    check_continuations(at("chatml"));
    check_scripted();
    check_limits(at("plain"));
    check_options(at("plain"));
    work_close();
    return ck_done("rollout");
}
