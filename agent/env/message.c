#include "agent/env/message.h"

#include <stdlib.h>
#include <string.h>

#include "io/json_writer.h"

/* Limits of the protocol, in bytes and entries. */
enum {
    NAME_MAX_BYTES = 64,
    ACTION_MAX_BYTES = 4096,
    INSTRUCTION_MAX_BYTES = 65536,
    LINE_MAX_BYTES = 1 << 20,
    TASKS_MAX = 1000000000,
    TURNS_MAX = 100000,
    AT_ONCE_MAX = 256
};

/* ---- what is asked ---- */

void dm_message_ask_hello(dm_text *out)
{
    dm_json_writer w = {.out = out};

    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "type", "hello");
    dm_json_put_int(&w, "version", DM_PROTOCOL_VERSION);
    dm_json_close_value(&w);
    dm_text_add(out, "\n", 1);
}

void dm_message_ask_reset(dm_text *out, dm_env_split split, int64_t task, uint64_t seed, dm_message_wants wants)
{
    dm_json_writer w = {.out = out};

    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "type", "reset");
    dm_json_put_string(&w, "split", dm_env_split_names[split]);
    dm_json_put_int(&w, "task", task);
    dm_json_put_uint(&w, "seed", seed);
    dm_json_put_bool(&w, "expert", wants.expert);
    dm_json_put_bool(&w, "actions", wants.actions);
    dm_json_close_value(&w);
    dm_text_add(out, "\n", 1);
}

void dm_message_ask_step(dm_text *out, const char *action)
{
    dm_json_writer w = {.out = out};

    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "type", "step");
    dm_json_put_string(&w, "action", action);
    dm_json_close_value(&w);
    dm_text_add(out, "\n", 1);
}

/* ---- what is answered ---- */

/* Appends the beginning of the answer to the complaint about it. */
static dm_status complain(dm_status s, const char *line, dm_error *err)
{
    dm_error about;

    if (!err || err->status != DM_ERR_INPUT)
        return s;
    about = *err;
    return dm_fail(err, s, "%.600s; the answer was: '%.80s%s'", about.message, line, strlen(line) > 80 ? "..." : "");
}

/* A string of least .. most bytes; `one_line`: without control characters, which would break what is shown and
 * replayed. */
static dm_status check_text(const dm_json_doc *doc, const dm_json *v, const char *what, size_t least, size_t most,
                            bool one_line, dm_error *err)
{
    if (!v)
        return dm_json_fail(doc, dm_json_root(doc), err, "\"%s\" is missing: must be a string", what);
    if (v->type != DM_JSON_STRING)
        return dm_json_fail(doc, v, err, "\"%s\" must be a string", what);
    if (v->length < least || v->length > most)
        return dm_json_fail(doc, v, err, "\"%s\" has %zu bytes, must have %zu to %zu", what, v->length, least, most);
    for (size_t i = 0; i < v->length; i++) {
        const unsigned char c = (unsigned char)v->text[i];
        if (c == 0 || (one_line && (c < ' ' || c == 0x7f)))
            return dm_json_fail(doc, v, err, "\"%s\" holds the control character %u%s", what, c,
                                one_line ? ", must be one line of text" : "");
    }
    return DM_OK;
}

static dm_status get_text(const dm_json_doc *doc, const char *key, size_t least, size_t most, bool one_line,
                          const char **out, dm_error *err)
{
    const dm_json *v = dm_json_get(dm_json_root(doc), key);
    const dm_status s = check_text(doc, v, key, least, most, one_line, err);

    if (s == DM_OK)
        *out = v->text;
    return s;
}

/* One JSON object that is not {"error": ...}. */
static dm_status parse(dm_json_doc **doc, const char *line, size_t size, dm_error *err)
{
    dm_status s = dm_json_parse(doc, line, size, "answer", err);

    if (s != DM_OK)
        return complain(s, line, err);
    const dm_json *root = dm_json_root(*doc), *error = dm_json_get(root, "error");
    if (root->type != DM_JSON_OBJECT)
        return complain(dm_json_fail(*doc, root, err, "must be a JSON object"), line, err);
    if (!error || error->type == DM_JSON_NULL)
        return DM_OK;
    s = check_text(*doc, error, "error", 1, LINE_MAX_BYTES, false, err);
    return s != DM_OK ? complain(s, line, err) : dm_fail(err, DM_ERR_INPUT, "it reports: %.600s", error->text);
}

static dm_status read_hello(dm_message_hello *h, dm_error *err)
{
    const dm_json *root = dm_json_root(h->doc), *tasks = dm_json_get(root, "tasks");
    const int64_t none = 0;
    int64_t sum = 0;
    dm_status s = dm_json_get_int(h->doc, root, "version", DM_PROTOCOL_VERSION, DM_PROTOCOL_VERSION, NULL, &sum, err);

    if (s == DM_OK)
        s = get_text(h->doc, "name", 1, NAME_MAX_BYTES, true, &h->name, err);
    if (s == DM_OK)
        s = get_text(h->doc, "instruction", 1, INSTRUCTION_MAX_BYTES, false, &h->instruction, err);
    if (s == DM_OK)
        s = dm_json_get_int(h->doc, root, "max_turns", 1, TURNS_MAX, NULL, &h->max_turns, err);
    if (s == DM_OK)
        s = dm_json_get_int(h->doc, root, "at_once", 0, AT_ONCE_MAX, &none, &h->at_once, err);
    if (s == DM_OK && (!tasks || tasks->type != DM_JSON_OBJECT))
        return dm_json_fail(h->doc, tasks ? tasks : root, err,
                            "\"tasks\" must be an object with \"train\", \"seen\" and \"unseen\"");
    sum = 0;
    for (int i = 0; s == DM_OK && i < DM_ENV_SPLITS; i++) {
        s = dm_json_get_int(h->doc, tasks, dm_env_split_names[i], 0, TASKS_MAX, &none, &h->tasks[i], err);
        sum += h->tasks[i];
    }
    if (s == DM_OK && sum == 0)
        s = dm_json_fail(h->doc, tasks, err, "\"tasks\" has no task in any split");
    return s;
}

dm_status dm_message_read_hello(dm_message_hello *out, const char *line, size_t size, dm_error *err)
{
    *out = (dm_message_hello){0};
    dm_status s = parse(&out->doc, line, size, err);
    if (s == DM_OK && (s = read_hello(out, err)) != DM_OK)
        s = complain(s, line, err);
    if (s != DM_OK)
        dm_message_hello_free(out);
    return s;
}

static dm_status read_actions(dm_message_answer *a, const dm_json *list, dm_error *err)
{
    dm_status s = DM_OK;

    if (!list || list->type == DM_JSON_NULL)
        return DM_OK;
    if (list->type != DM_JSON_ARRAY)
        return dm_json_fail(a->doc, list, err, "\"actions\" must be a list of strings");
    if (list->length == 0)
        return DM_OK;
    if (!(a->actions = malloc(list->length * sizeof *a->actions)))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu actions", list->length);
    for (const dm_json *v = list->child; v && s == DM_OK; v = v->next) {
        s = check_text(a->doc, v, "actions", 1, ACTION_MAX_BYTES, true, err);
        a->actions[a->n_actions++] = v->text;
    }
    return s;
}

static dm_status read_answer(dm_message_answer *a, bool to_reset, dm_error *err)
{
    const dm_json *root = dm_json_root(a->doc), *expert = dm_json_get(root, "expert");
    const double none = 0;
    double reward;
    dm_status s = DM_OK;

    if (to_reset)
        s = get_text(a->doc, "task", 1, LINE_MAX_BYTES, false, &a->task, err);
    if (s == DM_OK)
        s = get_text(a->doc, "observation", 0, LINE_MAX_BYTES, false, &a->observation, err);
    if (s == DM_OK)
        s = dm_json_get_double(a->doc, root, "score", 0, 1, NULL, &a->score, err);
    if (s == DM_OK)
        s = dm_json_get_double(a->doc, root, "reward", -1, 1, &none, &reward, err);
    if (s == DM_OK)
        s = dm_json_get_bool(a->doc, root, "done", NULL, &a->done, err);
    if (s == DM_OK && expert && expert->type != DM_JSON_NULL)
        s = get_text(a->doc, "expert", 1, ACTION_MAX_BYTES, true, &a->expert, err);
    if (s == DM_OK)
        s = read_actions(a, dm_json_get(root, "actions"), err);
    return s;
}

dm_status dm_message_read_answer(dm_message_answer *out, bool to_reset, const char *line, size_t size, dm_error *err)
{
    *out = (dm_message_answer){0};
    dm_status s = parse(&out->doc, line, size, err);
    if (s == DM_OK && (s = read_answer(out, to_reset, err)) != DM_OK)
        s = complain(s, line, err);
    if (s != DM_OK)
        dm_message_answer_free(out);
    return s;
}

void dm_message_hello_free(dm_message_hello *h)
{
    dm_json_close(&h->doc);
    *h = (dm_message_hello){0};
}

void dm_message_answer_free(dm_message_answer *a)
{
    free(a->actions);
    dm_json_close(&a->doc);
    *a = (dm_message_answer){0};
}

bool dm_message_hello_equal(const dm_message_hello *a, const dm_message_hello *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->instruction, b->instruction) == 0 &&
           memcmp(a->tasks, b->tasks, sizeof a->tasks) == 0 && a->max_turns == b->max_turns;
}
