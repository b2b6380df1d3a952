#include "cli/rerun.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "core/files/file.h"
#include "core/files/list.h"
#include "core/files/path.h"
#include "core/files/scratch.h"

#define OUTPUT "--output="

bool cli_rerun_words(char *line, const char **word, size_t most, size_t *words)
{
    char *in = line, *out = line;

    for (*words = 0; *in;) {
        while (*in == ' ')
            in++;
        if (!*in)
            break;
        if (*words == most)
            return false;
        word[(*words)++] = out;
        for (bool quoted = false; *in && (quoted || *in != ' '); in++) {
            if (*in == '\'')
                quoted = !quoted;
            else if (*in == '\\' && !quoted && in[1])
                *out++ = *++in;
            else
                *out++ = *in;
            if (!in[1] && quoted)
                return false;
        }
        in += *in == ' ';
        *out++ = '\0';
    }
    return true;
}

/* The word with the temporary place in it, or as it was; in *text where it changed. */
static dm_status place_word(const char *word, const char *place, const char *instead, dm_path *text, const char **out,
                            dm_error *err)
{
    const bool option = strncmp(word, OUTPUT, sizeof OUTPUT - 1) == 0;
    const char *path = option ? word + sizeof OUTPUT - 1 : word;
    const size_t size = strlen(place);

    *out = word;
    if (strncmp(path, place, size) != 0 || (path[size] != '\0' && path[size] != '/'))
        return DM_OK;
    *out = text->text;
    return dm_path_print(text, err, "%s%s%s", option ? OUTPUT : "", instead, path + size);
}

/* In the child: never returns. */
static void run(const char *const *word, size_t words, const char *place, const char *instead)
{
    static dm_path text[8]; /* words that change: outputs are few */
    static char *argv[CLI_RERUN_WORDS + 1];
    const int null = dm_open("/dev/null", O_RDWR);
    const cli_main_fn command = cli_find(word[0]);
    size_t changed = 0;

    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || !command)
        _exit(1);
    for (size_t i = 0; i < words; i++) {
        const char *now;
        if (changed == sizeof text / sizeof *text ||
            place_word(word[i], place, instead, &text[changed], &now, NULL) != DM_OK)
            _exit(1);
        changed += now != word[i];
        argv[i] = (char *)(uintptr_t)now;
    }
    const int status = command((int)words - 1, argv + 1);
    fflush(NULL);
    _exit(status);
}

static bool is_record(const char *name)
{
    return strcmp(name, "run.json") == 0 || strcmp(name, "metrics.jsonl") == 0 || strncmp(name, "checkpoint", 10) == 0;
}

static dm_status compare_file(const char *made, const char *there, cli_rerun_fn fn, void *context,
                              cli_rerun_result *result, dm_error *err)
{
    char x[DM_SHA256_HEX], y[DM_SHA256_HEX];
    dm_status s = dm_file_sha256(made, x, err);

    if (s != DM_OK)
        return s;
    if (dm_file_exists(there) && dm_file_sha256(there, y, NULL) == DM_OK && strcmp(x, y) == 0) {
        result->same++;
        return DM_OK;
    }
    result->other++;
    fn(context, there);
    return DM_OK;
}

static dm_status compare(const char *made, const char *there, cli_rerun_fn fn, void *context, cli_rerun_result *result,
                         dm_error *err)
{
    dm_names names;
    dm_path a, b;
    dm_status s;

    if (!dm_dir_exists(made)) {
        if ((s = compare_file(made, there, fn, context, result, err)) != DM_OK ||
            (s = dm_path_print(&a, err, "%s.run.json", made)) != DM_OK ||
            (s = dm_path_print(&b, err, "%s.run.json", there)) != DM_OK)
            return s;
        return dm_file_exists(a.text) ? compare_file(a.text, b.text, fn, context, result, err) : DM_OK;
    }
    s = dm_names_list(&names, made, err);
    for (size_t i = 0; s == DM_OK && i < names.n; i++) {
        if (is_record(names.name[i]))
            continue;
        if ((s = dm_path_in(&a, made, names.name[i], err)) == DM_OK &&
            (s = dm_path_in(&b, there, names.name[i], err)) == DM_OK && dm_file_exists(a.text))
            s = compare_file(a.text, b.text, fn, context, result, err);
    }
    dm_names_free(&names);
    return s;
}

dm_status cli_rerun(const char *const *word, size_t words, const char *place, cli_rerun_fn fn, void *context,
                    cli_rerun_result *result, dm_error *err)
{
    dm_scratch beside;
    dm_path made;

    *result = (cli_rerun_result){0};
    if (words == 0 || words > CLI_RERUN_WORDS || !cli_find(word[0]))
        return dm_fail(err, DM_ERR_ARGUMENT, "'%s' is no command that can be run again", words ? word[0] : "");
    dm_status s = dm_scratch_open(&beside, err);
    if (s == DM_OK)
        s = dm_path_in(&made, beside.path.text, "out", err);
    for (size_t i = 0; s == DM_OK && i < words; i++) /* files in a directory that is there before the command runs */
        if (strncmp(word[i], place, strlen(place)) == 0 && word[i][strlen(place)] == '/' && !dm_dir_exists(made.text))
            s = dm_dir_create(made.text, err);
    fflush(NULL);
    const pid_t child = s == DM_OK ? fork() : -1;
    if (child == 0)
        run(word, words, place, made.text);
    int status = 0;
    if (child < 0 && s == DM_OK)
        s = dm_fail(err, DM_ERR_MEMORY, "cannot start a process: %s", strerror(errno));
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (s == DM_OK) {
        result->status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        result->failed = result->status != 0;
        if (!result->failed)
            s = compare(made.text, place, fn, context, result, err);
    }
    dm_scratch_close(&beside);
    return s;
}
