/* A document in its two forms: the body of an HTML page, and Markdown in GitHub's dialect. */
#include <ctype.h>
#include <string.h>

#include "agent/report/report_doc.h"
#include "agent/report/report_escape.h"

typedef struct printer printer;

/* What a kind of node is in a form: markup around its text, or a function. */
typedef struct form {
    const char *begin, *end;
    void (*print)(printer *p, const dm_report_node *n);
} form;

struct printer {
    dm_text *out;
    const dm_report_doc *d;
    unsigned html;                   /* else Markdown */
    const char *row_end, *block_end; /* what ends the row and the block that are open; NULL: none */
    bool table;                      /* the block is one */
    size_t charts;
};

static void add(const printer *p, const char *markup)
{
    dm_text_add(p->out, markup, strlen(markup));
}

static void escape(const printer *p, const char *text)
{
    if (p->html)
        dm_report_escape(p->out, text, strlen(text));
    else
        dm_report_escape_markdown(p->out, text);
}

static void element(const printer *p, const char *begin, const char *text, const char *end)
{
    add(p, begin);
    escape(p, text);
    add(p, end);
}

/* ---- HTML ---- */

/* Headings of level 2 are the report's own words: plain. */
static void html_id(const printer *p, const char *text)
{
    for (; *text; text++)
        if (isalnum((unsigned char)*text) || *text == ' ')
            dm_text_print(p->out, "%c", *text == ' ' ? '-' : tolower((unsigned char)*text));
}

static void html_heading(printer *p, const dm_report_node *n)
{
    dm_text_print(p->out, "<h%d%s", n->level, n->level == 2 ? " id=\"" : "");
    if (n->level == 2)
        html_id(p, n->text);
    element(p, n->level == 2 ? "\">" : ">", n->text, "");
    dm_text_print(p->out, "</h%d>\n", n->level);
}

static void html_contents(printer *p, const dm_report_node *n)
{
    add(p, "<nav aria-label=\"Sections\">");
    for (const dm_report_node *end = p->d->node + p->d->nodes; n < end; n++)
        if (n->kind == DM_REPORT_HEADING && n->level == 2 && n->forms & DM_REPORT_HTML) {
            add(p, "<a href=\"#");
            html_id(p, n->text);
            element(p, "\">", n->text, "</a>");
        }
    add(p, "</nav>\n");
}

static void html_code(printer *p, const dm_report_node *n)
{
    add(p, "<pre class=\"scroll\" tabindex=\"0\"><code>");
    dm_report_escape(p->out, n->text, n->size);
    add(p, "</code></pre>\n");
}

static void html_chart(printer *p, const dm_report_node *n)
{
    add(p, "<figure>\n");
    dm_report_chart_write(n->chart, p->out, ++p->charts, false);
    element(p, "<figcaption>", n->chart->caption.data, "</figcaption>\n</figure>\n");
}

/* How many columns from this one on have its group. */
static size_t group_size(const dm_report_column *c, size_t n)
{
    size_t k = 1;
    while (k < n && c[0].group && c[k].group && strcmp(c[0].group, c[k].group) == 0)
        k++;
    return k;
}

static void html_table(printer *p, const dm_report_node *n)
{
    const dm_report_column *c = n->column;
    bool groups = false;

    element(p, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"", n->text, "\">\n<table>\n");
    element(p, "<caption>", n->text, "</caption>\n<thead>\n<tr>");
    for (size_t i = 0; i < n->size; i++)
        groups |= c[i].group != NULL;
    for (size_t i = 0, k; groups && i < n->size; i += k) {
        k = group_size(c + i, n->size - i);
        if (c[i].group)
            dm_text_print(p->out, "<th scope=\"colgroup\" colspan=\"%zu\" class=\"over\">", k);
        else
            dm_text_print(p->out, "<th scope=\"col\" rowspan=\"2\"%s>", c[i].number ? " class=\"num\"" : "");
        element(p, "", c[i].group ? c[i].group : c[i].title, "</th>");
    }
    add(p, groups ? "</tr>\n<tr>" : "");
    for (size_t i = 0; i < n->size; i++)
        if (!groups || c[i].group)
            element(p, c[i].number ? "<th scope=\"col\" class=\"num\">" : "<th scope=\"col\">", c[i].title, "</th>");
    add(p, "</tr>\n</thead>\n<tbody>\n");
}

static void html_group(printer *p, const dm_report_node *n)
{
    dm_text_print(p->out, "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"%zu\">", n->size);
    element(p, "", n->text, "</th></tr>\n");
}

static void html_cell(printer *p, const dm_report_node *n)
{
    static const char *const classes[] = {"num", "", "best", "up", "down", "", "in", "act"}; /* by the bit of `how` */
    const bool code = n->how & DM_REPORT_CELL_CODE;
    size_t used = 0;

    add(p, n->how & DM_REPORT_CELL_HEAD ? "<th scope=\"row\"" : "<td");
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (n->how >> i & 1 && *classes[i])
            dm_text_print(p->out, "%s%s", used++ ? " " : " class=\"", classes[i]);
    if (n->step)
        dm_text_print(p->out, "%sd%d", used++ ? " " : " class=\"", n->step - 1);
    if (n->bar >= 0)
        dm_text_print(p->out, "%sweight\" style=\"--w:%.1f%%", used++ ? " " : " class=\"", 100 * n->bar);
    add(p, used ? "\">" : ">");
    element(p, code ? "<code>" : "", n->text, code ? "</code>" : "");
    if (n->more)
        dm_text_print(p->out, " <span class=\"half\">\xC2\xB1%s</span>", n->more);
    add(p, n->how & DM_REPORT_CELL_HEAD ? "</th>" : "</td>");
}

static void html_step(printer *p, const dm_report_node *n)
{
    dm_text_print(p->out, "<span class=\"d%d\">", n->step - 1);
    element(p, "", n->text, "</span>");
}

/* ---- Markdown ---- */

static void markdown_heading(printer *p, const dm_report_node *n)
{
    dm_text_print(p->out, "%.*s ", n->level, "######");
    element(p, "", n->text, "\n\n");
}

static void markdown_details(printer *p, const dm_report_node *n)
{
    add(p, "<details><summary>");
    dm_report_escape(p->out, n->text, strlen(n->text));
    add(p, "</summary>\n\n");
}

/* More backquotes than the text has in a row, `least` or more. */
static void fence(const printer *p, const char *text, size_t size, int least)
{
    int most = least, run = 1;

    for (size_t i = 0; i < size; i++) {
        run = text[i] == '`' ? run + 1 : 1;
        most = run > most ? run : most;
    }
    while (most-- > 0)
        add(p, "`");
}

static void markdown_code(printer *p, const dm_report_node *n)
{
    fence(p, n->text, n->size, 3);
    dm_text_print(p->out, "%s\n", n->more);
    for (size_t i = 0, control; i < n->size; i += control ? control : 1)
        if ((control = dm_report_control(p->out, (const unsigned char *)n->text + i, n->size - i)) == 0)
            dm_text_add(p->out, n->text + i, 1);
    add(p, "\n");
    fence(p, n->text, n->size, 3);
    add(p, "\n\n");
}

static void markdown_text_code(printer *p, const dm_report_node *n)
{
    const char *text = n->text, *pad = *text == '`' || !*text || text[strlen(text) - 1] == '`' ? " " : "";

    fence(p, text, strlen(text), 1);
    add(p, pad);
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        const size_t control = dm_report_control(p->out, c, strlen((const char *)c));
        if (!control)
            dm_text_print(p->out, *c == '|' && p->table ? "\\%c" : "%c", *c == '\n' || *c == '\t' ? ' ' : *c);
        c += control ? control : 1;
    }
    add(p, pad);
    fence(p, text, strlen(text), 1);
}

static void markdown_chart(printer *p, const dm_report_node *n)
{
    element(p, "![", n->chart->title.data, "](charts/");
    dm_text_print(p->out, "%s.svg)\n\n", n->chart->name);
    element(p, "", n->chart->caption.data, "\n\n");
}

static void markdown_table(printer *p, const dm_report_node *n)
{
    element(p, "", n->text, "\n\n|");
    for (size_t i = 0; i < n->size; i++) {
        const char *group = n->column[i].group;
        element(p, " ", group ? group : "", group ? ": " : "");
        element(p, "", n->column[i].title, " |");
    }
    add(p, "\n|");
    for (size_t i = 0; i < n->size; i++)
        add(p, n->column[i].number ? " ---: |" : " --- |");
    add(p, "\n");
}

static void markdown_group(printer *p, const dm_report_node *n)
{
    element(p, "| **", n->text, "**");
    for (size_t i = 0; i < n->size; i++)
        add(p, " |");
    add(p, "\n");
}

static void markdown_cell(printer *p, const dm_report_node *n)
{
    const bool strong = *n->text && n->how & (DM_REPORT_CELL_STRONG | DM_REPORT_CELL_UP | DM_REPORT_CELL_DOWN);

    add(p, strong ? " **" : " ");
    if (*n->text && n->how & (DM_REPORT_CELL_CODE | DM_REPORT_CELL_ACTION))
        markdown_text_code(p, n);
    else
        escape(p, n->text);
    if (n->more)
        dm_text_print(p->out, " \xC2\xB1%s", n->more);
    add(p, strong ? "** |" : " |");
}

/* ---- both ---- */

static const form html[DM_REPORT_NODES] = {
    [DM_REPORT_HEADING] = {.print = html_heading},
    [DM_REPORT_CONTENTS] = {.print = html_contents},
    [DM_REPORT_PARAGRAPH] = {"<p>", "</p>\n", NULL},
    [DM_REPORT_QUIET] = {"<p class=\"quiet\">", "</p>\n", NULL},
    [DM_REPORT_TASK] = {"<p class=\"task\">", "</p>\n", NULL},
    [DM_REPORT_LEGEND] = {"<p class=\"legend\">", "</p>\n", NULL},
    [DM_REPORT_CODE] = {.print = html_code},
    [DM_REPORT_DETAILS] = {"<details><summary>", "</summary>\n", NULL},
    [DM_REPORT_DETAILS_LONG] = {"<details class=\"long\"><summary>", "</summary>\n", NULL},
    [DM_REPORT_DETAILS_END] = {"</details>\n", "", NULL},
    [DM_REPORT_SIDES] = {"<div class=\"sides\">\n<div>\n", "", NULL},
    [DM_REPORT_SIDES_NEXT] = {"</div>\n<div>\n", "", NULL},
    [DM_REPORT_SIDES_END] = {"</div>\n</div>\n", "", NULL},
    [DM_REPORT_CHART] = {.print = html_chart},
    [DM_REPORT_TABLE] = {"", "</tbody>\n</table>\n</div>\n", html_table},
    [DM_REPORT_GROUP] = {.print = html_group},
    [DM_REPORT_ROW] = {"<tr>", "</tr>\n", NULL},
    [DM_REPORT_CELL] = {.print = html_cell},
    [DM_REPORT_TEXT] = {"", "", NULL},
    [DM_REPORT_TEXT_CODE] = {"<code>", "</code>", NULL},
    [DM_REPORT_TEXT_STRONG] = {"<strong>", "</strong>", NULL},
    [DM_REPORT_TEXT_STEP] = {.print = html_step},
};

static const form markdown[DM_REPORT_NODES] = {
    [DM_REPORT_HEADING] = {.print = markdown_heading},
    [DM_REPORT_PARAGRAPH] = {"", "\n\n", NULL},
    [DM_REPORT_TASK] = {"> ", "\n\n", NULL},
    [DM_REPORT_CODE] = {.print = markdown_code},
    [DM_REPORT_DETAILS] = {.print = markdown_details},
    [DM_REPORT_DETAILS_LONG] = {.print = markdown_details},
    [DM_REPORT_DETAILS_END] = {"</details>\n\n", "", NULL},
    [DM_REPORT_CHART] = {.print = markdown_chart},
    [DM_REPORT_TABLE] = {"", "\n", markdown_table},
    [DM_REPORT_GROUP] = {.print = markdown_group},
    [DM_REPORT_ROW] = {"|", "\n", NULL},
    [DM_REPORT_CELL] = {.print = markdown_cell},
    [DM_REPORT_TEXT] = {"", "", NULL},
    [DM_REPORT_TEXT_CODE] = {.print = markdown_text_code},
    [DM_REPORT_TEXT_STRONG] = {"**", "**", NULL},
};

/* Ends what is open, before a row, a block or the end. */
static void end_open(printer *p, bool block)
{
    add(p, p->row_end ? p->row_end : "");
    p->row_end = NULL;
    if (!block)
        return;
    add(p, p->block_end ? p->block_end : "");
    p->block_end = NULL;
}

static void print_node(printer *p, const dm_report_node *n)
{
    const form *f = &(p->html ? html : markdown)[n->kind];
    const bool holds = !n->text || n->kind == DM_REPORT_TABLE; /* its end is where the next one begins */

    if (n->kind < DM_REPORT_CELL)
        end_open(p, n->kind < DM_REPORT_GROUP);
    if (n->kind < DM_REPORT_GROUP)
        p->table = n->kind == DM_REPORT_TABLE;
    add(p, f->begin ? f->begin : "");
    if (f->print)
        f->print(p, n);
    else if (n->text)
        escape(p, n->text);
    if (!holds)
        add(p, f->end ? f->end : "");
    else if (n->kind == DM_REPORT_ROW)
        p->row_end = f->end;
    else
        p->block_end = f->end;
}

static void print(const dm_report_doc *d, bool html_form, dm_text *out)
{
    printer p = {.out = out, .d = d, .html = html_form};

    for (size_t i = 0; i < d->nodes; i++)
        if (d->node[i].forms & (html_form ? DM_REPORT_HTML : DM_REPORT_MARKDOWN))
            print_node(&p, &d->node[i]);
    end_open(&p, true);
}

void dm_report_html(const dm_report_doc *d, dm_text *out)
{
    print(d, true, out);
}

void dm_report_markdown(const dm_report_doc *d, dm_text *out)
{
    print(d, false, out);
}
