/* Items from a file: which form each has, how it is cut to length, and where it is kept. */
#include "io/data/dataset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/block.h"
#include "io/data/dataset_internal.h"

/* What an item adds to the report if it is kept. */
typedef struct cuts {
    size_t tokens, turns;
    bool any;
    bool labelled;
    bool equal; /* both sides of the pair are the same */
} cuts;

static dm_status fail_memory(dm_item_reader *r)
{
    return dm_fail(r->m.err, DM_ERR_MEMORY, "%s: no memory left for its items", dm_json_name(r->m.doc));
}

/* Cuts r->ids and r->spans to max_length at the end of the last turn that fits whole. */
static dm_status cut_to_length(dm_item_reader *r, const dm_json *v, const char *name, cuts *c)
{
    const size_t limit = r->options->max_length;
    size_t kept = 0;

    if (limit == 0 || r->ids.size <= limit)
        return DM_OK;
    while (kept < r->n_spans && r->spans[kept].end <= limit)
        kept++;
    if (kept == 0)
        return dm_reader_fail(r, v, "%s: the first turn ends at token %zu, after the limit of %zu: no action is left",
                              name, r->spans[0].end, limit);
    const size_t end = r->spans[kept - 1].end;
    c->any = true; /* the ids after the end stay in r->ids.data */
    c->tokens += r->ids.size - end;
    c->turns += r->n_spans - kept;
    r->ids.size = end;
    r->n_spans = kept;
    return DM_OK;
}

/* Checks, cuts and copies what a form left in r. */
static dm_status store(dm_item_reader *r, dm_block **memory, const dm_json *v, const char *name, dm_data_trajectory *t,
                       cuts *c)
{
    const size_t vocabulary = r->options->vocabulary;

    for (size_t i = 0; vocabulary && i < r->ids.size; i++)
        if ((size_t)r->ids.data[i] >= vocabulary)
            return dm_reader_fail(r, v, "%s: token id %ld is outside of the model's vocabulary of %zu", name,
                                  (long)r->ids.data[i], vocabulary);
    if (r->spans[0].begin == 0)
        return dm_reader_fail(r, v, "%s: the agent's first message has nothing before it", name);
    const size_t tokens = r->ids.size, turns = r->n_spans;
    dm_status st = cut_to_length(r, v, name, c);
    if (st != DM_OK)
        return st;
    t->n = r->ids.size;
    t->n_turns = r->n_spans;
    t->cut_tokens = tokens - t->n;
    t->cut_turns = turns - t->n_turns;
    const size_t kept = r->options->keep_cut ? tokens : t->n;
    t->ids = dm_block_alloc(memory, kept * sizeof *t->ids);
    t->turns = dm_block_alloc(memory, t->n_turns * sizeof *t->turns);
    if (!t->ids || !t->turns)
        return fail_memory(r);
    memcpy(t->ids, r->ids.data, kept * sizeof *t->ids);
    memcpy(t->turns, r->spans, t->n_turns * sizeof *t->turns);
    for (size_t i = 0; i < t->n_turns; i++)
        t->n_actions += t->turns[i].end - t->turns[i].begin;
    return DM_OK;
}

static dm_status read_side(dm_item_reader *r, dm_block **memory, const dm_json *item, const dm_json *prompt,
                           const char *prompt_name, const dm_json *side, size_t common, const char *name,
                           dm_data_trajectory *out, cuts *c)
{
    const bool tokens = side->type == DM_JSON_OBJECT && !dm_message_is(side);
    dm_status st =
        tokens ? dm_form_tokens(r, side, name) : dm_form_side(r, item, prompt, prompt_name, side, common, name);
    return st == DM_OK ? store(r, memory, side, name, out, c) : st;
}

/* The prompt of a pair or completion, and what it is called: some write it as the conversation so far. */
static const dm_json *prompt_of(const dm_json *item, const char **name)
{
    static const char *const names[] = {"prompt", "conversations", "messages"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const dm_json *v = dm_json_get(item, *name = names[i]);
        if (v && v->type != DM_JSON_NULL)
            return v;
    }
    return NULL;
}

static bool same_side(const dm_data_trajectory *a, const dm_data_trajectory *b)
{
    return a->n == b->n && a->n_turns == b->n_turns && memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0 &&
           memcmp(a->turns, b->turns, a->n_turns * sizeof *a->turns) == 0;
}

static dm_status read_pair(dm_item_reader *r, dm_block **memory, const dm_json *v, dm_data_item *item, cuts *c)
{
    const char *prompt_name;
    const dm_json *prompt = prompt_of(v, &prompt_name);
    const dm_json *sides[2] = {dm_json_get(v, "chosen"), dm_json_get(v, "rejected")};
    static const char *const names[2] = {"chosen", "rejected"};
    dm_data_trajectory *const out[2] = {&item->chosen, &item->rejected};
    size_t common = 0;

    for (int i = 0; i < 2; i++)
        if (!sides[i] || (sides[i]->type != DM_JSON_ARRAY && sides[i]->type != DM_JSON_OBJECT))
            return dm_reader_fail(r, sides[i] ? sides[i] : v, "\"%s\" %s", names[i],
                                  sides[i] ? "must be a list of messages, one message, or {\"ids\", \"turns\"}"
                                           : "is missing");
    if (sides[0]->type != sides[1]->type)
        return dm_reader_fail(r, sides[1], "\"rejected\" must have the form of \"chosen\"");
    for (int i = 0; i < 2; i++)
        if (sides[i]->length == 0)
            return dm_reader_fail(r, sides[i], "\"%s\" is empty: it must hold at least one message of the agent",
                                  names[i]);
    if (sides[0]->type == DM_JSON_OBJECT && dm_message_is(sides[0]) && !prompt)
        return dm_reader_fail(r, v,
                              "\"prompt\" is missing: \"chosen\" is one message, whose conversation must be "
                              "there as \"prompt\" or \"conversations\"");
    const bool whole = !prompt || (prompt->type == DM_JSON_STRING && !dm_message_is_agent(sides[0]->child));
    if (sides[0]->type == DM_JSON_ARRAY && whole) {
        common = dm_form_common_prompt(sides[0], sides[1]);
        if (common == 0 && !prompt)
            return dm_reader_fail(r, v,
                                  "\"prompt\" is missing, and chosen and rejected do not begin with the same messages");
    }
    for (int i = 0; i < 2; i++) {
        const dm_status st = read_side(r, memory, v, prompt, prompt_name, sides[i], common, names[i], out[i], c);
        if (st != DM_OK)
            return st;
    }
    c->equal = same_side(&item->chosen, &item->rejected);
    return DM_OK;
}

/* A prompt and what follows it, with a label that says whether it is wanted, or without one. */
static dm_status read_completion(dm_item_reader *r, dm_block **memory, const dm_json *v, dm_data_item *item, cuts *c)
{
    const dm_json *completion = dm_json_get(v, "completion"), *label = dm_json_get(v, "label");
    const char *prompt_name;
    const dm_json *prompt = prompt_of(v, &prompt_name);
    const bool labelled = label && label->type != DM_JSON_NULL;

    const bool tokens = completion->type == DM_JSON_OBJECT && !dm_message_is(completion);
    if (!prompt && !tokens)
        return dm_reader_fail(r, v, "\"prompt\" is missing beside \"completion\"");
    if ((completion->type != DM_JSON_ARRAY && completion->type != DM_JSON_OBJECT) || completion->length == 0)
        return dm_reader_fail(
            r, completion, "\"completion\" must be a list of messages, one message, or {\"ids\", \"turns\"}%s",
            completion->type == DM_JSON_STRING ? ", not a string: a chat template needs messages" : "");
    if (labelled && label->type != DM_JSON_BOOL)
        return dm_reader_fail(r, label, "\"label\" must be true or false");
    if (labelled && !r->options->take_labels)
        return dm_reader_fail(r, label, "has a \"label\": only the objective kto learns from labelled completions");
    if (!labelled && r->options->need_pairs)
        return dm_reader_fail(r, v, "\"chosen\" and \"rejected\" are missing: preference pairs are needed");
    c->labelled = labelled;
    return read_side(r, memory, v, prompt, prompt_name, completion, 0, "completion",
                     labelled && !label->boolean ? &item->rejected : &item->chosen, c);
}

static dm_status read_single(dm_item_reader *r, dm_block **memory, const dm_json *v, dm_data_item *item, cuts *c)
{
    const dm_json *conversations = dm_json_get(v, "conversations"), *messages = dm_json_get(v, "messages");
    const dm_json *at = v;
    const char *name = "ids";
    dm_status st;

    if (r->options->need_pairs)
        return dm_reader_fail(r, v, "\"chosen\" and \"rejected\" are missing: preference pairs are needed");
    if (conversations) {
        st = dm_form_conversation(r, v, at = conversations, true, name = "conversations");
    } else if (messages) {
        st = dm_form_conversation(r, v, at = messages, false, name = "messages");
    } else if (dm_json_get(v, "ids")) {
        st = dm_form_tokens(r, v, "");
    } else {
        return dm_reader_fail(r, v,
                              "has none of the keys that hold data: \"chosen\" and \"rejected\", \"conversations\", "
                              "\"messages\", \"prompt\" and \"completion\", or \"ids\" and \"turns\"");
    }
    return st == DM_OK ? store(r, memory, at, name, &item->chosen, c) : st;
}

static dm_status read_score(dm_item_reader *r, const dm_json *v, const char *key, double *out)
{
    const dm_json *score = dm_json_get(v, key);

    *out = NAN;
    if (!score || score->type == DM_JSON_NULL)
        return DM_OK;
    if (score->type != DM_JSON_NUMBER)
        return dm_reader_fail(r, score, "\"%s\" must be a number", key);
    *out = score->number;
    return DM_OK;
}

/* The item's own id, or "item K". */
static dm_status read_id(dm_item_reader *r, dm_block **memory, const dm_json *v, size_t index, char **out)
{
    const dm_json *id = dm_json_get(v, "id");
    const char *text = r->number;

    snprintf(r->number, sizeof r->number, "item %zu", index);
    r->m.id = r->number; /* until it is read */
    if (v->type != DM_JSON_OBJECT)
        return dm_reader_fail(r, v, "must be an object");
    if (id && id->type == DM_JSON_STRING)
        text = id->text;
    else if (id && id->is_integer)
        snprintf(r->number, sizeof r->number, "%lld", (long long)id->integer);
    else if (id && id->type != DM_JSON_NULL)
        return dm_reader_fail(r, id, "\"id\" must be a string or an integer");
    const size_t size = strlen(text) + 1;
    char *copy = dm_block_alloc(memory, size);
    if (!copy)
        return fail_memory(r);
    memcpy(copy, text, size);
    r->m.id = *out = copy;
    return DM_OK;
}

static dm_status read_item(dm_item_reader *r, dm_block **memory, const dm_json *v, size_t index, dm_data_item *item,
                           cuts *c)
{
    *item = (dm_data_item){.number = index};
    *c = (cuts){0};
    dm_status st = read_id(r, memory, v, index, &item->id);
    if (st == DM_OK)
        st = read_score(r, v, "chosen_score", &item->chosen_score);
    if (st == DM_OK)
        st = read_score(r, v, "rejected_score", &item->rejected_score);
    if (st != DM_OK)
        return st;
    if (dm_json_get(v, "chosen") || dm_json_get(v, "rejected"))
        return read_pair(r, memory, v, item, c);
    return dm_json_get(v, "completion") ? read_completion(r, memory, v, item, c) : read_single(r, memory, v, item, c);
}

static void count_trajectory(dm_data_report *report, const dm_data_trajectory *t)
{
    report->tokens += t->n;
    report->action_tokens += t->n_actions;
    if (t->n > report->longest)
        report->longest = t->n;
}

static bool has_id(const dm_json *v, const char *id)
{
    const dm_json *own = dm_json_get(v, "id");
    char number[40];

    if (!own || own->type == DM_JSON_STRING)
        return own && strcmp(own->text, id) == 0;
    snprintf(number, sizeof number, "%lld", (long long)own->integer);
    return own->is_integer && strcmp(number, id) == 0;
}

/* Which of the n items from *item on options->only asks for. */
static dm_status find_only(const dm_item_reader *r, const dm_json **item, size_t n, size_t *number)
{
    const char *only = r->options->only, *digits = only && strncmp(only, "item ", 5) == 0 ? only + 5 : only;
    const dm_json *found = only ? NULL : *item, *v = *item;
    size_t wanted = SIZE_MAX;

    if (only && *digits && strlen(digits) < 19 && !digits[strspn(digits, "0123456789")])
        wanted = (size_t)strtoull(digits, NULL, 10);
    for (size_t i = 0; only && v && i < n; v = v->next, i++) {
        const bool named = has_id(v, only);
        if (named || i == wanted) {
            found = v;
            *number = i;
        }
        if (named)
            break;
    }
    *item = found;
    return found ? DM_OK
                 : dm_fail(r->m.err, DM_ERR_ARGUMENT,
                           "%s: has no item \"%.200s\"; name one of its %zu items by its id, or by its number from 0",
                           dm_json_name(r->m.doc), only, n);
}

/* All items of `list` (an array) or the one item `list`; of these one, if options->one. */
static dm_status read_items(dm_dataset *d, dm_item_reader *r, dm_block **memory, const dm_json *list)
{
    const bool many = list->type == DM_JSON_ARRAY;
    const dm_json *v = many ? list->child : list;
    size_t n = many ? list->length : 1, index = 0;

    if (r->options->one && n) {
        const dm_status st = find_only(r, &v, n, &index);
        if (st != DM_OK)
            return st;
        n = 1;
    }
    d->items = n <= SIZE_MAX / sizeof *d->items ? dm_block_alloc(memory, n * sizeof *d->items) : NULL;
    if (!d->items)
        return fail_memory(r);
    for (; v && n; v = v->next, index++, n--) {
        dm_data_item *item = &d->items[d->n];
        cuts c;
        dm_status st = read_item(r, memory, v, index, item, &c);
        const bool pair = item->rejected.n > 0 || c.labelled;
        if (st == DM_OK && d->n > 0 && pair != d->pairs)
            st =
                dm_reader_fail(r, v, "a file holds either pairs or single conversations, and item \"%.200s\" %s a pair",
                               d->items[0].id, d->pairs ? "is" : "is not");
        if (st == DM_OK && c.equal && r->options->drop_equal) { /* nothing to learn: its gradient is 0 for ever */
            d->report.equal++;
            d->report.equal_by_cut += c.any;
            continue;
        }
        if (st == DM_ERR_INPUT && r->options->skip_invalid) {
            if (d->report.skipped++ == 0)
                snprintf(d->report.first_skipped, sizeof d->report.first_skipped, "%.*s",
                         (int)sizeof d->report.first_skipped - 1, r->m.err->message);
            continue;
        }
        if (st != DM_OK)
            return st;
        d->pairs = pair;
        d->n++;
        d->report.truncated_items += c.any;
        d->report.truncated_tokens += c.tokens;
        d->report.truncated_turns += c.turns;
        count_trajectory(&d->report, &item->chosen);
        count_trajectory(&d->report, &item->rejected);
    }
    d->report.items = d->n;
    if (d->n > 0)
        return DM_OK;
    if (d->report.equal)
        return dm_fail(
            r->m.err, DM_ERR_INPUT,
            "%s: no item is left: the sides of %zu pairs are the same (%zu of them since they were cut to the "
            "limit of %zu tokens), %zu items are invalid",
            dm_json_name(r->m.doc), d->report.equal, d->report.equal_by_cut, r->options->max_length, d->report.skipped);
    if (d->report.skipped)
        return dm_fail(r->m.err, DM_ERR_INPUT, "%s: all %zu items are invalid; the first: %s", dm_json_name(r->m.doc),
                       d->report.skipped, d->report.first_skipped);
    return dm_fail(r->m.err, DM_ERR_INPUT, "%s: holds no items", dm_json_name(r->m.doc));
}

dm_status dm_dataset_open(dm_dataset *out, const char *path, const dm_data_options *options, dm_error *err)
{
    dm_json_doc *doc;
    dm_block *memory = NULL;

    *out = (dm_dataset){0};
    dm_status st = dm_json_read_data(&doc, path, out->sha256, err);
    if (st != DM_OK)
        return st;
    dm_error reason = {0}; /* of an item that is skipped, too */
    dm_item_reader r = {.m = {.doc = doc, .id = "", .join = options->join_messages, .err = &reason},
                        .options = options};
    char identity[DM_SHA256_HEX];
    if (options->tokenizer && options->chat) {
        dm_template_identity(options->chat, options->tokenizer, identity);
        r.m.identity = options->chat->rewrites ? "" : identity; /* what was seen is no part of the whole there */
        r.m.end_of_turn = options->chat->end_of_turn;
    }
    const dm_json *root = dm_json_root(doc), *pairs = dm_json_get(root, "pairs");
    if (root->type != DM_JSON_ARRAY && root->type != DM_JSON_OBJECT)
        st = dm_json_fail(doc, root, &reason, "must be a list of items, one item a line, or an object with \"pairs\"");
    else
        st = read_items(out, &r, &memory, pairs && pairs->type == DM_JSON_ARRAY ? pairs : root);
    out->report.openings = r.openings;
    out->report.rendered = r.rendered;
    out->report.retokenized = r.m.retokenized;
    dm_messages_close(&r.m);
    free(r.spans);
    dm_ids_free(&r.ids);
    dm_json_close(&doc);
    if (st != DM_OK && err)
        *err = reason;
    out->memory = memory;
    if (st != DM_OK)
        dm_dataset_close(out);
    return st;
}

dm_status dm_prompt_render(dm_ids *out, const dm_json_doc *doc, const dm_tokenizer *t, const dm_chat_template *chat,
                           dm_error *err)
{
    const dm_data_options options = {.tokenizer = t, .chat = chat};
    dm_item_reader r = {.m = {.doc = doc, .id = "", .err = err}, .options = &options, .ids = *out};
    const dm_json *root = dm_json_root(doc), *messages = dm_json_get(root, "messages");
    const char *name = messages ? "messages" : "prompt";
    const dm_json *list = messages ? messages : dm_json_get(root, name);
    dm_status st;

    if (root->type == DM_JSON_ARRAY)
        st = dm_form_prompt(&r, NULL, root, "messages");
    else if (list)
        st = dm_form_prompt(&r, root, list, name);
    else
        st = dm_json_fail(doc, root, err,
                          "must be a list of messages, or an object with one as \"messages\" or \"prompt\"");
    *out = r.ids;
    dm_messages_close(&r.m);
    free(r.spans);
    return st;
}

dm_status dm_conversation_read(dm_messages *out, size_t *items, const dm_json_doc *doc, dm_error *err)
{
    static const char *const names[] = {"messages", "conversations", NULL};
    dm_message_reader *m = calloc(1, sizeof *m);
    const dm_json *root = dm_json_root(doc), *item = root, *list = NULL;
    const char *name = names[0];

    *out = (dm_messages){0};
    *items = 0;
    if (!m)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory left", dm_json_name(doc));
    *m = (dm_message_reader){.doc = doc, .id = "", .err = err};
    dm_item_reader r = {.m = *m};
    const bool many = root->type == DM_JSON_ARRAY && root->length > 0 && !dm_message_is(root->child);
    if (many)
        item = root->child;
    if (item->type == DM_JSON_ARRAY)
        list = item;
    for (size_t i = 0; !list && names[i]; i++)
        if ((list = dm_json_get(item, names[i])) != NULL)
            name = names[i];
    const dm_status st =
        list ? dm_form_messages(&r, item == list ? NULL : item, list, name == names[1], name)
             : dm_json_fail(doc, item, err,
                            "must be a conversation: a list of messages, or an object with one as \"messages\" or "
                            "\"conversations\"");
    *m = r.m;
    m->err = NULL;
    *out = (dm_messages){.messages = m->messages, .n = m->n, .tools = m->tools, .memory = m};
    *items = many ? root->length : 1;
    if (st != DM_OK)
        dm_messages_free(out);
    return st;
}

void dm_messages_free(dm_messages *messages)
{
    if (messages->memory)
        dm_messages_close(messages->memory);
    free(messages->memory);
    *messages = (dm_messages){0};
}

static void hash_trajectory(const dm_data_trajectory *t, dm_sha256 *h)
{
    const uint64_t counts[2] = {t->n, t->n_turns}; /* 64 bits on every machine: files carry this hash to others */

    dm_sha256_update(h, counts, sizeof counts);
    if (t->n == 0)
        return;
    dm_sha256_update(h, t->ids, t->n * sizeof *t->ids);
    for (size_t i = 0; i < t->n_turns; i++) {
        const uint64_t turn[2] = {t->turns[i].begin, t->turns[i].end};
        dm_sha256_update(h, turn, sizeof turn);
    }
}

void dm_dataset_hash(const dm_dataset *d, dm_sha256 *h)
{
    for (size_t i = 0; i < d->n; i++) {
        hash_trajectory(&d->items[i].chosen, h);
        hash_trajectory(&d->items[i].rejected, h);
    }
}

void dm_dataset_close(dm_dataset *d)
{
    if (d) {
        dm_block *memory = d->memory;
        dm_block_free(&memory);
        *d = (dm_dataset){0};
    }
}
