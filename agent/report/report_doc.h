/* A report as a document: built once, then printed as HTML and as Markdown (report_print.c).
 *
 * A document is a list of nodes: blocks, and what is in them. A block ends where the next one begins. Texts are as
 * files have them, never markup: printers escape them. They stay with the report, whose memory they are. */
#ifndef DM_AGENT_REPORT_REPORT_DOC_H
#define DM_AGENT_REPORT_REPORT_DOC_H

#include "agent/report/report_chart.h"
#include "agent/report/report_data.h"

typedef enum dm_report_node_kind {
    DM_REPORT_HEADING,
    DM_REPORT_CONTENTS, /* links to the headings of level 2 after it */
    DM_REPORT_PARAGRAPH,
    DM_REPORT_QUIET,  /* a paragraph in quiet type */
    DM_REPORT_TASK,   /* a task's words */
    DM_REPORT_LEGEND, /* texts in the colours of the steps follow */
    DM_REPORT_CODE,   /* verbatim */
    DM_REPORT_DETAILS,
    DM_REPORT_DETAILS_LONG, /* on paper left out, the others are open there */
    DM_REPORT_DETAILS_END,
    DM_REPORT_SIDES, /* what is up to NEXT and up to END is side by side */
    DM_REPORT_SIDES_NEXT,
    DM_REPORT_SIDES_END,
    DM_REPORT_CHART,
    DM_REPORT_TABLE, /* groups and rows follow */

    DM_REPORT_GROUP, /* a row that is a heading */
    DM_REPORT_ROW,   /* cells follow */

    DM_REPORT_CELL,
    DM_REPORT_TEXT,
    DM_REPORT_TEXT_CODE,
    DM_REPORT_TEXT_STRONG,
    DM_REPORT_TEXT_STEP, /* in the colour of a step */
    DM_REPORT_NODES
} dm_report_node_kind;

/* How a cell looks: bits. */
enum {
    DM_REPORT_CELL_NUMBER = 1,
    DM_REPORT_CELL_HEAD = 2,   /* of its row */
    DM_REPORT_CELL_STRONG = 4, /* the best one */
    DM_REPORT_CELL_UP = 8,     /* better, worse, surely so */
    DM_REPORT_CELL_DOWN = 16,
    DM_REPORT_CELL_CODE = 32,
    DM_REPORT_CELL_INDENT = 64,
    DM_REPORT_CELL_ACTION = 128 /* an agent's words */
};

enum { DM_REPORT_HTML = 1, DM_REPORT_MARKDOWN = 2, DM_REPORT_BOTH = 3 }; /* forms */

#define DM_REPORT_STEPS 9 /* colours from worse to better */

typedef struct dm_report_column {
    const char *title;
    bool number;
    const char *group; /* a head over this one and its neighbours with the same; NULL: none */
} dm_report_column;

typedef struct dm_report_node {
    dm_report_node_kind kind;
    unsigned forms, how;
    const char *text; /* NULL: what the node holds follows */
    const char *more; /* a code block's language, a value's half interval; NULL: none */
    size_t size;      /* of a code block's text; a table's columns, a group's width */
    const dm_report_column *column;
    const dm_report_chart *chart;
    int level;  /* of a heading */
    int step;   /* of a colour, from 1; 0: none */
    double bar; /* in a cell, 0 to 1; negative: none */
} dm_report_node;

typedef struct dm_report_doc {
    dm_report *r;
    dm_report_node *node;
    size_t nodes, capacity;
    unsigned forms; /* that the next nodes are for */
} dm_report_doc;

void dm_report_doc_free(dm_report_doc *d);

dm_report_node *dm_report_doc_add(dm_report_doc *d, dm_report_node_kind kind, const char *text); /* the new one */
void dm_report_doc_heading(dm_report_doc *d, int level, const char *text);
/* A paragraph that begins with this text. */
void dm_report_doc_paragraph(dm_report_doc *d, const char *fmt, ...) DM_PRINTF(2, 3);
void dm_report_doc_print(dm_report_doc *d, const char *fmt, ...) DM_PRINTF(2, 3); /* more of its text */
void dm_report_doc_code(dm_report_doc *d, const char *text, size_t size, const char *language);
void dm_report_doc_chart(dm_report_doc *d, const dm_report_chart *c);
void dm_report_doc_table(dm_report_doc *d, const char *caption, const dm_report_column *column, size_t columns);
dm_report_node *dm_report_doc_cell(dm_report_doc *d, unsigned how, const char *text);
dm_report_node *dm_report_doc_number(dm_report_doc *d, unsigned how, double x, int decimals, bool sign);
/* The mean with three decimals, and the interval's half. */
dm_report_node *dm_report_doc_estimate(dm_report_doc *d, unsigned how, const dm_estimate *e, bool sign);

/* With the minus of typography and no negative zero; NaN is "". */
const char *dm_report_number(dm_report *r, double x, int decimals, bool sign);
const char *dm_report_plural(size_t n); /* "s", or "" for one */

/* The printers. */
void dm_report_html(const dm_report_doc *d, dm_text *out);
void dm_report_markdown(const dm_report_doc *d, dm_text *out);

/* ---- the sections, in their order ---- */

void dm_report_sections(dm_report_doc *d, const dm_report_figures *f, bool charts); /* all of them */
/* The rows of an environment with this sweep (NULL: without one). */
void dm_report_result_table(dm_report_doc *d, const char *env, const char *sweep);
void dm_report_question_section(dm_report_doc *d);
void dm_report_pairs_section(dm_report_doc *d);
void dm_report_example_section(dm_report_doc *d);
void dm_report_search_section(dm_report_doc *d);
void dm_report_repeat_section(dm_report_doc *d);
void dm_report_run_section(dm_report_doc *d);

#endif
