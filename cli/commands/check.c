/* dmpo check: the verdict on a trace, operation by operation. */
#include <stdio.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "cli/call.h"
#include "cli/commands/findings.h"
#include "model/api.h"
#include "model/check/check.h"

typedef struct check_options {
    bool all;
} check_options;

static const cli_option options[] = {
    DM_OPTION_FLAG(check_options, all, "all", "also lists sound operations"),
    {.info = {.name = NULL}},
};

static const cli_command command = {
    "check",
    "Recomputes every operation of a trace in double from the trace's own inputs, and judges its error.",
    "[--all] TRACE",
    "sound: within what rounding probably does; suspicious: within the most that it can do; wrong: beyond that;\n"
    "not decidable: conditioned so badly that rounding may be as large as the result. A wrong operation is named with\n"
    "the known mistake that explains it to rounding, if one does. Exit status 1 when an operation is wrong.",
    options,
    1,
    1};

typedef struct printer {
    const check_options *o;
    cli_findings f;
} printer;

static void put_names(dm_json_writer *j, const char *key, const dm_finding *f, uint32_t first, uint32_t n)
{
    dm_json_open_array(j, key);
    for (uint32_t i = 0; i < n; i++)
        if (f->g->links[first + i] != DM_NODE_NONE)
            dm_json_put_string(j, NULL, f->g->nodes[f->g->links[first + i]].name);
    dm_json_close_value(j);
}

static void put_json(printer *p, const dm_finding *f)
{
    dm_json_writer *j = &p->f.j;

    dm_json_new_line(j);
    dm_json_open_object(j, NULL);
    dm_json_put_int(j, "step", f->step);
    dm_json_put_string(j, "operation", f->node->name);
    dm_json_put_string(j, "formula", dm_formula_name(f->op->formula));
    dm_json_put_string(j, "verdict", dm_verdict_name(f->verdict));
    dm_json_put_bool(j, "bridged", f->bridged);
    if (f->missing)
        dm_json_put_string(j, "missing", f->missing);
    if (f->note)
        dm_json_put_string(j, "note", f->note);
    if (f->verdict != DM_VERDICT_UNCHECKED) {
        dm_json_open_array(j, "index");
        dm_json_put_uint(j, NULL, f->row);
        dm_json_put_uint(j, NULL, f->col);
        dm_json_close_value(j);
        dm_json_put_double(j, "got", f->got);
        dm_json_put_double(j, "want", f->want);
        dm_json_put_double(j, "error", f->error);
        dm_json_put_double(j, "sound_bound", f->sound);
        dm_json_put_double(j, "probable_bound", f->likely);
        dm_json_put_double(j, "conditioning", f->conditioning);
        dm_json_put_uint(j, "over", f->over);
    }
    put_names(j, "inputs", f, f->op->in, f->op->n_in);
    put_names(j, "outputs", f, f->op->out, f->op->n_out);
    dm_json_open_array(j, "explained_by");
    for (size_t i = 0; i < f->n_bugs; i++)
        dm_json_put_string(j, NULL, f->bugs[i]->name);
    dm_json_close_value(j);
    if (f->factor != 0)
        dm_json_put_double(j, "factor", f->factor);
    dm_json_close_value(j);
}

static void put_line(printer *p, const dm_finding *f)
{
    if (p->f.lines++ == 0)
        printf("%-13s %-52s %-14s %10s %10s %10s\n", "verdict", "operation", "formula", "error", "sound", "probable");
    printf("%-13s %-52s %-14s", dm_verdict_name(f->verdict), f->node->name, dm_formula_name(f->op->formula));
    if (f->verdict == DM_VERDICT_UNCHECKED)
        printf(" %s is missing", f->missing);
    else if (f->note && strcmp(f->note, "another shape") == 0)
        printf(" the tensor has another shape than %zu x %zu", f->node->rows, f->node->cols);
    else
        printf(" %10.2e %10.2e %10.2e  at [%zu, %zu]: %.9g, should be %.9g%s", f->error, f->sound, f->likely, f->row,
               f->col, f->got, f->want, f->bridged ? " (through recomputed tensors)" : "");
    putchar('\n');
    for (size_t i = 0; i < f->n_bugs; i++)
        printf("              explained by: %s (%s): %s\n", f->bugs[i]->name, f->bugs[i]->changes, f->bugs[i]->written);
    if (f->factor != 0)
        printf("              the number is %.9g\n", f->factor);
}

static void on_finding(void *context, const dm_finding *f)
{
    printer *p = context;

    if (f->verdict == DM_VERDICT_WRONG)
        cli_findings_bad(&p->f, f->step, f->op, f->node, f->n_bugs ? f->bugs[0]->name : NULL);
    if (f->verdict == DM_VERDICT_SOUND && !p->o->all)
        return;
    if (p->f.json)
        put_json(p, f);
    else
        put_line(p, f);
}

static void put_summary(cli_findings *f, const dm_check_counts *n, double seconds)
{
    static const char *const keys[] = {"sound", "suspicious", "wrong", "not_decidable", "not_checked"};

    if (f->json) {
        dm_json_close_value(&f->j);
        for (size_t i = 0; i <= DM_VERDICT_UNCHECKED; i++)
            dm_json_put_uint(&f->j, keys[i], n->verdicts[i]);
        dm_json_put_uint(&f->j, "bridged", n->bridged);
        dm_json_put_uint(&f->j, "bytes", n->bytes);
        return;
    }
    printf("%llu operations sound, %llu suspicious, %llu wrong, %llu not decidable, %llu not checked; %llu judged "
           "through recomputed tensors; %.1f MB in %.2f s\n",
           (unsigned long long)n->verdicts[0], (unsigned long long)n->verdicts[1], (unsigned long long)n->verdicts[2],
           (unsigned long long)n->verdicts[3], (unsigned long long)n->verdicts[4], (unsigned long long)n->bridged,
           (double)n->bytes / 1e6, seconds);
}

/* Buffers of tens of megabytes come and go with every operation: they are kept, not given back to the system each time,
 * which would have every page cleared again. */
static void keep_memory(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_MAX, 0);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

static dm_status check(cli_call *c, dm_error *err)
{
    const char *path = c->args.positional[0];
    const double start = cli_seconds();
    printer p = {.o = c->options};
    dm_check_counts counts = {0};
    dm_st *st = NULL;
    dm_manifest m = {0};

    keep_memory();
    dm_status s = dm_st_open(&st, path, err);
    if (s == DM_OK)
        s = dm_manifest_read(&m, st, path, err);
    if (s == DM_OK) {
        cli_findings_open(&p.f, c->common.json, "operations");
        s = dm_check_trace(st, &m, c->engine->e.pool, p.o->all, on_finding, &p, &counts, err);
    }
    if (s == DM_OK) {
        put_summary(&p.f, &counts, cli_seconds() - start);
        s = cli_findings_end(&p.f, "first wrong operation", "first_wrong", err);
    }
    bool any = false;
    for (int i = 0; i < DM_VERDICT_UNCHECKED; i++)
        any = any || counts.verdicts[i] > 0;
    if (s == DM_OK && !any)
        s = dm_fail(err, DM_ERR_INPUT, "%s: no operation has its output in it; nothing was judged", path);
    c->status = counts.verdicts[DM_VERDICT_WRONG] > 0;
    dm_manifest_close(&m);
    dm_st_close(&st);
    cli_findings_free(&p.f);
    return s;
}

int cli_check(int argc, char **argv)
{
    check_options o = {0};
    cli_call call = {.command = &command, .options = &o, .needs = CLI_ENGINE, .work = check};

    return cli_call_run(&call, argc, argv);
}
