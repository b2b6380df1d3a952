/* What a run or a pair is like: lengths, repetition, shared turns, distances. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs_internal.h"
#include "core/numbers/exact.h"

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\n\v\f\r")] == '\0';
}

bool dm_pairs_side_empty(const dm_pairs_side *s)
{
    for (size_t i = 0; i < s->turns; i++)
        if (is_blank(s->turn[i].action) && !s->turn[i].ids)
            return true;
    return s->turns == 0;
}

static bool same_action(const dm_episode_turn *a, const dm_episode_turn *b)
{
    return strcmp(a->action, b->action) == 0;
}

static bool same_answer(const dm_episode_turn *a, const dm_episode_turn *b)
{
    return strcmp(a->observation, b->observation) == 0;
}

/* The last action's answer is not part of the side: it is taken for the one that the action had before. */
size_t dm_pairs_side_repeats(const dm_pairs_side *s)
{
    size_t most = 0;

    for (size_t i = 0; i < s->turns; i++) {
        size_t n = 0;
        for (size_t j = i; j < s->turns; j++)
            n += same_action(&s->turn[i], &s->turn[j]) && (j + 1 == s->turns || same_answer(&s->turn[i], &s->turn[j]));
        most = n > most ? n : most;
    }
    return most;
}

size_t dm_pairs_sides_shared(const dm_pairs_side *a, const dm_pairs_side *b)
{
    const size_t least = a->turns < b->turns ? a->turns : b->turns;

    for (size_t i = 0; i < least; i++) {
        const bool last = i + 1 == a->turns || i + 1 == b->turns;
        if (!same_action(&a->turn[i], &b->turn[i]) || (!last && !same_answer(&a->turn[i], &b->turn[i])))
            return i;
    }
    return least;
}

size_t dm_pairs_side_bytes(const dm_pairs_side *s)
{
    size_t bytes = 0;

    for (size_t i = 0; i < s->turns; i++)
        bytes += strlen(s->turn[i].action) + (i + 1 < s->turns ? strlen(s->turn[i].observation) : 0);
    return bytes;
}

/* ---- distances, between turns (equal when their actions are) or between the bytes of all actions ---- */

/* The agent's words, each followed by a line end. */
static bool words_of(dm_text *out, const dm_pairs_side *s)
{
    for (size_t i = 0; i < s->turns; i++)
        dm_text_print(out, "%s\n", s->turn[i].action);
    return !out->failed;
}

static size_t length_of(const dm_pairs_side *s, bool text)
{
    size_t n = text ? 0 : s->turns;
    for (size_t i = 0; text && i < s->turns; i++)
        n += strlen(s->turn[i].action) + 1;
    return n;
}

typedef struct sequences {
    const dm_pairs_side *turns[2];
    const char *text[2]; /* NULL: turns */
} sequences;

static bool equal_at(const sequences *s, size_t i, size_t j)
{
    return s->text[0] ? s->text[0][i] == s->text[1][j] : same_action(&s->turns[0]->turn[i], &s->turns[1]->turn[j]);
}

/* Levenshtein's distance of the first n and m; what both begin and end with costs nothing and is left out. */
static bool distance(const sequences *s, size_t n, size_t m, size_t *out)
{
    size_t from = 0;
    while (n > 0 && m > 0 && equal_at(s, n - 1, m - 1))
        n--, m--;
    while (from < n && from < m && equal_at(s, from, from))
        from++;
    size_t *row = malloc((m - from + 1) * sizeof *row);
    if (!row)
        return false;
    for (size_t j = 0; j <= m - from; j++)
        row[j] = j;
    for (size_t i = from; i < n; i++) {
        size_t diagonal = row[0];
        row[0] = i - from + 1;
        for (size_t j = from; j < m; j++) {
            size_t *const at = &row[j - from + 1];
            size_t least = diagonal + !equal_at(s, i, j);
            least = least < *at + 1 ? least : *at + 1;
            least = least < at[-1] + 1 ? least : at[-1] + 1;
            diagonal = *at;
            *at = least;
        }
    }
    *out = row[m - from];
    free(row);
    return true;
}

/* Over the longer side's length: from 0, the same, to 1, nothing in common. */
static dm_status normalised_distance(dm_pairs_maker *m, const dm_pair *p, double *out)
{
    const bool text = m->options->unit == DM_PAIRS_UNIT_TEXT;
    const size_t a = length_of(&p->chosen, text), b = length_of(&p->rejected, text);
    sequences s = {.turns = {&p->chosen, &p->rejected}};
    dm_text words[2] = {{0}, {0}};
    size_t d = 0;
    bool sound = true;

    if (text && (sound = words_of(&words[0], &p->chosen) && words_of(&words[1], &p->rejected))) {
        s.text[0] = words[0].data;
        s.text[1] = words[1].data;
    }
    sound = sound && distance(&s, a, b, &d);
    dm_text_free(&words[0]);
    dm_text_free(&words[1]);
    *out = (double)d / (double)(a > b ? a : b);
    return sound ? DM_OK : dm_fail(m->err, DM_ERR_MEMORY, "no memory for the edit distance of %s", p->id);
}

/* Mean log-probability of a token under the policy that made the run: -log of its perplexity. */
static dm_status mean_logp(dm_pairs_maker *m, const dm_pair *p, const dm_pairs_side *s, double *out)
{
    double sum = 0;
    int64_t tokens = 0;

    for (size_t i = 0; i < s->turns; i++) {
        if (s->turn[i].tokens <= 0 || isnan(s->turn[i].logp))
            continue;
        sum += s->turn[i].logp;
        tokens += s->turn[i].tokens;
    }
    if (tokens == 0)
        return dm_fail(m->err, DM_ERR_INPUT,
                       "%s: the %s side has no log-probabilities; --perplexity-ratio needs runs of a model on both "
                       "sides (dmpo rollout --model; --among)",
                       p->id, s == &p->chosen ? "chosen" : "rejected");
    *out = sum / (double)tokens;
    return DM_OK;
}

dm_status dm_pairs_maker_filter(dm_pairs_maker *m, const dm_pairs_candidate *c, dm_pairs_drop *why)
{
    const dm_pairs_options *o = m->options;
    const dm_pair *p = &c->pair;
    dm_status s;

    *why = DM_PAIRS_DROPS;
    if (o->max_length_ratio > 0) {
        const bool text = o->unit == DM_PAIRS_UNIT_TEXT;
        const double a = (double)length_of(&p->chosen, text), b = (double)length_of(&p->rejected, text);
        if ((a > b ? a / b : b / a) > o->max_length_ratio) {
            *why = DM_PAIRS_DROP_LENGTH;
            return DM_OK;
        }
    }
    if (o->min_edit_distance > 0) {
        double d;
        if ((s = normalised_distance(m, p, &d)) != DM_OK)
            return s;
        if (d < o->min_edit_distance) {
            *why = DM_PAIRS_DROP_DISTANCE;
            return DM_OK;
        }
    }
    if (o->perplexity_ratio > 0) {
        double a = 0, b = 0;
        if ((s = mean_logp(m, p, &p->chosen, &a)) != DM_OK || (s = mean_logp(m, p, &p->rejected, &b)) != DM_OK)
            return s;
        if (fabs(a - b) > dm_log(o->perplexity_ratio))
            *why = DM_PAIRS_DROP_PERPLEXITY;
    }
    return DM_OK;
}
