/* The sections of a report, in the order in which they stand. */
#include <math.h> /* isnan only */
#include <stdio.h>
#include <string.h>

#include "agent/report_internal.h"

/* ---- small words ---- */

void dm_report_label(const dm_report_subject *s, dm_text *out)
{
    dm_text_print(out, "%s", s->method);
    if (s->sweep)
        dm_text_print(out, ", %s %s", s->sweep, s->x);
}

/* "a", "a and b", "a, b and c" */
static void add_list(dm_doc *d, const char *const *name, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dm_text_print(d->out, "%s", i == 0 ? "" : i + 1 == n ? " and " : ", ");
        dm_doc_word(d, name[i]);
    }
}

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

/* "+0.021" with the sign of typography; no negative zero. */
static const char *signed_text(char out[40], double x, int decimals)
{
    char digits[32];

    snprintf(digits, sizeof digits, "%.*f", decimals, x < 0 ? -x : x);
    const bool zero = strspn(digits, "0.") == strlen(digits);
    snprintf(out, 40, "%s%s", x < 0 && !zero ? "\xE2\x88\x92" : "+", digits);
    return out;
}

static const char *half_text(char out[40], const dm_estimate *e)
{
    out[0] = '\0';
    if (!isnan(e->half))
        snprintf(out, 40, "%.3f", e->half);
    return out;
}

static const char *plain_number(char out[40], double x, int decimals)
{
    out[0] = '\0';
    if (!isnan(x))
        snprintf(out, 40, "%.*f", decimals, x);
    return out;
}

/* ---- what was run ---- */

static void add_options(dm_doc *d, const dm_json *object)
{
    size_t n = 0;

    for (const dm_json *o = object ? object->child : NULL; o; o = o->next) {
        char number[DM_DOUBLE_TEXT];
        if (o->type == DM_JSON_NUMBER)
            dm_double_text(number, o->number);
        else if (o->type != DM_JSON_STRING)
            continue;
        dm_doc_print(d, "%s%s %s", n++ ? ", " : "", o->key, o->type == DM_JSON_NUMBER ? number : o->text);
    }
}

/* "100 tasks of seen and 100 of unseen" */
static void add_tasks(const dm_report *r, dm_doc *d)
{
    size_t n = 0;

    for (size_t k = 0; k < DM_SPLITS; k++) {
        size_t least = 0, most = 0;
        for (size_t i = 0; i < r->evals; i++)
            if (r->eval[i].split == (dm_split)k) {
                least = !least || r->eval[i].tasks < least ? r->eval[i].tasks : least;
                most = r->eval[i].tasks > most ? r->eval[i].tasks : most;
            }
        if (!most)
            continue;
        dm_doc_print(d, "%s%zu", n++ ? " and " : "", least);
        if (least != most)
            dm_doc_print(d, " to %zu", most);
        dm_doc_print(d, " task%s of the split %s", plural(most), dm_split_names[k]);
    }
}

static void add_intro(const dm_report *r, dm_doc *d)
{
    const dm_json *model = dm_json_get(r->recipe, "model"), *note = dm_json_get(r->recipe, "note");

    dm_doc_begin(d);
    dm_doc_print(d, "%zu method%s (", r->methods, plural(r->methods));
    add_list(d, r->method, r->methods);
    dm_doc_print(d, ") in %zu environment%s (", r->envs, plural(r->envs));
    add_list(d, r->env, r->envs);
    dm_doc_print(d, ")");
    if (r->settings) {
        dm_doc_print(d, " with %zu way%s to make pairs (", r->settings, plural(r->settings));
        add_list(d, r->setting, r->settings);
        dm_doc_print(d, ")");
    }
    dm_doc_print(d, ", with the seed%s ", plural(r->seeds));
    for (size_t i = 0; i < r->seeds; i++)
        dm_doc_print(d, "%s%llu", i == 0 ? "" : i + 1 == r->seeds ? " and " : ", ", (unsigned long long)r->seed[i]);
    dm_doc_print(d, ". ");
    if (model && model->type == DM_JSON_STRING) {
        dm_doc_print(d, "The model is %s. ", model->text);
    } else if (model && model->child) {
        dm_doc_print(d, "The model is a new one: ");
        add_options(d, model);
        dm_doc_print(d, ". ");
    }
    if (r->evals) {
        dm_doc_print(d, "Each policy played ");
        add_tasks(r, d);
        dm_doc_print(d, ".");
    }
    dm_doc_end(d);
    if (note && note->type == DM_JSON_STRING) {
        dm_doc_begin(d);
        dm_doc_word(d, note->text);
        dm_doc_end(d);
    }
}

/* ---- tables of results ---- */

static bool is_reference(const dm_report_row *row)
{
    const char *kind = row->of.kind;
    return strcmp(kind, "expert") == 0 || strcmp(kind, "random") == 0 || strcmp(kind, "best-of-n") == 0;
}

static bool in_table(const dm_report_row *row, const char *env, const char *sweep)
{
    return strcmp(row->of.env, env) == 0 && dm_report_same(row->of.sweep, sweep);
}

/* The largest mean reward (what 1) or success (what 2) of trained methods, as it is printed. */
static void best_of(const dm_report *r, const char *env, const char *sweep, dm_split split, int what, char out[40])
{
    double best = 0;
    size_t n = 0;

    for (size_t i = 0; i < r->rows; i++) {
        const dm_report_cell *c = &r->row[i].cell[split];
        const double x = what == 1 ? c->reward.mean : c->success;
        if (!in_table(&r->row[i], env, sweep) || is_reference(&r->row[i]) || !c->present)
            continue;
        best = n++ == 0 || x > best ? x : best;
    }
    out[0] = '\0';
    if (n > 1)
        snprintf(out, 40, "%.*f", what == 1 ? 3 : 1, what == 1 ? best : 100 * best);
}

/* Surely better, surely worse: the interval is on one side of zero. */
static unsigned sure(const dm_estimate *e)
{
    if (e->n < 2 || isnan(e->half))
        return 0;
    return e->mean - e->half > 0 ? DM_CELL_UP : e->mean + e->half < 0 ? DM_CELL_DOWN : 0;
}

static void difference_cell(dm_doc *d, const dm_estimate *e)
{
    char number[40], half[40];

    if (e->n == 0)
        dm_doc_cell(d, DM_CELL_NUMBER, "");
    else
        dm_doc_value(d, sure(e), signed_text(number, e->mean, 3), half_text(half, e));
}

typedef struct result_table {
    const dm_report *r;
    dm_doc *d;
    const char *env, *sweep;
    dm_split split[DM_SPLITS];
    size_t splits, columns;
    bool to_sft, to_dpo;
    char best[DM_SPLITS][2][40];
} result_table;

static void result_row(result_table *t, const dm_report_row *row)
{
    dm_doc *d = t->d;
    dm_text name = {0};

    dm_report_label(&row->of, &name);
    dm_doc_row(d);
    dm_doc_cell(d, DM_CELL_HEAD | (row->of.setting ? DM_CELL_INDENT : 0), name.data ? name.data : "");
    for (size_t k = 0; k < t->splits; k++) {
        const dm_report_cell *c = &row->cell[t->split[k]];
        char number[40] = "", half[40], share[40] = "";
        if (c->present) {
            snprintf(number, sizeof number, "%.3f", c->reward.mean);
            snprintf(share, sizeof share, "%.1f", 100 * c->success);
            const bool counts = !is_reference(row);
            dm_doc_value(d, counts && strcmp(number, t->best[k][0]) == 0 ? DM_CELL_STRONG : 0, number,
                         half_text(half, &c->reward));
            dm_doc_cell(d, DM_CELL_NUMBER | (counts && strcmp(share, t->best[k][1]) == 0 ? DM_CELL_STRONG : 0), share);
        } else {
            dm_doc_cell(d, DM_CELL_NUMBER, "");
            dm_doc_cell(d, DM_CELL_NUMBER, "");
        }
        if (t->to_sft)
            difference_cell(d, &c->to_sft);
        if (t->to_dpo)
            difference_cell(d, &c->to_dpo);
    }
    dm_doc_row_end(d);
    d->out->failed |= name.failed;
    dm_text_free(&name);
}

static size_t result_rows(result_table *t, const char *setting, bool print)
{
    const dm_report *r = t->r;
    size_t n = 0;

    for (size_t i = 0; i < r->rows; i++)
        if (in_table(&r->row[i], t->env, t->sweep) && dm_report_same(r->row[i].of.setting, setting)) {
            if (print)
                result_row(t, &r->row[i]);
            n++;
        }
    return n;
}

static void result_columns(result_table *t, dm_doc_column *column)
{
    static char to_sft[100], to_dpo[100]; /* filled with the same words each time */
    const dm_report *r = t->r;

    snprintf(to_sft, sizeof to_sft, "to %s", r->sft ? r->sft : "");
    snprintf(to_dpo, sizeof to_dpo, "to %s", r->dpo ? r->dpo : "");
    column[t->columns++] = (dm_doc_column){"method", false, NULL};
    for (size_t k = 0; k < t->splits; k++) {
        const char *group = dm_split_names[t->split[k]];
        column[t->columns++] = (dm_doc_column){"reward", true, group};
        column[t->columns++] = (dm_doc_column){"success %", true, group};
        if (t->to_sft)
            column[t->columns++] = (dm_doc_column){to_sft, true, group};
        if (t->to_dpo)
            column[t->columns++] = (dm_doc_column){to_dpo, true, group};
    }
}

/* Of all rows with this sweep (NULL: without one) in the environment. */
static void add_result_table(const dm_report *r, dm_doc *d, const char *env, const char *sweep)
{
    result_table t = {.r = r, .d = d, .env = env, .sweep = sweep};
    dm_doc_column column[1 + 4 * DM_SPLITS];
    char caption[300];
    size_t rows = 0;

    for (size_t k = 0; k < DM_SPLITS; k++) {
        bool there = false;
        for (size_t i = 0; i < r->rows; i++) {
            const dm_report_cell *c = &r->row[i].cell[k];
            if (!in_table(&r->row[i], env, sweep))
                continue;
            there |= c->present;
            t.to_sft |= c->to_sft.n > 0;
            t.to_dpo |= c->to_dpo.n > 0;
            rows += c->present;
        }
        if (there) {
            best_of(r, env, sweep, (dm_split)k, 1, t.best[t.splits][0]);
            best_of(r, env, sweep, (dm_split)k, 2, t.best[t.splits][1]);
            t.split[t.splits++] = (dm_split)k;
        }
    }
    if (!rows)
        return;
    result_columns(&t, column);
    snprintf(caption, sizeof caption,
             "%.100s%s%.100s: mean reward, share of successes and paired differences of reward", env,
             sweep ? " by " : "", sweep ? sweep : "");
    dm_doc_table(d, caption, column, t.columns);
    result_rows(&t, NULL, true);
    for (size_t g = 0; g < r->settings; g++)
        if (result_rows(&t, r->setting[g], false)) {
            dm_doc_group(d, r->setting[g], t.columns);
            result_rows(&t, r->setting[g], true);
        }
    dm_doc_table_end(d);
}

/* "Best on unseen tasks: DMPO with 0.512 ±0.020, +0.101 ±0.031 to SFT." */
static void add_best(const dm_report *r, dm_doc *d, const char *env)
{
    const dm_report_row *best = NULL;
    dm_split split = DM_SPLITS;
    char number[40];

    for (size_t i = 0; i < r->rows; i++)
        for (size_t k = 0; k < DM_SPLITS; k++)
            if (strcmp(r->row[i].of.env, env) == 0 && r->row[i].cell[k].present && !is_reference(&r->row[i]) &&
                (split == DM_SPLITS || k > (size_t)split))
                split = (dm_split)k;
    for (size_t i = 0; i < r->rows && split < DM_SPLITS; i++) {
        const dm_report_row *row = &r->row[i];
        if (strcmp(row->of.env, env) == 0 && row->cell[split].present && !is_reference(row) &&
            (!best || row->cell[split].reward.mean > best->cell[split].reward.mean))
            best = row;
    }
    if (!best)
        return;
    const dm_report_cell *c = &best->cell[split];
    dm_text name = {0};
    dm_report_label(&best->of, &name);
    dm_doc_begin(d);
    dm_doc_print(d, "The highest mean on %s tasks is that of ", dm_split_names[split]);
    dm_doc_strong(d, name.data ? name.data : "");
    if (best->of.setting)
        dm_doc_print(d, " (%s)", best->of.setting);
    dm_doc_print(d, ": %.3f", c->reward.mean);
    if (!isnan(c->reward.half))
        dm_doc_print(d, " \xC2\xB1%.3f", c->reward.half);
    for (int k = 0; k < 2; k++) {
        const dm_estimate *e = k ? &c->to_dpo : &c->to_sft;
        if (e->n == 0)
            continue;
        dm_doc_print(d, ", %s", signed_text(number, e->mean, 3));
        if (!isnan(e->half))
            dm_doc_print(d, " \xC2\xB1%.3f", e->half);
        dm_doc_print(d, " to %s", k ? r->dpo : r->sft);
    }
    dm_doc_print(d, ".");
    dm_doc_end(d);
    d->out->failed |= name.failed;
    dm_text_free(&name);
}

static void add_charts(const dm_figures *f, dm_doc *d, const char *env, dm_chart_kind kind)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->figure[i].kind == kind && strcmp(f->figure[i].env, env) == 0)
            dm_doc_chart(d, &f->figure[i].chart);
}

static bool has_charts(const dm_figures *f, dm_chart_kind kind)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->figure[i].kind == kind)
            return true;
    return false;
}

static void add_results(const dm_report *r, const dm_figures *f, dm_doc *d)
{
    if (r->evals == 0)
        return;
    dm_doc_heading(d, 2, "Results");
    dm_doc_begin(d);
    if (r->seeds > 1)
        dm_doc_print(d,
                     "Intervals are those of 95 %% by Student\xE2\x80\x99s t over the %zu seeds, a seed counting with "
                     "its mean over the tasks; differences are paired by seed.",
                     r->seeds);
    else
        dm_doc_print(d, "There is one seed: intervals are those of 95 %% by Student\xE2\x80\x99s t over the tasks, and "
                        "say nothing of how much another seed would change; differences are paired by task.");
    dm_doc_print(d, " Success is a reward of 1. Bold with a star: the best of the trained methods in its column. Bold "
                    "differences: the interval is on one side of zero.");
    dm_doc_end(d);
    for (size_t e = 0; e < r->envs; e++) {
        size_t rows = 0;
        for (size_t i = 0; i < r->rows; i++)
            rows += strcmp(r->row[i].of.env, r->env[e]) == 0;
        if (!rows)
            continue;
        dm_doc_heading(d, 3, r->env[e]);
        add_best(r, d, r->env[e]);
        add_result_table(r, d, r->env[e], NULL);
        add_charts(f, d, r->env[e], DM_CHART_REWARD);
    }
}

static void add_sweeps(const dm_report *r, const dm_figures *f, dm_doc *d)
{
    if (!has_charts(f, DM_CHART_SWEEP))
        return;
    dm_doc_heading(d, 2, "Sweeps");
    for (size_t e = 0; e < r->envs; e++) {
        bool any = false;
        for (size_t i = 0; i < f->n; i++)
            any |= f->figure[i].kind == DM_CHART_SWEEP && strcmp(f->figure[i].env, r->env[e]) == 0;
        if (!any)
            continue;
        dm_doc_heading(d, 3, r->env[e]);
        add_charts(f, d, r->env[e], DM_CHART_SWEEP);
        for (size_t i = 0; i < r->rows; i++) {
            const char *key = r->row[i].of.sweep;
            bool first = key && strcmp(r->row[i].of.env, r->env[e]) == 0;
            for (size_t k = 0; k < i && first; k++)
                first = !in_table(&r->row[k], r->env[e], key);
            if (first)
                add_result_table(r, d, r->env[e], key);
        }
    }
}

static void add_curves(const dm_report *r, const dm_figures *f, dm_doc *d, dm_chart_kind kind, const char *title)
{
    if (!has_charts(f, kind) || (!d->html && !d->svg))
        return;
    dm_doc_heading(d, 2, title);
    for (size_t e = 0; e < r->envs; e++)
        add_charts(f, d, r->env[e], kind);
}

/* Markdown without charts still has the figures of the curves by turn. */
static void add_turns_table(const dm_report *r, dm_doc *d)
{
    static const dm_doc_column column[] = {
        {"method", false, NULL}, {"setting", false, NULL}, {"split", false, NULL}, {"turns of an episode", true, NULL}};
    char number[40];

    if (d->html || r->evals == 0)
        return;
    for (size_t e = 0; e < r->envs; e++) {
        char caption[200];
        snprintf(caption, sizeof caption, "%.150s: turns of an episode, means", r->env[e]);
        dm_doc_details(d, caption);
        dm_doc_table(d, caption, column, 4);
        for (size_t i = 0; i < r->rows; i++)
            for (size_t k = 0; k < DM_SPLITS; k++) {
                const dm_report_row *row = &r->row[i];
                dm_text name = {0};
                if (strcmp(row->of.env, r->env[e]) != 0 || !row->cell[k].present)
                    continue;
                dm_report_label(&row->of, &name);
                dm_doc_row(d);
                dm_doc_cell(d, DM_CELL_HEAD, name.data ? name.data : "");
                dm_doc_cell(d, 0, row->of.setting ? row->of.setting : "");
                dm_doc_cell(d, 0, dm_split_names[k]);
                dm_doc_cell(d, DM_CELL_NUMBER, plain_number(number, row->cell[k].turns, 2));
                dm_doc_row_end(d);
                dm_text_free(&name);
            }
        dm_doc_table_end(d);
        dm_doc_details_end(d);
    }
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

static void add_pairs(const dm_report *r, dm_doc *d)
{
    static const struct {
        dm_doc_column column;
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
    dm_doc_column column[2 + FIGURES] = {{"setting", false, NULL}, {"first used by", false, NULL}};

    if (r->pairs_made == 0)
        return;
    for (size_t k = 0; k < FIGURES; k++)
        column[2 + k] = figure[k].column;
    dm_doc_heading(d, 2, "Pairs");
    for (size_t e = 0; e < r->envs; e++) {
        char caption[200];
        size_t rows = 0;
        snprintf(caption, sizeof caption, "%.120s: pairs, means over %s", r->env[e],
                 r->seeds > 1 ? "the seeds" : "all of them");
        for (size_t i = 0; i < r->pairs_made; i++) {
            const dm_report_subject *s = &r->pairs[i].of;
            bool first = strcmp(s->env, r->env[e]) == 0;
            for (size_t k = 0; k < i && first; k++)
                first = !dm_report_same_subject(&r->pairs[k].of, s);
            if (!first)
                continue;
            if (rows++ == 0)
                dm_doc_table(d, caption, column, 2 + FIGURES);
            dm_text name = {0};
            dm_report_label(s, &name);
            dm_doc_row(d);
            dm_doc_cell(d, DM_CELL_HEAD, s->setting ? s->setting : "");
            dm_doc_cell(d, 0, name.data ? name.data : "");
            for (size_t k = 0; k < FIGURES; k++) {
                char number[40];
                dm_doc_cell(d, DM_CELL_NUMBER,
                            plain_number(number, mean_of(r, i, figure[k].offset), figure[k].decimals));
            }
            dm_doc_row_end(d);
            d->out->failed |= name.failed;
            dm_text_free(&name);
        }
        if (rows)
            dm_doc_table_end(d);
    }
}

/* ---- how to repeat it ---- */

/* A command without the place where it ran: "$DIR/stages/...". */
static void add_command(dm_text *out, const dm_report_stage *s)
{
    const char *at = *s->output ? strstr(s->command, s->output) : NULL, *begin = at;

    while (begin && begin > s->command && begin[-1] != ' ')
        begin--;
    const size_t prefix = at ? (size_t)(at - begin) : 0; /* "runs/quick/" */
    for (const char *p = s->command; *p;) {
        const bool word = p == s->command || p[-1] == ' ';
        if (word && prefix && strncmp(p, begin, prefix) == 0 && *begin != '\'') {
            dm_text_print(out, "$DIR/");
            p += prefix;
        } else {
            dm_text_add(out, p++, 1);
        }
    }
    dm_text_add(out, "\n", 1);
}

static bool seeds_of_recipe(const dm_report *r)
{
    const dm_json *list = dm_json_get(r->recipe, "seeds"), *v = list ? list->child : NULL;

    if (!list)
        return r->seeds == 1 && r->seed[0] == 1;
    for (size_t i = 0; i < r->seeds; i++, v = v->next)
        if (!v || !v->is_integer || (uint64_t)v->integer != r->seed[i])
            return false;
    return v == NULL;
}

static void add_weights(const dm_report *r, dm_doc *d)
{
    static const dm_doc_column column[] = {{"environment", false, NULL},
                                           {"setting", false, NULL},
                                           {"method", false, NULL},
                                           {"seed", true, NULL},
                                           {"SHA-256", false, NULL}};
    size_t n = 0;

    for (size_t i = 0; i < r->trainings; i++) {
        const dm_report_training *t = &r->training[i];
        dm_text name = {0};
        char seed[32];
        if (!t->weights)
            continue;
        if (n++ == 0) {
            dm_doc_details(d, "Hashes of the weights");
            dm_doc_table(d, "SHA-256 of each training\xE2\x80\x99s weights", column, 5);
        }
        dm_report_label(&t->of, &name);
        snprintf(seed, sizeof seed, "%llu", (unsigned long long)t->of.seed);
        dm_doc_row(d);
        dm_doc_cell(d, DM_CELL_HEAD, t->of.env);
        dm_doc_cell(d, 0, t->of.setting ? t->of.setting : "");
        dm_doc_cell(d, 0, name.data ? name.data : "");
        dm_doc_cell(d, DM_CELL_NUMBER, seed);
        dm_doc_cell(d, DM_CELL_CODE, t->weights);
        dm_doc_row_end(d);
        d->out->failed |= name.failed;
        dm_text_free(&name);
    }
    if (n) {
        dm_doc_table_end(d);
        dm_doc_details_end(d);
    }
}

/* Commands of so many stages make a page of Markdown that nobody can read any more. */
#define MARKDOWN_STAGES 60

static void add_repeat(const dm_report *r, dm_doc *d)
{
    dm_text t = {0};

    dm_doc_heading(d, 2, "How to repeat it");
    dm_doc_begin(d);
    dm_doc_print(d, "With the recipe below as recipe.json");
    if (r->version)
        dm_doc_print(d, " and dmpo %s", r->version);
    dm_doc_print(d, ", on any machine, every digit of this report but those of the last section comes out again:");
    dm_doc_end(d);
    dm_text_print(&t, "dmpo experiment recipe.json --output DIR");
    for (size_t i = 0; i < r->seeds && !seeds_of_recipe(r); i++)
        dm_text_print(&t, "%s%llu", i ? "," : " --seeds ", (unsigned long long)r->seed[i]);
    if (!t.failed)
        dm_doc_block(d, t.data, t.size, "sh");
    d->out->failed |= t.failed;
    dm_text_free(&t);
    if (r->recipe_sha256) {
        dm_doc_begin(d);
        dm_doc_print(d, "SHA-256 of the recipe: ");
        dm_doc_code(d, r->recipe_sha256);
        dm_doc_print(d, ".");
        dm_doc_end(d);
    }
    if (r->recipe_text) {
        dm_doc_details(d, "The recipe");
        dm_doc_block(d, r->recipe_text, r->recipe_size, "json");
        dm_doc_details_end(d);
    }
    add_weights(r, d);
    if (r->stages && !d->html && r->stages > MARKDOWN_STAGES) {
        dm_doc_begin(d);
        dm_doc_print(d, "The commands of the %zu stages are in report.html; ", r->stages);
        dm_doc_code(d, "dmpo experiment recipe.json --output DIR --plan");
        dm_doc_print(d, " prints them.");
        dm_doc_end(d);
    } else if (r->stages) {
        for (size_t i = 0; i < r->stages; i++)
            add_command(&t, &r->stage[i]);
        dm_doc_details(d, "The commands of the stages");
        dm_doc_block(d, t.data ? t.data : "", t.size, "sh");
        dm_doc_details_end(d);
        d->out->failed |= t.failed;
        dm_text_free(&t);
    }
}

/* ---- this run ---- */

static void elapsed(char out[40], double seconds)
{
    const long s = seconds < 1e9 ? (long)seconds : 0;
    if (seconds < 60)
        snprintf(out, 40, "%.1f s", seconds);
    else if (s < 3600)
        snprintf(out, 40, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(out, 40, "%ld h %02ld min", s / 3600, s / 60 % 60);
}

/* "train", "tokenizer train": what stands in front of the first option. */
static size_t command_name(const char *command, char out[40])
{
    const char *p = strncmp(command, "dmpo ", 5) == 0 ? command + 5 : command, *end = strstr(p, " -");
    size_t n = end ? (size_t)(end - p) : strlen(p);
    n = n < 39 ? n : 39;
    memcpy(out, p, n);
    out[n] = '\0';
    return n;
}

static void add_run(const dm_report *r, dm_doc *d)
{
    static const dm_doc_column column[] = {
        {"command", false, NULL}, {"stages", true, NULL}, {"seconds, sum", true, NULL}, {"longest", true, NULL}};
    char text[40], kind[16][40];
    struct {
        double seconds, longest;
        size_t n;
    } sum[16] = {{0, 0, 0}};
    size_t kinds = 0, reused = 0;

    dm_doc_heading(d, 2, "This run");
    for (size_t i = 0; i < r->stages; i++) {
        size_t k = 0;
        const double seconds = isnan(r->stage[i].seconds) ? 0 : r->stage[i].seconds;
        command_name(r->stage[i].command, text);
        while (k < kinds && strcmp(kind[k], text) != 0)
            k++;
        if (k == 16)
            continue;
        if (k == kinds)
            memcpy(kind[kinds++], text, sizeof text);
        sum[k].n++;
        sum[k].seconds += seconds;
        sum[k].longest = seconds > sum[k].longest ? seconds : sum[k].longest;
        reused += r->stage[i].reused;
    }
    dm_doc_begin(d);
    dm_doc_print(d, "What differs from machine to machine and from run to run. ");
    if (!isnan(r->seconds)) {
        elapsed(text, r->seconds);
        dm_doc_print(d, "The last call took %s", text);
        if (r->threads)
            dm_doc_print(d, " with %lld thread%s and %lld stage%s at once", (long long)r->threads,
                         plural((size_t)r->threads), (long long)r->jobs, plural((size_t)r->jobs));
        if (r->isa)
            dm_doc_print(d, ", on %s", r->isa);
        dm_doc_print(d, ". ");
    }
    if (r->stages)
        dm_doc_print(d, "Of %zu stages %zu were done before it.", r->stages, reused);
    dm_doc_end(d);
    if (!kinds)
        return;
    dm_doc_table(d, "Wall time of the stages, each when it ran", column, 4);
    for (size_t k = 0; k < kinds; k++) {
        dm_doc_row(d);
        dm_doc_cell(d, DM_CELL_HEAD, kind[k]);
        snprintf(text, sizeof text, "%zu", sum[k].n);
        dm_doc_cell(d, DM_CELL_NUMBER, text);
        dm_doc_cell(d, DM_CELL_NUMBER, plain_number(text, sum[k].seconds, 1));
        dm_doc_cell(d, DM_CELL_NUMBER, plain_number(text, sum[k].longest, 1));
        dm_doc_row_end(d);
    }
    dm_doc_table_end(d);
}

/* ---- all of it ---- */

static void add_contents(const dm_report *r, const dm_figures *f, dm_doc *d)
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

void dm_report_body(dm_report *r, const dm_figures *f, dm_doc *d)
{
    dm_doc_heading(d, 1, r->title);
    add_intro(r, d);
    add_contents(r, f, d);
    add_results(r, f, d);
    add_sweeps(r, f, d);
    add_curves(r, f, d, DM_CHART_TURNS, "Reward by turn");
    add_turns_table(r, d);
    add_curves(r, f, d, DM_CHART_TRAINING, "Training");
    add_pairs(r, d);
    dm_report_example_section(r, d);
    add_repeat(r, d);
    add_run(r, d);
}
