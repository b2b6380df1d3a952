/* Pairs as a file of data, and figures of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs_internal.h"

typedef struct writer {
    dm_text *out;
    bool spell_training; /* every message of the agent says whether it is trained */
    bool any;            /* a message is there already */
} writer;

static void add_message(writer *w, dm_role role, const char *text, bool train)
{
    static const char *const names[] = {"system", "human", "gpt"};

    dm_text_print(w->out, "%s{\"from\": \"%s\", \"value\": ", w->any ? ", " : "", names[role]);
    dm_text_json_string(w->out, text, strlen(text));
    if (w->spell_training && role == DM_ROLE_ASSISTANT)
        dm_text_print(w->out, ", \"train\": %s", train ? "true" : "false");
    dm_text_add(w->out, "}", 1);
    w->any = true;
}

static void add_prompt(writer *w, const dm_pair *p)
{
    for (size_t i = 0; i < p->n_prompt; i++)
        add_message(w, p->prompt[i].role, p->prompt[i].text, false);
}

static void add_side(writer *w, const dm_pairs_side *s)
{
    for (size_t i = 0; i < s->turns; i++) {
        add_message(w, DM_ROLE_ASSISTANT, s->turn[i].action, true);
        if (i + 1 < s->turns)
            add_message(w, DM_ROLE_USER, s->turn[i].observation, false);
    }
}

static void add_score(dm_text *out, const char *key, double score)
{
    if (isnan(score))
        return;
    dm_text_print(out, ", \"%s\": ", key);
    dm_text_json_double(out, score);
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
    writer w = {.out = out};

    dm_text_add(out, "{\"id\": ", 7);
    dm_text_json_string(out, p->id, strlen(p->id));
    if (p->rejected.turns == 0) {
        w.spell_training = !authors_prompt(p);
        dm_text_print(out, ", \"conversations\": [");
        add_prompt(&w, p);
        add_side(&w, &p->chosen);
        dm_text_print(out, "]");
        add_score(out, "score", p->chosen.score);
    } else {
        dm_text_print(out, ", \"prompt\": [");
        add_prompt(&w, p);
        dm_text_print(out, "], \"chosen\": [");
        w.any = false;
        add_side(&w, &p->chosen);
        dm_text_print(out, "], \"rejected\": [");
        w.any = false;
        add_side(&w, &p->rejected);
        dm_text_print(out, "]");
        add_score(out, "chosen_score", p->chosen.score);
        add_score(out, "rejected_score", p->rejected.score);
    }
    dm_text_print(out, "}");
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
