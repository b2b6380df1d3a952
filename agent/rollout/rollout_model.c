/* A model plays: its episodes are slots of dmpo_model_generate_continuous, so that one whose turn is over takes its
 * step in the environment and continues while the others are still in the middle of theirs. Turns stay as generated;
 * only what is new is tokenized (dm_template_continue). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/rollout/rollout_internal.h"
#include "core/files/file.h"
#include "core/files/path.h"
#include "model/formats/source.h"
#include "simd/precision.h"

#define CACHE_BYTES ((uint64_t)1 << 31)
#define LENGTH_DEFAULT 4096

/* A turn begins only where it fits whole. */
static void check_length(const dm_rollout_run *r, dm_rollout_flight *f)
{
    if (f->ids.size + (size_t)r->o->max_tokens + 1 > r->max_length)
        f->episode.end = "length";
}

/* The conversation so far as the model's prompt; f->ids holds it up to the end of the last turn, or nothing. */
static dm_status render(dm_rollout_run *r, dm_rollout_flight *f)
{
    const dm_episode *e = &f->episode;
    const size_t n = DM_EPISODE_PROMPT + 2 * e->turns;
    dm_message *m = calloc(n, sizeof *m);
    const dm_conversation talk = {.messages = m, .n = n};
    size_t none;

    if (!m)
        return dm_rollout_no_memory(r);
    for (size_t i = 0; i < n; i++) {
        const size_t after = i < DM_EPISODE_PROMPT ? 0 : i - DM_EPISODE_PROMPT;
        const char *text = i < DM_EPISODE_PROMPT ? e->prompt[i]
                           : after % 2           ? e->turn[after / 2].observation
                                                 : e->turn[after / 2].action;
        m[i] = (dm_message){.role = i % 2 ? DM_ROLE_ASSISTANT : DM_ROLE_USER, .text = text, .size = strlen(text)};
        if (i >= DM_EPISODE_PROMPT && i % 2) {
            m[i].train = true; /* it begins with a token of its own, as where it is trained */
            m[i].ids = e->turn[after / 2].ids;
            m[i].n_ids = e->turn[after / 2].n_ids;
        }
    }
    const dm_status status = f->ids.size == 0
                                 ? dm_template_render(&r->chat, r->tokenizer, &talk, true, &f->ids, NULL, &none, r->err)
                                 : dm_template_continue(&r->chat, r->tokenizer, &talk, &f->ids, r->err);
    free(m);
    check_length(r, f);
    return status;
}

/* Appends the text of one token; a padded vocabulary has ids without one. */
static dm_status decode(const dm_rollout_run *r, int32_t id, dm_text *out)
{
    if ((size_t)id >= dm_tokenizer_size(r->tokenizer))
        return DM_OK;
    const dm_status s = dm_tokenizer_decode(r->tokenizer, &id, 1, true, out, r->err);
    return s == DM_OK && out->failed ? dm_rollout_no_memory(r) : s;
}

/* Whether the turn ends with that token's text. */
static bool stop_met(dm_rollout_run *r, dm_rollout_flight *f, int32_t id)
{
    dm_text bytes = {0};
    const char *none;
    size_t n;

    if (!r->o->stop)
        return false;
    r->s = decode(r, id, &bytes);
    if (r->s == DM_OK)
        r->s = dm_stop_text_add(&f->said, bytes.data ? bytes.data : "", bytes.size, &none, &n, r->err);
    dm_text_free(&bytes);
    return f->said.met;
}

static int on_token(void *context, size_t index, int32_t id, float logp)
{
    dm_rollout_run *r = context;
    dm_rollout_flight *f = &r->flight[index];

    r->status.tokens++;
    if (!isfinite(logp) && r->s == DM_OK)
        r->s = dm_fail(r->err, DM_ERR_NONFINITE, "%s: turn %zu: a token's log-probability is %s", f->episode.id,
                       f->episode.turns + 1, isnan(logp) ? "NaN" : "infinite");
    const bool met = r->s == DM_OK && stop_met(r, f, id);
    return dm_rollout_report(r, NULL) || met;
}

/* The slot's request has its answer. */
static dm_status take_answer(dm_rollout_run *r, dm_rollout_flight *f, const dmpo_request *q)
{
    dm_text text = {0};
    dm_status status = DM_OK;

    for (size_t i = 0; i < q->n_out && status == DM_OK; i++) {
        if ((status = dm_ids_push(&f->ids, q->out[i], r->err)) == DM_OK)
            status = decode(r, q->out[i], &text);
    }
    const char *words = text.data ? text.data : "";
    size_t size = text.size;
    const bool longer = f->said.met && f->said.at + strlen(r->o->stop) < size; /* its last token says more than that */
    if (longer)
        size = f->said.at + strlen(r->o->stop);
    dm_template_words(&r->chat, r->tokenizer, &words, &size);
    if (status == DM_OK)
        status = dm_rollout_flight_turn(r, f, words, size, q);
    dm_text_free(&text);
    if (longer && status == DM_OK) { /* the next turn, and who trains it, sees the words that count */
        f->ids.size = 0;
        f->episode.turn[f->episode.turns - 1].ids = NULL;
        f->episode.turn[f->episode.turns - 1].token_logps = NULL;
        f->episode.turn[f->episode.turns - 1].n_ids = 0;
    }
    if (status != DM_OK || f->episode.end)
        return status;
    return render(r, f);
}

static int next_request(void *context, size_t index)
{
    dm_rollout_run *r = context;
    dm_rollout_flight *f = &r->flight[index];
    dmpo_request *q = &r->request[index];

    if (r->s == DM_OK && f->index != DM_ROLLOUT_IDLE)
        r->s = take_answer(r, f, q);
    while (r->s == DM_OK && (f->index == DM_ROLLOUT_IDLE || f->episode.end)) {
        if (f->index != DM_ROLLOUT_IDLE) {
            r->s = dm_rollout_flight_finish(r, f);
            dm_rollout_report(r, NULL);
        } else if (dm_rollout_flight_claim(r, f)) {
            r->s = dm_rollout_flight_begin(r, f);
            f->ids.size = 0;
            if (r->s == DM_OK && !f->episode.end)
                r->s = render(r, f);
        } else {
            return 0;
        }
    }
    if (r->s != DM_OK)
        return -1;
    dm_stop_text_begin(&f->said, r->o->stop);
    f->sampling = (dmpo_sampling){.size = sizeof f->sampling,
                                  .temperature = r->o->temperature,
                                  .top_k = r->o->top_k,
                                  .top_p = r->o->top_p,
                                  .seed = r->o->seed,
                                  .episode = f->stream,
                                  .max_tokens = r->o->max_tokens,
                                  .stop = r->stop,
                                  .n_stop = r->n_stop};
    *q = (dmpo_request){.size = sizeof *q,
                        .slot = index,
                        .ids = f->ids.data,
                        .n = f->ids.size,
                        .sampling = &f->sampling,
                        .out = f->out,
                        .logps = f->logps,
                        .end = &r->chat.end_of_turn};
    return 1;
}

/* A directory's tokenizer.json has a hash of its own; a file's tokenizer is part of the file. */
static dm_status hash_tokenizer(dm_rollout_run *r, const dm_source *source)
{
    dm_path path;
    dm_status s;

    if (dm_source_kind_of(source) != DM_SOURCE_HF)
        return dm_source_base_sha256(source, r->tokenizer_sha256, r->err);
    if ((s = dm_path_in(&path, dm_source_path(source), "tokenizer.json", r->err)) != DM_OK)
        return s;
    return dm_file_exists(path.text) ? dm_file_sha256(path.text, r->tokenizer_sha256, r->err)
                                     : dm_source_base_sha256(source, r->tokenizer_sha256, r->err);
}

/* What follows from tokenizer, template and configuration. */
static dm_status prepare(dm_rollout_run *r)
{
    const dm_rollout_options *o = r->o;
    const int64_t most = r->config.max_positions;

    dm_template_identity(&r->chat, r->tokenizer, r->identity);
    r->max_length = (size_t)(o->max_length ? o->max_length : most < LENGTH_DEFAULT ? most : LENGTH_DEFAULT);
    r->n_stop = dm_config_stops(r->stop, &r->config, r->chat.end_of_turn);
    if ((size_t)o->max_tokens + 2 > r->max_length)
        return dm_fail(r->err, DM_ERR_ARGUMENT, "--max-tokens %lld leave no room for a prompt within %zu tokens",
                       (long long)o->max_tokens, r->max_length);
    return DM_OK;
}

static dm_status use_policy(dm_rollout_run *r)
{
    const dm_rollout_live *p = r->o->live;

    r->config = *p->config;
    r->tokenizer = p->tokenizer;
    r->chat = *p->chat;
    memcpy(r->model_sha256, p->sha256, sizeof r->model_sha256);
    const dm_status s = prepare(r);
    memcpy(r->tokenizer_sha256, r->identity, sizeof r->tokenizer_sha256);
    return s;
}

static dm_status open_policy(dm_rollout_run *r, const dm_source *source)
{
    const dm_rollout_options *o = r->o;
    dm_status s;

    r->config = *dm_source_config(source);
    if ((s = dm_source_tokenizer(source, &r->tokenizer, &r->chat,
                                 &(dm_template_choice){.name = o->chat_template, .options = o->template_options},
                                 r->err)) != DM_OK)
        return s;
    if (!r->tokenizer)
        return dm_fail(r->err, DM_ERR_INPUT, "%s: has no tokenizer (tokenizer.json), which an agent's words need",
                       o->model);
    if ((s = prepare(r)) != DM_OK || (s = hash_tokenizer(r, source)) != DM_OK)
        return s;
    return dm_source_sha256(source, r->model_sha256, r->err);
}

/* Tokenizer, template and what the episodes' length is, before any weight is read. */
dm_status dm_rollout_policy(dm_rollout_run *r)
{
    dm_source *source = NULL;
    if (r->o->live)
        return use_policy(r);
    dm_status s = dm_source_open_on(&source, r->o->model, r->o->base, r->err);

    if (s == DM_OK)
        s = open_policy(r, source);
    dm_source_close(&source);
    return s;
}

size_t dm_rollout_at_once(const dm_rollout_run *r, const dm_env *env)
{
    const size_t left = r->todo.n - r->file.written;
    uint64_t n = r->o->live ? r->o->live->slots : (uint64_t)r->o->at_once;

    if (r->o->player != DM_ROLLOUT_PLAYER_MODEL)
        return 1;
    if (n == 0) {
        const uint64_t each =
            (uint64_t)r->config.layers * 2 * r->config.kv_heads * r->config.head_dim * r->max_length * sizeof(float);
        n = CACHE_BYTES / each;
        n = n < 1 ? 1 : n > DM_ROLLOUT_AT_ONCE ? DM_ROLLOUT_AT_ONCE : n;
        n = env->at_once && n > (uint64_t)env->at_once ? (uint64_t)env->at_once : n;
    }
    return n < left ? (size_t)n : left;
}

dm_status dm_rollout_model(dm_rollout_run *r, dmpo_engine *engine)
{
    dmpo_error error = {0};
    const size_t room = (size_t)r->o->max_tokens + 1;

    if (!(r->request = calloc(r->flights, sizeof *r->request)))
        return dm_rollout_no_memory(r);
    for (size_t i = 0; i < r->flights; i++) {
        r->request[i] = (dmpo_request){.size = sizeof *r->request, .slot = i};
        r->flight[i].out = malloc(room * sizeof(int32_t));
        r->flight[i].logps = malloc(room * sizeof(float));
        if (!r->flight[i].out || !r->flight[i].logps)
            return dm_rollout_no_memory(r);
    }
    int s = DMPO_OK;
    if (r->o->live)
        r->model = r->o->live->session;
    else
        s = dmpo_model_open_on(&r->model, engine, r->o->model, r->o->base, r->flights, r->max_length, &error);
    if (s == DMPO_ERR_MEMORY)
        return dm_fail(r->err, DM_ERR_MEMORY, "%s; %zu episodes at once of %zu tokens: lower --at-once or --max-length",
                       error.message, r->flights, r->max_length);
    if (s == DMPO_OK)
        s = dmpo_model_set_precision(r->model, dm_precision_names[r->o->precision], &error);
    if (s == DMPO_OK)
        s = dmpo_model_generate_continuous(r->model, r->request, r->flights, next_request, on_token, r, &error);
    if (r->s == DM_OK && s != DMPO_OK)
        r->s = dm_fail(r->err, (dm_status)s, "%s", error.message);
    return r->s;
}
