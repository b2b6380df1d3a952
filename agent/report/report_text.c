/* The same text as HTML and as Markdown (GitHub's). Whatever files say is text in both, never markup. */
#include <ctype.h>
#include <math.h> /* isnan only */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/report/report_internal.h"

/* ---- words ---- */

void dm_report_doc_word(dm_report_doc *d, const char *text)
{
    if (d->html)
        dm_report_escape(d->out, text, strlen(text));
    else
        dm_report_escape_markdown(d->out, text);
}

void dm_report_doc_print(dm_report_doc *d, const char *fmt, ...)
{
    char text[2048];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    dm_report_doc_word(d, text);
}

/* Backquotes, at least so many and more than stand in a row anywhere in the text: it cannot end what they begin. */
static size_t fence(const char *text, size_t size, size_t least)
{
    size_t most = least - 1, run = 0;
    for (size_t i = 0; i < size; i++) {
        run = text[i] == '`' ? run + 1 : 0;
        most = run > most ? run : most;
    }
    return most + 1;
}

static void add_fence(dm_text *out, size_t n)
{
    for (; n > 0; n--)
        dm_text_add(out, "`", 1);
}

void dm_report_doc_code(dm_report_doc *d, const char *text)
{
    if (d->html) {
        dm_text_print(d->out, "<code>");
        dm_report_doc_word(d, text);
        dm_text_print(d->out, "</code>");
        return;
    }
    const size_t n = fence(text, strlen(text), 1);
    const char *pad = *text == '`' || !*text || text[strlen(text) - 1] == '`' ? " " : "";
    add_fence(d->out, n);
    dm_text_print(d->out, "%s", pad);
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        const size_t control = dm_report_control(d->out, p, strlen((const char *)p));
        if (!control)
            dm_text_print(d->out, *p == '|' && d->column ? "\\%c" : "%c", *p == '\n' || *p == '\t' ? ' ' : *p);
        p += control ? control : 1;
    }
    dm_text_print(d->out, "%s", pad);
    add_fence(d->out, n);
}

void dm_report_doc_strong(dm_report_doc *d, const char *text)
{
    dm_text_print(d->out, d->html ? "<strong>" : "**");
    dm_report_doc_word(d, text);
    dm_text_print(d->out, d->html ? "</strong>" : "**");
}

/* ---- blocks ---- */

static void add_id(dm_text *out, const char *text)
{
    for (; *text; text++)
        if (isalnum((unsigned char)*text) || *text == ' ')
            dm_text_print(out, "%c", *text == ' ' ? '-' : tolower((unsigned char)*text));
}

void dm_report_doc_heading(dm_report_doc *d, int level, const char *text)
{
    if (d->html) {
        dm_text_print(d->out, "<h%d", level);
        if (level == 2) { /* the page's own words: plain */
            dm_text_print(d->out, " id=\"");
            add_id(d->out, text);
            dm_text_print(d->out, "\"");
        }
        dm_text_print(d->out, ">");
        dm_report_doc_word(d, text);
        dm_text_print(d->out, "</h%d>\n", level);
        return;
    }
    dm_text_print(d->out, "%.*s ", level, "######");
    dm_report_doc_word(d, text);
    dm_text_print(d->out, "\n\n");
}

void dm_report_doc_begin(dm_report_doc *d)
{
    dm_text_print(d->out, d->html ? "<p>" : "");
}

void dm_report_doc_end(dm_report_doc *d)
{
    dm_text_print(d->out, d->html ? "</p>\n" : "\n\n");
}

void dm_report_doc_block(dm_report_doc *d, const char *text, size_t size, const char *language)
{
    while (size > 0 && text[size - 1] == '\n')
        size--;
    if (d->html) {
        dm_text_print(d->out, "<pre class=\"scroll\" tabindex=\"0\"><code>");
        dm_report_escape(d->out, text, size);
        dm_text_print(d->out, "</code></pre>\n");
        return;
    }
    const size_t n = fence(text, size, 3);
    add_fence(d->out, n);
    dm_text_print(d->out, "%s\n", language);
    for (size_t i = 0; i < size;) {
        const size_t control = dm_report_control(d->out, (const unsigned char *)text + i, size - i);
        if (!control)
            dm_text_add(d->out, text + i, 1);
        i += control ? control : 1;
    }
    dm_text_add(d->out, "\n", 1);
    add_fence(d->out, n);
    dm_text_add(d->out, "\n\n", 2);
}

void dm_report_doc_details(dm_report_doc *d, const char *summary, bool printed)
{
    dm_text_print(d->out, d->html && !printed ? "<details class=\"long\"><summary>" : "<details><summary>");
    dm_report_escape(d->out, summary, strlen(summary));
    dm_text_print(d->out, d->html ? "</summary>\n" : "</summary>\n\n");
}

void dm_report_doc_details_end(dm_report_doc *d)
{
    dm_text_print(d->out, d->html ? "</details>\n" : "</details>\n\n");
}

void dm_report_doc_chart(dm_report_doc *d, const dm_report_chart *c)
{
    const char *caption = c->caption.data ? c->caption.data : "";

    if (d->html) {
        dm_text_print(d->out, "<figure>\n");
        dm_report_chart_write(c, d->out, ++d->ids, false);
        dm_text_print(d->out, "<figcaption>");
        dm_report_doc_word(d, caption);
        dm_text_print(d->out, "</figcaption>\n</figure>\n");
    } else if (d->svg) {
        dm_text_print(d->out, "![");
        dm_report_doc_word(d, c->title.data ? c->title.data : "");
        dm_text_print(d->out, "](charts/%s.svg)\n\n", c->name);
        dm_report_doc_word(d, caption);
        dm_text_print(d->out, "\n\n");
    }
}

/* ---- tables ---- */

static size_t group_size(const dm_report_doc_column *c, size_t n)
{
    size_t k = 1;
    while (k < n && c[0].group && c[k].group && strcmp(c[0].group, c[k].group) == 0)
        k++;
    return k;
}

static void html_head(dm_report_doc *d, const dm_report_doc_column *c, size_t n)
{
    bool groups = false;

    for (size_t i = 0; i < n; i++)
        groups |= c[i].group != NULL;
    dm_text_print(d->out, "<thead>\n<tr>");
    for (size_t i = 0, k; groups && i < n; i += k) {
        k = group_size(c + i, n - i);
        if (!c[i].group) {
            dm_text_print(d->out, "<th scope=\"col\" rowspan=\"2\"%s>", c[i].number ? " class=\"num\"" : "");
            dm_report_doc_word(d, c[i].title);
        } else {
            dm_text_print(d->out, "<th scope=\"colgroup\" colspan=\"%zu\" class=\"over\">", k);
            dm_report_doc_word(d, c[i].group);
        }
        dm_text_print(d->out, "</th>");
    }
    dm_text_print(d->out, groups ? "</tr>\n<tr>" : "");
    for (size_t i = 0; i < n; i++) {
        if (groups && !c[i].group)
            continue;
        dm_text_print(d->out, "<th scope=\"col\"%s>", c[i].number ? " class=\"num\"" : "");
        dm_report_doc_word(d, c[i].title);
        dm_text_print(d->out, "</th>");
    }
    dm_text_print(d->out, "</tr>\n</thead>\n<tbody>\n");
}

void dm_report_doc_table(dm_report_doc *d, const char *caption, const dm_report_doc_column *c, size_t n)
{
    d->column = 1;
    if (d->html) {
        dm_text_print(d->out, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"");
        dm_report_doc_word(d, caption);
        dm_text_print(d->out, "\">\n<table>\n<caption>");
        dm_report_doc_word(d, caption);
        dm_text_print(d->out, "</caption>\n");
        html_head(d, c, n);
        return;
    }
    dm_report_doc_word(d, caption);
    dm_text_print(d->out, "\n\n|");
    for (size_t i = 0; i < n; i++) {
        dm_text_print(d->out, " ");
        if (c[i].group) {
            dm_report_doc_word(d, c[i].group);
            dm_text_print(d->out, ": ");
        }
        dm_report_doc_word(d, c[i].title);
        dm_text_print(d->out, " |");
    }
    dm_text_print(d->out, "\n|");
    for (size_t i = 0; i < n; i++)
        dm_text_print(d->out, c[i].number ? " ---: |" : " --- |");
    dm_text_print(d->out, "\n");
}

void dm_report_doc_group(dm_report_doc *d, const char *text, size_t columns)
{
    if (d->html) {
        dm_text_print(d->out, "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"%zu\">", columns);
        dm_report_doc_word(d, text);
        dm_text_print(d->out, "</th></tr>\n");
        return;
    }
    dm_text_print(d->out, "| ");
    dm_report_doc_strong(d, text);
    for (size_t i = 0; i < columns; i++)
        dm_text_print(d->out, i ? " |" : " |");
    dm_text_print(d->out, "\n");
}

void dm_report_doc_row(dm_report_doc *d)
{
    dm_text_print(d->out, d->html ? "<tr>" : "|");
}

static void begin_cell(dm_report_doc *d, unsigned how)
{
    static const struct {
        unsigned how;
        const char *class;
    } classes[] = {{DM_CELL_NUMBER, "num"},
                   {DM_CELL_STRONG, "best"},
                   {DM_CELL_UP, "up"},
                   {DM_CELL_DOWN, "down"},
                   {DM_CELL_INDENT, "in"}};
    size_t n = 0;

    if (!d->html) {
        dm_text_print(d->out, " %s", how & (DM_CELL_STRONG | DM_CELL_UP | DM_CELL_DOWN) ? "**" : "");
        return;
    }
    dm_text_print(d->out, how & DM_CELL_HEAD ? "<th scope=\"row\"" : "<td");
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (how & classes[i].how)
            dm_text_print(d->out, "%s%s", n++ ? " " : " class=\"", classes[i].class);
    dm_text_print(d->out, n ? "\">" : ">");
}

static void end_cell(dm_report_doc *d, unsigned how)
{
    if (d->html)
        dm_text_print(d->out, how & DM_CELL_HEAD ? "</th>" : "</td>");
    else
        dm_text_print(d->out, "%s |", how & (DM_CELL_STRONG | DM_CELL_UP | DM_CELL_DOWN) ? "**" : "");
}

void dm_report_doc_cell(dm_report_doc *d, unsigned how, const char *text)
{
    if (!d->html && !*text)
        how = 0;
    begin_cell(d, how);
    if (how & DM_CELL_CODE)
        dm_report_doc_code(d, text);
    else
        dm_report_doc_word(d, text);
    end_cell(d, how);
}

void dm_report_doc_value(dm_report_doc *d, unsigned how, const char *number, const char *half)
{
    begin_cell(d, how | DM_CELL_NUMBER);
    dm_report_doc_word(d, number);
    if (*half && d->html)
        dm_text_print(d->out, " <span class=\"half\">\xC2\xB1%s</span>", half);
    else if (*half)
        dm_text_print(d->out, " \xC2\xB1%s", half);
    end_cell(d, how);
}

void dm_report_doc_row_end(dm_report_doc *d)
{
    dm_text_print(d->out, d->html ? "</tr>\n" : "\n");
}

void dm_report_doc_table_end(dm_report_doc *d)
{
    d->column = 0;
    dm_text_print(d->out, d->html ? "</tbody>\n</table>\n</div>\n" : "\n");
}

/* ---- words ---- */

const char *dm_report_plural(size_t n)
{
    return n == 1 ? "" : "s";
}

const char *dm_report_number(char out[DM_NUMBER], double x, int decimals, bool sign)
{
    char digits[DM_NUMBER - 8];

    snprintf(digits, sizeof digits, "%.*f", decimals, x < 0 ? -x : x);
    const bool zero = strspn(digits, "0.") == strlen(digits);
    if (isnan(x))
        out[0] = '\0';
    else
        snprintf(out, DM_NUMBER, "%s%s", x < 0 && !zero ? "\xE2\x88\x92" : sign ? "+" : "", digits);
    return out;
}

void dm_report_label(const dm_report_subject *s, dm_text *out)
{
    dm_text_print(out, "%s", s->method);
    if (s->sweep)
        dm_text_print(out, ", %s %s", s->sweep, s->x);
}
