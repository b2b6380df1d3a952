/* What the parts of a report share: the data (report_data.c, report_metrics.c, report_examples.c), its statistics
 * (report_stats.c), charts (report_chart.c, report_figures.c), text in two forms (report_text.c) and the sections
 * (report_sections.c, report_tables.c, report_example_text.c, report_repeat.c). */
#ifndef DM_AGENT_REPORT_REPORT_INTERNAL_H
#define DM_AGENT_REPORT_REPORT_INTERNAL_H

#include <stdint.h>

#include "agent/rollout/eval.h"
#include "core/block.h"
#include "io/json.h"

/* ---- what results.json says ---- */

typedef struct dm_report_subject {
    const char *env, *method, *kind;
    const char *setting; /* NULL: none, or the same for all of them */
    const char *sweep;   /* the option whose value x is; NULL: no sweep */
    const char *x;       /* the value as text */
    double number;       /* the value; NaN: not a number */
    uint64_t seed;
} dm_report_subject;

typedef struct dm_report_eval {
    dm_report_subject of;
    dm_env_split split;
    const double *reward;  /* [tasks] */
    const double *by_turn; /* [turn_limit + 1] */
    size_t tasks, turn_limit;
    int64_t samples;
    double success, turns;
    const char *model;
} dm_report_eval;

typedef enum dm_report_measure {
    DM_REPORT_MEASURE_LOSS,
    DM_REPORT_MEASURE_ACCURACY,
    DM_REPORT_MEASURE_MARGIN,
    DM_REPORT_MEASURES
} dm_report_measure;

/* One figure over a training, in bins of as many steps each. */
typedef struct dm_report_curve {
    const double *x, *y; /* epochs, means; NULL: the figure is not there */
    size_t n;
    bool held_out;
} dm_report_curve;

typedef struct dm_report_training {
    dm_report_subject of;
    const char *stage, *metrics, *weights;
    double seconds;
    dm_report_curve curve[DM_REPORT_MEASURES];
} dm_report_training;

typedef struct dm_report_pairs {
    dm_report_subject of;
    const char *file;
    double pairs, dropped, chosen_turns, rejected_turns, shared_turns, chosen_reward,
        rejected_reward; /* NaN: unknown */
} dm_report_pairs;

typedef struct dm_report_turn {
    const char *action;
    double weight; /* phi; NaN: no turn of the training's, cut off */
    double ratio;  /* log pi - log pi_ref */
    double score;  /* after it; NaN: unknown */
} dm_report_turn;

typedef struct dm_report_side {
    dm_report_turn *turn;
    size_t turns;
    double reward, score; /* beta * sum of weight * ratio; the episode's reward, NaN: unknown */
} dm_report_side;

typedef struct dm_report_pair {
    const char *id, *task, *what; /* what: which of the pairs this is, in words */
    dm_report_side chosen, rejected;
} dm_report_pair;

typedef struct dm_report_example {
    dm_report_subject of;
    const char *scores, *file;      /* of results.json */
    const char *objective, *weight; /* words: "dmpo, gamma 0.7", what the weight is */
    dm_report_pair *pair;
    size_t pairs;
} dm_report_example;

typedef struct dm_report_stage {
    const char *name, *key, *command, *output;
    double seconds;
    bool reused;
} dm_report_stage;

/* ---- and what follows from it ---- */

typedef struct dm_report_cell {
    bool present;
    dm_estimate reward, to_sft, to_dpo; /* n == 0: none */
    double success, turns;
    const double *by_turn; /* [turn_limit + 1], mean over the seeds */
    size_t turn_limit;
} dm_report_cell;

/* A method with one value, in one setting of one environment, over all seeds. */
typedef struct dm_report_row {
    dm_report_subject of; /* without a seed */
    size_t method;        /* its number: colours */
    dm_report_cell cell[DM_ENV_SPLITS];
} dm_report_row;

typedef struct dm_report {
    const char *dir;
    const char *name, *title, *version, *isa, *recipe_sha256, *recipe_text;
    size_t recipe_size;
    const dm_json *recipe;
    int64_t threads, jobs;
    double seconds;

    dm_report_stage *stage;
    dm_report_eval *eval;
    dm_report_training *training;
    dm_report_pairs *pairs;
    dm_report_example *example;
    size_t stages, evals, trainings, pairs_made, examples;

    const char **env, **setting, **method; /* names in the order of appearance; settings without NULL */
    uint64_t *seed;
    size_t envs, settings, methods, seeds;
    bool has_split[DM_ENV_SPLITS];
    const char *sft, *dpo; /* methods that others are compared with; NULL: none */

    dm_report_row *row;
    size_t rows;

    dm_json_doc *doc;
    char *text; /* results.json */
    dm_block *blocks;
} dm_report;

dm_status dm_report_read(dm_report *r, const char *dir, dm_error *err); /* on failure r is closed */
void dm_report_close(dm_report *r);

dm_status dm_report_read_metrics(dm_report *r, dm_report_training *t, dm_error *err);
dm_status dm_report_read_example(dm_report *r, dm_report_example *e, dm_error *err);
dm_status dm_report_statistics(dm_report *r, dm_error *err);

/* Memory of the report. NULL (alloc) and DM_ERR_MEMORY when there is none. */
void *dm_report_alloc(dm_report *r, size_t n, size_t size);
const char *dm_report_copy(dm_report *r, const char *text);
dm_status dm_report_no_memory(dm_error *err);
/* "DIR/path", path being as results.json has it; paths that no stage made are as they are. */
dm_status dm_report_path(const dm_report *r, char *out, size_t size, const char *path, dm_error *err);
bool dm_report_same(const char *a, const char *b);                                   /* equal, or both NULL */
bool dm_report_same_subject(const dm_report_subject *a, const dm_report_subject *b); /* but for the seed */
const dm_report_row *dm_report_find_row(const dm_report *r, const char *env, const char *setting, const char *method,
                                        const char *x);

/* ---- charts ---- */

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

typedef struct dm_tick {
    double at;
    const char *text;
} dm_tick;

typedef struct dm_panel {
    const char *title, *subtitle;
    const dm_report_series *series;
    size_t n;
    const dm_tick *x_tick; /* NULL: round numbers */
    size_t x_ticks;
    double y_low, y_high; /* both 0: what the series need */
    bool from_zero;       /* x begins at 0 */
    const char *x_title;
} dm_panel;

typedef struct dm_dot {
    const char *group; /* heading in front of the row, when it differs from the row's before */
    const char *label;
    int colour;
    struct {
        dm_estimate value;
        bool present;
    } at[DM_ENV_SPLITS];
} dm_dot;

/* Panels in a grid, `across` of them in a row. */
void dm_report_chart_panels(dm_report_chart *c, const dm_panel *panel, size_t n, size_t across);
/* A row for each of `dot`, a column for each of `columns`; line[k] is drawn through column k (NaN: none). */
void dm_report_chart_dots(dm_report_chart *c, const dm_dot *dot, size_t n, const char *const *column, size_t columns,
                          const double *line, const char *line_label);
/* The whole element, for a page (`id` unique in it) or, with its own style, for a file. */
void dm_report_chart_write(const dm_report_chart *c, dm_text *out, size_t id, bool file);
void dm_report_chart_free(dm_report_chart *c);

#define DM_SERIES_COLOURS 8
#define DM_COLOURS (6 + DM_SERIES_COLOURS + 9)
extern const char *const dm_report_light[DM_COLOURS], *const dm_report_dark[DM_COLOURS];
extern const char *const dm_report_colour_names[DM_COLOURS];
void dm_report_chart_style(dm_text *out, bool file);
void dm_report_page_style(dm_text *out);

/* Charts of a report; n of them. Freed by dm_report_free_charts. */
typedef enum dm_report_chart_kind {
    DM_CHART_REWARD,
    DM_CHART_SWEEP,
    DM_CHART_TURNS,
    DM_CHART_TRAINING
} dm_report_chart_kind;

typedef struct dm_report_figure {
    dm_report_chart_kind kind;
    const char *env;
    dm_report_chart chart;
} dm_report_figure;

typedef struct dm_report_figures {
    dm_report_figure *figure;
    size_t n, capacity;
} dm_report_figures;

dm_status dm_report_draw(dm_report *r, dm_report_figures *out, dm_error *err);
void dm_report_figures_free(dm_report_figures *f);
int dm_report_colour(const dm_report *r, size_t method);

/* ---- text ---- */

/* report_escape.c: text of files is never markup. For XML and HTML, elements and attributes alike; for Markdown. */
void dm_report_escape(dm_text *out, const char *text, size_t size);
void dm_report_escape_markdown(dm_text *out, const char *text);
/* A control character at p as a printable one. Returns how many bytes it has; 0: it is none, and nothing is added. */
size_t dm_report_control(dm_text *out, const unsigned char *p, size_t left);
void dm_report_csv_field(dm_text *out, const char *text); /* quoted where RFC 4180 asks for it */

typedef struct dm_report_doc {
    dm_text *out;
    bool html;
    bool svg; /* Markdown: charts are files to link to */
    size_t ids, column;
} dm_report_doc;

/* How a cell stands and looks. */
enum {
    DM_CELL_NUMBER = 1,
    DM_CELL_HEAD = 2,   /* of its row */
    DM_CELL_STRONG = 4, /* the best one */
    DM_CELL_UP = 8,     /* better, worse, surely so */
    DM_CELL_DOWN = 16,
    DM_CELL_CODE = 32,
    DM_CELL_INDENT = 64
};

void dm_report_doc_heading(dm_report_doc *d, int level, const char *text);
void dm_report_doc_begin(dm_report_doc *d); /* a paragraph */
void dm_report_doc_end(dm_report_doc *d);
void dm_report_doc_word(dm_report_doc *d, const char *text);                      /* escaped */
void dm_report_doc_print(dm_report_doc *d, const char *fmt, ...) DM_PRINTF(2, 3); /* likewise */
void dm_report_doc_code(dm_report_doc *d, const char *text);
void dm_report_doc_strong(dm_report_doc *d, const char *text);
void dm_report_doc_block(dm_report_doc *d, const char *text, size_t size, const char *language); /* code, verbatim */
void dm_report_doc_details(dm_report_doc *d, const char *summary, bool printed); /* folded; on paper open or left out */
void dm_report_doc_details_end(dm_report_doc *d);
void dm_report_doc_chart(dm_report_doc *d, const dm_report_chart *c);

/* A table: caption; then `columns` heads, each as it stands; rows of cells. A NULL group: no heads over the heads. */
typedef struct dm_report_doc_column {
    const char *title;
    bool number;
    const char *group; /* a head over this one and those beside it with the same */
} dm_report_doc_column;
void dm_report_doc_table(dm_report_doc *d, const char *caption, const dm_report_doc_column *column, size_t columns);
void dm_report_doc_group(dm_report_doc *d, const char *text, size_t columns); /* a row that is a heading */
void dm_report_doc_row(dm_report_doc *d);
void dm_report_doc_cell(dm_report_doc *d, unsigned how, const char *text);
void dm_report_doc_value(dm_report_doc *d, unsigned how, const char *number,
                         const char *half); /* half: "0.031" or "" */
void dm_report_doc_row_end(dm_report_doc *d);
void dm_report_doc_table_end(dm_report_doc *d);

#define DM_NUMBER 48 /* room for a number as text */
/* With the minus of typography and no negative zero; NaN is "". */
const char *dm_report_number(char out[DM_NUMBER], double x, int decimals, bool sign);
const char *dm_report_plural(size_t n);                         /* "s", or "" for one */
void dm_report_label(const dm_report_subject *s, dm_text *out); /* "DMPO, gamma 0.5" */

/* ---- sections ---- */

bool dm_report_is_reference(const dm_report_row *row); /* expert, random, best-of-n: not to be the best */
bool dm_report_in_table(const dm_report_row *row, const char *env, const char *sweep);
/* Of all rows with this sweep (NULL: without one) in the environment. */
void dm_report_result_table(const dm_report *r, dm_report_doc *d, const char *env, const char *sweep);
void dm_report_pairs_section(const dm_report *r, dm_report_doc *d);
void dm_report_example_section(dm_report *r, dm_report_doc *d);
void dm_report_repeat_section(const dm_report *r, dm_report_doc *d);
void dm_report_run_section(const dm_report *r, dm_report_doc *d);
void dm_report_body(dm_report *r, const dm_report_figures *f, dm_report_doc *d); /* all of them */
void dm_report_csv(const dm_report *r, dm_text *out);

#endif
