/* Episodes to JSON lines and back, and the action in an agent's words. */
#include "agent/rollout/episode.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/numbers/block.h"

const char *const dm_episode_end_names[DM_EPISODE_ENDS + 1] = {"done", "turns", "length", "environment", NULL};

/* ---- writing ---- */

/* A number where every reader of JSON keeps it exactly, else a string. */
static void put_seed(dm_json_writer *w, const char *key, uint64_t seed)
{
    char digits[24];

    if (seed <= (uint64_t)1 << 53) {
        dm_json_put_uint(w, key, seed);
        return;
    }
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)seed);
    dm_json_put_string(w, key, digits);
}

static void put_message(dm_json_writer *w, bool agent, const char *words, const dm_episode_turn *turn)
{
    dm_json_open_object(w, NULL);
    dm_json_put_string(w, "from", agent ? "gpt" : "human");
    dm_json_put_string(w, "value", words);
    if (turn)
        dm_episode_put_ids(w, turn);
    if (turn && turn->token_logps) {
        dm_json_open_array(w, "logps");
        for (size_t i = 0; i < turn->n_ids; i++)
            dm_json_put_float(w, NULL, turn->token_logps[i]);
        dm_json_close_value(w);
    }
    dm_json_close_value(w);
}

void dm_episode_put_ids(dm_json_writer *w, const dm_episode_turn *turn)
{
    if (!turn->ids)
        return;
    dm_json_open_array(w, "ids");
    for (size_t i = 0; i < turn->n_ids; i++)
        dm_json_put_int(w, NULL, turn->ids[i]);
    dm_json_close_value(w);
}

static void put_turns(dm_json_writer *w, const dm_episode *e)
{
    dm_json_put_uint(w, "turns", e->turns);
    dm_json_open_array(w, "scores");
    for (size_t i = 0; i < e->turns; i++)
        dm_json_put_double(w, NULL, e->turn[i].score);
    dm_json_close_value(w);
    dm_json_open_array(w, "logps");
    for (size_t i = 0; i < e->turns; i++)
        dm_json_put_double(w, NULL, e->turn[i].logp);
    dm_json_close_value(w);
    dm_json_open_array(w, "tokens");
    for (size_t i = 0; i < e->turns; i++)
        dm_json_put_int(w, NULL, e->turn[i].tokens);
    dm_json_close_value(w);
    dm_json_open_array(w, "conversations");
    for (size_t i = 0; i < DM_EPISODE_PROMPT; i++)
        put_message(w, i % 2 == 1, e->prompt[i], NULL);
    for (size_t i = 0; i < e->turns; i++) {
        put_message(w, true, e->turn[i].action, &e->turn[i]);
        if (i + 1 < e->turns)
            put_message(w, false, e->turn[i].observation, NULL);
    }
    dm_json_close_value(w);
    dm_json_put_string(w, "final", e->turns ? e->turn[e->turns - 1].observation : NULL);
}

void dm_episode_write(dm_text *out, const dm_episode *e)
{
    dm_json_writer w = {.out = out};

    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "id", e->id);
    dm_json_put_string(&w, "env", e->env);
    dm_json_put_string(&w, "split", dm_env_split_names[e->split]);
    dm_json_put_int(&w, "task", e->task);
    put_seed(&w, "seed", e->seed);
    dm_json_put_int(&w, "sample", e->sample);
    dm_json_put_string(&w, "policy", e->policy);
    dm_json_put_string(&w, "model", e->model);
    dm_json_put_string(&w, "tokenizer", e->tokenizer);
    dm_json_put_double(&w, "temperature", e->temperature);
    put_seed(&w, "sampling_seed", e->sampling_seed);
    dm_json_put_int(&w, "replayed", e->replayed);
    dm_json_put_double(&w, "reward", e->reward);
    dm_json_put_bool(&w, "done", e->done);
    dm_json_put_string(&w, "end", e->end);
    put_turns(&w, e);
    dm_json_close_value(&w);
    dm_text_add(out, "\n", 1);
}

/* ---- reading ---- */

typedef struct memory {
    dm_block *blocks;
    dm_json_doc **docs; /* keep the strings */
    size_t n_docs;
} memory;

typedef struct reader {
    const dm_json_doc *doc;
    memory *m;
    dm_error *err;
} reader;

static dm_status wrong(const reader *r, const dm_json *v, const dm_json *object, const char *key, const char *legal)
{
    return dm_json_fail(r->doc, v ? v : object, r->err, v ? "\"%s\" %s" : "\"%s\" is missing: it %s", key, legal);
}

/* A C string: what has a NUL inside is refused. NULL only where `optional`: absent or null. */
static dm_status get_string(const reader *r, const dm_json *object, const char *key, bool optional, const char **out)
{
    const dm_json *v = dm_json_get(object, key);

    *out = NULL;
    if (optional && (!v || v->type == DM_JSON_NULL))
        return DM_OK;
    if (!v || v->type != DM_JSON_STRING || strlen(v->text) != v->length)
        return wrong(r, v, object, key, "must be a string without NUL");
    *out = v->text;
    return DM_OK;
}

static dm_status get_choice(const reader *r, const dm_json *object, const char *key, const char *const *choices,
                            size_t *out)
{
    const dm_json *v = dm_json_get(object, key);
    dm_text legal = {0};

    for (*out = 0; choices[*out]; ++*out)
        if (dm_json_is(v, choices[*out]))
            return DM_OK;
    dm_text_print(&legal, "must be one of:");
    for (size_t i = 0; choices[i]; i++)
        dm_text_print(&legal, "%s %s", i ? "," : "", choices[i]);
    const dm_status s = wrong(r, v, object, key, legal.failed ? "has an unknown value" : legal.data);
    dm_text_free(&legal);
    return s;
}

static dm_status get_seed(const reader *r, const dm_json *object, const char *key, uint64_t *out)
{
    const dm_json *v = dm_json_get(object, key);
    uint64_t n = 0;
    bool sound = v && v->type == DM_JSON_STRING && v->length > 0;

    if (v && v->type == DM_JSON_NUMBER && v->is_integer && v->integer >= 0) {
        *out = (uint64_t)v->integer;
        return DM_OK;
    }
    for (size_t i = 0; sound && i < v->length; i++) {
        const unsigned digit = (unsigned)(unsigned char)v->text[i] - '0';
        sound = digit <= 9 && n <= (UINT64_MAX - digit) / 10;
        n = n * 10 + digit;
    }
    if (!sound)
        return wrong(r, v, object, key, "must be a whole number from 0 to 2^64-1");
    *out = n;
    return DM_OK;
}

static dm_status get_list(const reader *r, const dm_json *object, const char *key, size_t length, const dm_json **first)
{
    const dm_json *v = dm_json_get(object, key);

    *first = NULL;
    if (!v || v->type != DM_JSON_ARRAY)
        return wrong(r, v, object, key, "must be a list with one value a turn");
    if (v->length != length)
        return dm_json_fail(r->doc, v, r->err, "\"%s\" has %zu values for %zu turns", key, v->length, length);
    *first = v->child;
    return DM_OK;
}

static dm_status read_message(const reader *r, const dm_json *v, size_t index, const char **words)
{
    const char *const who = index % 2 ? "gpt" : "human";
    const dm_json *text = dm_json_get(v, "value");

    if (!dm_json_is(dm_json_get(v, "from"), who) || !text || text->type != DM_JSON_STRING ||
        strlen(text->text) != text->length)
        return dm_json_fail(r->doc, v, r->err,
                            "conversations[%zu] must be {\"from\": \"%s\", \"value\": a string without NUL}", index,
                            who);
    *words = text->text;
    return DM_OK;
}

/* The record of a turn's tokens, where there is one. */
static dm_status read_tokens(const reader *r, const dm_json *v, size_t index, dm_episode_turn *t)
{
    const dm_json *ids = dm_json_get(v, "ids"), *logps = dm_json_get(v, "logps");
    size_t n = 0;

    if (!ids)
        return DM_OK;
    const size_t room = ids->type == DM_JSON_ARRAY ? ids->length : 0;
    int32_t *id = dm_block_alloc(&r->m->blocks, room * sizeof *id + 1);
    float *logp = dm_block_alloc(&r->m->blocks, room * sizeof *logp + 1);
    if (!id || !logp)
        return dm_fail(r->err, DM_ERR_MEMORY, "%s: no memory for its episodes", dm_json_name(r->doc));
    const dm_json *bad = dm_json_token_ids(ids, id);
    if (bad)
        return dm_json_fail(r->doc, bad, r->err, "conversations[%zu]: \"ids\" must be a list of token ids", index);
    t->ids = id;
    t->n_ids = room;
    if (!logps)
        return DM_OK;
    if (logps->type != DM_JSON_ARRAY || logps->length != room)
        return dm_json_fail(r->doc, logps, r->err,
                            "conversations[%zu]: \"logps\" must be a list of as many numbers as \"ids\" has", index);
    for (const dm_json *x = logps->child; x; x = x->next) {
        if (x->type != DM_JSON_NUMBER)
            return dm_json_fail(r->doc, x, r->err, "conversations[%zu]: logps[%zu] must be a number", index, n);
        logp[n++] = (float)x->number;
    }
    t->token_logps = logp;
    return DM_OK;
}

static dm_status read_conversation(const reader *r, const dm_json *object, dm_episode *e)
{
    const dm_json *list = dm_json_get(object, "conversations");
    size_t index = 0;

    if (!list || list->type != DM_JSON_ARRAY)
        return wrong(r, list, object, "conversations", "must be a list of messages");
    if (list->length < DM_EPISODE_PROMPT || (list->length > DM_EPISODE_PROMPT && list->length % 2))
        return dm_json_fail(r->doc, list, r->err,
                            "\"conversations\" has %zu messages: an episode has %d before its turns and ends with "
                            "an action",
                            list->length, DM_EPISODE_PROMPT);
    e->turns = (list->length - DM_EPISODE_PROMPT + 1) / 2;
    if (e->turns && !(e->turn = dm_block_alloc(&r->m->blocks, e->turns * sizeof *e->turn)))
        return dm_fail(r->err, DM_ERR_MEMORY, "%s: no memory for its episodes", dm_json_name(r->doc));
    for (const dm_json *v = list->child; v; v = v->next, index++) {
        const size_t after = index - DM_EPISODE_PROMPT; /* meaningful after the prompt */
        const char **words = index < DM_EPISODE_PROMPT ? &e->prompt[index]
                             : after % 2               ? &e->turn[after / 2].observation
                                                       : &e->turn[after / 2].action;
        dm_status s = read_message(r, v, index, words);
        if (s == DM_OK && index >= DM_EPISODE_PROMPT && after % 2 == 0)
            s = read_tokens(r, v, index, &e->turn[after / 2]);
        if (s != DM_OK)
            return s;
    }
    const char *final;
    const dm_status s = get_string(r, object, "final", true, &final);
    if (e->turns)
        e->turn[e->turns - 1].observation = final;
    return s;
}

static dm_status read_turns(const reader *r, const dm_json *object, dm_episode *e)
{
    const dm_json *score, *logp, *tokens;
    dm_status s = get_list(r, object, "scores", e->turns, &score);
    if (s == DM_OK)
        s = get_list(r, object, "logps", e->turns, &logp);
    if (s == DM_OK)
        s = get_list(r, object, "tokens", e->turns, &tokens);
    for (size_t i = 0; s == DM_OK && i < e->turns; i++, score = score->next, logp = logp->next, tokens = tokens->next) {
        dm_episode_turn *t = &e->turn[i];
        if (score->type != DM_JSON_NUMBER || !(score->number >= 0 && score->number <= 1))
            return dm_json_fail(r->doc, score, r->err, "scores[%zu] must be a number from 0 to 1", i);
        if (logp->type != DM_JSON_NUMBER && logp->type != DM_JSON_NULL)
            return dm_json_fail(r->doc, logp, r->err, "logps[%zu] must be a number or null", i);
        if (!tokens->is_integer || tokens->integer < 0)
            return dm_json_fail(r->doc, tokens, r->err, "tokens[%zu] must be a whole number from 0", i);
        t->score = score->number;
        t->logp = logp->type == DM_JSON_NULL ? NAN : logp->number;
        t->tokens = tokens->integer;
    }
    return s;
}

static dm_status read_episode(const reader *r, const dm_json *v, dm_episode *e)
{
    size_t split = 0, end = 0;
    dm_status s;

    if (v->type != DM_JSON_OBJECT)
        return dm_json_fail(r->doc, v, r->err, "a line must be an episode, an object as dmpo rollout writes it");
    if ((s = get_string(r, v, "id", false, &e->id)) != DM_OK ||
        (s = get_string(r, v, "env", false, &e->env)) != DM_OK ||
        (s = get_choice(r, v, "split", dm_env_split_names, &split)) != DM_OK ||
        (s = dm_json_get_int(r->doc, v, "task", 0, INT64_MAX, NULL, &e->task, r->err)) != DM_OK ||
        (s = get_seed(r, v, "seed", &e->seed)) != DM_OK ||
        (s = dm_json_get_int(r->doc, v, "sample", 0, INT64_MAX, NULL, &e->sample, r->err)) != DM_OK ||
        (s = get_string(r, v, "policy", false, &e->policy)) != DM_OK ||
        (s = get_string(r, v, "model", true, &e->model)) != DM_OK ||
        (s = get_string(r, v, "tokenizer", true, &e->tokenizer)) != DM_OK ||
        (s = dm_json_get_double(r->doc, v, "temperature", 0, DBL_MAX, NULL, &e->temperature, r->err)) != DM_OK ||
        (s = get_seed(r, v, "sampling_seed", &e->sampling_seed)) != DM_OK ||
        (s = dm_json_get_double(r->doc, v, "reward", 0, 1, NULL, &e->reward, r->err)) != DM_OK ||
        (s = dm_json_get_bool(r->doc, v, "done", NULL, &e->done, r->err)) != DM_OK ||
        (s = get_choice(r, v, "end", dm_episode_end_names, &end)) != DM_OK ||
        (s = read_conversation(r, v, e)) != DM_OK || (s = read_turns(r, v, e)) != DM_OK)
        return s;
    e->split = (dm_env_split)split;
    e->end = dm_episode_end_names[end];
    return dm_json_get_int(r->doc, v, "replayed", 0, (int64_t)e->turns, NULL, &e->replayed, r->err);
}

/* The file's whole lines. */
static dm_status parse_file(dm_json_doc **doc, const char *path, dm_error *err)
{
    char *data;
    size_t size;
    dm_status s = dm_file_read(path, DM_JSON_BYTES, &data, &size, err);

    *doc = NULL;
    if (s != DM_OK)
        return s;
    while (size > 0 && data[size - 1] != '\n')
        size--;
    s = dm_json_parse_lines(doc, data, size, path, err);
    free(data);
    return s;
}

static dm_status read_files(dm_episodes *out, memory *m, const char *const *paths, size_t n, dm_error *err)
{
    size_t total = 0;
    for (size_t f = 0; f < n; f++, m->n_docs++) {
        const dm_status s = parse_file(&m->docs[f], paths[f], err);
        if (s != DM_OK)
            return s;
        total += dm_json_root(m->docs[f])->length;
    }
    if (total && !(out->episode = dm_block_alloc(&m->blocks, total * sizeof *out->episode)))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu episodes", total);
    for (size_t f = 0; f < n; f++) {
        const reader r = {m->docs[f], m, err};
        for (const dm_json *v = dm_json_root(m->docs[f])->child; v; v = v->next) {
            const dm_status s = read_episode(&r, v, &out->episode[out->n]);
            if (s != DM_OK)
                return s;
            out->n++;
        }
    }
    return DM_OK;
}

dm_status dm_episodes_read(dm_episodes *out, const char *const *paths, size_t n, dm_error *err)
{
    memory *m = calloc(1, sizeof *m);

    *out = (dm_episodes){.memory = m};
    if (m)
        m->docs = calloc(n ? n : 1, sizeof(dm_json_doc *));
    const dm_status s =
        m && m->docs ? read_files(out, m, paths, n, err) : dm_fail(err, DM_ERR_MEMORY, "no memory for episodes");
    if (s != DM_OK)
        dm_episodes_close(out);
    return s;
}

void dm_episodes_close(dm_episodes *e)
{
    memory *m = e->memory;

    if (m) {
        for (size_t i = 0; i < m->n_docs; i++)
            dm_json_close(&m->docs[i]);
        dm_block_free(&m->blocks);
        free(m->docs);
        free(m);
    }
    *e = (dm_episodes){0};
}

/* ---- actions ---- */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool dm_episode_action(char **action, const char *words, size_t size)
{
    static const char mark[] = "Action:";
    const size_t mark_size = sizeof mark - 1;
    size_t begin = size + 1, end;

    *action = NULL;
    for (size_t i = 0; i + mark_size <= size; i++)
        if (memcmp(words + i, mark, mark_size) == 0)
            begin = i + mark_size;
    if (begin > size)
        return true;
    while (begin < size && is_blank(words[begin]) && words[begin] != '\n')
        begin++;
    for (end = begin; end < size && words[end] != '\n' && words[end]; end++)
        ;
    while (end > begin && is_blank(words[end - 1]))
        end--;
    if (begin == end)
        return true;
    char *copy = *action = malloc(end - begin + 1);
    if (!copy)
        return false;
    memcpy(copy, words + begin, end - begin);
    copy[end - begin] = '\0';
    return true;
}
