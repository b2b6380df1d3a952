/* The end of a report: how to repeat it, and what of it belongs to this machine. */
#include <math.h> /* isnan only */
#include <string.h>

#include "agent/experiment/recipe.h"
#include "agent/report/report_doc.h"

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

/* Into the report's memory, as a code block. */
static void add_code(dm_report_doc *d, dm_text *t)
{
    char *copy = dm_report_alloc(d->r, t->size + 1, 1);

    if (t->failed && d->r->status == DM_OK)
        d->r->status = dm_fail(d->r->err, DM_ERR_MEMORY, "no memory for the report");
    if (copy && t->size)
        dm_report_doc_code(d, memcpy(copy, t->data, t->size), t->size, "sh");
    dm_text_free(t);
}

static bool seeds_of_recipe(const dm_report *r)
{
    const dm_json *list = dm_json_get(r->recipe, "seeds"), *v = list ? list->child : NULL;
    uint64_t seed[DM_RECIPE_SEEDS_MAX];
    size_t n = 0;

    if (list && list->type == DM_JSON_STRING)
        return dm_recipe_parse_seeds(list->text, "", seed, &n, NULL) == DM_OK && n == r->seeds &&
               memcmp(seed, r->seed, n * sizeof *seed) == 0;
    if (!list)
        return r->seeds == 1 && r->seed[0] == 1;
    for (size_t i = 0; i < r->seeds; i++, v = v->next)
        if (!v || !v->is_integer || (uint64_t)v->integer != r->seed[i])
            return false;
    return v == NULL;
}

/* A page of Markdown with more rows than these is more than anyone reads. */
#define MARKDOWN_ROWS 60

static void add_weights(dm_report_doc *d)
{
    static const dm_report_column column[] = {{"environment", false, NULL},
                                              {"setting", false, NULL},
                                              {"method", false, NULL},
                                              {"seed", true, NULL},
                                              {"SHA-256", false, NULL}};
    dm_report *r = d->r;
    size_t n = 0;

    d->forms = r->trainings > MARKDOWN_ROWS ? DM_REPORT_HTML : DM_REPORT_BOTH;
    for (size_t i = 0; i < r->trainings; i++) {
        const dm_report_training *t = &r->training[i];
        if (!t->weights)
            continue;
        if (n++ == 0) {
            dm_report_doc_add(d, DM_REPORT_DETAILS_LONG, "Hashes of the weights");
            dm_report_doc_table(d, "SHA-256 of each training\xE2\x80\x99s weights", column, 5);
        }
        dm_report_doc_add(d, DM_REPORT_ROW, NULL);
        dm_report_doc_cell(d, DM_REPORT_CELL_HEAD, t->of.env);
        dm_report_doc_cell(d, 0, t->of.setting ? t->of.setting : "");
        dm_report_doc_cell(d, 0, t->of.label);
        dm_report_doc_cell(d, DM_REPORT_CELL_NUMBER, dm_report_format(r, "%llu", (unsigned long long)t->of.seed));
        dm_report_doc_cell(d, DM_REPORT_CELL_CODE, t->weights);
    }
    if (n)
        dm_report_doc_add(d, DM_REPORT_DETAILS_END, NULL);
    d->forms = DM_REPORT_BOTH;
}

static void add_stages(dm_report_doc *d)
{
    const dm_report *r = d->r;
    dm_text t = {0};

    if (r->stages == 0)
        return;
    if (r->stages > MARKDOWN_ROWS) {
        d->forms = DM_REPORT_MARKDOWN;
        dm_report_doc_paragraph(d, "The commands of the %zu stages%s are in report.html; ", r->stages,
                                r->trainings > MARKDOWN_ROWS ? " and the hashes of their weights" : "");
        dm_report_doc_add(d, DM_REPORT_TEXT_CODE, "dmpo experiment recipe.json --output DIR --plan");
        dm_report_doc_print(d, " prints the commands.");
        d->forms = DM_REPORT_HTML;
    }
    for (size_t i = 0; i < r->stages; i++)
        add_command(&t, &r->stage[i]);
    dm_report_doc_add(d, DM_REPORT_DETAILS_LONG, "The commands of the stages");
    add_code(d, &t);
    dm_report_doc_add(d, DM_REPORT_DETAILS_END, NULL);
    d->forms = DM_REPORT_BOTH;
}

void dm_report_repeat_section(dm_report_doc *d)
{
    const dm_report *r = d->r;
    dm_text t = {0};

    dm_report_doc_heading(d, 2, "How to repeat it");
    dm_report_doc_paragraph(d, "With the recipe below as recipe.json%s%s", r->version ? " and dmpo " : "",
                            r->version ? r->version : "");
    dm_report_doc_print(d,
                        ", on any machine, every digit of this report but those of the last section comes out again:");
    dm_text_print(&t, "dmpo experiment recipe.json --output DIR");
    for (size_t i = 0; i < r->seeds && !seeds_of_recipe(r); i++)
        dm_text_print(&t, "%s%llu", i ? "," : " --seeds ", (unsigned long long)r->seed[i]);
    add_code(d, &t);
    if (r->recipe_sha256) {
        dm_report_doc_paragraph(d, "SHA-256 of the recipe: ");
        dm_report_doc_add(d, DM_REPORT_TEXT_CODE, r->recipe_sha256);
        dm_report_doc_print(d, ".");
    }
    if (r->recipe_text) {
        dm_report_doc_add(d, DM_REPORT_DETAILS, "The recipe");
        dm_report_doc_code(d, r->recipe_text, r->recipe_size, "json");
        dm_report_doc_add(d, DM_REPORT_DETAILS_END, NULL);
    }
    add_weights(d);
    add_stages(d);
}

/* ---- this run ---- */

static const char *elapsed(dm_report *r, double seconds)
{
    const long s = seconds < 1e9 ? (long)seconds : 0;
    return seconds < 60 ? dm_report_format(r, "%.1f s", seconds)
           : s < 3600   ? dm_report_format(r, "%ld min %02ld s", s / 60, s % 60)
                        : dm_report_format(r, "%ld h %02ld min", s / 3600, s / 60 % 60);
}

/* "train", "tokenizer train": what comes before the first option. */
static const char *command_name(dm_report *r, const char *command)
{
    const char *p = strncmp(command, "dmpo ", 5) == 0 ? command + 5 : command, *end = strstr(p, " -");
    return dm_report_format(r, "%.*s", end ? (int)(end - p) : 47, p);
}

#define COMMANDS 16

typedef struct command_times {
    const char *name;
    double seconds, longest;
    size_t stages;
} command_times;

/* Returns how many of the commands there are. */
static size_t sum_times(dm_report *r, command_times sum[COMMANDS])
{
    size_t n = 0;

    for (size_t i = 0; i < r->stages; i++) {
        const double seconds = isnan(r->stage[i].seconds) ? 0 : r->stage[i].seconds;
        const char *name = command_name(r, r->stage[i].command);
        size_t k = 0;
        while (k < n && strcmp(sum[k].name, name) != 0)
            k++;
        if (k == COMMANDS)
            continue;
        if (k == n)
            sum[n++] = (command_times){.name = name};
        sum[k].stages++;
        sum[k].seconds += seconds;
        sum[k].longest = seconds > sum[k].longest ? seconds : sum[k].longest;
    }
    return n;
}

void dm_report_run_section(dm_report_doc *d)
{
    static const dm_report_column column[] = {
        {"command", false, NULL}, {"stages", true, NULL}, {"seconds, sum", true, NULL}, {"longest", true, NULL}};
    dm_report *r = d->r;
    command_times sum[COMMANDS];
    const size_t commands = sum_times(r, sum);
    size_t reused = 0;

    for (size_t i = 0; i < r->stages; i++)
        reused += r->stage[i].reused;
    dm_report_doc_heading(d, 2, "This run");
    dm_report_doc_paragraph(d, "What differs from machine to machine and from run to run. ");
    if (!isnan(r->seconds)) {
        dm_report_doc_print(d, "The last call took %s", elapsed(r, r->seconds));
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
    if (!commands)
        return;
    dm_report_doc_table(d, "Wall time of the stages, each when it ran", column, 4);
    for (size_t k = 0; k < commands; k++) {
        dm_report_doc_add(d, DM_REPORT_ROW, NULL);
        dm_report_doc_cell(d, DM_REPORT_CELL_HEAD, sum[k].name);
        dm_report_doc_number(d, 0, (double)sum[k].stages, 0, false);
        dm_report_doc_number(d, 0, sum[k].seconds, 1, false);
        dm_report_doc_number(d, 0, sum[k].longest, 1, false);
    }
}
