/* dmpo compare: where two traces of one step diverge. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
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
    DM_OPTION_TEXT(compare_options, truth, "truth", "FILE", "a trace in double: whose errors are larger",
                   .absent = "none"),
    DM_OPTION_TEXT(compare_options, map, "map", "FILE", "JSON object from names in A to names in B", .absent = "none"),
    DM_OPTION_TEXT(compare_options, html, "html", "FILE", "a heat map by layer and operation", .absent = "none"),
    DM_OPTION_FLAG(compare_options, all, "all", "lists equal tensors as well"),
    CLI_OPTION_OVERWRITE(compare_options),
    {.info = {.name = NULL}},
};

static const cli_command command = {
    "compare",
    "Compares two traces of one step in execution order and finds the first operation where they diverge.",
    "[--truth FILE] [--map FILE] [--html FILE] A B",
    "A has a manifest; B is any safetensors file with tensors of these names, or\n"
    "NumPy files: a .npz archive, a .npy file or a directory of them. An operation diverges when its outputs\n"
    "differ by more than its inputs' difference and the rounding of both explain. Transposed tensors, fused\n"
    "projections, heads whose pairs lie otherwise and padded batches are recognised and named. Exit status 1 when an\n"
    "operation diverges.",
    options,
    2,
    2};

typedef struct printer {
    const compare_options *o;
    bool json;
    dm_text text, html;
    dm_json_writer j;
    uint64_t lines;
    struct {
        bool found;
        int64_t step;
        char name[256];
        dm_formula formula;
    } first; /* operation that diverges; its graph is gone when the summary is written */
    char last_row[256];
} printer;

static void put_json(printer *p, const dm_pair_finding *f)
{
    dm_json_writer *j = &p->j;

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
    if (p->lines++ == 0)
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

    if (f->difference == DM_DIFFERENCE_DIVERGES && !p->first.found) {
        p->first.found = true;
        p->first.step = f->step;
        p->first.formula = f->op->formula;
        snprintf(p->first.name, sizeof p->first.name, "%s", f->node->name);
    }
    if (p->o->html && f->layout != DM_LAYOUT_OTHER)
        put_heat(p, f);
    if (f->difference == DM_DIFFERENCE_NONE && f->layout == DM_LAYOUT_SAME && !p->o->all)
        return;
    if (p->json)
        put_json(p, f);
    else if (f->difference == DM_DIFFERENCE_DIVERGES || f->layout != DM_LAYOUT_SAME || p->o->all || p->o->truth)
        put_line(p, f);
}

static void put_summary(printer *p, const dm_compare_counts *n)
{
    if (p->json) {
        dm_json_close_value(&p->j);
        for (int i = 0; i <= DM_DIFFERENCE_DIVERGES; i++)
            dm_json_put_uint(&p->j, dm_difference_name((dm_difference)i), n->differences[i]);
        dm_json_put_uint(&p->j, "missing", n->missing);
        dm_json_put_uint(&p->j, "another_size", n->other);
        dm_json_put_string(&p->j, "first_divergence", p->first.found ? p->first.name : NULL);
        dm_json_close_value(&p->j);
        puts(p->text.data ? p->text.data : "");
        return;
    }
    printf(
        "%llu tensors equal, %llu differ by rounding, %llu by what they inherit, %llu diverge; %llu are not in B, %llu "
        "have another size there\n",
        (unsigned long long)n->differences[0], (unsigned long long)n->differences[1],
        (unsigned long long)n->differences[2], (unsigned long long)n->differences[3], (unsigned long long)n->missing,
        (unsigned long long)n->other);
    if (p->first.found)
        printf("first divergence: step %lld, %s (%s)\n", (long long)p->first.step, p->first.name,
               dm_formula_name(p->first.formula));
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

static dm_status run(const cli_args *args, dm_pool *pool, printer *p, dm_compare_counts *counts, dm_error *err)
{
    dm_st *a = NULL, *b = NULL, *truth = NULL;
    dm_json_doc *map = NULL;
    dm_manifest m = {0};
    dm_status s;

    if ((s = dm_trace_open(&a, args->positional[0], err)) == DM_OK &&
        (s = dm_trace_open(&b, args->positional[1], err)) == DM_OK &&
        (s = p->o->truth ? dm_trace_open(&truth, p->o->truth, err) : DM_OK) == DM_OK &&
        (s = p->o->map ? dm_json_read(&map, p->o->map, err) : DM_OK) == DM_OK &&
        (s = dm_manifest_read(&m, a, args->positional[0], err)) == DM_OK) {
        const dm_compare_options o = {a, b, truth, &m, map ? dm_json_root(map) : NULL, pool};
        p->j = (dm_json_writer){.out = &p->text};
        if (p->json) {
            dm_json_open_object(&p->j, NULL);
            dm_json_open_array(&p->j, "tensors");
        }
        s = dm_compare_traces(&o, on_finding, p, counts, err);
    }
    if (s == DM_OK && p->o->html)
        s = write_html(p, err);
    if (s == DM_OK)
        put_summary(p, counts);
    dm_manifest_close(&m);
    dm_json_close(&map);
    dm_st_close(&a);
    dm_st_close(&b);
    dm_st_close(&truth);
    dm_text_free(&p->text);
    dm_text_free(&p->html);
    return s;
}

int cli_compare(int argc, char **argv)
{
    compare_options o = {0};
    cli_common common = {0};
    cli_args args = {0};
    dmpo_engine *engine = NULL;
    dm_compare_counts counts = {0};
    dm_error err = {0};

    dm_status s = cli_parse(&command, &o, &common, &args, argc, argv, &err);
    if (s == DM_OK && !args.help && o.html)
        s = cli_check_inputs(options, &o, &args, o.html, &err);
    int status = s != DM_OK ? cli_failed("compare", s, err.message) : 0;
    if (!status && !args.help && (status = cli_open_engine("compare", &common, &engine)) == 0) {
        printer p = {.o = &o, .json = common.json};
        if ((s = run(&args, engine->e.pool, &p, &counts, &err)) != DM_OK)
            status = cli_failed("compare", s, err.message);
        else
            status = counts.differences[DM_DIFFERENCE_DIVERGES] > 0;
    }
    dmpo_engine_close(&engine);
    cli_args_close(&args);
    return status;
}
