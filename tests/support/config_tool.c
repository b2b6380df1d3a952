#include "tests/support/config_tool.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/text.h"
#include "tests/support/check.h"

char config_dir[64];

void config_open(void)
{
    snprintf(config_dir, sizeof config_dir, "/tmp/dmpo-config-%ld", (long)getpid());
    CK(dm_dir_create(config_dir, NULL) == DM_OK);
}

void config_close(void)
{
    CK(dm_dir_remove(config_dir, NULL) == DM_OK);
}

void config_put(const char *text)
{
    char path[128];
    dm_error err = {0};

    snprintf(path, sizeof path, "%s/config.json", config_dir);
    CK_MSG(dm_file_write(path, text, strlen(text), &err) == DM_OK, "%s", err.message);
}

void config_put_type(const char *type, const char *more)
{
    dm_text t = {0};

    dm_text_print(&t,
                  "{\"model_type\": \"%s\", \"hidden_size\": 24, \"intermediate_size\": 40, \"num_hidden_layers\": 4,\n"
                  "\"num_attention_heads\": 6, \"vocab_size\": 50%s}",
                  type, more);
    config_put(t.data);
    dm_text_free(&t);
}

dm_config config_read(const char *from)
{
    dm_config c;
    dm_error err = {0};

    CK_MSG(dm_config_read(&c, from, &err) == DM_OK, "%s", err.message);
    return c;
}

dm_config config_of(const char *type, const char *more)
{
    config_put_type(type, more);
    return config_read(config_dir);
}
