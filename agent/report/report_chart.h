/* Charts: how they are drawn (report_chart.c), how they look (report_style.c), which ones a report has
 * (report_figures.c). */
#ifndef DM_AGENT_REPORT_REPORT_CHART_H
#define DM_AGENT_REPORT_REPORT_CHART_H

#include "agent/report/report_data.h"
#include "core/text.h"

typedef struct dm_report_chart {
    char name[160];       /* of its file, without .svg */
    dm_text title, words; /* what it shows; the same figures in words, for those who do not see it */
    dm_text caption;      /* how to read it */
    dm_text body;
    double width, height;
} dm_report_chart;

typedef enum dm_report_line_style {
    DM_REPORT_LINE_PLAIN,
    DM_REPORT_LINE_DASHED,
    DM_REPORT_LINE_FAINT,
    DM_REPORT_LINE_NONE
} dm_report_line_style;

typedef struct dm_report_series {
    const double *x, *y, *low, *high; /* low, high: an interval, NULL: none */
    size_t n;
    int colour; /* class c0, c1, ... */
    dm_report_line_style style;
    bool marks;
    const char *label; /* at its end; NULL: none */
} dm_report_series;

typedef struct dm_report_tick {
    double at;
    const char *text;
} dm_report_tick;

typedef struct dm_report_panel {
    const char *title, *subtitle;
    const dm_report_series *series;
    size_t n;
    const dm_report_tick *x_tick; /* NULL: round numbers */
    size_t x_ticks;
    double y_low, y_high; /* both 0: what the series need */
    bool from_zero;       /* x begins at 0 */
    const char *x_title;
} dm_report_panel;

typedef struct dm_report_dot {
    const char *group; /* heading before the row, when it differs from the row's before */
    const char *label;
    int colour;
    struct {
        dm_estimate value;
        bool present;
    } at[DM_ENV_SPLITS];
} dm_report_dot;

/* Panels in a grid, `across` of them in a row. */
void dm_report_chart_panels(dm_report_chart *c, const dm_report_panel *panel, size_t n, size_t across);
/* A row for each of `dot`, a column for each of `columns`; line[k] is drawn through column k (NaN: none). */
void dm_report_chart_dots(dm_report_chart *c, const dm_report_dot *dot, size_t n, const char *const *column,
                          size_t columns, const double *line, const char *line_label);
/* The whole element, for a page (`id` unique in it) or, with its own style, for a file. */
void dm_report_chart_write(const dm_report_chart *c, dm_text *out, size_t id, bool file);
void dm_report_chart_free(dm_report_chart *c);

#define DM_REPORT_SERIES_COLOURS 8
#define DM_REPORT_COLOURS (6 + DM_REPORT_SERIES_COLOURS + 9)
extern const char *const dm_report_light[DM_REPORT_COLOURS], *const dm_report_dark[DM_REPORT_COLOURS];
extern const char *const dm_report_colour_names[DM_REPORT_COLOURS];
void dm_report_chart_style(dm_text *out, bool file);
/* Everything of a page but its content, which begins with <h1>; style: rules of its own, NULL: none. */
void dm_report_page_begin(dm_text *out, const char *title, const char *style);
void dm_report_page_end(dm_text *out);

typedef enum dm_report_chart_kind {
    DM_REPORT_CHART_REWARD,
    DM_REPORT_CHART_SWEEP,
    DM_REPORT_CHART_TURNS,
    DM_REPORT_CHART_TRAINING
} dm_report_chart_kind;

typedef struct dm_report_figure {
    dm_report_chart_kind kind;
    const char *env;
    dm_report_chart chart;
} dm_report_figure;

typedef struct dm_report_figures { /* zeroed: none */
    dm_report_figure *figure;
    size_t figures;
} dm_report_figures;

/* All charts of a report. On failure the report's status says why. */
void dm_report_draw(dm_report *r, dm_report_figures *out);
void dm_report_figures_free(dm_report_figures *f);

#endif
