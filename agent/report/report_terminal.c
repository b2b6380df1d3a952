/* The results as a table for a terminal: methods by splits. */
#include <math.h> /* isnan only */
#include <stdio.h>
#include <string.h>

#include "agent/report/report_data.h"

#define CELL 15

/* Characters, not bytes. */
static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void left(dm_text *out, const char *indent, const char *text, int width)
{
    dm_text_print(out, "%s%s%*s", indent, text, width - (int)strlen(indent) - width_of(text), "");
}

static void right(dm_text *out, const char *text)
{
    dm_text_print(out, " %*s%s", CELL - width_of(text), "", text);
}

/* "0.412 ±0.031" */
static void estimate(dm_text *out, const dm_estimate *e, bool sign)
{
    char text[64] = "";

    if (e->n && isnan(e->half))
        snprintf(text, sizeof text, sign ? "%+.3f" : "%.3f", e->mean);
    else if (e->n)
        snprintf(text, sizeof text, sign ? "%+.3f \xC2\xB1%.3f" : "%.3f \xC2\xB1%.3f", e->mean, e->half);
    right(out, text);
}

static void end_line(dm_text *out)
{
    while (out->size && out->data[out->size - 1] == ' ')
        out->size--;
    dm_text_add(out, "\n", 1);
}

static void add_rows(const dm_report *r, const char *env, const char *setting, const dm_env_split *split, size_t splits,
                     int width, dm_text *out)
{
    size_t n = 0;

    for (size_t i = 0; i < r->rows; i++) {
        const dm_report_row *row = &r->row[i];
        if (strcmp(row->of.env, env) != 0 || !dm_report_same(row->of.setting, setting))
            continue;
        if (setting && n++ == 0)
            dm_text_print(out, "%s\n", setting);
        left(out, setting ? "  " : "", row->of.label, width);
        for (size_t k = 0; k < splits; k++) {
            estimate(out, &row->cell[split[k]].reward, false);
            if (r->sft)
                estimate(out, &row->cell[split[k]].to_sft, true);
        }
        end_line(out);
    }
}

static void add_env(const dm_report *r, const char *env, dm_text *out)
{
    dm_env_split split[DM_ENV_SPLITS];
    const size_t splits = dm_report_splits(r, env, split);
    int width = width_of(env);

    for (size_t i = 0; i < r->rows; i++) {
        const dm_report_subject *of = &r->row[i].of;
        const int wide = width_of(of->label) + (of->setting ? 2 : 0);
        width = strcmp(of->env, env) == 0 && wide > width ? wide : width;
    }
    left(out, "", env, width);
    for (size_t k = 0; k < splits; k++) {
        char title[64];
        right(out, dm_env_split_names[split[k]]);
        snprintf(title, sizeof title, "to %.12s", r->sft ? r->sft : "");
        if (r->sft)
            right(out, title);
    }
    dm_text_add(out, "\n", 1);
    add_rows(r, env, NULL, split, splits, width, out);
    for (size_t g = 0; g < r->settings; g++)
        add_rows(r, env, r->setting[g], split, splits, width, out);
}

void dm_report_terminal(const dm_report *r, dm_text *out)
{
    size_t tables = 0;

    for (size_t e = 0; e < r->envs; e++) {
        dm_env_split split[DM_ENV_SPLITS];
        if (dm_report_splits(r, r->env[e], split) == 0)
            continue;
        dm_text_add(out, "\n", tables++ ? 1 : 0);
        add_env(r, r->env[e], out);
    }
    if (tables && r->seeds > 1)
        dm_text_print(out, "mean reward; 95 %% intervals over %zu seeds\n", r->seeds);
    else if (tables)
        dm_text_print(out, "mean reward; 95 %% intervals over the tasks of one seed\n");
    if (r->questions)
        dm_text_print(out, "\nintervals of the %zu answers hold together with 95 %%\n", r->questions);
    for (size_t i = 0; i < r->questions; i++) {
        const dm_report_question *q = &r->question[i];
        dm_text_print(out, "%s %s", q->ask, q->env);
        if (q->setting || q->against_setting)
            dm_text_print(out, ", %s", q->setting ? q->setting : q->against_setting);
        dm_text_print(out, ": %s\n", q->answer);
    }
}
