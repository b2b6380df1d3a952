/* From a template's text to one that is ready: which text, its variables, and what a trial rendering says of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/data/template_internal.h"

static dm_status no_memory(dm_error *err)
{
    return dm_fail(err, DM_ERR_MEMORY, "no memory for a chat template");
}

static const dm_template_builtin *builtin_of(const dm_chat_template *c)
{
    return c->kind < DM_TEMPLATE_COUNT ? &dm_template_builtins[c->kind] : NULL;
}

/* ---- options ---- */

/* A JSON text that is a Jinja literal, too, or Python's spelling of one. */
static bool is_literal(const char *s, size_t n, const char **literal)
{
    static const char *const words[][2] = {{"true", "true"},   {"false", "false"}, {"null", "none"}, {"True", "true"},
                                           {"False", "false"}, {"None", "none"},   {"none", "none"}};
    *literal = NULL;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i][0]) == n && memcmp(words[i][0], s, n) == 0) {
            *literal = words[i][1];
            return true;
        }
    dm_json_doc *doc;
    if (n == 0 || dm_json_parse(&doc, s, n, "value", NULL) != DM_OK)
        return false;
    const dm_json_type type = dm_json_root(doc)->type;
    dm_json_close(&doc);
    return type == DM_JSON_NUMBER || type == DM_JSON_STRING;
}

static bool is_name(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || s[i] == '_' ||
              (i > 0 && s[i] >= '0' && s[i] <= '9')))
            return false;
    return n > 0;
}

/* Statements that set the options, and a line end that the last one takes: the template after them begins a line, as
 * it did. Kept with the text, so that every renderer of it has them, too. */
static dm_status add_options(dm_text *out, const char *options, dm_error *err)
{
    for (const char *s = options != NULL ? options : ""; *s != '\0';) {
        const size_t size = strcspn(s, ","), name = strcspn(s, "=");
        const char *literal, *value = s + name + 1;
        if (name >= size || !is_name(s, name))
            return dm_fail(err, DM_ERR_ARGUMENT, "`template-option` \"%.*s\" must be NAME=VALUE", (int)size, s);
        const size_t n = size - name - 1;
        dm_text_print(out, "{%% if %.*s is not defined %%}{%% set %.*s = ", (int)name, s, (int)name, s);
        if (!is_literal(value, n, &literal))
            dm_text_json_string(out, value, n);
        else if (literal != NULL)
            dm_text_print(out, "%s", literal);
        else
            dm_text_add(out, value, n);
        dm_text_print(out, " %%}{%% endif %%}");
        s += size + (s[size] == ',');
        if (*s == '\0')
            dm_text_print(out, "\n");
    }
    return DM_OK;
}

/* ---- variables ---- */

static bool add_variable(struct dm_template *own, const char *name, const char *value)
{
    if (value == NULL || own->n_variables == DM_TEMPLATE_VARIABLES)
        return value == NULL;
    own->names[own->n_variables] = name;
    own->offsets[own->n_variables++] = own->texts.size;
    dm_text_add(&own->texts, value, strlen(value) + 1);
    return !own->texts.failed;
}

static dm_status find_token(int32_t *id, const dm_chat_template *c, const dm_tokenizer *t, const char *token,
                            dm_error *err)
{
    *id = dm_tokenizer_id(t, token);
    return *id >= 0
               ? DM_OK
               : dm_fail(err, DM_ERR_INPUT, "the %s template needs token \"%s\", which the tokenizer does not have",
                         dm_template_name(c->kind), token);
}

static bool is_given(const char *token)
{
    return token != NULL && *token != '\0';
}

/* The tokens of a built-in template, as far as the model's files do not name them. */
static dm_status set_tokens(dm_chat_template *out, const dm_template_texts *texts, const dm_tokenizer *t, dm_error *err)
{
    const dm_template_builtin *b = builtin_of(out);
    const char *bos = texts->bos, *eos = texts->eos;
    dm_status status = DM_OK;
    out->bos = out->end_of_turn = -1;
    if (b != NULL) {
        bos = is_given(bos) || b->bos == NULL ? bos : b->bos;
        eos = is_given(eos) && b->config_eos ? eos : b->end_of_turn;
        if (b->bos != NULL)
            status = find_token(&out->bos, out, t, bos, err);
        if (status == DM_OK)
            status = find_token(&out->end_of_turn, out, t, eos, err);
        for (size_t i = b->bos != NULL ? 1 : 0; i < b->n_tokens && status == DM_OK; i++) {
            int32_t id;
            if (!b->config_eos) /* for those, bos and eos are all */
                status = find_token(&id, out, t, b->tokens[i], err);
        }
    } else if (is_given(bos)) {
        out->bos = dm_tokenizer_id(t, bos);
    }
    struct dm_template *own = out->own;
    if (status == DM_OK &&
        (!add_variable(own, "bos_token", bos) || !add_variable(own, "eos_token", eos) ||
         !add_variable(own, "unk_token", texts->unknown) || !add_variable(own, "pad_token", texts->pad)))
        status = no_memory(err);
    return status;
}

/* ---- the trial ---- */

#define WORD "q"
#define MESSAGE(who, said)                                                                                             \
    {                                                                                                                  \
        .role = who, .text = said, .size = sizeof(said) - 1, .train = who == DM_ROLE_ASSISTANT                         \
    }

static const dm_message trial[] = {
    MESSAGE(DM_ROLE_SYSTEM, "s"), MESSAGE(DM_ROLE_USER, "u"),       MESSAGE(DM_ROLE_ASSISTANT, WORD),
    MESSAGE(DM_ROLE_USER, "u"),   MESSAGE(DM_ROLE_ASSISTANT, WORD),
};
static const dm_message thinking[] = {
    MESSAGE(DM_ROLE_USER, "u"),
    MESSAGE(DM_ROLE_ASSISTANT, "<think>\nt\n</think>\n\n" WORD),
    MESSAGE(DM_ROLE_USER, "u"),
    MESSAGE(DM_ROLE_ASSISTANT, WORD),
};

/* Renders n messages; *last: after the last byte of message `answer`. */
static dm_status try_messages(dm_scene *s, const dm_chat_template *c, const dm_message *messages, size_t n,
                              size_t answer, jinja_text *text, size_t *last, dm_error *err)
{
    const dm_conversation talk = {.messages = messages, .n = n};
    dm_status status = dm_scene_open(s, c, &talk, err);
    s->talk = NULL;
    if (status == DM_OK)
        status = dm_scene_render(s, n, false, text);
    *last = 0;
    for (size_t i = 0; status == DM_OK && i < text->n_runs; i++)
        if ((text->runs[i].origin & JINJA_ORIGIN) == answer + 1)
            *last = text->runs[i].end;
    return status;
}

/* The first special token of text[from..]; -1: there is none. */
static dm_status first_special(int32_t *id, const dm_tokenizer *t, const jinja_text *text, size_t from, dm_error *err)
{
    dm_ids ids = {0};
    const dm_status status = dm_tokenizer_encode(t, text->data + from, text->size - from, true, &ids, err);
    *id = -1;
    for (size_t i = 0; i < ids.size && *id < 0; i++) {
        bool special = false;
        if (dm_tokenizer_token(t, ids.data[i], &special) != NULL && special)
            *id = ids.data[i];
    }
    dm_ids_free(&ids);
    return status;
}

/* Which token ends the agent's turn: the first special one after its words, at the end of a conversation or else
 * before the next question. */
static dm_status find_end(dm_chat_template *c, const dm_message *messages, size_t n, const dm_tokenizer *t,
                          dm_error *err)
{
    dm_scene s;
    jinja_text text;
    size_t last;
    dm_status status = DM_OK;
    for (size_t more = 0; more < 2 && c->end_of_turn < 0 && status == DM_OK; more++) {
        status = try_messages(&s, c, messages, n + more, n - 1, &text, &last, err);
        if (status == DM_OK && last == 0)
            return dm_fail(err, DM_ERR_UNSUPPORTED, "the template leaves out the agent's words");
        if (status == DM_OK)
            status = first_special(&c->end_of_turn, t, &text, last, err);
    }
    return status != DM_OK || c->end_of_turn >= 0
               ? status
               : dm_fail(err, DM_ERR_UNSUPPORTED,
                         "the template has no special token after the agent's words, so that nothing would end a turn");
}

/* What stands around the agent's words in its turn. */
static dm_status find_around(dm_chat_template *c, const dm_message *messages, size_t n, const dm_tokenizer *t,
                             dm_error *err)
{
    struct dm_template *own = c->own;
    const dm_conversation talk = {.messages = messages, .n = n}, asked = {.messages = messages, .n = n - 1};
    const char *token = dm_tokenizer_token(t, c->end_of_turn, NULL);
    dm_scene s;
    jinja_text text;
    dm_turn turns[8];
    size_t turn = 0, first = 0, last = 0, begin = 0;
    dm_status status = dm_scene_open(&s, c, &talk, err);
    if (status == DM_OK)
        status = dm_scene_render(&s, n, false, &text);
    if (status == DM_OK)
        status = dm_turns_find(&s, t, &text, turns, &turn);
    if (status != DM_OK || turn != 1)
        return status;
    for (size_t i = 0; i < text.n_runs; begin = text.runs[i++].end)
        if ((text.runs[i].origin & JINJA_ORIGIN) == n) {
            first = last == 0 ? begin : first;
            last = text.runs[i].end;
        }
    const size_t end = turns->end - (turns->ends_in_token ? strlen(token) : 0);
    own->before = first > turns->begin ? first - turns->begin : 0;
    own->behind = end > last ? end - last : 0;
    if ((own->around = malloc(own->before + own->behind + 1)) == NULL)
        return no_memory(err);
    memcpy(own->around, text.data + turns->begin, own->before);
    memcpy(own->around + own->before, text.data + last, own->behind);

    dm_ids ids = {0};
    size_t none;
    status = dm_template_render(c, t, &asked, true, &ids, NULL, &none, err);
    if (status == DM_OK && ids.size > 0) {
        const char *end_token = dm_tokenizer_token(t, ids.data[ids.size - 1], NULL);
        const size_t size = end_token != NULL ? strlen(end_token) : 0;
        status = dm_scene_open(&s, c, &asked, err);
        if (status == DM_OK)
            status = dm_scene_render(&s, asked.n, true, &text);
        bool special = false;
        dm_tokenizer_token(t, ids.data[ids.size - 1], &special);
        own->follows_token = status == DM_OK && special && size > 0 && size <= text.size &&
                             memcmp(text.data + text.size - size, end_token, size) == 0;
    }
    dm_ids_free(&ids);
    return status;
}

/* Whether the conversation looks otherwise up to the end of its first answer once two messages follow. */
static bool is_rewritten(dm_chat_template *c, const dm_message *messages, size_t n, const dm_tokenizer *t)
{
    dm_scene s;
    jinja_text text;
    size_t last;
    if (try_messages(&s, c, messages, n, n - 1, &text, &last, NULL) != DM_OK)
        return false;
    const size_t end = dm_turn_end(c, t, &text, last, text.size);
    char *before = malloc(end + 1);
    if (before == NULL || end == 0) {
        free(before);
        return false;
    }
    memcpy(before, text.data, end);
    const bool same = try_messages(&s, c, messages, n + 2, n - 1, &text, &last, NULL) != DM_OK ||
                      (text.size >= end && memcmp(before, text.data, end) == 0);
    free(before);
    return !same;
}

static dm_status probe(dm_chat_template *c, const dm_tokenizer *t, dm_error *err)
{
    const dm_message *messages = trial + 1;
    size_t n = 2, last;
    dm_scene s;
    jinja_text text;
    dm_error first;
    dm_status status = try_messages(&s, c, messages, n, n - 1, &text, &last, &first);
    if (status != DM_OK) { /* some want a system message */
        messages = trial;
        n = 3;
        if (try_messages(&s, c, messages, n, n - 1, &text, &last, NULL) != DM_OK)
            return dm_fail(err, status, "%s", first.message);
    }
    if (c->end_of_turn < 0 && (status = find_end(c, messages, n, t, err)) != DM_OK)
        return status;
    if ((status = find_around(c, messages, n, t, err)) != DM_OK)
        return status;
    c->rewrites = is_rewritten(c, messages, n, t) || is_rewritten(c, trial, 3, t) || is_rewritten(c, thinking, 2, t);
    return DM_OK;
}

/* ---- opening ---- */

static dm_status compile(const char *jinja, const char *options, const char *where, dm_jinja **program, char **source,
                         dm_error *err)
{
    dm_text text = {0};
    dm_status status = add_options(&text, options, err);
    dm_text_add(&text, jinja, strlen(jinja));
    if (status == DM_OK && text.failed)
        status = no_memory(err);
    if (status == DM_OK)
        status = dm_jinja_compile(program, text.data, text.size, where, err);
    if (status == DM_OK && source != NULL)
        *source = text.data;
    else
        dm_text_free(&text);
    return status;
}

static bool by_name(const char *name, dm_template_kind *kind)
{
    for (int k = 0; k < DM_TEMPLATE_COUNT; k++)
        if (strcmp(dm_template_builtins[k].name, name) == 0) {
            *kind = (dm_template_kind)k;
            return true;
        }
    return false;
}

/* A model's template whose text is one of ours is that one. */
static dm_template_kind by_text(const char *jinja)
{
    int k = 0;
    while (k < DM_TEMPLATE_COUNT && strcmp(dm_template_builtins[k].jinja, jinja) != 0)
        k++;
    return (dm_template_kind)k;
}

static dm_status open_text(dm_chat_template *out, const dm_template_choice *choice, const dm_template_texts *texts,
                           const char *jinja, const char *tool_use, const char *where, const dm_tokenizer *t,
                           dm_error *err)
{
    struct dm_template *own = out->own = calloc(1, sizeof *own);
    const char *options = choice != NULL ? choice->options : NULL;
    if (own == NULL)
        return no_memory(err);
    own->arena.limit = JINJA_MEMORY;
    dm_status status = compile(jinja, options, where, &own->program, &own->source, err);
    if (status == DM_OK && tool_use != NULL)
        status = compile(tool_use, options, where, &own->tools, NULL, err);
    if (status == DM_OK)
        status = set_tokens(out, texts, t, err);
    if (status == DM_OK)
        status = probe(out, t, err);
    if (status == DM_ERR_UNSUPPORTED && out->kind == DM_TEMPLATE_OWN)
        status = dm_fail_context(err, status, "the chat template cannot be used (choose another with `template`)");
    if (status != DM_OK)
        dm_template_close(out);
    return status;
}

/* The template in a file that a user names. */
static dm_status open_file(dm_chat_template *out, const dm_template_choice *choice, const dm_template_texts *texts,
                           const dm_tokenizer *t, dm_error *err)
{
    char *jinja;
    size_t size;
    if (!dm_file_exists(choice->name))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "unknown template \"%s\", must be auto, " DM_TEMPLATE_NAMES ", or a file with a template",
                       choice->name);
    dm_status status = dm_file_read(choice->name, DM_JINJA_SOURCE, &jinja, &size, err);
    if (status != DM_OK)
        return status;
    if (strlen(jinja) < size)
        status = dm_fail(err, DM_ERR_INPUT, "%s holds a zero byte", choice->name);
    else
        status = open_text(out, choice, texts, jinja, NULL, choice->name, t, err);
    free(jinja);
    return status;
}

dm_status dm_template_from_text(dm_chat_template *out, const dm_template_choice *choice, const dm_template_texts *texts,
                                const dm_tokenizer *t, dm_error *err)
{
    const char *name = choice != NULL && choice->name != NULL ? choice->name : "auto";
    *out = (dm_chat_template){.kind = DM_TEMPLATE_OWN, .bos = -1, .end_of_turn = -1};
    out->chosen = strcmp(name, "auto") != 0 || (choice != NULL && choice->options != NULL);
    if (by_name(name, &out->kind))
        return open_text(out, choice, texts, dm_template_builtins[out->kind].jinja, NULL, name, t, err);
    if (strcmp(name, "auto") != 0)
        return open_file(out, choice, texts, t, err);
    if (texts->jinja == NULL)
        return dm_fail(err, DM_ERR_INPUT, "%s has no chat_template: choose one with `template` " DM_TEMPLATE_NAMES,
                       texts->where);
    out->kind = by_text(texts->jinja);
    return open_text(out, choice, texts, texts->jinja, texts->tool_use, texts->where, t, err);
}

void dm_template_close(dm_chat_template *c)
{
    struct dm_template *own = c->own;
    if (own != NULL) {
        dm_jinja_close(&own->program);
        dm_jinja_close(&own->tools);
        jinja_free(&own->arena);
        dm_text_free(&own->texts);
        free(own->source);
        free(own->around);
        free(own);
    }
    *c = (dm_chat_template){.kind = DM_TEMPLATE_OWN, .bos = -1, .end_of_turn = -1};
}

const char *dm_template_source(const dm_chat_template *c)
{
    return c->own->source;
}
