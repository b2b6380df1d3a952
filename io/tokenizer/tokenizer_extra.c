#include "io/tokenizer/tokenizer_extra.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"

/* A file beside the model; *doc NULL where it is not. */
static dm_status read_beside(dm_json_doc **doc, const char *model, const char *name, dm_error *err)
{
    char path[PATH_MAX];
    const char *slash = strrchr(model, '/');
    const int size = snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - model) + 1 : 0, model, name);

    if (size < 0 || (size_t)size >= sizeof path || !dm_file_exists(path))
        return DM_OK;
    const dm_status s = dm_json_read(doc, path, err);
    if (s == DM_OK && dm_json_root(*doc)->type != DM_JSON_OBJECT)
        return dm_json_fail(*doc, dm_json_root(*doc), err, "must be an object");
    return s;
}

static dm_status read_flag(const dm_extra_token *t, const char *key, bool fallback, bool *out, dm_error *err)
{
    return dm_json_get_bool(t->doc, t->at, key, &fallback, out, err);
}

/* "600": {"content": "<|im_start|>", "special": true, ...} */
static dm_status read_decoder_entry(dm_extra_token *t, const dm_json *v, dm_error *err)
{
    const dm_json *content = dm_json_get(v, "content");
    char *end;
    const long id = strtol(v->key, &end, 10);
    dm_status s;

    if (end == v->key || *end || id < 0 || id >= (long)DM_TOKENS_MAX)
        return dm_json_fail(t->doc, v, err, "\"%.40s\" in added_tokens_decoder must be a token id from 0 to %zu",
                            v->key, DM_TOKENS_MAX - 1);
    if (!content || content->type != DM_JSON_STRING || content->length == 0)
        return dm_json_fail(t->doc, content ? content : v, err, "\"content\" must be the added token's text");
    t->text = content->text;
    t->size = content->length;
    t->id = (int32_t)id;
    if ((s = read_flag(t, "special", false, &t->special, err)) != DM_OK ||
        (s = read_flag(t, "lstrip", false, &t->lstrip, err)) != DM_OK ||
        (s = read_flag(t, "rstrip", false, &t->rstrip, err)) != DM_OK ||
        (s = read_flag(t, "single_word", false, &t->single_word, err)) != DM_OK)
        return s;
    return read_flag(t, "normalized", !t->special, &t->normalized, err);
}

/* "bos_token": "<s>", "additional_special_tokens": ["<|im_end|>", ...], each a text or {"content": text}. */
static bool names(const dm_json *v, const dm_extra_token *t)
{
    if (!v)
        return false;
    if (v->type == DM_JSON_OBJECT)
        v = dm_json_get(v, "content");
    if (v && v->type == DM_JSON_ARRAY) {
        for (const dm_json *each = v->child; each; each = each->next)
            if (names(each, t))
                return true;
        return false;
    }
    return v && v->type == DM_JSON_STRING && v->length == t->size && memcmp(v->text, t->text, t->size) == 0;
}

static bool named_special(const dm_extra_tokens *e, const dm_extra_token *t)
{
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token",  "sep_token",
                                       "pad_token", "cls_token", "mask_token", "additional_special_tokens"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if ((e->config && names(dm_json_get(dm_json_root(e->config), keys[i]), t)) ||
            (e->special && names(dm_json_get(dm_json_root(e->special), keys[i]), t)))
            return true;
    return false;
}

/* "<|im_start|>": 600 */
static dm_status read_added_entry(dm_extra_token *t, const dm_extra_tokens *e, const dm_json *v, dm_error *err)
{
    if (v->type != DM_JSON_NUMBER || !v->is_integer || v->integer < 0 || v->integer >= (int64_t)DM_TOKENS_MAX ||
        v->key_length == 0 || strlen(v->key) != v->key_length)
        return dm_json_fail(t->doc, v, err, "\"%.80s\" must be a token with an id from 0 to %zu", v->key,
                            DM_TOKENS_MAX - 1);
    t->text = v->key;
    t->size = v->key_length;
    t->id = (int32_t)v->integer;
    t->special = named_special(e, t);
    t->normalized = !t->special;
    return DM_OK;
}

static bool has_id(const dm_extra_tokens *e, int32_t id)
{
    for (size_t i = 0; i < e->n; i++)
        if (e->token[i].id == id)
            return true;
    return false;
}

static dm_status read_entries(dm_extra_tokens *e, const dm_json_doc *doc, const dm_json *list, bool decoder,
                              dm_error *err)
{
    dm_status s = DM_OK;

    for (const dm_json *v = list ? list->child : NULL; s == DM_OK && v; v = v->next) {
        dm_extra_token *t = &e->token[e->n];
        *t = (dm_extra_token){.doc = doc, .at = v};
        s = decoder ? read_decoder_entry(t, v, err) : read_added_entry(t, e, v, err);
        if (s == DM_OK && !has_id(e, t->id))
            e->n++;
    }
    return s;
}

/* As transformers' LlamaTokenizer: before the first text alone, with "legacy" after every added token too. */
static dm_status read_prefix(dm_extra_tokens *e, dm_error *err)
{
    const dm_json *config = e->config ? dm_json_root(e->config) : NULL, *prefix, *old;

    e->prefix = DM_PREFIX_FIRST;
    if (!config)
        return DM_OK;
    prefix = dm_json_get(config, "add_prefix_space");
    old = dm_json_get(config, "legacy");
    if ((prefix && prefix->type != DM_JSON_BOOL && prefix->type != DM_JSON_NULL) ||
        (old && old->type != DM_JSON_BOOL && old->type != DM_JSON_NULL))
        return dm_json_fail(e->config, old ? old : prefix, err,
                            "\"add_prefix_space\" and \"legacy\" must be true, false or null");
    if (old && old->boolean)
        e->prefix = DM_PREFIX_ALWAYS;
    if (prefix && prefix->type == DM_JSON_BOOL && !prefix->boolean)
        e->prefix = DM_PREFIX_NEVER;
    return DM_OK;
}

dm_status dm_extra_tokens_read(dm_extra_tokens *out, const char *model, dm_error *err)
{
    const dm_json *decoder, *added;
    dm_status s;

    *out = (dm_extra_tokens){0};
    if ((s = read_beside(&out->added, model, "added_tokens.json", err)) != DM_OK ||
        (s = read_beside(&out->config, model, "tokenizer_config.json", err)) != DM_OK ||
        (s = read_beside(&out->special, model, "special_tokens_map.json", err)) != DM_OK)
        return s;
    added = out->added ? dm_json_root(out->added) : NULL;
    decoder = out->config ? dm_json_get(dm_json_root(out->config), "added_tokens_decoder") : NULL;
    if (decoder && decoder->type != DM_JSON_OBJECT)
        return dm_json_fail(out->config, decoder, err, "\"added_tokens_decoder\" must be an object");
    out->token = calloc((decoder ? decoder->length : 0) + (added ? added->length : 0) + 1, sizeof *out->token);
    if (!out->token)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its added tokens", model);
    if ((s = read_prefix(out, err)) != DM_OK || (s = read_entries(out, out->config, decoder, true, err)) != DM_OK)
        return s;
    return read_entries(out, out->added, added, false, err);
}

void dm_extra_tokens_free(dm_extra_tokens *e)
{
    free(e->token);
    dm_json_close(&e->added);
    dm_json_close(&e->config);
    dm_json_close(&e->special);
    *e = (dm_extra_tokens){0};
}
