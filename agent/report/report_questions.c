/* The answers to what a recipe asked beforehand, and which values its search chose. */
#include <math.h> /* isnan only */
#include <string.h>

#include "agent/report/report_doc.h"

/* "home, noisy", "lab, own / expert" */
static const char *place_of(dm_report *r, const dm_report_question *q)
{
    const char *one = q->setting, *other = q->against_setting;
    const bool two = one && other && strcmp(one, other) != 0;

    if (!one && !other)
        return q->env;
    return dm_report_format(r, "%s, %s%s%s", q->env, one ? one : other, two ? " / " : "", two ? other : "");
}

/* "0.012", "<0.001" */
static const char *chance(dm_report *r, double p)
{
    return isnan(p) ? "" : p < 0.001 ? "<0.001" : dm_report_number(r, p, 3, false);
}

void dm_report_question_section(dm_report_doc *d)
{
    dm_report *r = d->r;
    const dm_report_column column[] = {{"question", false, NULL},
                                       {"where", false, NULL},
                                       {"seeds", true, NULL},
                                       {"difference", true, NULL},
                                       {"p, Holm", true, NULL},
                                       {"power", true, r->questions ? r->question[0].sought_text : ""},
                                       {"seeds for 80 %", true, r->questions ? r->question[0].sought_text : ""},
                                       {"answer", false, NULL}};

    if (r->questions == 0)
        return;
    dm_report_doc_heading(d, 2, "Questions");
    dm_report_doc_paragraph(
        d,
        "What the recipe asked before there were results. Differences are paired by seed; with %zu "
        "comparisons, the intervals are those of %.4g %% by Student\xE2\x80\x99s t, so that all of "
        "them hold together with 95 %% (Bonferroni), and p is corrected by Holm\xE2\x80\x99s method.",
        r->questions, 100 - 5 / (double)r->questions);
    dm_report_column *kept = dm_report_alloc(r, 8, sizeof *kept);
    if (!kept)
        return;
    memcpy(kept, column, sizeof column);
    dm_report_doc_table(d, "The questions and their answers", kept, 8);
    for (size_t i = 0; i < r->questions; i++) {
        const dm_report_question *q = &r->question[i];
        const dm_estimate wide = {.mean = q->difference, .half = q->wide, .n = q->n};
        const unsigned sure = isnan(q->wide)                ? 0
                              : q->difference - q->wide > 0 ? DM_REPORT_CELL_UP
                              : q->difference + q->wide < 0 ? DM_REPORT_CELL_DOWN
                                                            : 0;
        dm_report_doc_add(d, DM_REPORT_ROW, NULL);
        dm_report_doc_cell(d, DM_REPORT_CELL_HEAD, q->ask);
        dm_report_doc_cell(d, 0, place_of(r, q));
        dm_report_doc_number(d, 0, (double)q->n, 0, false);
        dm_report_doc_estimate(d, sure, &wide, true);
        dm_report_doc_cell(d, DM_REPORT_CELL_NUMBER, chance(r, q->p));
        dm_report_doc_number(d, 0, q->power, 2, false);
        dm_report_doc_number(d, 0, q->needed > 0 ? (double)q->needed : NAN, 0, false);
        dm_report_doc_cell(d, 0, q->answer);
    }
}

void dm_report_search_section(dm_report_doc *d)
{
    static const dm_report_column column[] = {{"method", false, NULL}, {"where", false, NULL}, {"values", false, NULL},
                                              {"seeds", true, NULL},   {"reward", true, NULL}, {"chosen", false, NULL}};
    dm_report *r = d->r;

    if (r->trials == 0)
        return;
    dm_report_doc_heading(d, 2, "Search");
    dm_report_doc_paragraph(d, "How each method got the values of its options: every one tried as many, with seeds and "
                               "on tasks that no other table has; the highest mean reward decided.");
    dm_report_doc_table(d, "What was tried, and chosen", column, 6);
    for (size_t i = 0; i < r->trials; i++) {
        const dm_report_trial *t = &r->trial[i];
        dm_report_doc_add(d, DM_REPORT_ROW, NULL);
        dm_report_doc_cell(d, DM_REPORT_CELL_HEAD, t->of.label);
        dm_report_doc_cell(d, 0, t->of.setting ? dm_report_format(r, "%s, %s", t->of.env, t->of.setting) : t->of.env);
        dm_report_doc_cell(d, 0, t->values);
        dm_report_doc_number(d, 0, (double)t->seeds, 0, false);
        dm_report_doc_number(d, t->chosen ? DM_REPORT_CELL_STRONG : 0, t->reward, 3, false);
        dm_report_doc_cell(d, 0, t->chosen ? "yes" : "");
    }
}
