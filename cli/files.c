#include "cli/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/files/path.h"

static dm_status read_stdin(dm_text *out, size_t limit, dm_error *err)
{
    char buffer[4096];
    size_t n;

    if (isatty(STDIN_FILENO))
        fputs("the prompt (end it with Ctrl-D):\n", stderr);
    while ((n = fread(buffer, 1, sizeof buffer, stdin)) > 0 && out->size <= limit)
        dm_text_add(out, buffer, n);
    if (out->failed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the prompt");
    if (out->size > limit)
        return dm_fail(err, DM_ERR_INPUT, "standard input: longer than %zu bytes, the limit for a prompt", limit);
    return ferror(stdin) ? dm_fail(err, DM_ERR_FILE, "cannot read standard input: %s", strerror(errno)) : DM_OK;
}

dm_status cli_read(dm_text *out, const char *path, size_t limit, dm_error *err)
{
    char *data;
    size_t size;

    if (!path || strcmp(path, "-") == 0)
        return read_stdin(out, limit, err);
    const dm_status s = dm_file_read(path, limit, &data, &size, err);
    if (s == DM_OK)
        dm_text_add(out, data, size);
    free(data);
    return s == DM_OK && out->failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the prompt") : s;
}

dm_status cli_sink_open(cli_sink *s, const char *path, bool overwrite, dm_error *err)
{
    *s = (cli_sink){.file = path != NULL};
    return path ? dm_output_open_new(&s->output, path, overwrite, err) : DM_OK;
}

dm_status cli_sink_add(cli_sink *s, const dm_text *text, dm_error *err)
{
    if (s->file)
        return dm_output_add(&s->output, text->data, text->size, err);
    return fwrite(text->data, 1, text->size, stdout) == text->size
               ? DM_OK
               : dm_fail(err, DM_ERR_FILE, "cannot write standard output: %s", strerror(errno));
}

dm_status cli_sink_close(cli_sink *s, dm_status status, dm_error *err)
{
    return s->file ? dm_output_close(&s->output, status, NULL, err) : status;
}

dm_status cli_write(const char *dir, const char *name, const dm_text *text, dm_error *err)
{
    dm_path path;
    const dm_status s = dm_path_in(&path, dir, name, err);

    if (s != DM_OK)
        return s;
    return text->failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", path.text)
                        : dm_file_write(path.text, text->data, text->size, err);
}
