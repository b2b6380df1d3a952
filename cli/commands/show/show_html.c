/* dmpo show --html: the item as a page without scripts. Everything from outside is escaped twice: what may not be shown
 * first (show_escape), then HTML's own characters. */
#include <string.h>

#include "agent/report/report_chart.h"
#include "agent/report/report_escape.h"
#include "cli/commands/show/show.h"
#include "core/utf8.h"

/* Weights colour a token's ground in four steps, masked tokens are quiet, cut ones struck out. */
static const char style[] =
    "main{max-width:none}body{max-width:90rem}dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;"
    "font-size:.9rem}dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}\n"
    ".text{white-space:pre-wrap;overflow-wrap:anywhere;margin:.2rem 0;padding:.4rem .6rem;border-left:3px solid "
    "var(--grid);font:.84rem/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,\"Liberation Mono\",monospace}\n"
    ".text span{border-radius:2px;unicode-bidi:isolate;box-decoration-break:clone;-webkit-box-decoration-break:clone}"
    ".text span+span{box-shadow:-1px 0 var(--bg)}.text span:hover{outline:1px solid var(--axis)}\n"
    ".text.t{border-left-color:var(--c3)}.m{color:var(--quiet)}.x{color:var(--c2);text-decoration:line-through}"
    ".s{font-weight:600}.label{margin:.7rem 0 0;font-size:.85rem;font-weight:600;max-width:none}\n"
    "h2{margin:1.6rem 0 .4rem}.key{max-width:none}.key span{padding:.1rem .5rem;border-radius:2px}"
    ".sides{align-items:start}\n";

static void add(dm_text *out, const char *markup)
{
    dm_text_add(out, markup, strlen(markup));
}

static void escape(dm_text *out, const char *bytes, size_t size)
{
    dm_text shown = {0};

    show_escape(&shown, bytes, size);
    if (shown.size)
        dm_report_escape(out, shown.data, shown.size);
    out->failed |= shown.failed;
    dm_text_free(&shown);
}

static void fact(void *context, const char *key, const char *value)
{
    dm_text *out = context;

    add(out, "<dt>");
    escape(out, key, strlen(key));
    add(out, "</dt><dd>");
    escape(out, value, strlen(value));
    add(out, "</dd>\n");
}

static void number(dm_text *out, const char *before, double x)
{
    char text[DM_FIXED_TEXT];
    dm_fixed_text(text, x, 4);
    dm_text_print(out, "%s%s", before, text);
}

/* ---- tokens ---- */

/* d5 to d8 by the weight: up to a quarter, a half, three quarters, more; d4: weight 0. */
static int step(double weight)
{
    return weight <= 0 ? 4 : weight <= 0.25 ? 5 : weight <= 0.5 ? 6 : weight <= 0.75 ? 7 : 8;
}

static void state(dm_text *out, const char *who, const show_token *t)
{
    if (!t->trained) {
        dm_text_print(out, "%s%s", who, t->cut ? "cut" : "masked");
        return;
    }
    dm_text_print(out, "%sturn %zu", who, t->turn);
    number(out, ", weight ", t->weight);
}

static void title(dm_text *out, const show_item *item, const show_part *part, size_t i)
{
    const show_token *t = &item->side[part->which].token[i];

    dm_text_print(out, "position %zu, id %ld, ", i, (long)t->id);
    state(out, part->shared ? "chosen " : "", t);
    if (part->shared)
        state(out, ", rejected ", &item->side[1].token[i]);
    if (!item->logps || i == 0 || t->cut)
        return;
    number(out, ", logp ", t->logp);
    if (item->reference)
        number(out, ", reference ", t->reference);
}

/* Tokens that make one character together are one element: begin, and how many there are. */
static size_t characters(const show_side *side, size_t begin, size_t limit)
{
    for (size_t n = 1; n <= 4 && begin + n <= limit; n++) {
        const unsigned char *p = (const unsigned char *)side->text.data + side->token[begin].text;
        const unsigned char *end = (const unsigned char *)side->text.data + side->token[begin + n].text;
        size_t size = 1;
        while (p < end && (size = dm_utf8_length(p, end)) > 0)
            p += size;
        if (size)
            return n;
    }
    return 1;
}

static size_t element(dm_text *out, const show_item *item, const show_part *part, size_t i)
{
    const show_side *side = &item->side[part->which];
    const show_token *t = &side->token[i], *other = part->shared ? &item->side[1].token[i] : t;
    const size_t n = characters(side, i, part->end), size = t[n].text - t->text;
    const char *bytes = side->text.data + t->text;
    const double weight = t->weight > other->weight ? t->weight : other->weight;

    add(out, "<span class=\"");
    if (t->trained || other->trained)
        dm_text_print(out, "d%d", step(weight));
    else
        add(out, t->cut ? "x" : "m");
    add(out, t->special ? " s\" title=\"" : "\" title=\"");
    for (size_t k = 0; k < n; k++) {
        add(out, k ? "&#10;" : "");
        title(out, item, part, i + k);
    }
    add(out, "\">");
    escape(out, bytes, size);
    add(out, "</span>");
    if (memchr(bytes, '\n', size))
        add(out, "\n");
    return n;
}

/* ---- parts ---- */

static void part_of(dm_text *out, const show_item *item, const show_part *part)
{
    const show_side *side = &item->side[part->which];
    const bool trained = side->token[part->begin].trained || (part->shared && item->side[1].token[part->begin].trained);
    dm_text label = {0};

    if (show_label(&label, item, part)) {
        add(out, "<p class=\"label\">");
        escape(out, label.data ? label.data : "", label.size);
        add(out, "</p>\n");
    }
    dm_text_print(out, "<div class=\"text%s\">", trained ? " t" : "");
    for (size_t i = part->begin; i < part->end;)
        i += element(out, item, part, i);
    add(out, "</div>\n");
    out->failed |= label.failed;
    dm_text_free(&label);
}

static void section(dm_text *out, const show_item *item, const show_part *part)
{
    dm_text head = {0};

    show_section(&head, item, part);
    add(out, "<h2>");
    escape(out, head.data ? head.data : "", head.size);
    add(out, "</h2>\n");
    out->failed |= head.failed;
    dm_text_free(&head);
}

void show_html(dm_text *out, const show_item *item)
{
    const bool pair = item->side[0].name && item->side[1].name;
    show_part part = {0};
    bool in_side = false;
    dm_text name = {0};

    show_escape(&name, item->id, strlen(item->id));
    dm_report_page_begin(out, name.data ? name.data : "", style);
    add(out, "<h1>");
    dm_report_escape(out, name.data ? name.data : "", name.size);
    add(out, "</h1>\n<dl>\n");
    out->failed |= !show_facts(item, fact, out);
    add(out, "</dl>\n<p class=\"key quiet\"><span class=\"m\">masked</span> weight <span class=\"d4\">0</span> "
             "<span class=\"d5\">to 0.25</span> <span class=\"d6\">to 0.5</span> <span class=\"d7\">to 0.75</span> "
             "<span class=\"d8\">above</span> <span class=\"x\">cut</span> <span class=\"s\">special token</span> "
             "Hold the pointer over a token to see its id, turn, weight and log-probability.</p>\n");
    while (show_next(item, &part)) {
        if (show_begins(item, &part)) {
            if (pair && !part.shared)
                add(out, in_side ? "</div><div>\n" : "<div class=\"sides\"><div>\n");
            in_side = !part.shared;
            section(out, item, &part);
        }
        part_of(out, item, &part);
    }
    add(out, pair && in_side ? "</div></div>\n" : "");
    dm_report_page_end(out);
    out->failed |= name.failed;
    dm_text_free(&name);
}
