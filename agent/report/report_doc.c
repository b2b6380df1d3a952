/* Building a document. */
#include "agent/report/report_doc.h"

#include <math.h> /* isnan only */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dm_report_doc_free(dm_report_doc *d)
{
    free(d->node);
    *d = (dm_report_doc){0};
}

dm_report_node *dm_report_doc_add(dm_report_doc *d, dm_report_node_kind kind, const char *text)
{
    static dm_report_node lost; /* memory ran out, the report's status says so */

    if (d->nodes == d->capacity) {
        const size_t capacity = d->capacity ? 2 * d->capacity : 1024;
        dm_report_node *node = realloc(d->node, capacity * sizeof *node);
        if (!node) {
            d->r->status = dm_fail(d->r->err, DM_ERR_MEMORY, "no memory for the report");
            return &lost;
        }
        d->node = node;
        d->capacity = capacity;
    }
    d->node[d->nodes] = (dm_report_node){.kind = kind, .forms = d->forms, .text = text, .bar = -1};
    return &d->node[d->nodes++];
}

void dm_report_doc_heading(dm_report_doc *d, int level, const char *text)
{
    dm_report_doc_add(d, DM_REPORT_HEADING, text)->level = level;
}

static void add_text(dm_report_doc *d, const char *fmt, va_list args)
{
    char text[2048];
    vsnprintf(text, sizeof text, fmt, args);
    dm_report_doc_add(d, DM_REPORT_TEXT, dm_report_format(d->r, "%s", text));
}

void dm_report_doc_paragraph(dm_report_doc *d, const char *fmt, ...)
{
    va_list args;

    dm_report_doc_add(d, DM_REPORT_PARAGRAPH, NULL);
    va_start(args, fmt);
    add_text(d, fmt, args);
    va_end(args);
}

void dm_report_doc_print(dm_report_doc *d, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_text(d, fmt, args);
    va_end(args);
}

void dm_report_doc_code(dm_report_doc *d, const char *text, size_t size, const char *language)
{
    while (size > 0 && text[size - 1] == '\n')
        size--;
    dm_report_node *n = dm_report_doc_add(d, DM_REPORT_CODE, text);
    n->size = size;
    n->more = language;
}

void dm_report_doc_chart(dm_report_doc *d, const dm_report_chart *c)
{
    dm_report_doc_add(d, DM_REPORT_CHART, NULL)->chart = c;
}

void dm_report_doc_table(dm_report_doc *d, const char *caption, const dm_report_column *column, size_t columns)
{
    dm_report_node *n = dm_report_doc_add(d, DM_REPORT_TABLE, caption);
    n->column = column;
    n->size = columns;
}

dm_report_node *dm_report_doc_cell(dm_report_doc *d, unsigned how, const char *text)
{
    dm_report_node *n = dm_report_doc_add(d, DM_REPORT_CELL, text);
    n->how = how;
    return n;
}

dm_report_node *dm_report_doc_number(dm_report_doc *d, unsigned how, double x, int decimals, bool sign)
{
    return dm_report_doc_cell(d, how | DM_REPORT_CELL_NUMBER, dm_report_number(d->r, x, decimals, sign));
}

dm_report_node *dm_report_doc_estimate(dm_report_doc *d, unsigned how, const dm_estimate *e, bool sign)
{
    const char *half = isnan(e->half) ? NULL : dm_report_number(d->r, e->half, 3, false);
    dm_report_node *n = dm_report_doc_number(d, how, e->mean, 3, sign);
    n->more = half;
    return n;
}

const char *dm_report_plural(size_t n)
{
    return n == 1 ? "" : "s";
}

const char *dm_report_number(dm_report *r, double x, int decimals, bool sign)
{
    char digits[352];

    if (isnan(x))
        return "";
    snprintf(digits, sizeof digits, "%.*f", decimals, x < 0 ? -x : x);
    const bool zero = strspn(digits, "0.") == strlen(digits);
    return dm_report_format(r, "%s%s", x < 0 && !zero ? "\xE2\x88\x92" : sign ? "+" : "", digits);
}
