/* What a report says, section by section. */
#include <math.h> /* isnan only */
#include <string.h>

#include "agent/report/report_doc.h"

/* ---- what was run ---- */

/* "a", "a and b", "a, b and c" */
static void add_list(dm_report_doc *d, const char *const *name, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dm_report_doc_print(d, "%s%s", i == 0 ? "" : i + 1 == n ? " and " : ", ", name[i]);
}

static void add_options(dm_report_doc *d, const dm_json *object)
{
    size_t n = 0;

    for (const dm_json *o = object->child; o; o = o->next) {
        char number[DM_DOUBLE_TEXT];
        if (o->type == DM_JSON_NUMBER)
            dm_double_text(number, o->number);
        else if (o->type != DM_JSON_STRING)
            continue;
        dm_report_doc_print(d, "%s%s %s", n++ ? ", " : "", o->key, o->type == DM_JSON_NUMBER ? number : o->text);
    }
}

/* "100 tasks of the split seen and 100 tasks of the split unseen" */
static void add_tasks(dm_report_doc *d)
{
    const dm_report *r = d->r;
    size_t n = 0;

    for (size_t k = 0; k < DM_ENV_SPLITS; k++) {
        size_t least = 0, most = 0;
        for (size_t i = 0; i < r->evals; i++)
            if (r->eval[i].split == (dm_env_split)k) {
                least = !least || r->eval[i].tasks < least ? r->eval[i].tasks : least;
                most = r->eval[i].tasks > most ? r->eval[i].tasks : most;
            }
        if (!most)
            continue;
        dm_report_doc_print(d, "%s%zu", n++ ? " and " : "", least);
        if (least != most)
            dm_report_doc_print(d, " to %zu", most);
        dm_report_doc_print(d, " task%s of the split %s", dm_report_plural(most), dm_env_split_names[k]);
    }
}

static void add_intro(dm_report_doc *d)
{
    const dm_report *r = d->r;
    const dm_json *model = dm_json_get(r->recipe, "model"), *note = dm_json_get(r->recipe, "note");

    dm_report_doc_paragraph(d, "%zu method%s (", r->methods, dm_report_plural(r->methods));
    add_list(d, r->method, r->methods);
    dm_report_doc_print(d, ") in %zu environment%s (", r->envs, dm_report_plural(r->envs));
    add_list(d, r->env, r->envs);
    dm_report_doc_print(d, ")");
    if (r->settings) {
        dm_report_doc_print(d, " with %zu way%s to make pairs (", r->settings, dm_report_plural(r->settings));
        add_list(d, r->setting, r->settings);
        dm_report_doc_print(d, ")");
    }
    dm_report_doc_print(d, ", with the seed%s ", dm_report_plural(r->seeds));
    for (size_t i = 0; i < r->seeds; i++)
        dm_report_doc_print(d, "%s%llu",
                            i == 0              ? ""
                            : i + 1 == r->seeds ? " and "
                                                : ", ",
                            (unsigned long long)r->seed[i]);
    dm_report_doc_print(d, ". ");
    if (model && model->type == DM_JSON_STRING) {
        dm_report_doc_print(d, "The model is %s. ", model->text);
    } else if (model && model->child) {
        dm_report_doc_print(d, "The model is a new one: ");
        add_options(d, model);
        dm_report_doc_print(d, ". ");
    }
    if (r->evals) {
        dm_report_doc_print(d, "Each policy played ");
        add_tasks(d);
        dm_report_doc_print(d, ".");
    }
    if (note && note->type == DM_JSON_STRING) {
        dm_report_doc_add(d, DM_REPORT_PARAGRAPH, NULL);
        dm_report_doc_add(d, DM_REPORT_TEXT, note->text);
    }
}

/* ---- results ---- */

static void add_interval(dm_report_doc *d, const dm_estimate *e)
{
    if (!isnan(e->half))
        dm_report_doc_print(d, " \xC2\xB1%.3f", e->half);
}

static void add_difference(dm_report_doc *d, const dm_estimate *e, const char *base)
{
    if (e->n == 0)
        return;
    dm_report_doc_print(d, ", %s", dm_report_number(d->r, e->mean, 3, true));
    add_interval(d, e);
    dm_report_doc_print(d, " to %s", base);
}

/* "The highest mean on unseen tasks is that of DMPO: 0.512 ±0.020, +0.101 ±0.031 to SFT.", unless all are equal. */
static void add_best(dm_report_doc *d, const char *env)
{
    const dm_report *r = d->r;
    const dm_report_row *best = NULL, *worst = NULL;
    dm_env_split split = DM_ENV_SPLITS;

    for (size_t i = 0; i < r->rows; i++)
        for (size_t k = 0; k < DM_ENV_SPLITS; k++)
            if (strcmp(r->row[i].of.env, env) == 0 && r->row[i].cell[k].present && !r->row[i].is_reference &&
                (split == DM_ENV_SPLITS || k > (size_t)split))
                split = (dm_env_split)k;
    for (size_t i = 0; i < r->rows && split < DM_ENV_SPLITS; i++) {
        const dm_report_row *row = &r->row[i];
        if (strcmp(row->of.env, env) != 0 || !row->cell[split].present || row->is_reference)
            continue;
        if (!best || row->cell[split].reward.mean > best->cell[split].reward.mean)
            best = row;
        if (!worst || row->cell[split].reward.mean < worst->cell[split].reward.mean)
            worst = row;
    }
    if (!best || best->cell[split].reward.mean <= worst->cell[split].reward.mean)
        return;
    const dm_report_cell *c = &best->cell[split];
    dm_report_doc_paragraph(d, "The highest mean on %s tasks is that of ", dm_env_split_names[split]);
    dm_report_doc_add(d, DM_REPORT_TEXT_STRONG, best->of.label);
    if (best->of.setting)
        dm_report_doc_print(d, " (%s)", best->of.setting);
    dm_report_doc_print(d, ": %.3f", c->reward.mean);
    add_interval(d, &c->reward);
    add_difference(d, &c->to_sft, r->sft);
    add_difference(d, &c->to_dpo, r->dpo);
    dm_report_doc_print(d, ".");
}

/* Charts of a kind; env NULL: of any. */
static size_t add_charts(dm_report_doc *d, const dm_report_figures *f, dm_report_chart_kind kind, const char *env,
                         bool print)
{
    size_t n = 0;

    for (size_t i = 0; i < f->figures; i++)
        if (f->figure[i].kind == kind && (!env || strcmp(f->figure[i].env, env) == 0)) {
            if (print)
                dm_report_doc_chart(d, &f->figure[i].chart);
            n++;
        }
    return n;
}

static void add_results(dm_report_doc *d, const dm_report_figures *f, unsigned charts)
{
    const dm_report *r = d->r;

    if (r->evals == 0)
        return;
    dm_report_doc_heading(d, 2, "Results");
    if (r->seeds > 1)
        dm_report_doc_paragraph(d,
                                "Intervals are those of 95 %% by Student\xE2\x80\x99s t over the %zu seeds, a seed "
                                "counting with its mean over the tasks; differences are paired by seed.",
                                r->seeds);
    else
        dm_report_doc_paragraph(d, "There is one seed: intervals are those of 95 %% by Student\xE2\x80\x99s t over the "
                                   "tasks, and say nothing of how much another seed would change; differences are "
                                   "paired by task.");
    dm_report_doc_print(d, " Success is a reward of 1. Bold");
    d->forms = DM_REPORT_HTML;
    dm_report_doc_print(d, " with a star");
    d->forms = DM_REPORT_BOTH;
    dm_report_doc_print(d, ": the best of the trained methods in its column. Bold differences: the interval is on one "
                           "side of zero.");
    for (size_t e = 0; e < r->envs; e++) {
        size_t rows = 0;
        for (size_t i = 0; i < r->rows; i++)
            rows += strcmp(r->row[i].of.env, r->env[e]) == 0;
        if (!rows)
            continue;
        dm_report_doc_heading(d, 3, r->env[e]);
        add_best(d, r->env[e]);
        dm_report_result_table(d, r->env[e], NULL);
        d->forms = charts;
        add_charts(d, f, DM_REPORT_CHART_REWARD, r->env[e], true);
        d->forms = DM_REPORT_BOTH;
    }
}

static void add_sweeps(dm_report_doc *d, const dm_report_figures *f, unsigned charts)
{
    const dm_report *r = d->r;

    if (!add_charts(d, f, DM_REPORT_CHART_SWEEP, NULL, false))
        return;
    dm_report_doc_heading(d, 2, "Sweeps");
    for (size_t e = 0; e < r->envs; e++) {
        const char *env = r->env[e];
        if (!add_charts(d, f, DM_REPORT_CHART_SWEEP, env, false))
            continue;
        dm_report_doc_heading(d, 3, env);
        d->forms = charts;
        add_charts(d, f, DM_REPORT_CHART_SWEEP, env, true);
        d->forms = DM_REPORT_BOTH;
        for (size_t i = 0; i < r->rows; i++) {
            const char *key = r->row[i].of.sweep;
            bool first = key && strcmp(r->row[i].of.env, env) == 0;
            for (size_t k = 0; k < i && first; k++)
                first = !dm_report_in_table(&r->row[k], env, key);
            if (!first)
                continue;
            dm_report_doc_add(d, DM_REPORT_DETAILS, dm_report_format(d->r, "The figures by %s", key));
            dm_report_result_table(d, env, key);
            dm_report_doc_add(d, DM_REPORT_DETAILS_END, NULL);
        }
    }
}

/* Charts alone; without any, nothing. */
static void add_curves(dm_report_doc *d, const dm_report_figures *f, dm_report_chart_kind kind, const char *title,
                       unsigned charts)
{
    const dm_report *r = d->r;

    if (!add_charts(d, f, kind, NULL, false))
        return;
    d->forms = charts;
    dm_report_doc_heading(d, 2, title);
    for (size_t e = 0; e < r->envs; e++) {
        if (r->envs > 1)
            dm_report_doc_heading(d, 3, r->env[e]);
        add_charts(d, f, kind, r->env[e], true);
    }
    d->forms = DM_REPORT_BOTH;
}

/* Markdown without charts still has the figures of the curves by turn. */
static void add_turns_table(dm_report_doc *d)
{
    static const dm_report_column column[] = {
        {"method", false, NULL}, {"setting", false, NULL}, {"split", false, NULL}, {"turns of an episode", true, NULL}};
    const dm_report *r = d->r;

    d->forms = DM_REPORT_MARKDOWN;
    for (size_t e = 0; r->evals && e < r->envs; e++) {
        const char *caption = dm_report_format(d->r, "%s: turns of an episode, means", r->env[e]);
        dm_report_doc_add(d, DM_REPORT_DETAILS, caption);
        dm_report_doc_table(d, caption, column, 4);
        for (size_t i = 0; i < r->rows; i++)
            for (size_t k = 0; k < DM_ENV_SPLITS; k++) {
                const dm_report_row *row = &r->row[i];
                if (strcmp(row->of.env, r->env[e]) != 0 || !row->cell[k].present)
                    continue;
                dm_report_doc_add(d, DM_REPORT_ROW, NULL);
                dm_report_doc_cell(d, DM_REPORT_CELL_HEAD, row->of.label);
                dm_report_doc_cell(d, 0, row->of.setting ? row->of.setting : "");
                dm_report_doc_cell(d, 0, dm_env_split_names[k]);
                dm_report_doc_number(d, 0, row->cell[k].turns, 2, false);
            }
        dm_report_doc_add(d, DM_REPORT_DETAILS_END, NULL);
    }
    d->forms = DM_REPORT_BOTH;
}

void dm_report_sections(dm_report_doc *d, const dm_report_figures *f, bool files)
{
    const unsigned charts = files ? DM_REPORT_BOTH : DM_REPORT_HTML;

    d->forms = DM_REPORT_BOTH;
    dm_report_doc_heading(d, 1, d->r->title);
    add_intro(d);
    dm_report_doc_add(d, DM_REPORT_CONTENTS, NULL);
    dm_report_question_section(d);
    add_results(d, f, charts);
    add_sweeps(d, f, charts);
    add_curves(d, f, DM_REPORT_CHART_TURNS, "Reward by turn", charts);
    add_turns_table(d);
    add_curves(d, f, DM_REPORT_CHART_TRAINING, "Training", charts);
    dm_report_pairs_section(d);
    dm_report_example_section(d);
    dm_report_search_section(d);
    dm_report_repeat_section(d);
    dm_report_run_section(d);
}
