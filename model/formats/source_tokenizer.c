/* The tokenizer and the chat template that come with a model. */
#include <stdio.h>
#include <string.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "model/formats/hf_directory.h"
#include "model/formats/llama2c.h"
#include "model/formats/source_internal.h"

/* The text of the token that a key names by its id; NULL: none. */
static const char *token_of(const dm_gguf *g, const char *key, const dm_tokenizer *t)
{
    int64_t id = -1;
    return dm_gguf_has(g, key) && dm_gguf_i64(g, key, &id, NULL) == DM_OK && id >= 0 && id <= INT32_MAX
               ? dm_tokenizer_token(t, (int32_t)id, NULL)
               : NULL;
}

static dm_status gguf_template(dm_chat_template *chat, const dm_gguf *g, const dm_template_choice *choice,
                               const dm_tokenizer *t, dm_error *err)
{
    dm_template_texts texts = {.bos = token_of(g, "tokenizer.ggml.bos_token_id", t),
                               .eos = token_of(g, "tokenizer.ggml.eos_token_id", t),
                               .unknown = token_of(g, "tokenizer.ggml.unknown_token_id", t),
                               .pad = token_of(g, "tokenizer.ggml.padding_token_id", t),
                               .where = dm_gguf_path(g)};
    dm_status s;

    if ((dm_gguf_has(g, "tokenizer.chat_template") &&
         (s = dm_gguf_string(g, "tokenizer.chat_template", &texts.jinja, err)) != DM_OK) ||
        (dm_gguf_has(g, "tokenizer.chat_template.tool_use") &&
         (s = dm_gguf_string(g, "tokenizer.chat_template.tool_use", &texts.tool_use, err)) != DM_OK))
        return s;
    return dm_template_from_text(chat, choice, &texts, t, err);
}

static dm_status gguf_tokenizer(const dm_source *s, dm_tokenizer **tokenizer, dm_chat_template *chat,
                                const dm_template_choice *choice, dm_error *err)
{
    const char *model = "none";
    dm_status status;

    if (dm_gguf_has(s->gguf, "tokenizer.ggml.model") &&
        (status = dm_gguf_string(s->gguf, "tokenizer.ggml.model", &model, err)) != DM_OK)
        return status;
    if (strcmp(model, "none") == 0 || strcmp(model, "no_vocab") == 0)
        return DM_OK;
    if ((status = dm_tokenizer_from_gguf(tokenizer, s->gguf, err)) != DM_OK)
        return status;
    return chat ? gguf_template(chat, s->gguf, choice, *tokenizer, err) : DM_OK;
}

/* tokenizer.bin in the same directory. */
static dm_status llama2c_tokenizer(const dm_source *s, dm_tokenizer **tokenizer, dm_chat_template *chat,
                                   const dm_template_choice *choice, dm_error *err)
{
    dm_path path;
    dm_status status = dm_llama2c_tokenizer_path(&path, s->path, err);

    if (status != DM_OK || !dm_file_exists(path.text) ||
        (status = dm_tokenizer_open_llama2c(tokenizer, path.text, s->config.vocab, err)) != DM_OK || !chat)
        return status;
    const dm_template_texts texts = {.bos = dm_tokenizer_token(*tokenizer, s->config.bos, NULL),
                                     .eos = dm_tokenizer_token(*tokenizer, s->config.eos, NULL),
                                     .where = s->path};
    return dm_template_from_text(chat, choice, &texts, *tokenizer, err);
}

bool dm_source_adapter_has_template(const dm_source *s)
{
    static const char *const names[] = {"tokenizer_config.json", "chat_template.jinja"};
    dm_path path;
    for (size_t i = 0; s->adapter && i < 2; i++)
        if (dm_path_in(&path, s->adapter, names[i], NULL) == DM_OK && dm_file_exists(path.text))
            return true;
    return false;
}

static dm_status base_tokenizer(const dm_source *s, dm_tokenizer **tokenizer, dm_chat_template *chat,
                                const dm_template_choice *choice, dm_error *err)
{
    dm_status status = DM_OK;

    *tokenizer = NULL;
    switch (s->kind) {
    case DM_SOURCE_HF:
        return dm_hf_directory_tokenizer(tokenizer, chat, &s->config, s->path, choice, err);
    case DM_SOURCE_GGUF:
        status = gguf_tokenizer(s, tokenizer, chat, choice, err);
        break;
    case DM_SOURCE_LLAMA2C:
        status = llama2c_tokenizer(s, tokenizer, chat, choice, err);
        break;
    }
    if (status == DM_OK && *tokenizer && dm_tokenizer_size(*tokenizer) > s->config.vocab)
        status = dm_fail(err, DM_ERR_INPUT, "%s: the tokenizer has %zu ids but the model's vocabulary %u", s->path,
                         dm_tokenizer_size(*tokenizer), (unsigned)s->config.vocab);
    if (status != DM_OK)
        dm_tokenizer_close(tokenizer);
    return status;
}

dm_status dm_source_tokenizer(const dm_source *s, dm_tokenizer **tokenizer, dm_chat_template *chat,
                              const dm_template_choice *choice, dm_error *err)
{
    const bool own = chat && dm_source_adapter_has_template(s);
    dm_status status = base_tokenizer(s, tokenizer, own ? NULL : chat, choice, err);

    if (status == DM_OK && own && *tokenizer &&
        (status = dm_template_open(chat, choice, s->adapter, *tokenizer, err)) != DM_OK)
        dm_tokenizer_close(tokenizer);
    return status;
}
