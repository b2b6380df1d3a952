/* The files of a report: composed in memory, written beside their places, then moved there. */
#include "agent/report/report.h"

#include <math.h> /* isnan, sqrt only */
#include <stdlib.h>
#include <string.h>

#include "agent/report/report_doc.h"
#include "agent/report/report_escape.h"
#include "core/files/file.h"
#include "core/files/output.h"
#include "core/files/place.h"
#include "core/files/path.h"

/* ---- results.csv ---- */

static void csv_number(dm_text *out, double x)
{
    dm_text_print(out, isnan(x) ? "," : ",%.6f", x);
}

static void add_csv(const dm_report *r, dm_text *out)
{
    dm_text_print(out, "env,setting,method,kind,sweep,x,seed,split,samples,n,mean,sd,low,high,success,turns\n");
    for (size_t i = 0; i < r->evals; i++) {
        const dm_report_eval *e = &r->eval[i];
        const dm_report_subject *s = &e->of;
        const char *const text[] = {s->env, s->setting, s->method, s->kind, s->sweep, s->x};
        const dm_estimate m = dm_estimate_of(e->reward, e->tasks);
        double squares = 0;
        for (size_t k = 0; k < e->tasks; k++)
            squares += (e->reward[k] - m.mean) * (e->reward[k] - m.mean);
        for (size_t k = 0; k < sizeof text / sizeof *text; k++) {
            dm_text_add(out, ",", k > 0);
            dm_report_escape_csv(out, text[k] ? text[k] : "");
        }
        dm_text_print(out, ",%llu,%s,%lld,%zu", (unsigned long long)s->seed, dm_env_split_names[e->split],
                      (long long)e->samples, e->tasks);
        csv_number(out, m.mean);
        csv_number(out, e->tasks > 1 ? sqrt(squares / (double)(e->tasks - 1)) : NAN);
        csv_number(out, m.mean - m.half);
        csv_number(out, m.mean + m.half);
        csv_number(out, e->success);
        csv_number(out, e->turns);
        dm_text_add(out, "\n", 1);
    }
}

/* ---- report.html ---- */

static void add_page(const dm_report_doc *d, dm_text *out)
{
    dm_report_page_begin(out, d->r->title, NULL);
    dm_report_html(d, out);
    dm_report_page_end(out);
}

/* ---- files ---- */

typedef struct file {
    const char *name;
    dm_text text;
} file;

typedef struct files {
    file *file;
    size_t files;
} files;

static dm_text *add_file(files *f, const char *name)
{
    f->file[f->files].name = name;
    return &f->file[f->files++].text;
}

static void compose(dm_report *r, dm_report_doc *d, const dm_report_figures *f, bool svg, files *out)
{
    if (r->status == DM_OK)
        dm_report_sections(d, f, svg);
    out->file = dm_report_alloc(r, f->figures + 3, sizeof *out->file);
    if (r->status != DM_OK)
        return;
    for (size_t i = 0; svg && i < f->figures; i++) {
        const dm_report_chart *c = &f->figure[i].chart;
        dm_report_chart_write(c, add_file(out, dm_report_format(r, "charts/%s.svg", c->name)), 0, true);
    }
    add_csv(r, add_file(out, "results.csv"));
    dm_report_markdown(d, add_file(out, "report.md"));
    add_page(d, add_file(out, "report.html"));
    for (size_t i = 0; i < out->files && r->status == DM_OK; i++)
        if (out->file[i].text.failed)
            r->status = dm_fail(r->err, DM_ERR_MEMORY, "no memory for the report");
}

/* All of them beside their places first: hardly anything can fail after that. */
static dm_status place(const files *f, const char *output, bool svg, bool overwrite, dm_error *err)
{
    dm_output_dir out;
    dm_path path;
    dm_status s = dm_output_dir_open(&out, output, overwrite, err);

    if (s == DM_OK && svg && (s = dm_path_in(&path, out.temporary.text, "charts", err)) == DM_OK)
        s = dm_dir_create(path.text, err);
    for (size_t i = 0; i < f->files && s == DM_OK; i++)
        if ((s = dm_path_in(&path, out.temporary.text, f->file[i].name, err)) == DM_OK)
            s = dm_file_write(path.text, f->file[i].text.data, f->file[i].text.size, err);
    return dm_output_dir_close(&out, s, err);
}

dm_status dm_report_make(const char *dir, const char *output, bool svg, bool overwrite, dm_text *table, dm_error *err)
{
    dm_report r;
    dm_report_figures figures = {0};
    dm_report_doc d = {.r = &r};
    files out = {0};
    dm_status s = dm_report_read(&r, dir, err);

    if (s == DM_OK) {
        dm_report_draw(&r, &figures);
        compose(&r, &d, &figures, svg, &out);
        if (r.status == DM_OK && table)
            dm_report_terminal(&r, table);
        s = r.status == DM_OK && table && table->failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the table")
                                                        : r.status;
    }
    if (s == DM_OK)
        s = output && !dm_place_same(output, dir) ? place(&out, output, svg, overwrite, err)
                                                  : place(&out, dir, svg, true, err);
    for (size_t i = 0; i < out.files; i++)
        dm_text_free(&out.file[i].text);
    dm_report_doc_free(&d);
    dm_report_figures_free(&figures);
    dm_report_close(&r);
    return s;
}
