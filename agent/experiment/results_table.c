/* The table of an experiment: methods by splits. */
#include <math.h> /* NAN and isnan only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/experiment/results.h"

#define CELL 15

typedef struct table {
    dm_text *out;
    const dm_results *r;
    const dm_recipe *recipe;
    const dm_recipe_method *base; /* what others are compared with, or NULL */
    double *x, *difference;       /* room for the values of a cell */
    int width;                    /* of the first column */
    dm_env_split split[DM_ENV_SPLITS];
    size_t splits;
} table;

static const dm_result *find(const table *t, const dm_stage_subject *of, dm_env_split split)
{
    for (size_t i = 0; i < t->r->n; i++) {
        const dm_stage_subject *s = &t->r->result[i].of->of;
        if (s->env == of->env && s->setting == of->setting && s->method == of->method && s->seed == of->seed &&
            s->x == of->x && t->r->result[i].of->split == split)
            return &t->r->result[i];
    }
    return NULL;
}

static const dm_result *find_base(const table *t, const dm_stage_subject *of, dm_env_split split)
{
    const dm_stage_subject base = {.env = of->env, .method = t->base, .seed = of->seed};
    return t->base && t->base != of->method ? find(t, &base, split) : NULL;
}

static double mean(const double *x, size_t n)
{
    return dm_estimate_of(x, n).mean;
}

/* Over the seeds; where there is one, over its tasks. */
static void estimate(table *t, dm_stage_subject of, dm_env_split split, dm_estimate *value, dm_estimate *difference)
{
    size_t n = 0, pairs = 0;

    for (size_t i = 0; i < t->recipe->seeds; i++) {
        of.seed = t->recipe->seed[i];
        const dm_result *a = find(t, &of, split), *b = find_base(t, &of, split);
        if (!a)
            continue;
        const bool paired = b && a->tasks == b->tasks;
        if (t->recipe->seeds > 1) {
            t->x[n++] = mean(a->reward, a->tasks);
            if (paired)
                t->difference[pairs++] = mean(a->reward, a->tasks) - mean(b->reward, b->tasks);
            continue;
        }
        for (size_t k = 0; k < a->tasks; k++) {
            t->x[n++] = a->reward[k];
            if (paired)
                t->difference[pairs++] = a->reward[k] - b->reward[k];
        }
    }
    *value = dm_estimate_of(t->x, n);
    *difference = dm_estimate_of(t->difference, pairs);
}

/* "0.412 ±0.031": its width on a screen is a byte less than its size. */
static void cell(dm_text *out, const dm_estimate *e, bool with_sign)
{
    char text[64] = "";
    int width = 0;

    if (e->n && isnan(e->half))
        width = snprintf(text, sizeof text, with_sign ? "%+.3f" : "%.3f", e->mean);
    else if (e->n)
        width =
            snprintf(text, sizeof text, with_sign ? "%+.3f \xC2\xB1%.3f" : "%.3f \xC2\xB1%.3f", e->mean, e->half) - 1;
    dm_text_print(out, " %*s%s", CELL - width, "", text);
}

static void label(char *out, size_t size, const dm_stage_subject *of, bool indented)
{
    char number[DM_DOUBLE_TEXT];
    const dm_json *x = of->x;
    const char *indent = indented ? "  " : "";

    if (!x) {
        snprintf(out, size, "%s%s", indent, of->method->name);
        return;
    }
    if (x->type == DM_JSON_NUMBER)
        dm_double_text(number, x->number);
    snprintf(out, size, "%s%s, %s %s", indent, of->method->name, of->method->sweep->key,
             x->type == DM_JSON_STRING ? x->text
             : x->type == DM_JSON_BOOL ? (x->boolean ? "on" : "off")
                                       : number);
}

/* Characters, not bytes. */
static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void row(table *t, const dm_stage_subject *of, bool indented)
{
    char name[256];

    label(name, sizeof name, of, indented);
    dm_text_print(t->out, "%s%*s", name, t->width - width_of(name), "");
    for (size_t i = 0; i < t->splits; i++) {
        dm_estimate value, difference;
        estimate(t, *of, t->split[i], &value, &difference);
        cell(t->out, &value, false);
        if (t->base)
            cell(t->out, &difference, true);
    }
    while (t->out->size && t->out->data[t->out->size - 1] == ' ')
        t->out->size--;
    dm_text_add(t->out, "\n", 1);
}

/* Calls for the methods of one setting (NULL: those that are the same for all) with every value of their sweeps. */
static size_t each(table *t, const dm_recipe_env *env, const dm_recipe_setting *setting, bool print)
{
    size_t n = 0;

    for (size_t m = 0; m < t->recipe->methods; m++) {
        const dm_recipe_method *method = &t->recipe->method[m];
        const dm_json *x = method->sweep ? method->sweep->child : NULL;
        if ((method->kind->learns == DM_METHOD_LEARNS_PAIRS) != (setting != NULL) ||
            (setting && setting->name && method->settings && !dm_recipe_names(method->settings, setting->name)))
            continue;
        do {
            const dm_stage_subject of = {env, setting, method, 0, x};
            char name[256];
            label(name, sizeof name, &of, setting && setting->name);
            if (print)
                row(t, &of, setting && setting->name);
            else
                t->width = width_of(name) > t->width ? width_of(name) : t->width;
            n++;
        } while (x && (x = x->next) != NULL);
    }
    return n;
}

static void environment(table *t, const dm_recipe_env *env)
{
    t->splits = dm_recipe_splits(t->recipe, env, t->split);
    t->width = width_of(env->name);
    each(t, env, NULL, false);
    for (size_t c = 0; c < t->recipe->settings; c++)
        each(t, env, &t->recipe->setting[c], false);
    dm_text_print(t->out, "%s%*s", env->name, t->width - width_of(env->name), "");
    for (size_t i = 0; i < t->splits; i++) {
        dm_text_print(t->out, " %*s", CELL, dm_env_split_names[t->split[i]]);
        if (t->base) {
            char title[64];
            snprintf(title, sizeof title, "to %.12s", t->base->name);
            dm_text_print(t->out, " %*s%s", CELL - width_of(title), "", title);
        }
    }
    dm_text_add(t->out, "\n", 1);
    each(t, env, NULL, true);
    for (size_t c = 0; c < t->recipe->settings; c++) {
        if (t->recipe->setting[c].name)
            dm_text_print(t->out, "%s\n", t->recipe->setting[c].name);
        each(t, env, &t->recipe->setting[c], true);
    }
}

dm_status dm_results_table(dm_text *out, const dm_results *r, const dm_recipe *recipe, dm_error *err)
{
    table t = {.out = out, .r = r, .recipe = recipe};
    size_t room = recipe->seeds, tables = 0;

    for (size_t m = recipe->methods; m-- > 0;)
        if (recipe->method[m].kind->learns == DM_METHOD_LEARNS_EXPERT && !recipe->method[m].sweep)
            t.base = &recipe->method[m];
    for (size_t i = 0; i < r->n; i++)
        room = r->result[i].tasks > room ? r->result[i].tasks : room;
    t.x = malloc((room + 1) * sizeof *t.x);
    t.difference = malloc((room + 1) * sizeof *t.difference);
    if (!t.x || !t.difference)
        out->failed = true;
    for (size_t e = 0; e < recipe->envs && !out->failed; e++)
        if (recipe->env[e].specification) {
            dm_text_add(out, "\n", tables++ ? 1 : 0);
            environment(&t, &recipe->env[e]);
        }
    if (tables && recipe->seeds > 1)
        dm_text_print(out, "mean reward; 95 %% intervals over %zu seeds\n", recipe->seeds);
    else if (tables)
        dm_text_print(out, "mean reward; 95 %% intervals over the tasks of one seed\n");
    free(t.x);
    free(t.difference);
    return out->failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the table") : DM_OK;
}
