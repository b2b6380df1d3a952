/* Tables of a report: results of methods, figures of pairs. */
#include <math.h> /* NAN and isnan only */
#include <string.h>

#include "agent/report/report_doc.h"

/* ---- tables of results ---- */

/* The largest mean reward or success of trained methods, as it is printed; NULL: all have the same. */
static const char *best_of(dm_report *r, const char *env, const char *sweep, dm_env_split split, bool success)
{
    double best = 0, worst = 0;
    size_t n = 0;

    for (size_t i = 0; i < r->rows; i++) {
        const dm_report_cell *c = &r->row[i].cell[split];
        const double x = success ? 100 * c->success : c->reward.mean;
        if (!dm_report_in_table(&r->row[i], env, sweep) || r->row[i].is_reference || !c->present)
            continue;
        best = n == 0 || x > best ? x : best;
        worst = n++ == 0 || x < worst ? x : worst;
    }
    return best > worst ? dm_report_number(r, best, success ? 1 : 3, false) : NULL;
}

/* Surely better, surely worse: the interval is on one side of zero. */
static unsigned sure(const dm_estimate *e)
{
    if (e->n < 2 || isnan(e->half))
        return 0;
    return e->mean - e->half > 0 ? DM_REPORT_CELL_UP : e->mean + e->half < 0 ? DM_REPORT_CELL_DOWN : 0;
}

typedef struct result_table {
    dm_report_doc *d;
    const char *env, *sweep;
    dm_env_split split[DM_ENV_SPLITS];
    size_t splits;
    bool to_sft, to_dpo;
    const char *best[DM_ENV_SPLITS][2];
} result_table;

/* A figure that is bold where it is printed like the best one. */
static void mark_best(dm_report_node *cell, const dm_report_row *row, const char *best)
{
    if (best && !row->is_reference && strcmp(cell->text, best) == 0)
        cell->how |= DM_REPORT_CELL_STRONG;
}

static void result_row(const result_table *t, const dm_report_row *row)
{
    dm_report_doc *d = t->d;

    dm_report_doc_add(d, DM_REPORT_ROW, NULL);
    dm_report_doc_cell(d, DM_REPORT_CELL_HEAD | (row->of.setting ? DM_REPORT_CELL_INDENT : 0), row->of.method);
    if (t->sweep)
        dm_report_doc_cell(d, DM_REPORT_CELL_NUMBER, row->of.x);
    for (size_t k = 0; k < t->splits; k++) {
        const dm_report_cell *c = &row->cell[t->split[k]];
        const dm_estimate none = {.mean = NAN, .half = NAN};
        mark_best(dm_report_doc_estimate(d, 0, c->present ? &c->reward : &none, false), row, t->best[k][0]);
        mark_best(dm_report_doc_number(d, 0, c->present ? 100 * c->success : NAN, 1, false), row, t->best[k][1]);
        if (t->to_sft)
            dm_report_doc_estimate(d, sure(&c->to_sft), c->to_sft.n ? &c->to_sft : &none, true);
        if (t->to_dpo)
            dm_report_doc_estimate(d, sure(&c->to_dpo), c->to_dpo.n ? &c->to_dpo : &none, true);
    }
}

/* Returns how many there are. */
static size_t result_rows(const result_table *t, const char *setting, bool print)
{
    const dm_report *r = t->d->r;
    size_t n = 0;

    for (size_t i = 0; i < r->rows; i++)
        if (dm_report_in_table(&r->row[i], t->env, t->sweep) && dm_report_same(r->row[i].of.setting, setting)) {
            if (print)
                result_row(t, &r->row[i]);
            n++;
        }
    return n;
}

static size_t result_columns(const result_table *t, dm_report_column *column)
{
    dm_report *r = t->d->r;
    size_t n = 0;

    column[n++] = (dm_report_column){"method", false, NULL};
    if (t->sweep)
        column[n++] = (dm_report_column){t->sweep, true, NULL};
    for (size_t k = 0; k < t->splits; k++) {
        const char *group = dm_env_split_names[t->split[k]];
        column[n++] = (dm_report_column){"reward", true, group};
        column[n++] = (dm_report_column){"success %", true, group};
        if (t->to_sft)
            column[n++] = (dm_report_column){dm_report_format(r, "to %s", r->sft), true, group};
        if (t->to_dpo)
            column[n++] = (dm_report_column){dm_report_format(r, "to %s", r->dpo), true, group};
    }
    return n;
}

void dm_report_result_table(dm_report_doc *d, const char *env, const char *sweep)
{
    dm_report *r = d->r;
    result_table t = {.d = d, .env = env, .sweep = sweep};
    dm_report_column *column = dm_report_alloc(r, 2 + 4 * DM_ENV_SPLITS, sizeof *column);

    for (size_t k = 0; k < DM_ENV_SPLITS; k++) {
        bool there = false;
        for (size_t i = 0; i < r->rows; i++) {
            const dm_report_cell *c = &r->row[i].cell[k];
            if (!dm_report_in_table(&r->row[i], env, sweep))
                continue;
            there |= c->present;
            t.to_sft |= c->to_sft.n > 0;
            t.to_dpo |= c->to_dpo.n > 0;
        }
        if (there) {
            t.best[t.splits][0] = best_of(r, env, sweep, (dm_env_split)k, false);
            t.best[t.splits][1] = best_of(r, env, sweep, (dm_env_split)k, true);
            t.split[t.splits++] = (dm_env_split)k;
        }
    }
    if (t.splits == 0 || !column)
        return;
    const size_t columns = result_columns(&t, column);
    dm_report_doc_table(d,
                        dm_report_format(r, "%s%s%s: mean reward, share of successes and paired differences of reward",
                                         env, sweep ? " by " : "", sweep ? sweep : ""),
                        column, columns);
    result_rows(&t, NULL, true);
    for (size_t g = 0; g < r->settings; g++)
        if (result_rows(&t, r->setting[g], false)) {
            dm_report_doc_add(d, DM_REPORT_GROUP, r->setting[g])->size = columns;
            result_rows(&t, r->setting[g], true);
        }
}

/* ---- pairs ---- */

/* Over the seeds, of a figure that is so many bytes into dm_report_pairs. */
static double mean_of(const dm_report *r, size_t first, size_t offset)
{
    double sum = 0, n = 0, x;

    for (size_t i = first; i < r->pairs_made; i++) {
        memcpy(&x, (const char *)&r->pairs[i] + offset, sizeof x);
        if (!dm_report_same_subject(&r->pairs[i].of, &r->pairs[first].of) || isnan(x))
            continue;
        sum += x;
        n++;
    }
    return n > 0 ? sum / n : NAN;
}

void dm_report_pairs_section(dm_report_doc *d)
{
    static const dm_report_column column[] = {
        {"first used by", false, NULL}, {"setting", false, NULL},     {"pairs", true, NULL},
        {"dropped", true, NULL},        {"turns", true, "chosen"},    {"reward", true, "chosen"},
        {"turns", true, "rejected"},    {"reward", true, "rejected"}, {"shared turns", true, NULL}};
    static const dm_report_column without_setting[] = {{"first used by", false, NULL}, {"pairs", true, NULL},
                                                       {"dropped", true, NULL},        {"turns", true, "chosen"},
                                                       {"reward", true, "chosen"},     {"turns", true, "rejected"},
                                                       {"reward", true, "rejected"},   {"shared turns", true, NULL}};
    static const struct {
        size_t offset;
        int decimals;
    } figure[] = {{offsetof(dm_report_pairs, pairs), 1},          {offsetof(dm_report_pairs, dropped), 1},
                  {offsetof(dm_report_pairs, chosen_turns), 2},   {offsetof(dm_report_pairs, chosen_reward), 3},
                  {offsetof(dm_report_pairs, rejected_turns), 2}, {offsetof(dm_report_pairs, rejected_reward), 3},
                  {offsetof(dm_report_pairs, shared_turns), 2}};
    enum { FIGURES = sizeof figure / sizeof *figure };
    dm_report *r = d->r;

    if (r->pairs_made == 0)
        return;
    dm_report_doc_heading(d, 2, "Pairs");
    for (size_t e = 0; e < r->envs; e++) {
        size_t rows = 0;
        for (size_t i = 0; i < r->pairs_made; i++) {
            const dm_report_subject *s = &r->pairs[i].of;
            bool first = strcmp(s->env, r->env[e]) == 0;
            for (size_t k = 0; k < i && first; k++)
                first = !dm_report_same_subject(&r->pairs[k].of, s);
            if (!first)
                continue;
            if (rows++ == 0)
                dm_report_doc_table(
                    d, dm_report_format(r, "%s: pairs%s", r->env[e], r->seeds > 1 ? ", means over the seeds" : ""),
                    r->settings ? column : without_setting, FIGURES + (r->settings ? 2 : 1));
            dm_report_doc_add(d, DM_REPORT_ROW, NULL);
            dm_report_doc_cell(d, DM_REPORT_CELL_HEAD, s->label);
            if (r->settings)
                dm_report_doc_cell(d, 0, s->setting ? s->setting : "");
            for (size_t k = 0; k < FIGURES; k++) /* of one seed, counts are whole */
                dm_report_doc_number(d, 0, mean_of(r, i, figure[k].offset),
                                     r->seeds == 1 && figure[k].decimals == 1 ? 0 : figure[k].decimals, false);
        }
    }
}
