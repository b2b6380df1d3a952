/* dmpo compare: where two traces of one step diverge. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/call.h"
#include "cli/commands/findings.h"
#include "cli/files.h"
#include "core/files/output.h"
#include "model/api.h"
#include "model/check/compare.h"
#include "model/trace/import.h"

typedef struct compare_options {
    const char *truth, *map, *html;
    bool all, overwrite;
} compare_options;

static const cli_option options[] = {
    DM_OPTION_TEXT(compare_options, truth, "truth", "FILE", "a trace in double, to say whose errors are larger",
                   .absent = "none"),
    DM_OPTION_TEXT(compare_options, map, "map", "FILE", "JSON object from names in A to names in B", .absent = "none"),
    DM_OPTION_TEXT(compare_options, html, "html", "FILE", "writes a heat map by layer and operation", .absent = "none"),
    DM_OPTION_FLAG(compare_options, all, "all", "also lists equal tensors"),
    DM_OPTION_FLAG(compare_options, overwrite, "overwrite", "replaces what is at `html` already"),
    {.info = {.name = NULL}},
};

static const cli_command command = {
    "compare",
    "Compares two traces of one step in execution order and finds the first operation where they diverge.",
    "[--truth FILE] [--map FILE] [--html FILE] A B",
    "A has a manifest; B is any safetensors file with tensors of these names, or NumPy files: a .npz archive, a .npy\n"
    "file or a directory of them. An operation diverges when its outputs differ by more than the difference of its\n"
    "inputs and the rounding of both explain. Transposed tensors, fused projections, heads whose pairs are ordered\n"
    "differently and padded batches are recognised and named. Exit status 1 when an operation diverges.",
    options,
    2,
    2};

typedef struct printer {
    const compare_options *o;
    cli_findings f;
    dm_text html;
    char last_row[256];
} printer;

static void put_json(printer *p, const dm_pair_finding *f)
{
    dm_json_writer *j = &p->f.j;

    dm_json_new_line(j);
    dm_json_open_object(j, NULL);
    dm_json_put_int(j, "step", f->step);
    dm_json_put_string(j, "tensor", f->node->name);
    dm_json_put_string(j, "in_b", f->b_name);
    dm_json_put_string(j, "formula", dm_formula_name(f->op->formula));
    dm_json_put_string(j, "layout", dm_layout_name(f->layout));
    if (f->layout != DM_LAYOUT_OTHER) {
        dm_json_put_string(j, "difference", dm_difference_name(f->difference));
        dm_json_put_double(j, "relative", f->relative);
        dm_json_open_array(j, "index");
        dm_json_put_uint(j, NULL, f->row);
        dm_json_put_uint(j, NULL, f->col);
        dm_json_close_value(j);
        dm_json_put_double(j, "a", f->a);
        dm_json_put_double(j, "b", f->b);
        dm_json_put_double(j, "error_a", f->truth_a);
        dm_json_put_double(j, "error_b", f->truth_b);
    }
    dm_json_close_value(j);
}

static void put_line(printer *p, const dm_pair_finding *f)
{
    if (p->f.lines++ == 0)
        printf("%-10s %-52s %-14s %10s\n", "difference", "tensor", "formula", "relative");
    if (f->layout == DM_LAYOUT_OTHER) {
        printf("%-10s %-52s %-14s has another size in B\n", "-", f->node->name, dm_formula_name(f->op->formula));
        return;
    }
    printf("%-10s %-52s %-14s %10.2e  at [%zu, %zu] of %zu x %zu: %.9g, %.9g", dm_difference_name(f->difference),
           f->node->name, dm_formula_name(f->op->formula), f->relative, f->row, f->col, f->node->rows, f->node->cols,
           f->a, f->b);
    if (f->layout != DM_LAYOUT_SAME)
        printf(" (%s: %s)", dm_layout_name(f->layout), f->b_name);
    if (!isnan(f->truth_a) && f->truth_a > 0)
        printf(" errors %.2e, %.2e: B's %.3g times A's", f->truth_a, f->truth_b, f->truth_b / f->truth_a);
    putchar('\n');
}

/* One cell of the heat map: a row for each name without item and layer, a cell for each layer and item. */
static void put_cell(printer *p, const dm_pair_finding *f)
{
    const double decades = f->relative > 0 ? log10(f->relative) : -20;
    const int heat = decades < -9 ? 0 : decades > 0 ? 255 : (int)(255 * (decades + 9) / 9);
    const bool bad = f->difference == DM_DIFFERENCE_DIVERGES;

    dm_text_print(&p->html, "<td style=\"background:rgb(255,%d,%d)%s\" title=\"", 255 - heat, 255 - heat,
                  bad ? ";outline:3px solid #000" : "");
    dm_text_print(&p->html, "%s: %s, 1e%d, %s\"></td>", f->node->name, dm_difference_name(f->difference), (int)decades,
                  dm_layout_name(f->layout));
}

static void put_heat(printer *p, const dm_pair_finding *f)
{
    const char *name = f->node->name, *layers = strstr(name, "model.layers.");
    char row[256];

    snprintf(row, sizeof row, "%s", layers ? "layer " : name);
    if (layers) {
        const char *end = strchr(layers + 13, '.');
        snprintf(row, sizeof row, "layer %.*s", end ? (int)(end - layers - 13) : 0, layers + 13);
    }
    if (strcmp(row, p->last_row) != 0) {
        dm_text_print(&p->html, "%s<tr><th>%s</th>", p->last_row[0] ? "</tr>\n" : "", row);
        snprintf(p->last_row, sizeof p->last_row, "%s", row);
    }
    put_cell(p, f);
}

static void on_finding(void *context, const dm_pair_finding *f)
{
    printer *p = context;

    if (f->difference == DM_DIFFERENCE_DIVERGES)
        cli_findings_bad(&p->f, f->step, f->op, f->node, NULL);
    if (p->o->html && f->layout != DM_LAYOUT_OTHER)
        put_heat(p, f);
    if (f->difference == DM_DIFFERENCE_NONE && f->layout == DM_LAYOUT_SAME && !p->o->all)
        return;
    if (p->f.json)
        put_json(p, f);
    else if (f->difference == DM_DIFFERENCE_DIVERGES || f->layout != DM_LAYOUT_SAME || p->o->all || p->o->truth)
        put_line(p, f);
}

static void put_summary(cli_findings *f, const dm_compare_counts *n)
{
    if (f->json) {
        dm_json_close_value(&f->j);
        for (int i = 0; i <= DM_DIFFERENCE_DIVERGES; i++)
            dm_json_put_uint(&f->j, dm_difference_name((dm_difference)i), n->differences[i]);
        dm_json_put_uint(&f->j, "missing", n->missing);
        dm_json_put_uint(&f->j, "another_size", n->other);
        return;
    }
    printf("%llu tensors equal, %llu differ by rounding, %llu by what they inherit, %llu diverge; %llu are not in B, "
           "%llu have another size there\n",
           (unsigned long long)n->differences[0], (unsigned long long)n->differences[1],
           (unsigned long long)n->differences[2], (unsigned long long)n->differences[3], (unsigned long long)n->missing,
           (unsigned long long)n->other);
}

static dm_status write_html(printer *p, dm_error *err)
{
    static const char head[] = "<!doctype html><meta charset=\"utf-8\"><title>traces</title><style>td{width:14px;"
                               "height:14px}th{text-align:left;font:12px sans-serif}</style>\n<table>\n";
    dm_text page = {0};

    dm_text_add(&page, head, sizeof head - 1);
    dm_text_add(&page, p->html.data ? p->html.data : "", p->html.size);
    dm_text_add(&page, "</tr>\n</table>\n", 15);
    const dm_status s = page.failed || p->html.failed
                            ? dm_fail(err, DM_ERR_MEMORY, "no memory for the heat map")
                            : dm_output_write(p->o->html, p->o->overwrite, page.data, page.size, err);
    dm_text_free(&page);
    return s;
}

static dm_status check(cli_call *c, dm_error *err)
{
    const compare_options *o = c->options;
    return o->html ? cli_check_inputs(options, o, &c->args, o->html, err) : DM_OK;
}

static dm_status compare(cli_call *c, dm_error *err)
{
    const compare_options *o = c->options;
    const char *const *path = c->args.positional;
    printer p = {.o = o};
    dm_compare_counts counts = {0};
    dm_st *a = NULL, *b = NULL, *truth = NULL;
    dm_json_doc *map = NULL;
    dm_manifest m = {0};
    dm_status s;

    if ((s = dm_trace_open(&a, path[0], err)) == DM_OK && (s = dm_trace_open(&b, path[1], err)) == DM_OK &&
        (s = o->truth ? dm_trace_open(&truth, o->truth, err) : DM_OK) == DM_OK &&
        (s = o->map ? dm_json_read(&map, o->map, err) : DM_OK) == DM_OK &&
        (s = dm_manifest_read(&m, a, path[0], err)) == DM_OK) {
        const dm_compare_options of = {a, b, truth, &m, map ? dm_json_root(map) : NULL, c->engine->e.pool};
        cli_findings_open(&p.f, c->common.json, "tensors");
        s = dm_compare_traces(&of, on_finding, &p, &counts, err);
    }
    if (s == DM_OK && o->html)
        s = write_html(&p, err);
    if (s == DM_OK) {
        put_summary(&p.f, &counts);
        s = cli_findings_end(&p.f, "first divergence", "first_divergence", err);
    }
    bool any = false;
    for (int i = 0; i <= DM_DIFFERENCE_DIVERGES; i++)
        any = any || counts.differences[i] > 0;
    if (s == DM_OK && !any)
        s = dm_fail(err, DM_ERR_INPUT, "%s: holds no tensor of A's with A's size; nothing was compared", path[1]);
    c->status = counts.differences[DM_DIFFERENCE_DIVERGES] > 0;
    dm_manifest_close(&m);
    dm_json_close(&map);
    dm_st_close(&a);
    dm_st_close(&b);
    dm_st_close(&truth);
    cli_findings_free(&p.f);
    dm_text_free(&p.html);
    return s;
}

int cli_compare(int argc, char **argv)
{
    compare_options o = {0};
    cli_call call = {.command = &command, .options = &o, .needs = CLI_ENGINE, .check = check, .work = compare};

    return cli_call_run(&call, argc, argv);
}
