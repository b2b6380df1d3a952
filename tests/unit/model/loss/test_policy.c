/* Policy gradients against figures that an independent script made from the papers' formulas in 60-digit arithmetic,
 * the gradients by central differences (tests/tools/policy_golden.py); and the first update of an on-policy run: every
 * ratio exactly 1, the divergence and its derivative exactly 0. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "model/loss/policy.h"
#include "model/loss/value.h"
#include "tests/support/check.h"

#define LIMIT 1e-12
#define MOST 16

static double largest;

static void check_near(const char *what, const char *name, double got, double want)
{
    const double error = fabs(got - want) / (fabs(want) > 1e-3 ? fabs(want) : 1e-3);
    largest = error > largest ? error : largest;
    CK_MSG(error <= LIMIT, "%s: %s is %.17g, must be %.17g", name, what, got, want);
}

static int choice(const dm_json *c, const char *key, const char *const *names)
{
    int i = 0;
    while (names[i] && !dm_json_is(dm_json_get(c, key), names[i]))
        i++;
    CK_MSG(names[i] != NULL, "no such %s", key);
    return i + 1; /* 0 is AUTO */
}

static size_t numbers(const dm_json *list, double *out)
{
    size_t n = 0;
    for (const dm_json *v = list->child; v && n < MOST; v = v->next)
        out[n++] = v->number;
    return n;
}

static size_t floats(const dm_json *list, float *out)
{
    double x[MOST];
    const size_t n = numbers(list, x);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)x[i];
    return n;
}

static void check_case(const dm_json *c)
{
    static const char *const baselines[] = {"mean-std", "mean", "leave-one-out", NULL};
    static const char *const ratios[] = {"token", "sequence", "none", NULL};
    static const char *const aggregates[] = {"mean", "token", "sum", NULL};
    const char *const name = dm_json_get(c, "name")->text;
    const dm_policy_options o = {.baseline = (dm_policy_baseline)choice(c, "baseline", baselines),
                                 .ratio = (dm_policy_ratio)choice(c, "ratio", ratios),
                                 .aggregate = (dm_policy_aggregate)choice(c, "aggregate", aggregates),
                                 .clip_low = dm_json_get(c, "clip_low")->number,
                                 .clip_high = dm_json_get(c, "clip_high")->number,
                                 .kl = dm_json_get(c, "kl")->number};
    double reward[MOST], want[MOST], advantage[MOST], loss = 0;
    dm_policy_batch batch = {.trajectories = numbers(dm_json_get(c, "rewards"), reward)};

    dm_policy_advantages(o.baseline, reward, batch.trajectories, advantage);
    numbers(dm_json_get(c, "advantages"), want);
    for (size_t i = 0; i < batch.trajectories; i++)
        check_near("an advantage", name, advantage[i], want[i]);
    for (const dm_json *t = dm_json_get(c, "logp")->child; t; t = t->next)
        batch.tokens += t->length;
    const dm_json *logps = dm_json_get(c, "logp")->child, *olds = dm_json_get(c, "old")->child;
    const dm_json *references = dm_json_get(c, "reference")->child, *slopes = dm_json_get(c, "gradient")->child;
    for (size_t i = 0; i < batch.trajectories; i++) {
        float logp[MOST], old[MOST], reference[MOST];
        double each[MOST], slope[MOST];
        /* one more token, which the policy did not choose, changes nothing */
        const size_t n = floats(logps, logp), more = i % 2;
        floats(olds, old);
        floats(references, reference);
        numbers(slopes, want);
        for (size_t k = 0; k < n; k++)
            each[k] = advantage[i];
        logp[n] = old[n] = reference[n] = -9;
        each[n] = NAN;
        const dm_policy_trajectory t = {n + more, logp, old, o.kl > 0 ? reference : NULL, each, NULL};
        loss += dm_policy_loss(&o, &t, &batch, slope).loss;
        for (size_t k = 0; k < n; k++)
            check_near("a derivative", name, slope[k], want[k]);
        CK(!more || slope[n] == 0);
        logps = logps->next;
        olds = olds->next;
        references = references->next;
        slopes = slopes->next;
    }
    check_near("the loss", name, loss, dm_json_get(c, "loss")->number);
}

/* The numbers of a list of lists, one after another. */
static size_t flat(const dm_json *list, double *out)
{
    size_t n = 0;
    for (const dm_json *v = list->child; v; v = v->next)
        n += numbers(v, out + n);
    return n;
}

/* Advantages by GAE, the values' loss and slope; then the policy's loss with the script's whitened advantages. */
static void check_ppo(const dm_json *c)
{
    const char *const name = dm_json_get(c, "name")->text;
    const bool by_turn = dm_json_get(c, "by_turn")->boolean;
    const double discount = dm_json_get(c, "discount")->number, lambda = dm_json_get(c, "lambda")->number;
    const dm_policy_options o = {.ratio = by_turn ? DM_RATIO_TURN : DM_RATIO_TOKEN,
                                 .aggregate = DM_AGGREGATE_TOKEN,
                                 .clip_low = 0.2,
                                 .clip_high = 0.2};
    double white[MOST], target[MOST], now[MOST], losses[MOST], slopes[MOST], want[MOST], loss = 0;
    const size_t states = flat(dm_json_get(c, "advantages"), white);
    dm_policy_batch batch = {.tokens = states};

    flat(dm_json_get(c, "targets"), target);
    flat(dm_json_get(c, "now"), now);
    flat(dm_json_get(c, "value_losses"), losses);
    flat(dm_json_get(c, "value_slopes"), slopes);
    flat(dm_json_get(c, "gradient"), want);
    const dm_json *values = dm_json_get(c, "value")->child, *rewards = dm_json_get(c, "reward")->child;
    const dm_json *turns = dm_json_get(c, "logp")->child, *before = dm_json_get(c, "old")->child;
    for (size_t state = 0, token = 0; values; batch.trajectories++) {
        float logp[MOST], old[MOST];
        double value[MOST], turn_reward[MOST], reward[MOST] = {0}, advantage[MOST], each[MOST], slope[MOST];
        size_t turn_of[MOST], n = 0, k = 0, steps = numbers(values, value);
        numbers(rewards, turn_reward);
        for (const dm_json *t = turns->child, *b = before->child; t; t = t->next, b = b->next, k++) {
            const size_t size = floats(t, logp + n);
            floats(b, old + n);
            for (size_t i = n; i < n + size; i++) {
                turn_of[i] = k;
                each[i] = white[state + (by_turn ? k : i)];
            }
            n += size;
            reward[by_turn ? k : n - 1] = turn_reward[k];
        }
        dm_value_gae(reward, value, steps, discount, lambda, advantage);
        for (size_t i = 0; i < steps; i++) {
            double got;
            check_near("a target", name, advantage[i] + value[i], target[state + i]);
            check_near(
                "a value's loss", name,
                dm_value_loss(now[state + i], value[i], target[state + i], dm_json_get(c, "value_clip")->number, &got),
                losses[state + i]);
            check_near("a value's slope", name, got, slopes[state + i]);
        }
        const dm_policy_trajectory t = {n, logp, old, NULL, each, turn_of};
        loss += dm_policy_loss(&o, &t, &batch, slope).loss;
        for (size_t i = 0; i < n; i++)
            check_near("a derivative", name, slope[i], want[token + i]);
        state += steps;
        token += n;
        values = values->next;
        rewards = rewards->next;
        turns = turns->next;
        before = before->next;
    }
    check_near("the loss", name, loss, dm_json_get(c, "loss")->number);
}

static void check_golden(void)
{
    dm_json_doc *doc;
    dm_error err = {0};
    size_t n = 0;
    char path[512];
    const char *src = getenv("SRC");

    snprintf(path, sizeof path, "%s/tests/golden-policy/cases.json", src ? src : ".");
    if (!CK_MSG(dm_json_read(&doc, path, &err) == DM_OK, "%s", err.message))
        return;
    for (const dm_json *c = dm_json_get(dm_json_root(doc), "groups")->child; c; c = c->next, n++)
        check_case(c);
    for (const dm_json *c = dm_json_get(dm_json_root(doc), "ppo")->child; c; c = c->next, n++)
        check_ppo(c);
    CK(n == 16);
    dm_json_close(&doc);
}

/* What sampling said is what the first forward says: no rounding is left. */
static void check_first_update(void)
{
    static const dm_policy_ratio ratios[] = {DM_RATIO_TOKEN, DM_RATIO_SEQUENCE, DM_RATIO_NONE, DM_RATIO_TURN};
    static const size_t turn_of[4] = {0, 0, 1, 2};
    const float logp[4] = {-0.1F, -1e-30F, -87.5F, -3};
    const double advantage[4] = {0.7, 0.7, 0.7, 0.7};

    for (int i = 0; i < 4; i++) {
        dm_policy_options o = {.ratio = ratios[i], .aggregate = DM_AGGREGATE_SUM, .clip_low = 0.2, .clip_high = 0.2};
        const dm_policy_trajectory t = {4, logp, logp, logp, advantage, turn_of};
        const dm_policy_batch batch = {1, 4};
        double with[4], without[4];
        dm_policy_loss(&o, &t, &batch, without);
        o.kl = 0.5;
        const dm_policy_result r = dm_policy_loss(&o, &t, &batch, with);
        CK(r.ratio_low == 1 && r.ratio_high == 1);
        CK(r.kl == 0 && r.clipped == 0 && memcmp(with, without, sizeof with) == 0);
    }
}

static void check_advantages(void)
{
    const double equal[3] = {0.1, 0.1, 0.1}, one[1] = {1};
    double a[3];

    for (int b = DM_BASELINE_MEAN_STD; b <= DM_BASELINE_LEAVE_ONE_OUT; b++) {
        dm_policy_advantages((dm_policy_baseline)b, equal, 3, a);
        CK(a[0] == 0 && a[1] == 0 && a[2] == 0);
        dm_policy_advantages((dm_policy_baseline)b, one, 1, a);
        CK(a[0] == 0);
    }
    CK(dm_policy_equal(equal, 3) && dm_policy_equal(one, 1) && dm_policy_equal(NULL, 0));
}

int main(void)
{
    check_golden();
    check_first_update();
    check_advantages();
    printf("policy: largest relative error %.2g\n", largest);
    return ck_done("policy");
}
