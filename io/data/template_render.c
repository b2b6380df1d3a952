/* A conversation as text, and the text as ids. */
#include <stdlib.h>
#include <string.h>

#include "io/data/template_internal.h"
#include "io/tokenizer/unicode.h"

static const char *const role_names[] = {"system", "user", "assistant", "tool"};

static dm_status no_memory(dm_error *err)
{
    return dm_fail(err, DM_ERR_MEMORY, "no memory to render a conversation");
}

/* ---- messages as values ---- */

static bool set_text(jinja_arena *a, jinja_dict *d, const char *key, const char *text, size_t size, uint32_t origin)
{
    const jinja_string *k = jinja_string_of(a, key, strlen(key), 0), *v = jinja_string_of(a, text, size, origin);
    return k != NULL && v != NULL &&
           jinja_dict_set(a, d, (jinja_value){.type = JINJA_STRING, .as.string = k},
                          (jinja_value){.type = JINJA_STRING, .as.string = v});
}

/* A name that cannot be mistaken for a token: then it is no data. */
static bool is_plain_name(const char *s)
{
    return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")] == '\0';
}

/* As transformers does: what a model thought goes by several names. */
static bool add_reasoning(jinja_arena *a, jinja_dict *d)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    jinja_value thought = jinja_none();
    for (size_t i = 0; i < 3 && thought.type == JINJA_NONE; i++) {
        const jinja_entry *e = jinja_dict_find_text(d, names[i], strlen(names[i]));
        thought = e != NULL ? e->value : thought;
    }
    for (size_t i = 0; i < 2 && thought.type != JINJA_NONE; i++) {
        const jinja_string *k = jinja_string_of(a, names[i], strlen(names[i]), 0);
        if (i == 1 && jinja_dict_find_text(d, names[1], strlen(names[1])) != NULL)
            break;
        if (k == NULL || !jinja_dict_set(a, d, (jinja_value){.type = JINJA_STRING, .as.string = k}, thought))
            return false;
    }
    return true;
}

/* An answer without words has no place in the text: a word stands there for its ids. */
static bool needs_stand_in(const dm_message *m)
{
    return m->ids != NULL && m->text != NULL && strspn(m->text, " \t\n\v\f\r") == m->size;
}

/* What is null is left out, as transformers does. */
static dm_status message_value(dm_scene *s, size_t i, jinja_value *out)
{
    const dm_message *m = &s->talk->messages[i];
    jinja_arena *a = &s->c->own->arena;
    const char *role = m->role_name != NULL ? m->role_name : role_names[m->role];
    const uint32_t origin = (uint32_t)i + 1;
    jinja_dict *d = jinja_dict_new(a, 4 + (m->members != NULL ? m->members->length : 0));
    if (d == NULL || !set_text(a, d, "role", role, strlen(role), is_plain_name(role) ? 0 : origin) ||
        (needs_stand_in(m) ? !set_text(a, d, "content", "OK", 2, origin)
                           : m->text != NULL && !set_text(a, d, "content", m->text, m->size, origin)))
        return no_memory(s->err);
    for (const dm_json *v = m->members != NULL ? m->members->child : NULL; v != NULL; v = v->next) {
        jinja_value value;
        if (strcmp(v->key, "role") == 0 || strcmp(v->key, "content") == 0 || v->type == DM_JSON_NULL)
            continue;
        const dm_status status = dm_jinja_from_json(a, v, origin | DM_ORIGIN_MEMBER, &value, s->err);
        if (status != DM_OK)
            return dm_fail_context(s->err, status, "message %zu", i);
        const jinja_string *key = jinja_string_of(a, v->key, v->key_length, 0);
        if (key == NULL || !jinja_dict_set(a, d, (jinja_value){.type = JINJA_STRING, .as.string = key}, value))
            return no_memory(s->err);
    }
    if (m->members != NULL && !add_reasoning(a, d))
        return no_memory(s->err);
    *out = (jinja_value){.type = JINJA_DICT, .as.dict = d};
    return DM_OK;
}

static dm_status check_messages(const dm_scene *s)
{
    const dm_conversation *talk = s->talk;
    bool user = false;
    for (size_t i = 0; i < talk->n; i++) {
        const dm_message *m = &talk->messages[i];
        const size_t valid = m->text != NULL ? dm_utf8_check(m->text, m->size) : 0;
        if (m->text != NULL && valid < m->size)
            return dm_fail(s->err, DM_ERR_INPUT, "message %zu (%s): byte %zu is not valid UTF-8", i,
                           role_names[m->role], valid);
        if (s->c->kind != DM_TEMPLATE_OWN && !dm_template_builtins[s->c->kind].has_tools && m->role == DM_ROLE_TOOL)
            return dm_fail(s->err, DM_ERR_UNSUPPORTED, "message %zu (tool): the %s template has no place for tools", i,
                           dm_template_name(s->c->kind));
        if (m->size > DM_JINJA_OUTPUT)
            return dm_fail(s->err, DM_ERR_UNSUPPORTED, "message %zu has more than %zu MiB", i, DM_JINJA_OUTPUT >> 20);
        user = user || m->role != DM_ROLE_SYSTEM;
    }
    if (talk->n >= DM_ORIGIN_TOOLS)
        return dm_fail(s->err, DM_ERR_UNSUPPORTED, "a conversation of %zu messages", talk->n);
    return user ? DM_OK : dm_fail(s->err, DM_ERR_INPUT, "the conversation has no user message");
}

dm_status dm_scene_open(dm_scene *s, const dm_chat_template *c, const dm_conversation *talk, dm_error *err)
{
    struct dm_template *own = c->own;
    jinja_arena *a = &own->arena;
    *s = (dm_scene){.c = c, .talk = talk, .err = err, .tools = jinja_none()};
    s->program = talk->tools != NULL && own->tools != NULL ? own->tools : own->program;
    dm_status status = check_messages(s);
    if (status != DM_OK)
        return status;
    jinja_reset(a);
    jinja_value *items = jinja_alloc(a, talk->n * sizeof *items);
    jinja_list *list = jinja_alloc(a, sizeof *list);
    if (items == NULL || list == NULL)
        return no_memory(err);
    for (size_t i = 0; i < talk->n && status == DM_OK; i++)
        status = message_value(s, i, &items[i]);
    *list = (jinja_list){items, talk->n};
    s->messages = (jinja_value){.type = JINJA_LIST, .as.list = list};
    if (status == DM_OK && talk->tools != NULL &&
        (status = dm_jinja_from_json(a, talk->tools, DM_ORIGIN_TOOLS, &s->tools, err)) != DM_OK)
        status = dm_fail_context(err, status, "tools");
    return status;
}

dm_status dm_scene_render(const dm_scene *s, size_t n, bool generation_prompt, jinja_text *text)
{
    const struct dm_template *own = s->c->own;
    jinja_arena *a = &s->c->own->arena;
    jinja_list *list = jinja_alloc(a, sizeof *list);
    jinja_string strings[DM_TEMPLATE_VARIABLES];
    dm_jinja_variable variables[DM_TEMPLATE_VARIABLES + 4];
    size_t count = 0;
    if (list == NULL)
        return no_memory(s->err);
    *list = (jinja_list){s->messages.as.list->items, n};
    variables[count++] = (dm_jinja_variable){"messages", {.type = JINJA_LIST, .as.list = list}};
    variables[count++] = (dm_jinja_variable){"tools", s->tools};
    variables[count++] = (dm_jinja_variable){"documents", jinja_none()};
    variables[count++] = (dm_jinja_variable){"add_generation_prompt", jinja_bool(generation_prompt)};
    for (size_t i = 0; i < own->n_variables; i++) {
        const char *value = own->texts.data + own->offsets[i];
        strings[i] = (jinja_string){.data = value, .size = (uint32_t)strlen(value)};
        variables[count++] = (dm_jinja_variable){own->names[i], {.type = JINJA_STRING, .as.string = &strings[i]}};
    }
    return dm_jinja_render(s->program, a, &(dm_jinja_input){.variables = variables, .n = count}, text, s->err);
}

/* ---- text as ids ---- */

/* The bytes of a text that are data. */
static dm_status data_ranges(const dm_scene *s, const jinja_text *text, dm_byte_range **out, size_t *n)
{
    size_t begin = 0;
    *n = 0;
    if ((*out = jinja_alloc(&s->c->own->arena, (text->n_runs + 1) * sizeof **out)) == NULL)
        return no_memory(s->err);
    for (size_t i = 0; i < text->n_runs; begin = text->runs[i++].end) {
        if ((text->runs[i].origin & JINJA_ORIGIN) == 0)
            continue;
        if (*n > 0 && (*out)[*n - 1].end == begin)
            (*out)[*n - 1].end = text->runs[i].end;
        else
            (*out)[(*n)++] = (dm_byte_range){begin, text->runs[i].end};
    }
    return DM_OK;
}

/* Encodes a text piece by piece. */
typedef struct encoder {
    const dm_tokenizer *t;
    const jinja_text *text;
    dm_byte_range *data, *piece; /* [n_data] of the text; of the piece at hand */
    size_t n_data, next_data;
    size_t at;
    dm_text_place place;
    const char *end; /* [end_size] text of the token that ends a turn */
    size_t end_size;
    dm_ids *ids;
    dm_error *err;
} encoder;

/* Up to `to`; *watched as in dm_mixed_text, for byte `watch` of the whole text. */
static dm_status encode_to(encoder *e, size_t to, size_t watch, size_t *watched)
{
    size_t n = 0;
    while (e->next_data < e->n_data && e->data[e->next_data].end <= e->at)
        e->next_data++;
    for (size_t i = e->next_data; i < e->n_data && e->data[i].begin < to; i++)
        e->piece[n++] = (dm_byte_range){e->data[i].begin > e->at ? e->data[i].begin - e->at : 0,
                                        (e->data[i].end < to ? e->data[i].end : to) - e->at};
    dm_mixed_text x = {.text = e->text->data + e->at,
                       .size = to - e->at,
                       .data = e->piece,
                       .n_data = n,
                       .watch = watch != SIZE_MAX ? watch - e->at : SIZE_MAX};
    const dm_status status = dm_tokenizer_encode_mixed(e->t, &x, &e->place, e->ids, e->err);
    if (watched != NULL)
        *watched = x.watched;
    e->at = to;
    return status;
}

static dm_status encoder_open(encoder *e, const dm_scene *s, const dm_tokenizer *t, const jinja_text *text, dm_ids *ids)
{
    const char *end = dm_tokenizer_token(t, s->c->end_of_turn, NULL);
    *e = (encoder){.t = t, .text = text, .place = DM_TEXT_FIRST, .ids = ids, .err = s->err};
    e->end = end != NULL ? end : "";
    e->end_size = strlen(e->end);
    dm_status status = data_ranges(s, text, &e->data, &e->n_data);
    if (status == DM_OK && (e->piece = jinja_alloc(&s->c->own->arena, (e->n_data + 1) * sizeof *e->piece)) == NULL)
        status = no_memory(s->err);
    return status;
}

/* A turn that is given as ids. */
static dm_status put_ids(encoder *e, const dm_turn *turn, const dm_message *m)
{
    dm_status status = DM_OK;
    for (size_t i = 0; i < m->n_ids && status == DM_OK; i++)
        status = dm_ids_push(e->ids, m->ids[i], e->err);
    e->at = turn->end;
    if (!turn->ends_in_token && e->text->size - e->at >= e->end_size &&
        memcmp(e->text->data + e->at, e->end, e->end_size) == 0)
        e->at += e->end_size; /* the ids have it */
    e->place = DM_TEXT_BEHIND_TOKEN;
    return status;
}

/* A cut where a turn begins; none where it ends with a token, which may take what follows it. */
static dm_status encode_turns(encoder *e, const dm_message *messages, const dm_turn *turns, size_t n, dm_span *spans)
{
    dm_status status = DM_OK;
    for (size_t i = 0; i <= n && status == DM_OK; i++) {
        const size_t end = i < n ? turns[i].begin : e->text->size;
        if (i == 0 || !turns[i - 1].ends_in_token || messages[turns[i - 1].message].ids != NULL) {
            status = encode_to(e, end, SIZE_MAX, NULL);
        } else {
            status = encode_to(e, end, turns[i - 1].end, &spans[i - 1].end);
            if (status == DM_OK && spans[i - 1].end == SIZE_MAX)
                status = dm_fail(e->err, DM_ERR_INTERNAL, "a turn's last token was not found again");
        }
        if (i == n || status != DM_OK)
            break;
        const dm_message *m = &messages[turns[i].message];
        spans[i].begin = e->ids->size;
        if (m->ids != NULL || !turns[i].ends_in_token) {
            status = m->ids != NULL ? put_ids(e, &turns[i], m) : encode_to(e, turns[i].end, SIZE_MAX, NULL);
            spans[i].end = e->ids->size;
        }
    }
    return status;
}

/* What the template must not leave out without a word. */
static dm_status check_complete(const dm_scene *s, const jinja_text *text)
{
    bool tools = s->talk->tools == NULL;
    bool *calls = jinja_alloc(&s->c->own->arena, s->talk->n + 1);
    if (calls == NULL)
        return no_memory(s->err);
    memset(calls, 0, s->talk->n + 1);
    for (size_t i = 0; i < text->n_runs; i++) {
        const uint32_t origin = text->runs[i].origin & JINJA_ORIGIN;
        tools = tools || origin == DM_ORIGIN_TOOLS;
        if (origin & DM_ORIGIN_MEMBER)
            calls[(origin & DM_ORIGIN_INDEX) - 1] = true;
    }
    if (!tools)
        return dm_fail(s->err, DM_ERR_UNSUPPORTED, "the template (%s) leaves out the conversation's tools",
                       dm_template_name(s->c->kind));
    for (size_t i = 0; i < s->talk->n; i++) {
        const dm_json *v = dm_json_get(s->talk->messages[i].members, "tool_calls");
        if (v != NULL && v->type == DM_JSON_ARRAY && v->length > 0 && !calls[i])
            return dm_fail(s->err, DM_ERR_UNSUPPORTED, "message %zu: the template (%s) leaves out its tool calls", i,
                           dm_template_name(s->c->kind));
    }
    return DM_OK;
}

dm_status dm_template_render(const dm_chat_template *c, const dm_tokenizer *t, const dm_conversation *talk,
                             bool generation_prompt, dm_ids *ids, dm_span *spans, size_t *n_spans, dm_error *err)
{
    dm_scene s;
    jinja_text text;
    encoder e;
    *n_spans = 0;
    dm_status status = dm_scene_open(&s, c, talk, err);
    if (status == DM_OK && generation_prompt && talk->messages[talk->n - 1].role == DM_ROLE_ASSISTANT)
        status =
            dm_fail(err, DM_ERR_INPUT, "message %zu, the last, must be from user for the agent to answer", talk->n - 1);
    if (status == DM_OK)
        status = dm_scene_render(&s, talk->n, generation_prompt, &text);
    if (status == DM_OK)
        status = check_complete(&s, &text);
    dm_turn *turns = status == DM_OK ? jinja_alloc(&c->own->arena, (talk->n + 1) * sizeof *turns) : NULL;
    dm_span *all = turns != NULL ? jinja_alloc(&c->own->arena, (talk->n + 1) * sizeof *all) : NULL;
    if (status == DM_OK && all == NULL)
        status = no_memory(err);
    size_t n = 0;
    bool sampled = false;
    for (size_t i = 0; i < talk->n; i++)
        sampled = sampled || talk->messages[i].ids != NULL;
    if (status == DM_OK && (spans != NULL || sampled))
        status = dm_turns_find(&s, t, &text, turns, &n);
    if (status == DM_OK)
        status = encoder_open(&e, &s, t, &text, ids);
    if (status == DM_OK)
        status = encode_turns(&e, talk->messages, turns, n, all);
    for (size_t i = 0; i < n && spans != NULL && status == DM_OK; i++)
        if (talk->messages[turns[i].message].train)
            spans[(*n_spans)++] = all[i];
    return status;
}

/* What was before looks otherwise now: everything from its text. */
static dm_status render_anew(const dm_chat_template *c, const dm_tokenizer *t, const dm_conversation *talk, dm_ids *ids,
                             dm_error *err)
{
    dm_message *messages = malloc(talk->n * sizeof *messages);
    size_t none;
    if (messages == NULL)
        return no_memory(err);
    memcpy(messages, talk->messages, talk->n * sizeof *messages);
    for (size_t i = 0; i < talk->n; i++)
        messages[i].ids = NULL;
    ids->size = 0;
    const dm_conversation plain = {.messages = messages, .n = talk->n, .tools = talk->tools};
    const dm_status status = dm_template_render(c, t, &plain, true, ids, NULL, &none, err);
    free(messages);
    return status;
}

dm_status dm_template_continue(const dm_chat_template *c, const dm_tokenizer *t, const dm_conversation *talk,
                               dm_ids *ids, dm_error *err)
{
    dm_scene s;
    jinja_text before, now;
    encoder e;
    size_t answer = talk->n, last = 0, end = 0;
    while (answer > 0 && talk->messages[answer - 1].role != DM_ROLE_ASSISTANT)
        answer--;
    if (answer == 0 || answer == talk->n)
        return dm_fail(err, DM_ERR_INTERNAL, "a conversation is continued after an answer, with a question");
    dm_status status = dm_scene_open(&s, c, talk, err);
    if (status == DM_OK)
        status = dm_scene_render(&s, answer, false, &before);
    if (status == DM_OK)
        status = dm_scene_render(&s, talk->n, true, &now);
    if (status == DM_OK)
        status = encoder_open(&e, &s, t, &now, ids);
    if (status != DM_OK)
        return status;
    for (size_t i = 0; i < before.n_runs; i++)
        if ((before.runs[i].origin & JINJA_ORIGIN & ~DM_ORIGIN_MEMBER) == answer)
            last = before.runs[i].end;
    end = dm_turn_end(c, t, &before, last, before.size);
    if (end == 0 || last == 0 || end > now.size || memcmp(before.data, now.data, end) != 0)
        return render_anew(c, t, talk, ids, err);
    e.at = end;
    e.place = DM_TEXT_BEHIND_TOKEN;
    return encode_to(&e, now.size, SIZE_MAX, NULL);
}

void dm_template_identity(const dm_chat_template *c, const dm_tokenizer *t, char hex[DM_SHA256_HEX])
{
    const char *source = dm_template_source(c);
    dm_sha256 h;
    dm_sha256_init(&h);
    for (size_t id = 0; id < dm_tokenizer_size(t); id++) {
        bool special = false;
        const char *token = dm_tokenizer_token(t, (int32_t)id, &special);
        const unsigned char kind = token == NULL ? 0 : special ? 2 : 1;
        dm_sha256_update(&h, &kind, 1);
        if (token != NULL)
            dm_sha256_update(&h, token, strlen(token) + 1);
    }
    dm_sha256_update(&h, source, strlen(source));
    dm_sha256_finish(&h, hex);
}

void dm_template_words(const dm_chat_template *c, const dm_tokenizer *t, const char **text, size_t *size)
{
    const struct dm_template *own = c->own;
    if (own->follows_token && dm_tokenizer_prefixes(t))
        dm_tokenizer_trim(t, text, size);
    if (own->before > 0 && *size >= own->before && memcmp(*text, own->around, own->before) == 0) {
        *text += own->before;
        *size -= own->before;
    }
    if (own->behind > 0 && *size >= own->behind &&
        memcmp(*text + *size - own->behind, own->around + own->before, own->behind) == 0)
        *size -= own->behind;
}
