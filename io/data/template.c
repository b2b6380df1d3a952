#include "io/data/template.h"

#include <string.h>

#include "io/tokenizer/unicode.h"

/* Text and ids as they are put together: ordinary text gathers and is encoded at once where a token or the agent's
 * words begin, so that words are cut as in the whole text. */
typedef struct builder {
    const dm_chat_template *c;
    const dm_tokenizer *t;
    dm_ids *ids;
    dm_text text;
    dm_text content;     /* of one message, before it is stripped */
    dm_text_place place; /* of the text that gathers */
    dm_error *err;
} builder;

static dm_status flush(builder *b)
{
    if (b->text.failed || b->content.failed)
        return dm_fail(b->err, DM_ERR_MEMORY, "no memory to render a conversation");
    if (b->text.size == 0)
        return DM_OK;
    const dm_status status = dm_tokenizer_encode_part(b->t, b->text.data, b->text.size, b->place, b->ids, b->err);
    b->text.size = 0;
    b->place = DM_TEXT_INSIDE;
    return status;
}

static dm_status put_id(builder *b, int32_t id)
{
    const dm_status status = flush(b);
    b->place = DM_TEXT_BEHIND_TOKEN;
    return status != DM_OK ? status : dm_ids_push(b->ids, id, b->err);
}

static dm_status put_token(builder *b, const char *token)
{
    return put_id(b, dm_tokenizer_id(b->t, token));
}

static void put_text(builder *b, const char *text)
{
    dm_text_add(&b->text, text, strlen(text));
}

/* "[INST]" is a token of its own in some tokenizers, ordinary text in others. */
static bool is_special(const dm_tokenizer *t, const char *marker)
{
    bool special = false;
    const int32_t id = dm_tokenizer_id(t, marker);
    return id >= 0 && dm_tokenizer_token(t, id, &special) != NULL && special;
}

static dm_status put_marker(builder *b, const char *marker)
{
    if (is_special(b->t, marker))
        return put_token(b, marker);
    put_text(b, marker);
    return DM_OK;
}

/* White space as Python's str.strip has it: Unicode's and the four separators of ASCII. */
static bool is_stripped(uint32_t code)
{
    return dm_is_space(code) || code - 0x1C < 4;
}

static void strip(const char **text, size_t *size)
{
    uint32_t code;
    while (*size > 0) {
        const size_t step = dm_utf8_decode(*text, *size, &code);
        if (step == 0 || !is_stripped(code))
            break;
        *text += step;
        *size -= step;
    }
    while (*size > 0) {
        size_t last = *size - 1;
        while (last > 0 && ((unsigned char)(*text)[last] & 0xC0) == 0x80)
            last--;
        if (dm_utf8_decode(*text + last, *size - last, &code) == 0 || !is_stripped(code))
            break;
        *size = last;
    }
}

/* A message's text as it stands in the conversation. */
static void put_content(builder *b, const char *text, size_t size)
{
    if (b->c->trim)
        strip(&text, &size);
    dm_text_add(&b->text, text, size);
}

static const char *const role_names[] = {"system", "user", "assistant", "tool"};

/* <|im_start|>role\n */
static dm_status chatml_header(builder *b, dm_role role)
{
    const dm_status status = put_token(b, "<|im_start|>");
    put_text(b, role_names[role]);
    put_text(b, "\n");
    return status;
}

/* <|start_header_id|>role<|end_header_id|>\n\n */
static dm_status llama3_header(builder *b, dm_role role)
{
    dm_status status = put_token(b, "<|start_header_id|>");
    put_text(b, role_names[role]);
    if (status == DM_OK)
        status = put_token(b, "<|end_header_id|>");
    put_text(b, "\n\n");
    return status;
}

/* <|role|>\n */
static dm_status zephyr_header(builder *b, dm_role role)
{
    static const char *const markers[] = {"<|system|>", "<|user|>", "<|assistant|>"};
    const dm_status status = put_marker(b, markers[role]);
    put_text(b, "\n");
    return status;
}

/* Everything before the first user message; llama2 and mistral have the system message inside that one. */
static dm_status put_start(builder *b, const dm_message *system)
{
    const dm_chat_template *c = b->c;
    const char *text = system != NULL ? system->text : c->system;
    const size_t size = system != NULL ? system->size : strlen(c->system);
    const bool present = system != NULL || size > 0;
    dm_status status = c->bos >= 0 && c->kind != DM_TEMPLATE_LLAMA2 ? put_id(b, c->bos) : DM_OK;
    if (status != DM_OK)
        return status;
    switch (c->kind) {
    case DM_TEMPLATE_CHATML:
        if (!present)
            return DM_OK;
        status = chatml_header(b, DM_ROLE_SYSTEM);
        put_content(b, text, size);
        if (status == DM_OK)
            status = put_token(b, "<|im_end|>");
        put_text(b, "\n");
        return status;
    case DM_TEMPLATE_LLAMA3:
        if (!present && !c->dated)
            return DM_OK;
        status = llama3_header(b, DM_ROLE_SYSTEM);
        if (c->dated)
            put_text(b, DM_TEMPLATE_DATES);
        put_content(b, text, size);
        return status == DM_OK ? put_token(b, "<|eot_id|>") : status;
    case DM_TEMPLATE_VICUNA:
        put_content(b, text, size);
        put_text(b, " ");
        return DM_OK;
    case DM_TEMPLATE_PLAIN:
        if (!present)
            return DM_OK;
        status = put_token(b, "<|system|>");
        put_content(b, text, size);
        return status;
    case DM_TEMPLATE_ZEPHYR:
        if (!present)
            return DM_OK;
        status = zephyr_header(b, DM_ROLE_SYSTEM);
        put_content(b, text, size);
        if (status == DM_OK)
            status = put_id(b, c->end_of_turn);
        put_text(b, "\n");
        return status;
    case DM_TEMPLATE_LLAMA2:
    case DM_TEMPLATE_MISTRAL:
    case DM_TEMPLATE_COUNT:
        break;
    }
    return DM_OK;
}

/* [INST] message [/INST], the first with the system message in it. */
static dm_status put_instruction(builder *b, const dm_message *m, const dm_message *system)
{
    const bool llama2 = b->c->kind == DM_TEMPLATE_LLAMA2;
    dm_status status = llama2 ? put_id(b, b->c->bos) : DM_OK;
    put_text(b, llama2 ? "" : " ");
    if (status == DM_OK)
        status = put_marker(b, "[INST]");
    put_text(b, " ");
    b->content.size = 0;
    if (system != NULL) {
        dm_text_print(&b->content, "%s", llama2 ? "<<SYS>>\n" : "");
        dm_text_add(&b->content, system->text, system->size);
        dm_text_print(&b->content, "%s", llama2 ? "\n<</SYS>>\n\n" : "\n\n");
    }
    dm_text_add(&b->content, m->text, m->size);
    if (b->content.size > 0 && !b->content.failed)
        put_content(b, b->content.data, b->content.size); /* stripped as a whole, as the family does */
    put_text(b, " ");
    return status == DM_OK ? put_marker(b, "[/INST]") : status;
}

/* system: of the first user message, or NULL. */
static dm_status put_user(builder *b, const dm_message *m, const dm_message *system)
{
    dm_status status = DM_OK;
    switch (b->c->kind) {
    case DM_TEMPLATE_CHATML:
        status = chatml_header(b, DM_ROLE_USER);
        put_content(b, m->text, m->size);
        if (status == DM_OK)
            status = put_token(b, "<|im_end|>");
        put_text(b, "\n");
        return status;
    case DM_TEMPLATE_LLAMA3:
        status = llama3_header(b, DM_ROLE_USER);
        put_content(b, m->text, m->size);
        return status == DM_OK ? put_token(b, "<|eot_id|>") : status;
    case DM_TEMPLATE_LLAMA2:
    case DM_TEMPLATE_MISTRAL:
        return put_instruction(b, m, system);
    case DM_TEMPLATE_VICUNA:
        put_text(b, "USER: ");
        put_content(b, m->text, m->size);
        put_text(b, " ");
        return DM_OK;
    case DM_TEMPLATE_PLAIN:
        status = put_token(b, "<|user|>");
        put_content(b, m->text, m->size);
        return status;
    case DM_TEMPLATE_ZEPHYR:
        status = zephyr_header(b, DM_ROLE_USER);
        put_content(b, m->text, m->size);
        if (status == DM_OK)
            status = put_id(b, b->c->end_of_turn);
        put_text(b, "\n");
        return status;
    case DM_TEMPLATE_COUNT:
        break;
    }
    return status;
}

/* What invites the agent's words, and stands before them. */
static dm_status put_invitation(builder *b)
{
    dm_status status = DM_OK;
    switch (b->c->kind) {
    case DM_TEMPLATE_CHATML:
        status = chatml_header(b, DM_ROLE_ASSISTANT);
        break;
    case DM_TEMPLATE_LLAMA3:
        status = llama3_header(b, DM_ROLE_ASSISTANT);
        break;
    case DM_TEMPLATE_VICUNA:
        put_text(b, "ASSISTANT:");
        break;
    case DM_TEMPLATE_PLAIN:
        status = put_token(b, "<|agent|>");
        break;
    case DM_TEMPLATE_ZEPHYR:
        status = zephyr_header(b, DM_ROLE_ASSISTANT);
        break;
    case DM_TEMPLATE_LLAMA2:
    case DM_TEMPLATE_MISTRAL:
    case DM_TEMPLATE_COUNT:
        break;
    }
    return status != DM_OK ? status : flush(b);
}

/* The agent's words have a space before them. */
static bool is_spaced(dm_template_kind kind)
{
    return kind == DM_TEMPLATE_LLAMA2 || kind == DM_TEMPLATE_MISTRAL || kind == DM_TEMPLATE_VICUNA;
}

/* What stands behind the agent's end-of-turn token. */
static void put_separator(builder *b)
{
    put_text(b, b->c->kind == DM_TEMPLATE_CHATML || b->c->kind == DM_TEMPLATE_ZEPHYR ? "\n" : "");
}

static dm_status put_assistant(builder *b, const dm_message *m, dm_span *span)
{
    const dm_template_kind kind = b->c->kind;
    dm_status status = put_invitation(b);
    span->begin = b->ids->size;
    put_text(b, is_spaced(kind) ? " " : "");
    put_content(b, m->text, m->size);
    put_text(b, kind == DM_TEMPLATE_LLAMA2 ? " " : "");
    if (status == DM_OK)
        status = put_id(b, b->c->end_of_turn);
    span->end = b->ids->size;
    put_separator(b);
    return status;
}

/* Roles in order and every text valid, before anything is appended. */
static dm_status check_messages(const dm_message *messages, size_t n, bool generation_prompt, dm_error *err)
{
    const size_t first = n > 0 && messages[0].role == DM_ROLE_SYSTEM ? 1 : 0;
    if (n == first)
        return dm_fail(err, DM_ERR_INPUT, "the conversation has no user message");
    for (size_t i = 0; i < n; i++) {
        if (messages[i].role == DM_ROLE_TOOL || messages[i].text == NULL || messages[i].members != NULL)
            return dm_fail(err, DM_ERR_UNSUPPORTED, "message %zu (%s): the template has no place for tools", i,
                           role_names[messages[i].role]);
        const size_t valid = dm_utf8_check(messages[i].text, messages[i].size);
        if (valid < messages[i].size)
            return dm_fail(err, DM_ERR_INPUT, "message %zu (%s): byte %zu is not valid UTF-8", i,
                           role_names[messages[i].role], valid);
        const dm_role wanted = (i - first) % 2 == 0 ? DM_ROLE_USER : DM_ROLE_ASSISTANT;
        if (i >= first && messages[i].role != wanted)
            return dm_fail(err, DM_ERR_INPUT, "message %zu is from %s, must be from %s: roles alternate", i,
                           role_names[messages[i].role], role_names[wanted]);
    }
    if (generation_prompt && messages[n - 1].role != DM_ROLE_USER)
        return dm_fail(err, DM_ERR_INPUT, "message %zu, the last, must be from user for the agent to answer", n - 1);
    return DM_OK;
}

dm_status dm_template_render(const dm_chat_template *c, const dm_tokenizer *t, const dm_conversation *talk,
                             bool generation_prompt, dm_ids *ids, dm_span *spans, size_t *n_spans, dm_error *err)
{
    const dm_message *messages = talk->messages;
    const size_t n = talk->n;
    *n_spans = 0;
    if (talk->tools != NULL)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "the %s template has no place for tools", dm_template_name(c->kind));
    dm_status status = check_messages(messages, n, generation_prompt, err);
    if (status != DM_OK)
        return status;
    builder b = {.c = c, .t = t, .ids = ids, .err = err};
    const dm_message *system = messages[0].role == DM_ROLE_SYSTEM ? &messages[0] : NULL;
    status = put_start(&b, system);
    for (size_t i = system != NULL ? 1 : 0; i < n && status == DM_OK; i++) {
        if (messages[i].role == DM_ROLE_USER) {
            status = put_user(&b, &messages[i], system);
            system = NULL;
            continue;
        }
        dm_span span;
        status = put_assistant(&b, &messages[i], &span);
        if (messages[i].train && status == DM_OK)
            spans[(*n_spans)++] = span;
    }
    if (generation_prompt && status == DM_OK)
        status = put_invitation(&b);
    if (status == DM_OK)
        status = flush(&b);
    dm_text_free(&b.text);
    dm_text_free(&b.content);
    return status;
}

dm_status dm_template_continue(const dm_chat_template *c, const dm_tokenizer *t, const char *text, size_t size,
                               dm_ids *ids, dm_error *err)
{
    const dm_message message = {.role = DM_ROLE_USER, .text = text, .size = size};
    builder b = {.c = c, .t = t, .ids = ids, .place = DM_TEXT_BEHIND_TOKEN, .err = err};
    dm_status status = check_messages(&message, 1, true, err);

    if (status != DM_OK)
        return status;
    put_separator(&b);
    status = put_user(&b, &message, NULL);
    if (status == DM_OK)
        status = put_invitation(&b);
    if (status == DM_OK)
        status = flush(&b);
    dm_text_free(&b.text);
    dm_text_free(&b.content);
    return status;
}

/* The agent's words follow a token, not text. */
static bool behind_token(const dm_chat_template *c, const dm_tokenizer *t)
{
    return c->kind == DM_TEMPLATE_PLAIN ||
           ((c->kind == DM_TEMPLATE_LLAMA2 || c->kind == DM_TEMPLATE_MISTRAL) && is_special(t, "[/INST]"));
}

void dm_template_words(const dm_chat_template *c, const dm_tokenizer *t, const char **text, size_t *size)
{
    if (behind_token(c, t) && dm_tokenizer_prefixes(t))
        dm_tokenizer_trim(t, text, size);
    if (is_spaced(c->kind) && *size > 0 && **text == ' ') {
        ++*text;
        --*size;
    }
    if (c->kind == DM_TEMPLATE_LLAMA2 && *size > 0 && (*text)[*size - 1] == ' ')
        --*size;
}
