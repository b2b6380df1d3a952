/* The way of a candidate: filters, cut, degraded turns, form, duplicates, limit per task. */
#include <math.h> /* isnan only */
#include <string.h>

#include "agent/pairs/pairs_internal.h"

/* The runs begin after the turns that they share, which become part of the prompt, and have one length. */
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
        prompt[n + 2 * i] = (dm_message){
            .role = DM_ROLE_ASSISTANT, .text = t->action, .size = strlen(t->action), .ids = t->ids, .n_ids = t->n_ids};
        prompt[n + 2 * i + 1] =
            (dm_message){.role = DM_ROLE_USER, .text = t->observation, .size = strlen(t->observation)};
    }
    p->prompt = prompt;
    p->n_prompt = n + 2 * s;
    p->chosen.turn += s;
    p->rejected.turn += s;
    p->chosen.turns = p->rejected.turns = turns;
    if (dm_pairs_sides_shared(&p->chosen, &p->rejected) == turns) /* one action that was answered in two ways */
        *why = DM_PAIRS_DROP_IDENTICAL;
    return DM_OK;
}

static dm_pairs_drop filter_runs(const dm_pairs_options *o, const dm_pairs_candidate *c)
{
    const dm_pair *p = &c->pair;
    const bool single = c->form == DM_PAIRS_SFT;
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
    if (o->degrade != DM_PAIRS_DEGRADE_NONE && (s = dm_pairs_maker_degrade(m, c, &done)) == DM_OK && !done)
        *why = DM_PAIRS_DROP_SHORT;
    if (s != DM_OK || !done)
        return s;
    p->shared = dm_pairs_sides_shared(&p->chosen, &p->rejected);
    if (c->form == DM_PAIRS_STEP || c->form == DM_PAIRS_SEGMENT)
        s = make_segment(m, p, c->form == DM_PAIRS_STEP ? 1 : (size_t)o->segment_turns, why);
    return s == DM_OK && *why == DM_PAIRS_DROPS ? dm_pairs_maker_filter(m, c, why) : s;
}

dm_status dm_pairs_maker_take(dm_pairs_maker *m, dm_pairs_candidate *c)
{
    const dm_pairs_options *o = m->options;
    const bool single = c->form == DM_PAIRS_SFT;
    dm_pairs_drop why = filter_runs(o, c);
    bool seen = false, full = false;
    dm_status s = DM_OK;

    if (why == DM_PAIRS_DROPS && !single)
        s = change(m, c, &why);
    if (s == DM_OK && why == DM_PAIRS_DROPS && (s = dm_pairs_maker_seen(m, &c->pair, &seen)) == DM_OK && seen)
        why = DM_PAIRS_DROP_DUPLICATE;
    if (s == DM_OK && why == DM_PAIRS_DROPS && o->per_task && !c->given &&
        (s = dm_pairs_maker_count(m, c->pair.task, &full)) == DM_OK && full)
        why = DM_PAIRS_DROP_PER_TASK;
    if (s != DM_OK)
        return s;
    if (why == DM_PAIRS_DROPS)
        return dm_pairs_maker_keep(m, &c->pair);
    dm_pairs_maker_drop(m, why);
    return DM_OK;
}
