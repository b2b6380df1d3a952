/* Rows of the tables: means with intervals, and differences to SFT and DPO. */
#include <math.h> /* NAN only */
#include <stdlib.h>
#include <string.h>

#include "agent/experiment/method.h"
#include "agent/report/report_data.h"

/* ---- names ---- */

static size_t add_name(const char **name, size_t *n, const char *x)
{
    size_t i = 0;
    while (i < *n && strcmp(name[i], x) != 0)
        i++;
    if (i == *n)
        name[(*n)++] = x;
    return i;
}

static void add_subject(dm_report *r, const dm_report_subject *s)
{
    size_t k = 0;

    add_name(r->env, &r->envs, s->env);
    add_name(r->method, &r->methods, s->method);
    if (s->setting)
        add_name(r->setting, &r->settings, s->setting);
    while (k < r->seeds && r->seed[k] != s->seed)
        k++;
    if (k == r->seeds)
        r->seed[r->seeds++] = s->seed;
}

static void collect_names(dm_report *r)
{
    const size_t n = r->evals + r->trainings + r->pairs_made + r->examples;

    r->env = dm_report_alloc(r, n, sizeof *r->env);
    r->setting = dm_report_alloc(r, n, sizeof *r->setting);
    r->method = dm_report_alloc(r, n, sizeof *r->method);
    r->seed = dm_report_alloc(r, n, sizeof *r->seed);
    if (r->status != DM_OK)
        return;
    for (size_t i = 0; i < r->evals; i++)
        add_subject(r, &r->eval[i].of);
    for (size_t i = 0; i < r->trainings; i++)
        add_subject(r, &r->training[i].of);
    for (size_t i = 0; i < r->pairs_made; i++)
        add_subject(r, &r->pairs[i].of);
    for (size_t i = 0; i < r->examples; i++)
        add_subject(r, &r->example[i].of);
}

static bool named_dpo(const char *name)
{
    return (name[0] | 32) == 'd' && (name[1] | 32) == 'p' && (name[2] | 32) == 'o' && name[3] == '\0';
}

/* The first method of kind sft, and the one that is plain DPO: by its name, else by what the recipe says of it. */
static void find_bases(dm_report *r)
{
    const dm_json *methods = dm_json_get(r->recipe, "methods");

    for (size_t i = r->evals; i-- > 0;) {
        const dm_report_subject *s = &r->eval[i].of;
        if (strcmp(s->kind, "sft") == 0 && !s->sweep)
            r->sft = s->method;
        if (strcmp(s->kind, "preference") == 0 && named_dpo(s->method))
            r->dpo = s->method;
    }
    for (const dm_json *m = methods ? methods->child : NULL; m && !r->dpo; m = m->next) {
        const dm_json *name = dm_json_get(m, "name"), *train = dm_json_get(m, "train");
        if (!dm_json_is(dm_json_get(m, "kind"), "preference") || !dm_json_is(dm_json_get(train, "objective"), "dpo") ||
            dm_json_get(m, "iterations") || dm_json_get(train, "reference2"))
            continue;
        for (size_t k = 0; k < r->methods; k++)
            if (dm_json_is(name, r->method[k]))
                r->dpo = r->method[k];
    }
}

/* ---- rows ---- */

static dm_report_row *row_of(dm_report *r, const dm_report_subject *s)
{
    for (size_t i = 0; i < r->rows; i++)
        if (dm_report_same_subject(&r->row[i].of, s))
            return &r->row[i];
    const dm_method_kind *kind = dm_method_kind_find(s->kind);
    dm_report_row *row = &r->row[r->rows++];
    row->of = *s;
    row->of.seed = 0;
    row->is_reference = kind && kind->learns == DM_METHOD_LEARNS_NOTHING;
    return row;
}

static const dm_report_eval *find_eval(const dm_report *r, const dm_report_subject *s, uint64_t seed,
                                       dm_env_split split)
{
    for (size_t i = 0; i < r->evals; i++)
        if (r->eval[i].split == split && r->eval[i].of.seed == seed && dm_report_same_subject(&r->eval[i].of, s))
            return &r->eval[i];
    return NULL;
}

/* What a row is compared with: in its own setting, else in none; at its own value, else without one. */
static const dm_report_row *base_of(const dm_report *r, const dm_report_subject *s, const char *method)
{
    if (!method || strcmp(method, s->method) == 0)
        return NULL;
    for (int i = 0; i < 4; i++) {
        const dm_report_row *base =
            dm_report_find_row(r, s->env, i < 2 ? s->setting : NULL, method, i % 2 == 0 ? s->x : NULL);
        if (base && (!base->of.sweep || dm_report_same(base->of.sweep, s->sweep)))
            return base;
    }
    return NULL;
}

typedef struct room {
    double *x, *to_sft, *to_dpo;
    size_t n, n_sft, n_dpo;
} room;

static double mean(const dm_report_eval *e)
{
    return dm_estimate_of(e->reward, e->tasks).mean;
}

/* Over the seeds; where there is one, over its tasks. */
static void add_difference(const dm_report *r, const dm_report_eval *a, const dm_report_row *base, double *out,
                           size_t *n)
{
    const dm_report_eval *b = base ? find_eval(r, &base->of, a->of.seed, a->split) : NULL;

    if (!b || a->tasks != b->tasks)
        return;
    if (r->seeds > 1) {
        out[(*n)++] = mean(a) - mean(b);
        return;
    }
    for (size_t k = 0; k < a->tasks; k++)
        out[(*n)++] = a->reward[k] - b->reward[k];
}

static void add_values(const dm_report *r, const dm_report_eval *e, room *m)
{
    if (r->seeds > 1) {
        m->x[m->n++] = mean(e);
        return;
    }
    memcpy(m->x, e->reward, e->tasks * sizeof *m->x);
    m->n = e->tasks;
}

/* Mean over the seeds; an evaluation that took fewer turns stays at its last value. */
static void by_turn(dm_report *r, const dm_report_row *row, dm_env_split split, dm_report_cell *c)
{
    double *y, n = 0;

    for (size_t k = 0; k < r->seeds; k++) {
        const dm_report_eval *e = find_eval(r, &row->of, r->seed[k], split);
        c->turn_limit = e && e->turn_limit > c->turn_limit ? e->turn_limit : c->turn_limit;
    }
    if (!(y = dm_report_alloc(r, c->turn_limit + 1, sizeof *y)))
        return;
    for (size_t k = 0; k < r->seeds; k++) {
        const dm_report_eval *e = find_eval(r, &row->of, r->seed[k], split);
        for (size_t t = 0; e && t <= c->turn_limit; t++)
            y[t] += e->by_turn[t < e->turn_limit ? t : e->turn_limit];
        n += e != NULL;
    }
    for (size_t t = 0; t <= c->turn_limit; t++)
        y[t] /= n;
    c->by_turn = y;
}

static void fill_cell(dm_report *r, dm_report_row *row, dm_env_split split, room *m)
{
    dm_report_cell *c = &row->cell[split];
    const dm_report_row *sft = base_of(r, &row->of, r->sft), *dpo = base_of(r, &row->of, r->dpo);
    double n = 0;

    m->n = m->n_sft = m->n_dpo = 0;
    for (size_t k = 0; k < r->seeds; k++) {
        const dm_report_eval *e = find_eval(r, &row->of, r->seed[k], split);
        if (!e)
            continue;
        add_values(r, e, m);
        add_difference(r, e, sft, m->to_sft, &m->n_sft);
        add_difference(r, e, dpo, m->to_dpo, &m->n_dpo);
        c->success += e->success;
        c->turns += e->turns;
        n++;
    }
    c->present = n > 0;
    c->reward = dm_estimate_of(m->x, m->n);
    c->to_sft = dm_estimate_of(m->to_sft, m->n_sft);
    c->to_dpo = dm_estimate_of(m->to_dpo, m->n_dpo);
    if (!c->present)
        return;
    c->success /= n;
    c->turns /= n;
    by_turn(r, row, split, c);
}

void dm_report_statistics(dm_report *r)
{
    size_t most = 0;

    collect_names(r);
    if (r->status != DM_OK)
        return;
    find_bases(r);
    for (size_t i = 0; i < r->evals; i++)
        most = r->eval[i].tasks > most ? r->eval[i].tasks : most;
    most = r->seeds > most ? r->seeds : most;
    room m = {.x = dm_report_alloc(r, most, sizeof *m.x),
              .to_sft = dm_report_alloc(r, most, sizeof *m.x),
              .to_dpo = dm_report_alloc(r, most, sizeof *m.x)};
    r->row = dm_report_alloc(r, r->evals, sizeof *r->row);
    for (size_t i = 0; i < r->evals && r->status == DM_OK; i++)
        row_of(r, &r->eval[i].of);
    for (size_t i = 0; i < r->rows; i++)
        for (size_t k = 0; k < DM_ENV_SPLITS; k++)
            fill_cell(r, &r->row[i], (dm_env_split)k, &m);
}
