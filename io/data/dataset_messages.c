#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/data/dataset_messages_internal.h"

/* How a form spells a message. */
typedef struct spelling {
    const char *role, *text; /* keys */
} spelling;

static const spelling spellings[] = {{"from", "value"}, {"role", "content"}};

/* Every name that data has for a speaker. */
typedef struct speaker {
    const char *name;
    dm_role role;
    const char *role_name; /* what a template reads; NULL: the role's own name */
    bool calls;            /* the text is a call of a tool, as JSON */
} speaker;

static const speaker speakers[] = {
    {"user", DM_ROLE_USER, NULL, false},
    {"human", DM_ROLE_USER, NULL, false},
    {"assistant", DM_ROLE_ASSISTANT, NULL, false},
    {"gpt", DM_ROLE_ASSISTANT, NULL, false},
    {"function_call", DM_ROLE_ASSISTANT, NULL, true},
    {"tool_call", DM_ROLE_ASSISTANT, NULL, true},
    {"system", DM_ROLE_SYSTEM, NULL, false},
    {"developer", DM_ROLE_SYSTEM, "developer", false},
    {"tool", DM_ROLE_TOOL, NULL, false},
    {"observation", DM_ROLE_TOOL, NULL, false},
    {"function_response", DM_ROLE_TOOL, NULL, false},
    {"tool_response", DM_ROLE_TOOL, NULL, false},
    {"function", DM_ROLE_TOOL, NULL, false},
};
#define KNOWN_SPEAKERS                                                                                                 \
    "user (human), assistant (gpt), system, developer, tool (observation, function_response, tool_response) or "       \
    "function_call (tool_call)"

dm_status dm_messages_fail(dm_message_reader *r, const dm_json *v, const char *fmt, ...)
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

dm_status dm_messages_no_memory(const dm_message_reader *r)
{
    return dm_fail(r->err, DM_ERR_MEMORY, "%s: item \"%.200s\": no memory left", dm_json_name(r->doc), r->id);
}

/* ---- what a message is ---- */

static const spelling *spelling_of(const dm_json *message)
{
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++)
        if (dm_json_get(message, spellings[i].role))
            return &spellings[i];
    return NULL;
}

static const speaker *speaker_of(const dm_json *message)
{
    const spelling *s = spelling_of(message);

    for (size_t i = 0; s && i < sizeof speakers / sizeof *speakers; i++)
        if (dm_json_is(dm_json_get(message, s->role), speakers[i].name))
            return &speakers[i];
    return NULL;
}

static bool is_spoken_by(const dm_json *message, dm_role role)
{
    const speaker *s = speaker_of(message);
    return s && s->role == role;
}

bool dm_message_is(const dm_json *v)
{
    return spelling_of(v) != NULL;
}

bool dm_message_is_agent(const dm_json *v)
{
    return is_spoken_by(v, DM_ROLE_ASSISTANT);
}

bool dm_message_is_system(const dm_json *v)
{
    return is_spoken_by(v, DM_ROLE_SYSTEM);
}

bool dm_message_is_user(const dm_json *v)
{
    return is_spoken_by(v, DM_ROLE_USER);
}

const dm_json *dm_message_text(const dm_json *v)
{
    const spelling *s = spelling_of(v);
    const dm_json *text = s ? dm_json_get(v, s->text) : NULL;
    return text && text->type == DM_JSON_STRING ? text : NULL;
}

static bool named(const dm_json *v, const char *key)
{
    return v->key && strcmp(v->key, key) == 0;
}

/* Members that decide what is trained and not what is said. */
static bool is_mark(const dm_json *member)
{
    return named(member, "train") || named(member, "loss") || named(member, "weight");
}

static bool equal(const dm_json *a, const dm_json *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case DM_JSON_NULL:
        return true;
    case DM_JSON_BOOL:
        return a->boolean == b->boolean;
    case DM_JSON_NUMBER:
        return a->is_integer == b->is_integer &&
               (a->is_integer ? a->integer == b->integer : a->number >= b->number && a->number <= b->number);
    case DM_JSON_STRING:
        return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
    case DM_JSON_ARRAY:
    case DM_JSON_OBJECT:
        break;
    }
    if (a->length != b->length)
        return false;
    for (const dm_json *x = a->child, *y = b->child; x && y; x = x->next, y = y->next) {
        const dm_json *other = a->type == DM_JSON_OBJECT ? dm_json_get(b, x->key) : y;
        if (!other || !equal(x, other))
            return false;
    }
    return true;
}

bool dm_message_equal(const dm_json *a, const dm_json *b)
{
    size_t left = 0;

    if (!spelling_of(a) || !spelling_of(b))
        return false;
    for (const dm_json *x = a->child; x; x = x->next) {
        const dm_json *other = dm_json_get(b, x->key);
        if (!is_mark(x) && (!other || !equal(x, other)))
            return false;
        left += !is_mark(x);
    }
    for (const dm_json *y = b->child; y; y = y->next)
        left -= !is_mark(y);
    return left == 0;
}

/* ---- what a message says ---- */

/* A list of {"type": "text", "text"}, put together. */
static dm_status read_parts(dm_message_reader *r, const dm_json *parts, const char *name, size_t index, dm_message *m)
{
    size_t size = 0, part = 0;

    for (const dm_json *v = parts->child; v; v = v->next, part++) {
        const dm_json *text = dm_json_get(v, "text"), *type = dm_json_get(v, "type");
        if (!text || text->type != DM_JSON_STRING || (type && !dm_json_is(type, "text")))
            return dm_messages_fail(r, v, "%s[%zu]: part %zu of its content is not {\"type\": \"text\", \"text\": ...}",
                                    name, index, part);
        size += text->length;
    }
    char *joined = dm_block_alloc(&r->made, size + 1);
    if (!joined)
        return dm_messages_no_memory(r);
    m->text = joined;
    m->size = size;
    for (const dm_json *v = parts->child; v; v = v->next) {
        const dm_json *text = dm_json_get(v, "text");
        memcpy(joined, text->text, text->length);
        joined += text->length;
    }
    return DM_OK;
}

static bool is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] != ' ' && (text[i] < '\t' || text[i] > '\r'))
            return false;
    return true;
}

/* Not null, "", [] or {}. */
static bool is_there(const dm_json *v)
{
    return v && v->type != DM_JSON_NULL && (v->type == DM_JSON_BOOL || v->type == DM_JSON_NUMBER || v->length > 0);
}

/* How a message was sampled: not what it says. */
static bool is_record(const dm_json *member)
{
    return named(member, "ids") || named(member, "logps");
}

static bool has_more(const dm_message_reader *r, const dm_json *message, const spelling *s)
{
    for (const dm_json *v = message->child; v; v = v->next)
        if (!named(v, s->role) && !named(v, s->text) && !is_mark(v) && !(r->recorded && is_record(v)) && is_there(v))
            return true;
    return false;
}

static dm_status read_content(dm_message_reader *r, const dm_json *v, const spelling *s, const char *name, size_t index,
                              dm_message *m)
{
    const dm_json *text = dm_json_get(v, s->text);
    const bool says_more = m->role == DM_ROLE_ASSISTANT && is_there(dm_json_get(v, "tool_calls"));

    if (text && text->type == DM_JSON_STRING) {
        m->text = text->text;
        m->size = text->length;
        return DM_OK;
    }
    if (text && text->type == DM_JSON_ARRAY)
        return read_parts(r, text, name, index, m);
    if (says_more && (!text || text->type == DM_JSON_NULL))
        return DM_OK;
    return dm_messages_fail(r, text ? text : v, "%s[%zu]: \"%s\" %s", name, index, s->text,
                            text ? "must be a string or a list of text parts" : "is missing");
}

/* A message's own choice: "train" or "loss": bool, or "weight": 0 or 1. *train is left alone without it. */
static dm_status read_train(dm_message_reader *r, const dm_json *v, const char *name, size_t index, bool in_prompt,
                            bool *train)
{
    const dm_json *flag = dm_json_get(v, "train"), *weight = dm_json_get(v, "weight");
    bool wish;

    if (!flag || flag->type == DM_JSON_NULL)
        flag = dm_json_get(v, "loss");
    if (flag && flag->type != DM_JSON_NULL) {
        if (flag->type != DM_JSON_BOOL)
            return dm_messages_fail(r, flag, "%s[%zu]: \"%s\" must be true or false", name, index, flag->key);
        wish = flag->boolean;
    } else if (weight && weight->type != DM_JSON_NULL) {
        if (weight->type != DM_JSON_NUMBER || (weight->number != 0 && weight->number != 1))
            return dm_messages_fail(r, weight, "%s[%zu]: \"weight\" must be 0 or 1", name, index);
        wish = weight->number == 1;
    } else {
        return DM_OK;
    }
    if (in_prompt && wish)
        return dm_messages_fail(r, v, "%s[%zu]: a message of the prompt cannot be trained", name, index);
    *train = wish;
    return DM_OK;
}

/* The agent's tokens as they were sampled. Where another tokenizer gave them the text stands for them, and of an answer
 * without words only its end is left. */
static dm_status read_sampled(dm_message_reader *r, const dm_json *v, const char *name, size_t index, dm_message *m)
{
    const dm_json *list = dm_json_get(v, "ids");

    if (!list || list->type == DM_JSON_NULL)
        return DM_OK;
    if (!r->same) {
        const bool blank = r->identity && m->text && is_blank(m->text, m->size);
        r->retokenized++;
        m->ids = blank ? &r->end_of_turn : NULL;
        m->n_ids = blank;
        return DM_OK;
    }
    const bool is_list = list->type == DM_JSON_ARRAY;
    int32_t *ids = dm_block_alloc(&r->made, (is_list ? list->length : 0) * sizeof *ids + 1);
    if (!ids)
        return dm_messages_no_memory(r);
    const dm_json *wrong = dm_json_token_ids(list, ids);
    if (wrong)
        return dm_messages_fail(r, wrong, "%s[%zu]: \"ids\" must be a list of token ids that is not empty", name,
                                index);
    m->ids = ids;
    m->n_ids = list->length;
    return DM_OK;
}

/* ---- the order of speakers ---- */

static bool opens(const dm_message_reader *r)
{
    return r->n == 0 || (r->n == 1 && r->messages[0].role == DM_ROLE_SYSTEM);
}

static dm_status check_order(dm_message_reader *r, const dm_json *v, const char *name, size_t index, dm_role role)
{
    const dm_role last = r->n ? r->messages[r->n - 1].role : DM_ROLE_SYSTEM;

    if (role == DM_ROLE_SYSTEM && r->n > 0)
        return dm_messages_fail(r, v, "%s[%zu]: a system message must be the first of the conversation%s", name, index,
                                r->n == 1 && last == DM_ROLE_SYSTEM ? ", and there is one already" : "");
    if (role == DM_ROLE_ASSISTANT && opens(r))
        return dm_messages_fail(r, v,
                                "%s[%zu]: a conversation must begin with a message of the user, not the agent's (is "
                                "the prompt missing?)",
                                name, index);
    if (role == DM_ROLE_TOOL && last != DM_ROLE_ASSISTANT && last != DM_ROLE_TOOL)
        return dm_messages_fail(r, v, "%s[%zu]: a tool's result must follow the agent's message", name, index);
    if (role == last && (role == DM_ROLE_USER || role == DM_ROLE_ASSISTANT) && !r->join)
        return dm_messages_fail(r, v,
                                "%s[%zu]: a second message of the %s in a row: user and agent must alternate "
                                "(join-messages makes one of them)",
                                name, index, role == DM_ROLE_USER ? "user" : "agent");
    return DM_OK;
}

/* Appends m to the last message, after an empty line. */
static dm_status join(dm_message_reader *r, const dm_json *v, const char *name, size_t index, const dm_message *m)
{
    dm_message *last = &r->messages[r->n - 1];

    if (last->members || m->members || last->ids || m->ids || !last->text || !m->text)
        return dm_messages_fail(r, v,
                                "%s[%zu]: cannot be joined to the message before it: one of them has more than "
                                "text",
                                name, index);
    if (last->train != m->train)
        return dm_messages_fail(r, v, "%s[%zu]: cannot be joined to the message before it: one is trained, one is not",
                                name, index);
    const size_t size = last->size + 2 + m->size;
    char *joined = dm_block_alloc(&r->made, size + 1);
    if (!joined)
        return dm_messages_no_memory(r);
    memcpy(joined, last->text, last->size);
    memcpy(joined + last->size, "\n\n", 2);
    memcpy(joined + last->size + 2, m->text, m->size);
    last->text = joined;
    last->size = size;
    return DM_OK;
}

static dm_status append(dm_message_reader *r, const dm_message *m, const dm_json *given)
{
    if (r->n == r->capacity) {
        const size_t want = r->capacity ? 2 * r->capacity : 16;
        dm_message *messages = realloc(r->messages, want * sizeof *messages);
        if (messages)
            r->messages = messages;
        const dm_json **members = messages ? realloc(r->given, want * sizeof *members) : NULL;
        if (!members)
            return dm_messages_no_memory(r);
        r->given = members;
        r->capacity = want;
    }
    r->given[r->n] = given;
    r->messages[r->n++] = *m;
    return DM_OK;
}

dm_status dm_messages_add(dm_message_reader *r, const dm_json *v, const char *name, size_t index, bool in_prompt,
                          bool train)
{
    const spelling *s = spelling_of(v);
    const speaker *who = speaker_of(v);
    const dm_json *given = NULL;
    dm_status st;

    if (!s)
        return dm_messages_fail(
            r, v, "%s[%zu]: must be an object with \"from\" and \"value\" or \"role\" and \"content\"", name, index);
    const dm_json *role = dm_json_get(v, s->role);
    if (!who)
        return dm_messages_fail(r, role, "%s[%zu]: unknown \"%s\" \"%.40s\": must be " KNOWN_SPEAKERS, name, index,
                                s->role, role->type == DM_JSON_STRING ? role->text : "(no string)");
    dm_message m = {.role = who->role, .role_name = who->role_name};
    if ((st = check_order(r, v, name, index, m.role)) != DM_OK ||
        (st = read_content(r, v, s, name, index, &m)) != DM_OK)
        return st;
    if (has_more(r, v, s)) {
        m.members = given = v;
        st = dm_messages_parse_calls(r, v, &m.members);
    }
    if (st == DM_OK && who->calls) {
        const dm_json *text = dm_json_get(v, s->text);
        if (text->type != DM_JSON_STRING)
            return dm_messages_fail(r, text, "%s[%zu]: a function_call must be a string", name, index);
        m.text = NULL;
        m.size = 0;
        if ((st = dm_messages_calls_of_text(r, text, name, index, &given)) == DM_OK) {
            m.members = given;
            st = dm_messages_parse_calls(r, given, &m.members);
        }
    }
    if (st != DM_OK)
        return st;
    if (m.role == DM_ROLE_ASSISTANT) {
        if (r->recorded && (st = read_sampled(r, v, name, index, &m)) != DM_OK)
            return st;
        if (m.text && is_blank(m.text, m.size) && !m.members && !m.ids)
            return dm_messages_fail(r, v, "%s[%zu]: the agent's message is empty", name, index);
        m.train = train && !in_prompt;
        if ((st = read_train(r, v, name, index, in_prompt, &m.train)) != DM_OK)
            return st;
    }
    if (r->n > 0 && m.role == r->messages[r->n - 1].role && m.role != DM_ROLE_TOOL)
        return join(r, v, name, index, &m);
    return append(r, &m, given);
}

dm_status dm_messages_add_user(dm_message_reader *r, const dm_json *text)
{
    const dm_message m = {.role = DM_ROLE_USER, .text = text->text, .size = text->length};
    return append(r, &m, NULL);
}

/* ---- what belongs to a whole item ---- */

static dm_status read_tools(dm_message_reader *r, const dm_json *item)
{
    const dm_json *tools = dm_json_get(item, "tools");

    if (!is_there(tools))
        return DM_OK;
    if (tools->type == DM_JSON_STRING) {
        const dm_status s = dm_messages_parse(r, tools, &r->tools);
        if (s != DM_OK)
            return s;
    } else {
        r->tools = tools;
    }
    if (!r->tools || r->tools->type != DM_JSON_ARRAY)
        return dm_messages_fail(r, tools, "\"tools\" must be a list of tools, or one as JSON text");
    if (r->tools->length == 0)
        r->tools = NULL;
    return DM_OK;
}

/* What was made for the last messages. */
static void release(dm_message_reader *r)
{
    dm_block_free(&r->made);
    while (r->docs) {
        struct dm_made_doc *next = r->docs->next;
        dm_json_close(&r->docs->doc);
        free(r->docs);
        r->docs = next;
    }
}

dm_status dm_messages_begin(dm_message_reader *r, const dm_json *item)
{
    const dm_json *system = dm_json_get(item, "system"), *variables = dm_json_get(item, "chat_template_kwargs");

    const dm_json *sampled_with = dm_json_get(item, "tokenizer");

    release(r);
    r->n = 0;
    r->tools = NULL;
    r->recorded = sampled_with && sampled_with->type == DM_JSON_STRING;
    r->same = r->recorded && r->identity && strcmp(sampled_with->text, r->identity) == 0;
    if (!item)
        return DM_OK;
    if (is_there(variables))
        return dm_messages_fail(r, variables,
                                "\"chat_template_kwargs\" of one item are not taken; give them to all with "
                                "template-option");
    if (is_there(system)) {
        if (system->type != DM_JSON_STRING)
            return dm_messages_fail(r, system, "\"system\" must be a string");
        const dm_message m = {.role = DM_ROLE_SYSTEM, .text = system->text, .size = system->length};
        const dm_status s = append(r, &m, NULL);
        if (s != DM_OK)
            return s;
    }
    return read_tools(r, item);
}

void dm_messages_close(dm_message_reader *r)
{
    release(r);
    free(r->messages);
    free(r->given);
    r->messages = NULL;
    r->given = NULL;
    r->n = r->capacity = 0;
}
