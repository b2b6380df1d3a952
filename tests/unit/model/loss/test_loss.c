/* The losses: phi, the links and their derivatives, and every loss of the golden cases from its own
 * log-probabilities. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/json.h"
#include "model/loss/loss.h"
#include "tests/support/check.h"

static bool close_to(double got, double want, double relative)
{
    return fabs(got - want) <= relative * fabs(want) || got == want;
}

static dm_loss_options defaults(void)
{
    return (dm_loss_options){
        .objective = DM_OBJECTIVE_DMPO, .beta = 0.1, .gamma = 0.7, .temperature = 0.05, .margin = 0.5};
}

/* ---- phi ---- */

/* gamma, t, T, the code's form, the printed form: by mpmath with 50 digits from the formulas in model/loss/loss.h. */
static const struct {
    double gamma;
    size_t t, T;
    double code, printed;
} phis[] = {
    {0.0, 0, 1, 1.0, 1.0},
    {0.0, 0, 2, 1.0, 1.0},
    {0.0, 1, 2, 0.0, 1.0},
    {0.0, 0, 5, 1.0, 1.0},
    {0.0, 4, 5, 0.0, 1.0},
    {0.0, 3, 40, 0.0, 1.0},
    {0.0, 39, 40, 0.0, 1.0},
    {0.0, 2000, 4096, 0.0, 1.0},
    {1e-300, 0, 1, 1.0, 1.0},
    {1e-300, 0, 2, 1.0, 1.0},
    {1e-300, 1, 2, 1e-300, 1.0},
    {1e-300, 0, 5, 1.0, 1.0},
    {1e-300, 4, 5, 0.0, 1.0},
    {1e-300, 3, 40, 0.0, 1.0},
    {1e-300, 39, 40, 0.0, 1.0},
    {1e-300, 2000, 4096, 0.0, 1.0},
    {0.1, 0, 1, 1.0, 1.0},
    {0.1, 0, 2, 1.0, 1.0},
    {0.1, 1, 2, 0.09090909090909091, 0.9090909090909091},
    {0.1, 0, 5, 1.0, 1.0},
    {0.1, 4, 5, 9.000090000900011e-05, 0.9000090000900008},
    {0.1, 3, 40, 0.0010000000000000002, 1.0},
    {0.1, 39, 40, 9.00000000000002e-40, 0.9},
    {0.1, 2000, 4096, 0.0, 1.0},
    {0.7, 0, 1, 1.0, 1.0},
    {0.7, 0, 2, 1.0, 1.0},
    {0.7, 1, 2, 0.4117647058823529, 0.5882352941176471},
    {0.7, 0, 5, 1.0, 1.0},
    {0.7, 4, 5, 0.08658180375752766, 0.3606072626302694},
    {0.7, 3, 40, 0.34299958170059514, 0.9999987804682076},
    {0.7, 39, 40, 2.728632777657066e-07, 0.3000001910042945},
    {0.95, 0, 1, 1.0, 1.0},
    {0.95, 0, 2, 1.0, 1.0},
    {0.95, 1, 2, 0.48717948717948717, 0.5128205128205129},
    {0.95, 0, 5, 1.0, 1.0},
    {0.95, 4, 5, 0.18002599803011737, 0.22102469812861153},
    {0.95, 3, 40, 0.8363430986738087, 0.9754694254833752},
    {0.95, 39, 40, 0.007761207187117902, 0.05737314682776205},
    {0.95, 2000, 4096, 2.8003387993549327e-45, 1.0},
    {0.999999, 0, 1, 1.0, 1.0},
    {0.999999, 0, 2, 1.0, 1.0},
    {0.999999, 1, 2, 0.499999749999875, 0.500000250000125},
    {0.999999, 0, 5, 1.0, 1.0},
    {0.999999, 4, 5, 0.1999996, 0.2000004000004},
    {0.999999, 3, 40, 0.9249986124914437, 0.9250013874928312},
    {0.999999, 39, 40, 0.02499951250284374, 0.025000487503331267},
    {0.999999, 2000, 4096, 0.5112070229853821, 0.5122304606396094},
    {0.9999999999990905, 0, 1, 1.0, 1.0},
    {0.9999999999990905, 0, 2, 1.0, 1.0},
    {0.9999999999990905, 1, 2, 0.4999999999997726, 0.5000000000002274},
    {0.9999999999990905, 0, 5, 1.0, 1.0},
    {0.9999999999990905, 4, 5, 0.1999999999996362, 0.2000000000003638},
    {0.9999999999990905, 3, 40, 0.924999999998738, 0.9250000000012619},
    {0.9999999999990905, 39, 40, 0.02499999999955662, 0.02500000000044338},
    {0.9999999999990905, 2000, 4096, 0.5117187495345945, 0.5117187504654055},
    {0.9999999999999999, 0, 1, 1.0, 1.0},
    {0.9999999999999999, 0, 2, 1.0, 1.0},
    {0.9999999999999999, 1, 2, 0.49999999999999994, 0.5},
    {0.9999999999999999, 0, 5, 1.0, 1.0},
    {0.9999999999999999, 4, 5, 0.19999999999999996, 0.20000000000000004},
    {0.9999999999999999, 3, 40, 0.9249999999999998, 0.9250000000000002},
    {0.9999999999999999, 39, 40, 0.024999999999999946, 0.025000000000000053},
    {0.9999999999999999, 2000, 4096, 0.5117187499999432, 0.5117187500000568},
    {1.0, 0, 1, 1.0, 1.0},
    {1.0, 0, 2, 1.0, 1.0},
    {1.0, 1, 2, 0.5, 0.5},
    {1.0, 0, 5, 1.0, 1.0},
    {1.0, 4, 5, 0.2, 0.2},
    {1.0, 3, 40, 0.925, 0.925},
    {1.0, 39, 40, 0.025, 0.025},
    {1.0, 2000, 4096, 0.51171875, 0.51171875},
};

static void test_phi_values(void)
{
    for (size_t i = 0; i < sizeof phis / sizeof *phis; i++) {
        const double code = dm_loss_phi_of(DM_PHI_CODE, phis[i].gamma, phis[i].t, phis[i].T);
        const double printed = dm_loss_phi_of(DM_PHI_PRINTED, phis[i].gamma, phis[i].t, phis[i].T);
        CK_MSG(close_to(code, phis[i].code, 1e-13), "phi(%zu, %zu), gamma %.17g: %.17g, must be %.17g", phis[i].t,
               phis[i].T, phis[i].gamma, code, phis[i].code);
        CK_MSG(close_to(printed, phis[i].printed, 1e-13), "printed phi(%zu, %zu), gamma %.17g: %.17g, must be %.17g",
               phis[i].t, phis[i].T, phis[i].gamma, printed, phis[i].printed);
    }
}

/* phi(0) = 1, descending, never negative; near gamma = 1 it approaches (T - t) / T. */
static void test_phi_properties(void)
{
    const double gammas[] = {0, 0.1, 0.5, 0.7, 0.99, 1 - 1e-12, 1};

    for (size_t g = 0; g < sizeof gammas / sizeof *gammas; g++) {
        for (int form = 0; form < 2; form++) {
            for (size_t T = 1; T <= 64; T++) {
                double before = 1;
                CK(dm_loss_phi_of((dm_loss_phi)form, gammas[g], 0, T) == 1);
                for (size_t t = 1; t < T; t++) {
                    const double now = dm_loss_phi_of((dm_loss_phi)form, gammas[g], t, T);
                    CK(now >= 0 && now <= before);
                    before = now;
                }
            }
        }
    }
    for (size_t t = 0; t < 100; t++)
        CK(close_to(dm_loss_phi_of(DM_PHI_CODE, 1 - 1e-15, t, 100), (double)(100 - t) / 100, 1e-12));
}

/* ---- weights and scores of a side ---- */

static void test_side(void)
{
    const size_t turn_of[] = {0, 0, 1, 2, 2, 2};
    const float logp[] = {-1, -2, -3, -4, -5, -6}, reference[] = {-2, -2, -2, -2, -2, -2};
    const dm_loss_side side = {.n = 6, .turn_of = turn_of, .turns = 3, .logp = logp, .reference = reference};
    dm_loss_options o = defaults();

    o.gamma = 1; /* weights 1, 1, 2/3, 1/3, 1/3, 1/3 */
    CK(dm_loss_token_weight(&o, &side, 0) == 1 && dm_loss_token_weight(&o, &side, 1) == 1);
    CK(close_to(dm_loss_token_weight(&o, &side, 2), 2 / 3.0, 1e-15));
    CK(close_to(dm_loss_token_weight(&o, &side, 5), 1 / 3.0, 1e-15));
    CK(close_to(dm_loss_side_score(&o, &side), 1 + 0 - 2 / 3.0 - (2 + 3 + 4) / 3.0, 1e-14));
    CK(dm_loss_side_logp(&side) == -21);

    o.length_normalised = 1;
    CK(close_to(dm_loss_side_score(&o, &side), (1 - 2 / 3.0 - 3) / 6, 1e-14));
    CK(close_to(dm_loss_token_weight(&o, &side, 2), 2 / 18.0, 1e-15));
    o.length_normalised = 0;

    o.objective = DM_OBJECTIVE_DMPO_TOKEN;
    for (size_t i = 0; i < side.n; i++)
        CK(close_to(dm_loss_token_weight(&o, &side, i), (double)(6 - i) / 6, 1e-15));
    o.objective = DM_OBJECTIVE_DPO;
    o.gamma = 0.3;
    for (size_t i = 0; i < side.n; i++)
        CK(dm_loss_token_weight(&o, &side, i) == 1);
    CK(dm_loss_side_score(&o, &side) == -9);
    o.objective = DM_OBJECTIVE_DMPO;
    o.gamma = 0; /* the first turn alone */
    CK(dm_loss_side_score(&o, &side) == 1);
}

/* ---- links ---- */

#define PAIRS 3
static const double scores_w[PAIRS] = {1.25, -3.5, 0.75}, scores_l[PAIRS] = {-0.5, 2.25, 7.5};

/* Loss of each of the three pairs above: by mpmath with 50 digits from docs/losses.md's formulas. */
static const struct {
    dm_loss_link link;
    double beta, smoothing, loss[PAIRS];
} links[] = {
    {DM_LINK_SIGMOID, 0.1, 0.0, {0.6094704306630468, 1.021418210069915, 1.0865508328678524}},
    {DM_LINK_SIGMOID, 2.0, 0.0, {0.029750418272620566, 11.50001013004229, 13.500001370958147}},
    {DM_LINK_SIGMOID, 0.5, 0.25, {0.5671945810050557, 2.2111321791580782, 2.5648956999830386}},
    {DM_LINK_SIGMOID, 400.0, 0.125, {87.5, 2012.5, 2362.5}},
    {DM_LINK_ROBUST, 0.1, 0.0, {0.6094704306630468, 1.021418210069915, 1.0865508328678524}},
    {DM_LINK_ROBUST, 0.5, 0.25, {-0.08905541899494429, 4.367382179158078, 5.096145699983039}},
    {DM_LINK_HINGE, 0.1, 0.0, {0.825, 1.575, 1.675}},
    {DM_LINK_HINGE, 4.0, 0.0, {0.0, 24.0, 28.0}},
    {DM_LINK_IPO, 0.1, 0.0, {10.562499999999998, 115.5625, 138.0625}},
    {DM_LINK_IPO, 0.5, 0.0, {0.5625, 45.5625, 60.0625}},
    {DM_LINK_KTO_PAIR, 0.1, 0.0, {0.5166039955500977, 0.607449893065889, 0.6186244025246731}},
    {DM_LINK_KTO_PAIR, 2.0, 0.0, {0.6220084973614406, 0.9945055720227662, 0.9953418673763532}},
    {DM_LINK_APO_ZERO, 0.1, 0.0, {0.9562932301420334, 1.14263146946195, 1.1604374832968578}},
    {DM_LINK_APO_ZERO, 2.0, 0.0, {0.34479960139123866, 1.988102006175006, 1.1824252179041295}},
    {DM_LINK_APO_DOWN, 0.1, 0.0, {0.9875706861366774, 1.0532985178204042, 1.1813630530486177}},
    {DM_LINK_APO_DOWN, 2.0, 0.0, {0.9534540507301128, 1.0009009212034197, 1.8175731052364368}},
    {DM_LINK_NCA_PAIR, 0.1, 0.0, {1.3456283769823967, 1.5560542341530175, 1.5904607142976428}},
    {DM_LINK_NCA_PAIR, 2.0, 0.0, {1.5249654451979358, 9.256891072104958, 8.552120069925266}},
    {DM_LINK_SPPO_HARD, 0.1, 0.0, {34.3125, 124.8125, 174.3125}},
    {DM_LINK_SPPO_HARD, 2.0, 0.0, {1.0625, 20.3125, 60.3125}},
    {DM_LINK_EXO_PAIR, 0.1, 0.001, {2.463642517652658, 3.767277604965341, 3.938285947866888}},
    {DM_LINK_EXO_PAIR, 2.0, 0.25, {0.18754162346112854, 1.3861566072487452, 1.3862729760890167}},
    {DM_LINK_BCO_PAIR, 0.1, 0.0, {1.3010586833304554, 1.6953441574684807, 1.7932211469416952}},
    {DM_LINK_BCO_PAIR, 2.0, 0.0, {0.39215142181077245, 11.511959211302369, 15.201413583885026}},
    {DM_LINK_DISCOPOP, 0.1, 0.0, {0.8327156007702979, 1.0214258654288686, 1.0865520358583205}},
    {DM_LINK_DISCOPOP, 2.0, 0.0, {0.0301973834223185, 11.50001013004229, 13.500001370958147}},
    {DM_LINK_SIMPO, 0.1, 0.0, {0.8687926039781781, 1.368637619399564, 1.4441251883565682}},
    {DM_LINK_SIMPO, 2.0, 0.25, {0.798587351573742, 9.000006144193478, 10.500000831528373}},
};

static void test_link_values(void)
{
    for (size_t k = 0; k < sizeof links / sizeof *links; k++) {
        dm_loss_options o = defaults();
        o.link = links[k].link;
        o.beta = links[k].beta;
        o.label_smoothing = links[k].smoothing;
        CK(dm_loss_check(&o, NULL) == DM_OK);
        const dm_loss_batch b = dm_loss_batch_of(&o, scores_w, scores_l, PAIRS);
        for (size_t i = 0; i < PAIRS; i++) {
            const dm_loss_pair l = dm_loss_pair_of(&o, scores_w[i], scores_l[i], &b);
            CK_MSG(close_to(l.loss, links[k].loss[i], 1e-14), "link %d, beta %g, pair %zu: %.17g, must be %.17g",
                   (int)o.link, o.beta, i, l.loss, links[k].loss[i]);
            CK(l.reward_chosen == o.beta * scores_w[i] && l.reward_rejected == o.beta * scores_l[i]);
        }
    }
}

static int smooths(dm_loss_link link)
{
    return link == DM_LINK_SIGMOID || link == DM_LINK_ROBUST || link == DM_LINK_EXO_PAIR || link == DM_LINK_SIMPO;
}

/* Loss and derivatives of a mixture are the weighted sums of its links'. */
static void test_mixture(void)
{
    dm_loss_options mixed = defaults(), one = defaults();
    dm_loss_batch b = {.pairs = PAIRS};
    double want[3] = {0};

    mixed.mixed = 1;
    mixed.mix[DM_LINK_SIGMOID] = 0.8;
    mixed.mix[DM_LINK_BCO_PAIR] = 0.2;
    mixed.label_smoothing = one.label_smoothing = 0.125;
    CK(dm_loss_check(&mixed, NULL) == DM_OK);
    for (int i = 0; i < DM_LINKS; i++) {
        one.link = (dm_loss_link)i;
        const dm_loss_pair l = dm_loss_pair_of(&one, scores_w[1], scores_l[1], &b);
        want[0] += mixed.mix[i] * l.loss;
        want[1] += mixed.mix[i] * l.d_chosen;
        want[2] += mixed.mix[i] * l.d_rejected;
    }
    const dm_loss_pair l = dm_loss_pair_of(&mixed, scores_w[1], scores_l[1], &b);
    CK(close_to(l.loss, want[0], 1e-14) && close_to(l.d_chosen, want[1], 1e-14) &&
       close_to(l.d_rejected, want[2], 1e-14));
}

static double batch_loss(const dm_loss_options *o, const double *w, const double *l)
{
    const dm_loss_batch b = dm_loss_batch_of(o, w, l, PAIRS);
    double sum = 0;

    for (size_t i = 0; i < PAIRS; i++)
        sum += dm_loss_pair_of(o, w[i], l[i], &b).loss;
    return sum / PAIRS;
}

static double difference(const dm_loss_options *o, double shift_w, double shift_l, size_t pair, int rejected)
{
    const double step = 1e-5;
    double loss[2];

    for (int side = 0; side < 2; side++) {
        double s[2][PAIRS];
        for (size_t i = 0; i < PAIRS; i++) {
            s[0][i] = scores_w[i] + shift_w;
            s[1][i] = scores_l[i] + shift_l;
        }
        s[rejected][pair] += side ? step : -step;
        loss[side] = batch_loss(o, s[0], s[1]);
    }
    return (loss[1] - loss[0]) / (2 * step);
}

/* The derivatives are those of the batch's mean loss, kto-pair's divergences included; the shifts make their means
 * negative and positive. */
static void test_derivatives(void)
{
    const double betas[] = {0.1, 0.5, 2}, shifts[] = {-5, 0, 2};

    for (unsigned k = 0; k < DM_LINKS * 3 * 9; k++) {
        dm_loss_options o = defaults();
        o.link = (dm_loss_link)(k % DM_LINKS);
        o.beta = betas[k / DM_LINKS % 3];
        o.label_smoothing = smooths(o.link) ? 0.125 : 0;
        const double shift_w = shifts[k / (3 * DM_LINKS) % 3], shift_l = shifts[k / (9 * DM_LINKS)];
        double w[PAIRS], l[PAIRS];
        for (size_t i = 0; i < PAIRS; i++) {
            w[i] = scores_w[i] + shift_w;
            l[i] = scores_l[i] + shift_l;
        }
        const dm_loss_batch b = dm_loss_batch_of(&o, w, l, PAIRS);
        for (size_t i = 0; i < PAIRS; i++) {
            const dm_loss_pair p = dm_loss_pair_of(&o, w[i], l[i], &b);
            const double want_w = difference(&o, shift_w, shift_l, i, 0);
            const double want_l = difference(&o, shift_w, shift_l, i, 1);
            CK_MSG(fabs(p.d_chosen - want_w) <= 1e-8 + 1e-7 * fabs(want_w),
                   "link %d, beta %g, pair %zu: dL/ds_w %g, "
                   "central difference %g",
                   (int)o.link, o.beta, i, p.d_chosen, want_w);
            CK_MSG(fabs(p.d_rejected - want_l) <= 1e-8 + 1e-7 * fabs(want_l),
                   "link %d, beta %g, pair %zu: dL/ds_l %g, "
                   "central difference %g",
                   (int)o.link, o.beta, i, p.d_rejected, want_l);
        }
    }
}

/* Where training begins every score is 0, on the clamp of kto-pair: torch's clamp(min=0) passes the gradient there. */
static void test_kto_start(void)
{
    const double zero[PAIRS] = {0};
    dm_loss_options o = defaults();

    o.link = DM_LINK_KTO_PAIR;
    const dm_loss_batch b = dm_loss_batch_of(&o, zero, zero, PAIRS);
    const dm_loss_pair l = dm_loss_pair_of(&o, 0, 0, &b);
    CK(close_to(l.loss, 0.5, 1e-15));
    CK(close_to(l.d_chosen, -0.1 * (0.25 + 0.25) / (2 * PAIRS), 1e-14) && l.d_rejected == -l.d_chosen);
}

/* Scores far out: finite losses, derivatives that saturate. */
static void test_extremes(void)
{
    for (int link = 0; link < DM_LINKS; link++) {
        dm_loss_options o = defaults();
        o.link = (dm_loss_link)link;
        o.label_smoothing = link == DM_LINK_EXO_PAIR ? 0.1 : 0;
        for (int sign = -1; sign <= 1; sign += 2) {
            const double w = sign * 1e6, l = -w;
            const dm_loss_batch b = dm_loss_batch_of(&o, &w, &l, 1);
            const dm_loss_pair p = dm_loss_pair_of(&o, w, l, &b);
            CK(isfinite(p.loss) && isfinite(p.d_chosen) && isfinite(p.d_rejected));
        }
        const double bad = NAN, good = 1;
        const dm_loss_batch b = dm_loss_batch_of(&o, &bad, &good, 1);
        CK(isnan(dm_loss_pair_of(&o, bad, good, &b).loss));
    }
}

/* ---- options ---- */

static void refused(dm_loss_options o, const char *option)
{
    dm_error err = {0};
    CK_MSG(dm_loss_check(&o, &err) == DM_ERR_ARGUMENT && strstr(err.message, option), "not refused for %s: '%s'",
           option, err.message);
}

static void test_options(void)
{
    dm_loss_options o = defaults();
    const double bad_betas[] = {0, -1, NAN, INFINITY}, bad_gammas[] = {-0.1, 1.0001, NAN};

    CK(dm_loss_check(&o, NULL) == DM_OK);
    for (size_t i = 0; i < 4; i++) {
        o.beta = bad_betas[i];
        refused(o, "`beta`");
    }
    o = defaults();
    for (size_t i = 0; i < 3; i++) {
        o.gamma = bad_gammas[i];
        refused(o, "`gamma`");
    }
    o = defaults();
    o.sft_weight = -1;
    refused(o, "`sft-weight`");
    o = defaults();
    o.label_smoothing = 0.5;
    CK(dm_loss_check(&o, NULL) == DM_OK);
    o.link = DM_LINK_ROBUST;
    refused(o, "`label-smoothing`");
    o.label_smoothing = 0.1;
    for (int link = DM_LINK_HINGE; link < DM_LINKS; link++) {
        o.link = (dm_loss_link)link;
        if (!smooths(o.link))
            refused(o, "`label-smoothing`");
    }
    o = defaults();
    o.link = DM_LINK_EXO_PAIR;
    refused(o, "above 0, to 0.5");
    o.link = DM_LINK_DISCOPOP;
    o.temperature = 1;
    refused(o, "`discopop-temperature`");
    o.link = DM_LINK_SIMPO;
    o.margin = -1;
    refused(o, "`simpo-margin`");
    o = defaults();
    o.mixed = 1;
    refused(o, "`link-mix` has no link");
    o.mix[DM_LINK_SIMPO] = 1;
    refused(o, "cannot have simpo");
    o.mix[DM_LINK_SIMPO] = 0;
    o.mix[DM_LINK_HINGE] = 1;
    o.label_smoothing = 0.1;
    refused(o, "`label-smoothing`");
    o.label_smoothing = 0;
    o.link = DM_LINK_IPO;
    refused(o, "replaces `link`");
    o = defaults();
    o.link = (dm_loss_link)17;
    refused(o, "link");

    const dm_loss_options kto = {
        .objective = DM_OBJECTIVE_KTO, .beta = 0.1, .desirable_weight = 1, .undesirable_weight = 1};
    const double bad_weights[] = {-1, NAN, INFINITY}, bad_alphas[] = {-0.1, 1.1, NAN};
    CK(dm_loss_check(&kto, NULL) == DM_OK);
    for (size_t i = 0; i < 3; i++) {
        o = kto;
        o.desirable_weight = bad_weights[i];
        refused(o, "`desirable-weight`");
        o = kto;
        o.undesirable_weight = bad_weights[i];
        refused(o, "`undesirable-weight`");
    }
    o = kto;
    o.label_smoothing = 0.1;
    refused(o, "`label-smoothing`");
    o = kto;
    o.link = DM_LINK_IPO;
    refused(o, "`link`");
    o = kto;
    o.two_references = 1;
    refused(o, "`reference2`");
    o.objective = DM_OBJECTIVE_SFT;
    refused(o, "`reference2`");

    dm_loss_options two = defaults();
    two.two_references = 1;
    two.alpha = 0.5;
    CK(dm_loss_check(&two, NULL) == DM_OK);
    for (size_t i = 0; i < 3; i++) {
        o = two;
        o.alpha_mode = DM_ALPHA_FIXED;
        o.alpha = bad_alphas[i];
        refused(o, "`alpha`");
        o = two;
        o.trust_region = bad_weights[i];
        refused(o, "`trust-region`");
    }
    o = two;
    o.alpha = 0.3; /* which adaptive weights would not use */
    refused(o, "`alpha-mode` fixed");
    o = two;
    o.alpha_pairing = (dm_alpha_pairing)2;
    refused(o, "pairing");
}

/* ---- golden cases ---- */

#define GOLDEN_PAIRS 16
#define TOKENS 4096

typedef struct golden_side {
    size_t turn_of[TOKENS];
    float logp[TOKENS], reference[TOKENS];
    double logp64[TOKENS], reference64[TOKENS];
    dm_loss_side side;
} golden_side;

static golden_side golden[GOLDEN_PAIRS][2];

static void read_side(golden_side *g, const dm_json *v)
{
    size_t n = 0, turns = 0;

    for (const dm_json *t = dm_json_get(v, "turns")->child; t; t = t->next, turns++)
        for (int64_t i = t->child->integer; i < t->child->next->integer && n < TOKENS; i++)
            g->turn_of[n++] = turns;
    const dm_json *p = dm_json_get(v, "logps")->child, *q = dm_json_get(v, "reference_logps")->child;
    size_t read = 0;
    for (; p && q && read < n; p = p->next, q = q->next, read++) {
        g->logp[read] = (float)(g->logp64[read] = p->number);
        g->reference[read] = (float)(g->reference64[read] = q->number);
    }
    CK(read == n && !p && !q);
    g->side = (dm_loss_side){.n = n, .turn_of = g->turn_of, .turns = turns, .logp = g->logp, .reference = g->reference};
}

/* s from the case's own f64 log-probabilities, by the engine's weights. */
static double exact_score(const dm_loss_options *o, const golden_side *g)
{
    double s = 0;

    for (size_t i = 0; i < g->side.n; i++)
        s += dm_loss_token_weight(o, &g->side, i) * (g->logp64[i] - g->reference64[i]);
    return s;
}

static dm_loss_options golden_options(const dm_json *v)
{
    static const char *const names[] = {"sigmoid", "robust", "hinge", "ipo", "kto-pair"};
    const dm_json *method = dm_json_get(v, "method");
    dm_loss_options o = {.beta = dm_json_get(v, "beta")->number,
                         .gamma = dm_json_get(v, "gamma")->number,
                         .label_smoothing = dm_json_get(v, "label_smoothing")->number};

    o.objective = dm_json_is(method, "dpo")          ? DM_OBJECTIVE_DPO
                  : dm_json_is(method, "dmpo-token") ? DM_OBJECTIVE_DMPO_TOKEN
                                                     : DM_OBJECTIVE_DMPO;
    for (unsigned i = 0; i < 5; i++)
        if (dm_json_is(dm_json_get(v, "link"), names[i]))
            o.link = (dm_loss_link)i;
    return o;
}

static void golden_loss(const char *path, const dm_json *v, size_t pairs)
{
    const char *name = dm_json_get(v, "name")->text;
    const dm_loss_options o = golden_options(v);
    const dm_json *rewards[2] = {dm_json_get(v, "chosen_rewards"), dm_json_get(v, "rejected_rewards")}; /* or NULL */
    double s[2][GOLDEN_PAIRS], loss = 0;

    CK(dm_loss_check(&o, NULL) == DM_OK);
    for (int side = 0; side < 2; side++) {
        const dm_json *reward = rewards[side] ? rewards[side]->child : NULL;
        for (size_t i = 0; i < pairs; i++, reward = reward ? reward->next : NULL) {
            const golden_side *g = &golden[i][side];
            s[side][i] = exact_score(&o, g);
            if (reward)
                CK_MSG(fabs(o.beta * s[side][i] - reward->number) <= 1e-9, "%s: %s: reward %zu is %.17g, must be %.17g",
                       path, name, i, o.beta * s[side][i], reward->number);
            CK(fabs(dm_loss_side_score(&o, &g->side) - s[side][i]) <= 1e-4);
        }
    }
    const dm_loss_batch b = dm_loss_batch_of(&o, s[0], s[1], pairs);
    for (size_t i = 0; i < pairs; i++)
        loss += dm_loss_pair_of(&o, s[0][i], s[1][i], &b).loss / (double)pairs;
    CK_MSG(close_to(loss, dm_json_get(v, "loss")->number, 1e-9), "%s: %s: loss %.17g, must be %.17g", path, name, loss,
           dm_json_get(v, "loss")->number);
}

static void golden_sft(const char *path, const dm_json *v, size_t pairs)
{
    double sum = 0;
    size_t tokens = 0;

    for (size_t i = 0; i < pairs; i++) {
        sum += dm_loss_side_logp(&golden[i][0].side);
        tokens += golden[i][0].side.n;
    }
    const dm_json *counted = dm_json_get(v, "tokens");
    CK(!counted || counted->integer == (int64_t)tokens);
    CK_MSG(close_to(-sum / (double)tokens, dm_json_get(v, "loss")->number, 1e-6), "%s: sft: loss %.17g, must be %.17g",
           path, -sum / (double)tokens, dm_json_get(v, "loss")->number);
}

static void golden_case(const char *path)
{
    dm_json_doc *doc;
    dm_error err = {0};
    size_t pairs = 0;

    if (!CK_MSG(dm_json_read(&doc, path, &err) == DM_OK, "%s", err.message))
        return;
    for (const dm_json *p = dm_json_get(dm_json_root(doc), "pairs")->child; p && pairs < GOLDEN_PAIRS; p = p->next) {
        read_side(&golden[pairs][0], dm_json_get(p, "chosen"));
        read_side(&golden[pairs++][1], dm_json_get(p, "rejected"));
    }
    for (const dm_json *v = dm_json_get(dm_json_root(doc), "losses")->child; v; v = v->next) {
        if (dm_json_is(dm_json_get(v, "method"), "sft"))
            golden_sft(path, v, pairs);
        else
            golden_loss(path, v, pairs);
    }
    dm_json_close(&doc);
}

static void test_golden(void)
{
    const char *src = getenv("SRC");
    char root[2048], path[4096];
    size_t cases = 0;

    snprintf(root, sizeof root, "%s/tests/golden", src ? src : ".");
    DIR *d = opendir(root);
    if (!CK_MSG(d != NULL, "%s: cannot be opened; SRC must name the source directory", root))
        return;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s/case.json", root, e->d_name);
        if (e->d_name[0] != '.' && dm_file_exists(path)) {
            golden_case(path);
            cases++;
        }
    }
    closedir(d);
    CK(cases >= 5);
}

int main(void)
{
    test_phi_values();
    test_phi_properties();
    test_side();
    test_link_values();
    test_mixture();
    test_derivatives();
    test_kto_start();
    test_extremes();
    test_options();
    test_golden();
    return ck_done("loss");
}
