#include "model/loss/loss.h"

#include <math.h>
#include <stdbool.h>

#include "core/numbers/exact.h"
#include "core/numbers/numeric.h"

/* ---- options ---- */

static dm_status check(const char *option, double value, bool legal, const char *range, dm_error *err)
{
    if (legal)
        return DM_OK;
    return dm_fail(err, DM_ERR_ARGUMENT, "`%s` %g is out of range; legal: %s", option, value, range);
}

static bool smooths(dm_loss_link link)
{
    return link == DM_LINK_SIGMOID || link == DM_LINK_ROBUST || link == DM_LINK_EXO_PAIR || link == DM_LINK_SIMPO;
}

static dm_status check_smoothing(const dm_loss_options *o, dm_loss_link link, dm_error *err)
{
    const double e = o->label_smoothing;

    switch (link) {
    case DM_LINK_ROBUST:
        return check("label-smoothing", e, e >= 0 && e < 0.5, "0 to below 0.5 with the robust link", err);
    case DM_LINK_EXO_PAIR:
        return check("label-smoothing", e, e > 0 && e <= 0.5, "above 0, to 0.5, with the exo-pair link", err);
    default:
        return smooths(link) ? check("label-smoothing", e, e >= 0 && e <= 0.5, "0 to 0.5 with the sigmoid link", err)
                             : check("label-smoothing", e, e == 0,
                                     "0 with a link other than sigmoid, robust, exo-pair and simpo", err);
    }
}

/* Links of a mixture see only what they use, like each by itself. */
static dm_status check_mix(const dm_loss_options *o, dm_error *err)
{
    bool any = false, smoothed = false;
    dm_status s = DM_OK;

    if (o->objective == DM_OBJECTIVE_SFT || o->objective == DM_OBJECTIVE_KTO || o->link != DM_LINK_SIGMOID)
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "`link-mix` is for the objectives dpo, dmpo and dmpo-token, and replaces `link`");
    if (o->mix[DM_LINK_KTO_PAIR] > 0 || o->mix[DM_LINK_SIMPO] > 0)
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "`link-mix` cannot have %s: its scores are others, or depend on the whole batch",
                       o->mix[DM_LINK_SIMPO] > 0 ? "simpo" : "kto-pair");
    for (int i = 0; s == DM_OK && i < DM_LINKS; i++) {
        s = check("link-mix", o->mix[i], o->mix[i] >= 0 && isfinite(o->mix[i]), "weights above 0", err);
        if (s != DM_OK || !(o->mix[i] > 0))
            continue;
        any = true;
        if (smooths((dm_loss_link)i)) {
            smoothed = true;
            s = check_smoothing(o, (dm_loss_link)i, err);
        }
    }
    if (s == DM_OK && !any)
        return dm_fail(err, DM_ERR_ARGUMENT, "`link-mix` has no link");
    return s == DM_OK && !smoothed ? check_smoothing(o, DM_LINK_HINGE, err) : s;
}

static dm_status check_kto(const dm_loss_options *o, dm_error *err)
{
    const double d = o->desirable_weight, u = o->undesirable_weight;
    dm_status s;

    if (o->link != DM_LINK_SIGMOID)
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "`link` is for pairs, kto judges each side by itself; leave `link` out (or sigmoid), or take "
                       "`objective` dpo");
    if ((s = check("label-smoothing", o->label_smoothing, o->label_smoothing == 0, "0 with kto", err)) != DM_OK ||
        (s = check("desirable-weight", d, d >= 0 && isfinite(d), "0 or more", err)) != DM_OK)
        return s;
    return check("undesirable-weight", u, u >= 0 && isfinite(u), "0 or more", err);
}

static dm_status check_references(const dm_loss_options *o, dm_error *err)
{
    const double a = o->alpha, t = o->trust_region;
    dm_status s;

    if (o->objective == DM_OBJECTIVE_SFT || o->objective == DM_OBJECTIVE_KTO)
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "`reference2` is for pairs against two references: take `objective` dpo, "
                       "dmpo or dmpo-token, or leave it out");
    if ((unsigned)o->alpha_mode > DM_ALPHA_FIXED || (unsigned)o->alpha_pairing > DM_PAIRING_CROSSED)
        return dm_fail(err, DM_ERR_ARGUMENT, "unknown mode or pairing of alpha");
    if ((s = check("alpha", a, a >= 0 && a <= 1, "0 to 1", err)) != DM_OK)
        return s;
    if (o->alpha_mode == DM_ALPHA_ADAPTIVE && (a < 0.5 || a > 0.5))
        return dm_fail(err, DM_ERR_ARGUMENT, "`alpha` %g is not used by adaptive weights; add `alpha-mode` fixed", a);
    return check("trust-region", t, t >= 0 && isfinite(t), "0 or more", err);
}

dm_status dm_loss_check(const dm_loss_options *o, dm_error *err)
{
    dm_status s;

    if ((unsigned)o->objective > DM_OBJECTIVE_KTO || (unsigned)o->link >= DM_LINKS || (unsigned)o->phi > DM_PHI_PRINTED)
        return dm_fail(err, DM_ERR_ARGUMENT, "unknown objective, link or form of phi");
    if ((s = check("beta", o->beta, o->beta > 0 && isfinite(o->beta), "above 0", err)) != DM_OK ||
        (s = check("gamma", o->gamma, o->gamma >= 0 && o->gamma <= 1, "0 to 1", err)) != DM_OK ||
        (s = check("sft-weight", o->sft_weight, o->sft_weight >= 0 && isfinite(o->sft_weight), "0 or more", err)) !=
            DM_OK ||
        (o->two_references && (s = check_references(o, err)) != DM_OK))
        return s;
    if (o->mixed)
        return check_mix(o, err);
    if (o->link == DM_LINK_DISCOPOP &&
        (s = check("discopop-temperature", o->temperature, o->temperature > 0 && o->temperature < 1, "above 0, below 1",
                   err)) != DM_OK)
        return s;
    if (o->link == DM_LINK_SIMPO) {
        if (o->two_references || o->objective == DM_OBJECTIVE_SFT || o->objective == DM_OBJECTIVE_KTO)
            return dm_fail(err, DM_ERR_ARGUMENT,
                           "`link` simpo has no reference: it goes with `objective` dpo, dmpo or dmpo-token, without "
                           "`reference2`");
        if ((s = check("simpo-margin", o->margin, o->margin >= 0 && isfinite(o->margin), "0 or more", err)) != DM_OK)
            return s;
    }
    return o->objective == DM_OBJECTIVE_KTO ? check_kto(o, err) : check_smoothing(o, o->link, err);
}

/* ---- scores ---- */

/* 1 - gamma^n for 0 < gamma < 1, without cancellation near 1. */
static double one_minus_power(double gamma, size_t n)
{
    return -dm_expm1((double)n * dm_log1p(gamma - 1));
}

double dm_loss_phi_of(dm_loss_phi form, double gamma, size_t t, size_t T)
{
    if (T == 1)
        return 1;
    if (gamma == 1)
        return (double)(T - t) / (double)T;
    if (gamma == 0)
        return form == DM_PHI_PRINTED || t == 0 ? 1 : 0;
    const double rest = one_minus_power(gamma, T - t) / one_minus_power(gamma, T);
    return form == DM_PHI_PRINTED ? rest : dm_pow(gamma, (double)t) * rest;
}

double dm_loss_token_weight(const dm_loss_options *o, const dm_loss_side *side, size_t i)
{
    double weight = 1;

    if (o->objective == DM_OBJECTIVE_DMPO)
        weight = dm_loss_phi_of(o->phi, o->gamma, side->turn_of[i], side->turns);
    else if (o->objective == DM_OBJECTIVE_DMPO_TOKEN)
        weight = dm_loss_phi_of(o->phi, o->gamma, i, side->n);
    return o->length_normalised || o->link == DM_LINK_SIMPO ? weight / (double)side->n : weight;
}

double dm_loss_side_score(const dm_loss_options *o, const dm_loss_side *side)
{
    double s = 0;

    for (size_t i = 0; i < side->n; i++)
        s += dm_loss_token_weight(o, side, i) * ((double)side->logp[i] - (double)side->reference[i]);
    return s;
}

double dm_loss_side_logp(const dm_loss_side *side)
{
    double sum = 0;

    for (size_t i = 0; i < side->n; i++)
        sum += (double)side->logp[i];
    return sum;
}

/* ---- links ---- */

bool dm_loss_needs_reference(const dm_loss_options *o)
{
    return o->objective != DM_OBJECTIVE_SFT && o->link != DM_LINK_SIMPO;
}

bool dm_loss_needs_mismatched(const dm_loss_options *o)
{
    return o->objective == DM_OBJECTIVE_KTO;
}

double dm_loss_kl_estimate(double sum, size_t sequences)
{
    const double mean = sequences ? sum / (double)sequences : 0;
    return mean < 0 ? 0 : mean;
}

bool dm_loss_needs_batch(const dm_loss_options *o)
{
    return o->link == DM_LINK_KTO_PAIR;
}

/* sigmoid'(x), without cancellation in either tail */
static double sigmoid_slope(double x)
{
    return dm_sigmoid(x) * dm_sigmoid(-x);
}

/* KTO's estimate of a divergence from a mean log-ratio. */
static double divergence(double mean)
{
    return mean > 0 ? mean : 0;
}

dm_loss_batch dm_loss_batch_of(const dm_loss_options *o, const double *s_w, const double *s_l, size_t pairs)
{
    dm_loss_batch b = {.pairs = pairs};

    if (!dm_loss_needs_batch(o))
        return b;
    for (size_t i = 0; i < pairs; i++) {
        b.mean_chosen += s_w[i];
        b.mean_rejected += s_l[i];
    }
    b.mean_chosen /= (double)pairs;
    b.mean_rejected /= (double)pairs;
    for (size_t i = 0; i < pairs; i++) {
        b.slope_chosen += sigmoid_slope(o->beta * (s_w[i] - divergence(b.mean_rejected)));
        b.slope_rejected += sigmoid_slope(o->beta * (divergence(b.mean_chosen) - s_l[i]));
    }
    return b;
}

/* Mean of the two terms 1 - sigmoid(beta (s_w - KL_l)) and 1 - sigmoid(beta (KL_w - s_l)). A score acts through its own
 * term and, where the mean is not clamped, through the divergence in every pair's other term. */
static void kto_pair(dm_loss_pair *l, double beta, double s_w, double s_l, const dm_loss_batch *b)
{
    const double x_w = beta * (s_w - divergence(b->mean_rejected)), x_l = beta * (divergence(b->mean_chosen) - s_l);
    const double n = (double)b->pairs;

    l->loss = (dm_sigmoid(-x_w) + dm_sigmoid(-x_l)) / 2;
    l->d_chosen = -sigmoid_slope(x_w);
    l->d_rejected = sigmoid_slope(x_l);
    if (b->mean_chosen >= 0) /* torch's clamp passes the gradient at the limit, where training begins */
        l->d_chosen -= b->slope_rejected / n;
    if (b->mean_rejected >= 0)
        l->d_rejected += b->slope_chosen / n;
    l->d_chosen *= beta / (2 * n);
    l->d_rejected *= beta / (2 * n);
}

static double examples_of(const dm_loss_batch *b)
{
    return b->examples ? (double)b->examples : 2 * (double)b->pairs;
}

/* desirable_weight (1 - sigmoid(beta (s - kl))), and its part of the batch's mean by s. */
static double kto_desirable(const dm_loss_options *o, double s, const dm_loss_batch *b, double *derivative)
{
    const double x = o->beta * (s - b->kl);

    *derivative = -o->desirable_weight * sigmoid_slope(x) * (o->beta / examples_of(b));
    return o->desirable_weight * dm_sigmoid(-x);
}

/* undesirable_weight (1 - sigmoid(beta (kl - s))). */
static double kto_undesirable(const dm_loss_options *o, double s, const dm_loss_batch *b, double *derivative)
{
    const double x = o->beta * (b->kl - s);

    *derivative = o->undesirable_weight * sigmoid_slope(x) * (o->beta / examples_of(b));
    return o->undesirable_weight * dm_sigmoid(-x);
}

static void kto(dm_loss_pair *l, const dm_loss_options *o, double s_w, double s_l, const dm_loss_batch *b)
{
    const double desirable = kto_desirable(o, s_w, b, &l->d_chosen);

    l->loss = (desirable + kto_undesirable(o, s_l, b, &l->d_rejected)) * ((double)b->pairs / examples_of(b));
}

dm_loss_pair dm_loss_labelled_of(const dm_loss_options *o, double s, bool desirable, const dm_loss_batch *batch)
{
    dm_loss_pair l = {0};
    const double share = (double)batch->pairs / examples_of(batch);

    if (desirable) {
        l.reward_chosen = o->beta * s;
        l.loss = kto_desirable(o, s, batch, &l.d_chosen) * share;
    } else {
        l.reward_rejected = o->beta * s;
        l.loss = kto_undesirable(o, s, batch, &l.d_rejected) * share;
    }
    return l;
}

/* -(1-e) log sigmoid(m) - e log sigmoid(-m); returns its derivative by m. */
static double smoothed(double m, double e, double *loss)
{
    *loss = -(1 - e) * dm_log_sigmoid(m) - e * dm_log_sigmoid(-m);
    return e * dm_sigmoid(m) - (1 - e) * dm_sigmoid(-m);
}

/* Log-ratio modulated: -log sigmoid(m) (1 - k) + exp(-m) k, k = sigmoid(m / t). With t < 1 exp(-m) k is finite. */
static double discopop(double m, double t, double *loss)
{
    const double logistic = -dm_log_sigmoid(m), much = dm_exp(dm_log_sigmoid(m / t) - m), k = dm_sigmoid(m / t),
                 rest = dm_sigmoid(-m / t);

    *loss = logistic * rest + much;
    return -dm_sigmoid(-m) * rest - much + (much - logistic * k) * rest / t;
}

/* The divergence of (q, 1 - q), q = sigmoid(m), from (1 - e, e). */
static double exo_pair(double m, double e, double *loss)
{
    const double q = dm_sigmoid(m), rest = dm_sigmoid(-m), odds = dm_log1p(-e) - dm_log(e);

    *loss = q * (dm_log_sigmoid(m) - dm_log1p(-e)) + rest * (dm_log_sigmoid(-m) - dm_log(e));
    return q * rest * (m - odds);
}

/* A function of h = s_w - s_l; returns dL/dh. */
static double link_loss(const dm_loss_options *o, dm_loss_link link, double h, double *loss)
{
    const double beta = o->beta, m = beta * h, e = o->label_smoothing;

    switch (link) {
    case DM_LINK_EXO_PAIR:
        return beta * exo_pair(m, e, loss);
    case DM_LINK_DISCOPOP:
        return beta * discopop(m, o->temperature, loss);
    case DM_LINK_SIMPO:
        return beta * smoothed(m - o->margin, e, loss);
    case DM_LINK_ROBUST:
        *loss = (-(1 - e) * dm_log_sigmoid(m) + e * dm_log_sigmoid(-m)) / (1 - 2 * e);
        return -beta * ((1 - e) * dm_sigmoid(-m) + e * dm_sigmoid(m)) / (1 - 2 * e);
    case DM_LINK_HINGE:
        *loss = m >= 1 ? 0 : 1 - m; /* NaN stays NaN */
        return m >= 1 ? 0 : -beta;
    case DM_LINK_IPO: {
        const double excess = h - 1 / (2 * beta);
        *loss = excess * excess;
        return 2 * excess;
    }
    default:
        return beta * smoothed(m, e, loss);
    }
}

/* Links that judge each side by itself. False: the link is not one of them. */
static bool side_losses(dm_loss_pair *l, dm_loss_link link, double beta, double s_w, double s_l)
{
    const double w = beta * s_w, r = beta * s_l, m = w - r;

    switch (link) {
    case DM_LINK_APO_ZERO:
        l->loss = dm_sigmoid(-w) + dm_sigmoid(r);
        l->d_chosen = -beta * sigmoid_slope(w);
        l->d_rejected = beta * sigmoid_slope(r);
        return true;
    case DM_LINK_APO_DOWN:
        l->loss = dm_sigmoid(w) + dm_sigmoid(-m);
        l->d_chosen = beta * (sigmoid_slope(w) - sigmoid_slope(m));
        l->d_rejected = beta * sigmoid_slope(m);
        return true;
    case DM_LINK_NCA_PAIR:
        l->loss = -dm_log_sigmoid(w) - dm_log_sigmoid(-w) / 2 - dm_log_sigmoid(-r) / 2;
        l->d_chosen = beta * (dm_sigmoid(w) / 2 - dm_sigmoid(-w));
        l->d_rejected = beta * dm_sigmoid(r) / 2;
        return true;
    case DM_LINK_BCO_PAIR:
        l->loss = -dm_log_sigmoid(w) - dm_log_sigmoid(-r);
        l->d_chosen = -beta * dm_sigmoid(-w);
        l->d_rejected = beta * dm_sigmoid(r);
        return true;
    case DM_LINK_SPPO_HARD: {
        const double win = s_w - 1 / (2 * beta), lose = s_l + 1 / (2 * beta);
        l->loss = win * win + lose * lose;
        l->d_chosen = 2 * win;
        l->d_rejected = 2 * lose;
        return true;
    }
    default:
        return false;
    }
}

/* Loss and derivatives by both scores of one pair. */
static void one_link(dm_loss_pair *l, const dm_loss_options *o, dm_loss_link link, double s_w, double s_l)
{
    if (side_losses(l, link, o->beta, s_w, s_l))
        return;
    l->d_chosen = link_loss(o, link, s_w - s_l, &l->loss);
    l->d_rejected = -l->d_chosen;
}

static void mixed_links(dm_loss_pair *l, const dm_loss_options *o, double s_w, double s_l)
{
    for (int i = 0; i < DM_LINKS; i++) {
        dm_loss_pair one = {0};
        if (!(o->mix[i] > 0))
            continue;
        one_link(&one, o, (dm_loss_link)i, s_w, s_l);
        l->loss += o->mix[i] * one.loss;
        l->d_chosen += o->mix[i] * one.d_chosen;
        l->d_rejected += o->mix[i] * one.d_rejected;
    }
}

dm_loss_pair dm_loss_pair_of(const dm_loss_options *o, double s_w, double s_l, const dm_loss_batch *batch)
{
    dm_loss_pair l = {.reward_chosen = o->beta * s_w, .reward_rejected = o->beta * s_l};

    if (o->objective == DM_OBJECTIVE_KTO) {
        kto(&l, o, s_w, s_l, batch);
        return l;
    }
    if (o->link == DM_LINK_KTO_PAIR) {
        kto_pair(&l, o->beta, s_w, s_l, batch);
        return l;
    }
    if (o->mixed)
        mixed_links(&l, o, s_w, s_l);
    else
        one_link(&l, o, o->link, s_w, s_l);
    l.d_chosen /= (double)batch->pairs;
    l.d_rejected /= (double)batch->pairs;
    return l;
}
