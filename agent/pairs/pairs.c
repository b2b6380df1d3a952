/* The way of a candidate: filters, cut, degraded turns, form, duplicates, limits. */
#include "agent/pairs/pairs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs_internal.h"
#include "core/philox.h"

const dm_pairs_drop_text dm_drop_texts[DM_PAIRS_DROPS] = {
    [DM_PAIRS_DROP_UNMATCHED] = {"unmatched", "with no other run of their task"},
    [DM_PAIRS_DROP_FAILED] = {"failed", "with a run whose environment failed"},
    [DM_PAIRS_DROP_EMPTY] = {"empty", "with a run without turns or with an empty action"},
    [DM_PAIRS_DROP_PROMPT] = {"other_prompt", "whose runs begin with different prompts"},
    [DM_PAIRS_DROP_TIE] = {"tie", "with rewards that differ by no more than the margin"},
    [DM_PAIRS_DROP_LOW] = {"low_chosen", "with a chosen run below the least reward"},
    [DM_PAIRS_DROP_LONG] = {"too_long", "with too many turns"},
    [DM_PAIRS_DROP_REPEATS] = {"repeats", "with a run that repeats itself"},
    [DM_PAIRS_DROP_IDENTICAL] = {"identical", "with two equal sides"},
    [DM_PAIRS_DROP_SHORT] = {"too_short", "with a rejected run too short to repeat"},
    [DM_PAIRS_DROP_CONTAINED] = {"contained", "where one run is the beginning of the other"},
    [DM_PAIRS_DROP_LENGTH] = {"length_ratio", "with lengths too far apart"},
    [DM_PAIRS_DROP_DISTANCE] = {"edit_distance", "with sides too similar"},
    [DM_PAIRS_DROP_PERPLEXITY] = {"perplexity_ratio", "with perplexities too far apart"},
    [DM_PAIRS_DROP_DUPLICATE] = {"duplicate", "that are there already"},
    [DM_PAIRS_DROP_PER_TASK] = {"per_task", "over the most of a task"},
    [DM_PAIRS_DROP_LIMIT] = {"limit", "over the limit"},
};

void dm_pairs_defaults(dm_pairs_options *o)
{
    *o = (dm_pairs_options){.min_chosen = NAN, .cut = -1, .degrade_turns = 5};
}

/* ---- options ---- */

static dm_status check_whole(const char *name, int64_t value, int64_t low, int64_t high, dm_error *err)
{
    if (value >= low && value <= high)
        return DM_OK;
    return dm_fail(err, DM_ERR_ARGUMENT, "--%s %lld is out of range; legal: %lld to %lld", name, (long long)value,
                   (long long)low, (long long)high);
}

static dm_status check_ranges(const dm_pairs_options *o, dm_error *err)
{
    const int64_t many = 1000000000;
    const struct {
        const char *name;
        int64_t value, low, high;
    } whole[] = {
        {"max-turns", o->max_turns, 0, many},
        {"max-repeats", o->max_repeats, 0, many},
        {"cut", o->cut, -1, many},
        {"degrade-turns", o->degrade_turns, 1, 10000},
        {"segment-turns", o->segment_turns, 0, many},
        {"per-task", o->per_task, 0, many},
        {"limit", o->limit, 0, many},
    };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (check_whole(whole[i].name, whole[i].value, whole[i].low, whole[i].high, err) != DM_OK)
            return DM_ERR_ARGUMENT;
    if (!(o->margin >= 0 && o->margin <= 1))
        return dm_fail(err, DM_ERR_ARGUMENT, "--margin %g is out of range; legal: 0 to 1", o->margin);
    if (!isnan(o->min_chosen) && !(o->min_chosen >= 0 && o->min_chosen <= 1))
        return dm_fail(err, DM_ERR_ARGUMENT, "--min-chosen %g is out of range; legal: 0 to 1", o->min_chosen);
    if (!(o->min_edit_distance >= 0 && o->min_edit_distance <= 1))
        return dm_fail(err, DM_ERR_ARGUMENT, "--min-edit-distance %g is out of range; legal: 0 to 1",
                       o->min_edit_distance);
    const double ratio[] = {o->max_length_ratio, o->perplexity_ratio};
    for (int i = 0; i < 2; i++)
        if (!(ratio[i] == 0 || (ratio[i] >= 1 && isfinite(ratio[i]))))
            return dm_fail(err, DM_ERR_ARGUMENT, "--%s %g is out of range; legal: 0 (any) or at least 1",
                           i ? "perplexity-ratio" : "max-length-ratio", ratio[i]);
    return DM_OK;
}

static dm_status check_sources(const dm_pairs_options *o, dm_error *err)
{
    const bool sft = o->form == DM_PAIRS_SFT;
    const char *needs_explored = o->among ? "--among" : o->continuations.n ? "--continuations" : NULL;
    const char *no_pairs = o->among                   ? "--among"
                           : o->continuations.n       ? "--continuations"
                           : o->margin > 0            ? "--margin"
                           : o->cut >= 0              ? "--cut"
                           : o->degrade               ? "--degrade"
                           : o->max_length_ratio > 0  ? "--max-length-ratio"
                           : o->min_edit_distance > 0 ? "--min-edit-distance"
                           : o->perplexity_ratio > 0  ? "--perplexity-ratio"
                                                      : NULL;

    if (sft && no_pairs)
        return dm_fail(err, DM_ERR_ARGUMENT, "%s is for pairs, --form sft writes single runs; leave one of them out",
                       no_pairs);
    if (o->segment_turns && o->form != DM_PAIRS_SEGMENT)
        return dm_fail(err, DM_ERR_ARGUMENT, "--segment-turns is of --form segment only");
    if (o->erroneous != DM_ERRONEOUS_FIRST && !o->continuations.n)
        return dm_fail(err, DM_ERR_ARGUMENT, "--erroneous-turn is of --continuations FILE only");
    if (o->invalid_answer && o->degrade != DM_DEGRADE_MEANINGLESS)
        return dm_fail(err, DM_ERR_ARGUMENT, "--invalid-answer is of --degrade meaningless only");
    if (needs_explored && !o->explored.n)
        return dm_fail(err, DM_ERR_ARGUMENT, "%s needs explored runs; give --explored FILE", needs_explored);
    if (sft ? o->expert.n + o->explored.n + o->pairs.n > 0
            : o->pairs.n || (o->explored.n && (o->expert.n || needs_explored)))
        return DM_OK;
    if (o->explored.n)
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "explored runs have nothing to be compared with; give --expert FILE, --among or --continuations "
                       "FILE");
    return dm_fail(err, DM_ERR_ARGUMENT,
                   "no runs given; --expert FILE and --explored FILE name episodes, --from-pairs FILE pairs");
}

/* ---- one candidate ---- */

void *dm_pairs_maker_alloc(dm_pairs_maker *m, size_t size)
{
    void *p = dm_block_alloc(&m->blocks, size);
    if (!p)
        dm_fail(m->err, DM_ERR_MEMORY, "no memory for the pairs");
    return p;
}

void dm_pairs_maker_drop(dm_pairs_maker *m, dm_pairs_drop why)
{
    m->out->dropped[why]++;
}

static void hash_side(dm_sha256 *h, const dm_pairs_side *s)
{
    dm_sha256_update(h, &s->turns, sizeof s->turns);
    for (size_t i = 0; i < s->turns; i++) {
        dm_sha256_update(h, s->turn[i].action, strlen(s->turn[i].action) + 1);
        if (i + 1 < s->turns)
            dm_sha256_update(h, s->turn[i].observation, strlen(s->turn[i].observation) + 1);
    }
}

/* Is there one with the same messages already? */
static dm_status seen_before(dm_pairs_maker *m, const dm_pair *p, bool *seen)
{
    dm_sha256 h;
    dm_digest digest;
    size_t number;
    bool is_new;

    dm_sha256_init(&h);
    for (size_t i = 0; i < p->n_prompt; i++)
        dm_sha256_update(&h, p->prompt[i].text, p->prompt[i].size + 1);
    hash_side(&h, &p->chosen);
    hash_side(&h, &p->rejected);
    dm_sha256_finish(&h, digest.hex);
    if (!dm_digests_add(&m->seen, &digest, &number, &is_new))
        return dm_fail(m->err, DM_ERR_MEMORY, "no memory to find duplicates");
    *seen = !is_new;
    return DM_OK;
}

/* Different pairs may come from runs of one name (of two models, say): " #2" is put behind the second's. */
static dm_status make_id_unique(dm_pairs_maker *m, dm_pair *p)
{
    const char *plain = p->id;
    const size_t size = strlen(plain) + 32;

    for (size_t k = 1;; k++) {
        dm_sha256 h;
        dm_digest digest;
        size_t number;
        bool is_new;

        dm_sha256_init(&h);
        dm_sha256_update(&h, p->id, strlen(p->id));
        dm_sha256_finish(&h, digest.hex);
        if (!dm_digests_add(&m->ids, &digest, &number, &is_new))
            return dm_fail(m->err, DM_ERR_MEMORY, "no memory for the pairs' names");
        if (is_new)
            return DM_OK;
        char *id = dm_pairs_maker_alloc(m, size);
        if (!id)
            return DM_ERR_MEMORY;
        snprintf(id, size, "%s #%zu", plain, k + 1);
        p->id = id;
    }
}

/* The runs begin behind the turns that they share, which become part of the prompt, and have one length. */
static dm_status make_segment(dm_pairs_maker *m, dm_pair *p, size_t most, dm_pairs_drop *why)
{
    const size_t s = p->shared, n = p->n_prompt;
    const size_t a = p->chosen.turns - s, b = p->rejected.turns - s;
    size_t turns = a < b ? a : b;

    if (turns == 0) {
        *why = DM_PAIRS_DROP_CONTAINED;
        return DM_OK;
    }
    if (most && turns > most)
        turns = most;
    dm_message *prompt = dm_pairs_maker_alloc(m, (n + 2 * s) * sizeof *prompt);
    if (!prompt)
        return DM_ERR_MEMORY;
    memcpy(prompt, p->prompt, n * sizeof *prompt);
    for (size_t i = 0; i < s; i++) {
        const dm_episode_turn *t = &p->chosen.turn[i];
        prompt[n + 2 * i] = (dm_message){.role = DM_ROLE_ASSISTANT, .text = t->action, .size = strlen(t->action)};
        prompt[n + 2 * i + 1] =
            (dm_message){.role = DM_ROLE_USER, .text = t->observation, .size = strlen(t->observation)};
    }
    p->prompt = prompt;
    p->n_prompt = n + 2 * s;
    p->chosen = (dm_pairs_side){p->chosen.turn + s, turns, p->chosen.score};
    p->rejected = (dm_pairs_side){p->rejected.turn + s, turns, p->rejected.score};
    if (dm_pairs_sides_shared(&p->chosen, &p->rejected) == turns) /* one action that was answered in two ways */
        *why = DM_PAIRS_DROP_IDENTICAL;
    return DM_OK;
}

static dm_pairs_drop filter_runs(const dm_pairs_options *o, const dm_pairs_candidate *c)
{
    const dm_pair *p = &c->pair;
    const bool single = o->form == DM_PAIRS_SFT;
    const dm_pairs_side *const side = single ? &p->chosen : &p->rejected;

    if (dm_pairs_side_empty(&p->chosen) || dm_pairs_side_empty(side))
        return DM_PAIRS_DROP_EMPTY;
    if (!single && p->chosen.score - p->rejected.score <= o->margin) /* false where one is not known */
        return DM_PAIRS_DROP_TIE;
    if (!c->given && !isnan(o->min_chosen) && !(p->chosen.score >= o->min_chosen))
        return DM_PAIRS_DROP_LOW;
    if (o->max_turns && (p->chosen.turns > (size_t)o->max_turns || side->turns > (size_t)o->max_turns))
        return DM_PAIRS_DROP_LONG;
    if (o->max_repeats && dm_pairs_side_repeats(side) > (size_t)o->max_repeats)
        return DM_PAIRS_DROP_REPEATS;
    return DM_PAIRS_DROPS;
}

/* What makes a pair of two runs. */
static dm_status change(dm_pairs_maker *m, dm_pairs_candidate *c, dm_pairs_drop *why)
{
    const dm_pairs_options *o = m->options;
    dm_pair *p = &c->pair;
    bool done = true;
    dm_status s = DM_OK;

    if (o->cut >= 0 && p->rejected.turns > p->chosen.turns + (size_t)o->cut)
        p->rejected.turns = p->chosen.turns + (size_t)o->cut;
    p->shared = dm_pairs_sides_shared(&p->chosen, &p->rejected);
    if (p->shared == p->chosen.turns && p->shared == p->rejected.turns) {
        *why = DM_PAIRS_DROP_IDENTICAL;
        return DM_OK;
    }
    if (o->degrade != DM_DEGRADE_NONE && (s = dm_pairs_maker_degrade(m, c, &done)) == DM_OK && !done)
        *why = DM_PAIRS_DROP_SHORT;
    if (s != DM_OK || !done)
        return s;
    p->shared = dm_pairs_sides_shared(&p->chosen, &p->rejected);
    if (o->form == DM_PAIRS_STEP || o->form == DM_PAIRS_SEGMENT)
        s = make_segment(m, p, o->form == DM_PAIRS_STEP ? 1 : (size_t)o->segment_turns, why);
    return s == DM_OK && *why == DM_PAIRS_DROPS ? dm_pairs_maker_filter(m, c, why) : s;
}

static dm_status keep(dm_pairs_maker *m, const dm_pair *p)
{
    dm_pairs *out = m->out;

    if (out->n == m->capacity) {
        const size_t capacity = m->capacity ? 2 * m->capacity : 64;
        dm_pair *pair = realloc(out->pair, capacity * sizeof *pair);
        if (!pair)
            return dm_fail(m->err, DM_ERR_MEMORY, "no memory for %zu pairs", capacity);
        out->pair = pair;
        m->capacity = capacity;
    }
    out->pair[out->n] = *p;
    return make_id_unique(m, &out->pair[out->n++]);
}

/* Counts it for its task. *full: it has as many as it may. */
static dm_status count_for_task(dm_pairs_maker *m, size_t task, bool *full)
{
    if (task >= m->of_tasks) {
        const size_t n = 2 * m->tasks.n;
        size_t *of_task = realloc(m->of_task, n * sizeof *of_task);
        if (!of_task)
            return dm_fail(m->err, DM_ERR_MEMORY, "no memory for %zu tasks", n);
        memset(of_task + m->of_tasks, 0, (n - m->of_tasks) * sizeof *of_task);
        m->of_task = of_task;
        m->of_tasks = n;
    }
    *full = m->of_task[task] >= (size_t)m->options->per_task;
    m->of_task[task] += !*full;
    return DM_OK;
}

dm_status dm_pairs_maker_take(dm_pairs_maker *m, dm_pairs_candidate *c)
{
    const dm_pairs_options *o = m->options;
    const bool single = o->form == DM_PAIRS_SFT;
    dm_pairs_drop why = filter_runs(o, c);
    bool seen = false, full = false;
    dm_status s = DM_OK;

    if (why == DM_PAIRS_DROPS && !single)
        s = change(m, c, &why);
    if (s == DM_OK && why == DM_PAIRS_DROPS && (s = seen_before(m, &c->pair, &seen)) == DM_OK && seen)
        why = DM_PAIRS_DROP_DUPLICATE;
    if (s == DM_OK && why == DM_PAIRS_DROPS && o->per_task && !c->given &&
        (s = count_for_task(m, c->pair.task, &full)) == DM_OK && full)
        why = DM_PAIRS_DROP_PER_TASK;
    if (s != DM_OK)
        return s;
    if (why == DM_PAIRS_DROPS)
        return keep(m, &c->pair);
    dm_pairs_maker_drop(m, why);
    return DM_OK;
}

/* ---- all of them ---- */

/* Keeps `limit` of them, chosen by the seed, in their order. */
static dm_status limit(dm_pairs_maker *m)
{
    dm_pairs *out = m->out;
    const size_t most = (size_t)m->options->limit;

    if (most == 0 || out->n <= most)
        return DM_OK;
    uint32_t *order = malloc(out->n * sizeof *order);
    bool *chosen = calloc(out->n, sizeof *chosen);
    const bool sound = order && chosen && out->n < UINT32_MAX;
    if (sound) {
        for (size_t i = 0; i < out->n; i++)
            order[i] = (uint32_t)i;
        dm_random_shuffle(order, out->n, m->options->seed, DM_RNG_PAIRS, 0);
        for (size_t i = 0; i < most; i++)
            chosen[order[i]] = true;
        size_t kept = 0;
        for (size_t i = 0; i < out->n; i++)
            if (chosen[i])
                out->pair[kept++] = out->pair[i];
        out->dropped[DM_PAIRS_DROP_LIMIT] = out->n - kept;
        out->n = kept;
    }
    free(order);
    free(chosen);
    return sound ? DM_OK : dm_fail(m->err, DM_ERR_MEMORY, "no memory to choose %zu of %zu pairs", most, out->n);
}

static dm_status fail_none(const dm_pairs *p, bool single, dm_error *err)
{
    dm_text why = {0};

    if (p->candidates == 0)
        return dm_fail(err, DM_ERR_INPUT, "the files hold no runs to make %s from", single ? "data" : "pairs");
    for (int i = 0; i < DM_PAIRS_DROPS; i++)
        if (p->dropped[i])
            dm_text_print(&why, "%s %zu %s", why.size ? "," : "", p->dropped[i], dm_drop_texts[i].why);
    const dm_status s = dm_fail(err, DM_ERR_INPUT, "no %s is left of %zu:%s", single ? "run" : "pair", p->candidates,
                                why.failed ? "" : why.data);
    dm_text_free(&why);
    return s;
}

dm_status dm_pairs_make(dm_pairs *out, const dm_pairs_options *options, dm_error *err)
{
    dm_pairs_options o = *options;
    dm_pairs_maker *m = calloc(1, sizeof *m);
    dm_status s;

    *out = (dm_pairs){.memory = m};
    if (!m)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the pairs");
    if (o.form == DM_PAIRS_SFT && isnan(o.min_chosen) && o.pairs.n == 0)
        o.min_chosen = 1;
    m->options = &o;
    m->out = out;
    m->err = err;
    if ((s = check_ranges(&o, err)) == DM_OK && (s = check_sources(&o, err)) == DM_OK &&
        (s = dm_pairs_maker_read(m)) == DM_OK && (s = dm_pairs_maker_match(m)) == DM_OK && (s = limit(m)) == DM_OK &&
        out->n == 0)
        s = fail_none(out, o.form == DM_PAIRS_SFT, err);
    m->options = NULL;
    if (m->env)
        dm_env_close(&m->env);
    if (s != DM_OK)
        dm_pairs_close(out);
    return s;
}

void dm_pairs_close(dm_pairs *p)
{
    dm_pairs_maker *m = p->memory;

    if (m) {
        for (int i = 0; i < 3; i++)
            dm_episodes_close(&m->episodes[i]);
        for (size_t i = 0; m->docs && i < m->n_docs; i++)
            dm_json_close(&m->docs[i]);
        dm_digests_free(&m->tasks);
        dm_digests_free(&m->seen);
        dm_digests_free(&m->ids);
        dm_block_free(&m->blocks);
        free(m->of_task);
        free(m);
    }
    free(p->pair);
    *p = (dm_pairs){0};
}
