/* The degraded variant: rejected runs made longer by turns that lead nowhere, as the DMPO paper's noisy setting has
 * them. They come before the run's last action, so that it still ends as it did. */
#include <math.h>
#include <string.h>

#include "agent/pairs/pairs_internal.h"
#include "agent/env/registry.h"
#include "core/numbers/philox.h"

enum { LOOP = 3 }; /* most turns of a loop */

/* Understood by no environment. */
static const char *const meaningless[] = {
    "hum a tune",
    "count to ten",
    "blink twice",
    "scratch head",
    "think about the weather",
    "stare at nothing",
    "hesitate for a while",
    "wiggle the ears",
    "say blah blah",
    "daydream",
    "yawn",
    "snap the fingers",
};

#define MEANINGLESS ((uint32_t)(sizeof meaningless / sizeof *meaningless))

static const char *copy(dm_pairs_maker *m, const char *prefix, const char *text)
{
    const size_t a = strlen(prefix), b = strlen(text);
    char *out = dm_pairs_maker_alloc(m, a + b + 1);

    if (out) {
        memcpy(out, prefix, a);
        memcpy(out + a, text, b + 1);
    }
    return out;
}

/* What the run's environment answers to `action` at the beginning of the run's task, in its own words. */
static dm_status ask(dm_pairs_maker *m, const dm_episode *e, const char *action, const char **answer)
{
    dm_observation o = {0};

    if (!m->env_specification || strcmp(m->env_specification, e->env) != 0) {
        if (m->env)
            dm_env_close(&m->env);
        m->env_specification = NULL;
        if (dm_env_is_command(e->env))
            return dm_fail(
                m->err, DM_ERR_INPUT,
                "%s: a command named by a data file, '%.100s', is not run; give --invalid-answer TEXT instead", e->id,
                e->env);
        const dm_status s = dm_env_open(&m->env, e->env, m->err);
        if (s != DM_OK) {
            dm_fail_context(m->err, s, "%s: --invalid-answer TEXT works without its environment", e->id);
            return s == DM_ERR_ARGUMENT ? DM_ERR_INPUT : s; /* a file said it, not the command line */
        }
        m->env_specification = e->env;
    }
    dm_status s = dm_env_reset(m->env, e->split, e->task, e->seed, &o, m->err);
    if (s == DM_OK)
        s = dm_env_step(m->env, action, &o, m->err);
    if (s != DM_OK)
        return dm_fail_context(m->err, s, "%s", e->id);
    *answer = copy(m, "Observation: ", o.text);
    return *answer ? DM_OK : DM_ERR_MEMORY;
}

static dm_status meaningless_turn(dm_pairs_maker *m, const dm_pairs_candidate *c, uint32_t which, dm_episode_turn *out)
{
    dm_status s = DM_OK;

    if (!(out->action = copy(m, "Action: ", meaningless[which])))
        return DM_ERR_MEMORY;
    if (m->options->invalid_answer) {
        out->observation = copy(m, "Observation: ", m->options->invalid_answer);
        return out->observation ? DM_OK : DM_ERR_MEMORY;
    }
    if (!c->rejected)
        s = dm_fail(
            m->err, DM_ERR_ARGUMENT,
            "%s: a pair from a file has no environment to ask; --degrade meaningless needs --invalid-answer TEXT",
            c->pair.id);
    return s == DM_OK ? ask(m, c->rejected, meaningless[which], &out->observation) : s;
}

dm_status dm_pairs_maker_degrade(dm_pairs_maker *m, dm_pairs_candidate *c, bool *done)
{
    const dm_pairs_options *o = m->options;
    const dm_pairs_side *old = &c->pair.rejected;
    const size_t extra = (size_t)o->degrade_turns, last = old->turns - 1;
    const bool repeat = o->degrade == DM_PAIRS_DEGRADE_REPEAT;
    const uint64_t stream = m->out->candidates; /* this one's number, from 1 */
    uint64_t counter = 0;
    size_t loop = 0;

    /* The loop is of turns with an answer in the run; the only turn of a run may have one after it. */
    *done = !repeat || last > 0 || old->turn[0].observation;
    if (!*done)
        return DM_OK;
    if (repeat)
        loop = last
                   ? 1 + dm_random_below((uint32_t)(last < LOOP ? last : LOOP), o->seed, DM_RNG_PAIRS, stream, &counter)
                   : 1;
    dm_episode_turn *turn = dm_pairs_maker_alloc(m, (old->turns + extra) * sizeof *turn);
    if (!turn)
        return DM_ERR_MEMORY;
    memcpy(turn, old->turn, last * sizeof *turn);
    for (size_t i = 0; i < extra; i++) {
        dm_episode_turn *t = &turn[last + i];
        if (repeat) {
            *t = old->turn[(last ? last - loop : 0) + i % loop];
        } else {
            const uint32_t which = dm_random_below(MEANINGLESS, o->seed, DM_RNG_PAIRS, stream, &counter);
            const dm_status s = meaningless_turn(m, c, which, t);
            if (s != DM_OK)
                return s;
        }
        t->logp = NAN; /* no policy chose it */
        t->tokens = 0;
    }
    turn[last + extra] = old->turn[last];
    c->pair.rejected.turn = turn;
    c->pair.rejected.turns += extra;
    return DM_OK;
}
