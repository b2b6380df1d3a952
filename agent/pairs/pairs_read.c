/* Candidates from files of pairs: messages in either spelling, after a prompt (docs/data.md). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agent/pairs/pairs_internal.h"

typedef struct reader {
    dm_pairs_maker *m;
    const dm_json_doc *doc;
    const char *id;
    const char *tokenizer; /* of the item's ids; NULL: it has none */
} reader;

static const char *const roles[2][3] = {{"system", "human", "gpt"}, {"system", "user", "assistant"}}; /* by dm_role */

static dm_status wrong(const reader *r, const dm_json *v, const char *name, size_t index, const char *what)
{
    return dm_json_fail(r->doc, v, r->m->err, "item \"%.200s\": %s[%zu]: %s", r->id, name, index, what);
}

static dm_status read_message(const reader *r, const dm_json *v, const char *name, size_t index, dm_message *out)
{
    const dm_json *from = dm_json_get(v, "from"), *role = from ? from : dm_json_get(v, "role");
    const dm_json *text = dm_json_get(v, from ? "value" : "content");
    int i = 0;

    while (i < 3 && !dm_json_is(role, roles[from ? 0 : 1][i]))
        i++;
    if (i == 3)
        return wrong(
            r, v, name, index,
            "must be an object with \"from\" (human, gpt or system) and \"value\", or \"role\" (user, assistant "
            "or system) and \"content\"");
    if (!text || text->type != DM_JSON_STRING || strlen(text->text) != text->length)
        return wrong(r, text ? text : v, name, index, "its words must be a string without NUL");
    *out = (dm_message){.role = (dm_role)i, .text = text->text, .size = text->length};
    const dm_json *list = r->tokenizer ? dm_json_get(v, "ids") : NULL;
    if (!list)
        return DM_OK;
    const size_t room = list->type == DM_JSON_ARRAY ? list->length : 0;
    int32_t *ids = dm_pairs_maker_alloc(r->m, room * sizeof *ids + 1);
    if (!ids)
        return DM_ERR_MEMORY;
    const dm_json *bad = dm_json_token_ids(list, ids);
    if (bad)
        return wrong(r, bad, name, index, "its \"ids\" must be a list of token ids");
    out->ids = ids;
    out->n_ids = room;
    return DM_OK;
}

static dm_status get_list(const reader *r, const dm_json *item, const char *name, const dm_json **out)
{
    const dm_json *v = *out = dm_json_get(item, name);

    if (v && v->type == DM_JSON_ARRAY && v->length > 0)
        return DM_OK;
    return dm_json_fail(r->doc, v ? v : item, r->m->err,
                        "item \"%.200s\": \"%s\" %s: pairs are read as {\"prompt\", \"chosen\", \"rejected\"}, three "
                        "lists of messages",
                        r->id, name, v ? "must be a list of messages that is not empty" : "is missing");
}

static dm_status read_prompt(const reader *r, const dm_json *item, dm_pair *p)
{
    const dm_json *list;
    size_t index = 0;
    dm_status s = get_list(r, item, "prompt", &list);

    if (s != DM_OK)
        return s;
    dm_message *prompt = dm_pairs_maker_alloc(r->m, list->length * sizeof *prompt);
    if (!prompt)
        return DM_ERR_MEMORY;
    for (const dm_json *v = list->child; v; v = v->next, index++) {
        if ((s = read_message(r, v, "prompt", index, &prompt[index])) != DM_OK)
            return s;
        const bool opens = index == 0 || (index == 1 && prompt[0].role == DM_ROLE_SYSTEM);
        const dm_role role = prompt[index].role;
        if (role == DM_ROLE_SYSTEM
                ? index > 0
                : role != (opens || prompt[index - 1].role == DM_ROLE_ASSISTANT ? DM_ROLE_USER : DM_ROLE_ASSISTANT))
            return wrong(r, v, "prompt", index,
                         "user and agent must alternate, the user first, after at most one system message");
    }
    if (prompt[index - 1].role != DM_ROLE_USER)
        return wrong(r, list, "prompt", index - 1, "the last message must be the user's, for the agent to answer");
    p->prompt = prompt;
    p->n_prompt = index;
    return DM_OK;
}

static dm_status read_side(const reader *r, const dm_json *item, const char *name, dm_pairs_side *out)
{
    const dm_json *list;
    size_t index = 0;
    dm_status s = get_list(r, item, name, &list);

    if (s != DM_OK)
        return s;
    if (list->length % 2 == 0)
        return wrong(r, list, name, list->length - 1, "the last message must be the agent's");
    out->turns = (list->length + 1) / 2;
    dm_episode_turn *turn = dm_pairs_maker_alloc(r->m, out->turns * sizeof *turn);
    if (!turn)
        return DM_ERR_MEMORY;
    for (const dm_json *v = list->child; v; v = v->next, index++) {
        dm_message message;
        if ((s = read_message(r, v, name, index, &message)) != DM_OK)
            return s;
        if (message.role != (index % 2 ? DM_ROLE_USER : DM_ROLE_ASSISTANT))
            return wrong(r, v, name, index, "agent and user must alternate, the agent first");
        if (index % 2)
            turn[index / 2].observation = message.text;
        else
            turn[index / 2] =
                (dm_episode_turn){.action = message.text, .logp = NAN, .ids = message.ids, .n_ids = message.n_ids};
    }
    out->turn = turn;
    out->tokenizer = r->tokenizer;
    return DM_OK;
}

static dm_status read_score(const reader *r, const dm_json *item, const char *name, double *out)
{
    const double none = NAN;
    return dm_json_get_double(r->doc, item, name, -HUGE_VAL, HUGE_VAL, &none, out, r->m->err);
}

static dm_status read_id(reader *r, const dm_json *item, size_t index)
{
    const dm_json *id = dm_json_get(item, "id");
    char *number;

    if (id && id->type == DM_JSON_STRING) {
        r->id = id->text;
        return DM_OK;
    }
    if (!(number = dm_pairs_maker_alloc(r->m, 40)))
        return DM_ERR_MEMORY;
    if (id && id->is_integer)
        snprintf(number, 40, "%lld", (long long)id->integer);
    else
        snprintf(number, 40, "item %zu", index);
    r->id = number;
    return DM_OK;
}

/* Pairs with one prompt are of one task. */
static dm_status find_task(const reader *r, dm_pair *p)
{
    dm_sha256 h;

    dm_sha256_init(&h);
    for (size_t i = 0; i < p->n_prompt; i++)
        dm_sha256_update(&h, p->prompt[i].text, p->prompt[i].size + 1);
    return dm_pairs_maker_task(r->m, &h, &p->task);
}

static dm_status read_item(reader *r, const dm_json *item, size_t index)
{
    dm_pairs_candidate c = {0};
    dm_pair *p = &c.pair;
    dm_status s;

    if (item->type != DM_JSON_OBJECT)
        return dm_json_fail(r->doc, item, r->m->err, "item %zu: must be an object", index);
    const dm_json *tokenizer = dm_json_get(item, "tokenizer");
    r->tokenizer = tokenizer && tokenizer->type == DM_JSON_STRING ? tokenizer->text : NULL;
    if ((s = read_id(r, item, index)) != DM_OK || (s = read_prompt(r, item, p)) != DM_OK ||
        (s = read_side(r, item, "chosen", &p->chosen)) != DM_OK ||
        (s = read_side(r, item, "rejected", &p->rejected)) != DM_OK ||
        (s = read_score(r, item, "chosen_score", &p->chosen.score)) != DM_OK ||
        (s = read_score(r, item, "rejected_score", &p->rejected.score)) != DM_OK || (s = find_task(r, p)) != DM_OK)
        return s;
    p->id = r->id;
    r->m->out->candidates++;
    if (r->m->options->form == DM_PAIRS_SFT)
        p->rejected = (dm_pairs_side){0};
    c.form = r->m->options->form;
    return dm_pairs_maker_take(r->m, &c);
}

static dm_status read_file(dm_pairs_maker *m, const char *path, dm_json_doc **doc)
{
    size_t index = 0;
    dm_status s = dm_json_read_any(doc, path, m->err);

    if (s != DM_OK)
        return s;
    const dm_json *root = dm_json_root(*doc), *pairs = dm_json_get(root, "pairs");
    const bool one = root->type == DM_JSON_OBJECT && !(pairs && pairs->type == DM_JSON_ARRAY);
    reader r = {.m = m, .doc = *doc, .id = ""};
    if (one)
        return read_item(&r, root, 0);
    if (root->type != DM_JSON_ARRAY && !pairs)
        return dm_json_fail(*doc, root, m->err, "must be a list of pairs, or one pair a line");
    for (const dm_json *v = (pairs ? pairs : root)->child; s == DM_OK && v; v = v->next, index++)
        s = read_item(&r, v, index);
    return s;
}

dm_status dm_pairs_maker_read(dm_pairs_maker *m)
{
    const dm_pairs_files *files = &m->options->pairs;
    dm_status s = DM_OK;

    if (files->n && !(m->docs = dm_pairs_maker_alloc(m, files->n * sizeof *m->docs)))
        return DM_ERR_MEMORY;
    m->n_docs = files->n;
    for (size_t i = 0; s == DM_OK && i < files->n; i++)
        s = read_file(m, files->path[i], &m->docs[i]);
    return s;
}
