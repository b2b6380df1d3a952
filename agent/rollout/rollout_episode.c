/* An episode in flight: the words of a turn become an action, what the environment answers becomes a record. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/env/registry.h"
#include "agent/rollout/rollout_internal.h"
#include "core/ranks.h"
#include "core/utf8.h"

#define FAILURES 3 /* of environments, in a row */

const char *const dm_rollout_player_names[DM_ROLLOUT_PLAYERS + 1] = {"model", "expert", "random", NULL};

bool dm_rollout_report(dm_rollout_run *r, const char *note)
{
    const dm_status taken = dm_rollout_ranks_take(r);

    r->s = r->s == DM_OK ? taken : r->s;
    r->status.written = (int64_t)r->file.written;
    r->status.reward = r->file.reward;
    r->status.success = r->file.success;
    if (r->s == DM_OK && r->fn && r->fn(r->context, &r->status, note))
        r->s =
            dm_fail(r->err, DM_ERR_INTERRUPTED, "stopped after %lld of %lld episodes; the same command continues there",
                    (long long)r->status.written, (long long)r->status.total);
    return r->s != DM_OK;
}

dm_status dm_rollout_no_memory(const dm_rollout_run *r)
{
    return dm_fail(r->err, DM_ERR_MEMORY, "no memory for an episode");
}

/* ---- an episode ---- */

/* A copy that lives as long as the episode, bytes that are no text replaced: what a model says need not be UTF-8. */
static char *keep(dm_rollout_flight *f, const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text, *const end = p + size;
    char *copy = dm_block_alloc(&f->memory, 3 * size + 1), *to = copy;

    for (size_t n; copy && p < end; p += n) {
        n = *p ? dm_utf8_length(p, end) : 0;
        memcpy(to, n ? (const char *)p : "\xEF\xBF\xBD", n ? n : 3);
        to += n ? n : 3;
        n = n ? n : 1;
    }
    return copy; /* zeroed: it ends where the text does */
}

static bool failed(const dm_rollout_flight *f)
{
    return f->episode.end && strcmp(f->episode.end, "environment") == 0;
}

/* What another child of the environment, or the next episode, may do better; everything else stops the run. */
static dm_status environment_failed(dm_rollout_run *r, dm_rollout_flight *f, const dm_error *why)
{
    dm_text note = {0};

    if (why->status == DM_ERR_INTERRUPTED && dm_rollout_report(r, NULL))
        return r->s;
    if (why->status != DM_ERR_FILE && why->status != DM_ERR_INPUT)
        return dm_fail(r->err, why->status, "%s: %s", f->episode.id, why->message);
    if (++r->failures >= FAILURES)
        return dm_fail(r->err, why->status, "the environment failed in %d episodes in a row, now in %s: %s", FAILURES,
                       f->episode.id, why->message);
    f->episode.end = "environment";
    f->episode.reward = 0;
    dm_text_print(&note, "%s: the environment failed: %s", f->episode.id, why->message);
    dm_rollout_report(r, note.failed ? why->message : note.data);
    dm_text_free(&note);
    return r->s;
}

static dm_episode_turn *add_turn(const dm_rollout_run *r, dm_rollout_flight *f, const char *words, size_t size)
{
    dm_episode *e = &f->episode;

    if (e->turns == f->room) {
        const size_t room = f->room ? 2 * f->room : 16;
        dm_episode_turn *turn = realloc(e->turn, room * sizeof *turn);
        if (!turn)
            return NULL;
        e->turn = turn;
        f->room = room;
    }
    dm_episode_turn *t = &e->turn[e->turns];
    *t = (dm_episode_turn){.action = keep(f, words, size), .logp = NAN};
    if (!t->action || r->s != DM_OK)
        return NULL;
    e->turns++;
    return t;
}

static int64_t turn_limit(const dm_rollout_run *r, const dm_rollout_flight *f)
{
    return r->o->max_turns && r->o->max_turns < f->env->max_turns ? r->o->max_turns : f->env->max_turns;
}

/* The environment's answer to the words of turn t, the last one. */
static dm_status step(dm_rollout_run *r, dm_rollout_flight *f, dm_episode_turn *t)
{
    dm_error why = {0};
    dm_episode *e = &f->episode;
    char *action;
    if (!dm_episode_action(&action, t->action, strlen(t->action)))
        return dm_rollout_no_memory(r);
    const dm_status status = dm_env_step(f->env, action ? action : "", &f->seen, &why);

    free(action);
    if (status != DM_OK)
        return environment_failed(r, f, &why);
    dm_text text = {0};
    dm_text_print(&text, "Observation: %s", f->seen.text);
    t->observation = text.failed ? NULL : keep(f, text.data, text.size);
    dm_text_free(&text);
    if (!t->observation)
        return dm_rollout_no_memory(r);
    t->score = e->reward = f->seen.score;
    e->done = f->seen.done;
    const bool limit = (int64_t)e->turns >= turn_limit(r, f);
    if (limit && !e->done && dm_env_leave(f->env, &why) != DM_OK)
        return environment_failed(r, f, &why);
    if (limit && !(f->seen.done && f->seen.score >= 1))
        f->episode.end = "turns";
    else if (f->seen.done)
        f->episode.end = "done";
    return DM_OK;
}

/* The turns that are given: the environment must answer what the file says. */
static dm_status replay(dm_rollout_run *r, dm_rollout_flight *f, const dm_rollout_assignment *a)
{
    const dm_episode *source = a->source;

    for (size_t i = 0; i < DM_EPISODE_PROMPT; i++)
        if (strcmp(source->prompt[i], f->episode.prompt[i]) != 0)
            return dm_fail(r->err, DM_ERR_INPUT,
                           "%s: episode '%s': the environment gives its task in other words than the file", r->o->from,
                           source->id);
    for (size_t i = 0; i < (size_t)a->given; i++) {
        const dm_episode_turn *given = &source->turn[i];
        dm_episode_turn *t = add_turn(r, f, given->action, strlen(given->action));
        if (!t)
            return dm_rollout_no_memory(r);
        if (f->episode.tokenizer && source->tokenizer && strcmp(f->episode.tokenizer, source->tokenizer) == 0) {
            t->ids = given->ids;
            t->n_ids = given->n_ids;
        }
        const dm_status status = step(r, f, t);
        if (status != DM_OK || failed(f))
            return status;
        if (!given->observation || strcmp(given->observation, t->observation) != 0)
            return dm_fail(r->err, DM_ERR_INPUT,
                           "%s: episode '%s': the environment answers turn %zu in other words than the file",
                           r->o->from, source->id, i + 1);
        if (f->episode.end) /* by a lower --max-turns */
            break;
    }
    f->episode.replayed = (int64_t)f->episode.turns;
    return DM_OK;
}

dm_status dm_rollout_flight_begin(dm_rollout_run *r, dm_rollout_flight *f)
{
    const dm_rollout_assignment *a = &r->todo.list[f->index];
    const dm_rollout_options *o = r->o;
    dm_error why = {0};
    dm_status status = DM_OK;

    f->name.size = 0;
    f->stream = dm_rollout_assignment_name(&f->name, &r->todo, f->index);
    f->episode = (dm_episode){.id = f->name.data,
                              .env = r->todo.env,
                              .split = a->split,
                              .task = a->task,
                              .seed = a->seed,
                              .sample = a->sample,
                              .policy = dm_rollout_player_names[o->player],
                              .model = o->player == DM_ROLLOUT_PLAYER_MODEL ? r->model_sha256 : NULL,
                              .tokenizer = o->player == DM_ROLLOUT_PLAYER_MODEL ? r->identity : NULL,
                              .temperature = o->temperature,
                              .sampling_seed = o->seed,
                              .turn = f->episode.turn};
    if (f->name.failed)
        return dm_rollout_no_memory(r);
    if (!f->env && (status = dm_env_open(&f->env, r->todo.env, r->err)) != DM_OK)
        return status;
    f->episode.prompt[0] = f->env->instruction;
    f->episode.prompt[1] = "OK";
    f->episode.prompt[2] = "";
    f->seen = (dm_observation){0};
    if (dm_env_reset(f->env, a->split, a->task, a->seed, &f->seen, &why) != DM_OK)
        return environment_failed(r, f, &why);
    f->episode.reward = f->seen.score;
    if (!(f->episode.prompt[2] = keep(f, f->seen.text, strlen(f->seen.text))))
        return dm_rollout_no_memory(r);
    if (f->seen.done)
        f->episode.end = "done";
    return a->source ? replay(r, f, a) : DM_OK;
}

dm_status dm_rollout_flight_finish(dm_rollout_run *r, dm_rollout_flight *f)
{
    if (!failed(f))
        r->failures = 0;
    dm_rollout_line line;
    dm_status status = dm_rollout_line_make(&line, &f->episode, r->err);
    if (status == DM_OK)
        status = dm_ranks_here()->self ? dm_rollout_ranks_send(r, f->index, &line)
                                       : dm_rollout_file_add(&r->file, f->index, &line, r->err);
    dm_block_free(&f->memory);
    f->index = DM_ROLLOUT_IDLE;
    r->status.done++;
    r->status.played++;
    return status;
}

static dm_status keep_tokens(const dm_rollout_run *r, dm_rollout_flight *f, dm_episode_turn *t,
                             const dmpo_request *said)
{
    int32_t *ids = dm_block_alloc(&f->memory, said->n_out * sizeof *ids);
    float *logps = dm_block_alloc(&f->memory, said->n_out * sizeof *logps);

    if (!ids || !logps)
        return dm_rollout_no_memory(r);
    memcpy(ids, said->out, said->n_out * sizeof *ids);
    memcpy(logps, said->logps, said->n_out * sizeof *logps);
    t->ids = ids;
    t->token_logps = logps;
    t->n_ids = said->n_out;
    t->tokens = (int64_t)said->n_out;
    t->logp = 0;
    for (size_t i = 0; i < said->n_out; i++)
        t->logp += (double)logps[i];
    return DM_OK;
}

dm_status dm_rollout_flight_turn(dm_rollout_run *r, dm_rollout_flight *f, const char *words, size_t size,
                                 const dmpo_request *said)
{
    dm_episode_turn *t = add_turn(r, f, words, size);

    if (!t || (said && keep_tokens(r, f, t, said) != DM_OK))
        return dm_rollout_no_memory(r);
    r->status.turns++;
    return step(r, f, t);
}

bool dm_rollout_flight_claim(dm_rollout_run *r, dm_rollout_flight *f)
{
    if (r->next >= r->todo.n || r->next >= r->file.written + r->file.window)
        return false;
    f->index = r->next;
    r->next += dm_ranks_here()->count;
    return true;
}
