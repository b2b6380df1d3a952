/* The scalars of kto and of two references: values, derivatives, sums of long trajectories, what is not a number. */
#include <math.h>

#include "model/loss/loss.h"
#include "tests/support/check.h"

#define PAIRS 3
static const double scores_w[PAIRS] = {1.25, -3.5, 0.75}, scores_l[PAIRS] = {-0.5, 2.25, 7.5};

static bool close_to(double got, double want, double relative)
{
    return fabs(got - want) <= relative * fabs(want) || got == want;
}

/* ---- kto ---- */

/* Against central differences of the mean over both examples; the divergence is a constant. */
static void test_kto(void)
{
    const double kls[] = {0, 0.5, 12}, step = 1e-5;

    for (unsigned k = 0; k < 3 * 3; k++) {
        const dm_loss_options o = {.objective = DM_OBJECTIVE_KTO,
                                   .beta = k % 3 ? 0.5 * k : 0.1,
                                   .gamma = 0.7,
                                   .desirable_weight = 1.5,
                                   .undesirable_weight = 0.25};
        const dm_loss_batch b = {.pairs = PAIRS, .kl = kls[k / 3]};
        CK(dm_loss_check(&o, NULL) == DM_OK);
        for (size_t i = 0; i < PAIRS; i++) {
            const double w = scores_w[i], l = scores_l[i];
            const dm_loss_pair p = dm_loss_pair_of(&o, w, l, &b);
            const double want =
                (1.5 - 1.5 / (1 + exp(-o.beta * (w - b.kl))) + 0.25 - 0.25 / (1 + exp(o.beta * (l - b.kl)))) / 2;
            const double d_w = (dm_loss_pair_of(&o, w + step, l, &b).loss - dm_loss_pair_of(&o, w - step, l, &b).loss) /
                               (2 * step * PAIRS);
            const double d_l = (dm_loss_pair_of(&o, w, l + step, &b).loss - dm_loss_pair_of(&o, w, l - step, &b).loss) /
                               (2 * step * PAIRS);
            CK_MSG(fabs(p.loss - want) <= 1e-14, "kto: %.17g, must be %.17g", p.loss, want);
            CK_MSG(fabs(p.d_chosen - d_w) <= 1e-10 && fabs(p.d_rejected - d_l) <= 1e-10,
                   "kto: %g %g, differences %g %g", p.d_chosen, p.d_rejected, d_w, d_l);
        }
    }
    /* a pair is one wanted and one unwanted completion, to the bit; without the other, an item of the mean by itself */
    const dm_loss_options k = {
        .objective = DM_OBJECTIVE_KTO, .beta = 0.3, .desirable_weight = 1.5, .undesirable_weight = 0.25};
    const dm_loss_batch pair = {.pairs = 3, .kl = 0.5}, sides = {.pairs = 6, .kl = 0.5, .examples = 6};
    const dm_loss_pair both = dm_loss_pair_of(&k, 0.7, -0.2, &pair), one = dm_loss_labelled_of(&k, 0.7, true, &sides),
                       other = dm_loss_labelled_of(&k, -0.2, false, &sides);
    CK(one.d_chosen == both.d_chosen && other.d_rejected == both.d_rejected);
    CK(one.d_rejected == 0 && other.d_chosen == 0 && one.reward_rejected == 0);
    CK((one.loss + other.loss) / 2 == both.loss && one.reward_chosen == both.reward_chosen);
    CK(dm_loss_kl_estimate(6, 4) == 1.5 && dm_loss_kl_estimate(-6, 4) == 0 && dm_loss_kl_estimate(0, 0) == 0);
    CK(isnan(dm_loss_kl_estimate(NAN, 4)));
    const dm_loss_options o = {
        .objective = DM_OBJECTIVE_KTO, .beta = 0.1, .desirable_weight = 1, .undesirable_weight = 1};
    CK(isnan(dm_loss_pair_of(&o, 1, 1, &(dm_loss_batch){.pairs = 1, .kl = NAN}).loss));
    CK(dm_loss_pair_of(&o, 1e9, -1e9, &(dm_loss_batch){.pairs = 1}).loss == 0);
    CK(dm_loss_pair_of(&o, -1e9, 1e9, &(dm_loss_batch){.pairs = 1}).loss == 1);
}

/* ---- two references ---- */

static void test_mixture(void)
{
    dm_loss_options o = {.objective = DM_OBJECTIVE_DPO, .beta = 0.1, .gamma = 0.7};
    /* Sums of long trajectories: exp(-first) is far out of range. */
    const double first[2] = {-5000, -8000.5}, second[2] = {-5010.25, -7900};
    double shift[2];

    o.two_references = 1;
    o.alpha_mode = DM_ALPHA_FIXED;
    o.trust_region = 100;
    for (int pairing = 0; pairing < 2; pairing++) {
        o.alpha_pairing = (dm_alpha_pairing)pairing;
        for (int alpha = 0; alpha < 2; alpha++) { /* one of them alone */
            o.alpha = alpha;
            dm_loss_mixture_shifts(&o, first, second, shift);
            for (int i = 0; i < 2; i++)
                CK(shift[i] == (alpha == pairing ? 0 : second[i] - first[i]));
        }
    }
    o.alpha_pairing = DM_PAIRING_OWN; /* the less likely one rules: -log(0.25 e^5000 + 0.75 e^5010.25) + 5000 */
    o.alpha = 0.75;
    dm_loss_mixture_shifts(&o, first, second, shift);
    CK(close_to(shift[0], -10.25 - log(0.75 + 0.25 * exp(-10.25)), 1e-14));
    CK(close_to(shift[1], -log(0.25 + 0.75 * exp(-100.5)), 1e-14));

    /* Clipped on both sides, by 0.1 divided 5005.125 : 7950.25. */
    o.trust_region = 0.001;
    o.alpha = 1;
    dm_loss_mixture_shifts(&o, first, second, shift);
    CK(close_to(shift[0], -5000 * 0.001 * 5005.125 / (5005.125 + 7950.25), 1e-12));
    CK(close_to(shift[1], 8000.5 * 0.001 * 7950.25 / (5005.125 + 7950.25), 1e-12));
    o.trust_region = 0;
    dm_loss_mixture_shifts(&o, first, second, shift);
    CK(shift[0] == 0 && shift[1] == 0);

    /* Adaptive: gaps 3000.5 and 2889.75; equal references are one; gaps of 0 are equal. */
    o.alpha_mode = DM_ALPHA_ADAPTIVE;
    o.alpha = 0.5;
    o.trust_region = 100;
    dm_loss_mixture_shifts(&o, first, second, shift);
    CK(close_to(shift[0], -10.25 - log((2889.75 + 3000.5 * exp(-10.25)) / (2889.75 + 3000.5)), 1e-14));
    o.alpha_pairing = DM_PAIRING_CROSSED;
    dm_loss_mixture_shifts(&o, first, second, shift);
    CK(close_to(shift[0], -10.25 - log((3000.5 + 2889.75 * exp(-10.25)) / (2889.75 + 3000.5)), 1e-14));
    dm_loss_mixture_shifts(&o, first, first, shift);
    CK(fabs(shift[0]) <= 1e-15 && fabs(shift[1]) <= 1e-15);
    dm_loss_mixture_shifts(&o, (const double[2]){-3, -3}, (const double[2]){-3.5, -3.5}, shift);
    CK(close_to(shift[0], -log((1 + exp(0.5)) / 2), 1e-14) && shift[0] == shift[1]);
    dm_loss_mixture_shifts(&o, (const double[2]){0, 0}, (const double[2]){0, 0}, shift);
    CK(fabs(shift[0]) <= 1e-15 && fabs(shift[1]) <= 1e-15);
    dm_loss_mixture_shifts(&o, first, (const double[2]){NAN, -1}, shift);
    CK(isnan(shift[0]) && isnan(shift[1])); /* its share and gap reach both sides */
}

int main(void)
{
    test_kto();
    test_mixture();
    return ck_done("loss_methods");
}
