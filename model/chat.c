/* dmpo_tokenizer and dmpo_chat_render: a model's tokenizer and chat template for programs. */
#include <stdlib.h>
#include <string.h>

#include "core/utf8.h"
#include "io/data/dataset.h"
#include "io/json_writer.h"
#include "model/api.h"
#include "model/formats/source.h"

struct dmpo_tokenizer {
    dm_tokenizer *t;
    dm_chat_template chat;
    dm_error no_chat; /* why there is no template; status DM_OK: there is one */
    int32_t stop[DM_ENDS_MAX + 1];
    size_t n_stop;
    dm_ids ids; /* what was handed out last */
    dm_span *turns;
    dmpo_encoding encoding;
    dm_text text;
};

_Static_assert(sizeof(dmpo_span) == sizeof(dm_span) && offsetof(dmpo_span, end) == offsetof(dm_span, end),
               "spans are handed out as they are");

static dm_status open_tokenizer(dmpo_tokenizer *t, const char *path, const char *base, const dm_template_choice *choice,
                                dm_error *err)
{
    dm_source *source = NULL;
    dm_status s = dm_source_open_on(&source, path, base, err);

    if (s != DM_OK)
        return s;
    if (dm_source_tokenizer(source, &t->t, &t->chat, choice, &t->no_chat) != DM_OK) {
        const bool asked = choice->name || choice->options;
        s = asked ? t->no_chat.status : dm_source_tokenizer(source, &t->t, NULL, NULL, err);
        if (asked && err)
            *err = t->no_chat;
    } else {
        t->no_chat.status = DM_OK;
    }
    if (s == DM_OK && !t->t)
        s = dm_fail(err, DM_ERR_INPUT, "%s: has no tokenizer (tokenizer.json), which text needs", path);
    if (s == DM_OK)
        t->n_stop =
            dm_config_stops(t->stop, dm_source_config(source), t->no_chat.status == DM_OK ? t->chat.end_of_turn : -1);
    dm_source_close(&source);
    return s;
}

dmpo_status dmpo_tokenizer_open(dmpo_tokenizer **tokenizer, const char *path, const char *chat_template,
                                const char *template_options, dmpo_error *error)
{
    return dmpo_tokenizer_open_on(tokenizer, path, NULL, chat_template, template_options, error);
}

dmpo_status dmpo_tokenizer_open_on(dmpo_tokenizer **tokenizer, const char *path, const char *base,
                                   const char *chat_template, const char *template_options, dmpo_error *error)
{
    dm_error err = {0};
    dmpo_tokenizer *t = calloc(1, sizeof *t);
    const dm_status s =
        t ? open_tokenizer(t, path, base, &(dm_template_choice){.name = chat_template, .options = template_options},
                           &err)
          : dm_fail(&err, DM_ERR_MEMORY, "no memory for a tokenizer");

    if (s != DM_OK)
        dmpo_tokenizer_close(&t);
    *tokenizer = t;
    return dm_api_report(error, s, &err);
}

void dmpo_tokenizer_close(dmpo_tokenizer **tokenizer)
{
    if (!tokenizer || !*tokenizer)
        return;
    dm_template_close(&(*tokenizer)->chat);
    dm_tokenizer_close(&(*tokenizer)->t);
    dm_ids_free(&(*tokenizer)->ids);
    dm_text_free(&(*tokenizer)->text);
    free((*tokenizer)->turns);
    free(*tokenizer);
    *tokenizer = NULL;
}

size_t dmpo_tokenizer_size(const dmpo_tokenizer *tokenizer)
{
    return dm_tokenizer_size(tokenizer->t);
}

const char *dmpo_tokenizer_template(const dmpo_tokenizer *tokenizer)
{
    return tokenizer->no_chat.status == DM_OK ? dm_template_name(tokenizer->chat.kind) : NULL;
}

const int32_t *dmpo_tokenizer_stops(const dmpo_tokenizer *tokenizer, size_t *n)
{
    *n = tokenizer->n_stop;
    return tokenizer->stop;
}

/* Hands out the ids and turns that the tokenizer holds now. */
static dmpo_status hand_out(dmpo_tokenizer *t, size_t n_turns, const dmpo_encoding **encoding, dm_status s,
                            const dm_error *err, dmpo_error *error)
{
    t->encoding = (dmpo_encoding){t->ids.data, t->ids.size, (const dmpo_span *)(const void *)t->turns, n_turns};
    *encoding = s == DM_OK ? &t->encoding : NULL;
    return dm_api_report(error, s, err);
}

dmpo_status dmpo_tokenizer_encode(dmpo_tokenizer *tokenizer, const char *text, size_t size, int special,
                                  const dmpo_encoding **encoding, dmpo_error *error)
{
    dm_error err = {0};

    tokenizer->ids.size = 0;
    const dm_status s = dm_tokenizer_encode(tokenizer->t, text, size, special != 0, &tokenizer->ids, &err);
    return hand_out(tokenizer, 0, encoding, s, &err, error);
}

dmpo_status dmpo_tokenizer_decode(dmpo_tokenizer *tokenizer, const int32_t *ids, size_t n, int special,
                                  const char **text, size_t *size, dmpo_error *error)
{
    dm_error err = {0};
    dm_text *t = &tokenizer->text;

    t->size = 0;
    dm_text_add(t, "", 0);
    dm_status s = dm_tokenizer_decode(tokenizer->t, ids, n, special == 0, t, &err);
    if (s == DM_OK && t->failed)
        s = dm_fail(&err, DM_ERR_MEMORY, "no memory for the text of %zu tokens", n);
    *text = s == DM_OK ? t->data : NULL;
    *size = s == DM_OK ? t->size : 0;
    return dm_api_report(error, s, &err);
}

/* ---- conversations ---- */

static dm_status render_whole(dmpo_tokenizer *t, const dm_json_doc *doc, size_t *n_turns, dm_error *err)
{
    dm_messages read;
    size_t items;
    dm_status s = dm_conversation_read(&read, &items, doc, err);

    if (s != DM_OK)
        return s;
    dm_span *turns = realloc(t->turns, (read.n + 1) * sizeof *turns);
    if (turns)
        t->turns = turns;
    const dm_conversation talk = {.messages = read.messages, .n = read.n, .tools = read.tools};
    s = turns ? dm_template_render(&t->chat, t->t, &talk, false, &t->ids, t->turns, n_turns, err)
              : dm_fail(err, DM_ERR_MEMORY, "no memory for the turns of a conversation");
    dm_messages_free(&read);
    return s;
}

dmpo_status dmpo_chat_render_json(dmpo_tokenizer *tokenizer, const char *text, size_t size, const char *name,
                                  int answer, const dmpo_encoding **encoding, dmpo_error *error)
{
    dm_error err = {0};
    dm_json_doc *doc = NULL;
    size_t n_turns = 0;
    dm_status s = tokenizer->no_chat.status;

    tokenizer->ids.size = 0;
    if (s != DM_OK)
        err = tokenizer->no_chat;
    else if ((s = dm_json_parse(&doc, text, size, name, &err)) == DM_OK)
        s = answer ? dm_prompt_render(&tokenizer->ids, doc, tokenizer->t, &tokenizer->chat, &err)
                   : render_whole(tokenizer, doc, &n_turns, &err);
    dm_json_close(&doc);
    return hand_out(tokenizer, n_turns, encoding, s, &err, error);
}

/* JSON cannot hold bytes that are not characters. */
static dm_status check_utf8(const dmpo_message *messages, size_t n, dm_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char *begin = (const unsigned char *)messages[i].content, *p = begin;
        const unsigned char *const end = begin + strlen(messages[i].content);
        for (size_t size; p < end; p += size)
            if ((size = dm_utf8_length(p, end)) == 0)
                return dm_fail(err, DM_ERR_INPUT, "message %zu: byte %zu is not valid UTF-8", i, (size_t)(p - begin));
    }
    return DM_OK;
}

dmpo_status dmpo_chat_render(dmpo_tokenizer *tokenizer, const dmpo_message *messages, size_t n, const char *tools,
                             int answer, const dmpo_encoding **encoding, dmpo_error *error)
{
    dm_error err = {0};
    dm_text text = {0};
    dm_json_writer w = {.out = &text};
    const dm_status status = check_utf8(messages, n, &err);

    *encoding = NULL;
    if (status != DM_OK)
        return dm_api_report(error, status, &err);
    dm_json_open_object(&w, NULL);
    dm_json_open_array(&w, "messages");
    for (size_t i = 0; i < n; i++) {
        dm_json_open_object(&w, NULL);
        dm_json_put_string(&w, "role", messages[i].role);
        dm_json_put_string(&w, "content", messages[i].content);
        dm_json_close_value(&w);
    }
    dm_json_close_value(&w);
    if (tools)
        dm_json_put_raw(&w, "tools", tools);
    dm_json_close_value(&w);
    const dmpo_status s =
        text.failed ? dm_api_report(error, dm_fail(&err, DM_ERR_MEMORY, "no memory for %zu messages", n), &err)
                    : dmpo_chat_render_json(tokenizer, text.data, text.size, "messages", answer, encoding, error);
    dm_text_free(&text);
    return s;
}
