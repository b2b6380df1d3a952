/* Episodes in flight: what a policy says becomes an action, what the environment answers becomes its next prompt.
 *
 * A model's episodes are slots of dmpo_model_serve: an episode whose turn is over takes its step in the environment and
 * goes on while the others are still in the middle of theirs. Turns stay as they were generated; only what is new is
 * tokenized (dm_template_continue). */
#include "agent/rollout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/rollout_internal.h"
#include "core/file.h"
#include "core/philox.h"
#include "io/utf8.h"
#include "model/directory.h"
#include "model/sampling.h"

const char *const dm_player_names[DM_PLAYERS + 1] = {"model", "expert", "random", NULL};

#define AT_ONCE 32
#define AT_ONCE_MAX 256
#define CACHE_BYTES ((size_t)1 << 30)
#define LENGTH_DEFAULT 4096
#define LENGTH_MAX ((int64_t)1 << 24) /* dmpo_model_open's */
#define FAILURES 3                    /* in a row */
#define IDLE SIZE_MAX

/* One episode in flight. */
typedef struct slot {
    size_t index; /* of the list; IDLE: none */
    uint64_t stream;
    dm_env *env;
    dm_observation seen;
    dm_episode episode;
    size_t room;      /* for turns */
    dm_block *memory; /* the episode's strings */
    dm_text name;
    int ended;

    dm_ids ids; /* all of it so far */
    int32_t *out;
    float *logps;
    dm_text said; /* bytes of the turn at hand, where a text can end it */
} slot;

typedef struct rollout {
    const dm_rollout_options *o;
    dm_assignments todo;
    dm_rollout_file file;
    dm_rollout_fn fn;
    void *context;
    dm_rollout_status status;
    dm_error *err;
    dm_status s; /* DM_OK, or why it stops */
    size_t next; /* first of the list that nobody plays yet */
    slot *slot;
    size_t slots;
    int failures; /* environments that failed in a row */

    /* of a model */
    dm_config config;
    dm_tokenizer *tokenizer;
    dm_chat_template chat;
    char model_sha256[DM_SHA256_HEX], tokenizer_sha256[DM_SHA256_HEX];
    size_t max_length;
    int32_t stop[2]; /* end of turn, end of text */
    dmpo_model *model;
    dmpo_request *request; /* [slots] */
} rollout;

static int report(rollout *r, const char *note)
{
    r->status.written = (int64_t)r->file.written;
    r->status.reward = r->file.reward;
    r->status.success = r->file.success;
    if (r->s == DM_OK && r->fn && r->fn(r->context, &r->status, note))
        r->s =
            dm_fail(r->err, DM_ERR_INTERRUPTED, "stopped after %lld of %lld episodes; the same command goes on there",
                    (long long)r->status.written, (long long)r->status.total);
    return r->s != DM_OK;
}

static dm_status no_memory(const rollout *r)
{
    return dm_fail(r->err, DM_ERR_MEMORY, "no memory for an episode");
}

/* ---- an episode ---- */

/* A copy that lives as long as the episode, bytes that are no text replaced: what a model says need not be UTF-8. */
static char *keep(slot *s, const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text, *const end = p + size;
    char *copy = dm_block_alloc(&s->memory, 3 * size + 1), *to = copy;

    for (size_t n; copy && p < end; p += n) {
        n = *p ? dm_utf8_length(p, end) : 0;
        memcpy(to, n ? (const char *)p : "\xEF\xBF\xBD", n ? n : 3);
        to += n ? n : 3;
        n = n ? n : 1;
    }
    return copy; /* zeroed: it ends where the text does */
}

static void end_episode(slot *s, const char *end)
{
    s->episode.end = end;
    s->ended = 1;
}

/* What another child of the environment, or the next episode, may do better; everything else stops the run. */
static dm_status environment_failed(rollout *r, slot *s, const dm_error *why)
{
    dm_text note = {0};

    if (why->status != DM_ERR_FILE && why->status != DM_ERR_INPUT)
        return dm_fail(r->err, why->status, "%s: %s", s->episode.id, why->message);
    if (++r->failures >= FAILURES)
        return dm_fail(r->err, why->status, "the environment failed in %d episodes in a row, now in %s: %s", FAILURES,
                       s->episode.id, why->message);
    end_episode(s, "environment");
    s->episode.reward = 0;
    dm_text_print(&note, "%s: the environment failed: %s", s->episode.id, why->message);
    report(r, note.failed ? why->message : note.data);
    dm_text_free(&note);
    return r->s;
}

static dm_episode_turn *add_turn(const rollout *r, slot *s, const char *words, size_t size)
{
    dm_episode *e = &s->episode;

    if (e->turns == s->room) {
        const size_t room = s->room ? 2 * s->room : 16;
        dm_episode_turn *turn = realloc(e->turn, room * sizeof *turn);
        if (!turn)
            return NULL;
        e->turn = turn;
        s->room = room;
    }
    dm_episode_turn *t = &e->turn[e->turns];
    *t = (dm_episode_turn){.action = keep(s, words, size), .logp = NAN};
    if (!t->action || r->s != DM_OK)
        return NULL;
    e->turns++;
    return t;
}

static int64_t turn_limit(const rollout *r, const slot *s)
{
    return r->o->max_turns && r->o->max_turns < s->env->max_turns ? r->o->max_turns : s->env->max_turns;
}

/* The environment's answer to the words of turn t, the last one. */
static dm_status step(rollout *r, slot *s, dm_episode_turn *t)
{
    dm_error why = {0};
    dm_episode *e = &s->episode;
    char *action = dm_action_parse(t->action, strlen(t->action));
    const dm_status status = dm_env_step(s->env, action ? action : "", &s->seen, &why);

    free(action);
    if (status != DM_OK)
        return environment_failed(r, s, &why);
    dm_text text = {0};
    dm_text_print(&text, "Observation: %s", s->seen.text);
    t->observation = text.failed ? NULL : keep(s, text.data, text.size);
    dm_text_free(&text);
    if (!t->observation)
        return no_memory(r);
    t->score = e->reward = s->seen.score;
    e->done = s->seen.done;
    const int limit = (int64_t)e->turns >= turn_limit(r, s);
    if (limit && !(s->seen.done && s->seen.score >= 1))
        end_episode(s, "turns");
    else if (s->seen.done)
        end_episode(s, "done");
    return DM_OK;
}

/* The turns that are given: the environment must answer what the file says. */
static dm_status replay(rollout *r, slot *s, const dm_assignment *a)
{
    const dm_episode *source = a->source;

    for (size_t i = 0; i < DM_EPISODE_PROMPT; i++)
        if (strcmp(source->prompt[i], s->episode.prompt[i]) != 0)
            return dm_fail(r->err, DM_ERR_INPUT,
                           "%s: episode '%s': the environment gives its task in other words than the file", r->o->from,
                           source->id);
    for (size_t i = 0; i < (size_t)a->given; i++) {
        const dm_episode_turn *given = &source->turn[i];
        dm_episode_turn *t = add_turn(r, s, given->action, strlen(given->action));
        if (!t)
            return no_memory(r);
        const dm_status status = step(r, s, t);
        if (status != DM_OK || (s->ended && strcmp(s->episode.end, "environment") == 0))
            return status;
        if (!given->observation || strcmp(given->observation, t->observation) != 0)
            return dm_fail(r->err, DM_ERR_INPUT,
                           "%s: episode '%s': the environment answers turn %zu in other words than the file",
                           r->o->from, source->id, i + 1);
        if (s->ended) /* by a lower --max-turns */
            break;
    }
    s->episode.replayed = (int64_t)s->episode.turns;
    return DM_OK;
}

/* A turn begins only where it fits whole. */
static void check_length(const rollout *r, slot *s)
{
    if (!s->ended && r->model && s->ids.size + (size_t)r->o->max_tokens + 1 > r->max_length)
        end_episode(s, "length");
}

/* The conversation so far as the model's prompt. */
static dm_status render(rollout *r, slot *s)
{
    const dm_episode *e = &s->episode;
    const size_t n = DM_EPISODE_PROMPT + 2 * e->turns;
    dm_message *m = calloc(n, sizeof *m);
    size_t none;

    if (!m)
        return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        const size_t behind = i < DM_EPISODE_PROMPT ? 0 : i - DM_EPISODE_PROMPT;
        const char *text = i < DM_EPISODE_PROMPT ? e->prompt[i]
                           : behind % 2          ? e->turn[behind / 2].observation
                                                 : e->turn[behind / 2].action;
        m[i] = (dm_message){.role = i % 2 ? DM_ROLE_ASSISTANT : DM_ROLE_USER, .text = text, .size = strlen(text)};
    }
    s->ids.size = 0;
    const dm_status status = dm_template_render(&r->chat, r->tokenizer, m, n, true, &s->ids, NULL, &none, r->err);
    free(m);
    return status;
}

static dm_status begin_episode(rollout *r, slot *s)
{
    const dm_assignment *a = &r->todo.list[s->index];
    const dm_rollout_options *o = r->o;
    dm_error why = {0};
    dm_status status = DM_OK;

    s->name.size = 0;
    s->stream = dm_assignment_name(&s->name, &r->todo, s->index);
    s->ended = 0;
    s->episode = (dm_episode){.id = s->name.data,
                              .env = r->todo.env,
                              .split = a->split,
                              .task = a->task,
                              .seed = a->seed,
                              .sample = a->sample,
                              .policy = dm_player_names[o->player],
                              .model = o->player == DM_PLAYER_MODEL ? r->model_sha256 : NULL,
                              .temperature = o->temperature,
                              .sampling_seed = o->seed,
                              .end = "length",
                              .turn = s->episode.turn};
    if (s->name.failed)
        return no_memory(r);
    if (!s->env && (status = dm_env_open(&s->env, r->todo.env, r->err)) != DM_OK)
        return status;
    s->episode.prompt[0] = s->env->instruction;
    s->episode.prompt[1] = "OK";
    s->episode.prompt[2] = "";
    s->seen = (dm_observation){0};
    if (dm_env_reset(s->env, a->split, a->task, a->seed, &s->seen, &why) != DM_OK)
        return environment_failed(r, s, &why);
    s->episode.reward = s->seen.score;
    if (!(s->episode.prompt[2] = keep(s, s->seen.text, strlen(s->seen.text))))
        return no_memory(r);
    if (s->seen.done)
        end_episode(s, "done");
    if (a->source)
        status = replay(r, s, a);
    if (status == DM_OK && r->model && !s->ended) {
        status = render(r, s);
        check_length(r, s);
    }
    return status;
}

static dm_status finish_episode(rollout *r, slot *s)
{
    if (strcmp(s->episode.end, "environment") != 0)
        r->failures = 0;
    const dm_status status = dm_rollout_file_add(&r->file, s->index, &s->episode, r->err);
    dm_block_free(&s->memory);
    s->index = IDLE;
    r->status.done++;
    r->status.played++;
    return status;
}

/* Words of the policy: one turn. */
static dm_status play_turn(rollout *r, slot *s, const char *words, size_t size, double logp, int64_t tokens)
{
    dm_episode_turn *t = add_turn(r, s, words, size);

    if (!t)
        return no_memory(r);
    t->logp = logp;
    t->tokens = tokens;
    r->status.turns++;
    return step(r, s, t);
}

/* Gives the slot the next episode of the list. 0: there is none, or it would have to wait too long for its place. */
static int claim(rollout *r, slot *s)
{
    if (r->next == r->todo.n || r->next >= r->file.written + r->file.window)
        return 0;
    s->index = r->next++;
    return 1;
}

/* ---- players that need no model ---- */

static const char *scripted_action(rollout *r, const slot *s)
{
    const dm_env_class *class = s->env->class;
    const int64_t turn = (int64_t)s->episode.turns;
    uint64_t counter = (uint64_t)turn << 32; /* far from the other turns' */
    const char *const *actions = NULL;
    size_t n;

    if (r->o->player == DM_PLAYER_EXPERT) {
        const char *action = class->expert ? class->expert(s->env) : NULL;
        if (!action)
            r->s = dm_fail(r->err, DM_ERR_UNSUPPORTED, "%s: the environment has no expert's action for turn %lld",
                           s->episode.id, (long long)turn + 1);
        return action;
    }
    n = class->admissible ? class->admissible(s->env, &actions) : 0;
    if (n == 0) {
        r->s = dm_fail(r->err, DM_ERR_UNSUPPORTED, "%s: the environment does not say what is possible in turn %lld",
                       s->episode.id, (long long)turn + 1);
        return NULL;
    }
    return actions[dm_random_below((uint32_t)n, r->o->seed, DM_RNG_EXPLORE, s->stream, &counter)];
}

static dm_status play_scripted(rollout *r, slot *s)
{
    while (r->s == DM_OK && !report(r, NULL) && claim(r, s)) {
        r->s = begin_episode(r, s);
        while (r->s == DM_OK && !s->ended) {
            const char *action = scripted_action(r, s);
            dm_text words = {0};
            if (!action)
                break;
            dm_text_print(&words, "Action: %s", action);
            r->s = words.failed ? no_memory(r) : play_turn(r, s, words.data, words.size, NAN, 0);
            dm_text_free(&words);
            report(r, NULL);
        }
        if (r->s == DM_OK)
            r->s = finish_episode(r, s);
    }
    return r->s;
}

/* ---- a model ---- */

/* Appends the text of one token; a padded vocabulary has ids without one. */
static dm_status decode(const rollout *r, int32_t id, dm_text *out)
{
    if ((size_t)id >= dm_tokenizer_size(r->tokenizer))
        return DM_OK;
    const dm_status s = dm_tokenizer_decode(r->tokenizer, &id, 1, true, out, r->err);
    return s == DM_OK && out->failed ? no_memory(r) : s;
}

static int ends_turn(const dm_text *said, const char *stop)
{
    const size_t n = strlen(stop);
    for (size_t i = 0; i + n <= said->size; i++)
        if (memcmp(said->data + i, stop, n) == 0)
            return 1;
    return 0;
}

static int on_token(void *context, size_t index, int32_t id, float logp)
{
    rollout *r = context;
    slot *s = &r->slot[index];

    r->status.tokens++;
    if (!isfinite(logp) && r->s == DM_OK)
        r->s = dm_fail(r->err, DM_ERR_NONFINITE, "%s: turn %zu: a token's log-probability is %s", s->episode.id,
                       s->episode.turns + 1, isnan(logp) ? "NaN" : "infinite");
    if (r->s == DM_OK && r->o->stop)
        r->s = decode(r, id, &s->said);
    if (report(r, NULL))
        return 1;
    return r->o->stop && ends_turn(&s->said, r->o->stop);
}

/* The slot's request has its answer. */
static dm_status take_answer(rollout *r, slot *s, const dmpo_request *q)
{
    double logp = 0;
    dm_text text = {0};
    dm_status status = DM_OK;

    for (size_t i = 0; i < q->n_out && status == DM_OK; i++) {
        logp += (double)q->logps[i];
        if ((status = dm_ids_push(&s->ids, q->out[i], r->err)) == DM_OK)
            status = decode(r, q->out[i], &text);
    }
    const char *words = text.data ? text.data : "";
    size_t size = text.size;
    dm_template_words(&r->chat, &words, &size);
    if (status == DM_OK)
        status = play_turn(r, s, words, size, logp, (int64_t)q->n_out);
    dm_text_free(&text);
    if (status != DM_OK || s->ended)
        return status;
    const char *observation = s->episode.turn[s->episode.turns - 1].observation;
    status = dm_template_continue(&r->chat, r->tokenizer, observation, strlen(observation), &s->ids, r->err);
    check_length(r, s);
    return status;
}

static int next_request(void *context, size_t index)
{
    rollout *r = context;
    slot *s = &r->slot[index];
    dmpo_request *q = &r->request[index];

    if (r->s == DM_OK && s->index != IDLE)
        r->s = take_answer(r, s, q);
    while (r->s == DM_OK && (s->index == IDLE || s->ended)) {
        if (s->index != IDLE) {
            r->s = finish_episode(r, s);
            report(r, NULL);
        } else if (claim(r, s)) {
            r->s = begin_episode(r, s);
        } else {
            return 0;
        }
    }
    if (r->s != DM_OK)
        return -1;
    s->said.size = 0;
    *q = (dmpo_request){.slot = index,
                        .ids = s->ids.data,
                        .n = s->ids.size,
                        .sampling = {.temperature = r->o->temperature,
                                     .top_k = r->o->top_k,
                                     .top_p = r->o->top_p,
                                     .seed = r->o->seed,
                                     .episode = s->stream,
                                     .max_tokens = r->o->max_tokens,
                                     .stop = r->stop,
                                     .n_stop = 2},
                        .out = s->out,
                        .logps = s->logps,
                        .end = &r->chat.end_of_turn};
    return 1;
}

/* Tokenizer, template and what the episodes' length is, before any weight is read. */
static dm_status open_policy(rollout *r)
{
    const dm_rollout_options *o = r->o;
    char path[4096];
    dm_status s;

    if ((s = dm_config_read(&r->config, o->model, r->err)) != DM_OK ||
        (s = dm_model_tokenizer(&r->tokenizer, &r->chat, &r->config, o->model, o->chat_template, r->err)) != DM_OK)
        return s;
    if (!r->tokenizer)
        return dm_fail(r->err, DM_ERR_INPUT, "%s: has no tokenizer.json, which an agent's words need", o->model);
    const int64_t most = r->config.max_positions;
    r->max_length = (size_t)(o->max_length ? o->max_length : most < LENGTH_DEFAULT ? most : LENGTH_DEFAULT);
    r->stop[0] = r->chat.end_of_turn;
    r->stop[1] = r->config.eos >= 0 ? r->config.eos : r->chat.end_of_turn;
    if ((size_t)o->max_tokens + 2 > r->max_length)
        return dm_fail(r->err, DM_ERR_ARGUMENT, "--max-tokens %lld leave no room for a prompt within %zu tokens",
                       (long long)o->max_tokens, r->max_length);
    if ((s = dm_path_join(path, sizeof path, o->model, "tokenizer.json", r->err)) != DM_OK ||
        (s = dm_file_sha256(path, r->tokenizer_sha256, r->err)) != DM_OK)
        return s;
    return dm_model_sha256(o->model, r->model_sha256, r->err);
}

static size_t slots_of(const rollout *r)
{
    const size_t left = r->todo.n - r->file.written;
    size_t n = (size_t)r->o->at_once;

    if (r->o->player != DM_PLAYER_MODEL)
        return 1;
    if (n == 0) {
        const size_t each =
            (size_t)r->config.layers * 2 * r->config.kv_heads * r->config.head_dim * r->max_length * sizeof(float);
        n = CACHE_BYTES / each;
        n = n < 1 ? 1 : n > AT_ONCE ? AT_ONCE : n;
    }
    return n < left ? n : left;
}

static dm_status play_model(rollout *r, dmpo_engine *engine)
{
    dmpo_error error = {0};
    const size_t room = (size_t)r->o->max_tokens + 1;

    if (!(r->request = calloc(r->slots, sizeof *r->request)))
        return no_memory(r);
    for (size_t i = 0; i < r->slots; i++) {
        r->request[i].slot = i;
        r->slot[i].out = malloc(room * sizeof(int32_t));
        r->slot[i].logps = malloc(room * sizeof(float));
        if (!r->slot[i].out || !r->slot[i].logps)
            return no_memory(r);
    }
    int s = dmpo_model_open(&r->model, engine, r->o->model, r->slots, r->max_length, &error);
    if (s == DMPO_ERR_MEMORY)
        return dm_fail(r->err, DM_ERR_MEMORY, "%s; %zu episodes at once of %zu tokens: lower --at-once or --max-length",
                       error.message, r->slots, r->max_length);
    if (s == DMPO_OK)
        s = dmpo_model_serve(r->model, r->request, r->slots, next_request, on_token, r, &error);
    if (r->s == DM_OK && s != DMPO_OK)
        r->s = dm_fail(r->err, (dm_status)s, "%s", error.message);
    return r->s;
}

/* ---- the run ---- */

static dm_status in_range(const char *name, int64_t value, int64_t low, int64_t high, dm_error *err)
{
    if (value >= low && value <= high)
        return DM_OK;
    return dm_fail(err, DM_ERR_ARGUMENT, "--%s %lld is out of range; legal: %lld to %lld", name, (long long)value,
                   (long long)low, (long long)high);
}

static dm_status check_options(const dm_rollout_options *o, dm_error *err)
{
    const dmpo_sampling sampling = {
        .temperature = o->temperature, .top_k = o->top_k, .top_p = o->top_p, .max_tokens = o->max_tokens};
    dm_status s;

    if (!o->env && !o->from)
        return dm_fail(err, DM_ERR_ARGUMENT, "no environment given; --env NAME names it");
    if (!o->output)
        return dm_fail(err, DM_ERR_ARGUMENT, "no output given; --output FILE is where the episodes go");
    if ((o->player == DM_PLAYER_MODEL) != (o->model != NULL))
        return dm_fail(err, DM_ERR_ARGUMENT, "who plays is either a model, --model DIR, or --policy expert or random");
    if (o->stop && !*o->stop)
        return dm_fail(err, DM_ERR_ARGUMENT, "--stop must not be empty");
    const int64_t many = (int64_t)1 << 24;
    if ((s = in_range("first", o->first, 0, INT64_MAX, err)) != DM_OK ||
        (s = in_range("tasks", o->tasks, 0, many, err)) != DM_OK ||
        (s = in_range("samples", o->samples, 1, many, err)) != DM_OK ||
        (s = in_range("continue-at", o->continue_at, DM_CONTINUE_ALL, many, err)) != DM_OK ||
        (s = in_range("max-turns", o->max_turns, 0, many, err)) != DM_OK ||
        (s = in_range("max-tokens", o->max_tokens, 1, many, err)) != DM_OK ||
        (s = in_range("max-length", o->max_length, 0, LENGTH_MAX, err)) != DM_OK ||
        (s = in_range("at-once", o->at_once, 0, AT_ONCE_MAX, err)) != DM_OK)
        return s;
    return dm_sampling_check(&sampling, err);
}

static void add_string(dm_text *t, const char *key, const char *value)
{
    dm_text_print(t, ",\n  \"%s\": ", key);
    if (value)
        dm_text_json_string(t, value, strlen(value));
    else
        dm_text_add(t, "null", 4);
}

static void add_int(dm_text *t, const char *key, int64_t value)
{
    dm_text_print(t, ",\n  \"%s\": %lld", key, (long long)value);
}

/* Everything that decides the file, as options of dmpo rollout, one a line. */
static void describe(dm_text *t, const rollout *r)
{
    const dm_rollout_options *o = r->o;
    const int model = o->player == DM_PLAYER_MODEL;

    dm_text_print(t, "{\"command\": \"rollout\",\n \"version\": \"%s\",\n", dmpo_version());
    dm_text_print(t, " \"model_sha256\": \"%s\",\n \"tokenizer_sha256\": \"%s\",\n \"from_sha256\": \"%s\",\n",
                  r->model_sha256, r->tokenizer_sha256, r->todo.source_sha256);
    dm_text_print(t, " \"options\": {\n  \"output\": null");
    add_string(t, "env", r->todo.env);
    add_string(t, "model", o->model);
    add_string(t, "policy", dm_player_names[o->player]);
    add_string(t, "template", model ? dm_template_name(r->chat.kind) : NULL);
    add_string(t, "split", dm_split_names[o->split]);
    add_int(t, "first", o->first);
    add_int(t, "tasks", o->tasks);
    add_int(t, "samples", o->samples);
    dm_text_print(t, ",\n  \"env-seed\": \"%llu\"", (unsigned long long)o->env_seed);
    add_string(t, "from", o->from);
    if (o->from && o->continue_at >= 0)
        dm_text_print(t, ",\n  \"continue-at\": \"%lld\"", (long long)o->continue_at);
    else
        add_string(t, "continue-at", o->from ? "all" : NULL);
    dm_text_print(t, ",\n  \"temperature\": ");
    dm_text_json_double(t, o->temperature);
    add_int(t, "top-k", o->top_k);
    dm_text_print(t, ",\n  \"top-p\": ");
    dm_text_json_double(t, o->top_p);
    dm_text_print(t, ",\n  \"seed\": \"%llu\"", (unsigned long long)o->seed);
    add_string(t, "stop", o->stop);
    add_int(t, "max-turns", o->max_turns);
    add_int(t, "max-tokens", o->max_tokens);
    add_int(t, "max-length", model ? (int64_t)r->max_length : 0);
    dm_text_print(t, "\n }}\n");
}

static dm_status open_file(rollout *r)
{
    const size_t at_once = r->o->at_once ? (size_t)r->o->at_once : AT_ONCE;
    dm_text run = {0};

    describe(&run, r);
    const dm_status s =
        run.failed ? no_memory(r) : dm_rollout_file_open(&r->file, r->o, &r->todo, &run, 4 * at_once + 64, r->err);
    dm_text_free(&run);
    r->next = r->file.written;
    r->status.total = (int64_t)r->todo.n;
    r->status.done = (int64_t)r->file.written;
    return s;
}

static dm_status run(rollout *r, dmpo_engine *engine)
{
    dm_env *env = NULL;
    dm_status s;

    if ((s = dm_assignments_open(&r->todo, r->o, r->err)) != DM_OK ||
        (s = dm_env_open(&env, r->todo.env, r->err)) != DM_OK ||
        (s = dm_assignments_make(&r->todo, r->o, env, r->err)) != DM_OK ||
        (r->o->player == DM_PLAYER_MODEL && (s = open_policy(r)) != DM_OK) || (s = open_file(r)) != DM_OK) {
        dm_env_close(&env);
        return s;
    }
    r->slots = slots_of(r);
    if (r->slots && (r->slot = calloc(r->slots, sizeof *r->slot)))
        r->slot[0].env = env;
    else
        dm_env_close(&env);
    for (size_t i = 0; r->slot && i < r->slots; i++)
        r->slot[i].index = IDLE;
    if (r->slots && !r->slot)
        return no_memory(r);
    if (r->slots == 0 || report(r, NULL)) /* all is there already */
        return r->s;
    return r->o->player == DM_PLAYER_MODEL ? play_model(r, engine) : play_scripted(r, &r->slot[0]);
}

static void close_slot(slot *s)
{
    dm_env_close(&s->env);
    dm_block_free(&s->memory);
    dm_text_free(&s->name);
    dm_text_free(&s->said);
    dm_ids_free(&s->ids);
    free(s->episode.turn);
    free(s->out);
    free(s->logps);
}

dm_status dm_rollout(dmpo_engine *engine, const dm_rollout_options *options, dm_rollout_fn fn, void *context,
                     dm_rollout_status *result, dm_error *err)
{
    rollout r = {.o = options, .fn = fn, .context = context, .err = err, .file = {.fd = -1}};
    dm_error lost = {0};
    dm_status s = check_options(options, err);

    if (s == DM_OK)
        s = run(&r, engine);
    *result = r.status;
    result->written = (int64_t)r.file.written;
    result->reward = r.file.reward;
    result->success = r.file.success;
    const dm_status closed = dm_rollout_file_close(&r.file, s == DM_OK ? err : &lost);
    for (size_t i = 0; r.slot && i < r.slots; i++)
        close_slot(&r.slot[i]);
    free(r.slot);
    free(r.request);
    dmpo_model_close(&r.model);
    dm_tokenizer_close(&r.tokenizer);
    dm_assignments_close(&r.todo);
    return s == DM_OK ? closed : s;
}
