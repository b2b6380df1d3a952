/* kto and two references through dmpo_train: the figures of an evaluation against those made by hand of dmpo_score's
 * log-probabilities; the same bits resumed anywhere, on other levels and thread counts, from the cache; what is
 * refused. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/files/file.h"
#include "dmpo.h"
#include "io/data/dataset.h"
#include "model/loss/mismatch.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

#define PAIRS 7

/* On every machine; they change with the numerics contract (docs/numerics.md) only. */
#define KTO_WEIGHTS "e3ad5f016e0a44f9354c5b9e1137b36fa72c3a0ec65b145a637071523e20ab8c"
#define MRPO_WEIGHTS "81650abbac43e5acadb23e4e9a2c1e0f24a0c1d3b892be76a68ecaa3b38835cb"

static dm_train_options options(dm_objective_kind objective)
{
    dm_train_options o;
    dm_train_defaults(&o, objective);
    o.model = at("policy");
    o.reference = at("model");
    o.data = at("pairs.jsonl");
    o.eval_data = at("eval.jsonl");
    o.output = at("base");
    o.lr = 1e-2;
    o.batch = 3;
    o.steps = 7;
    o.eval_every = 3;
    o.beta = 0.3;
    return o;
}

static dm_train_options kto(void)
{
    dm_train_options o = options(DM_OBJECTIVE_KTO);
    o.desirable_weight = 1.25;
    o.undesirable_weight = 0.75;
    return o;
}

static dm_train_options mrpo(void)
{
    dm_train_options o = options(DM_OBJECTIVE_DPO);
    o.reference2 = at("second");
    return o;
}

/* Another model of the same shape: trained a little, on the data given. */
static void make_trained(const char *name, const char *data, int64_t steps)
{
    dm_train_options o;
    dm_train_defaults(&o, DM_OBJECTIVE_SFT);
    o.model = at("model");
    o.data = data;
    o.output = at(name);
    o.lr = 1e-2;
    o.batch = 3;
    o.steps = steps;
    const outcome got = train(&o, NULL, 2, NULL, NULL);
    CK_MSG(got.status == DMPO_OK, "%s", got.message);
}

/* ---- by hand ---- */

typedef struct sums {
    size_t n;
    double policy[2 * PAIRS], reference[2 * PAIRS]; /* chosen and rejected in turn */
} sums;

static int collect(void *context, const dmpo_scored *s)
{
    sums *t = context;
    if (CK(t->n < 2 * PAIRS)) {
        t->policy[t->n] = s->logp_sum;
        t->reference[t->n++] = s->reference_logp_sum;
    }
    return 0;
}

static sums score(const char *data, const char *reference)
{
    sums t = {0};
    dm_train_options o;
    dmpo_engine *engine = NULL;
    dmpo_error error = {0};
    dm_train_defaults(&o, DM_OBJECTIVE_DPO);
    o.model = at("policy");
    o.reference = reference;
    o.data = data;
    CK(dmpo_engine_open(&engine, NULL, 2, &error) == DMPO_OK);
    CK_MSG(dm_score(engine, &o, collect, &t, NULL, NULL, &error) == DMPO_OK, "%s", error.message);
    dmpo_engine_close(&engine);
    return t;
}

/* A data file as pairs of token ids. */
static void write_data(const char *path, const dm_dataset *d)
{
    FILE *f = fopen(path, "w");
    if (!CK(f != NULL))
        return;
    for (size_t i = 0; i < d->n; i++)
        for (int s = 0; s < 2; s++) {
            const dm_data_trajectory *t = s ? &d->items[i].rejected : &d->items[i].chosen;
            fprintf(f, "%s\"%s\": {\"ids\": [", s ? ", " : "{", s ? "rejected" : "chosen");
            for (size_t k = 0; k < t->n; k++)
                fprintf(f, "%s%d", k ? ", " : "", (int)t->ids[k]);
            fprintf(f, "], \"turns\": [");
            for (size_t k = 0; k < t->n_turns; k++)
                fprintf(f, "%s[%zu, %zu]", k ? ", " : "", t->turns[k].begin, t->turns[k].end);
            fprintf(f, "]}%s", s ? "}\n" : "");
        }
    fclose(f);
}

static int keep_first(void *context, const dmpo_event *event)
{
    dmpo_metrics *m = context;
    if (event->kind == DMPO_EVENT_EVAL && event->metrics->step == 0)
        *m = *event->metrics;
    return event->kind == DMPO_EVENT_EVAL; /* that was enough */
}

static dmpo_metrics first_evaluation(const dm_train_options *o)
{
    dmpo_metrics m = {.step = -1};
    const outcome got = train(o, NULL, 2, keep_first, &m);
    CK_MSG(got.status == DMPO_ERR_INTERRUPTED && m.step == 0, "%s", got.message);
    dm_dir_remove(o->output, NULL);
    return m;
}

static void equal(const char *what, double got, double want)
{
    CK_MSG(fabs(got - want) <= 1e-10 * (1 + fabs(want)), "%s: %.17g, must be %.17g", what, got, want);
}

/* Groups of the batch, each with the divergence of its own mismatched sequences. */
static void kto_by_hand(void)
{
    const dm_train_options o = kto();
    const dm_data_options how = {.need_pairs = true};
    dm_dataset data = {0}, mismatched = {0};
    double loss = 0, kls = 0;

    CK(dm_dataset_open(&data, at("eval.jsonl"), &how, NULL) == DM_OK && data.n == PAIRS);
    CK(dm_mismatched_sequences(&mismatched, &data, 4096, "", NULL) == DM_OK);
    write_data(at("mismatched.jsonl"), &mismatched);
    const sums t = score(at("eval.jsonl"), at("model")), u = score(at("mismatched.jsonl"), at("model"));
    CK(t.n == 2 * PAIRS && u.n == 2 * PAIRS);
    for (size_t first = 0; first < PAIRS; first += 3) {
        const size_t end = first + 3 < PAIRS ? first + 3 : PAIRS;
        double kl = 0;
        for (size_t k = 2 * first; k < 2 * end; k++)
            kl += (u.policy[k] - u.reference[k]) / (double)(2 * (end - first));
        kl = fmax(kl, 0);
        for (size_t i = first; i < end; i++) {
            const double w = t.policy[2 * i] - t.reference[2 * i], l = t.policy[2 * i + 1] - t.reference[2 * i + 1];
            loss += (1.25 * (1 - 1 / (1 + exp(-0.3 * (w - kl)))) + 0.75 * (1 - 1 / (1 + exp(-0.3 * (kl - l))))) / 2;
            kls += kl;
        }
    }
    const dmpo_metrics m = first_evaluation(&o);
    CK_MSG(kls > 0, "the policy is the reference: nothing is checked");
    equal("kto's divergence", m.kl, kls / PAIRS);
    equal("kto's loss", m.loss, loss / PAIRS);
    dm_dataset_close(&mismatched);
    dm_dataset_close(&data);
}

static double log_mixture(double a_1, double first, double a_2, double second)
{
    const double low = fmin(first, second); /* the less likely one rules */
    return low - log(a_1 * exp(low - first) + a_2 * exp(low - second));
}

static void mrpo_by_hand(dm_alpha_mode mode, double alpha, dm_alpha_pairing pairing, double region)
{
    dm_train_options o = mrpo();
    const sums t = score(at("eval.jsonl"), at("model")), u = score(at("eval.jsonl"), at("second"));
    double loss = 0, margin = 0;

    o.alpha_mode = mode;
    o.alpha = alpha;
    o.alpha_pairing = pairing;
    o.trust_region = region;
    for (size_t i = 0; i < 2 * PAIRS; i += 2) {
        const double *p = t.policy + i, *one = t.reference + i, *two = u.reference + i;
        const double gap_1 = fabs(one[0] - one[1]), gap_2 = fabs(two[0] - two[1]);
        const double a = mode == DM_ALPHA_FIXED ? alpha : gap_2 / (gap_1 + gap_2);
        const double a_2 = pairing == DM_PAIRING_OWN ? a : 1 - a;
        const double mean[2] = {-(one[0] + two[0]) / 2, -(one[1] + two[1]) / 2};
        double s[2];
        for (int k = 0; k < 2; k++) {
            const double e = region * mean[k] / (mean[0] + mean[1]);
            const double second = fmin(fmax(two[k], one[k] * (1 + e)), one[k] * (1 - e));
            s[k] = p[k] - log_mixture(1 - a_2, one[k], a_2, second);
        }
        loss += log1p(exp(-0.3 * (s[0] - s[1])));
        margin += 0.3 * (s[0] - s[1]);
    }
    const dmpo_metrics m = first_evaluation(&o);
    equal("mrpo's loss", m.loss, loss / PAIRS);
    equal("mrpo's margin", m.reward_margin, margin / PAIRS);
    CK(isnan(m.kl));
}

/* ---- the same bits ---- */

typedef struct stop {
    int events, at; /* steps and evaluations */
} stop;

static int stop_at(void *context, const dmpo_event *event)
{
    stop *s = context;
    if (event->kind == DMPO_EVENT_STEP || event->kind == DMPO_EVENT_EVAL)
        s->events++;
    return s->events == s->at;
}

static void check_again(dm_train_options o, const char *what, const char *isa, unsigned threads)
{
    o.output = at("other");
    const outcome got = train(&o, isa, threads, NULL, NULL);
    CK_MSG(got.status == DMPO_OK, "%s: %s", what, got.message);
    check_same_run(at("base"), at("other"), what);
    dm_dir_remove(at("other"), NULL);
}

static void same_bits(dm_train_options o, const char *name, const char *weights)
{
    outcome got = train(&o, NULL, 1, NULL, NULL);
    char what[64];

    CK_MSG(got.status == DMPO_OK, "%s: %s", name, got.message);
    CK_MSG(strcmp(got.result.weights_sha256, weights) == 0, "%s: weights %s, not %s", name, got.result.weights_sha256,
           weights);
    CK(o.objective == DM_OBJECTIVE_KTO ? got.result.after.kl >= 0 : isnan(got.result.after.kl));
    for (int n = 1; n <= 7 + 4; n += fast() ? 4 : 1) {
        stop s = {0, n};
        snprintf(what, sizeof what, "%s stopped after %d events", name, n);
        o.output = at("other");
        o.resume = 1;
        got = train(&o, NULL, 2, stop_at, &s);
        CK_MSG(got.status == DMPO_ERR_INTERRUPTED || n == 7 + 4, "%s: %s", what, got.message);
        got = train(&o, NULL, 3, NULL, NULL);
        CK_MSG(got.status == DMPO_OK, "%s: %s", what, got.message);
        check_same_run(at("base"), at("other"), what);
        dm_dir_remove(at("other"), NULL);
    }
    o.resume = 0;
    check_again(o, "scalar, 2 threads", "scalar", 2);
    o.recompute = 1;
    check_again(o, "8 threads, recomputing", NULL, 8);
    o.recompute = -1;
    o.reference_cache = at("cache");
    check_again(o, "a cache is made", NULL, 2);
    check_again(o, "a cache is read", NULL, 2);
}

/* A cache of another second reference, or of none, is not taken. */
static void other_cache(void)
{
    dm_train_options o = mrpo();
    o.reference_cache = at("cache");
    check_again(o, "its own cache", NULL, 2);
    o.reference2 = at("policy");
    o.output = at("other");
    CK(train(&o, NULL, 2, NULL, NULL).status == DMPO_OK);
    CK(!same_file(at("base/model.safetensors"), at("other/model.safetensors")));
    o.reference2 = NULL;
    o.overwrite = true;
    CK(train(&o, NULL, 2, NULL, NULL).status == DMPO_OK);
    dm_dir_remove(at("other"), NULL);
    check_again(mrpo(), "without a cache", NULL, 2);
    o = mrpo();
    o.reference_cache = at("cache");
    check_again(o, "made anew", NULL, 2);
}

/* Another run's checkpoint: what only these methods read decides, too. */
static void other_checkpoint(dm_train_options base, dm_train_options changed, const char *what)
{
    base.output = changed.output = at("other");
    CK(train(&base, NULL, 2, NULL, NULL).status == DMPO_OK);
    changed.resume = 1;
    const outcome got = train(&changed, NULL, 2, NULL, NULL);
    CK_MSG(got.status == DMPO_ERR_INPUT && strstr(got.message, "belongs to a run with other options"), "%s: %s", what,
           got.message);
    dm_dir_remove(at("other"), NULL);
}

/* ---- refused ---- */

static void refused(dm_train_options o, int status, const char *text)
{
    o.output = at("other");
    const outcome got = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == status && strstr(got.message, text), "not refused for '%s': %d %s", text, got.status,
           got.message);
    CK(!dm_dir_exists(at("other")));
}

static void refusals(void)
{
    dm_train_options o = options(DM_OBJECTIVE_DPO);
    o.alpha_pairing = DM_PAIRING_CROSSED;
    refused(o, DMPO_ERR_ARGUMENT, "`reference2` names the second one");
    o = options(DM_OBJECTIVE_DPO);
    o.alpha_mode = DM_ALPHA_FIXED;
    refused(o, DMPO_ERR_ARGUMENT, "`reference2` names the second one");
    o = options(DM_OBJECTIVE_DPO);
    o.trust_region = 0.2;
    refused(o, DMPO_ERR_ARGUMENT, "`reference2` names the second one");
    o = options(DM_OBJECTIVE_DPO);
    o.desirable_weight = 2;
    refused(o, DMPO_ERR_ARGUMENT, "add `objective` kto");
    o = kto();
    o.reference2 = at("second");
    refused(o, DMPO_ERR_ARGUMENT, "take `objective` dpo");
    o = kto();
    o.link = DM_LINK_HINGE;
    refused(o, DMPO_ERR_ARGUMENT, "kto judges each side by itself");
    o = mrpo();
    o.alpha_mode = DM_ALPHA_FIXED;
    o.alpha = 1.5;
    refused(o, DMPO_ERR_ARGUMENT, "`alpha` 1.5 is out of range; legal: 0 to 1");
    o = mrpo();
    o.reference2 = at("nowhere");
    refused(o, DMPO_ERR_FILE, "nowhere");
    o = kto();
    o.data = at("one.jsonl");
    refused(o, DMPO_ERR_INPUT, "one.jsonl: kto needs items with different prompts");
    o = kto();
    o.eval_data = at("one.jsonl");
    refused(o, DMPO_ERR_INPUT, "one.jsonl: kto needs items with different prompts");
}

int main(void)
{
    work_open();
    make_model(at("model"), &small_shape);
    make_pairs(at("pairs.jsonl"), 1, 8, 4, 2, VOCAB, -1);
    make_pairs(at("eval.jsonl"), 2, PAIRS, 4, 2, VOCAB, -1);
    make_pairs(at("one.jsonl"), 3, 1, 4, 2, VOCAB, -1);
    make_trained("policy", at("eval.jsonl"), 6);
    make_trained("second", at("pairs.jsonl"), 4);

    kto_by_hand();
    mrpo_by_hand(DM_ALPHA_ADAPTIVE, 0.5, DM_PAIRING_OWN, 0.1);
    mrpo_by_hand(DM_ALPHA_ADAPTIVE, 0.5, DM_PAIRING_CROSSED, 0.1);
    mrpo_by_hand(DM_ALPHA_FIXED, 0.2, DM_PAIRING_OWN, 10);
    mrpo_by_hand(DM_ALPHA_FIXED, 0.2, DM_PAIRING_CROSSED, 10);
    same_bits(kto(), "kto", KTO_WEIGHTS);
    dm_dir_remove(at("base"), NULL);
    same_bits(mrpo(), "mrpo", MRPO_WEIGHTS);
    other_cache();
    dm_train_options o = kto();
    o.desirable_weight = 1;
    other_checkpoint(kto(), o, "another weight");
    o = mrpo();
    o.trust_region = 0.2;
    other_checkpoint(mrpo(), o, "another trust region");
    o = mrpo();
    o.reference2 = at("policy");
    other_checkpoint(mrpo(), o, "another second reference");
    refusals();
    work_close();
    return ck_done("train_methods");
}
