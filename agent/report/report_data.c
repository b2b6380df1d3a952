/* results.json, checked, in memory. */
#include <math.h> /* NAN only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/report/report_internal.h"
#include "core/file.h"

#define TASKS_MAX 10000000
#define REWARD_MAX 1000000

/* ---- members ---- */

/* NULL in *out: absent or null. */
static dm_status optional_string(dm_report *r, const dm_json *v, const char *key, const char **out, dm_error *err)
{
    const dm_json *x = dm_json_get(v, key);

    *out = NULL;
    if (!x || x->type == DM_JSON_NULL)
        return DM_OK;
    if (x->type != DM_JSON_STRING)
        return dm_json_fail(r->doc, x, err, "\"%s\" must be a string or null", key);
    *out = x->text;
    return DM_OK;
}

static dm_status get_string(dm_report *r, const dm_json *v, const char *key, const char **out, dm_error *err)
{
    const dm_status s = optional_string(r, v, key, out, err);
    if (s == DM_OK && !*out)
        return dm_json_fail(r->doc, v, err, "\"%s\" is missing; it must be a string", key);
    return s;
}

static dm_status get_number(dm_report *r, const dm_json *v, const char *key, double *out, dm_error *err)
{
    const double none = NAN;
    return dm_json_get_double(r->doc, v, key, -1e300, 1e300, &none, out, err);
}

static dm_status get_doubles(dm_report *r, const dm_json *v, const char *key, const double **out, size_t *n,
                             dm_error *err)
{
    const dm_json *list = dm_json_get(v, key);

    if (!list || list->type != DM_JSON_ARRAY || list->length == 0 || list->length > TASKS_MAX)
        return dm_json_fail(r->doc, list ? list : v, err, "\"%s\" must be a list of numbers, not empty", key);
    double *x = dm_report_alloc(r, list->length, sizeof *x);
    if (!x)
        return dm_report_no_memory(err);
    *n = 0;
    for (const dm_json *e = list->child; e; e = e->next) {
        if (e->type != DM_JSON_NUMBER || e->number < -REWARD_MAX || e->number > REWARD_MAX)
            return dm_json_fail(r->doc, e, err, "\"%s\" must hold numbers from -%d to %d only", key, REWARD_MAX,
                                REWARD_MAX);
        x[(*n)++] = e->number;
    }
    *out = x;
    return DM_OK;
}

static dm_status get_x(dm_report *r, const dm_json *v, dm_report_subject *of, dm_error *err)
{
    const dm_json *x = dm_json_get(v, "x"), *value;
    char number[DM_DOUBLE_TEXT];

    of->number = NAN;
    if (!x || x->type == DM_JSON_NULL)
        return DM_OK;
    if (x->type != DM_JSON_OBJECT || !(value = x->child) || value->next)
        return dm_json_fail(r->doc, x, err, "\"x\" must be null or an object with one member");
    of->sweep = value->key;
    switch (value->type) {
    case DM_JSON_NUMBER:
        of->number = value->number;
        dm_double_text(number, value->number);
        of->x = dm_report_copy(r, number);
        break;
    case DM_JSON_STRING:
        of->x = value->text;
        break;
    case DM_JSON_BOOL:
        of->x = value->boolean ? "on" : "off";
        break;
    default:
        return dm_json_fail(r->doc, value, err, "the value of \"x\" must be a number, a string, true or false");
    }
    return of->x ? DM_OK : dm_report_no_memory(err);
}

static dm_status get_subject(dm_report *r, const dm_json *v, dm_report_subject *of, dm_error *err)
{
    int64_t seed = 0;
    dm_status s;

    if (v->type != DM_JSON_OBJECT)
        return dm_json_fail(r->doc, v, err, "a row must be an object");
    if ((s = get_string(r, v, "env", &of->env, err)) != DM_OK ||
        (s = get_string(r, v, "method", &of->method, err)) != DM_OK ||
        (s = get_string(r, v, "kind", &of->kind, err)) != DM_OK ||
        (s = optional_string(r, v, "setting", &of->setting, err)) != DM_OK ||
        (s = dm_json_get_int(r->doc, v, "seed", 0, INT64_MAX, NULL, &seed, err)) != DM_OK)
        return s;
    of->seed = (uint64_t)seed;
    return get_x(r, v, of, err);
}

/* ---- rows ---- */

static dm_status read_stage(dm_report *r, const dm_json *v, void *row, dm_error *err)
{
    dm_report_stage *x = row;
    dm_status s;

    if ((s = get_string(r, v, "name", &x->name, err)) != DM_OK ||
        (s = get_string(r, v, "key", &x->key, err)) != DM_OK ||
        (s = get_string(r, v, "command", &x->command, err)) != DM_OK ||
        (s = get_string(r, v, "output", &x->output, err)) != DM_OK ||
        (s = get_number(r, v, "seconds", &x->seconds, err)) != DM_OK)
        return s;
    return dm_json_get_bool(r->doc, v, "reused", &(bool){false}, &x->reused, err);
}

static dm_status read_eval(dm_report *r, const dm_json *v, void *row, dm_error *err)
{
    dm_report_eval *x = row;
    const char *split;
    size_t turns, k = 0;
    dm_status s;

    if ((s = get_subject(r, v, &x->of, err)) != DM_OK || (s = get_string(r, v, "split", &split, err)) != DM_OK ||
        (s = get_doubles(r, v, "rewards", &x->reward, &x->tasks, err)) != DM_OK ||
        (s = get_doubles(r, v, "reward_by_turn", &x->by_turn, &turns, err)) != DM_OK ||
        (s = dm_json_get_double(r->doc, v, "success", 0, 1, NULL, &x->success, err)) != DM_OK ||
        (s = dm_json_get_double(r->doc, v, "turns", 0, 1e9, NULL, &x->turns, err)) != DM_OK ||
        (s = dm_json_get_int(r->doc, v, "samples", 1, INT64_MAX, &(int64_t){1}, &x->samples, err)) != DM_OK)
        return s;
    while (k < DM_ENV_SPLITS && strcmp(split, dm_env_split_names[k]) != 0)
        k++;
    if (k == DM_ENV_SPLITS)
        return dm_json_fail(r->doc, dm_json_get(v, "split"), err, "\"split\" must be train, seen or unseen");
    x->split = (dm_env_split)k;
    x->turn_limit = turns - 1;
    r->has_split[k] = true;
    return optional_string(r, v, "model_sha256", &x->model, err);
}

static dm_status read_training(dm_report *r, const dm_json *v, void *row, dm_error *err)
{
    dm_report_training *x = row;
    dm_status s;

    if ((s = get_subject(r, v, &x->of, err)) != DM_OK || (s = get_string(r, v, "stage", &x->stage, err)) != DM_OK ||
        (s = get_string(r, v, "metrics", &x->metrics, err)) != DM_OK ||
        (s = optional_string(r, v, "weights_sha256", &x->weights, err)) != DM_OK ||
        (s = get_number(r, v, "seconds", &x->seconds, err)) != DM_OK)
        return s;
    return dm_report_read_metrics(r, x, err);
}

/* statistics.NAME.mean */
static dm_status get_mean(dm_report *r, const dm_json *statistics, const char *name, double *out, dm_error *err)
{
    const dm_json *v = dm_json_get(statistics, name);
    if (v && v->type == DM_JSON_OBJECT)
        return get_number(r, v, "mean", out, err);
    *out = NAN;
    return DM_OK;
}

static dm_status read_pairs(dm_report *r, const dm_json *v, void *row, dm_error *err)
{
    dm_report_pairs *x = row;
    const dm_json *t = dm_json_get(v, "statistics"), *dropped = dm_json_get(t, "dropped");
    dm_status s;

    if ((s = get_subject(r, v, &x->of, err)) != DM_OK || (s = get_string(r, v, "file", &x->file, err)) != DM_OK ||
        (s = get_number(r, v, "pairs", &x->pairs, err)) != DM_OK ||
        (s = get_mean(r, t, "chosen_turns", &x->chosen_turns, err)) != DM_OK ||
        (s = get_mean(r, t, "rejected_turns", &x->rejected_turns, err)) != DM_OK ||
        (s = get_mean(r, t, "shared_turns", &x->shared_turns, err)) != DM_OK)
        return s;
    x->chosen_reward = x->rejected_reward = x->dropped = NAN;
    if (!t || t->type != DM_JSON_OBJECT)
        return DM_OK;
    if (dropped && dropped->type == DM_JSON_OBJECT) {
        x->dropped = 0;
        for (const dm_json *d = dropped->child; d; d = d->next)
            x->dropped += d->type == DM_JSON_NUMBER ? d->number : 0;
    }
    if ((s = get_number(r, t, "chosen_reward", &x->chosen_reward, err)) != DM_OK)
        return s;
    return get_number(r, t, "rejected_reward", &x->rejected_reward, err);
}

static dm_status read_example(dm_report *r, const dm_json *v, void *row, dm_error *err)
{
    dm_report_example *x = row;
    dm_status s;

    if ((s = get_subject(r, v, &x->of, err)) != DM_OK || (s = get_string(r, v, "scores", &x->scores, err)) != DM_OK ||
        (s = get_string(r, v, "pairs", &x->file, err)) != DM_OK)
        return s;
    return dm_report_read_example(r, x, err);
}

/* A list of rows of `size` bytes each; absent: no rows. */
static dm_status read_rows(dm_report *r, const char *key, void *rows, size_t *n, size_t size,
                           dm_status (*read)(dm_report *, const dm_json *, void *, dm_error *), dm_error *err)
{
    const dm_json *list = dm_json_get(dm_json_root(r->doc), key);
    char *row;

    *n = 0;
    if (!list || list->type == DM_JSON_NULL)
        return DM_OK;
    if (list->type != DM_JSON_ARRAY)
        return dm_json_fail(r->doc, list, err, "\"%s\" must be a list", key);
    if (!(row = dm_report_alloc(r, list->length, size)))
        return dm_report_no_memory(err);
    memcpy(rows, &row, sizeof row); /* a pointer to rows of any kind */
    for (const dm_json *v = list->child; v; v = v->next) {
        const dm_status s = read(r, v, row + (*n)++ * size, err);
        if (s != DM_OK)
            return s;
    }
    return DM_OK;
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

static dm_status read_head(dm_report *r, size_t size, dm_error *err)
{
    const dm_json *root = dm_json_root(r->doc);
    dm_status s;

    if (root->type != DM_JSON_OBJECT)
        return dm_json_fail(r->doc, root, err, "results must be an object, as dmpo experiment writes it");
    if ((s = get_string(r, root, "name", &r->name, err)) != DM_OK ||
        (s = optional_string(r, root, "title", &r->title, err)) != DM_OK ||
        (s = optional_string(r, root, "version", &r->version, err)) != DM_OK ||
        (s = optional_string(r, root, "isa", &r->isa, err)) != DM_OK ||
        (s = optional_string(r, root, "recipe_sha256", &r->recipe_sha256, err)) != DM_OK ||
        (s = dm_json_get_int(r->doc, root, "threads", 0, INT64_MAX, &(int64_t){0}, &r->threads, err)) != DM_OK ||
        (s = dm_json_get_int(r->doc, root, "jobs", 0, INT64_MAX, &(int64_t){0}, &r->jobs, err)) != DM_OK ||
        (s = get_number(r, root, "seconds", &r->seconds, err)) != DM_OK)
        return s;
    r->title = r->title ? r->title : r->name;
    r->recipe = dm_json_get(root, "recipe");
    if (r->recipe && r->recipe->type != DM_JSON_OBJECT)
        return dm_json_fail(r->doc, r->recipe, err, "\"recipe\" must be an object");
    if (r->recipe)
        find_text(r, size, r->recipe);
    return DM_OK;
}

static dm_status read_all(dm_report *r, size_t size, dm_error *err)
{
    dm_status s;

    if ((s = read_head(r, size, err)) != DM_OK ||
        (s = read_rows(r, "stages", &r->stage, &r->stages, sizeof *r->stage, read_stage, err)) != DM_OK ||
        (s = read_rows(r, "evaluations", &r->eval, &r->evals, sizeof *r->eval, read_eval, err)) != DM_OK ||
        (s = read_rows(r, "trainings", &r->training, &r->trainings, sizeof *r->training, read_training, err)) !=
            DM_OK ||
        (s = read_rows(r, "pairs", &r->pairs, &r->pairs_made, sizeof *r->pairs, read_pairs, err)) != DM_OK ||
        (s = read_rows(r, "examples", &r->example, &r->examples, sizeof *r->example, read_example, err)) != DM_OK)
        return s;
    return dm_report_statistics(r, err);
}

dm_status dm_report_read(dm_report *r, const char *dir, dm_error *err)
{
    char path[4096];
    size_t size = 0;

    *r = (dm_report){.dir = dir};
    dm_status s = dm_path_join(path, sizeof path, dir, "results.json", err);
    if (s == DM_OK && dm_dir_exists(dir) && !dm_file_exists(path))
        s = dm_fail(err, DM_ERR_FILE, "%s: there is none; dmpo experiment RECIPE --output %s makes it", path, dir);
    if (s == DM_OK && (s = dm_file_read(path, DM_JSON_BYTES, &r->text, &size, err)) == DM_OK &&
        (s = dm_json_parse(&r->doc, r->text, size, path, err)) == DM_OK)
        s = read_all(r, size, err);
    if (s != DM_OK)
        dm_report_close(r);
    return s;
}

void dm_report_close(dm_report *r)
{
    dm_json_close(&r->doc);
    free(r->text);
    dm_block_free(&r->blocks);
    *r = (dm_report){0};
}
