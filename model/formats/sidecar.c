#include "model/formats/sidecar.h"

#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/path.h"
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

static dm_status copy_file(const char *from, const char *to, const char *name, dm_error *err)
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
    free(data);
    return s;
}

dm_status dm_sidecar_template(const dm_source *s, dm_text *out, dm_error *err)
{
    static const char key[] = "tokenizer.chat_template";
    const char *text;

    if (s->kind == DM_SOURCE_HF)
        return dm_template_text(out, s->path, err);
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

dm_status dm_sidecar_tokenizer(const dm_source *s, const dm_chat_template *chat, const char *dir, dm_error *err)
{
    dm_tokenizer *t = NULL;
    dm_text jinja = {0};
    dm_status status = DM_OK;

    if (s->kind == DM_SOURCE_HF) {
        for (size_t i = 0; status == DM_OK && i < sizeof model_files / sizeof *model_files; i++)
            status = copy_file(s->path, dir, model_files[i], err);
        return status;
    }
    if ((status = dm_source_tokenizer(s, &t, NULL, NULL, err)) != DM_OK || !t)
        return status;
    const char *bos = dm_tokenizer_token(t, s->config.bos, NULL), *eos = dm_tokenizer_token(t, s->config.eos, NULL);
    const char *pad = token_of(s, "tokenizer.ggml.padding_token_id", t);
    if ((status = dm_tokenizer_save(t, dir, err)) == DM_OK && (status = dm_sidecar_template(s, &jinja, err)) == DM_OK)
        status = jinja.failed          ? dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its chat template", s->path)
                 : !jinja.data && chat ? dm_template_save(chat, t, dir, err)
                                       : dm_template_write(dir, jinja.data, bos, eos, pad ? pad : eos,
                                                           token_of(s, "tokenizer.ggml.unknown_token_id", t), err);
    dm_text_free(&jinja);
    dm_tokenizer_close(&t);
    return status;
}
