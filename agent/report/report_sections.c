/* The sections of a report, in the order in which they stand. */
#include <math.h> /* isnan only */
#include <stdio.h>
#include <string.h>

#include "agent/report/report_internal.h"

/* ---- what was run ---- */

/* "a", "a and b", "a, b and c" */
static void add_list(dm_report_doc *d, const char *const *name, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dm_text_print(d->out, "%s", i == 0 ? "" : i + 1 == n ? " and " : ", ");
        dm_report_doc_word(d, name[i]);
    }
}

static void add_options(dm_report_doc *d, const dm_json *object)
{
    size_t n = 0;

    for (const dm_json *o = object ? object->child : NULL; o; o = o->next) {
        char number[DM_DOUBLE_TEXT];
        if (o->type == DM_JSON_NUMBER)
            dm_double_text(number, o->number);
        else if (o->type != DM_JSON_STRING)
            continue;
        dm_report_doc_print(d, "%s%s %s", n++ ? ", " : "", o->key, o->type == DM_JSON_NUMBER ? number : o->text);
    }
}

/* "100 tasks of seen and 100 of unseen" */
static void add_tasks(const dm_report *r, dm_report_doc *d)
{
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

static void add_intro(const dm_report *r, dm_report_doc *d)
{
    const dm_json *model = dm_json_get(r->recipe, "model"), *note = dm_json_get(r->recipe, "note");

    dm_report_doc_begin(d);
    dm_report_doc_print(d, "%zu method%s (", r->methods, dm_report_plural(r->methods));
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
        add_tasks(r, d);
        dm_report_doc_print(d, ".");
    }
    dm_report_doc_end(d);
    if (note && note->type == DM_JSON_STRING) {
        dm_report_doc_begin(d);
        dm_report_doc_word(d, note->text);
        dm_report_doc_end(d);
    }
}

/* "The highest mean on unseen tasks is that of DMPO: 0.512 ±0.020, +0.101 ±0.031 to SFT.", unless all are equal. */
static void add_best(const dm_report *r, dm_report_doc *d, const char *env)
{
    const dm_report_row *best = NULL, *worst = NULL;
    dm_env_split split = DM_ENV_SPLITS;
    char number[DM_NUMBER];

    for (size_t i = 0; i < r->rows; i++)
        for (size_t k = 0; k < DM_ENV_SPLITS; k++)
            if (strcmp(r->row[i].of.env, env) == 0 && r->row[i].cell[k].present &&
                !dm_report_is_reference(&r->row[i]) && (split == DM_ENV_SPLITS || k > (size_t)split))
                split = (dm_env_split)k;
    for (size_t i = 0; i < r->rows && split < DM_ENV_SPLITS; i++) {
        const dm_report_row *row = &r->row[i];
        if (strcmp(row->of.env, env) != 0 || !row->cell[split].present || dm_report_is_reference(row))
            continue;
        if (!best || row->cell[split].reward.mean > best->cell[split].reward.mean)
            best = row;
        if (!worst || row->cell[split].reward.mean < worst->cell[split].reward.mean)
            worst = row;
    }
    if (!best || best->cell[split].reward.mean <= worst->cell[split].reward.mean)
        return;
    const dm_report_cell *c = &best->cell[split];
    dm_text name = {0};
    dm_report_label(&best->of, &name);
    dm_report_doc_begin(d);
    dm_report_doc_print(d, "The highest mean on %s tasks is that of ", dm_env_split_names[split]);
    dm_report_doc_strong(d, name.data ? name.data : "");
    if (best->of.setting)
        dm_report_doc_print(d, " (%s)", best->of.setting);
    dm_report_doc_print(d, ": %.3f", c->reward.mean);
    if (!isnan(c->reward.half))
        dm_report_doc_print(d, " \xC2\xB1%.3f", c->reward.half);
    for (int k = 0; k < 2; k++) {
        const dm_estimate *e = k ? &c->to_dpo : &c->to_sft;
        if (e->n == 0)
            continue;
        dm_report_doc_print(d, ", %s", dm_report_number(number, e->mean, 3, true));
        if (!isnan(e->half))
            dm_report_doc_print(d, " \xC2\xB1%.3f", e->half);
        dm_report_doc_print(d, " to %s", k ? r->dpo : r->sft);
    }
    dm_report_doc_print(d, ".");
    dm_report_doc_end(d);
    d->out->failed |= name.failed;
    dm_text_free(&name);
}

static void add_charts(const dm_report_figures *f, dm_report_doc *d, const char *env, dm_report_chart_kind kind)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->figure[i].kind == kind && strcmp(f->figure[i].env, env) == 0)
            dm_report_doc_chart(d, &f->figure[i].chart);
}

static bool has_charts(const dm_report_figures *f, dm_report_chart_kind kind)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->figure[i].kind == kind)
            return true;
    return false;
}

static void add_results(const dm_report *r, const dm_report_figures *f, dm_report_doc *d)
{
    if (r->evals == 0)
        return;
    dm_report_doc_heading(d, 2, "Results");
    dm_report_doc_begin(d);
    if (r->seeds > 1)
        dm_report_doc_print(
            d,
            "Intervals are those of 95 %% by Student\xE2\x80\x99s t over the %zu seeds, a seed counting with "
            "its mean over the tasks; differences are paired by seed.",
            r->seeds);
    else
        dm_report_doc_print(
            d, "There is one seed: intervals are those of 95 %% by Student\xE2\x80\x99s t over the tasks, and "
               "say nothing of how much another seed would change; differences are paired by task.");
    dm_report_doc_print(
        d,
        " Success is a reward of 1. Bold%s: the best of the trained methods in its column. Bold differences: "
        "the interval is on one side of zero.",
        d->html ? " with a star" : "");
    dm_report_doc_end(d);
    for (size_t e = 0; e < r->envs; e++) {
        size_t rows = 0;
        for (size_t i = 0; i < r->rows; i++)
            rows += strcmp(r->row[i].of.env, r->env[e]) == 0;
        if (!rows)
            continue;
        dm_report_doc_heading(d, 3, r->env[e]);
        add_best(r, d, r->env[e]);
        dm_report_result_table(r, d, r->env[e], NULL);
        add_charts(f, d, r->env[e], DM_CHART_REWARD);
    }
}

static void add_sweeps(const dm_report *r, const dm_report_figures *f, dm_report_doc *d)
{
    if (!has_charts(f, DM_CHART_SWEEP))
        return;
    dm_report_doc_heading(d, 2, "Sweeps");
    for (size_t e = 0; e < r->envs; e++) {
        bool any = false;
        for (size_t i = 0; i < f->n; i++)
            any |= f->figure[i].kind == DM_CHART_SWEEP && strcmp(f->figure[i].env, r->env[e]) == 0;
        if (!any)
            continue;
        dm_report_doc_heading(d, 3, r->env[e]);
        add_charts(f, d, r->env[e], DM_CHART_SWEEP);
        for (size_t i = 0; i < r->rows; i++) {
            const char *key = r->row[i].of.sweep;
            bool first = key && strcmp(r->row[i].of.env, r->env[e]) == 0;
            for (size_t k = 0; k < i && first; k++)
                first = !dm_report_in_table(&r->row[k], r->env[e], key);
            if (first) {
                char summary[200];
                snprintf(summary, sizeof summary, "The figures by %.150s", key);
                dm_report_doc_details(d, summary, true);
                dm_report_result_table(r, d, r->env[e], key);
                dm_report_doc_details_end(d);
            }
        }
    }
}

static void add_curves(const dm_report *r, const dm_report_figures *f, dm_report_doc *d, dm_report_chart_kind kind,
                       const char *title)
{
    if (!has_charts(f, kind) || (!d->html && !d->svg))
        return;
    dm_report_doc_heading(d, 2, title);
    for (size_t e = 0; e < r->envs; e++) {
        if (r->envs > 1)
            dm_report_doc_heading(d, 3, r->env[e]);
        add_charts(f, d, r->env[e], kind);
    }
}

/* Markdown without charts still has the figures of the curves by turn. */
static void add_turns_table(const dm_report *r, dm_report_doc *d)
{
    static const dm_report_doc_column column[] = {
        {"method", false, NULL}, {"setting", false, NULL}, {"split", false, NULL}, {"turns of an episode", true, NULL}};
    char number[DM_NUMBER];

    if (d->html || r->evals == 0)
        return;
    for (size_t e = 0; e < r->envs; e++) {
        char caption[200];
        snprintf(caption, sizeof caption, "%.150s: turns of an episode, means", r->env[e]);
        dm_report_doc_details(d, caption, true);
        dm_report_doc_table(d, caption, column, 4);
        for (size_t i = 0; i < r->rows; i++)
            for (size_t k = 0; k < DM_ENV_SPLITS; k++) {
                const dm_report_row *row = &r->row[i];
                dm_text name = {0};
                if (strcmp(row->of.env, r->env[e]) != 0 || !row->cell[k].present)
                    continue;
                dm_report_label(&row->of, &name);
                dm_report_doc_row(d);
                dm_report_doc_cell(d, DM_CELL_HEAD, name.data ? name.data : "");
                dm_report_doc_cell(d, 0, row->of.setting ? row->of.setting : "");
                dm_report_doc_cell(d, 0, dm_env_split_names[k]);
                dm_report_doc_cell(d, DM_CELL_NUMBER, dm_report_number(number, row->cell[k].turns, 2, false));
                dm_report_doc_row_end(d);
                dm_text_free(&name);
            }
        dm_report_doc_table_end(d);
        dm_report_doc_details_end(d);
    }
}

/* ---- all of it ---- */

static void add_contents(const dm_report *r, const dm_report_figures *f, dm_report_doc *d)
{
    const struct {
        const char *id, *title;
        bool there;
    } section[] = {{"results", "Results", r->evals > 0},
                   {"sweeps", "Sweeps", has_charts(f, DM_CHART_SWEEP)},
                   {"reward-by-turn", "Reward by turn", has_charts(f, DM_CHART_TURNS)},
                   {"training", "Training", has_charts(f, DM_CHART_TRAINING)},
                   {"pairs", "Pairs", r->pairs_made > 0},
                   {"examples", "Examples", r->examples > 0},
                   {"how-to-repeat-it", "How to repeat it", true},
                   {"this-run", "This run", true}};

    if (!d->html)
        return;
    dm_text_print(d->out, "<nav aria-label=\"Sections\">");
    for (size_t i = 0; i < sizeof section / sizeof *section; i++)
        if (section[i].there)
            dm_text_print(d->out, "<a href=\"#%s\">%s</a>", section[i].id, section[i].title);
    dm_text_print(d->out, "</nav>\n");
}

void dm_report_body(dm_report *r, const dm_report_figures *f, dm_report_doc *d)
{
    dm_report_doc_heading(d, 1, r->title);
    add_intro(r, d);
    add_contents(r, f, d);
    add_results(r, f, d);
    add_sweeps(r, f, d);
    add_curves(r, f, d, DM_CHART_TURNS, "Reward by turn");
    add_turns_table(r, d);
    add_curves(r, f, d, DM_CHART_TRAINING, "Training");
    dm_report_pairs_section(r, d);
    dm_report_example_section(r, d);
    dm_report_repeat_section(r, d);
    dm_report_run_section(r, d);
}
