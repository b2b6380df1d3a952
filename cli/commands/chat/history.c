#include "cli/commands/chat/history.h"

#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/data/dataset.h"
#include "io/tokenizer/unicode.h"

static void drop(cli_history *h, size_t n)
{
    while (h->n > n)
        free((char *)h->messages[--h->n].text);
}

static dm_status add(cli_history *h, const dm_message *m, dm_error *err)
{
    const size_t size = m->size;
    char *copy = malloc(size + 1);

    if (copy && h->n == h->room) {
        const size_t room = h->room ? 2 * h->room : 16;
        dm_message *more = realloc(h->messages, room * sizeof *more);
        if (more) {
            h->messages = more;
            h->room = room;
        }
    }
    if (!copy || h->n == h->room) {
        free(copy);
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the conversation");
    }
    if (size)
        memcpy(copy, m->text, size);
    copy[size] = 0;
    h->messages[h->n++] = (dm_message){.role = m->role, .text = copy, .size = size, .train = m->train};
    return DM_OK;
}

static size_t system_messages(const cli_history *h)
{
    return h->n > 0 && h->messages[0].role == DM_ROLE_SYSTEM;
}

size_t cli_history_turns(const cli_history *h)
{
    return h->n - system_messages(h);
}

dm_status cli_history_begin(cli_history *h, const char *system, size_t size, dm_error *err)
{
    const size_t valid = size ? dm_utf8_check(system, size) : 0;

    if (valid < size)
        return dm_fail(err, DM_ERR_INPUT, "the system message: byte %zu is not valid UTF-8", valid);
    drop(h, 0);
    h->ids.size = h->before.size = 0;
    return size ? add(h, &(dm_message){.role = DM_ROLE_SYSTEM, .text = system, .size = size}, err) : DM_OK;
}

void cli_history_reset(cli_history *h)
{
    drop(h, system_messages(h));
    h->ids.size = h->before.size = 0;
}

/* *to becomes a copy of `from`. */
static dm_status copy_ids(dm_ids *to, const dm_ids *from, dm_error *err)
{
    dm_status s = DM_OK;
    to->size = 0;
    for (size_t i = 0; i < from->size && s == DM_OK; i++)
        s = dm_ids_push(to, from->data[i], err);
    return s;
}

dm_status cli_history_ask(cli_history *h, const char *text, size_t size, size_t limit, dm_error *err)
{
    const size_t n = h->n;
    dm_ids before = {0};
    size_t none;
    dm_status s = copy_ids(&before, &h->ids, err);

    if (s == DM_OK)
        s = add(h, &(dm_message){.role = DM_ROLE_USER, .text = text, .size = size}, err);
    const dm_conversation talk = {.messages = h->messages, .n = h->n};
    if (s == DM_OK && before.size == 0)
        s = dm_template_render(h->chat, h->tokenizer, &talk, true, &h->ids, NULL, &none, err);
    else if (s == DM_OK)
        s = dm_template_continue(h->chat, h->tokenizer, &talk, &h->ids, err);
    if (s == DM_OK && h->ids.size > limit)
        s = dm_fail(err, DM_ERR_INPUT,
                    "the context is full: of %zu tokens %zu are taken, and this message makes them %zu and needs room "
                    "for an answer; /reset starts a new conversation, --max-length allows a longer one",
                    limit + 1, before.size, h->ids.size);
    dm_ids *restored = s == DM_OK ? &h->before : &h->ids; /* what the copy becomes */
    if (s != DM_OK)
        drop(h, n);
    dm_ids_free(restored);
    *restored = before;
    return s;
}

/* The ids of the first n messages up to the end of the agent's last turn; none where it has none. */
static dm_status ids_of(const cli_history *h, size_t n, dm_ids *ids, dm_error *err)
{
    size_t turns = 0;
    dm_span span;

    ids->size = 0;
    while (n > 0 && h->messages[n - 1].role != DM_ROLE_ASSISTANT)
        n--;
    if (n == 0)
        return DM_OK;
    dm_message *messages = malloc(n * sizeof *messages);
    if (!messages)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the conversation");
    for (size_t i = 0; i < n; i++) {
        messages[i] = h->messages[i];
        messages[i].train = i == n - 1; /* the span of this one */
    }
    const dm_status s = dm_template_render(h->chat, h->tokenizer, &(dm_conversation){.messages = messages, .n = n},
                                           false, ids, &span, &turns, err);
    free(messages);
    if (s == DM_OK && turns > 0)
        ids->size = span.end; /* what separates it from a next message comes with that */
    return s;
}

dm_status cli_history_answer(cli_history *h, const int32_t *ids, size_t n, const char *text, size_t size, dm_error *err)
{
    const size_t before = h->ids.size, messages = h->n;
    dm_ids rendered = {0};

    dm_template_words(h->chat, h->tokenizer, &text, &size);
    dm_status s = add(h, &(dm_message){.role = DM_ROLE_ASSISTANT, .text = text, .size = size, .train = true}, err);
    if (s == DM_OK && !ids && (s = ids_of(h, h->n, &rendered, err)) == DM_OK) {
        dm_ids_free(&h->ids);
        h->ids = rendered;
        return DM_OK;
    }
    for (size_t i = 0; i < n && s == DM_OK; i++)
        s = dm_ids_push(&h->ids, ids[i], err);
    if (s == DM_OK)
        s = dm_ids_push(&h->ids, h->chat->end_of_turn, err);
    if (s != DM_OK) {
        h->ids.size = before;
        drop(h, messages);
    }
    dm_ids_free(&rendered);
    return s;
}

/* Number of messages before the last question; all of them without one. */
static size_t before_question(const cli_history *h)
{
    for (size_t n = h->n; n > 0; n--)
        if (h->messages[n - 1].role == DM_ROLE_USER)
            return n - 1;
    return h->n;
}

void cli_history_question(const cli_history *h, dm_text *out)
{
    const size_t at = before_question(h);

    if (at < h->n)
        dm_text_add(out, h->messages[at].text, h->messages[at].size);
}

void cli_history_take_back(cli_history *h)
{
    const dm_ids asked = h->ids;

    drop(h, before_question(h));
    h->ids = h->before;
    h->before = asked;
    h->before.size = 0;
}

/* ---- files ---- */

static const char *role_name(dm_role role)
{
    return role == DM_ROLE_SYSTEM ? "system" : role == DM_ROLE_USER ? "user" : "assistant";
}

dm_status cli_history_save(const cli_history *h, const char *path, bool overwrite, dm_error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    dm_text t = {0};

    if (cli_history_turns(h) == 0)
        return dm_fail(err, DM_ERR_ARGUMENT, "there is nothing to save yet");
    if (!overwrite && dm_file_exists(path))
        return dm_fail(err, DM_ERR_FILE, "%s: already exists; /save! %s overwrites it", path, path);
    dm_text_print(&t, "{\"id\": ");
    dm_text_json_string(&t, name, strlen(name));
    dm_text_print(&t, ", \"messages\": [");
    for (size_t i = 0; i < h->n; i++) {
        dm_text_print(&t, "%s{\"role\": \"%s\", \"content\": ", i ? ", " : "", role_name(h->messages[i].role));
        dm_text_json_string(&t, h->messages[i].text, h->messages[i].size);
        dm_text_print(&t, "%s}",
                      h->messages[i].role == DM_ROLE_ASSISTANT && !h->messages[i].train ? ", \"train\": false" : "");
    }
    dm_text_print(&t, "]}\n");
    const dm_status s = t.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", path)
                                 : dm_file_write(path, t.data, t.size, err);
    dm_text_free(&t);
    return s;
}

/* messages end with the agent's, or are the system's alone or none. */
static dm_status take(cli_history *h, const dm_message *messages, size_t n, dm_error *err)
{
    dm_status s = DM_OK;

    for (size_t i = 0; i < n && s == DM_OK; i++)
        s = add(h, &messages[i], err);
    if (s == DM_OK)
        s = ids_of(h, h->n, &h->ids, err);
    return s == DM_OK ? ids_of(h, before_question(h), &h->before, err) : s;
}

dm_status cli_history_load(cli_history *h, const char *path, size_t limit, dm_text *question, size_t *items,
                           dm_error *err)
{
    cli_history fresh = {.tokenizer = h->tokenizer, .chat = h->chat};
    dm_messages read = {0};
    dm_json_doc *doc = NULL;
    dm_status s = dm_json_read_any(&doc, path, err);

    if (s == DM_OK)
        s = dm_conversation_read(&read, items, doc, err);
    dm_message *messages = read.messages;
    const size_t n = read.n;
    for (size_t i = 0; s == DM_OK && i < n; i++)
        if (read.tools || messages[i].members || messages[i].role == DM_ROLE_TOOL)
            s = dm_fail(err, DM_ERR_UNSUPPORTED, "%s: has tools or calls of them; a chat holds text alone", path);
    const bool asks = s == DM_OK && messages[n - 1].role == DM_ROLE_USER;
    if (s == DM_OK)
        s = take(&fresh, messages, n - asks, err);
    if (s == DM_OK && fresh.ids.size > limit)
        s = dm_fail(err, DM_ERR_INPUT, "%s: has %zu tokens, but the context has %zu; --max-length allows more", path,
                    fresh.ids.size, limit);
    if (s == DM_OK && asks) {
        dm_text_add(question, messages[n - 1].text, messages[n - 1].size);
        if (question->failed)
            s = dm_fail(err, DM_ERR_MEMORY, "no memory for the conversation");
    }
    if (s == DM_OK) {
        cli_history_close(h);
        *h = fresh;
    } else {
        cli_history_close(&fresh);
    }
    dm_messages_free(&read);
    dm_json_close(&doc);
    return s;
}

void cli_history_close(cli_history *h)
{
    drop(h, 0);
    free(h->messages);
    dm_ids_free(&h->ids);
    dm_ids_free(&h->before);
    *h = (cli_history){.tokenizer = h->tokenizer, .chat = h->chat};
}
