#include "model/formats/hf_directory.h"

#include <string.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "io/safetensors.h"

dm_status dm_hf_directory_tokenizer(dm_tokenizer **tokenizer, dm_chat_template *chat, const dm_config *config,
                                    const char *dir, const dm_template_choice *choice, dm_error *err)
{
    dm_path path;
    dm_status s = dm_path_in(&path, dir, "tokenizer.json", err);
    *tokenizer = NULL;
    if (s == DM_OK && !dm_file_exists(path.text))
        s = dm_path_in(&path, dir, "tokenizer.model", err);
    if (s != DM_OK || !dm_file_exists(path.text) || (s = dm_tokenizer_open(tokenizer, path.text, err)) != DM_OK)
        return s;
    const size_t size = dm_tokenizer_size(*tokenizer);
    if (size > config->vocab)
        s = dm_fail(err, DM_ERR_INPUT, "%s: the tokenizer has %zu ids but config.json says vocab_size %u", path.text,
                    size, config->vocab);
    else if (chat)
        s = dm_template_open(chat, choice, dir, *tokenizer, err);
    if (s != DM_OK)
        dm_tokenizer_close(tokenizer);
    return s;
}

dm_status dm_hf_directory_sha256(const char *dir, char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_path config;
    dm_st *st = NULL;
    dm_sha256 h;
    const char *last = "";
    dm_status s = dm_path_in(&config, dir, "config.json", err);

    dm_sha256_init(&h);
    if (s == DM_OK && (s = dm_file_sha256(config.text, hex, err)) == DM_OK) {
        dm_sha256_update(&h, hex, DM_SHA256_HEX - 1);
        s = dm_st_open(&st, dir, err);
    }
    for (size_t i = 0; s == DM_OK && i < dm_st_count(st); i++) { /* tensors come ordered by file */
        const char *path = dm_st_path(st, dm_st_at(st, i));
        if (strcmp(path, last) != 0) {
            if ((s = dm_file_sha256(path, hex, err)) == DM_OK)
                dm_sha256_update(&h, hex, DM_SHA256_HEX - 1);
            last = path;
        }
    }
    if (s == DM_OK)
        dm_sha256_finish(&h, hex);
    dm_st_close(&st);
    return s;
}
