#include "tests/support/tokenizer_tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/gguf.h"
#include "io/json.h"

int tool_error(const dm_error *err)
{
    fprintf(stderr, "%s\n", err->message);
    return 1;
}

dm_status tool_input(dm_json_doc **doc, dm_error *err)
{
    dm_text in = {0};
    char buffer[65536];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, stdin)) > 0;)
        dm_text_add(&in, buffer, n);
    const dm_status status = dm_json_parse_lines(doc, in.data != NULL ? in.data : "", in.size, "stdin", err);
    dm_text_free(&in);
    return status;
}

dm_status tool_open(dm_tokenizer **t, const char *path, dm_error *err)
{
    const char *bin = strstr(path, ".bin:");
    const size_t size = strlen(path);
    char file[1024];
    if (bin != NULL && snprintf(file, sizeof file, "%.*s", (int)(bin + 4 - path), path) < (int)sizeof file)
        return dm_tokenizer_open_llama2c(t, file, strtoul(bin + 5, NULL, 10), err);
    if (size < 5 || strcmp(path + size - 5, ".gguf") != 0)
        return dm_tokenizer_open(t, path, err);
    dm_gguf *g;
    dm_status status = dm_gguf_open(&g, path, err);
    if (status == DM_OK)
        status = dm_tokenizer_from_gguf(t, g, err);
    dm_gguf_close(&g);
    return status;
}
