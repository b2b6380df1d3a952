/* Stages: arguments, keys, directories. */
#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/experiment/stages_internal.h"
#include "core/files/file.h"
#include "core/files/list.h"
#include "core/files/path.h"

#define KEY_SHOWN 12

struct dm_stage_known_hash {
    const char *path;
    char hex[DM_SHA256_HEX];
    dm_stage_known_hash *next;
};

/* ---- memory ---- */

static void *allocate(dm_stage_builder *b, size_t size)
{
    void *p = b->status == DM_OK ? dm_block_alloc(&b->plan->blocks, size ? size : 1) : NULL;
    if (!p && b->status == DM_OK)
        b->status = dm_fail(b->err, DM_ERR_MEMORY, "no memory for the stages");
    return p;
}

static const char *copy(dm_stage_builder *b, const char *text, size_t size)
{
    char *p = allocate(b, size + 1);
    if (p)
        memcpy(p, text, size);
    return p ? p : "";
}

const char *dm_experiment_plan_print(dm_stage_builder *b, const char *fmt, ...)
{
    va_list args, again;

    va_start(args, fmt);
    va_copy(again, args);
    const int size = vsnprintf(NULL, 0, fmt, args);
    char *p = size < 0 ? NULL : allocate(b, (size_t)size + 1);
    if (p)
        vsnprintf(p, (size_t)size + 1, fmt, again);
    va_end(again);
    va_end(args);
    return p ? p : "";
}

/* ---- hashes of what comes from outside ---- */

dm_status dm_stage_content_sha256(const char *path, char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_names names;
    dm_path file;
    dm_sha256 h;

    if (!dm_dir_exists(path))
        return dm_file_sha256(path, hex, err);
    dm_status s = dm_names_list(&names, path, err);
    dm_sha256_init(&h);
    for (size_t i = 0; i < names.n && s == DM_OK; i++) {
        const char *name = names.name[i];
        if ((s = dm_path_in(&file, path, name, err)) != DM_OK || !dm_file_exists(file.text))
            continue;
        char of_file[DM_SHA256_HEX];
        s = dm_file_sha256(file.text, of_file, err);
        dm_sha256_update(&h, name, strlen(name) + 1);
        dm_sha256_update(&h, of_file, DM_SHA256_HEX);
    }
    dm_names_free(&names);
    dm_sha256_finish(&h, hex);
    return s;
}

static const char *known_hash(dm_stage_builder *b, const char *path)
{
    for (const dm_stage_known_hash *k = b->known; k; k = k->next)
        if (strcmp(k->path, path) == 0)
            return k->hex;
    dm_stage_known_hash *k = allocate(b, sizeof *k);
    if (!k)
        return "";
    k->path = path;
    k->next = b->known;
    b->status = dm_stage_content_sha256(path, k->hex, b->err);
    b->known = k;
    return k->hex;
}

const char *dm_stage_source_key(dm_stage_builder *b, dm_stage_source_ref source)
{
    return b->status != DM_OK              ? ""
           : source.stage == DM_STAGE_NONE ? known_hash(b, source.path)
                                           : b->plan->stage[source.stage].key;
}

/* ---- building ---- */

void dm_stage_builder_open(dm_stage_builder *b, dm_experiment_plan *plan, const char *version, dm_error *err)
{
    dm_names names;

    *b = (dm_stage_builder){.plan = plan, .version = version, .err = err};
    const char *dir = dm_experiment_plan_print(b, "%s/stages", plan->output);
    if (!dm_dir_exists(dir))
        return;
    b->status = dm_names_list(&names, dir, err);
    b->existing = allocate(b, names.n * sizeof *b->existing);
    for (size_t i = 0; i < names.n && b->status == DM_OK; i++)
        b->existing[b->n_existing++] = copy(b, names.name[i], strlen(names.name[i]));
    dm_names_free(&names);
}

static void add(dm_stage_builder *b, dm_stage_arg_kind kind, const char *text, size_t stage)
{
    if (b->status != DM_OK)
        return;
    if (b->args == DM_STAGE_ARGS)
        b->status = dm_fail(b->err, DM_ERR_INTERNAL, "a stage has more than %d arguments", DM_STAGE_ARGS);
    else
        b->arg[b->args++] = (dm_stage_arg){kind, text, stage};
}

void dm_stage_begin(dm_stage_builder *b, const char *command)
{
    if (b->open && b->status == DM_OK)
        b->status = dm_fail(b->err, DM_ERR_INTERNAL, "a stage within a stage: %s in %s", command, b->arg[0].text);
    b->open = true;
    b->args = 0;
    add(b, DM_STAGE_ARG_TEXT, command, 0);
}

void dm_stage_text(dm_stage_builder *b, const char *text)
{
    add(b, DM_STAGE_ARG_TEXT, text, 0);
}

void dm_stage_option(dm_stage_builder *b, const char *name, const char *text)
{
    add(b, DM_STAGE_ARG_TEXT, dm_experiment_plan_print(b, "--%s", name), 0);
    add(b, DM_STAGE_ARG_TEXT, text, 0);
}

void dm_stage_source(dm_stage_builder *b, const char *name, dm_stage_source_ref source)
{
    if (name)
        add(b, DM_STAGE_ARG_TEXT, dm_experiment_plan_print(b, "--%s", name), 0);
    add(b, source.stage == DM_STAGE_NONE ? DM_STAGE_ARG_FILE : DM_STAGE_ARG_INPUT, source.path, source.stage);
}

void dm_stage_output(dm_stage_builder *b, const char *name, const char *path)
{
    add(b, DM_STAGE_ARG_TEXT, dm_experiment_plan_print(b, "--%s", name), 0);
    add(b, DM_STAGE_ARG_OUTPUT, path, 0);
}

void dm_stage_free(dm_stage_builder *b, const char *name, const char *text)
{
    add(b, DM_STAGE_ARG_FREE, dm_experiment_plan_print(b, "--%s", name), 0);
    if (text)
        add(b, DM_STAGE_ARG_FREE, text, 0);
}

static void make_key(dm_stage_builder *b, char key[DM_SHA256_HEX])
{
    dm_sha256 h;

    dm_sha256_init(&h);
    dm_sha256_update(&h, "dmpo stage 1", 13);
    dm_sha256_update(&h, b->version, strlen(b->version) + 1);
    for (size_t i = 0; i < b->args; i++) {
        const dm_stage_arg *a = &b->arg[i];
        const unsigned char kind = (unsigned char)a->kind;
        if (a->kind == DM_STAGE_ARG_FREE)
            continue;
        dm_sha256_update(&h, &kind, 1);
        if (a->kind == DM_STAGE_ARG_INPUT)
            dm_sha256_update(&h, b->plan->stage[a->stage].key, DM_SHA256_HEX);
        const char *text = a->kind == DM_STAGE_ARG_FILE ? known_hash(b, a->text) : a->text;
        dm_sha256_update(&h, text, strlen(text) + 1);
    }
    dm_sha256_finish(&h, key);
}

/* Done is what has a record with this key. */
static void look_for_record(dm_stage_builder *b, dm_stage *s)
{
    const char *path = dm_experiment_plan_print(b, "%s/%s", s->dir, DM_STAGE_RECORD);
    dm_json_doc *doc = NULL;
    dm_error ignored;

    if (b->status != DM_OK || !dm_file_exists(path) || dm_json_read(&doc, path, &ignored) != DM_OK)
        return; /* an unreadable record does not count: the stage is run again */
    const dm_json *root = dm_json_root(doc), *seconds = dm_json_get(root, "seconds");
    if (dm_json_is(dm_json_get(root, "key"), s->key) && seconds && seconds->type == DM_JSON_NUMBER) {
        s->state = DM_STAGE_DONE;
        s->reused = true;
        s->seconds = seconds->number;
    }
    dm_json_close(&doc);
}

static const char *directory_of(dm_stage_builder *b, const dm_stage *s)
{
    for (size_t i = 0; i < b->n_existing; i++) {
        const size_t length = strlen(b->existing[i]);
        if (length > KEY_SHOWN && b->existing[i][length - KEY_SHOWN - 1] == '-' &&
            memcmp(b->existing[i] + length - KEY_SHOWN, s->key, KEY_SHOWN) == 0)
            return dm_experiment_plan_print(b, "%s/stages/%s", b->plan->output, b->existing[i]);
    }
    return dm_experiment_plan_print(b, "%s/stages/%s-%.*s", b->plan->output, s->name, KEY_SHOWN, s->key);
}

/* A name as people write it becomes a file name. */
static void make_plain(char *name)
{
    for (; *name; name++) {
        const unsigned char c = (unsigned char)*name;
        if (c >= 'A' && c <= 'Z')
            *name = (char)(c - 'A' + 'a');
        else if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            *name = '_';
    }
}

bool dm_stage_makes_file(const dm_stage *stage)
{
    for (size_t i = 0; i < stage->args; i++)
        if (stage->arg[i].kind == DM_STAGE_ARG_OUTPUT)
            return stage->arg[i].text[0] != '\0';
    return false;
}

size_t dm_stage_end(dm_stage_builder *b, bool resumable, const char *fmt, ...)
{
    dm_experiment_plan *p = b->plan;
    dm_stage s = {.resumable = resumable, .args = b->args};
    char name[128];
    va_list args;

    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    make_plain(name);
    b->open = false;
    if (b->status == DM_OK)
        make_key(b, s.key);
    for (size_t i = 0; i < p->stages && b->status == DM_OK; i++)
        if (strcmp(p->stage[i].key, s.key) == 0)
            return i;
    s.name = copy(b, name, strlen(name));
    s.dir = directory_of(b, &s);
    dm_stage_arg *arg = allocate(b, b->args * sizeof *arg);
    if (arg && (p->stages & (p->stages - 1)) == 0) { /* full at every power of two */
        dm_stage *more = realloc(p->stage, (p->stages ? 2 * p->stages : 1) * sizeof *more);
        if (more)
            p->stage = more;
        else
            b->status = dm_fail(b->err, DM_ERR_MEMORY, "no memory for the stages");
    }
    look_for_record(b, &s);
    if (b->status != DM_OK)
        return DM_STAGE_NONE;
    memcpy(arg, b->arg, b->args * sizeof *arg);
    s.arg = arg;
    p->stage[p->stages] = s;
    return p->stages++;
}

/* ---- questions about a plan ---- */

const char *dm_experiment_plan_path(dm_experiment_plan *plan, dm_stage_source_ref source)
{
    if (source.stage == DM_STAGE_NONE || !source.path[0])
        return source.stage == DM_STAGE_NONE ? source.path : plan->stage[source.stage].dir;
    const char *dir = plan->stage[source.stage].dir;
    const size_t size = strlen(dir) + strlen(source.path) + 2;
    char *path = dm_block_alloc(&plan->blocks, size);
    if (path)
        snprintf(path, size, "%s/%s", dir, source.path);
    return path;
}

const char *dm_experiment_plan_argument(dm_experiment_plan *plan, const dm_stage *stage, size_t i)
{
    const dm_stage_arg *a = &stage->arg[i];

    if (a->kind == DM_STAGE_ARG_INPUT)
        return dm_experiment_plan_path(plan, (dm_stage_source_ref){a->stage, a->text});
    if (a->kind == DM_STAGE_ARG_OUTPUT)
        return dm_experiment_plan_path(plan, (dm_stage_source_ref){(size_t)(stage - plan->stage), a->text});
    return a->text;
}

void dm_experiment_plan_word(dm_text *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./,:=@%";

    if (*word && strspn(word, plain) == strlen(word)) {
        dm_text_print(out, " %s", word);
        return;
    }
    dm_text_add(out, " '", 2);
    for (; *word; word++)
        dm_text_add(out, *word == '\'' ? "'\\''" : word, *word == '\'' ? 4 : 1);
    dm_text_add(out, "'", 1);
}

void dm_experiment_plan_command(dm_experiment_plan *plan, const dm_stage *stage, dm_text *out)
{
    dm_text_add(out, "dmpo", 4);
    for (size_t i = 0; i < stage->args; i++) {
        const char *word = stage->arg[i].kind == DM_STAGE_ARG_FREE ? NULL : dm_experiment_plan_argument(plan, stage, i);
        if (word)
            dm_experiment_plan_word(out, word);
    }
}

dm_status dm_experiment_plan_only(dm_experiment_plan *plan, const char *pattern, dm_error *err)
{
    size_t found = 0;
    bool *needed = calloc(plan->stages ? plan->stages : 1, sizeof *needed);

    if (!needed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the stages");
    for (size_t i = 0; i < plan->stages; i++)
        found += needed[i] = fnmatch(pattern, plan->stage[i].name, 0) == 0;
    for (size_t i = plan->stages; i-- > 0;) /* inputs come first */
        for (size_t a = 0; needed[i] && plan->stage[i].state != DM_STAGE_DONE && a < plan->stage[i].args; a++)
            if (plan->stage[i].arg[a].kind == DM_STAGE_ARG_INPUT)
                needed[plan->stage[i].arg[a].stage] = true;
    for (size_t i = 0; i < plan->stages; i++)
        if (!needed[i] && plan->stage[i].state == DM_STAGE_WAITING)
            plan->stage[i].state = DM_STAGE_LEFT_OUT;
    free(needed);
    return found ? DM_OK : dm_fail(err, DM_ERR_ARGUMENT, "--only '%s' matches no stage; --plan lists them", pattern);
}

void dm_experiment_plan_close(dm_experiment_plan *plan)
{
    free(plan->stage);
    free(plan->evaluation);
    free(plan->training);
    free(plan->pairs);
    free(plan->example);
    free(plan->trial);
    free(plan->choice);
    dm_block_free(&plan->blocks);
    *plan = (dm_experiment_plan){0};
}
