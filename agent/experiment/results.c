/* From the files that stages wrote to results.json. */
#include "agent/experiment/results.h"

#include <math.h> /* NAN only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/experiment/questions.h"
#include "agent/experiment/search.h"
#include "core/files/file.h"
#include "core/files/path.h"
#include "io/json_writer.h"

#define RESULT_MAX ((size_t)1 << 24) /* bytes of a small file of JSON */

/* ---- reading ---- */

static double *copy_of(size_t n)
{
    return malloc((n ? n : 1) * sizeof(double));
}

static dm_status take(dm_experiment_result *r, const dm_eval *e, const dm_episodes *episodes, dm_error *err)
{
    const bool best = r->of->of.method->kind->best_sample;

    r->tasks = e->tasks;
    r->samples = e->most;
    r->turn_limit = e->turn_limit;
    r->success = best ? 0 : e->success.mean;
    r->turns = e->turns;
    snprintf(r->model, sizeof r->model, "%s", episodes->episode[0].model ? episodes->episode[0].model : "");
    r->reward = copy_of(e->tasks);
    r->best = copy_of(e->tasks);
    r->by_turn = copy_of(e->turn_limit + 1);
    if (!r->reward || !r->best || !r->by_turn)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the results");
    for (size_t i = 0; i < e->tasks; i++) {
        r->best[i] = e->task[i].best;
        r->reward[i] = best ? e->task[i].best : e->task[i].reward;
        if (best)
            r->success += (e->task[i].best >= 1) / (double)e->tasks;
    }
    memcpy(r->by_turn, e->by_turn, (e->turn_limit + 1) * sizeof *r->by_turn);
    return DM_OK;
}

static dm_status read_one(dm_experiment_result *r, dm_experiment_plan *plan, dm_error *err)
{
    const char *path = dm_experiment_plan_path(plan, (dm_stage_source_ref){r->of->stage, "episodes.jsonl"});
    dm_episodes episodes = {0};
    dm_eval e = {0};

    dm_status s =
        path ? dm_episodes_read(&episodes, &path, 1, err) : dm_fail(err, DM_ERR_MEMORY, "no memory for the results");
    if (s == DM_OK && (s = dm_eval_make(&e, &episodes, err)) == DM_OK)
        s = take(r, &e, &episodes, err);
    dm_eval_free(&e);
    dm_episodes_close(&episodes);
    return s;
}

dm_status dm_experiment_results_read(dm_experiment_results *out, dm_experiment_plan *plan, dm_error *err)
{
    dm_status s = DM_OK;

    *out = (dm_experiment_results){0};
    out->result = calloc(plan->evaluations ? plan->evaluations : 1, sizeof *out->result);
    if (!out->result)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the results");
    for (size_t i = 0; i < plan->evaluations && s == DM_OK; i++)
        if (plan->stage[plan->evaluation[i].stage].state == DM_STAGE_DONE) {
            out->result[out->n].of = &plan->evaluation[i];
            s = read_one(&out->result[out->n++], plan, err);
        }
    if (s != DM_OK)
        dm_experiment_results_close(out);
    return s;
}

void dm_experiment_results_close(dm_experiment_results *r)
{
    for (size_t i = 0; r->result && i < r->n; i++) {
        free(r->result[i].reward);
        free(r->result[i].best);
        free(r->result[i].by_turn);
    }
    free(r->result);
    *r = (dm_experiment_results){0};
}

/* ---- writing ---- */

typedef struct writer {
    dm_json_writer json;
    dm_experiment_plan *plan;
    dm_error *err;
} writer;

static void put_doubles(writer *w, const char *key, const double *x, size_t n)
{
    dm_json_open_array(&w->json, key);
    for (size_t i = 0; i < n; i++)
        dm_json_put_double(&w->json, NULL, x[i]);
    dm_json_close_value(&w->json);
}

static void put_value(dm_json_writer *w, const char *key, const dm_json *v)
{
    if (v->type == DM_JSON_STRING)
        dm_json_put_bytes(w, key, v->text, v->length);
    else if (v->type == DM_JSON_BOOL)
        dm_json_put_bool(w, key, v->boolean);
    else if (v->is_integer)
        dm_json_put_int(w, key, v->integer);
    else
        dm_json_put_double(w, key, v->number);
}

/* {"gamma": 0.5}, or null */
static void put_x(writer *w, const char *key, const dm_recipe_method *m, const dm_json *x)
{
    if (!x) {
        dm_json_put_null(&w->json, key);
        return;
    }
    dm_json_open_object(&w->json, key);
    put_value(&w->json, m->sweep->key, x);
    dm_json_close_value(&w->json);
}

/* ---- rows, one a line ---- */

static void open_rows(writer *w, const char *key)
{
    dm_json_new_line(&w->json);
    dm_json_open_array(&w->json, key);
}

static void open_row(writer *w)
{
    dm_json_new_line(&w->json);
    dm_json_open_object(&w->json, NULL);
}

/* A subject without its seed. */
static void put_cell(writer *w, const dm_stage_subject *of)
{
    open_row(w);
    dm_json_put_string(&w->json, "env", of->env->name);
    dm_json_put_string(&w->json, "setting", of->setting ? of->setting->name : NULL);
    dm_json_put_string(&w->json, "method", of->method->name);
    dm_json_put_string(&w->json, "kind", of->method->kind->name);
    put_x(w, "x", of->method, of->x);
}

/* What every row of one seed begins with. */
static void put_subject(writer *w, const dm_stage_subject *of)
{
    put_cell(w, of);
    dm_json_put_uint(&w->json, "seed", of->seed);
}

/* Paths inside the output directory are relative to it. */
static void put_path(writer *w, const char *key, dm_stage_source_ref source)
{
    const char *path = dm_experiment_plan_path(w->plan, source);

    w->json.out->failed |= !path;
    dm_json_put_string(&w->json, key,
                       path && source.stage != DM_STAGE_NONE ? path + strlen(w->plan->output) + 1 : path);
}

/* A file that a stage left, as a document. */
static dm_status open_json(writer *w, size_t stage, const char *name, dm_json_doc **doc)
{
    const char *path = dm_experiment_plan_path(w->plan, (dm_stage_source_ref){stage, name});

    *doc = NULL;
    return path ? dm_json_read(doc, path, w->err) : dm_fail(w->err, DM_ERR_MEMORY, "no memory for the results");
}

static void add_stages(writer *w)
{
    open_rows(w, "stages");
    for (size_t i = 0; i < w->plan->stages; i++) {
        const dm_stage *s = &w->plan->stage[i];
        dm_text command = {0};
        if (s->state != DM_STAGE_DONE)
            continue;
        dm_experiment_plan_command(w->plan, s, &command);
        w->json.out->failed |= command.failed;
        open_row(w);
        dm_json_put_string(&w->json, "name", s->name);
        dm_json_put_string(&w->json, "key", s->key);
        dm_json_put_string(&w->json, "command", command.data);
        dm_json_put_double(&w->json, "seconds", s->seconds);
        dm_json_put_bool(&w->json, "reused", s->reused);
        put_path(w, "output", (dm_stage_source_ref){i, ""});
        dm_json_close_value(&w->json);
        dm_text_free(&command);
    }
    dm_json_close_value(&w->json);
}

/* "weights_sha256", from the training's run.json; null where the stage does not train. */
static dm_status add_weights(writer *w, size_t stage)
{
    dm_json_doc *run = NULL;

    const char *command = stage == DM_STAGE_NONE ? "" : w->plan->stage[stage].arg[0].text;

    if (strcmp(command, "train") == 0 || strcmp(command, "learn") == 0) {
        const dm_status s = open_json(w, stage, "run.json", &run);
        if (s != DM_OK)
            return s;
    }
    const dm_json *weights = run ? dm_json_get(dm_json_root(run), "weights_sha256") : NULL;
    dm_json_put_string(&w->json, "weights_sha256", weights && weights->type == DM_JSON_STRING ? weights->text : NULL);
    dm_json_close(&run);
    return DM_OK;
}

/* The stage that made the model which plays. */
static size_t player_of(const dm_experiment_plan *p, size_t rollout)
{
    const dm_stage *s = &p->stage[rollout];

    for (size_t i = 0; i < s->args; i++)
        if (s->arg[i].kind == DM_STAGE_ARG_INPUT)
            return s->arg[i].stage;
    return DM_STAGE_NONE;
}

static dm_status add_evaluations(writer *w, const dm_experiment_results *r)
{
    open_rows(w, "evaluations");
    for (size_t i = 0; i < r->n; i++) {
        const dm_experiment_result *x = &r->result[i];
        put_subject(w, &x->of->of);
        dm_json_put_string(&w->json, "split", dm_env_split_names[x->of->split]);
        dm_json_put_uint(&w->json, "samples", x->samples);
        put_doubles(w, "rewards", x->reward, x->tasks);
        if (x->samples > 1)
            put_doubles(w, "best", x->best, x->tasks);
        else
            dm_json_put_null(&w->json, "best");
        dm_json_put_double(&w->json, "success", x->success);
        dm_json_put_double(&w->json, "turns", x->turns);
        put_doubles(w, "reward_by_turn", x->by_turn, x->turn_limit + 1);
        put_path(w, "episodes", (dm_stage_source_ref){x->of->stage, "episodes.jsonl"});
        dm_json_put_string(&w->json, "model_sha256", x->model[0] ? x->model : NULL);
        const dm_status s = add_weights(w, player_of(w->plan, x->of->stage));
        if (s != DM_OK)
            return s;
        dm_json_close_value(&w->json);
    }
    dm_json_close_value(&w->json);
    return DM_OK;
}

static dm_status add_trainings(writer *w)
{
    const dm_experiment_plan *p = w->plan;

    open_rows(w, "trainings");
    for (size_t i = 0; i < p->trainings; i++) {
        const dm_experiment_training *t = &p->training[i];
        if (p->stage[t->stage].state != DM_STAGE_DONE)
            continue;
        put_subject(w, &t->of);
        dm_json_put_string(&w->json, "stage", p->stage[t->stage].name);
        put_path(w, "metrics", (dm_stage_source_ref){t->stage, "metrics.jsonl"});
        const dm_status s = add_weights(w, t->stage);
        if (s != DM_OK)
            return s;
        dm_json_put_double(&w->json, "seconds", p->stage[t->stage].seconds);
        dm_json_close_value(&w->json);
    }
    dm_json_close_value(&w->json);
    return DM_OK;
}

/* What dmpo pairs --json printed, in one line. */
static dm_status add_statistics(writer *w, size_t stage)
{
    dm_json_doc *doc;
    char *text = NULL;
    size_t size = 0;
    dm_status s = open_json(w, stage, DM_STAGE_STDOUT, &doc);

    if (s != DM_OK)
        return s;
    const dm_json *pairs = dm_json_get(dm_json_root(doc), "pairs"), *runs = dm_json_get(dm_json_root(doc), "runs");
    const dm_json *n = pairs ? pairs : runs;
    const char *path = dm_experiment_plan_path(w->plan, (dm_stage_source_ref){stage, DM_STAGE_STDOUT});
    if (!path || (s = dm_file_read(path, RESULT_MAX, &text, &size, w->err)) != DM_OK)
        s = path ? s : dm_fail(w->err, DM_ERR_MEMORY, "no memory for the results");
    if (s == DM_OK) {
        while (size > 0 && text[size - 1] == '\n')
            text[--size] = '\0';
        dm_json_put_int(&w->json, "pairs", n ? n->integer : 0);
        dm_json_put_raw(&w->json, "statistics", text);
    }
    free(text);
    dm_json_close(&doc);
    return s;
}

static dm_status add_pairs(writer *w)
{
    const dm_experiment_plan *p = w->plan;

    open_rows(w, "pairs");
    for (size_t i = 0; i < p->pairs_made; i++) {
        const dm_experiment_pairs *made = &p->pairs[i];
        if (made->file.stage != DM_STAGE_NONE && p->stage[made->file.stage].state != DM_STAGE_DONE)
            continue;
        put_subject(w, &made->of);
        put_path(w, "file", made->file);
        if (made->file.stage == DM_STAGE_NONE) {
            dm_json_put_null(&w->json, "pairs");
            dm_json_put_null(&w->json, "statistics");
        } else {
            const dm_status s = add_statistics(w, made->file.stage);
            if (s != DM_OK)
                return s;
        }
        dm_json_close_value(&w->json);
    }
    dm_json_close_value(&w->json);
    return DM_OK;
}

static void add_examples(writer *w)
{
    const dm_experiment_plan *p = w->plan;

    open_rows(w, "examples");
    for (size_t i = 0; i < p->examples; i++) {
        if (p->stage[p->example[i].stage].state != DM_STAGE_DONE)
            continue;
        put_subject(w, &p->example[i].of);
        put_path(w, "scores", (dm_stage_source_ref){p->example[i].stage, "scores.jsonl"});
        put_path(w, "pairs", p->example[i].pairs);
        dm_json_close_value(&w->json);
    }
    dm_json_close_value(&w->json);
}

/* A row for each point, its seeds together. */
static void add_search(writer *w)
{
    const dm_experiment_plan *p = w->plan;

    open_rows(w, "search");
    for (size_t i = 0, next; i < p->trials; i = next) {
        const dm_experiment_trial *t = &p->trial[i];
        double sum = 0;
        put_cell(w, &t->of);
        dm_json_open_object(&w->json, "values");
        for (const dm_json *list = t->of.method->search->child; list; list = list->next)
            put_value(&w->json, list->key, dm_recipe_point_value(t->of.method, t->of.point - 1, list));
        dm_json_close_value(&w->json);
        dm_json_open_array(&w->json, "rewards");
        for (next = i; next < p->trials && (next == i || p->trial[next].of.seed != t->of.seed); next++) {
            dm_json_put_double(&w->json, NULL, p->trial[next].reward);
            sum += p->trial[next].reward;
        }
        dm_json_close_value(&w->json);
        dm_json_put_double(&w->json, "reward", sum / (double)(next - i));
        dm_json_put_bool(&w->json, "chosen", dm_search_chosen(p, t->of).point == t->of.point);
        dm_json_close_value(&w->json);
    }
    dm_json_close_value(&w->json);
}

static void put_answer(writer *w, const dm_experiment_answer *a, const dm_recipe *recipe)
{
    const dm_recipe_question *q = a->question;
    dm_text words = {0};

    dm_experiment_answer_text(a, recipe, &words);
    w->json.out->failed |= words.failed;
    open_row(w);
    dm_json_put_string(&w->json, "ask", q->text);
    dm_json_put_string(&w->json, "env", a->env->name);
    dm_json_put_string(&w->json, "split", dm_env_split_names[q->split]);
    dm_json_put_string(&w->json, "method", q->one.method->name);
    dm_json_put_string(&w->json, "setting", a->one ? a->one->name : NULL);
    put_x(w, "x", q->one.method, q->one.x);
    dm_json_put_string(&w->json, "against", q->other.method->name);
    dm_json_put_string(&w->json, "against_setting", a->other ? a->other->name : NULL);
    put_x(w, "against_x", q->other.method, q->other.x);
    dm_json_put_uint(&w->json, "n", a->c.n);
    dm_json_put_double(&w->json, "difference", a->c.mean);
    dm_json_put_double(&w->json, "deviation", a->c.deviation);
    dm_json_put_double(&w->json, "half", a->c.half);
    dm_json_put_double(&w->json, "corrected_half", a->c.wide);
    dm_json_put_double(&w->json, "p", a->c.p);
    dm_json_put_double(&w->json, "p_holm", a->c.holm);
    dm_json_put_double(&w->json, "sought", recipe->difference);
    dm_json_put_double(&w->json, "power", a->c.power);
    dm_json_put_uint(&w->json, "needed", a->c.needed);
    dm_json_put_string(&w->json, "answer", words.data);
    dm_json_close_value(&w->json);
    dm_text_free(&words);
}

static dm_status add_questions(writer *w, const dm_experiment_results *r, const dm_recipe *recipe)
{
    dm_experiment_answer *answer = NULL;
    size_t n;
    const dm_status s = dm_experiment_answers(r, recipe, &answer, &n, w->err);

    open_rows(w, "questions");
    for (size_t i = 0; s == DM_OK && i < n; i++)
        put_answer(w, &answer[i], recipe);
    dm_json_close_value(&w->json);
    free(answer);
    return s;
}

dm_status dm_experiment_results_write(const dm_experiment_results *r, dm_experiment_plan *plan, const dm_recipe *recipe,
                                      const dm_experiment_run *run, dm_error *err)
{
    dm_text out = {0};
    dm_path path;
    writer w = {.json.out = &out, .plan = plan, .err = err};
    char hex[DM_SHA256_HEX];
    dm_sha256 h;

    dm_sha256_init(&h);
    dm_sha256_update(&h, recipe->text, recipe->size);
    dm_sha256_finish(&h, hex);
    dm_json_open_object(&w.json, NULL);
    dm_json_put_string(&w.json, "name", recipe->name);
    dm_json_put_string(&w.json, "title", recipe->title);
    dm_json_put_string(&w.json, "version", run->version);
    dm_json_put_string(&w.json, "isa", run->isa);
    dm_json_put_uint(&w.json, "threads", run->threads);
    dm_json_put_uint(&w.json, "jobs", run->jobs);
    dm_json_put_fixed(&w.json, "seconds", run->seconds, 3);
    dm_json_new_line(&w.json);
    dm_json_put_string(&w.json, "recipe_sha256", hex);
    dm_json_new_line(&w.json);
    dm_json_put_raw(&w.json, "recipe", recipe->text);
    add_stages(&w);
    dm_status s = add_evaluations(&w, r);
    if (s == DM_OK)
        s = add_trainings(&w);
    if (s == DM_OK)
        s = add_pairs(&w);
    if (s == DM_OK) {
        add_examples(&w);
        add_search(&w);
        s = add_questions(&w, r, recipe);
    }
    if (s == DM_OK) {
        dm_json_close_value(&w.json);
        dm_text_add(&out, "\n", 1);
        if (out.failed)
            s = dm_fail(err, DM_ERR_MEMORY, "no memory for results.json");
        else if ((s = dm_path_in(&path, plan->output, "results.json", err)) == DM_OK)
            s = dm_file_write(path.text, out.data, out.size, err);
    }
    dm_text_free(&out);
    return s;
}
