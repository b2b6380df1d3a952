/* The end of a report: how to repeat it, and what of it was this machine's. */
#include <math.h> /* isnan only */
#include <stdio.h>
#include <string.h>

#include "agent/report/report_internal.h"

/* ---- how to repeat it ---- */

/* A command without the place where it ran: "$DIR/stages/...". */
static void add_command(dm_text *out, const dm_report_stage *s)
{
    const char *at = *s->output ? strstr(s->command, s->output) : NULL, *begin = at;

    while (begin && begin > s->command && begin[-1] != ' ')
        begin--;
    const bool quoted = at && memchr(s->command, '\'', (size_t)(at - s->command)); /* then it stays as it is */
    const size_t prefix = at && !quoted ? (size_t)(at - begin) : 0;                /* "runs/quick/" */
    for (const char *p = s->command; *p;) {
        const bool word = p == s->command || p[-1] == ' ';
        if (word && prefix && strncmp(p, begin, prefix) == 0) {
            dm_text_print(out, "$DIR/");
            p += prefix;
        } else {
            dm_text_add(out, p++, 1);
        }
    }
    dm_text_add(out, "\n", 1);
}

static bool seeds_of_recipe(const dm_report *r)
{
    const dm_json *list = dm_json_get(r->recipe, "seeds"), *v = list ? list->child : NULL;

    if (!list)
        return r->seeds == 1 && r->seed[0] == 1;
    for (size_t i = 0; i < r->seeds; i++, v = v->next)
        if (!v || !v->is_integer || (uint64_t)v->integer != r->seed[i])
            return false;
    return v == NULL;
}

/* More rows than these make a page of Markdown that nobody can read any more. */
#define MARKDOWN_ROWS 60

static void add_weights(const dm_report *r, dm_report_doc *d)
{
    static const dm_report_doc_column column[] = {{"environment", false, NULL},
                                                  {"setting", false, NULL},
                                                  {"method", false, NULL},
                                                  {"seed", true, NULL},
                                                  {"SHA-256", false, NULL}};
    size_t n = 0;

    for (size_t i = 0; i < r->trainings; i++) {
        const dm_report_training *t = &r->training[i];
        dm_text name = {0};
        char seed[32];
        if (!t->weights || (!d->html && r->trainings > MARKDOWN_ROWS))
            continue;
        if (n++ == 0) {
            dm_report_doc_details(d, "Hashes of the weights", false);
            dm_report_doc_table(d, "SHA-256 of each training\xE2\x80\x99s weights", column, 5);
        }
        dm_report_label(&t->of, &name);
        snprintf(seed, sizeof seed, "%llu", (unsigned long long)t->of.seed);
        dm_report_doc_row(d);
        dm_report_doc_cell(d, DM_CELL_HEAD, t->of.env);
        dm_report_doc_cell(d, 0, t->of.setting ? t->of.setting : "");
        dm_report_doc_cell(d, 0, name.data ? name.data : "");
        dm_report_doc_cell(d, DM_CELL_NUMBER, seed);
        dm_report_doc_cell(d, DM_CELL_CODE, t->weights);
        dm_report_doc_row_end(d);
        d->out->failed |= name.failed;
        dm_text_free(&name);
    }
    if (n) {
        dm_report_doc_table_end(d);
        dm_report_doc_details_end(d);
    }
}

void dm_report_repeat_section(const dm_report *r, dm_report_doc *d)
{
    dm_text t = {0};

    dm_report_doc_heading(d, 2, "How to repeat it");
    dm_report_doc_begin(d);
    dm_report_doc_print(d, "With the recipe below as recipe.json");
    if (r->version)
        dm_report_doc_print(d, " and dmpo %s", r->version);
    dm_report_doc_print(d,
                        ", on any machine, every digit of this report but those of the last section comes out again:");
    dm_report_doc_end(d);
    dm_text_print(&t, "dmpo experiment recipe.json --output DIR");
    for (size_t i = 0; i < r->seeds && !seeds_of_recipe(r); i++)
        dm_text_print(&t, "%s%llu", i ? "," : " --seeds ", (unsigned long long)r->seed[i]);
    if (!t.failed)
        dm_report_doc_block(d, t.data, t.size, "sh");
    d->out->failed |= t.failed;
    dm_text_free(&t);
    if (r->recipe_sha256) {
        dm_report_doc_begin(d);
        dm_report_doc_print(d, "SHA-256 of the recipe: ");
        dm_report_doc_code(d, r->recipe_sha256);
        dm_report_doc_print(d, ".");
        dm_report_doc_end(d);
    }
    if (r->recipe_text) {
        dm_report_doc_details(d, "The recipe", true);
        dm_report_doc_block(d, r->recipe_text, r->recipe_size, "json");
        dm_report_doc_details_end(d);
    }
    add_weights(r, d);
    if (r->stages && !d->html && r->stages > MARKDOWN_ROWS) {
        dm_report_doc_begin(d);
        dm_report_doc_print(d, "The commands of the %zu stages%s are in report.html; ", r->stages,
                            r->trainings > MARKDOWN_ROWS ? " and the hashes of their weights" : "");
        dm_report_doc_code(d, "dmpo experiment recipe.json --output DIR --plan");
        dm_report_doc_print(d, " prints the commands.");
        dm_report_doc_end(d);
    } else if (r->stages) {
        for (size_t i = 0; i < r->stages; i++)
            add_command(&t, &r->stage[i]);
        dm_report_doc_details(d, "The commands of the stages", false);
        dm_report_doc_block(d, t.data ? t.data : "", t.size, "sh");
        dm_report_doc_details_end(d);
        d->out->failed |= t.failed;
        dm_text_free(&t);
    }
}

/* ---- this run ---- */

static void elapsed(char out[DM_NUMBER], double seconds)
{
    const long s = seconds < 1e9 ? (long)seconds : 0;
    if (seconds < 60)
        snprintf(out, DM_NUMBER, "%.1f s", seconds);
    else if (s < 3600)
        snprintf(out, DM_NUMBER, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(out, DM_NUMBER, "%ld h %02ld min", s / 3600, s / 60 % 60);
}

/* "train", "tokenizer train": what stands in front of the first option. */
static size_t command_name(const char *command, char out[DM_NUMBER])
{
    const char *p = strncmp(command, "dmpo ", 5) == 0 ? command + 5 : command, *end = strstr(p, " -");
    size_t n = end ? (size_t)(end - p) : strlen(p);
    n = n < DM_NUMBER - 1 ? n : DM_NUMBER - 1;
    memcpy(out, p, n);
    out[n] = '\0';
    return n;
}

void dm_report_run_section(const dm_report *r, dm_report_doc *d)
{
    static const dm_report_doc_column column[] = {
        {"command", false, NULL}, {"stages", true, NULL}, {"seconds, sum", true, NULL}, {"longest", true, NULL}};
    char text[DM_NUMBER], kind[16][DM_NUMBER];
    struct {
        double seconds, longest;
        size_t n;
    } sum[16] = {{0, 0, 0}};
    size_t kinds = 0, reused = 0;

    dm_report_doc_heading(d, 2, "This run");
    for (size_t i = 0; i < r->stages; i++) {
        size_t k = 0;
        const double seconds = isnan(r->stage[i].seconds) ? 0 : r->stage[i].seconds;
        command_name(r->stage[i].command, text);
        while (k < kinds && strcmp(kind[k], text) != 0)
            k++;
        if (k == 16)
            continue;
        if (k == kinds)
            memcpy(kind[kinds++], text, sizeof text);
        sum[k].n++;
        sum[k].seconds += seconds;
        sum[k].longest = seconds > sum[k].longest ? seconds : sum[k].longest;
        reused += r->stage[i].reused;
    }
    dm_report_doc_begin(d);
    dm_report_doc_print(d, "What differs from machine to machine and from run to run. ");
    if (!isnan(r->seconds)) {
        elapsed(text, r->seconds);
        dm_report_doc_print(d, "The last call took %s", text);
        if (r->threads)
            dm_report_doc_print(d, " with %lld thread%s and %lld stage%s at once", (long long)r->threads,
                                dm_report_plural((size_t)r->threads), (long long)r->jobs,
                                dm_report_plural((size_t)r->jobs));
        if (r->isa)
            dm_report_doc_print(d, ", on %s", r->isa);
        dm_report_doc_print(d, ". ");
    }
    if (r->stages)
        dm_report_doc_print(d, "Of %zu stages %zu were done before it.", r->stages, reused);
    dm_report_doc_end(d);
    if (!kinds)
        return;
    dm_report_doc_table(d, "Wall time of the stages, each when it ran", column, 4);
    for (size_t k = 0; k < kinds; k++) {
        dm_report_doc_row(d);
        dm_report_doc_cell(d, DM_CELL_HEAD, kind[k]);
        snprintf(text, sizeof text, "%zu", sum[k].n);
        dm_report_doc_cell(d, DM_CELL_NUMBER, text);
        dm_report_doc_cell(d, DM_CELL_NUMBER, dm_report_number(text, sum[k].seconds, 1, false));
        dm_report_doc_cell(d, DM_CELL_NUMBER, dm_report_number(text, sum[k].longest, 1, false));
        dm_report_doc_row_end(d);
    }
    dm_report_doc_table_end(d);
}
