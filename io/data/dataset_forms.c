/* The three data forms: lists of messages in two spellings, and token ids. docs/data.md is the specification. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/data/dataset_internal.h"

/* How a form spells a message. */
typedef struct spelling {
    const char *role, *text;           /* keys */
    const char *user, *agent, *system; /* values of `role` */
} spelling;

static const spelling spellings[] = {
    {"from", "value", "human", "gpt", "system"},
    {"role", "content", "user", "assistant", "system"},
};

dm_status dm_reader_fail(dm_item_reader *r, const dm_json *v, const char *fmt, ...)
{
    char message[DM_ERROR_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    if (!*r->id)
        return dm_json_fail(r->doc, v, r->err, "%s", message);
    return dm_json_fail(r->doc, v, r->err, "item \"%.200s\": %s", r->id, message);
}

static bool grow(void **memory, size_t *capacity, size_t n, size_t size)
{
    if (n <= *capacity)
        return true;
    const size_t want = n > 2 * *capacity ? n : 2 * *capacity;
    void *fresh = want <= SIZE_MAX / size ? realloc(*memory, want * size) : NULL;
    if (!fresh)
        return false;
    *memory = fresh;
    *capacity = want;
    return true;
}

static dm_status fail_memory(const dm_item_reader *r)
{
    return dm_fail(r->err, DM_ERR_MEMORY, "%s: item \"%.200s\": no memory left", dm_json_name(r->doc), r->id);
}

/* ---- messages ---- */

static const spelling *spelling_of(const dm_json *message)
{
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++)
        if (dm_json_get(message, spellings[i].role))
            return &spellings[i];
    return NULL;
}

static bool is_agent(const dm_json *message)
{
    const spelling *s = spelling_of(message);

    return s && dm_json_is(dm_json_get(message, s->role), s->agent);
}

static bool is_system(const dm_json *message)
{
    const spelling *s = spelling_of(message);

    return s && dm_json_is(dm_json_get(message, s->role), s->system);
}

static bool is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] != ' ' && (text[i] < '\t' || text[i] > '\r'))
            return false;
    return true;
}

/* A message's own say: "train": bool or "weight": 0 or 1. *train is left alone without it. */
static dm_status read_train(dm_item_reader *r, const dm_json *v, const char *name, size_t index, bool in_prompt,
                            bool *train)
{
    const dm_json *flag = dm_json_get(v, "train"), *weight = dm_json_get(v, "weight");
    bool wish;

    if (flag && flag->type != DM_JSON_NULL) {
        if (flag->type != DM_JSON_BOOL)
            return dm_reader_fail(r, flag, "%s[%zu]: \"train\" must be true or false", name, index);
        wish = flag->boolean;
    } else if (weight && weight->type != DM_JSON_NULL) {
        if (weight->type != DM_JSON_NUMBER || (weight->number != 0 && weight->number != 1))
            return dm_reader_fail(r, weight, "%s[%zu]: \"weight\" must be 0 or 1", name, index);
        wish = weight->number == 1;
    } else {
        return DM_OK;
    }
    if (in_prompt && wish)
        return dm_reader_fail(r, v, "%s[%zu]: a message of the prompt cannot be trained", name, index);
    *train = wish;
    return DM_OK;
}

/* Appends message `index` of list `name` to r->messages. in_prompt: agent words in it are never trained; else `train`
 * says if they are when the message itself does not. */
static dm_status add_message(dm_item_reader *r, const dm_json *v, const char *name, size_t index, bool in_prompt,
                             bool train)
{
    const spelling *s = spelling_of(v);

    if (!s)
        return dm_reader_fail(
            r, v, "%s[%zu]: must be an object with \"from\" and \"value\" or \"role\" and \"content\"", name, index);
    const dm_json *role = dm_json_get(v, s->role), *text = dm_json_get(v, s->text);
    if (!dm_json_is(role, s->user) && !dm_json_is(role, s->agent) && !dm_json_is(role, s->system))
        return dm_reader_fail(r, role, "%s[%zu]: unknown \"%s\" \"%.40s\": must be \"%s\", \"%s\" or \"%s\"", name,
                              index, s->role, role->type == DM_JSON_STRING ? role->text : "(no string)", s->user,
                              s->agent, s->system);
    if (!text || text->type != DM_JSON_STRING)
        return dm_reader_fail(r, text ? text : v, "%s[%zu]: \"%s\" %s", name, index, s->text,
                              text ? "must be a string" : "is missing");

    dm_message m = {.text = text->text, .size = text->length};
    const size_t n = r->n_messages;
    const bool opens = n == 0 || (n == 1 && r->messages[0].role == DM_ROLE_SYSTEM);
    if (dm_json_is(role, s->system)) {
        if (n > 0)
            return dm_reader_fail(r, v, "%s[%zu]: a system message must be the first of the conversation", name, index);
        m.role = DM_ROLE_SYSTEM;
    } else if (dm_json_is(role, s->user)) {
        if (!opens && r->messages[n - 1].role == DM_ROLE_USER)
            return dm_reader_fail(r, v, "%s[%zu]: a second \"%s\" message in a row: \"%s\" and \"%s\" must alternate",
                                  name, index, s->user, s->user, s->agent);
        m.role = DM_ROLE_USER;
    } else {
        if (opens)
            return dm_reader_fail(r, v,
                                  "%s[%zu]: a conversation must begin with a \"%s\" message, not the agent's (is the "
                                  "prompt missing?)",
                                  name, index, s->user);
        if (r->messages[n - 1].role == DM_ROLE_ASSISTANT)
            return dm_reader_fail(r, v, "%s[%zu]: a second \"%s\" message in a row: \"%s\" and \"%s\" must alternate",
                                  name, index, s->agent, s->user, s->agent);
        if (is_blank(m.text, m.size))
            return dm_reader_fail(r, v, "%s[%zu]: the agent's message is empty", name, index);
        m.role = DM_ROLE_ASSISTANT;
        m.train = train && !in_prompt;
        const dm_status st = read_train(r, v, name, index, in_prompt, &m.train);
        if (st != DM_OK)
            return st;
    }
    if (!grow((void **)&r->messages, &r->messages_capacity, n + 1, sizeof *r->messages))
        return fail_memory(r);
    r->messages[r->n_messages++] = m;
    return DM_OK;
}

/* The first `prompt` messages of the list belong to the prompt, of the others the first `untrained` are not trained
 * unless they say so. */
static dm_status add_list(dm_item_reader *r, const dm_json *list, const char *name, size_t prompt, size_t untrained)
{
    size_t index = 0;

    if (list->type != DM_JSON_ARRAY)
        return dm_reader_fail(r, list, "\"%s\" must be a list of messages%s", name,
                              list->type == DM_JSON_STRING ? ", not a string" : "");
    for (const dm_json *v = list->child; v; v = v->next, index++) {
        const dm_status st = add_message(r, v, name, index, index < prompt, index >= prompt + untrained);
        if (st != DM_OK)
            return st;
    }
    return DM_OK;
}

/* Turns r->messages, which end with those of `list`, into r->ids and r->spans. */
static dm_status render(dm_item_reader *r, const dm_json *list, const char *name)
{
    const dm_data_options *o = r->options;

    if (r->messages[r->n_messages - 1].role != DM_ROLE_ASSISTANT)
        return dm_reader_fail(r, list, "%s[%zu]: the last message must be the agent's", name, list->length - 1);
    if (!o->tokenizer || !o->chat)
        return dm_fail(r->err, DM_ERR_ARGUMENT, "%s: holds text: a tokenizer and a chat template are needed",
                       dm_json_name(r->doc));
    if (!grow((void **)&r->spans, &r->spans_capacity, r->n_messages, sizeof *r->spans))
        return fail_memory(r);
    r->ids.size = 0;
    r->n_spans = 0;
    dm_status st =
        dm_template_render(o->chat, o->tokenizer, &(dm_conversation){.messages = r->messages, .n = r->n_messages},
                           false, &r->ids, r->spans, &r->n_spans, r->err);
    if (st != DM_OK)
        return dm_fail_context(r->err, st, "%s:%u: item \"%.200s\": %s", dm_json_name(r->doc), (unsigned)list->line,
                               r->id, name);
    if (r->n_spans == 0)
        return dm_reader_fail(r, list, "\"%s\": no message of the agent is trained", name);
    return DM_OK;
}

static bool same_text(const dm_json *a, const dm_json *b)
{
    return a && b && a->type == DM_JSON_STRING && b->type == DM_JSON_STRING && a->length == b->length &&
           memcmp(a->text, b->text, a->length) == 0;
}

size_t dm_form_common_prompt(const dm_json *chosen, const dm_json *rejected)
{
    size_t at = 0, common = 0;

    for (const dm_json *a = chosen->child, *b = rejected->child; a && b; a = a->next, b = b->next, at++) {
        const spelling *s = spelling_of(a);
        if (is_agent(a) && is_agent(b))
            common = at;
        if (!s || !same_text(dm_json_get(a, s->role), dm_json_get(b, s->role)) ||
            !same_text(dm_json_get(a, s->text), dm_json_get(b, s->text)))
            break;
    }
    return common;
}

dm_status dm_form_side(dm_item_reader *r, const dm_json *prompt, const dm_json *side, size_t common, const char *name)
{
    dm_status st = DM_OK;

    r->n_messages = 0;
    if (prompt) {
        st = add_list(r, prompt, "prompt", prompt->length, 0);
        if (st == DM_OK && r->n_messages && r->messages[r->n_messages - 1].role == DM_ROLE_ASSISTANT)
            st = dm_reader_fail(r, prompt, "prompt[%zu]: the last message of the prompt must not be the agent's",
                                prompt->length - 1);
    }
    if (st != DM_OK)
        return st;
    if (prompt && spelling_of(side->child) && !is_agent(side->child))
        return dm_reader_fail(r, side->child, "%s[0]: the first message behind a prompt must be the agent's", name);
    st = add_list(r, side, name, common, 0);
    return st == DM_OK ? render(r, side, name) : st;
}

bool dm_form_is_message(const dm_json *v)
{
    return spelling_of(v) != NULL;
}

dm_status dm_form_messages(dm_item_reader *r, const dm_json *list, bool opening, const char *name)
{
    size_t untrained = 0;

    if (opening && list->type == DM_JSON_ARRAY && list->length) {
        const size_t system = is_system(list->child) ? 1 : 0;
        if (list->length - system >= 4) /* human, gpt ("OK"), human (the task), gpt (the first action), ... */
            untrained = system + 2;
    }
    r->n_messages = 0;
    const dm_status st = add_list(r, list, name, 0, untrained);
    if (st == DM_OK && list->length == 0)
        return dm_reader_fail(r, list, "\"%s\" is empty: it must hold at least one message of the agent", name);
    return st;
}

dm_status dm_form_conversation(dm_item_reader *r, const dm_json *list, bool opening, const char *name)
{
    const dm_status st = dm_form_messages(r, list, opening, name);
    return st == DM_OK ? render(r, list, name) : st;
}

dm_status dm_form_prompt(dm_item_reader *r, const dm_json *list, const char *name)
{
    const dm_data_options *o = r->options;
    size_t none;

    r->n_messages = 0;
    const dm_status st = add_list(r, list, name, list->length, 0);
    if (st != DM_OK)
        return st;
    if (r->n_messages == 0 || r->messages[r->n_messages - 1].role != DM_ROLE_USER)
        return dm_reader_fail(r, list, "%s: the last message must be the user's, for the agent to answer", name);
    return dm_template_render(o->chat, o->tokenizer, &(dm_conversation){.messages = r->messages, .n = r->n_messages},
                              true, &r->ids, NULL, &none, r->err);
}

/* ---- token ids ---- */

static dm_status read_ids(dm_item_reader *r, const dm_json *list, const char *prefix)
{
    const size_t limit = r->options->vocabulary ? r->options->vocabulary : (size_t)INT32_MAX;
    size_t index = 0;

    r->ids.size = 0;
    for (const dm_json *v = list->child; v; v = v->next, index++) {
        if (!v->is_integer || v->integer < 0 || (uint64_t)v->integer >= limit)
            return dm_reader_fail(r, v, "%sids[%zu] must be a token id from 0 to %zu", prefix, index, limit - 1);
        const dm_status st = dm_ids_push(&r->ids, (int32_t)v->integer, r->err);
        if (st != DM_OK)
            return st;
    }
    return DM_OK;
}

static dm_status read_turns(dm_item_reader *r, const dm_json *list, const char *prefix)
{
    size_t last = 0;

    if (!grow((void **)&r->spans, &r->spans_capacity, list->length, sizeof *r->spans))
        return fail_memory(r);
    r->n_spans = 0;
    for (const dm_json *v = list->child; v; v = v->next) {
        const dm_json *b = v->type == DM_JSON_ARRAY ? v->child : NULL, *e = b ? b->next : NULL;
        if (!e || e->next || !b->is_integer || !e->is_integer)
            return dm_reader_fail(r, v, "%sturns[%zu] must be [begin, end), two integers", prefix, r->n_spans);
        const long long begin = b->integer, end = e->integer;
        const char *wrong = NULL;
        if (begin < 1)
            wrong = "begins before token 1: an action needs something to follow";
        else if (end <= begin)
            wrong = "is empty";
        else if ((unsigned long long)end > r->ids.size)
            wrong = "ends behind the last token";
        else if ((unsigned long long)begin < last)
            wrong = "begins before the turn ahead of it ends";
        if (wrong)
            return dm_reader_fail(r, v, "%sturns[%zu] is [%lld, %lld) of %zu tokens: it %s", prefix, r->n_spans, begin,
                                  end, r->ids.size, wrong);
        r->spans[r->n_spans++] = (dm_span){(size_t)begin, (size_t)end};
        last = (size_t)end;
    }
    return DM_OK;
}

dm_status dm_form_tokens(dm_item_reader *r, const dm_json *v, const char *name)
{
    const dm_json *ids = dm_json_get(v, "ids"), *turns = dm_json_get(v, "turns");
    char prefix[32];

    snprintf(prefix, sizeof prefix, "%.28s%s", name, *name ? "." : "");
    if (!ids || ids->type != DM_JSON_ARRAY)
        return dm_reader_fail(r, ids ? ids : v, "\"%sids\" %s", prefix,
                              ids ? "must be a list of token ids" : "is missing");
    if (!turns || turns->type != DM_JSON_ARRAY)
        return dm_reader_fail(r, turns ? turns : v, "\"%sturns\" %s", prefix,
                              turns ? "must be a list of [begin, end)" : "is missing");
    if (turns->length == 0)
        return dm_reader_fail(r, turns, "\"%sturns\" is empty: it must hold at least one turn", prefix);
    dm_status st = read_ids(r, ids, prefix);
    return st == DM_OK ? read_turns(r, turns, prefix) : st;
}
