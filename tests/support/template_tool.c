#include "tests/support/template_tool.h"

#include <stdio.h>
#include <string.h>

#include "core/files/file.h"
#include "io/json_writer.h"
#include "model/formats/source.h"
#include "tests/support/tokenizer_tool.h"

#define MESSAGES_MAX 256

static dm_role role_of(const dm_json *role)
{
    return dm_json_is(role, "system")      ? DM_ROLE_SYSTEM
           : dm_json_is(role, "user")      ? DM_ROLE_USER
           : dm_json_is(role, "assistant") ? DM_ROLE_ASSISTANT
                                           : DM_ROLE_TOOL;
}

size_t template_tool_messages(const dm_json *list, dm_message *messages)
{
    size_t n = 0;
    for (const dm_json *m = list->child; m != NULL; m = m->next, n++) {
        const dm_json *role = dm_json_get(m, "role"), *text = dm_json_get(m, "content");
        messages[n] = (dm_message){.role = role_of(role),
                                   .text = text->text,
                                   .size = text->length,
                                   .train = dm_json_is(role, "assistant"),
                                   .members = m};
    }
    return n;
}

/* A directory's tokenizer and template, or those of a model in a file. */
static dm_status open_both(dm_tokenizer **t, dm_chat_template *c, const char *path, const char *name, dm_error *err)
{
    dm_source *source = NULL;
    if (dm_dir_exists(path)) {
        const dm_status status = tool_open(t, path, err);
        return status == DM_OK ? dm_template_open(c, &(dm_template_choice){.name = name}, path, *t, err) : status;
    }
    dm_status status = dm_source_open(&source, path, err);
    if (status == DM_OK)
        status = dm_source_tokenizer(source, t, c, &(dm_template_choice){.name = name}, err);
    dm_source_close(&source);
    return status;
}

int template_tool_render(const char *dir, const char *name, bool generation_prompt)
{
    dm_error err;
    dm_tokenizer *t;
    dm_chat_template c;
    dm_json_doc *doc;
    if (open_both(&t, &c, dir, name, &err) != DM_OK || tool_input(&doc, &err) != DM_OK)
        return tool_error(&err);
    for (const dm_json *v = dm_json_root(doc)->child; v != NULL; v = v->next) {
        dm_message messages[MESSAGES_MAX];
        dm_span spans[MESSAGES_MAX];
        size_t n = 0, n_spans;
        for (const dm_json *m = v->child; m != NULL && n < MESSAGES_MAX; m = m->next, n++) {
            const dm_json *text = m->child->next;
            const dm_role role = dm_json_is(m->child, "system") ? DM_ROLE_SYSTEM
                                 : dm_json_is(m->child, "user") ? DM_ROLE_USER
                                                                : DM_ROLE_ASSISTANT;
            messages[n] = (dm_message){.role = role, .text = text->text, .size = text->length, .train = true};
        }
        dm_ids ids = {0};
        if (dm_template_render(&c, t, &(dm_conversation){.messages = messages, .n = n}, generation_prompt, &ids, spans,
                               &n_spans, &err) != DM_OK)
            return tool_error(&err);
        for (size_t i = 0; i < ids.size; i++)
            printf("%d ", (int)ids.data[i]);
        printf("|");
        for (size_t i = 0; i < n_spans; i++)
            printf(" %zu %zu", spans[i].begin, spans[i].end);
        printf("\n");
        dm_ids_free(&ids);
    }
    dm_json_close(&doc);
    dm_tokenizer_close(&t);
    return 0;
}

int template_tool_conversations(const char *dir, const char *options)
{
    dm_error err;
    dm_tokenizer *t;
    dm_chat_template c = {0};
    dm_json_doc *doc;
    if (tool_open(&t, dir, &err) != DM_OK || tool_input(&doc, &err) != DM_OK)
        return tool_error(&err);
    const dm_template_choice choice = {.options = *options != '\0' ? options : NULL};
    const dm_status opened = dm_template_open(&c, &choice, dir, t, &err);
    for (const dm_json *v = dm_json_root(doc)->child; v != NULL; v = v->next) {
        dm_message messages[MESSAGES_MAX];
        dm_span spans[MESSAGES_MAX];
        const dm_json *tools = dm_json_get(v, "tools");
        dm_conversation talk = {.messages = messages,
                                .n = template_tool_messages(dm_json_get(v, "messages"), messages),
                                .tools = tools->type == DM_JSON_ARRAY ? tools : NULL};
        dm_ids ids = {0};
        dm_text out = {0};
        dm_json_writer w = {.out = &out};
        size_t n = 0;
        const bool prompt = dm_json_get(v, "prompt")->boolean;
        dm_status s = opened;
        if (s == DM_OK)
            s = dm_template_render(&c, t, &talk, prompt, &ids, prompt ? NULL : spans, &n, &err);
        dm_json_open_object(&w, NULL);
        if (s != DM_OK)
            dm_json_put_string(&w, "error", err.message);
        dm_json_put_bool(&w, "unsupported", s == DM_ERR_UNSUPPORTED);
        dm_json_open_array(&w, "ids");
        for (size_t i = 0; i < ids.size && s == DM_OK; i++)
            dm_json_put_int(&w, NULL, ids.data[i]);
        dm_json_close_value(&w);
        dm_json_open_array(&w, "turns");
        for (size_t i = 0; i < n; i++) {
            dm_json_put_uint(&w, NULL, spans[i].begin);
            dm_json_put_uint(&w, NULL, spans[i].end);
        }
        dm_json_close_value(&w);
        dm_json_close_value(&w);
        puts(out.data);
        dm_text_free(&out);
        dm_ids_free(&ids);
    }
    dm_template_close(&c);
    dm_json_close(&doc);
    dm_tokenizer_close(&t);
    return 0;
}

int template_tool_save(const char *dir, const char *name, const char *to)
{
    dm_error err;
    dm_tokenizer *t;
    dm_chat_template c;
    if (tool_open(&t, dir, &err) != DM_OK ||
        dm_template_open(&c, &(dm_template_choice){.name = name}, dir, t, &err) != DM_OK ||
        dm_tokenizer_save(t, to, &err) != DM_OK || dm_template_save(&c, t, to, &err) != DM_OK)
        return tool_error(&err);
    dm_tokenizer_close(&t);
    return 0;
}
