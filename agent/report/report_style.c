/* How reports look: colours of a light and a dark theme, rules of page and charts.
 *
 * Series colours keep apart in all common kinds of colour blindness and have a contrast of at least 4.5 to the ground,
 * for names of lines are written in them. tests/unit/agent/report/test_report.c measures that. */
#include <stdio.h>
#include <string.h>

#include "agent/report/report_chart.h"
#include "agent/report/report_escape.h"

/* ground, text, quiet text, grid lines, axes, tables' ground; eight series: reference points, SFT, DPO, DMPO, others;
 * nine steps from worse to better. */
const char *const dm_report_light[DM_REPORT_COLOURS] = {
    "#ffffff", "#1c2128", "#59626d", "#e4e7eb", "#8b949e", "#f5f7f9", "#69707a", "#3d4b5c",
    "#b34700", "#0060a8", "#87378a", "#00694a", "#7a5200", "#a8285a", "#f4a56b", "#f7c099",
    "#fad7bf", "#fdebdf", "#f1f2f4", "#e0edf8", "#c3def2", "#a3cbea", "#82b7e0"};
const char *const dm_report_dark[DM_REPORT_COLOURS] = {"#14181d", "#e3e8ee", "#9da7b3", "#2b323b", "#6c7681", "#1c222a",
                                                       "#a3abb5", "#c3cedb", "#ff9e57", "#6cb8f5", "#d79be0", "#56cfa4",
                                                       "#dcb465", "#f58fb4", "#8a4310", "#6f3b15", "#563219", "#3d2a1c",
                                                       "#2a3038", "#1d3347", "#1a405e", "#194e77", "#185c90"};
const char *const dm_report_colour_names[DM_REPORT_COLOURS] = {"bg", "fg", "quiet", "grid", "axis", "table", "c0", "c1",
                                                               "c2", "c3", "c4",    "c5",   "c6",   "c7",    "d0", "d1",
                                                               "d2", "d3", "d4",    "d5",   "d6",   "d7",    "d8"};

static void variables(dm_text *out, const char *const *colour)
{
    dm_text_print(out, "{");
    for (int i = 0; i < DM_REPORT_COLOURS; i++)
        dm_text_print(out, "--%s:%s;", dm_report_colour_names[i], colour[i]);
    dm_text_print(out, "}");
}

/* Rules for charts in these colours. */
static void chart_rules(dm_text *out, const char *const *c)
{
    dm_text_print(out,
                  ".chart text{font:12px system-ui,-apple-system,\"Segoe UI\",Roboto,\"Liberation Sans\",sans-serif;"
                  "fill:%s;font-variant-numeric:tabular-nums}\n"
                  ".chart .h{font-weight:600}.chart .m{fill:%s;font-size:11px}.chart .bg{fill:%s}\n"
                  ".chart .g{stroke:%s}.chart .a{stroke:%s}.chart .r{stroke:%s;stroke-dasharray:4 3}\n"
                  ".chart path{fill:none}.chart .faint{stroke-opacity:.45;stroke-width:1.2}"
                  ".chart .dash{stroke-dasharray:5 4}\n",
                  c[1], c[2], c[0], c[3], c[4], c[4]);
    for (int i = 0; i < DM_REPORT_SERIES_COLOURS; i++)
        dm_text_print(out,
                      ".chart .s%d{stroke:%s;stroke-width:2;stroke-linejoin:round}.chart .i%d{stroke:%s;"
                      "stroke-width:3;stroke-linecap:round;stroke-opacity:.55}.chart .f%d{fill:%s}"
                      ".chart .t%d{fill:%s;font-weight:600}.chart .b%d{fill:%s;fill-opacity:.16}\n",
                      i, c[6 + i], i, c[6 + i], i, c[6 + i], i, c[6 + i], i, c[6 + i]);
}

/* Viewers of single files need not know variables: there the colours stand in the rules. */
void dm_report_chart_style(dm_text *out, bool file)
{
    if (file) {
        chart_rules(out, dm_report_light);
        dm_text_print(out, "@media (prefers-color-scheme: dark){\n");
        chart_rules(out, dm_report_dark);
        dm_text_print(out, "}\n");
        return;
    }
    char text[DM_REPORT_COLOURS][16];
    const char *variable[DM_REPORT_COLOURS];
    for (int i = 0; i < DM_REPORT_COLOURS; i++) {
        snprintf(text[i], sizeof text[i], "var(--%s)", dm_report_colour_names[i]);
        variable[i] = text[i];
    }
    chart_rules(out, variable);
}

static const char *const page[] = {
    "*{box-sizing:border-box}",
    "html{background:var(--bg);color:var(--fg);font:16px/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,",
    "\"Liberation Sans\",sans-serif;-webkit-text-size-adjust:100%}",
    "body{max-width:66rem;margin:0 auto;padding:2.5rem 1.25rem 4rem;overflow-wrap:break-word}",
    "h1{font-size:1.9rem;line-height:1.2;margin:0 0 .6rem;letter-spacing:-.01em;text-wrap:balance}",
    "h2{font-size:1.3rem;margin:3rem 0 .6rem;padding-top:.9rem;border-top:1px solid var(--grid)}",
    "h3{font-size:1.05rem;margin:2rem 0 .4rem}",
    "h4{font-size:.95rem;margin:1.4rem 0 .4rem}",
    "p,ul{margin:.5rem 0 .8rem;max-width:46rem}ul{padding-left:1.2rem}",
    "a{color:var(--c3)}",
    "nav{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:1rem 0 0;font-size:.9rem}",
    ".quiet,caption,figcaption{color:var(--quiet);font-size:.875rem}",
    ".scroll{overflow-x:auto;margin:.8rem 0 1.2rem}",
    ".scroll:focus-visible,summary:focus-visible,a:focus-visible{outline:2px solid var(--c3);outline-offset:2px}",
    "table{border-collapse:collapse;width:100%;font-size:.82rem;line-height:1.35;font-variant-numeric:tabular-nums}",
    "caption{text-align:left;padding:0 0 .5rem;caption-side:top}",
    "th,td{padding:.34rem .5rem;text-align:left;vertical-align:baseline}",
    "th[scope=row]{min-width:6.5rem}.sides th[scope=row]{min-width:0}",
    "thead th{font-weight:600;border-bottom:1px solid var(--axis);vertical-align:bottom}",
    "thead th.over{text-align:center;border-bottom:1px solid var(--grid)}",
    "tbody th{font-weight:400}tbody tr{border-bottom:1px solid var(--grid)}",
    "tbody tr:last-child{border-bottom:1px solid var(--axis)}",
    "tr.group th{font-weight:600;background:var(--table);padding-top:.5rem}",
    "td.in,th.in{padding-left:1.4rem}",
    ".num{text-align:right;white-space:nowrap}",
    ".half{color:var(--quiet);font-size:.92em;font-weight:400}",
    ".best{font-weight:700}.best::before{content:\"\\2605\";font-size:.75em;margin-right:.3em;color:var(--c3)}",
    ".up{color:var(--c3);font-weight:600}.down{color:var(--c2);font-weight:600}",
    "code,pre{font:.86em/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,\"Liberation Mono\",monospace}",
    "pre{background:var(--table);padding:.8rem 1rem;overflow-x:auto;border-radius:6px;overflow-wrap:normal}",
    "figure{margin:1rem 0 1.6rem;overflow-x:auto}figcaption{max-width:46rem;margin-top:.4rem}",
    "svg.chart{display:block;height:auto;max-width:100%}svg.wide{min-width:34rem}",
    "details{margin:.6rem 0}summary{cursor:pointer;color:var(--c3)}",
    ".sides{display:grid;grid-template-columns:1fr 1fr;gap:1.2rem;margin:.6rem 0 1.4rem}",
    ".sides>*{min-width:0}.sides table{font-size:.8125rem}.sides th,.sides td{padding:.26rem .4rem}",
    ".sides td.act{overflow-wrap:anywhere;font:.9em/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,\"Liberation "
    "Mono\",monospace;",
    "white-space:pre-wrap;unicode-bidi:isolate;width:60%}",
    ".weight{background:linear-gradient(var(--c3),var(--c3)) no-repeat 0 100%/var(--w) 3px}",
    ".task{white-space:pre-wrap;font-size:.875rem;border-left:3px solid var(--grid);padding-left:.8rem}",
    ".d0{background:var(--d0)}.d1{background:var(--d1)}.d2{background:var(--d2)}.d3{background:var(--d3)}",
    ".d4{background:var(--d4)}.d5{background:var(--d5)}.d6{background:var(--d6)}.d7{background:var(--d7)}",
    ".d8{background:var(--d8)}",
    ".legend{display:grid;grid-template-columns:repeat(auto-fit,minmax(6.2rem,1fr));max-width:none;margin:.4rem 0 "
    "1rem;font-size:.75rem;text-align:center;font-variant-numeric:tabular-nums}",
    ".legend span{padding:.15rem 0}",
    "@media (max-width:46rem){.sides{grid-template-columns:1fr}body{padding-top:1.5rem}}",
    "@media print{html{font-size:11px}body{max-width:none;padding:0}nav,.screen{display:none}",
    ".scroll,figure,pre{overflow:visible}pre{white-space:pre-wrap;overflow-wrap:anywhere}",
    "h2,h3,h4{break-after:avoid}figure,.sides table,tr{break-inside:avoid}",
    "svg.wide{min-width:0}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}",
    "@media print{details:not(.long)::details-content{content-visibility:visible;block-size:auto}}",
    "@page{margin:16mm 14mm}"};

static void page_style(dm_text *out)
{
    dm_text_print(out, ":root");
    variables(out, dm_report_light);
    dm_text_print(out, "\n:root{color-scheme:light dark}\n@media screen and (prefers-color-scheme: dark){:root");
    variables(out, dm_report_dark);
    dm_text_print(out, "}\n");
    for (size_t i = 0; i < sizeof page / sizeof *page; i++)
        dm_text_print(out, "%s\n", page[i]);
    dm_report_chart_style(out, false);
}

void dm_report_page_begin(dm_text *out, const char *title, const char *style)
{
    dm_text_print(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                       "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>");
    dm_report_escape(out, title, strlen(title));
    dm_text_print(out, "</title>\n<style>\n");
    page_style(out);
    dm_text_print(out, "%s</style>\n</head>\n<body>\n<main>\n", style ? style : "");
}

void dm_report_page_end(dm_text *out)
{
    dm_text_print(out, "</main>\n</body>\n</html>\n");
}
