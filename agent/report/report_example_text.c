/* Examples as text: both runs of a pair beside each other, turn by turn. */
#include <math.h> /* isnan only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/report/report_internal.h"

#define STEPS 9
#define WORDS 600 /* bytes of an action that are shown */

/* The step of the scale, d0 (less likely than under the reference) to d8; what is beyond `full` is in the last ones. */
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

/* The words of a turn, without the "Action: " that every one begins with, at most so many of them. */
static void words_of(const char *action, char out[WORDS + 8])
{
    const char *p = strncmp(action, "Action: ", 8) == 0 ? action + 8 : action;
    size_t n = strlen(p);
    const bool cut = n > WORDS;

    for (n = cut ? WORDS : n; cut && n > 0 && ((unsigned char)p[n] & 0xC0) == 0x80; n--)
        ;
    snprintf(out, WORDS + 8, "%.*s%s", (int)n, p, cut ? "\xE2\x80\xA6" : "");
}

/* ---- a side ---- */

static void summary(char *out, size_t size, const char *name, const dm_report_side *s)
{
    char reward[DM_NUMBER], score[DM_NUMBER];

    snprintf(out, size, "%s: reward %s of the loss", name, dm_report_number(reward, s->reward, 3, true));
    if (!isnan(s->score))
        snprintf(out + strlen(out), size - strlen(out), ", %s of the environment",
                 dm_report_number(score, s->score, 2, false));
}

static bool any_score(const dm_report_side *s)
{
    for (size_t i = 0; i < s->turns; i++)
        if (!isnan(s->turn[i].score))
            return true;
    return false;
}

static void html_side(dm_report_doc *d, const char *name, const dm_report_side *s, double full)
{
    char text[WORDS + 8], caption[200], value[DM_NUMBER];
    const bool scores = any_score(s);

    summary(caption, sizeof caption, name, s);
    dm_text_print(d->out, "<table>\n<caption>");
    dm_report_doc_word(d, caption);
    dm_text_print(d->out,
                  "</caption>\n<thead><tr><th scope=\"col\" class=\"num\">t</th><th scope=\"col\">action</th>"
                  "<th scope=\"col\" class=\"num\">\xCF\x86</th><th scope=\"col\" class=\"num\">log-ratio</th>%s</tr>"
                  "</thead>\n<tbody>\n",
                  scores ? "<th scope=\"col\" class=\"num\">score</th>" : "");
    for (size_t i = 0; i < s->turns; i++) {
        const dm_report_turn *t = &s->turn[i];
        const bool counts = !isnan(t->ratio);
        const double bar = isnan(t->weight) || t->weight < 0 ? 0 : t->weight > 1 ? 1 : t->weight;
        words_of(t->action, text);
        dm_text_print(d->out, "<tr><th scope=\"row\" class=\"num\">%zu</th><td class=\"act\">", i);
        dm_report_doc_word(d, text);
        dm_text_print(d->out, "</td><td class=\"num weight\" style=\"--w:%.1f%%\">", 100 * bar);
        dm_report_doc_word(d, counts ? dm_report_number(value, t->weight, 3, false) : "cut");
        if (counts)
            dm_text_print(d->out, "</td><td class=\"num d%d\">", step_of(t->ratio, full));
        else
            dm_text_print(d->out, "</td><td>");
        dm_report_doc_word(d, counts ? dm_report_number(value, t->ratio, 2, true) : "");
        dm_text_print(d->out, "</td>");
        if (scores) {
            dm_text_print(d->out, "<td class=\"num\">");
            dm_report_doc_word(d, dm_report_number(value, t->score, 2, false));
            dm_text_print(d->out, "</td>");
        }
        dm_text_print(d->out, "</tr>\n");
    }
    dm_text_print(d->out, "</tbody>\n</table>\n");
}

static void markdown_side(dm_report_doc *d, const char *name, const dm_report_side *s)
{
    static const dm_report_doc_column column[] = {{"t", true, NULL},
                                                  {"action", false, NULL},
                                                  {"\xCF\x86", true, NULL},
                                                  {"log-ratio", true, NULL},
                                                  {"score", true, NULL}};
    const size_t columns = any_score(s) ? 5 : 4;
    char text[WORDS + 8], caption[200], value[DM_NUMBER];

    summary(caption, sizeof caption, name, s);
    dm_report_doc_table(d, caption, column, columns);
    for (size_t i = 0; i < s->turns; i++) {
        const dm_report_turn *t = &s->turn[i];
        words_of(t->action, text);
        dm_report_doc_row(d);
        snprintf(value, sizeof value, "%zu", i);
        dm_report_doc_cell(d, DM_CELL_NUMBER, value);
        dm_report_doc_cell(d, DM_CELL_CODE, text);
        dm_report_doc_cell(d, DM_CELL_NUMBER, isnan(t->ratio) ? "cut" : dm_report_number(value, t->weight, 3, false));
        dm_report_doc_cell(d, DM_CELL_NUMBER, dm_report_number(value, t->ratio, 2, true));
        if (columns == 5)
            dm_report_doc_cell(d, DM_CELL_NUMBER, dm_report_number(value, t->score, 2, false));
        dm_report_doc_row_end(d);
    }
    dm_report_doc_table_end(d);
}

static void legend(dm_report_doc *d, double full)
{
    char low[DM_NUMBER], high[DM_NUMBER];

    dm_text_print(d->out, "<p class=\"quiet\">Colours of the log-ratio:</p>\n<p class=\"legend\">");
    for (int k = 0; k < STEPS; k++) {
        dm_report_number(low, (k - 4.5) / 4.5 * full, 1, true);
        dm_report_number(high, (k - 3.5) / 4.5 * full, 1, true);
        if (k == 0)
            dm_text_print(d->out, "<span class=\"d%d\">below %s</span>", k, high);
        else if (k == STEPS - 1)
            dm_text_print(d->out, "<span class=\"d%d\">above %s</span>", k, low);
        else
            dm_text_print(d->out, "<span class=\"d%d\">%s to %s</span>", k, low, high);
    }
    dm_text_print(d->out, "</p>\n");
}

/* ---- a pair ---- */

static void add_pair(dm_report_doc *d, const dm_report_pair *p, double full)
{
    dm_report_doc_begin(d);
    dm_report_doc_print(d, "The pair with %s, ", p->what);
    dm_report_doc_code(d, p->id);
    dm_report_doc_print(d, ".");
    dm_report_doc_end(d);
    if (!d->html) {
        dm_text_print(d->out, "> ");
        dm_report_doc_word(d, p->task);
        dm_text_print(d->out, "\n\n");
        markdown_side(d, "chosen", &p->chosen);
        markdown_side(d, "rejected", &p->rejected);
        return;
    }
    dm_text_print(d->out, "<p class=\"task\">");
    dm_report_doc_word(d, p->task);
    dm_text_print(d->out, "</p>\n");
    dm_text_print(d->out, "<div class=\"sides\">\n<div>\n");
    html_side(d, "chosen", &p->chosen, full);
    dm_text_print(d->out, "</div>\n<div>\n");
    html_side(d, "rejected", &p->rejected, full);
    dm_text_print(d->out, "</div>\n</div>\n");
}

void dm_report_example_section(dm_report *r, dm_report_doc *d)
{
    size_t n = 0;

    for (size_t i = 0; i < r->examples; i++) {
        const dm_report_example *e = &r->example[i];
        dm_text title = {0};
        if (e->pairs == 0)
            continue;
        if (n++ == 0) {
            dm_report_doc_heading(d, 2, "Examples");
            dm_report_doc_begin(d);
            dm_report_doc_print(
                d,
                "Pairs that a method was trained on, of the first seed, scored after training. \xCF\x86 is "
                "the weight of a turn in the loss%s; log-ratio is the log-probability of the turn\xE2\x80\x99s "
                "tokens under the policy less that under the reference, in nats; score is the "
                "environment\xE2\x80\x99s after the turn. The reward of the loss is \xCE\xB2 times the sum "
                "of \xCF\x86 times log-ratio.",
                d->html ? ", drawn as a bar" : "");
            dm_report_doc_end(d);
        }
        dm_text_print(&title, "%s, %s%s", e->of.env, e->of.setting ? e->of.setting : "", e->of.setting ? ", " : "");
        dm_report_label(&e->of, &title);
        dm_text_print(&title, ", seed %llu", (unsigned long long)e->of.seed);
        if (e->objective)
            dm_text_print(&title, " (%s)", e->objective);
        dm_report_doc_heading(d, 3, title.data ? title.data : "");
        const double full = full_scale(r, e);
        if (d->html && full > 0)
            legend(d, full);
        for (size_t k = 0; k < e->pairs; k++)
            add_pair(d, &e->pair[k], full);
        d->out->failed |= title.failed;
        dm_text_free(&title);
    }
}
