/* Statistics of episodes: quantiles against published tables, and means, intervals, differences and scores by turn of
 * episodes that were counted by hand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/rollout/eval.h"
#include "agent/rollout/student.h"
#include "tests/support/check.h"

static int near(double a, double b, double error)
{
    return fabs(a - b) <= error;
}

static void check_quantiles(void)
{
    static const struct {
        size_t freedom;
        double t;
    } table[] = {
        {1, 12.706204736}, {2, 4.302652730},   {3, 3.182446305},    {4, 2.776445105},      {5, 2.570581836},
        {9, 2.262157163},  {10, 2.228138852},  {29, 2.045229642},   {30, 2.042272456},     {63, 1.998340543},
        {99, 1.984216952}, {100, 1.983971519}, {1000, 1.962339081}, {100000000, 1.959966},
    };
    double last = INFINITY;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const double t = dm_t_quantile(table[i].freedom);
        CK_MSG(near(t, table[i].t, table[i].freedom > 10000 ? 1e-6 : 1e-8), "t(%zu) = %.12g instead of %.12g",
               table[i].freedom, t, table[i].t);
        CK(t < last);
        last = t;
    }
}

/* Figures of 30-digit arithmetic. */
static void check_comparisons(void)
{
    static const double x[] = {.05, .01, .04, .08, -.02, .03, .06, .02};
    static const struct {
        size_t freedom;
        double t, outside;
    } table[] = {{1, 1, 0.5},
                 {2, 0.5, 0.666666666666667},
                 {7, 3, 0.0199421261319925},
                 {23, 5, 4.66433315420677e-5},
                 {50, 0.1, 0.92074421365297}};
    static const double all_alike[] = {0.25, 0.25, 0.25};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        CK(near(dm_t_outside(table[i].freedom, table[i].t), table[i].outside, 1e-14));
    CK(near(dm_t_within(1, 0.5), 1, 1e-12) && near(dm_t_within(23, 0.6), 0.857529553688, 1e-11));
    CK(near(dm_t_within(2, 0.99), 9.924843200918, 1e-10) && near(dm_t_within(100, 0.999), 3.390491311164, 1e-10));

    dm_comparison c = dm_comparison_of(x, 8, 4, 0.03);
    CK(c.n == 8 && near(c.mean, 0.03375, 1e-15) && near(c.deviation, 0.0311390888939105, 1e-15));
    CK(near(c.half, 0.0260329297958, 1e-12) && near(c.wide, 0.03671936416877, 1e-12));
    CK(near(c.p, 0.01818011647739, 1e-12) && near(c.power, 0.2804625081636, 1e-12));
    CK_MSG(c.needed == 16, "%zu needed", c.needed);
    c = dm_comparison_of(all_alike, 3, 4, 0.03);
    CK(c.p <= 0 && c.needed == 2 && c.half <= 0);
    c = dm_comparison_of(x, 1, 4, 0.03);
    CK(c.n == 1 && isnan(c.half) && isnan(c.p) && c.needed == 0);

    dm_comparison four[] = {
        {.p = 0.02, .holm = NAN}, {.p = 0.01, .holm = NAN}, {.p = NAN, .holm = NAN}, {.p = 0.9, .holm = NAN}};
    dm_comparisons_holm(four, 4);
    CK(near(four[1].holm, 0.03, 1e-15) && near(four[0].holm, 0.04, 1e-15) && near(four[3].holm, 0.9, 1e-15));
    CK(isnan(four[2].holm));
}

static void check_estimates(void)
{
    static const double x[] = {0, 0.5, 1, 1, 0.25};
    const dm_estimate e = dm_estimate_of(x, 5), one = dm_estimate_of(x + 1, 1), none = dm_estimate_of(x, 0);

    CK(e.n == 5 && near(e.mean, 0.55, 1e-15));
    /* squares: .3025 .0025 .2025 .2025 .09 = .8; sqrt(.8/4/5) = .2; t(4) */
    CK_MSG(near(e.half, 0.2 * 2.776445105, 1e-9), "half %.12g", e.half);
    CK(one.n == 1 && one.mean >= 0.5 && one.mean <= 0.5 && isnan(one.half));
    CK(none.n == 0 && isnan(none.mean) && isnan(none.half));
}

/* Episodes of up to three turns: scores, of which the last is the reward. */
static dm_episode_turn turns[16][3];

static dm_episode episode(size_t i, dm_env_split split, int64_t task, const char *end, size_t n, double a, double b,
                          double c)
{
    const double scores[] = {a, b, c};
    for (size_t k = 0; k < n; k++)
        turns[i][k] = (dm_episode_turn){.action = "Action: x", .score = scores[k], .tokens = (int64_t)(10 * (i + 1))};
    return (dm_episode){.id = "x",
                        .env = "home",
                        .split = split,
                        .task = task,
                        .reward = n && strcmp(end, "environment") != 0 ? scores[n - 1] : 0,
                        .end = end,
                        .turn = turns[i],
                        .turns = n};
}

static void check_episodes(void)
{
    dm_episode first[] = {
        episode(0, DM_ENV_SPLIT_SEEN, 7, "done", 2, 0.5, 1, 0),
        episode(1, DM_ENV_SPLIT_SEEN, 3, "turns", 3, 0, 0.25, 0.25),
        episode(2, DM_ENV_SPLIT_SEEN, 7, "length", 1, 0.5, 0, 0),
        episode(3, DM_ENV_SPLIT_SEEN, 5, "environment", 1, 0.75, 0, 0),
    };
    dm_episode second[] = {
        episode(4, DM_ENV_SPLIT_SEEN, 5, "done", 1, 1, 0, 0), episode(5, DM_ENV_SPLIT_SEEN, 4, "done", 1, 1, 0, 0),
        episode(6, DM_ENV_SPLIT_SEEN, 7, "done", 1, 1, 0, 0), episode(7, DM_ENV_SPLIT_UNSEEN, 3, "done", 1, 1, 0, 0),
        episode(8, DM_ENV_SPLIT_SEEN, 7, "done", 0, 0, 0, 0),
    };
    dm_eval a, b;
    dm_estimate d;
    dm_error err = {0};

    CK(dm_eval_make(&a, &(dm_episodes){.episode = first, .n = 4}, &err) == DM_OK);
    CK(dm_eval_make(&b, &(dm_episodes){.episode = second, .n = 5}, &err) == DM_OK);
    CK(a.episodes == 4 && a.tasks == 3 && a.fewest == 1 && a.most == 2);
    CK(a.task[0].first == &first[1] && a.task[1].first == &first[3] && a.task[2].first == &first[0]);
    CK(near(a.reward.mean, (0.25 + 0 + 0.75) / 3, 1e-15) && near(a.best.mean, (0.25 + 0 + 1) / 3, 1e-15));
    CK(near(a.worst.mean, (0.25 + 0 + 0.5) / 3, 1e-15) && near(a.success.mean, 0.5 / 3, 1e-15));
    CK(near(a.turns, 7.0 / 4, 1e-15) && near(a.tokens, (20 + 60 + 30 + 40) / 4.0, 1e-13));
    CK(a.end[DM_EPISODE_END_DONE] == 1 && a.end[DM_EPISODE_END_TURNS] == 1 && a.end[DM_EPISODE_END_LENGTH] == 1 &&
       a.end[DM_EPISODE_END_ENVIRONMENT] == 1);
    CK(a.turn_limit == 3 && a.by_turn[0] <= 0);
    CK(near(a.by_turn[1], (0 + 0 + 0.5) / 3, 1e-15) && near(a.by_turn[2], (0.25 + 0 + 0.75) / 3, 1e-15));
    CK(memcmp(&a.by_turn[3], &a.reward.mean, sizeof(double)) == 0); /* the end of the curve is the reward, to the bit */

    CK(b.tasks == 4 && b.turn_limit == 1 && near(b.reward.mean, 3.5 / 4, 1e-15));
    CK(dm_eval_difference(&d, &b, &a, &err) == DM_OK && d.n == 2); /* tasks 5 and 7 of split seen */
    CK(near(d.mean, (1.0 - 0.25) / 2, 1e-15) && near(d.half, 12.706204736 * 0.625, 1e-8));
    CK(dm_eval_difference(&d, &a, &b, &err) == DM_OK && d.n == 2 && near(d.mean, -0.375, 1e-15));
    dm_eval_free(&a);
    dm_eval_free(&b);
    CK(dm_eval_make(&a, &(dm_episodes){0}, &err) == DM_ERR_INPUT && strstr(err.message, "no episode"));
    dm_eval_free(&a);
}

int main(void)
{
    check_quantiles();
    check_comparisons();
    check_estimates();
    check_episodes();
    return ck_done("eval");
}
