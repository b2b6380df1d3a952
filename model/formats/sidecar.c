#include "model/formats/sidecar.h"

#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "io/json_edit.h"
#include "model/formats/source_internal.h"

static const char *const model_files[] = {"tokenizer.json",
                                          "tokenizer.model",
                                          "tokenizer_config.json",
                                          "special_tokens_map.json",
                                          "generation_config.json",
                                          "chat_template.jinja",
                                          "added_tokens.json",
                                          "vocab.json",
                                          "merges.txt"};

dm_status dm_sidecar_config(const dm_source *s, dm_dtype stored, const char *dir, dm_error *err)
{
    return s->kind == DM_SOURCE_HF ? dm_config_copy(s->path, stored, dir, err)
                                   : dm_config_write(&s->config, stored, dir, err);
}

/* *copied: it is there. */
static dm_status copy_file(bool *copied, const char *from, const char *to, const char *name, dm_error *err)
{
    dm_path source, target;
    char *data = NULL;
    size_t size = 0;
    dm_status s;

    if ((s = dm_path_in(&source, from, name, err)) != DM_OK || !dm_file_exists(source.text) ||
        (s = dm_path_in(&target, to, name, err)) != DM_OK ||
        (s = dm_file_read(source.text, (size_t)1 << 30, &data, &size, err)) != DM_OK)
        return s;
    s = dm_file_write(target.text, data, size, err);
    *copied = true;
    free(data);
    return s;
}

dm_status dm_sidecar_template(const dm_source *s, dm_text *out, dm_error *err)
{
    static const char key[] = "tokenizer.chat_template";
    const char *text;

    if (s->kind == DM_SOURCE_HF || dm_source_adapter_has_template(s))
        return dm_template_text(out, dm_source_adapter_has_template(s) ? s->adapter : s->path, err);
    if (s->kind != DM_SOURCE_GGUF || !dm_gguf_has(s->gguf, key))
        return DM_OK;
    const dm_status status = dm_gguf_string(s->gguf, key, &text, err);
    if (status == DM_OK)
        dm_text_add(out, text, strlen(text));
    return status;
}

/* The text of the token that a GGUF file names by its id; NULL: none. */
static const char *token_of(const dm_source *s, const char *key, const dm_tokenizer *t)
{
    int64_t id = -1;
    return s->kind == DM_SOURCE_GGUF && dm_gguf_has(s->gguf, key) && dm_gguf_i64(s->gguf, key, &id, NULL) == DM_OK &&
                   id >= 0 && id <= INT32_MAX
               ? dm_tokenizer_token(t, (int32_t)id, NULL)
               : NULL;
}

/* The files of the source's directory, those of an adapter first. */
static dm_status copy_files(const dm_source *s, bool template, const char *dir, dm_error *err)
{
    dm_status status = DM_OK;
    for (size_t i = 0; status == DM_OK && i < sizeof model_files / sizeof *model_files; i++) {
        bool copied = false;
        if (!template && strcmp(model_files[i], "chat_template.jinja") == 0)
            continue;
        if (s->adapter)
            status = copy_file(&copied, s->adapter, dir, model_files[i], err);
        if (status == DM_OK && !copied)
            status = copy_file(&copied, s->path, dir, model_files[i], err);
    }
    return status;
}

/* Adds `id` to the ids that a file's eos_token_id names, where it is not one of them: the only one is replaced. */
static dm_status add_end(const char *dir, const char *name, int32_t id, dm_error *err)
{
    dm_path path;
    dm_json_doc *doc;
    dm_text value = {0};
    dm_status status = dm_path_in(&path, dir, name, err);

    if (status != DM_OK || !dm_file_exists(path.text) || (status = dm_json_read(&doc, path.text, err)) != DM_OK)
        return status;
    const dm_json *old = dm_json_get(dm_json_root(doc), "eos_token_id");
    const bool list = old && old->type == DM_JSON_ARRAY;
    bool known = old && old->is_integer && old->integer == id;
    dm_text_print(&value, list ? "[%d" : "%d", (int)id);
    for (const dm_json *v = list ? old->child : NULL; v; v = v->next) {
        known = known || (v->is_integer && v->integer == id);
        dm_text_print(&value, ", %lld", (long long)v->integer);
    }
    dm_text_print(&value, "%s", list ? "]" : "");
    if (value.failed)
        status = dm_fail(err, DM_ERR_MEMORY, "%s: no memory to change it", path.text);
    else if (!known)
        status = dm_json_edit_file(path.text, "eos_token_id", value.data, err);
    dm_text_free(&value);
    dm_json_close(&doc);
    return status;
}

/* The end of turn of the template that an adapter brings is an end of the merged model, too. */
static dm_status add_adapters_end(const dm_source *s, const char *dir, dm_error *err)
{
    dm_tokenizer *t = NULL;
    dm_chat_template chat = {0};
    dm_status status = DM_OK;

    if (!dm_source_adapter_has_template(s))
        return DM_OK;
    if ((status = dm_source_tokenizer(s, &t, &chat, NULL, err)) != DM_OK || !t)
        return dm_is_of_content(status) ? DM_OK : status; /* without a tokenizer or a template that can be used */
    if ((status = add_end(dir, "config.json", chat.end_of_turn, err)) == DM_OK)
        status = add_end(dir, "generation_config.json", chat.end_of_turn, err);
    dm_template_close(&chat);
    dm_tokenizer_close(&t);
    return status;
}

/* The chosen template in the files that were copied. */
static dm_status put_template(const dm_chat_template *chat, const dm_tokenizer *t, const char *dir, dm_error *err)
{
    const char *token = dm_tokenizer_token(t, chat->end_of_turn, NULL), *source = dm_template_source(chat);
    dm_path config;
    dm_text text = {0}, end = {0};
    dm_status s = dm_path_in(&config, dir, "tokenizer_config.json", err);

    dm_text_json_string(&text, source, strlen(source));
    dm_text_json_string(&end, token, strlen(token));
    if (s == DM_OK && (text.failed || end.failed))
        s = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its template", dir);
    if (s == DM_OK && !dm_file_exists(config.text))
        s = dm_template_save(chat, t, dir, err);
    else if (s == DM_OK && (s = dm_json_edit_file(config.text, "chat_template", text.data, err)) == DM_OK)
        s = dm_json_edit_file(config.text, "eos_token", end.data, err);
    if (s == DM_OK && (s = add_end(dir, "config.json", chat->end_of_turn, err)) == DM_OK)
        s = add_end(dir, "generation_config.json", chat->end_of_turn, err);
    dm_text_free(&text);
    dm_text_free(&end);
    return s;
}

dm_status dm_sidecar_tokenizer(const dm_source *s, const dm_chat_template *chat, const char *dir, dm_error *err)
{
    dm_tokenizer *t = NULL;
    dm_text jinja = {0};
    dm_status status = DM_OK;

    const bool chosen = chat && chat->chosen;

    if (s->kind == DM_SOURCE_HF && ((status = copy_files(s, !chosen, dir, err)) != DM_OK || !chosen))
        return status == DM_OK ? add_adapters_end(s, dir, err) : status;
    if ((status = dm_source_tokenizer(s, &t, NULL, NULL, err)) != DM_OK || !t)
        return status;
    if (s->kind == DM_SOURCE_HF) {
        status = put_template(chat, t, dir, err);
        dm_tokenizer_close(&t);
        return status;
    }
    const char *bos = dm_tokenizer_token(t, s->config.bos, NULL), *eos = dm_tokenizer_token(t, s->config.eos, NULL);
    const char *pad = token_of(s, "tokenizer.ggml.padding_token_id", t);
    if ((status = dm_tokenizer_save(t, dir, err)) == DM_OK && (status = dm_sidecar_template(s, &jinja, err)) == DM_OK)
        status = jinja.failed ? dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its chat template", s->path)
                 : chosen || (!jinja.data && chat)
                     ? dm_template_save(chat, t, dir, err)
                     : dm_template_write(dir, jinja.data, bos, eos, pad ? pad : eos,
                                         token_of(s, "tokenizer.ggml.unknown_token_id", t), err);
    if (status == DM_OK && chosen)
        status = add_end(dir, "config.json", chat->end_of_turn, err);
    dm_text_free(&jinja);
    dm_tokenizer_close(&t);
    return status;
}
