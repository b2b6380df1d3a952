/* results.json, checked, in memory. */
#include <math.h> /* NAN only */
#include <stdlib.h>
#include <string.h>

#include "agent/report/report_data.h"
#include "core/files/file.h"
#include "core/files/path.h"

#define TASKS_MAX 10000000
#define REWARD_MAX 1000000

/* ---- members: nothing is read once the report has failed ---- */

#define FAIL(r, v, ...) ((r)->status = dm_json_fail((r)->doc, v, (r)->err, __VA_ARGS__))

/* NULL: absent or null. */
static const char *get_optional(dm_report *r, const dm_json *v, const char *key)
{
    const dm_json *x = dm_json_get(v, key);

    if (r->status != DM_OK || !x || x->type == DM_JSON_NULL)
        return NULL;
    if (x->type != DM_JSON_STRING)
        FAIL(r, x, "\"%s\" must be a string or null", key);
    return x->text;
}

static const char *get_string(dm_report *r, const dm_json *v, const char *key)
{
    const char *text = get_optional(r, v, key);
    if (r->status == DM_OK && !text)
        FAIL(r, v, "\"%s\" is missing; it must be a string", key);
    if (r->status == DM_OK && !*text)
        FAIL(r, dm_json_get(v, key), "\"%s\" is empty", key);
    return text;
}

/* A file of a stage: below stages/, and nowhere else. */
static const char *get_place(dm_report *r, const dm_json *v, const char *key)
{
    const char *text = get_string(r, v, key);
    if (r->status == DM_OK && !dm_report_is_stages(text))
        FAIL(r, dm_json_get(v, key), "\"%s\" must be a path that begins with stages/, without ..", key);
    return text;
}

/* absent NULL: the member must be there. */
static double get_double(dm_report *r, const dm_json *v, const char *key, double low, double high, const double *absent)
{
    double x = NAN;
    if (r->status == DM_OK)
        r->status = dm_json_get_double(r->doc, v, key, low, high, absent, &x, r->err);
    return x;
}

static double get_number(dm_report *r, const dm_json *v, const char *key)
{
    return get_double(r, v, key, -1e300, 1e300, &(double){NAN});
}

/* null: NaN */
static double get_or_null(dm_report *r, const dm_json *v, const char *key)
{
    const dm_json *x = dm_json_get(v, key);
    return x && x->type == DM_JSON_NULL ? NAN : get_number(r, v, key);
}

static int64_t get_int(dm_report *r, const dm_json *v, const char *key, int64_t low, const int64_t *absent)
{
    int64_t x = 0;
    if (r->status == DM_OK)
        r->status = dm_json_get_int(r->doc, v, key, low, INT64_MAX, absent, &x, r->err);
    return x;
}

static const double *get_doubles(dm_report *r, const dm_json *v, const char *key, size_t *n)
{
    const dm_json *list = dm_json_get(v, key);

    *n = 0;
    if (r->status == DM_OK && (!list || list->type != DM_JSON_ARRAY || list->length == 0 || list->length > TASKS_MAX))
        FAIL(r, list ? list : v, "\"%s\" must be a list of numbers, not empty", key);
    double *x = r->status == DM_OK ? dm_report_alloc(r, list->length, sizeof *x) : NULL;
    for (const dm_json *e = x ? list->child : NULL; e; e = e->next) {
        if (e->type != DM_JSON_NUMBER || e->number < -REWARD_MAX || e->number > REWARD_MAX) {
            FAIL(r, e, "\"%s\" must hold numbers from -%d to %d only", key, REWARD_MAX, REWARD_MAX);
            break;
        }
        x[(*n)++] = e->number;
    }
    return x;
}

/* A value of an option, as text. */
static const char *value_text(dm_report *r, const dm_json *value)
{
    char number[DM_DOUBLE_TEXT];

    switch (value->type) {
    case DM_JSON_NUMBER:
        dm_double_text(number, value->number);
        return dm_report_format(r, "%s", number);
    case DM_JSON_STRING:
        return value->text;
    case DM_JSON_BOOL:
        return value->boolean ? "on" : "off";
    default:
        FAIL(r, value, "a value must be a number, a string, true or false");
        return "";
    }
}

static void read_x(dm_report *r, const dm_json *v, dm_report_subject *of)
{
    const dm_json *x = dm_json_get(v, "x"), *value;

    of->number = NAN;
    if (r->status != DM_OK || !x || x->type == DM_JSON_NULL)
        return;
    if (x->type != DM_JSON_OBJECT || !(value = x->child) || value->next) {
        FAIL(r, x, "\"x\" must be null or an object with one member");
        return;
    }
    of->sweep = value->key;
    of->x = value_text(r, value);
    if (value->type == DM_JSON_NUMBER)
        of->number = value->number;
}

/* Without a seed. */
static void read_cell(dm_report *r, const dm_json *v, dm_report_subject *of)
{
    if (r->status == DM_OK && v->type != DM_JSON_OBJECT)
        FAIL(r, v, "a row must be an object");
    of->env = get_string(r, v, "env");
    of->method = get_string(r, v, "method");
    of->kind = get_string(r, v, "kind");
    of->setting = get_optional(r, v, "setting");
    read_x(r, v, of);
    of->label = of->sweep ? dm_report_format(r, "%s, %s %s", of->method, of->sweep, of->x) : of->method;
}

static void read_subject(dm_report *r, const dm_json *v, dm_report_subject *of)
{
    read_cell(r, v, of);
    of->seed = (uint64_t)get_int(r, v, "seed", 0, NULL);
}

/* ---- rows ---- */

static void read_stage(dm_report *r, const dm_json *v, void *row)
{
    static const bool absent = false;
    dm_report_stage *x = row;

    get_string(r, v, "name");
    get_string(r, v, "key");
    x->command = get_string(r, v, "command");
    x->output = get_string(r, v, "output");
    x->seconds = get_number(r, v, "seconds");
    if (r->status == DM_OK)
        r->status = dm_json_get_bool(r->doc, v, "reused", &absent, &x->reused, r->err);
}

static void read_eval(dm_report *r, const dm_json *v, void *row)
{
    dm_report_eval *x = row;
    size_t turns, k = 0;

    read_subject(r, v, &x->of);
    const char *split = get_string(r, v, "split");
    x->reward = get_doubles(r, v, "rewards", &x->tasks);
    x->by_turn = get_doubles(r, v, "reward_by_turn", &turns);
    x->success = get_double(r, v, "success", 0, 1, NULL);
    x->turns = get_double(r, v, "turns", 0, 1e9, NULL);
    x->samples = get_int(r, v, "samples", 1, &(int64_t){1});
    if (r->status != DM_OK)
        return;
    while (k < DM_ENV_SPLITS && strcmp(split, dm_env_split_names[k]) != 0)
        k++;
    if (k == DM_ENV_SPLITS)
        FAIL(r, dm_json_get(v, "split"), "\"split\" must be train, seen or unseen");
    x->split = (dm_env_split)k;
    x->turn_limit = turns - 1;
}

static void read_training(dm_report *r, const dm_json *v, void *row)
{
    dm_report_training *x = row;

    read_subject(r, v, &x->of);
    get_string(r, v, "stage");
    x->metrics = get_place(r, v, "metrics");
    x->weights = get_optional(r, v, "weights_sha256");
    dm_report_read_metrics(r, x);
}

/* statistics.NAME.mean */
static double get_mean(dm_report *r, const dm_json *statistics, const char *name)
{
    const dm_json *v = dm_json_get(statistics, name);
    return v && v->type == DM_JSON_OBJECT ? get_number(r, v, "mean") : NAN;
}

static void read_pairs(dm_report *r, const dm_json *v, void *row)
{
    dm_report_pairs *x = row;
    const dm_json *t = dm_json_get(v, "statistics"), *dropped = dm_json_get(t, "dropped");

    read_subject(r, v, &x->of);
    get_string(r, v, "file");
    x->pairs = get_number(r, v, "pairs");
    x->chosen_turns = get_mean(r, t, "chosen_turns");
    x->rejected_turns = get_mean(r, t, "rejected_turns");
    x->shared_turns = get_mean(r, t, "shared_turns");
    x->chosen_reward = x->rejected_reward = x->dropped = NAN;
    if (!t || t->type != DM_JSON_OBJECT)
        return;
    if (dropped && dropped->type == DM_JSON_OBJECT) {
        x->dropped = 0;
        for (const dm_json *d = dropped->child; d; d = d->next)
            x->dropped += d->type == DM_JSON_NUMBER ? d->number : 0;
    }
    x->chosen_reward = get_number(r, t, "chosen_reward");
    x->rejected_reward = get_number(r, t, "rejected_reward");
}

static void read_example(dm_report *r, const dm_json *v, void *row)
{
    dm_report_example *x = row;

    read_subject(r, v, &x->of);
    x->scores = get_place(r, v, "scores");
    x->file = get_string(r, v, "pairs"); /* a stage's, or the recipe's data */
    if (r->status == DM_OK && strncmp(x->file, "stages/", 7) == 0 && !dm_report_is_stages(x->file))
        FAIL(r, dm_json_get(v, "pairs"), "\"pairs\" must not lead out of stages/");
    dm_report_read_example(r, x);
}

static void read_question(dm_report *r, const dm_json *v, void *row)
{
    dm_report_question *x = row;
    char number[DM_DOUBLE_TEXT];

    x->ask = get_string(r, v, "ask");
    x->env = get_string(r, v, "env");
    x->answer = get_string(r, v, "answer");
    x->setting = get_optional(r, v, "setting");
    x->against_setting = get_optional(r, v, "against_setting");
    x->n = (size_t)get_int(r, v, "n", 0, NULL);
    x->needed = (size_t)get_int(r, v, "needed", 0, &(int64_t){0});
    x->difference = get_or_null(r, v, "difference");
    x->wide = get_or_null(r, v, "corrected_half");
    x->p = get_or_null(r, v, "p_holm");
    x->power = get_or_null(r, v, "power");
    dm_double_text(number, get_number(r, v, "sought"));
    x->sought_text = dm_report_format(r, "for %s", number);
}

static void read_trial(dm_report *r, const dm_json *v, void *row)
{
    dm_report_trial *x = row;
    const dm_json *values = dm_json_get(v, "values");

    read_cell(r, v, &x->of);
    get_doubles(r, v, "rewards", &x->seeds);
    x->reward = get_number(r, v, "reward");
    if (r->status == DM_OK)
        r->status = dm_json_get_bool(r->doc, v, "chosen", NULL, &x->chosen, r->err);
    x->values = "";
    for (const dm_json *i = values && values->type == DM_JSON_OBJECT ? values->child : NULL; i && r->status == DM_OK;
         i = i->next)
        x->values = dm_report_format(r, "%s%s%s %s", x->values, *x->values ? ", " : "", i->key, value_text(r, i));
}

/* The rows of a list, `size` bytes each; absent: none. */
static void *read_rows(dm_report *r, const char *key, size_t *n, size_t size,
                       void (*read)(dm_report *, const dm_json *, void *))
{
    const dm_json *list = dm_json_get(dm_json_root(r->doc), key);

    *n = 0;
    if (r->status != DM_OK || !list || list->type == DM_JSON_NULL)
        return NULL;
    if (list->type != DM_JSON_ARRAY) {
        FAIL(r, list, "\"%s\" must be a list", key);
        return NULL;
    }
    char *rows = dm_report_alloc(r, list->length, size);
    for (const dm_json *v = list->child; v && r->status == DM_OK; v = v->next)
        read(r, v, rows + (*n)++ * size);
    return rows;
}

/* ---- the recipe ---- */

/* The bytes of an object of the file. */
static void find_text(dm_report *r, size_t size, const dm_json *v)
{
    const char *p = r->text, *end = r->text + size;
    size_t depth = 0;
    bool in_string = false;

    for (uint32_t line = 1; line < v->line && p < end; p++)
        line += *p == '\n';
    p += v->column - 1;
    r->recipe_text = p;
    for (; p < end; p++) {
        if (in_string) {
            in_string = *p != '"';
            p += *p == '\\'; /* and what it escapes */
        } else if (*p == '"') {
            in_string = true;
        } else if (*p == '{') {
            depth++;
        } else if (*p == '}' && --depth == 0) {
            p++;
            break;
        }
    }
    r->recipe_size = (size_t)(p - r->recipe_text);
}

static void read_head(dm_report *r, size_t size)
{
    const dm_json *root = dm_json_root(r->doc);

    if (root->type != DM_JSON_OBJECT)
        FAIL(r, root, "results must be an object, as dmpo experiment writes it");
    r->name = get_string(r, root, "name");
    r->title = get_optional(r, root, "title");
    r->title = r->title ? r->title : r->name;
    r->version = get_optional(r, root, "version");
    r->isa = get_optional(r, root, "isa");
    r->recipe_sha256 = get_optional(r, root, "recipe_sha256");
    r->threads = get_int(r, root, "threads", 0, &(int64_t){0});
    r->jobs = get_int(r, root, "jobs", 0, &(int64_t){0});
    r->seconds = get_number(r, root, "seconds");
    r->recipe = dm_json_get(root, "recipe");
    if (r->status == DM_OK && r->recipe && r->recipe->type != DM_JSON_OBJECT)
        FAIL(r, r->recipe, "\"recipe\" must be an object");
    if (r->status == DM_OK && r->recipe)
        find_text(r, size, r->recipe);
}

dm_status dm_report_read(dm_report *r, const char *dir, dm_error *err)
{
    dm_path path;
    size_t size = 0;

    *r = (dm_report){.dir = dir, .err = err};
    r->status = dm_path_in(&path, dir, "results.json", err);
    if (r->status == DM_OK && dm_dir_exists(dir) && !dm_file_exists(path.text))
        r->status =
            dm_fail(err, DM_ERR_FILE, "%s: no such file; dmpo experiment RECIPE --output %s writes it", path.text, dir);
    if (r->status == DM_OK && (r->status = dm_file_read(path.text, DM_JSON_BYTES, &r->text, &size, err)) == DM_OK)
        r->status = dm_json_parse(&r->doc, r->text, size, path.text, err);
    if (r->status != DM_OK)
        return r->status;
    read_head(r, size);
    r->stage = read_rows(r, "stages", &r->stages, sizeof *r->stage, read_stage);
    r->eval = read_rows(r, "evaluations", &r->evals, sizeof *r->eval, read_eval);
    r->training = read_rows(r, "trainings", &r->trainings, sizeof *r->training, read_training);
    r->pairs = read_rows(r, "pairs", &r->pairs_made, sizeof *r->pairs, read_pairs);
    r->example = read_rows(r, "examples", &r->examples, sizeof *r->example, read_example);
    r->question = read_rows(r, "questions", &r->questions, sizeof *r->question, read_question);
    r->trial = read_rows(r, "search", &r->trials, sizeof *r->trial, read_trial);
    dm_report_statistics(r);
    return r->status;
}

void dm_report_close(dm_report *r)
{
    dm_json_close(&r->doc);
    free(r->text);
    dm_block_free(&r->blocks);
    *r = (dm_report){0};
}
