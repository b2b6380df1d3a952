/* Calls of tools: what a message calls, with arguments that are JSON text made into objects. The values that are made
 * live until the next item. */
#include <stdlib.h>
#include <string.h>

#include "io/data/dataset_messages_internal.h"

static dm_json *copy(dm_message_reader *r, const dm_json *v)
{
    dm_json *made = dm_block_alloc(&r->made, sizeof *made);
    if (made)
        *made = *v;
    return made;
}

/* Copies `v` and its list of children, so that a child may be replaced. */
static dm_json *copy_with_children(dm_message_reader *r, const dm_json *v)
{
    dm_json *made = copy(r, v);
    const dm_json **at = made ? &made->child : NULL;

    for (const dm_json *child = v->child; made && child; child = child->next) {
        dm_json *one = copy(r, child);
        if (!one)
            return NULL;
        *at = one;
        at = &one->next;
    }
    return made;
}

/* This reader owns the values that copy_with_children made. */
static dm_json *own(const dm_json *v)
{
    return (dm_json *)(uintptr_t)v;
}

const dm_json *dm_messages_without(dm_message_reader *r, const dm_json *members, const char *key)
{
    dm_json *made = copy_with_children(r, members);

    for (const dm_json **at = made ? &made->child : NULL; at && *at; at = &own(*at)->next)
        if ((*at)->key && strcmp((*at)->key, key) == 0) {
            *at = (*at)->next;
            made->length--;
            break;
        }
    return made;
}

dm_status dm_messages_parse(dm_message_reader *r, const dm_json *text, const dm_json **out)
{
    dm_json_doc *doc;
    struct dm_made_doc *kept = malloc(sizeof *kept);
    dm_error ignored;

    *out = NULL;
    if (!kept)
        return dm_messages_no_memory(r);
    const dm_status s = dm_json_parse(&doc, text->text, text->length, dm_json_name(r->doc), &ignored);
    if (s != DM_OK) {
        free(kept);
        return s == DM_ERR_INPUT ? DM_OK : dm_fail(r->err, s, "%s", ignored.message);
    }
    *kept = (struct dm_made_doc){doc, r->docs};
    r->docs = kept;
    *out = dm_json_root(doc);
    return DM_OK;
}

/* Puts `value` in the place of `old`, a child that copy_with_children made. */
static void replace(dm_json *old, const dm_json *value)
{
    const dm_json *next = old->next;
    const char *key = old->key;
    const uint32_t key_length = old->key_length;

    *old = *value;
    old->next = next;
    old->key = key;
    old->key_length = key_length;
}

/* A call: {"function": {"name", "arguments"}} or {"name", "arguments"}. Arguments that are an object's text become the
 * object. */
static dm_status parse_call(dm_message_reader *r, dm_json *call, bool *parsed)
{
    const dm_json *function = dm_json_get(call, "function");
    dm_json *holder = function && function->type == DM_JSON_OBJECT ? copy_with_children(r, function) : call;

    if (!holder)
        return dm_messages_no_memory(r);
    if (holder != call)
        replace(own(function), holder);
    const dm_json *arguments = dm_json_get(holder, "arguments"), *value;
    if (!arguments || arguments->type != DM_JSON_STRING)
        return DM_OK;
    const dm_status s = dm_messages_parse(r, arguments, &value);
    if (s == DM_OK && value && value->type == DM_JSON_OBJECT) {
        replace(own(arguments), value);
        *parsed = true;
    }
    return s;
}

dm_status dm_messages_parse_calls(dm_message_reader *r, const dm_json *message, const dm_json **out)
{
    const dm_json *calls = dm_json_get(message, "tool_calls");
    bool parsed = false;

    if (!calls || calls->type != DM_JSON_ARRAY)
        return DM_OK;
    dm_json *made = copy_with_children(r, message), *list = made ? copy_with_children(r, calls) : NULL;
    if (!list)
        return dm_messages_no_memory(r);
    replace(own(dm_json_get(made, "tool_calls")), list);
    for (const dm_json *call = list->child; call; call = call->next) {
        dm_json *one = call->type == DM_JSON_OBJECT ? copy_with_children(r, call) : own(call);
        if (!one)
            return dm_messages_no_memory(r);
        if (one != call)
            replace(own(call), one);
        const dm_status s = parse_call(r, own(call), &parsed);
        if (s != DM_OK)
            return s;
    }
    if (parsed)
        *out = made;
    return DM_OK;
}

dm_status dm_messages_calls_of_text(dm_message_reader *r, const dm_json *text, const char *name, size_t index,
                                    const dm_json **out)
{
    static const char form[] = "must be {\"name\", \"arguments\"} as JSON, or a list of these";
    const dm_json *value;
    dm_text json = {0};

    dm_status s = dm_messages_parse(r, text, &value);
    if (s != DM_OK)
        return s;
    if (!value || (value->type != DM_JSON_OBJECT && value->type != DM_JSON_ARRAY) || value->length == 0)
        return dm_messages_fail(r, text, "%s[%zu]: the call %s", name, index, form);
    const bool many = value->type == DM_JSON_ARRAY;
    for (const dm_json *v = many ? value->child : value; v; v = many ? v->next : NULL)
        if (!dm_json_get(v, "name") || dm_json_get(v, "name")->type != DM_JSON_STRING)
            return dm_messages_fail(r, text, "%s[%zu]: the call %s", name, index, form);
    /* {"tool_calls": [{"type": "function", "function": {}}, ...]}, and the calls put in there */
    dm_text_print(&json, "{\"tool_calls\":[");
    for (size_t i = 0; i < (many ? value->length : 1); i++)
        dm_text_print(&json, "%s{\"type\":\"function\",\"function\":{}}", i ? "," : "");
    dm_text_print(&json, "]}");
    const dm_json source = {.text = json.data, .length = json.size};
    s = json.failed ? dm_messages_no_memory(r) : dm_messages_parse(r, &source, out);
    dm_text_free(&json);
    if (s != DM_OK)
        return s;
    const dm_json *call = dm_json_get(*out, "tool_calls")->child;
    for (const dm_json *v = many ? value->child : value; v && call; v = v->next, call = call->next)
        replace(own(dm_json_get(call, "function")), v);
    return DM_OK;
}
