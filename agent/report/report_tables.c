/* Tables of a report: results of methods, figures of pairs. */
#include <math.h> /* NAN and isnan only */
#include <stdio.h>
#include <string.h>

#include "agent/report/report_internal.h"

bool dm_report_is_reference(const dm_report_row *row)
{
    const char *kind = row->of.kind;
    return strcmp(kind, "expert") == 0 || strcmp(kind, "random") == 0 || strcmp(kind, "best-of-n") == 0;
}

bool dm_report_in_table(const dm_report_row *row, const char *env, const char *sweep)
{
    return strcmp(row->of.env, env) == 0 && dm_report_same(row->of.sweep, sweep);
}

/* ---- tables of results ---- */

/* The largest mean reward (what 1) or success (what 2) of trained methods, as it is printed; "": all
 * have the same. */
static void best_of(const dm_report *r, const char *env, const char *sweep, dm_env_split split, int what,
                    char out[DM_NUMBER])
{
    double best = 0, worst = 0;
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < r->rows; i++) {
        const dm_report_cell *c = &r->row[i].cell[split];
        const double x = what == 1 ? c->reward.mean : c->success;
        if (!dm_report_in_table(&r->row[i], env, sweep) || dm_report_is_reference(&r->row[i]) || !c->present)
            continue;
        best = n == 0 || x > best ? x : best;
        worst = n++ == 0 || x < worst ? x : worst;
    }
    if (best > worst)
        snprintf(out, DM_NUMBER, "%.*f", what == 1 ? 3 : 1, what == 1 ? best : 100 * best);
}

/* Surely better, surely worse: the interval is on one side of zero. */
static unsigned sure(const dm_estimate *e)
{
    if (e->n < 2 || isnan(e->half))
        return 0;
    return e->mean - e->half > 0 ? DM_CELL_UP : e->mean + e->half < 0 ? DM_CELL_DOWN : 0;
}

static void difference_cell(dm_report_doc *d, const dm_estimate *e)
{
    char number[DM_NUMBER], half[DM_NUMBER];

    if (e->n == 0)
        dm_report_doc_cell(d, DM_CELL_NUMBER, "");
    else
        dm_report_doc_value(d, sure(e), dm_report_number(number, e->mean, 3, true),
                            dm_report_number(half, e->half, 3, false));
}

typedef struct result_table {
    const dm_report *r;
    dm_report_doc *d;
    const char *env, *sweep;
    dm_env_split split[DM_ENV_SPLITS];
    size_t splits, columns;
    bool to_sft, to_dpo;
    char best[DM_ENV_SPLITS][2][DM_NUMBER], titles[2][100];
} result_table;

static void result_row(result_table *t, const dm_report_row *row)
{
    dm_report_doc *d = t->d;

    dm_report_doc_row(d);
    dm_report_doc_cell(d, DM_CELL_HEAD | (row->of.setting ? DM_CELL_INDENT : 0), row->of.method);
    if (t->sweep)
        dm_report_doc_cell(d, DM_CELL_NUMBER, row->of.x);
    for (size_t k = 0; k < t->splits; k++) {
        const dm_report_cell *c = &row->cell[t->split[k]];
        char number[DM_NUMBER] = "", half[DM_NUMBER], share[DM_NUMBER] = "";
        if (c->present) {
            snprintf(number, sizeof number, "%.3f", c->reward.mean);
            snprintf(share, sizeof share, "%.1f", 100 * c->success);
            const bool counts = !dm_report_is_reference(row);
            dm_report_doc_value(d, counts && strcmp(number, t->best[k][0]) == 0 ? DM_CELL_STRONG : 0, number,
                                dm_report_number(half, c->reward.half, 3, false));
            dm_report_doc_cell(d, DM_CELL_NUMBER | (counts && strcmp(share, t->best[k][1]) == 0 ? DM_CELL_STRONG : 0),
                               share);
        } else {
            dm_report_doc_cell(d, DM_CELL_NUMBER, "");
            dm_report_doc_cell(d, DM_CELL_NUMBER, "");
        }
        if (t->to_sft)
            difference_cell(d, &c->to_sft);
        if (t->to_dpo)
            difference_cell(d, &c->to_dpo);
    }
    dm_report_doc_row_end(d);
}

static size_t result_rows(result_table *t, const char *setting, bool print)
{
    const dm_report *r = t->r;
    size_t n = 0;

    for (size_t i = 0; i < r->rows; i++)
        if (dm_report_in_table(&r->row[i], t->env, t->sweep) && dm_report_same(r->row[i].of.setting, setting)) {
            if (print)
                result_row(t, &r->row[i]);
            n++;
        }
    return n;
}

static void result_columns(result_table *t, dm_report_doc_column *column)
{
    const dm_report *r = t->r;

    snprintf(t->titles[0], sizeof t->titles[0], "to %s", r->sft ? r->sft : "");
    snprintf(t->titles[1], sizeof t->titles[1], "to %s", r->dpo ? r->dpo : "");
    column[t->columns++] = (dm_report_doc_column){"method", false, NULL};
    if (t->sweep)
        column[t->columns++] = (dm_report_doc_column){t->sweep, true, NULL};
    for (size_t k = 0; k < t->splits; k++) {
        const char *group = dm_env_split_names[t->split[k]];
        column[t->columns++] = (dm_report_doc_column){"reward", true, group};
        column[t->columns++] = (dm_report_doc_column){"success %", true, group};
        if (t->to_sft)
            column[t->columns++] = (dm_report_doc_column){t->titles[0], true, group};
        if (t->to_dpo)
            column[t->columns++] = (dm_report_doc_column){t->titles[1], true, group};
    }
}

/* Of all rows with this sweep (NULL: without one) in the environment. */
void dm_report_result_table(const dm_report *r, dm_report_doc *d, const char *env, const char *sweep)
{
    result_table t = {.r = r, .d = d, .env = env, .sweep = sweep};
    dm_report_doc_column column[2 + 4 * DM_ENV_SPLITS];
    char caption[300];
    size_t rows = 0;

    for (size_t k = 0; k < DM_ENV_SPLITS; k++) {
        bool there = false;
        for (size_t i = 0; i < r->rows; i++) {
            const dm_report_cell *c = &r->row[i].cell[k];
            if (!dm_report_in_table(&r->row[i], env, sweep))
                continue;
            there |= c->present;
            t.to_sft |= c->to_sft.n > 0;
            t.to_dpo |= c->to_dpo.n > 0;
            rows += c->present;
        }
        if (there) {
            best_of(r, env, sweep, (dm_env_split)k, 1, t.best[t.splits][0]);
            best_of(r, env, sweep, (dm_env_split)k, 2, t.best[t.splits][1]);
            t.split[t.splits++] = (dm_env_split)k;
        }
    }
    if (!rows)
        return;
    result_columns(&t, column);
    snprintf(caption, sizeof caption,
             "%.100s%s%.100s: mean reward, share of successes and paired differences of reward", env,
             sweep ? " by " : "", sweep ? sweep : "");
    dm_report_doc_table(d, caption, column, t.columns);
    result_rows(&t, NULL, true);
    for (size_t g = 0; g < r->settings; g++)
        if (result_rows(&t, r->setting[g], false)) {
            dm_report_doc_group(d, r->setting[g], t.columns);
            result_rows(&t, r->setting[g], true);
        }
    dm_report_doc_table_end(d);
}

/* ---- pairs ---- */

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

void dm_report_pairs_section(const dm_report *r, dm_report_doc *d)
{
    static const struct {
        dm_report_doc_column column;
        size_t offset;
        int decimals;
    } figure[] = {{{"pairs", true, NULL}, offsetof(dm_report_pairs, pairs), 1},
                  {{"dropped", true, NULL}, offsetof(dm_report_pairs, dropped), 1},
                  {{"turns", true, "chosen"}, offsetof(dm_report_pairs, chosen_turns), 2},
                  {{"reward", true, "chosen"}, offsetof(dm_report_pairs, chosen_reward), 3},
                  {{"turns", true, "rejected"}, offsetof(dm_report_pairs, rejected_turns), 2},
                  {{"reward", true, "rejected"}, offsetof(dm_report_pairs, rejected_reward), 3},
                  {{"shared turns", true, NULL}, offsetof(dm_report_pairs, shared_turns), 2}};
    enum { FIGURES = sizeof figure / sizeof *figure };
    dm_report_doc_column column[2 + FIGURES] = {{"first used by", false, NULL}, {"setting", false, NULL}};
    const size_t words = r->settings ? 2 : 1;

    if (r->pairs_made == 0)
        return;
    for (size_t k = 0; k < FIGURES; k++)
        column[words + k] = figure[k].column;
    dm_report_doc_heading(d, 2, "Pairs");
    for (size_t e = 0; e < r->envs; e++) {
        char caption[200];
        size_t rows = 0;
        snprintf(caption, sizeof caption, "%.120s: pairs%s", r->env[e], r->seeds > 1 ? ", means over the seeds" : "");
        for (size_t i = 0; i < r->pairs_made; i++) {
            const dm_report_subject *s = &r->pairs[i].of;
            bool first = strcmp(s->env, r->env[e]) == 0;
            for (size_t k = 0; k < i && first; k++)
                first = !dm_report_same_subject(&r->pairs[k].of, s);
            if (!first)
                continue;
            if (rows++ == 0)
                dm_report_doc_table(d, caption, column, words + FIGURES);
            dm_text name = {0};
            dm_report_label(s, &name);
            dm_report_doc_row(d);
            dm_report_doc_cell(d, DM_CELL_HEAD, name.data ? name.data : "");
            if (words == 2)
                dm_report_doc_cell(d, 0, s->setting ? s->setting : "");
            for (size_t k = 0; k < FIGURES; k++) {
                char number[DM_NUMBER];
                const int decimals = r->seeds == 1 && figure[k].decimals == 1 ? 0 : figure[k].decimals; /* counts */
                dm_report_doc_cell(d, DM_CELL_NUMBER,
                                   dm_report_number(number, mean_of(r, i, figure[k].offset), decimals, false));
            }
            dm_report_doc_row_end(d);
            d->out->failed |= name.failed;
            dm_text_free(&name);
        }
        if (rows)
            dm_report_doc_table_end(d);
    }
}
