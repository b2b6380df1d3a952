/* Pairs from files: the options' checks, the candidates in turn, the limit at the end. */
#include "agent/pairs/pairs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs_internal.h"
#include "core/numbers/philox.h"

const dm_pairs_drop_text dm_pairs_drop_texts[DM_PAIRS_DROPS] = {
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

static dm_status check_ratio(const char *name, double ratio, dm_error *err)
{
    if (ratio == 0 || (ratio >= 1 && isfinite(ratio)))
        return DM_OK;
    return dm_fail(err, DM_ERR_ARGUMENT, "--%s %g is out of range; legal: 0 (any) or at least 1", name, ratio);
}

static dm_status check_sources(const dm_pairs_options *o, dm_error *err)
{
    const bool sft = o->form == DM_PAIRS_SFT;
    const char *needs_explored = o->among ? "--among" : o->continuations.n && !o->refine ? "--continuations" : NULL;
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
    if (o->segment_turns && o->form != DM_PAIRS_SEGMENT && o->form != DM_PAIRS_LEVELS)
        return dm_fail(err, DM_ERR_ARGUMENT, "--segment-turns is of --form segment and levels only");
    if (o->refine && (!o->expert.n || !o->continuations.n))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "--refine compares an expert's turns with continuations of its runs; give --expert FILE and "
                       "--continuations FILE");
    if (o->form == DM_PAIRS_LEVELS && o->pairs.n)
        return dm_fail(err, DM_ERR_ARGUMENT, "--form levels is of episodes, not of --from-pairs");
    if (o->erroneous != DM_PAIRS_ERRONEOUS_FIRST && !o->continuations.n)
        return dm_fail(err, DM_ERR_ARGUMENT, "--erroneous-turn is of --continuations FILE only");
    if (o->invalid_answer && o->degrade != DM_PAIRS_DEGRADE_MEANINGLESS)
        return dm_fail(err, DM_ERR_ARGUMENT, "--invalid-answer is of --degrade meaningless only");
    if (needs_explored && !o->explored.n)
        return dm_fail(err, DM_ERR_ARGUMENT, "%s needs explored runs; give --explored FILE", needs_explored);
    if (sft ? o->expert.n + o->explored.n + o->pairs.n > 0
            : o->pairs.n || o->refine || (o->explored.n && (o->expert.n || needs_explored)))
        return DM_OK;
    if (o->explored.n)
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "explored runs have nothing to be compared with; give --expert FILE, --among or --continuations "
                       "FILE");
    return dm_fail(err, DM_ERR_ARGUMENT,
                   "no runs given; --expert FILE and --explored FILE name episodes, --from-pairs FILE pairs");
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
            dm_text_print(&why, "%s %zu %s", why.size ? "," : "", p->dropped[i], dm_pairs_drop_texts[i].why);
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
    if ((s = check_ratio("max-length-ratio", o.max_length_ratio, err)) == DM_OK &&
        (s = check_ratio("perplexity-ratio", o.perplexity_ratio, err)) == DM_OK &&
        (s = check_sources(&o, err)) == DM_OK && (s = dm_pairs_maker_read(m)) == DM_OK &&
        (s = dm_pairs_maker_match(m)) == DM_OK && (s = limit(m)) == DM_OK && out->n == 0)
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
        dm_pairs_digests_free(&m->tasks);
        dm_pairs_digests_free(&m->seen);
        dm_pairs_digests_free(&m->ids);
        dm_block_free(&m->blocks);
        free(m->of_task);
        free(m);
    }
    free(p->pair);
    *p = (dm_pairs){0};
}
