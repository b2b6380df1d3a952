/* The forms that hold text: conversations and the sides of pairs. docs/data.md is the specification. */
#include <stdlib.h>
#include <string.h>

#include "io/data/dataset_internal.h"

dm_status dm_form_reserve(dm_item_reader *r, size_t spans)
{
    if (spans <= r->spans_capacity)
        return DM_OK;
    const size_t want = spans > 2 * r->spans_capacity ? spans : 2 * r->spans_capacity;
    dm_span *fresh = want <= SIZE_MAX / sizeof *fresh ? realloc(r->spans, want * sizeof *fresh) : NULL;
    if (!fresh)
        return dm_fail(r->m.err, DM_ERR_MEMORY, "%s: item \"%.200s\": no memory left", dm_json_name(r->m.doc), r->m.id);
    r->spans = fresh;
    r->spans_capacity = want;
    return DM_OK;
}

/* The first `prompt` messages of the list belong to the prompt, of the others the first `untrained` are not trained
 * unless they say so. */
static dm_status add_list(dm_item_reader *r, const dm_json *list, const char *name, size_t prompt, size_t untrained)
{
    size_t index = 0;

    if (list->type == DM_JSON_OBJECT && dm_message_is(list)) /* a single message, as it stands */
        return dm_messages_add(&r->m, list, name, 0, prompt > 0, prompt + untrained == 0);
    if (list->type != DM_JSON_ARRAY)
        return dm_reader_fail(r, list, "\"%s\" must be a list of messages%s", name,
                              list->type == DM_JSON_STRING ? ", not a string" : "");
    for (const dm_json *v = list->child; v; v = v->next, index++) {
        const dm_status st = dm_messages_add(&r->m, v, name, index, index < prompt, index >= prompt + untrained);
        if (st != DM_OK)
            return st;
    }
    return DM_OK;
}

/* ---- rendering ---- */

static dm_status render_as(dm_item_reader *r, bool generation, const dm_json *tools, dm_ids *ids, dm_span *spans,
                           size_t *n_spans)
{
    const dm_conversation talk = {.messages = r->m.messages, .n = r->m.n, .tools = tools};

    ids->size = 0;
    *n_spans = 0;
    return dm_template_render(r->options->chat, r->options->tokenizer, &talk, generation, ids,
                              generation ? NULL : spans, n_spans, r->m.err);
}

static dm_status render_ids(dm_item_reader *r, bool generation)
{
    r->rendered = true;
    return render_as(r, generation, r->m.tools, &r->ids, r->spans, &r->n_spans);
}

/* The template gets the arguments of calls as objects; one that puts them together as text gets them as they are. */
static dm_status render_calls(dm_item_reader *r, bool generation)
{
    dm_error first;
    bool differ = false;
    dm_status s = render_ids(r, generation);

    if (s != DM_ERR_INPUT)
        return s;
    for (size_t i = 0; i < r->m.n; i++) {
        differ = differ || r->m.messages[i].members != r->m.given[i];
        r->m.messages[i].members = r->m.given[i];
    }
    if (!differ)
        return s;
    if (r->m.err)
        first = *r->m.err;
    s = render_ids(r, generation);
    if (s != DM_OK && r->m.err)
        *r->m.err = first;
    return s;
}

/* What an agent did or thought, and what it could have called: a member that must not be lost. */
static const char *const precious[] = {"tool_calls", "reasoning_content", "reasoning", "thinking"};

/* Whether the ids are the same without what is left out now. */
static bool loses_nothing(dm_item_reader *r, bool generation, const dm_json *tools)
{
    dm_ids other = {0};
    dm_error *err = r->m.err, ignored;
    size_t n_spans;

    r->m.err = &ignored;
    const bool same = render_as(r, generation, tools, &other, r->spans + r->m.n, &n_spans) == DM_OK &&
                      other.size == r->ids.size &&
                      memcmp(other.data, r->ids.data, other.size * sizeof *other.data) == 0;
    r->m.err = err;
    dm_ids_free(&other);
    return same;
}

/* A template that passes over a member would train another conversation than the file's. */
static dm_status check_member(dm_item_reader *r, const dm_json *at, const char *key, bool generation, const char *name)
{
    size_t first = r->m.n;

    for (size_t i = r->m.n; i-- > 0;) {
        dm_message *m = &r->m.messages[i];
        const dm_json *value = m->members ? dm_json_get(m->members, key) : NULL;
        r->m.given[i] = m->members; /* kept here meanwhile */
        if (!value || value->type == DM_JSON_NULL || (value->type == DM_JSON_STRING && value->length == 0))
            continue;
        first = i;
        m->members = dm_messages_without(&r->m, m->members, key);
        if (!m->members)
            return dm_fail(r->m.err, DM_ERR_MEMORY, "%s: no memory left", dm_json_name(r->m.doc));
    }
    const bool lost = first < r->m.n && loses_nothing(r, generation, r->m.tools);
    for (size_t i = 0; i < r->m.n; i++)
        r->m.messages[i].members = r->m.given[i];
    if (!lost)
        return DM_OK;
    return dm_reader_fail(r, at,
                          "\"%s\": message %zu of the conversation has \"%s\", which the model's chat template leaves "
                          "out; give a template that renders it, or take the member out",
                          name, first, key);
}

static dm_status check_nothing_lost(dm_item_reader *r, const dm_json *at, bool generation, const char *name)
{
    dm_status s = DM_OK;

    if (r->m.tools && loses_nothing(r, generation, NULL))
        return dm_reader_fail(r, at,
                              "the item has \"tools\", which the model's chat template leaves out; give a template "
                              "that renders them, or take the member out");
    for (size_t k = 0; s == DM_OK && k < sizeof precious / sizeof *precious; k++)
        s = check_member(r, at, precious[k], generation, name);
    return s;
}

static bool has_more_than_text(const dm_item_reader *r)
{
    bool more = r->m.tools != NULL;

    for (size_t i = 0; i < r->m.n; i++)
        more = more || r->m.messages[i].members;
    return more;
}

/* Turns the messages into ids and spans; `at` is the place that an error names. */
static dm_status render(dm_item_reader *r, const dm_json *at, const char *name, bool generation)
{
    const dm_data_options *o = r->options;

    if (!o->tokenizer || !o->chat)
        return dm_fail(r->m.err, DM_ERR_ARGUMENT,
                       "%s: holds text: a tokenizer and a chat template are needed, of a `model` that has them",
                       dm_json_name(r->m.doc));
    dm_status s = dm_form_reserve(r, 2 * r->m.n); /* the second half is for what is compared */
    if (s != DM_OK)
        return s;
    s = render_calls(r, generation);
    if (s != DM_OK)
        return dm_fail_context(r->m.err, s, "%s:%u: item \"%.200s\": %s", dm_json_name(r->m.doc), (unsigned)at->line,
                               r->m.id, name);
    return has_more_than_text(r) ? check_nothing_lost(r, at, generation, name) : DM_OK;
}

/* The messages, which end with those of `list`, as r->ids and r->spans. */
static dm_status render_side(dm_item_reader *r, const dm_json *list, const char *name)
{
    if (r->m.messages[r->m.n - 1].role != DM_ROLE_ASSISTANT)
        return dm_reader_fail(r, list, "%s[%zu]: the last message must be the agent's", name,
                              list->type == DM_JSON_ARRAY ? list->length - 1 : 0);
    const dm_status s = render(r, list, name, false);
    if (s == DM_OK && r->n_spans == 0)
        return dm_reader_fail(r, list, "\"%s\": no message of the agent is trained", name);
    return s;
}

/* ---- the sides of pairs ---- */

size_t dm_form_common_prompt(const dm_json *chosen, const dm_json *rejected)
{
    size_t at = 0, common = 0;

    for (const dm_json *a = chosen->child, *b = rejected->child; a && b; a = a->next, b = b->next, at++) {
        if (dm_message_is_agent(a) && dm_message_is_agent(b))
            common = at;
        if (!dm_message_equal(a, b))
            break;
    }
    return common;
}

/* A prompt that is a text: the user's message or, if the side begins with messages of its own, one of these. */
static dm_status add_prompt_text(dm_item_reader *r, const dm_json *prompt, const dm_json *side, size_t common)
{
    const dm_json *v = side->type == DM_JSON_ARRAY ? side->child : side;

    if (dm_message_is_agent(v))
        return dm_messages_add_user(&r->m, prompt);
    for (size_t i = 0; v && i < common; v = v->next, i++) {
        const dm_json *text = dm_message_text(v);
        if (dm_message_is_user(v) && text && text->length == prompt->length &&
            memcmp(text->text, prompt->text, text->length) == 0)
            return DM_OK;
    }
    return dm_reader_fail(r, prompt,
                          "\"prompt\" is not one of the user's messages that chosen and rejected begin with");
}

dm_status dm_form_side(dm_item_reader *r, const dm_json *item, const dm_json *prompt, const char *prompt_name,
                       const dm_json *side, size_t common, const char *name)
{
    dm_status st = dm_messages_begin(&r->m, item);
    const bool text = prompt && prompt->type == DM_JSON_STRING;

    if (st != DM_OK)
        return st;
    if (text) {
        st = add_prompt_text(r, prompt, side, common);
    } else if (prompt) {
        st = add_list(r, prompt, prompt_name, prompt->length, 0);
        if (st == DM_OK && r->m.n && r->m.messages[r->m.n - 1].role == DM_ROLE_ASSISTANT)
            st = dm_reader_fail(r, prompt, "%s[%zu]: the last message of the prompt must not be the agent's",
                                prompt_name, prompt->length - 1);
        const dm_json *first = side->type == DM_JSON_ARRAY ? side->child : side;
        if (st == DM_OK && dm_message_is(first) && !dm_message_is_agent(first))
            st = dm_reader_fail(r, first, "%s[0]: the first message after a prompt must be the agent's", name);
    }
    if (st == DM_OK)
        st = add_list(r, side, name, common, 0);
    return st == DM_OK ? render_side(r, side, name) : st;
}

/* ---- conversations ---- */

/* What the authors' prompts have as the agent's first words: "OK", with or without more after it. */
static bool acknowledges(const dm_json *message)
{
    const dm_json *text = dm_message_text(message);
    const char *p = text ? text->text : "";

    while (*p == ' ' || (*p >= '\t' && *p <= '\r'))
        p++;
    return (p[0] == 'O' || p[0] == 'o') && (p[1] == 'K' || p[1] == 'k') &&
           !((p[2] >= 'a' && p[2] <= 'z') || (p[2] >= 'A' && p[2] <= 'Z') || (p[2] & 0x80));
}

/* Messages that "conversations" begin with and that are not trained: human, gpt ("OK") before human (the task) and gpt
 * (the first action), after a system message or none. */
static size_t opening_of(dm_item_reader *r, const dm_json *list)
{
    const size_t system = list->length && dm_message_is_system(list->child) ? 1 : 0;
    const dm_json *v = system ? list->child->next : list->child;

    if (list->length - system < 4 || !dm_message_is_user(v) || !dm_message_is_agent(v->next) ||
        !dm_message_is_user(v->next->next))
        return 0;
    if (acknowledges(v->next))
        return system + 2;
    r->openings++;
    return 0;
}

dm_status dm_form_messages(dm_item_reader *r, const dm_json *item, const dm_json *list, bool opening, const char *name)
{
    dm_status st = dm_messages_begin(&r->m, item);

    if (st == DM_OK)
        st = add_list(r, list, name, 0, opening && list->type == DM_JSON_ARRAY ? opening_of(r, list) : 0);
    if (st == DM_OK && list->length == 0)
        return dm_reader_fail(r, list, "\"%s\" is empty: it must hold at least one message of the agent", name);
    return st;
}

dm_status dm_form_conversation(dm_item_reader *r, const dm_json *item, const dm_json *list, bool opening,
                               const char *name)
{
    const dm_status st = dm_form_messages(r, item, list, opening, name);
    return st == DM_OK ? render_side(r, list, name) : st;
}

dm_status dm_form_prompt(dm_item_reader *r, const dm_json *item, const dm_json *list, const char *name)
{
    dm_status st = dm_messages_begin(&r->m, item);

    if (st == DM_OK)
        st =
            list->type == DM_JSON_STRING ? dm_messages_add_user(&r->m, list) : add_list(r, list, name, list->length, 0);
    if (st != DM_OK)
        return st;
    const dm_role last = r->m.n ? r->m.messages[r->m.n - 1].role : DM_ROLE_SYSTEM;
    if (last != DM_ROLE_USER && last != DM_ROLE_TOOL)
        return dm_reader_fail(r, list, "%s: the last message must be the user's or a tool's, for the agent to answer",
                              name);
    return render(r, list, name, true);
}
