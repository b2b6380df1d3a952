/* Examples as text: both runs of a pair side by side, turn by turn. */
#include <math.h> /* isnan only */
#include <stdlib.h>
#include <string.h>

#include "agent/report/report_doc.h"

#define WORDS 600 /* bytes of an action that are shown */

/* The step of the scale, 0 (less likely than under the reference) to 8; what is beyond `full` is in the last ones. */
static int step_of(double ratio, double full)
{
    const double size = full > 0 ? (ratio < 0 ? -ratio : ratio) / full * 4.5 + 0.5 : 0;
    const int step = size >= 4 ? 4 : (int)size;
    return ratio < 0 ? 4 - step : 4 + step;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static size_t add_ratios(const dm_report_side *s, double *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s->turns; i++)
        if (!isnan(s->turn[i].ratio))
            out[n++] = s->turn[i].ratio < 0 ? -s->turn[i].ratio : s->turn[i].ratio;
    return n;
}

/* One scale for the pairs of a method, so that they can be compared; a tenth of the turns may be beyond it, else one
 * turn would make all others pale. */
static double full_scale(dm_report *r, const dm_report_example *e)
{
    size_t room = 1, n = 0;

    for (size_t i = 0; i < e->pairs; i++)
        room += e->pair[i].chosen.turns + e->pair[i].rejected.turns;
    double *ratio = dm_report_alloc(r, room, sizeof *ratio);
    if (!ratio)
        return 0;
    for (size_t i = 0; i < e->pairs; i++) {
        n += add_ratios(&e->pair[i].chosen, ratio + n);
        n += add_ratios(&e->pair[i].rejected, ratio + n);
    }
    qsort(ratio, n, sizeof *ratio, by_size);
    return n ? ratio[(n - 1) * 9 / 10] : 0;
}

/* The words of a turn, without the "Action: " that each begins with, cut to what is shown. */
static const char *words_of(dm_report *r, const char *action)
{
    const char *p = strncmp(action, "Action: ", 8) == 0 ? action + 8 : action;
    size_t n = strlen(p);
    const bool cut = n > WORDS;

    for (n = cut ? WORDS : n; cut && n > 0 && ((unsigned char)p[n] & 0xC0) == 0x80; n--)
        ;
    return dm_report_format(r, "%.*s%s", (int)n, p, cut ? "\xE2\x80\xA6" : "");
}

static bool any_score(const dm_report_side *s)
{
    for (size_t i = 0; i < s->turns; i++)
        if (!isnan(s->turn[i].score))
            return true;
    return false;
}

static void add_side(dm_report_doc *d, const char *name, const dm_report_side *s, double full)
{
    static const dm_report_column column[] = {{"t", true, NULL},
                                              {"action", false, NULL},
                                              {"\xCF\x86", true, NULL},
                                              {"log-ratio", true, NULL},
                                              {"score", true, NULL}};
    dm_report *r = d->r;
    const bool scores = any_score(s);

    dm_report_doc_table(d,
                        dm_report_format(r, "%s: reward %s of the loss%s%s%s", name,
                                         dm_report_number(r, s->reward, 3, true), isnan(s->score) ? "" : ", ",
                                         dm_report_number(r, s->score, 2, false),
                                         isnan(s->score) ? "" : " of the environment"),
                        column, scores ? 5 : 4);
    for (size_t i = 0; i < s->turns; i++) {
        const dm_report_turn *t = &s->turn[i];
        const bool counts = !isnan(t->ratio);
        dm_report_doc_add(d, DM_REPORT_ROW, NULL);
        dm_report_doc_number(d, DM_REPORT_CELL_HEAD, (double)i, 0, false);
        dm_report_doc_cell(d, DM_REPORT_CELL_ACTION, words_of(r, t->action));
        dm_report_node *weight = dm_report_doc_number(d, 0, t->weight, 3, false);
        weight->bar = !(t->weight > 0) ? 0 : t->weight > 1 ? 1 : t->weight;
        if (!counts)
            weight->text = "cut";
        dm_report_node *ratio = dm_report_doc_number(d, 0, t->ratio, 2, true);
        ratio->step = counts ? 1 + step_of(t->ratio, full) : 0;
        if (scores)
            dm_report_doc_number(d, 0, t->score, 2, false);
    }
}

static void add_legend(dm_report_doc *d, double full)
{
    dm_report_doc_add(d, DM_REPORT_QUIET, NULL);
    dm_report_doc_print(d, "Colours of the log-ratio:");
    dm_report_doc_add(d, DM_REPORT_LEGEND, NULL);
    for (int k = 0; k < DM_REPORT_STEPS; k++) {
        const char *low = dm_report_number(d->r, (k - 4.5) / 4.5 * full, 1, true),
                   *high = dm_report_number(d->r, (k - 3.5) / 4.5 * full, 1, true);
        const char *text = k == 0                     ? dm_report_format(d->r, "below %s", high)
                           : k == DM_REPORT_STEPS - 1 ? dm_report_format(d->r, "above %s", low)
                                                      : dm_report_format(d->r, "%s to %s", low, high);
        dm_report_doc_add(d, DM_REPORT_TEXT_STEP, text)->step = k + 1;
    }
}

static void add_pair(dm_report_doc *d, const dm_report_pair *p, double full)
{
    dm_report_doc_paragraph(d, "The pair with %s, ", p->what);
    dm_report_doc_add(d, DM_REPORT_TEXT_CODE, p->id);
    dm_report_doc_print(d, ".");
    dm_report_doc_add(d, DM_REPORT_TASK, p->task);
    dm_report_doc_add(d, DM_REPORT_SIDES, NULL);
    add_side(d, "chosen", &p->chosen, full);
    dm_report_doc_add(d, DM_REPORT_SIDES_NEXT, NULL);
    add_side(d, "rejected", &p->rejected, full);
    dm_report_doc_add(d, DM_REPORT_SIDES_END, NULL);
}

static void add_heading(dm_report_doc *d)
{
    dm_report_doc_heading(d, 2, "Examples");
    dm_report_doc_paragraph(d, "Pairs that a method was trained on, of the first seed, scored after training. \xCF\x86 "
                               "is the weight of a turn in the loss");
    d->forms = DM_REPORT_HTML;
    dm_report_doc_print(d, ", drawn as a bar");
    d->forms = DM_REPORT_BOTH;
    dm_report_doc_print(d, "; log-ratio is the log-probability of the turn\xE2\x80\x99s tokens under the policy less "
                           "that under the reference, in nats; score is the environment\xE2\x80\x99s after the turn. "
                           "The reward of the loss is \xCE\xB2 times the sum of \xCF\x86 times log-ratio.");
}

void dm_report_example_section(dm_report_doc *d)
{
    dm_report *r = d->r;
    size_t n = 0;

    for (size_t i = 0; i < r->examples; i++) {
        const dm_report_example *e = &r->example[i];
        const dm_report_subject *of = &e->of;
        if (e->pairs == 0)
            continue;
        if (n++ == 0)
            add_heading(d);
        dm_report_doc_heading(d, 3,
                              dm_report_format(r, "%s, %s%s%s, seed %llu%s%s%s", of->env,
                                               of->setting ? of->setting : "", of->setting ? ", " : "", of->label,
                                               (unsigned long long)of->seed, e->objective ? " (" : "",
                                               e->objective ? e->objective : "", e->objective ? ")" : ""));
        const double full = full_scale(r, e);
        d->forms = DM_REPORT_HTML;
        if (full > 0)
            add_legend(d, full);
        d->forms = DM_REPORT_BOTH;
        for (size_t k = 0; k < e->pairs; k++)
            add_pair(d, &e->pair[k], full);
    }
}
