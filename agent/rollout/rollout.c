/* A run of episodes: its options, what is there of it already, and who plays the rest. */
#include "core/numbers/foreign.h"
#include "agent/rollout/rollout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/env/registry.h"
#include "agent/rollout/rollout_internal.h"
#include "core/ranks.h"
#include "io/json_writer.h"
#include "model/infer/sampling.h"
#include "simd/precision.h"

void dm_rollout_defaults(dm_rollout_options *o)
{
    *o = (dm_rollout_options){.samples = 1, .top_p = 1, .max_tokens = 64, .continue_at = DM_ROLLOUT_CONTINUE_ALL};
}

static dm_status check_options(const dm_rollout_options *o, dm_error *err)
{
    const dmpo_sampling sampling = {
        .temperature = o->temperature, .top_k = o->top_k, .top_p = o->top_p, .max_tokens = o->max_tokens};

    if (!o->env && !o->from)
        return dm_fail(err, DM_ERR_ARGUMENT, "no environment given; --env NAME names it");
    if (!o->output)
        return dm_fail(err, DM_ERR_ARGUMENT, "no output given; --output FILE is where the episodes go");
    if ((o->player == DM_ROLLOUT_PLAYER_MODEL) != (o->model != NULL || o->live != NULL))
        return dm_fail(err, DM_ERR_ARGUMENT, "who plays is either a model, --model DIR, or --policy expert or random");
    const dm_status s = dm_stop_text_check(o->stop, err);
    return s == DM_OK ? dm_sampling_check(&sampling, err) : s;
}

static void put_int(dm_json_writer *w, const char *key, int64_t value)
{
    dm_json_new_line(w);
    dm_json_put_int(w, key, value);
}

static void put_string(dm_json_writer *w, const char *key, const char *value)
{
    dm_json_new_line(w);
    dm_json_put_string(w, key, value);
}

static void put_double(dm_json_writer *w, const char *key, double value)
{
    dm_json_new_line(w);
    dm_json_put_double(w, key, value);
}

/* Whole numbers that a reader of JSON might round. */
static void put_digits(dm_json_writer *w, const char *key, uint64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    put_string(w, key, digits);
}

/* Everything that decides the file, as options of dmpo rollout, one a line. */
static void describe(dm_text *t, const dm_rollout_run *r)
{
    const dm_rollout_options *o = r->o;
    const bool model = o->player == DM_ROLLOUT_PLAYER_MODEL;
    dm_json_writer w = {.out = t};

    dm_json_open_object(&w, NULL);
    put_string(&w, "command", "rollout");
    put_string(&w, "version", dmpo_version());
    put_string(&w, "model_sha256", r->model_sha256);
    put_string(&w, "tokenizer_sha256", r->tokenizer_sha256);
    put_string(&w, "from_sha256", r->todo.source_sha256);
    dm_json_new_line(&w);
    dm_json_open_object(&w, "options");
    put_string(&w, "output", NULL);
    put_string(&w, "env", r->todo.env);
    put_string(&w, "model", o->model);
    if (o->base) /* what is given seldom is not in earlier files */
        put_string(&w, "base", o->base);
    put_string(&w, "policy", dm_rollout_player_names[o->player]);
    put_string(&w, "template", model ? dm_template_name(r->chat.kind) : NULL);
    if (model && o->template_options)
        put_string(&w, "template-option", o->template_options);
    put_string(&w, "split", dm_env_split_names[o->split]);
    put_int(&w, "first", o->first);
    put_int(&w, "tasks", o->tasks);
    put_int(&w, "samples", o->samples);
    put_digits(&w, "env-seed", o->env_seed);
    put_string(&w, "from", o->from);
    if (o->from && o->continue_at >= 0)
        put_digits(&w, "continue-at", (uint64_t)o->continue_at);
    else
        put_string(&w, "continue-at", o->from ? "all" : NULL);
    put_double(&w, "temperature", o->temperature);
    put_int(&w, "top-k", o->top_k);
    put_double(&w, "top-p", o->top_p);
    put_digits(&w, "seed", o->seed);
    if (DM_FOREIGN_MATH)
        put_string(&w, "math", DM_FOREIGN_MATH);
    if (o->precision != DM_PRECISION_F32)
        put_string(&w, "precision", dm_precision_names[o->precision]);
    put_string(&w, "stop", o->stop);
    put_int(&w, "max-turns", o->max_turns);
    put_int(&w, "max-tokens", o->max_tokens);
    put_int(&w, "max-length", model ? (int64_t)r->max_length : 0);
    dm_json_close_value(&w);
    dm_json_close_value(&w);
    dm_text_add(t, "\n", 1);
}

/* opened: how everything before went. */
static dm_status open_file(dm_rollout_run *r, dm_status opened)
{
    const size_t at_once = r->o->at_once ? (size_t)r->o->at_once : DM_ROLLOUT_AT_ONCE;
    /* Rank 0 keeps what other ranks have played until its turn comes. */
    const size_t window = dm_ranks_here()->count > 1 ? r->todo.n + 1 : 4 * at_once + 64;
    dm_text run = {0};
    dm_status s = opened;

    if (s == DM_OK) {
        describe(&run, r);
        if (run.failed)
            s = dm_rollout_no_memory(r);
        else if (dm_ranks_here()->self == 0)
            s = dm_rollout_file_open(&r->file, r->o, &r->todo, &run, window, r->err);
        else
            r->file.window = window;
    }
    s = dm_rollout_ranks_open(r, s, &run);
    dm_text_free(&run);
    r->next = r->file.written + dm_ranks_here()->self;
    r->status.total = (int64_t)r->todo.n;
    r->status.done = (int64_t)r->file.written;
    return s;
}

static dm_status run(dm_rollout_run *r, dmpo_engine *engine)
{
    dm_env *env = NULL;
    dm_status s;

    if ((s = dm_rollout_assignments_open(&r->todo, r->o, r->err)) == DM_OK &&
        (s = dm_env_open(&env, r->todo.env, r->err)) == DM_OK &&
        (s = dm_rollout_assignments_make(&r->todo, r->o, env, r->err)) == DM_OK &&
        r->o->player == DM_ROLLOUT_PLAYER_MODEL)
        s = dm_rollout_policy(r);
    if ((s = open_file(r, s)) != DM_OK) {
        dm_env_close(&env);
        return s;
    }
    r->flights = dm_rollout_at_once(r, env);
    if (r->flights && (r->flight = calloc(r->flights, sizeof *r->flight)))
        r->flight[0].env = env;
    else
        dm_env_close(&env);
    for (size_t i = 0; r->flight && i < r->flights; i++)
        r->flight[i].index = DM_ROLLOUT_IDLE;
    if (r->flights && !r->flight)
        return dm_rollout_no_memory(r);
    if (r->flights == 0 || dm_rollout_report(r, NULL)) /* all is there already */
        return r->s;
    s = r->o->player == DM_ROLLOUT_PLAYER_MODEL ? dm_rollout_model(r, engine) : dm_rollout_scripted(r);
    return s == DM_OK ? dm_rollout_ranks_finish(r) : s;
}

static void close_flight(dm_rollout_flight *f)
{
    dm_env_close(&f->env);
    dm_block_free(&f->memory);
    dm_text_free(&f->name);
    dm_stop_text_free(&f->said);
    dm_ids_free(&f->ids);
    free(f->episode.turn);
    free(f->out);
    free(f->logps);
}

dm_status dm_rollout(dmpo_engine *engine, const dm_rollout_options *options, dm_rollout_fn fn, void *context,
                     dm_rollout_status *result, dm_error *err)
{
    dm_rollout_run r = {
        .o = options, .fn = dm_ranks_here()->self ? NULL : fn, .context = context, .err = err, .file = {.fd = -1}};
    dm_error lost = {0};
    dm_status s = check_options(options, err);

    if (s == DM_OK)
        s = run(&r, engine);
    *result = r.status;
    result->written = (int64_t)r.file.written;
    result->reward = r.file.reward;
    result->success = r.file.success;
    result->failed = (int64_t)r.file.failed;
    const dm_status closed = dm_rollout_file_close(&r.file, s == DM_OK ? err : &lost);
    for (size_t i = 0; r.flight && i < r.flights; i++)
        close_flight(&r.flight[i]);
    free(r.flight);
    free(r.request);
    if (!options->live) {
        dmpo_model_close(&r.model);
        dm_template_close(&r.chat);
        dm_tokenizer_close(&r.tokenizer);
    }
    dm_rollout_assignments_close(&r.todo);
    return s == DM_OK ? closed : s;
}
