#include "agent/experiment/questions.h"

#include <math.h> /* isnan only */
#include <stdlib.h>

static bool depends(const dm_recipe_method *m)
{
    return m->kind->learns == DM_METHOD_LEARNS_PAIRS;
}

/* ---- which comparisons there are ---- */

/* The setting that a side has where the question is asked with this one; false: the method does not run in it. */
static bool setting_of(const dm_recipe_side *side, const dm_recipe_setting *asked, const dm_recipe_setting **out)
{
    const dm_recipe_method *m = side->method;

    *out = !depends(m) ? NULL : side->setting ? side->setting : asked;
    return !*out || !(*out)->name || !m->settings || dm_recipe_names(m->settings, (*out)->name);
}

/* Without settings of their own, the sides have those of the recipe, one after another. */
static size_t list(const dm_recipe *r, dm_experiment_answer *out)
{
    size_t n = 0;

    for (size_t q = 0; q < r->questions; q++) {
        const dm_recipe_question *x = &r->question[q];
        const bool each =
            (depends(x->one.method) && !x->one.setting) || (depends(x->other.method) && !x->other.setting);
        for (size_t e = 0; e < r->envs; e++)
            for (size_t c = 0; c < (each ? r->settings : 1); c++) {
                const dm_recipe_setting *asked = &r->setting[c], *one, *other;
                if (each && x->one.setting) /* the other side goes with it */
                    asked = x->one.setting;
                if (!r->env[e].specification || (x->env && x->env != &r->env[e]) || !setting_of(&x->one, asked, &one) ||
                    !setting_of(&x->other, asked, &other))
                    continue;
                if (out)
                    out[n] = (dm_experiment_answer){.question = x, .env = &r->env[e], .one = one, .other = other};
                n++;
                if (each && x->one.setting)
                    break;
            }
    }
    return n;
}

/* ---- answers ---- */

static const dm_experiment_result *find(const dm_experiment_results *r, const dm_experiment_answer *a, bool one,
                                        uint64_t seed)
{
    const dm_recipe_side *side = one ? &a->question->one : &a->question->other;

    for (size_t i = 0; i < r->n; i++) {
        const dm_experiment_evaluation *e = r->result[i].of;
        if (e->of.env == a->env && e->of.method == side->method && e->of.setting == (one ? a->one : a->other) &&
            e->of.x == side->x && e->of.seed == seed && e->split == a->question->split)
            return &r->result[i];
    }
    return NULL;
}

static double mean(const dm_experiment_result *r)
{
    return dm_estimate_of(r->reward, r->tasks).mean;
}

dm_status dm_experiment_answers(const dm_experiment_results *r, const dm_recipe *recipe, dm_experiment_answer **out,
                                size_t *n, dm_error *err)
{
    const size_t all = list(recipe, NULL);
    double *x = malloc((recipe->seeds + 1) * sizeof *x);
    dm_comparison *c = calloc(all + 1, sizeof *c);

    *n = 0;
    *out = calloc(all + 1, sizeof **out);
    if (x && c && *out) {
        *n = list(recipe, *out);
        for (size_t i = 0; i < all; i++) {
            size_t pairs = 0;
            for (size_t s = 0; s < recipe->seeds; s++) {
                const dm_experiment_result *one = find(r, &(*out)[i], true, recipe->seed[s]),
                                           *other = find(r, &(*out)[i], false, recipe->seed[s]);
                if (one && other && one->tasks == other->tasks)
                    x[pairs++] = mean(one) - mean(other);
            }
            c[i] = dm_comparison_of(x, pairs, all, recipe->difference);
        }
        dm_comparisons_holm(c, all);
        for (size_t i = 0; i < all; i++)
            (*out)[i].c = c[i];
    }
    const bool done = x && c && *out;
    free(x);
    free(c);
    return done ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "no memory for the answers");
}

/* ---- in words ---- */

/* setting: where it tells the sides apart, else NULL. */
static void add_side(dm_text *t, const dm_recipe_side *side, const dm_recipe_setting *setting)
{
    char number[DM_DOUBLE_TEXT];

    dm_text_print(t, "%s", side->method->name);
    if (setting && setting->name)
        dm_text_print(t, " (%s)", setting->name);
    if (!side->x)
        return;
    if (side->x->type == DM_JSON_NUMBER)
        dm_double_text(number, side->x->number);
    dm_text_print(t, " (%s %s)", side->method->sweep->key,
                  side->x->type == DM_JSON_NUMBER   ? number
                  : side->x->type == DM_JSON_STRING ? side->x->text
                  : side->x->boolean                ? "on"
                                                    : "off");
}

void dm_experiment_answer_text(const dm_experiment_answer *a, const dm_recipe *recipe, dm_text *out)
{
    const dm_comparison *c = &a->c;
    const bool apart = a->one && a->other && a->one != a->other;
    const dm_recipe_setting *one = apart ? a->one : NULL, *other = apart ? a->other : NULL;
    const double low = c->mean - c->wide, high = c->mean + c->wide;

    if (c->n < 2) {
        dm_text_print(out, "open: %zu seed%s cannot say", c->n, c->n == 1 ? "" : "s");
        return;
    }
    add_side(out, &a->question->one, one);
    if (low > 0 || high < 0) {
        dm_text_print(out, " is %s ", low > 0 ? "above" : "below");
        add_side(out, &a->question->other, other);
        dm_text_print(out, " by %.3f (%.3f to %.3f)", low > 0 ? c->mean : -c->mean, low > 0 ? low : -high,
                      low > 0 ? high : -low);
        return;
    }
    dm_text_print(out, " and ");
    add_side(out, &a->question->other, other);
    dm_text_print(
        out,
        " do not differ beyond chance: %+.3f (%+.3f to %+.3f); a difference of %g would be seen with a chance of %.0f %%",
        c->mean, low, high, recipe->difference, 100 * c->power);
    if (c->power < 0.8 && c->needed)
        dm_text_print(out, ", and with 80 %% from %zu seeds on", c->needed);
}
