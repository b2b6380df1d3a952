#include "model/loss/policy.h"

#include <math.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"

bool dm_policy_equal(const double *reward, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (reward[i] < reward[0] || reward[i] > reward[0])
            return false;
    return true;
}

void dm_policy_advantages(dm_policy_baseline baseline, const double *reward, size_t n, double *advantage)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++) {
        advantage[i] = baseline == DM_BASELINE_NONE ? reward[i] : 0;
        sum += reward[i];
    }
    if (baseline == DM_BASELINE_NONE ||
        dm_policy_equal(reward, n)) /* the mean of equal numbers is not always their value */
        return;
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        advantage[i] =
            baseline == DM_BASELINE_LEAVE_ONE_OUT ? reward[i] - (sum - reward[i]) / (double)(n - 1) : reward[i] - mean;
        squares += advantage[i] * advantage[i];
    }
    if (baseline != DM_BASELINE_MEAN_STD)
        return;
    const double deviation = sqrt(squares / (double)(n - 1));
    for (size_t i = 0; i < n; i++)
        advantage[i] /= deviation;
}

size_t dm_policy_tokens(const double *advantage, size_t n)
{
    size_t tokens = 0;
    for (size_t i = 0; i < n; i++)
        tokens += !isnan(advantage[i]);
    return tokens;
}

size_t dm_policy_turns(const double *advantage, const size_t *turn_of, size_t n)
{
    size_t turns = 0;
    for (size_t i = 0, last = (size_t)-1; i < n; i++)
        if (!isnan(advantage[i]) && turn_of[i] != last) {
            last = turn_of[i];
            turns++;
        }
    return turns;
}

static double token_weight(const dm_policy_options *o, size_t tokens, const dm_policy_batch *batch)
{
    switch (o->aggregate) {
    case DM_AGGREGATE_TOKEN:
        return 1 / (double)batch->tokens;
    case DM_AGGREGATE_SUM:
        return 1 / (double)batch->trajectories;
    default:
        return 1 / ((double)batch->trajectories * (double)tokens);
    }
}

/* The surrogate min(r A, clip(r) A); *slope: its derivative by log r. */
static double clipped(const dm_policy_options *o, double ratio, double advantage, double *slope, size_t *count)
{
    const double low = 1 - o->clip_low, high = 1 + o->clip_high;
    const double within = ratio < low ? low : ratio > high ? high : ratio;
    const double free = ratio * advantage, bound = within * advantage;

    if (bound < free) {
        *slope = 0;
        ++*count;
        return bound;
    }
    *slope = free;
    return free;
}

/* The geometric mean of the tokens' ratios. */
static double sequence_ratio(const dm_policy_trajectory *t, size_t tokens)
{
    double sum = 0;

    for (size_t i = 0; i < t->n; i++)
        if (!isnan(t->advantage[i]))
            sum += (double)t->logp[i] - (double)t->old[i];
    return dm_exp(sum / (double)tokens);
}

static void see_ratio(dm_policy_result *r, double ratio)
{
    r->ratio_low = ratio < r->ratio_low ? ratio : r->ratio_low;
    r->ratio_high = ratio > r->ratio_high ? ratio : r->ratio_high;
}

/* What every token's ratio gives every token, which is the same of all. */
static void add_sequence(const dm_policy_options *o, const dm_policy_trajectory *t, double weight, double *slope,
                         dm_policy_result *r)
{
    const double ratio = sequence_ratio(t, r->tokens);
    double sum = 0;

    see_ratio(r, ratio);
    for (size_t i = 0; i < t->n; i++) {
        double s;
        if (isnan(t->advantage[i]))
            continue;
        r->loss -= weight * clipped(o, ratio, t->advantage[i], &s, &r->clipped);
        sum += weight * s;
    }
    for (size_t i = 0; i < t->n; i++)
        if (!isnan(t->advantage[i]))
            slope[i] -= sum / (double)r->tokens;
}

/* Each turn's ratio is the product of its tokens'; the tokens share its derivative. */
static void add_turns(const dm_policy_options *o, const dm_policy_trajectory *t, double weight, double *slope,
                      dm_policy_result *r)
{
    for (size_t i = 0, end; i < t->n; i = end) {
        size_t tokens = 0, cut = 0;
        double sum = 0, advantage = 0, s;
        for (end = i; end < t->n && t->turn_of[end] == t->turn_of[i]; end++) {
            if (isnan(t->advantage[end]))
                continue;
            sum += (double)t->logp[end] - (double)t->old[end];
            advantage = t->advantage[end];
            tokens++;
        }
        if (tokens == 0)
            continue;
        const double ratio = dm_exp(sum);
        see_ratio(r, ratio);
        r->loss -= weight * clipped(o, ratio, advantage, &s, &cut);
        r->clipped += cut * tokens;
        for (size_t k = i; k < end; k++)
            if (!isnan(t->advantage[k]))
                slope[k] -= weight * s;
    }
}

dm_policy_result dm_policy_loss(const dm_policy_options *o, const dm_policy_trajectory *t, const dm_policy_batch *batch,
                                double *slope)
{
    dm_policy_result r = {.ratio_low = HUGE_VAL, .ratio_high = 0, .tokens = dm_policy_tokens(t->advantage, t->n)};

    for (size_t i = 0; i < t->n; i++)
        slope[i] = 0;
    if (r.tokens == 0)
        return r;
    const size_t units = o->ratio == DM_RATIO_TURN ? dm_policy_turns(t->advantage, t->turn_of, t->n) : r.tokens;
    const double weight = token_weight(o, units, batch);
    if (o->ratio == DM_RATIO_SEQUENCE)
        add_sequence(o, t, weight, slope, &r);
    if (o->ratio == DM_RATIO_TURN)
        add_turns(o, t, weight, slope, &r);
    for (size_t i = 0; i < t->n; i++) {
        const double logp = (double)t->logp[i], advantage = t->advantage[i];
        double s = advantage;
        if (isnan(advantage))
            continue;
        r.logp += logp;
        if (o->ratio != DM_RATIO_SEQUENCE && o->ratio != DM_RATIO_TURN) {
            const double ratio = dm_exp(logp - (double)t->old[i]);
            see_ratio(&r, ratio);
            r.loss -=
                weight * (o->ratio == DM_RATIO_NONE ? advantage * logp : clipped(o, ratio, advantage, &s, &r.clipped));
            slope[i] -= weight * s;
        }
        if (t->reference && o->kl > 0) {
            const double d = (double)t->reference[i] - logp, more = dm_expm1(d);
            r.kl += more - d;
            r.loss += weight * o->kl * (more - d);
            slope[i] -= weight * o->kl * more;
        }
    }
    return r;
}
