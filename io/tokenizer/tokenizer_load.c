/* Reads tokenizer.json. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/tokenizer/tokenizer_load.h"

typedef dm_tokenizer_loader loader;

/* ---- model ---- */

static dm_status check_model(loader *l)
{
    const dm_json *m = l->model;
    if (m == NULL || m->type != DM_JSON_OBJECT)
        return dm_json_fail(l->doc, m != NULL ? m : dm_json_root(l->doc), l->err, "\"model\" must be an object");
    const dm_json *type = dm_json_get(m, "type");
    if (type != NULL && !dm_json_is(type, "BPE"))
        return dm_load_unsupported_type(l, m, "model type", "only BPE is");
    const dm_json *dropout = dm_json_get(m, "dropout");
    if (!dm_load_is_null(dropout) && !(dropout->type == DM_JSON_NUMBER && dropout->number == 0))
        return dm_load_unsupported(l, dropout, "BPE dropout is not supported, must be null");
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++)
        if (!dm_load_is_empty(dm_json_get(m, affixes[i])))
            return dm_load_unsupported(l, dm_json_get(m, affixes[i]),
                                       i == 0 ? "\"continuing_subword_prefix\" is not supported, must be null"
                                              : "\"end_of_word_suffix\" is not supported, must be null");
    l->vocab = dm_json_get(m, "vocab");
    l->merges = dm_json_get(m, "merges");
    if (l->vocab == NULL || l->vocab->type != DM_JSON_OBJECT)
        return dm_json_fail(l->doc, l->vocab != NULL ? l->vocab : m, l->err, "\"vocab\" must be an object");
    if (l->merges == NULL || l->merges->type != DM_JSON_ARRAY)
        return dm_json_fail(l->doc, l->merges != NULL ? l->merges : m, l->err, "\"merges\" must be an array");
    l->added = dm_json_get(dm_json_root(l->doc), "added_tokens");
    if (!dm_load_is_null(l->added) && l->added->type != DM_JSON_ARRAY)
        return dm_json_fail(l->doc, l->added, l->err, "\"added_tokens\" must be an array");
    return DM_OK;
}

static dm_status check_id(const loader *l, const dm_json *v, const char *token)
{
    if (v == NULL || v->type != DM_JSON_NUMBER || !v->is_integer || v->integer < 0 ||
        v->integer >= (int64_t)DM_TOKENS_MAX)
        return dm_json_fail(l->doc, v, l->err, "the id of token \"%.80s\" must be an integer from 0 to %zu", token,
                            DM_TOKENS_MAX - 1);
    return DM_OK;
}

/* Room for everything: one pass over vocab and added tokens. */
static dm_status measure(loader *l)
{
    size_t ids = 0, text = 0, added = 0;
    for (const dm_json *v = l->vocab->child; v != NULL; v = v->next) {
        const dm_status status = check_id(l, v, v->key);
        if (status != DM_OK)
            return status;
        text += v->key_length + 1;
        ids = (size_t)v->integer >= ids ? (size_t)v->integer + 1 : ids;
    }
    for (const dm_json *a = dm_load_is_null(l->added) ? NULL : l->added->child; a != NULL; a = a->next) {
        const dm_json *content = dm_json_get(a, "content"), *id = dm_json_get(a, "id");
        if (content == NULL || content->type != DM_JSON_STRING || content->length == 0 ||
            strlen(content->text) != content->length)
            return dm_json_fail(l->doc, a, l->err,
                                "an added token needs a \"content\", a string of 1 or more "
                                "characters without NUL");
        const dm_status status = check_id(l, id != NULL ? id : a, content->text);
        if (status != DM_OK)
            return status;
        text += DM_ADDED_ROOM(content->length);
        ids = (size_t)id->integer >= ids ? (size_t)id->integer + 1 : ids;
        added++;
    }
    if (added > ids)
        return dm_json_fail(l->doc, l->added, l->err, "%zu added tokens share %zu ids", added, ids);
    const dm_status status = dm_tokenizer_create(&l->t, ids, text, l->merges->length, added, l->err);
    return status != DM_OK ? dm_fail_context(l->err, status, "%s", dm_json_name(l->doc)) : DM_OK;
}

static dm_status add_vocabulary(loader *l)
{
    for (const dm_json *v = l->vocab->child; v != NULL; v = v->next) {
        if (v->key_length == 0 || strlen(v->key) != v->key_length)
            return dm_json_fail(l->doc, v, l->err, "a token of the vocabulary must have 1 or more characters, no NUL");
        if (!dm_tokenizer_add(l->t, (int32_t)v->integer, v->key, v->key_length, DM_TOKEN_VOCAB))
            return dm_json_fail(l->doc, v, l->err, "tokens \"%.80s\" and \"%.80s\" have the same id %d",
                                dm_tokenizer_token(l->t, (int32_t)v->integer, NULL), v->key, (int)v->integer);
    }
    return DM_OK;
}

/* The unknown token. A byte-level vocabulary may name one that it does not have. */
static dm_status find_unknown(loader *l)
{
    const dm_json *v = dm_json_get(l->model, "unk_token");
    if (dm_load_is_null(v))
        return DM_OK;
    if (v->type != DM_JSON_STRING)
        return dm_json_fail(l->doc, v, l->err, "\"unk_token\" must be a string or null");
    l->t->unknown = dm_tokenizer_find(l->t, v->text, v->length);
    if (l->t->unknown < 0 && l->t->bpe != DM_BPE_BYTES)
        return dm_json_fail(l->doc, v, l->err, "\"unk_token\" is \"%.80s\", which is not in the vocabulary", v->text);
    return DM_OK;
}

/* "a b" or ["a", "b"]: the two parts. */
static dm_status merge_parts(const loader *l, const dm_json *m, const char *part[2], size_t size[2])
{
    if (m->type == DM_JSON_STRING) {
        const char *space = memchr(m->text, ' ', m->length);
        if (space != NULL && memchr(space + 1, ' ', m->length - (size_t)(space + 1 - m->text)) == NULL) {
            part[0] = m->text;
            size[0] = (size_t)(space - m->text);
            part[1] = space + 1;
            size[1] = m->length - size[0] - 1;
            return DM_OK;
        }
    } else if (m->type == DM_JSON_ARRAY && m->length == 2 && m->child->type == DM_JSON_STRING &&
               m->child->next->type == DM_JSON_STRING) {
        const dm_json *second = m->child->next;
        part[0] = m->child->text;
        size[0] = m->child->length;
        part[1] = second->text;
        size[1] = second->length;
        return DM_OK;
    }
    return dm_json_fail(l->doc, m, l->err, "a merge must be \"a b\" or [\"a\", \"b\"]");
}

static dm_status add_merges(loader *l)
{
    dm_text whole = {0};
    dm_status status = DM_OK;
    size_t number = 0;
    for (const dm_json *m = l->merges->child; m != NULL && status == DM_OK; m = m->next, number++) {
        const char *part[2] = {NULL, NULL};
        size_t size[2] = {0, 0};
        int32_t id[3];
        status = merge_parts(l, m, part, size);
        if (status != DM_OK)
            break;
        whole.size = 0;
        dm_text_add(&whole, part[0], size[0]);
        dm_text_add(&whole, part[1], size[1]);
        if (whole.failed) {
            status = dm_fail(l->err, DM_ERR_MEMORY, "no memory to read %s", dm_json_name(l->doc));
            break;
        }
        for (size_t i = 0; i < 3 && status == DM_OK; i++) {
            const char *text = i < 2 ? part[i] : whole.data;
            const size_t length = i < 2 ? size[i] : whole.size;
            id[i] = dm_tokenizer_find(l->t, text, length);
            if (id[i] < 0)
                status = dm_json_fail(l->doc, m, l->err, "merge %zu names \"%.*s\", which is not in the vocabulary",
                                      number, length < 80 ? (int)length : 80, text);
        }
        if (status == DM_OK && !dm_tokenizer_add_merge(l->t, id[0], id[1], id[2]))
            status = dm_json_fail(l->doc, m, l->err, "merge %zu, which gives \"%.80s\", repeats an earlier one", number,
                                  whole.data);
    }
    dm_text_free(&whole);
    return status;
}

/* ---- added tokens ---- */

static dm_status add_added_tokens(loader *l)
{
    dm_tokenizer *t = l->t;
    for (const dm_json *v = dm_load_is_null(l->added) ? NULL : l->added->child; v != NULL; v = v->next) {
        const dm_json *content = dm_json_get(v, "content"), *number = dm_json_get(v, "id");
        const int32_t id = (int32_t)number->integer;
        dm_added_token *a = &t->added[t->n_added];
        bool special;
        dm_status status = dm_load_flag(l, v, "special", false, &special);
        if (status == DM_OK)
            status = dm_load_flag(l, v, "lstrip", false, &a->lstrip);
        if (status == DM_OK)
            status = dm_load_flag(l, v, "rstrip", false, &a->rstrip);
        if (status == DM_OK)
            status = dm_load_flag(l, v, "single_word", false, &a->single_word);
        if (status == DM_OK)
            status = dm_load_flag(l, v, "normalized", !special, &a->normalized);
        if (status != DM_OK)
            return status;
        const int32_t other = dm_tokenizer_find(t, content->text, content->length);
        if (other >= 0 && other != id)
            return dm_json_fail(l->doc, number, l->err, "added token \"%.80s\" has id %d here and %d %s", content->text,
                                (int)id, (int)other,
                                t->flags[other] & DM_TOKEN_ADDED ? "earlier in the list" : "in the vocabulary");
        if (other >= 0 && (t->flags[other] & DM_TOKEN_ADDED))
            return dm_json_fail(l->doc, v, l->err, "added token \"%.80s\" is in the list twice", content->text);
        const uint8_t flags = (uint8_t)(DM_TOKEN_ADDED | (special ? DM_TOKEN_SPECIAL : 0));
        if (!dm_tokenizer_add(t, id, content->text, content->length, flags))
            return dm_json_fail(l->doc, number, l->err, "added token \"%.80s\" has id %d, which is that of \"%.80s\"",
                                content->text, (int)id, dm_tokenizer_token(t, id, NULL));
        a->id = id;
        a->offset = t->offset[id];
        a->size = (uint32_t)content->length;
        if (a->normalized) {
            status = dm_tokenizer_normal_form(t, a, l->err);
            if (status != DM_OK)
                return dm_fail_context(l->err, status, "%s", dm_json_name(l->doc));
        }
        t->n_added++;
    }
    return DM_OK;
}

/* ---- what is only kept ---- */

static void print_json(dm_text *out, const dm_json *v)
{
    const char *separator = "";
    switch (v->type) {
    case DM_JSON_NULL:
        dm_text_print(out, "null");
        return;
    case DM_JSON_BOOL:
        dm_text_print(out, v->boolean ? "true" : "false");
        return;
    case DM_JSON_NUMBER:
        if (v->is_integer)
            dm_text_print(out, "%lld", (long long)v->integer);
        else
            dm_text_json_double(out, v->number);
        return;
    case DM_JSON_STRING:
        dm_text_json_string(out, v->text, v->length);
        return;
    case DM_JSON_ARRAY:
    case DM_JSON_OBJECT:
        break;
    }
    dm_text_print(out, v->type == DM_JSON_ARRAY ? "[" : "{");
    for (const dm_json *c = v->child; c != NULL; c = c->next, separator = ", ") {
        dm_text_print(out, "%s", separator);
        if (v->type == DM_JSON_OBJECT) {
            dm_text_json_string(out, c->key, c->key_length);
            dm_text_print(out, ": ");
        }
        print_json(out, c);
    }
    dm_text_print(out, v->type == DM_JSON_ARRAY ? "]" : "}");
}

static dm_status keep_post_processor(loader *l)
{
    const dm_json *v = dm_json_get(dm_json_root(l->doc), "post_processor");
    if (dm_load_is_null(v))
        return DM_OK;
    dm_text text = {0};
    print_json(&text, v);
    if (!text.failed)
        l->t->post_processor = malloc(text.size + 1);
    if (l->t->post_processor != NULL)
        memcpy(l->t->post_processor, text.data, text.size + 1);
    dm_text_free(&text);
    return l->t->post_processor != NULL ? DM_OK
                                        : dm_fail(l->err, DM_ERR_MEMORY, "no memory to read %s", dm_json_name(l->doc));
}

dm_status dm_tokenizer_open(dm_tokenizer **out, const char *path, dm_error *err)
{
    *out = NULL;
    dm_path file;
    dm_status status;
    if (dm_dir_exists(path)) {
        status = dm_path_in(&file, path, "tokenizer.json", err);
        if (status == DM_OK && !dm_file_exists(file.text)) {
            dm_path other;
            if (dm_path_in(&other, path, "tokenizer.model", NULL) == DM_OK && dm_file_exists(other.text))
                return dm_tokenizer_open_sentencepiece(out, other.text, err);
        }
        if (status != DM_OK)
            return status;
        path = file.text;
    } else if (strlen(path) > 6 && strcmp(path + strlen(path) - 6, ".model") == 0) {
        return dm_tokenizer_open_sentencepiece(out, path, err);
    }
    dm_json_doc *doc;
    status = dm_json_read(&doc, path, err);
    if (status != DM_OK)
        return status;
    loader l = {.doc = doc, .err = err};
    l.model = dm_json_get(dm_json_root(doc), "model");
    status = check_model(&l);
    if (status == DM_OK)
        status = measure(&l);
    if (status == DM_OK)
        status = dm_load_pipeline(&l);
    if (status == DM_OK)
        status = add_vocabulary(&l);
    if (status == DM_OK)
        status = find_unknown(&l);
    if (status == DM_OK)
        status = add_merges(&l);
    if (status == DM_OK)
        status = add_added_tokens(&l);
    if (status == DM_OK)
        status = keep_post_processor(&l);
    if (status == DM_OK)
        status = dm_tokenizer_finish(l.t, err);
    dm_json_close(&doc);
    if (status != DM_OK) {
        dm_tokenizer_close(&l.t);
        return status;
    }
    *out = l.t;
    return DM_OK;
}
