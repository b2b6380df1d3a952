/* Which charts a report has, from the data to series and panels. */
#include <math.h> /* NAN and isnan only */
#include <stdio.h>
#include <string.h>

#include "agent/report/report_chart.h"

#define PANELS 96
#define SERIES 24
#define TICKS 32

/* ---- the list ---- */

/* Adds a chart whose file is "WHAT-ENV-MORE": letters, digits and '-'; a number keeps two apart that would be the same.
 * There is room for every chart that a report can have (dm_report_draw). */
static dm_report_chart *add(dm_report_figures *f, dm_report_chart_kind kind, const char *what, const char *env,
                            const char *more)
{
    dm_report_figure *figure = &f->figure[f->figures++];
    dm_report_chart *c = &figure->chart;
    char text[120];
    size_t n = 0;

    figure->kind = kind;
    figure->env = env;
    snprintf(text, sizeof text, "%s-%s%s%s", what, env, more ? "-" : "", more ? more : "");
    for (const char *p = text; *p; p++) {
        const char low = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
        const bool plain = (low >= 'a' && low <= 'z') || (low >= '0' && low <= '9');
        if (plain || (n > 0 && c->name[n - 1] != '-'))
            c->name[n++] = plain ? low : '-';
    }
    n -= n > 0 && c->name[n - 1] == '-';
    c->name[n] = '\0';
    for (size_t i = 0; i + 1 < f->figures; i++)
        if (strcmp(f->figure[i].chart.name, c->name) == 0) {
            snprintf(c->name + n, sizeof c->name - n, "-%zu", f->figures);
            break;
        }
    return c;
}

void dm_report_figures_free(dm_report_figures *f)
{
    for (size_t i = 0; i < f->figures; i++)
        dm_report_chart_free(&f->figure[i].chart);
    *f = (dm_report_figures){0};
}

/* 0: points of reference, 1: SFT, 2: DPO, 3: DMPO; the others take turns. */
static void choose_colours(dm_report *r)
{
    int next = 4;

    r->colour = dm_report_alloc(r, r->methods, sizeof *r->colour);
    for (size_t i = 0; r->colour && i < r->methods; i++) {
        const char *name = r->method[i];
        bool is_reference = false;
        for (size_t k = 0; k < r->rows; k++)
            is_reference |= r->row[k].is_reference && strcmp(r->row[k].of.method, name) == 0;
        if (is_reference)
            continue;
        if (dm_report_same(name, r->sft)) {
            r->colour[i] = 1;
        } else if (dm_report_same(name, r->dpo) || strncmp(name, "DPO", 3) == 0) {
            r->colour[i] = 2;
        } else if (strncmp(name, "DMPO", 4) == 0) {
            r->colour[i] = 3;
        } else {
            r->colour[i] = next;
            next = next == DM_REPORT_SERIES_COLOURS - 1 ? 4 : next + 1;
        }
    }
}

static int colour_of(const dm_report *r, const char *method)
{
    size_t i = 0;
    while (strcmp(r->method[i], method) != 0)
        i++;
    return r->colour[i];
}

/* ---- rewards ---- */

static void draw_rewards(dm_report *r, dm_report_figures *f, const char *env)
{
    dm_env_split split[DM_ENV_SPLITS];
    const size_t splits = dm_report_splits(r, env, split);
    const char *column[DM_ENV_SPLITS], *group = NULL;
    double through[DM_ENV_SPLITS];
    dm_report_dot *dot = dm_report_alloc(r, r->rows, sizeof *dot);
    size_t n = 0;

    if (!dot)
        return;
    for (size_t g = 0; g <= r->settings; g++) /* what is the same for all settings, then each of them */
        for (size_t i = 0; i < r->rows; i++) {
            const dm_report_row *row = &r->row[i];
            const char *setting = g ? r->setting[g - 1] : NULL;
            if (strcmp(row->of.env, env) != 0 || !dm_report_same(row->of.setting, setting) || row->of.sweep)
                continue;
            dm_report_dot *x = &dot[n++];
            *x = (dm_report_dot){.label = row->of.method, .colour = colour_of(r, row->of.method)};
            x->group = setting && !dm_report_same(setting, group) ? setting : NULL;
            group = setting;
            for (size_t k = 0; k < splits; k++) {
                x->at[k].present = row->cell[split[k]].present;
                x->at[k].value = row->cell[split[k]].reward;
            }
        }
    if (n == 0)
        return;
    const dm_report_row *sft = r->sft ? dm_report_find_row(r, env, NULL, r->sft, NULL) : NULL;
    for (size_t k = 0; k < splits; k++) {
        column[k] = dm_env_split_names[split[k]];
        through[k] = sft && sft->cell[split[k]].present ? sft->cell[split[k]].reward.mean : NAN;
    }
    dm_report_chart *c = add(f, DM_REPORT_CHART_REWARD, "reward", env, NULL);
    dm_text_print(&c->title, "Mean reward in %s", env);
    dm_text_print(&c->caption, "Mean reward in %s with 95 %% intervals over %s.", env,
                  r->seeds > 1 ? "the seeds" : "the tasks");
    if (sft)
        dm_text_print(&c->caption, " The dashed line is at %s.", r->sft);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < splits; k++)
            if (dot[i].at[k].present)
                dm_text_print(&c->words, "%s%s%s, %s: %.3f.", c->words.size ? " " : "", dot[i].label, "", column[k],
                              dot[i].at[k].value.mean);
    dm_report_chart_dots(c, dot, n, column, splits, through, r->sft ? r->sft : "");
}

/* ---- sweeps ---- */

typedef struct sweep {
    dm_report *r;
    const char *env, *key;
    dm_report_tick tick[TICKS];
    double value[TICKS];
    size_t ticks;
    bool numbers;
} sweep;

/* Values in the order of the recipe; numbers in their own. */
static void collect_values(sweep *s)
{
    s->ticks = 0;
    s->numbers = true;
    for (size_t i = 0; i < s->r->rows; i++) {
        const dm_report_subject *of = &s->r->row[i].of;
        size_t k = 0;
        if (strcmp(of->env, s->env) != 0 || !dm_report_same(of->sweep, s->key))
            continue;
        while (k < s->ticks && strcmp(s->tick[k].text, of->x) != 0)
            k++;
        if (k < s->ticks || s->ticks == TICKS)
            continue;
        s->numbers &= !isnan(of->number);
        for (k = s->ticks++; k > 0 && s->numbers && s->value[k - 1] > of->number; k--) {
            s->tick[k] = s->tick[k - 1];
            s->value[k] = s->value[k - 1];
        }
        s->tick[k].text = of->x;
        s->value[k] = of->number;
    }
    /* True distances where the values are about evenly spread, else even steps: both show every value. */
    bool even = !s->numbers;
    for (size_t k = 1; k < s->ticks && !even; k++)
        even = s->value[k] - s->value[k - 1] < (s->value[s->ticks - 1] - s->value[0]) / 25;
    for (size_t k = 0; k < s->ticks; k++)
        s->tick[k].at = even ? (double)k : s->value[k];
}

static double *numbers(dm_report *r, size_t n)
{
    return dm_report_alloc(r, n, sizeof(double));
}

/* The values of one method, or (x NULL) the one of a method without sweep, as a line across. */
static bool sweep_series(const sweep *s, const char *setting, const char *method, dm_env_split split, bool across,
                         dm_report_series *out)
{
    const size_t n = across ? 2 : s->ticks;
    double *x = numbers(s->r, n), *y = numbers(s->r, n), *low = numbers(s->r, n), *high = numbers(s->r, n);
    bool any = false;

    if (!x || !y || !low || !high)
        return false;
    for (size_t k = 0; k < n; k++) {
        const dm_report_row *row = dm_report_find_row(s->r, s->env, setting, method, across ? NULL : s->tick[k].text);
        if (!row && across)
            row = dm_report_find_row(s->r, s->env, NULL, method, NULL);
        const bool there = row && row->cell[split].present && (across || dm_report_same(row->of.sweep, s->key));
        const dm_estimate *e = there ? &row->cell[split].reward : NULL;
        x[k] = across ? s->tick[k ? s->ticks - 1 : 0].at : s->tick[k].at;
        y[k] = e ? e->mean : NAN;
        low[k] = e ? e->mean - e->half : NAN;
        high[k] = e ? e->mean + e->half : NAN;
        any |= there;
    }
    *out = (dm_report_series){.x = x, .y = y, .n = n, .label = method};
    if (across) {
        out->style = DM_REPORT_LINE_DASHED;
    } else {
        out->low = low;
        out->high = high;
        out->marks = true;
        out->style = s->numbers ? DM_REPORT_LINE_PLAIN : DM_REPORT_LINE_NONE;
    }
    return any;
}

static size_t sweep_panel(const sweep *s, const char *setting, dm_env_split split, dm_report_series *out)
{
    const dm_report *r = s->r;
    size_t n = 0, swept = 0;

    for (size_t m = 0; m < r->methods && n < SERIES - 2; m++)
        if (sweep_series(s, setting, r->method[m], split, false, &out[n]))
            out[n++].colour = r->colour[m];
    swept = n;
    for (size_t m = 0; m < r->methods && swept && n < SERIES; m++)
        if ((dm_report_same(r->method[m], r->sft) || dm_report_same(r->method[m], r->dpo)) &&
            sweep_series(s, setting, r->method[m], split, true, &out[n]))
            out[n++].colour = r->colour[m];
    return swept ? n : 0;
}

static void draw_sweep(sweep *s, dm_report_figures *f)
{
    dm_report *r = s->r;
    dm_env_split split[DM_ENV_SPLITS];
    const size_t splits = dm_report_splits(r, s->env, split);
    dm_report_panel *panel = dm_report_alloc(r, PANELS, sizeof *panel);
    size_t n = 0;

    collect_values(s);
    if (!panel)
        return;
    for (size_t g = 0; g <= r->settings; g++)
        for (size_t k = 0; k < splits && n < PANELS; k++) {
            dm_report_series *series = dm_report_alloc(r, SERIES, sizeof *series);
            const char *setting = g ? r->setting[g - 1] : NULL;
            if (!series)
                return;
            const size_t lines = sweep_panel(s, setting, split[k], series);
            panel[n] = (dm_report_panel){.title = dm_report_format(r, "%s%s%s", setting ? setting : "",
                                                                   setting ? ", " : "", dm_env_split_names[split[k]]),
                                         .series = series,
                                         .n = lines,
                                         .x_tick = s->tick,
                                         .x_ticks = s->ticks,
                                         .x_title = s->key};
            n += lines > 0;
        }
    if (n == 0)
        return;
    dm_report_chart *c = add(f, DM_REPORT_CHART_SWEEP, "sweep", s->env, s->key);
    dm_text_print(&c->title, "Mean reward in %s by %s", s->env, s->key);
    dm_text_print(&c->caption,
                  "Mean reward in %s by %s, with 95 %% intervals over %s; dashed: methods without this option's "
                  "sweep. The vertical scale is each panel's own.",
                  s->env, s->key, r->seeds > 1 ? "the seeds" : "the tasks");
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < panel[i].n; k++)
            if (panel[i].series[k].marks)
                for (size_t j = 0; j < s->ticks; j++)
                    if (!isnan(panel[i].series[k].y[j]))
                        dm_text_print(&c->words, "%s%s, %s %s, %s: %.3f.", c->words.size ? " " : "",
                                      panel[i].series[k].label, s->key, s->tick[j].text, panel[i].title,
                                      panel[i].series[k].y[j]);
    dm_report_chart_panels(c, panel, n, 2);
}

static void draw_sweeps(dm_report *r, dm_report_figures *f, const char *env)
{
    for (size_t i = 0; i < r->rows; i++) {
        sweep w = {.r = r, .env = env, .key = r->row[i].of.sweep};
        bool first = w.key && strcmp(r->row[i].of.env, env) == 0;
        for (size_t k = 0; k < i && first; k++)
            first = !dm_report_in_table(&r->row[k], env, w.key);
        if (first)
            draw_sweep(&w, f);
    }
}

/* ---- reward by turn ---- */

static bool turn_series(dm_report *r, const dm_report_row *row, dm_env_split split, dm_report_series *out)
{
    const dm_report_cell *c = row ? &row->cell[split] : NULL;
    if (!c || !c->present)
        return false;
    double *x = numbers(r, c->turn_limit + 1);
    for (size_t t = 0; x && t <= c->turn_limit; t++)
        x[t] = (double)t;
    *out = (dm_report_series){.x = x, .y = c->by_turn, .n = x ? c->turn_limit + 1 : 0};
    return x != NULL;
}

/* A panel for each method without a sweep: every split of it, SFT faintly. */
static void draw_turns(dm_report *r, dm_report_figures *f, const char *env)
{
    dm_env_split split[DM_ENV_SPLITS];
    const size_t splits = dm_report_splits(r, env, split);
    const dm_report_row *sft = r->sft ? dm_report_find_row(r, env, NULL, r->sft, NULL) : NULL;
    dm_report_panel *panel = dm_report_alloc(r, PANELS, sizeof *panel);
    size_t n = 0, longest = 1;
    double most = 0;

    if (!panel)
        return;
    for (size_t i = 0; i < r->rows && n < PANELS; i++) {
        const dm_report_row *row = &r->row[i];
        dm_report_series *series = dm_report_alloc(r, DM_ENV_SPLITS + 1, sizeof *series);
        size_t lines = 0;
        if (strcmp(row->of.env, env) != 0 || row->of.sweep || strcmp(row->of.kind, "best-of-n") == 0)
            continue;
        if (!series)
            return;
        if (sft != row && splits && turn_series(r, sft, split[splits - 1], &series[lines])) {
            series[lines].colour = 1;
            series[lines++].style = DM_REPORT_LINE_FAINT;
        }
        for (size_t k = 0; k < splits; k++)
            if (turn_series(r, row, split[k], &series[lines])) {
                series[lines].colour = colour_of(r, row->of.method);
                series[lines].style = k + 1 < splits ? DM_REPORT_LINE_DASHED : DM_REPORT_LINE_PLAIN;
                for (size_t t = 0; t < series[lines].n; t++)
                    most = series[lines].y[t] > most ? series[lines].y[t] : most;
                longest = series[lines].n > longest ? series[lines].n : longest;
                lines++;
            }
        panel[n] = (dm_report_panel){
            .title = row->of.method, .subtitle = row->of.setting, .series = series, .n = lines, .x_title = "turns"};
        n += lines > 0;
    }
    if (n == 0)
        return;
    dm_report_chart *c = add(f, DM_REPORT_CHART_TURNS, "turns", env, NULL);
    for (size_t i = 0; i < n; i++)
        panel[i].y_high = most > 0 ? most * 1.06 : 1;
    dm_text_print(&c->title, "Reward by turn in %s", env);
    dm_text_print(&c->caption,
                  "Mean score in %s after so many turns; episodes that have ended count with their reward. Solid: %s",
                  env, dm_env_split_names[split[splits - 1]]);
    for (size_t k = 0; k + 1 < splits; k++)
        dm_text_print(&c->caption, ", dashed: %s", dm_env_split_names[split[k]]);
    if (sft)
        dm_text_print(&c->caption, "; faint: %s (%s)", r->sft, dm_env_split_names[split[splits - 1]]);
    dm_text_print(&c->caption, ".");
    dm_text_print(&c->words, "Mean score after each of up to %zu turns, a panel for each method.", longest - 1);
    dm_report_chart_panels(c, panel, n, 4);
}

/* ---- training ---- */

/* Mean over the seeds with the range of them; bins of trainings with more steps are left out at the end. */
static bool training_series(dm_report *r, const dm_report_subject *of, dm_report_measure figure, dm_report_series *out)
{
    size_t n = 0, seeds = 0;

    for (size_t i = 0; i < r->trainings; i++) {
        const dm_report_curve *c = &r->training[i].curve[figure];
        if (dm_report_same_subject(&r->training[i].of, of) && c->n) {
            n = seeds++ && n < c->n ? n : c->n;
        }
    }
    double *x = numbers(r, n), *y = numbers(r, n), *low = numbers(r, n), *high = numbers(r, n);
    if (!x || !y || !low || !high || n == 0)
        return false;
    for (size_t i = 0, done = 0; i < r->trainings; i++) {
        const dm_report_curve *c = &r->training[i].curve[figure];
        if (!dm_report_same_subject(&r->training[i].of, of) || !c->n)
            continue;
        for (size_t k = 0; k < n; k++) {
            x[k] += c->x[k] / (double)seeds;
            y[k] += c->y[k] / (double)seeds;
            low[k] = !done || c->y[k] < low[k] ? c->y[k] : low[k];
            high[k] = !done || c->y[k] > high[k] ? c->y[k] : high[k];
        }
        done++;
    }
    *out = (dm_report_series){.x = x, .y = y, .n = n};
    if (seeds > 1) {
        out->low = low;
        out->high = high;
    }
    return true;
}

static bool first_of(const dm_report *r, size_t i)
{
    const dm_report_subject *a = &r->training[i].of;
    for (size_t k = 0; k < i; k++) {
        const dm_report_subject *b = &r->training[k].of;
        if (dm_report_same(a->env, b->env) && dm_report_same(a->setting, b->setting) &&
            dm_report_same(a->method, b->method))
            return false;
    }
    return true;
}

/* One line for a method without a sweep, one for each value of the others; in the order of the rows. */
static size_t training_panel(dm_report *r, size_t i, dm_report_measure figure, dm_report_series *out)
{
    const dm_report_subject *of = &r->training[i].of;
    size_t n = 0;

    for (size_t k = i; k < r->trainings && n < SERIES; k++) {
        const dm_report_subject *s = &r->training[k].of;
        bool first = dm_report_same(s->env, of->env) && dm_report_same(s->setting, of->setting) &&
                     dm_report_same(s->method, of->method);
        for (size_t j = i; j < k && first; j++)
            first = !dm_report_same_subject(&r->training[j].of, s);
        if (!first || !training_series(r, s, figure, &out[n]))
            continue;
        out[n].colour = colour_of(r, s->method);
        if (s->sweep) {
            out[n].low = out[n].high = NULL;
            out[n].label = s->x;
        }
        n++;
    }
    for (size_t k = 1; k + 1 < n; k++) /* the first and the last value are named, those between lie between */
        out[k].label = NULL;
    return n;
}

static void draw_training(dm_report *r, dm_report_figures *f, const char *env, dm_report_measure figure)
{
    static const char *const names[DM_REPORT_MEASURES] = {"Training loss", "Reward accuracy", "Reward margin",
                                                          "Reward while learning"},
                             *const files[DM_REPORT_MEASURES] = {"loss", "accuracy", "margin", "learning"};
    dm_report_panel *panel = dm_report_alloc(r, PANELS, sizeof *panel);
    size_t n = 0;
    bool held_out = false, sweeps = false;

    if (!panel)
        return;
    for (size_t i = 0; i < r->trainings && n < PANELS; i++) {
        const dm_report_subject *of = &r->training[i].of;
        if (strcmp(of->env, env) != 0 || !first_of(r, i))
            continue;
        dm_report_series *series = dm_report_alloc(r, SERIES, sizeof *series);
        if (!series)
            return;
        const size_t lines = training_panel(r, i, figure, series);
        panel[n] = (dm_report_panel){
            .title = dm_report_format(r, "%s%s%s", of->method, of->sweep ? ", by " : "", of->sweep ? of->sweep : ""),
            .subtitle = of->setting,
            .series = series,
            .n = lines,
            .y_high = figure == DM_REPORT_ACCURACY ? 1.0 : 0.0,
            .from_zero = true,
            .x_title = figure == DM_REPORT_REWARD ? "rounds" : "epochs"};
        n += lines > 0;
        held_out |= r->training[i].curve[figure].held_out;
        sweeps |= of->sweep != NULL;
    }
    if (n == 0)
        return;
    dm_report_chart *c = add(f, DM_REPORT_CHART_TRAINING, files[figure], env, NULL);
    dm_text_print(&c->title, "%s in %s", names[figure], env);
    dm_text_print(&c->caption, "%s in %s%s. A point is the mean over %s%s.", names[figure], env,
                  figure == DM_REPORT_LOSS ? ""
                  : figure == DM_REPORT_REWARD
                      ? held_out ? ", of greedy play on held-out tasks" : ", of the episodes that were learnt from"
                  : held_out ? ", on held-out pairs"
                             : ", on the pairs of each batch before its step",
                  held_out ? "an evaluation" : "a fortieth of the steps",
                  r->seeds > 1 ? " and the seeds; the band reaches from the lowest to the highest seed" : "");
    if (sweeps)
        dm_text_print(&c->caption, " Sweeps have a line for each value, the first and the last one named.");
    if (figure != DM_REPORT_ACCURACY)
        dm_text_print(&c->caption, " Vertical scales differ.");
    for (size_t i = 0; i < n; i++)
        dm_text_print(&c->words, "%s%s%s%s: from %.3f to %.3f.", i ? " " : "", panel[i].title,
                      panel[i].subtitle ? ", " : "", panel[i].subtitle ? panel[i].subtitle : "",
                      panel[i].series[0].y[0], panel[i].series[0].y[panel[i].series[0].n - 1]);
    dm_report_chart_panels(c, panel, n, 4);
}

/* ---- all ---- */

void dm_report_draw(dm_report *r, dm_report_figures *out)
{
    /* of an environment: rewards, turns, the measures, and at most one sweep a row */
    out->figure = dm_report_alloc(r, r->envs * (2 + DM_REPORT_MEASURES) + r->rows, sizeof *out->figure);
    choose_colours(r);
    for (size_t e = 0; e < r->envs && r->status == DM_OK; e++) {
        draw_rewards(r, out, r->env[e]);
        draw_sweeps(r, out, r->env[e]);
        draw_turns(r, out, r->env[e]);
        for (int k = 0; k < DM_REPORT_MEASURES; k++)
            draw_training(r, out, r->env[e], (dm_report_measure)k);
    }
    for (size_t i = 0; i < out->figures && r->status == DM_OK; i++) {
        const dm_report_chart *c = &out->figure[i].chart;
        if (c->title.failed || c->words.failed || c->caption.failed || c->body.failed)
            r->status = dm_fail(r->err, DM_ERR_MEMORY, "no memory for the report");
    }
}
