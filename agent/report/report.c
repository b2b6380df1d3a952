/* The files of a report: put together in memory, written beside their places, then moved there. */
#include "agent/report/report.h"

#include <math.h> /* isnan, sqrt only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/report/report_internal.h"
#include "core/file.h"

/* ---- results.csv ---- */

static void csv_number(dm_text *out, double x)
{
    dm_text_print(out, isnan(x) ? "," : ",%.6f", x);
}

void dm_report_csv(const dm_report *r, dm_text *out)
{
    dm_text_print(out, "env,setting,method,kind,sweep,x,seed,split,samples,n,mean,sd,low,high,success,turns\n");
    for (size_t i = 0; i < r->evals; i++) {
        const dm_report_eval *e = &r->eval[i];
        const dm_report_subject *s = &e->of;
        const char *const text[] = {s->env,  s->setting ? s->setting : "", s->method,
                                    s->kind, s->sweep ? s->sweep : "",     s->x ? s->x : ""};
        const dm_estimate m = dm_estimate_of(e->reward, e->tasks);
        double squares = 0;
        for (size_t k = 0; k < e->tasks; k++)
            squares += (e->reward[k] - m.mean) * (e->reward[k] - m.mean);
        for (size_t k = 0; k < sizeof text / sizeof *text; k++) {
            dm_text_add(out, ",", k > 0);
            dm_report_csv_field(out, text[k]);
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

static void add_page(dm_report *r, const dm_report_figures *f, dm_text *out)
{
    dm_report_doc d = {.out = out, .html = true};

    dm_text_print(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                       "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>");
    dm_report_escape(out, r->title, strlen(r->title));
    dm_text_print(out, "</title>\n<style>\n");
    dm_report_page_style(out);
    dm_text_print(out, "</style>\n</head>\n<body>\n<main>\n");
    dm_report_body(r, f, &d);
    dm_text_print(out, "</main>\n</body>\n</html>\n");
}

/* ---- files ---- */

typedef struct file {
    char name[200];
    dm_text text;
} file;

typedef struct files {
    file *file;
    size_t n;
} files;

static dm_status render(dm_report *r, const dm_report_figures *f, bool svg, files *out, dm_error *err)
{
    if (!(out->file = calloc(f->n + 3, sizeof *out->file)))
        return dm_report_no_memory(err);
    for (size_t i = 0; svg && i < f->n; i++) {
        file *x = &out->file[out->n++];
        snprintf(x->name, sizeof x->name, "charts/%s.svg", f->figure[i].chart.name);
        dm_report_chart_write(&f->figure[i].chart, &x->text, 0, true);
    }
    file *csv = &out->file[out->n++], *markdown = &out->file[out->n++], *page = &out->file[out->n++];
    snprintf(csv->name, sizeof csv->name, "results.csv");
    snprintf(markdown->name, sizeof markdown->name, "report.md");
    snprintf(page->name, sizeof page->name, "report.html");
    dm_report_csv(r, &csv->text);
    dm_report_body(r, f, &(dm_report_doc){.out = &markdown->text, .svg = svg});
    add_page(r, f, &page->text);
    for (size_t i = 0; i < out->n; i++)
        if (out->file[i].text.failed)
            return dm_report_no_memory(err);
    return DM_OK;
}

/* All of them beside their places first: what can fail then is hardly anything. */
static dm_status place(const files *f, const char *output, bool svg, dm_error *err)
{
    char beside[4096], from[4300], to[4300];
    dm_status s = DM_OK;

    if ((size_t)snprintf(beside, sizeof beside, "%s/report.tmp-%ld/charts", output, (long)getpid()) >= sizeof beside)
        return dm_fail(err, DM_ERR_FILE, "the path %.100s... is too long", output);
    s = dm_dir_create(beside, err);
    *strrchr(beside, '/') = '\0';
    for (size_t i = 0; i < f->n && s == DM_OK; i++)
        if ((s = dm_path_join(from, sizeof from, beside, f->file[i].name, err)) == DM_OK)
            s = dm_file_write(from, f->file[i].text.data, f->file[i].text.size, err);
    if (s == DM_OK && svg && (s = dm_path_join(to, sizeof to, output, "charts", err)) == DM_OK)
        s = dm_dir_create(to, err);
    for (size_t i = 0; i < f->n && s == DM_OK; i++)
        if ((s = dm_path_join(from, sizeof from, beside, f->file[i].name, err)) == DM_OK &&
            (s = dm_path_join(to, sizeof to, output, f->file[i].name, err)) == DM_OK)
            s = dm_rename_durable(from, to, err);
    if (dm_dir_exists(beside)) {
        dm_error ignored;
        dm_dir_remove(beside, s == DM_OK ? err : &ignored);
    }
    return s;
}

dm_status dm_report_make(const char *dir, const char *output, bool svg, dm_error *err)
{
    dm_report r;
    dm_report_figures f = {0};
    files out = {0};
    dm_status s = dm_report_read(&r, dir, err);

    if (s != DM_OK)
        return s;
    if ((s = dm_report_draw(&r, &f, err)) == DM_OK && (s = render(&r, &f, svg, &out, err)) == DM_OK)
        s = place(&out, output ? output : dir, svg, err);
    for (size_t i = 0; i < out.n; i++)
        dm_text_free(&out.file[i].text);
    free(out.file);
    dm_report_figures_free(&f);
    dm_report_close(&r);
    return s;
}
