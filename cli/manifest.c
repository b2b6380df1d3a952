#include "cli/manifest.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/files/file.h"
#include "core/files/list.h"
#include "core/files/output.h"
#include "core/files/path.h"

/* Of the run and of a stage; what stays only where it could not be removed. */
static const char *const others[] = {"run.json", "stage.json", "log", "result", "checkpoint.old"};

typedef dm_status (*file_fn)(void *context, const char *name, const char *path, dm_error *err);

static bool is_other(const char *name)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i]) == 0)
            return true;
    return false;
}

/* What a killed writer left beside a file: nobody's. */
static bool is_half(const char *name)
{
    const size_t size = strlen(name), end = sizeof DM_OUTPUT_SUFFIX - 1;
    return size > end && strcmp(name + size - end, DM_OUTPUT_SUFFIX) == 0;
}

/* Every file in dir/below ("": dir), and in the directories there. */
static dm_status each_file(const char *dir, const char *below, file_fn fn, void *context, dm_error *err)
{
    dm_path at, path, name;
    dm_names names = {0};
    dm_status s = *below ? dm_path_in(&at, dir, below, err) : dm_path_print(&at, err, "%s", dir);

    if (s == DM_OK)
        s = dm_names_list(&names, at.text, err);
    for (size_t i = 0; s == DM_OK && i < names.n; i++) {
        if ((!*below && is_other(names.name[i])) || is_half(names.name[i]))
            continue;
        if ((s = dm_path_in(&path, at.text, names.name[i], err)) != DM_OK ||
            (s = dm_path_print(&name, err, "%s%s%s", below, *below ? "/" : "", names.name[i])) != DM_OK)
            break;
        struct stat st = {0};
        if (stat(path.text, &st) != 0 && errno != ENOENT && errno != ELOOP) /* neither removed, nor a link to nothing */
            s = dm_fail(err, DM_ERR_FILE, "%s: cannot look at it: %s", path.text, strerror(errno));
        else if (S_ISREG(st.st_mode))
            s = fn(context, name.text, path.text, err);
        else if (!*below && S_ISDIR(st.st_mode))
            s = each_file(dir, name.text, fn, context, err);
    }
    dm_names_free(&names);
    return s;
}

static dm_status put_file(void *context, const char *name, const char *path, dm_error *err)
{
    dm_json_writer *w = context;
    char hex[DM_SHA256_HEX];
    const dm_status s = dm_file_sha256(path, hex, err);

    dm_json_new_line(w);
    if (s == DM_OK)
        dm_json_put_string(w, name, hex);
    return s;
}

static dm_status put_files(dm_json_writer *w, const char *dir, dm_error *err)
{
    dm_json_open_object(w, "files");
    const dm_status s = each_file(dir, "", put_file, w, err);
    dm_json_close_value(w);
    return s;
}

dm_status cli_manifest_end(dm_json_writer *w, const char *transcript_sha256, const char *dir, dm_error *err)
{
    dm_json_new_line(w);
    dm_json_put_string(w, "transcript_sha256", transcript_sha256[0] ? transcript_sha256 : NULL);
    dm_json_new_line(w);
    const dm_status s = dir ? put_files(w, dir, err) : DM_OK;
    dm_json_seal(w);
    return s;
}

typedef struct search {
    const dm_json *files;
    cli_manifest_fn fn;
    void *context;
} search;

static dm_status check_known(void *context, const char *name, const char *path, dm_error *err)
{
    const search *k = context;

    (void)path, (void)err;
    if (!dm_json_get(k->files, name))
        k->fn(k->context, CLI_FILE_UNKNOWN, name);
    return DM_OK;
}

dm_status cli_manifest_check(const dm_json *files, const char *dir, cli_manifest_fn fn, void *context, size_t *same,
                             dm_error *err)
{
    search k = {files, fn, context};

    *same = 0;
    for (const dm_json *f = files ? files->child : NULL; f; f = f->next) {
        dm_path path;
        char hex[DM_SHA256_HEX];
        dm_status s = dm_path_in(&path, dir, f->key, err);
        if (s == DM_OK && !dm_file_exists(path.text)) {
            fn(context, CLI_FILE_MISSING, f->key);
            continue;
        }
        if (s != DM_OK || (s = dm_file_sha256(path.text, hex, err)) != DM_OK)
            return s;
        if (dm_json_is(f, hex))
            ++*same;
        else
            fn(context, CLI_FILE_DIFFERS, f->key);
    }
    return each_file(dir, "", check_known, &k, err);
}
