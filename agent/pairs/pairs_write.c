/* Pairs as a file of data, and figures of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs_internal.h"
#include "io/json_writer.h"

typedef struct style {
    bool spell_training;   /* every message of the agent says whether it is trained */
    const char *tokenizer; /* whose ids are written; NULL: none */
} style;

/* Sides that were sampled with two tokenizers keep the ids of the chosen one. */
static const char *tokenizer_of(const dm_pair *p)
{
    return p->chosen.tokenizer ? p->chosen.tokenizer : p->rejected.tokenizer;
}

static void put_message(dm_json_writer *w, const dm_message *m, const style *how)
{
    static const char *const names[] = {"system", "human", "gpt"};

    dm_json_open_object(w, NULL);
    dm_json_put_string(w, "from", names[m->role]);
    dm_json_put_string(w, "value", m->text);
    if (how->spell_training && m->role == DM_ROLE_ASSISTANT)
        dm_json_put_bool(w, "train", m->train);
    if (how->tokenizer)
        dm_episode_put_ids(w, &(dm_episode_turn){.ids = m->ids, .n_ids = m->n_ids});
    dm_json_close_value(w);
}

/* The prompt is the chosen side's. */
static void put_prompt(dm_json_writer *w, const dm_pair *p, bool spell_training)
{
    const style how = {spell_training, p->chosen.tokenizer};

    for (size_t i = 0; i < p->n_prompt; i++)
        put_message(w, &p->prompt[i], &how);
}

static void put_side(dm_json_writer *w, const dm_pair *p, const dm_pairs_side *s, bool spell_training)
{
    const bool same = s->tokenizer && strcmp(s->tokenizer, tokenizer_of(p)) == 0;
    const style how = {spell_training, same ? s->tokenizer : NULL};

    for (size_t i = 0; i < s->turns; i++) {
        const dm_episode_turn *t = &s->turn[i];
        put_message(w,
                    &(dm_message){
                        .role = DM_ROLE_ASSISTANT, .text = t->action, .train = true, .ids = t->ids, .n_ids = t->n_ids},
                    &how);
        if (i + 1 < s->turns)
            put_message(w, &(dm_message){.role = DM_ROLE_USER, .text = t->observation}, &how);
    }
}

static void put_list(dm_json_writer *w, const char *key, const dm_pair *p, const dm_pairs_side *s)
{
    dm_json_open_array(w, key);
    put_side(w, p, s, false);
    dm_json_close_value(w);
}

static void put_score(dm_json_writer *w, const char *key, double score)
{
    if (!isnan(score))
        dm_json_put_double(w, key, score);
}

/* A conversation whose prompt is the authors' (instruction, OK, task) is read as it should be; of another one the
 * reader could not tell which answers belong to the prompt. */
static bool authors_prompt(const dm_pair *p)
{
    const size_t system = p->prompt[0].role == DM_ROLE_SYSTEM;
    return p->n_prompt == system + DM_EPISODE_PROMPT;
}

static void write_pair(dm_text *out, const dm_pair *p)
{
    dm_json_writer w = {.out = out};

    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "id", p->id);
    if (tokenizer_of(p))
        dm_json_put_string(&w, "tokenizer", tokenizer_of(p));
    if (p->rejected.turns == 0) {
        const bool spell_training = !authors_prompt(p);
        dm_json_open_array(&w, "conversations");
        put_prompt(&w, p, spell_training);
        put_side(&w, p, &p->chosen, spell_training);
        dm_json_close_value(&w);
        put_score(&w, "score", p->chosen.score);
    } else {
        dm_json_open_array(&w, "prompt");
        put_prompt(&w, p, false);
        dm_json_close_value(&w);
        put_list(&w, "chosen", p, &p->chosen);
        put_list(&w, "rejected", p, &p->rejected);
        put_score(&w, "chosen_score", p->chosen.score);
        put_score(&w, "rejected_score", p->rejected.score);
    }
    dm_json_close_value(&w);
}

void dm_pairs_write(dm_text *out, const dm_pairs *p, bool list)
{
    dm_text_print(out, list ? "[\n" : "");
    for (size_t i = 0; i < p->n; i++) {
        write_pair(out, &p->pair[i]);
        dm_text_print(out, list && i + 1 < p->n ? ",\n" : "\n");
    }
    dm_text_print(out, list ? "]\n" : "");
}

/* ---- figures ---- */

typedef struct sums {
    size_t turns, bytes, rewards;
    double reward;
} sums;

static void add_figures(dm_pairs_side_statistics *f, sums *sum, const dm_pairs_side *s)
{
    const size_t bytes = dm_pairs_side_bytes(s);

    sum->turns += s->turns;
    sum->bytes += bytes;
    f->turns.max = s->turns > f->turns.max ? s->turns : f->turns.max;
    f->bytes.max = bytes > f->bytes.max ? bytes : f->bytes.max;
    if (!isnan(s->score)) {
        sum->rewards++;
        sum->reward += s->score;
    }
}

static void finish(dm_pairs_side_statistics *f, const sums *sum, size_t n)
{
    f->turns.mean = (double)sum->turns / (double)n;
    f->bytes.mean = (double)sum->bytes / (double)n;
    f->reward = sum->rewards ? sum->reward / (double)sum->rewards : NAN;
}

dm_status dm_pairs_measure(dm_pairs_statistics *out, const dm_pairs *p, dm_error *err)
{
    sums chosen = {0}, rejected = {0};
    size_t tasks = 0, shared = 0;

    *out = (dm_pairs_statistics){0};
    for (size_t i = 0; i < p->n; i++)
        tasks = p->pair[i].task >= tasks ? p->pair[i].task + 1 : tasks;
    bool *there = calloc(tasks ? tasks : 1, sizeof *there);
    if (!there)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the figures of %zu tasks", tasks);
    for (size_t i = 0; i < p->n; i++) {
        const dm_pair *x = &p->pair[i];
        add_figures(&out->chosen, &chosen, &x->chosen);
        add_figures(&out->rejected, &rejected, &x->rejected);
        shared += x->shared;
        out->shared.max = x->shared > out->shared.max ? x->shared : out->shared.max;
        out->tasks += !there[x->task];
        there[x->task] = true;
    }
    free(there);
    finish(&out->chosen, &chosen, p->n);
    finish(&out->rejected, &rejected, p->n);
    out->shared.mean = (double)shared / (double)p->n;
    return DM_OK;
}
