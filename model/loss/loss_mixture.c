/* Two reference policies instead of one: MRPO (arXiv 2405.16388), its closed form, clipped trust regions and adaptive
 * weights, on the sums that the loss takes of a side (the paper's log-probability of a response; with phi, a weighted
 * sum).
 *
 * What the authors' code does (github.com/thaihungle/MRPO at ad24501, src/llmtuner/train/dpo/trainer_mref.py) is here
 * with `alpha-pairing` crossed; there, too, the policy that training begins from is the first reference, and the other
 * one is clipped. */
#include <math.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"
#include "model/loss/loss.h"

/* |of| / (|of| + |other|); a half where both are 0. */
static double share(double of, double other)
{
    const double sum = fabs(of) + fabs(other);
    return sum == 0 ? 0.5 : fabs(of) / sum;
}

/* second, within first (1 + band) .. first (1 - band); logarithms of probabilities are negative. NaN stays NaN. */
static double clipped(double second, double first, double band)
{
    const double low = first * (1 + band), high = first * (1 - band);
    const double raised = second < low ? low : second;
    return raised > high ? high : raised;
}

/* -log(a_1 + a_2 exp(d)), a_1, a_2 >= 0 and not both 0 */
static double log_harmonic(double a_1, double a_2, double d)
{
    const double x = dm_log(a_1), y = dm_log(a_2) + d;
    const double most = x > y ? x : y, least = x > y ? y : x;
    return -(most + dm_log1p(dm_exp(least - most)));
}

void dm_loss_mixture_shifts(const dm_loss_options *o, const double first[2], const double second[2], double shift[2])
{
    const double mean[2] = {(first[0] + second[0]) / 2, (first[1] + second[1]) / 2};
    const double gap_1 = first[0] - first[1], gap_2 = second[0] - second[1];
    const int fixed = o->alpha_mode == DM_ALPHA_FIXED, crossed = o->alpha_pairing == DM_PAIRING_CROSSED;
    const double alpha_1 = fixed ? 1 - o->alpha : share(gap_1, gap_2);
    const double alpha_2 = fixed ? o->alpha : share(gap_2, gap_1);

    for (int side = 0; side < 2; side++) {
        const double band = o->trust_region * share(mean[side], mean[1 - side]);
        const double d = first[side] - clipped(second[side], first[side], band);
        shift[side] = crossed ? log_harmonic(alpha_2, alpha_1, d) : log_harmonic(alpha_1, alpha_2, d);
    }
}

static double weighted_sum(const dm_loss_options *o, const dm_loss_side *side, const float *logp)
{
    double sum = 0;

    for (size_t i = 0; i < side->n; i++)
        sum += dm_loss_token_weight(o, side, i) * (double)logp[i];
    return sum;
}

void dm_loss_pair_scores(const dm_loss_options *o, const dm_loss_side *chosen, const dm_loss_side *rejected,
                         double s[2])
{
    const dm_loss_side *const side[2] = {chosen, rejected};
    double first[2], second[2], shift[2];

    for (int i = 0; i < 2; i++)
        s[i] = dm_loss_side_score(o, side[i]);
    if (!chosen->second)
        return;
    for (int i = 0; i < 2; i++) {
        first[i] = weighted_sum(o, side[i], side[i]->reference);
        second[i] = weighted_sum(o, side[i], side[i]->second);
    }
    dm_loss_mixture_shifts(o, first, second, shift);
    for (int i = 0; i < 2; i++)
        s[i] -= shift[i];
}
