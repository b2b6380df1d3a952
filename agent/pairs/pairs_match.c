/* Candidates from episodes: which runs of one task are compared. */
#include <math.h> /* NAN and isnan only */
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs_internal.h"

enum { EXPERT, EXPLORED, CONTINUATION };

/* An episode among all that are sorted by task. */
typedef struct entry {
    const dm_episode *e;
    int from;
    size_t number; /* makes the order total */
} entry;

static int by_number(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int same_task(const dm_episode *a, const dm_episode *b)
{
    int d = strcmp(a->env, b->env);
    if (d == 0)
        d = by_number(a->split, b->split);
    if (d == 0)
        d = by_number(a->task, b->task);
    if (d == 0)
        d = (a->seed > b->seed) - (a->seed < b->seed);
    return d;
}

static int by_task(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    int d = same_task(a->e, b->e);
    if (d == 0)
        d = by_number(a->from, b->from);
    return d ? d : (a->number > b->number) - (a->number < b->number);
}

static dm_pairs_side side_of(const dm_episode *e)
{
    return (dm_pairs_side){e->turn, e->turns, e->reward, e->tokenizer};
}

static bool same_prompt(const dm_episode *a, const dm_episode *b)
{
    for (size_t i = 0; i < DM_EPISODE_PROMPT; i++)
        if (strcmp(a->prompt[i], b->prompt[i]) != 0)
            return false;
    return true;
}

/* "home/train/12/0: expert 0 > model 3@2" */
static const char *name_of(dm_pairs_maker *m, const dm_episode *a, const dm_episode *b)
{
    dm_text t = {0};
    char *out = NULL;

    dm_text_print(&t, "%s/%s/%lld/%llu: %s %lld", a->env, dm_env_split_names[a->split], (long long)a->task,
                  (unsigned long long)a->seed, a->policy, (long long)a->sample);
    if (a->replayed)
        dm_text_print(&t, "@%lld", (long long)a->replayed);
    if (b)
        dm_text_print(&t, " > %s %lld", b->policy, (long long)b->sample);
    if (b && b->replayed)
        dm_text_print(&t, "@%lld", (long long)b->replayed);
    if (t.failed)
        dm_fail(m->err, DM_ERR_MEMORY, "no memory for the name of a pair");
    else if ((out = dm_pairs_maker_alloc(m, t.size + 1)))
        memcpy(out, t.data, t.size);
    dm_text_free(&t);
    return out;
}

static dm_status find_task(dm_pairs_maker *m, const dm_episode *e, size_t *task)
{
    const int64_t numbers[] = {e->split, e->task, (int64_t)e->seed};
    dm_sha256 h;

    dm_sha256_init(&h);
    dm_sha256_update(&h, e->env, strlen(e->env) + 1);
    dm_sha256_update(&h, numbers, sizeof numbers);
    return dm_pairs_maker_task(m, &h, task);
}

/* In the form that is asked for; of LEVELS in all of them, as candidates of their own. */
static dm_status take_forms(dm_pairs_maker *m, const dm_pairs_candidate *c)
{
    static const int levels[] = {DM_PAIRS_WHOLE, DM_PAIRS_SEGMENT, DM_PAIRS_STEP};
    const bool all = m->options->form == DM_PAIRS_LEVELS;
    dm_status s = DM_OK;

    for (size_t i = 0; s == DM_OK && i < (all ? 3 : 1); i++) {
        dm_pairs_candidate one = *c;
        one.form = all ? levels[i] : m->options->form;
        m->out->candidates += i > 0;
        s = dm_pairs_maker_take(m, &one);
    }
    return s;
}

/* Takes `better` against `worse`, which is NULL for a run alone. worth: what is compared in place of their rewards, or
 * NULL. */
static dm_status take_run(dm_pairs_maker *m, const dm_episode *better, const dm_episode *worse, const double *worth,
                          bool given)
{
    dm_pairs_candidate c = {.rejected = worse, .given = given, .pair.n_prompt = DM_EPISODE_PROMPT};
    dm_message *prompt;

    m->out->candidates++;
    if (strcmp(better->end, "environment") == 0 || (worse && strcmp(worse->end, "environment") == 0)) {
        dm_pairs_maker_drop(m, DM_PAIRS_DROP_FAILED);
        return DM_OK;
    }
    if (worse && !same_prompt(better, worse)) {
        dm_pairs_maker_drop(m, DM_PAIRS_DROP_PROMPT);
        return DM_OK;
    }
    if (!(c.pair.id = name_of(m, better, worse)) ||
        !(prompt = dm_pairs_maker_alloc(m, DM_EPISODE_PROMPT * sizeof *prompt)))
        return DM_ERR_MEMORY;
    for (size_t i = 0; i < DM_EPISODE_PROMPT; i++)
        prompt[i] = (dm_message){.role = i % 2 ? DM_ROLE_ASSISTANT : DM_ROLE_USER,
                                 .text = better->prompt[i],
                                 .size = strlen(better->prompt[i])};
    c.pair.prompt = prompt;
    c.pair.chosen = side_of(better);
    if (worse)
        c.pair.rejected = side_of(worse);
    if (worth) {
        c.pair.chosen.score = worth[0];
        c.pair.rejected.score = worth[1];
    }
    const dm_status s = find_task(m, better, &c.pair.task);
    return s == DM_OK ? take_forms(m, &c) : s;
}

static dm_status take(dm_pairs_maker *m, const dm_episode *better, const dm_episode *worse)
{
    return take_run(m, better, worse, NULL, false);
}

static dm_status take_ordered(dm_pairs_maker *m, const dm_episode *a, const dm_episode *b)
{
    return a->reward >= b->reward ? take(m, a, b) : take(m, b, a);
}

/* Of one task: the runs of each kind stand together, in the order of their files. */
typedef struct group {
    const entry *run[3];
    size_t n[3];
} group;

/* Every explored run against every expert's. */
static dm_status against_experts(dm_pairs_maker *m, const group *g)
{
    for (size_t i = 0; i < g->n[EXPLORED]; i++) {
        if (g->n[EXPERT] == 0) {
            m->out->candidates++;
            dm_pairs_maker_drop(m, DM_PAIRS_DROP_UNMATCHED);
        }
        for (size_t j = 0; j < g->n[EXPERT]; j++) {
            const dm_status s = take_ordered(m, g->run[EXPERT][j].e, g->run[EXPLORED][i].e);
            if (s != DM_OK)
                return s;
        }
    }
    return DM_OK;
}

/* The best explored run against the worst; of equal ones the first. */
static dm_status best_against_worst(dm_pairs_maker *m, const group *g)
{
    const entry *runs = g->run[EXPLORED], *best = runs, *worst = runs;

    if (g->n[EXPLORED] < 2) {
        m->out->candidates += g->n[EXPLORED];
        if (g->n[EXPLORED])
            dm_pairs_maker_drop(m, DM_PAIRS_DROP_UNMATCHED);
        return DM_OK;
    }
    for (size_t i = 1; i < g->n[EXPLORED]; i++) {
        if (runs[i].e->reward > best->e->reward)
            best = &runs[i];
        if (runs[i].e->reward < worst->e->reward)
            worst = &runs[i];
    }
    return best != worst ? take(m, best->e, worst->e) : take(m, runs[0].e, runs[1].e); /* all equal: a tie */
}

/* Whether `c` continues after the first turns of `run`. */
static bool continues(const dm_episode *c, const dm_episode *run)
{
    const size_t t = (size_t)c->replayed;
    const dm_pairs_side a = {.turn = c->turn, .turns = c->turns}, b = {.turn = run->turn, .turns = run->turns};

    if (t >= run->turns || t >= c->turns)
        return false;
    for (size_t i = 0; i < t; i++)
        if (strcmp(a.turn[i].action, b.turn[i].action) != 0 || !a.turn[i].observation || !b.turn[i].observation ||
            strcmp(a.turn[i].observation, b.turn[i].observation) != 0)
            return false;
    return same_prompt(c, run) && strcmp(c->end, "environment") != 0;
}

/* The erroneous turn of `run` is the first (or last) turn t for which the best of its continuations after turns
 * 0 .. t - 1 has a reward above the run's by more than the margin; that one is chosen. Where there is no such turn, the
 * best of all stands for the tie. */
static dm_status correct(dm_pairs_maker *m, const group *g, const dm_episode *run)
{
    const bool last = m->options->erroneous == DM_PAIRS_ERRONEOUS_LAST;
    const dm_episode *found = NULL, *best_of_all = NULL;

    for (size_t i = 0; i < g->n[CONTINUATION]; i++) {
        const dm_episode *c = g->run[CONTINUATION][i].e;
        if (!continues(c, run))
            continue;
        if (!best_of_all || c->reward > best_of_all->reward)
            best_of_all = c;
        if (!(c->reward - run->reward > m->options->margin))
            continue;
        const int64_t better_turn = !found ? 1 : last ? c->replayed - found->replayed : found->replayed - c->replayed;
        if (better_turn > 0 || (better_turn == 0 && c->reward > found->reward))
            found = c;
    }
    if (best_of_all)
        return take(m, found ? found : best_of_all, run);
    m->out->candidates++;
    dm_pairs_maker_drop(m, DM_PAIRS_DROP_UNMATCHED);
    return DM_OK;
}

/* Mean reward of the continuations of `run` after its first t turns; action NULL: of all, else of those that begin with
 * it. NaN: there are none. *first: the first of them. */
static double worth_after(const group *g, const dm_episode *run, size_t t, const char *action, const dm_episode **first)
{
    double sum = 0, n = 0;

    *first = NULL;
    for (size_t i = 0; i < g->n[CONTINUATION]; i++) {
        const dm_episode *c = g->run[CONTINUATION][i].e;
        if ((size_t)c->replayed != t || !continues(c, run) || (action && strcmp(c->turn[t].action, action) != 0))
            continue;
        *first = *first ? *first : c;
        sum += c->reward;
        n++;
    }
    return n > 0 ? sum / n : NAN;
}

/* Each turn of an expert's run against what the policy does in its place (IPR): the policy's turn is that of the first
 * continuation from there. A turn is worth the mean reward of the policy's runs that go on after it; the expert's last
 * one the run's reward. */
static dm_status refine(dm_pairs_maker *m, const group *g, const dm_episode *run)
{
    dm_status s = DM_OK;

    for (size_t t = 0; s == DM_OK && t < run->turns; t++) {
        const dm_episode *policy, *any;
        const double last = t + 1 == run->turns ? run->reward : worth_after(g, run, t + 1, NULL, &any);
        worth_after(g, run, t, NULL, &policy);
        if (!policy || isnan(last)) {
            m->out->candidates++;
            dm_pairs_maker_drop(m, DM_PAIRS_DROP_UNMATCHED);
            continue;
        }
        if (strcmp(policy->turn[t].action, run->turn[t].action) == 0) {
            m->out->candidates++;
            dm_pairs_maker_drop(m, DM_PAIRS_DROP_IDENTICAL);
            continue;
        }
        const double worth[2] = {last, worth_after(g, run, t, policy->turn[t].action, &any)};
        s = take_run(m, run, policy, worth, false);
    }
    return s;
}

/* All runs that may be chosen, expert ones first. */
static dm_status alone(dm_pairs_maker *m, const group *g)
{
    dm_status s = DM_OK;
    for (int from = EXPERT; from <= EXPLORED; from++)
        for (size_t i = 0; s == DM_OK && i < g->n[from]; i++)
            s = take_run(m, g->run[from][i].e, NULL, NULL, from == EXPERT);
    return s;
}

static dm_status take_group(dm_pairs_maker *m, const group *g)
{
    const dm_pairs_options *o = m->options;
    dm_status s = DM_OK;

    if (o->form == DM_PAIRS_SFT)
        return alone(m, g);
    if (o->expert.n)
        s = against_experts(m, g);
    if (s == DM_OK && o->among)
        s = best_against_worst(m, g);
    for (size_t i = 0; s == DM_OK && o->refine && i < g->n[EXPERT]; i++)
        s = refine(m, g, g->run[EXPERT][i].e);
    for (size_t i = 0; s == DM_OK && o->continuations.n && !o->refine && i < g->n[EXPLORED]; i++)
        s = correct(m, g, g->run[EXPLORED][i].e);
    return s;
}

static dm_status take_groups(dm_pairs_maker *m, const entry *list, size_t n)
{
    for (size_t begin = 0, end; begin < n; begin = end) {
        group g = {0};
        for (end = begin; end < n && same_task(list[begin].e, list[end].e) == 0; end++)
            if (g.n[list[end].from]++ == 0)
                g.run[list[end].from] = &list[end];
        const dm_status s = take_group(m, &g);
        if (s != DM_OK)
            return s;
    }
    return DM_OK;
}

dm_status dm_pairs_maker_match(dm_pairs_maker *m)
{
    const dm_pairs_options *o = m->options;
    const dm_pairs_files files[3] = {o->expert, o->explored, o->continuations};
    size_t n = 0, at = 0;

    for (int from = 0; from < 3; from++) {
        const dm_status s = dm_episodes_read(&m->episodes[from], files[from].path, files[from].n, m->err);
        if (s != DM_OK)
            return s;
        n += m->episodes[from].n;
    }
    if (o->plan_reward) {
        const dm_status s = dm_pairs_maker_plan_rewards(m, &m->episodes[EXPLORED]);
        if (s != DM_OK)
            return s;
    }
    entry *list = calloc(n ? n : 1, sizeof *list);
    if (!list)
        return dm_fail(m->err, DM_ERR_MEMORY, "no memory for %zu episodes", n);
    for (int from = 0; from < 3; from++)
        for (size_t i = 0; i < m->episodes[from].n; i++, at++)
            list[at] = (entry){&m->episodes[from].episode[i], from, at};
    qsort(list, n, sizeof *list, by_task);
    const dm_status s = take_groups(m, list, n);
    free(list);
    return s;
}
