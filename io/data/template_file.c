/* Which template a model directory has, and how one is written for others to read. */
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "io/data/template_internal.h"
#include "io/json_writer.h"

/* ---- reading ---- */

/* The template of that name in a tokenizer_config.json's list; NULL: there is none. */
static const char *named_template(const dm_json *list, const char *name)
{
    for (const dm_json *c = list != NULL && list->type == DM_JSON_ARRAY ? list->child : NULL; c != NULL; c = c->next) {
        const dm_json *text = dm_json_get(c, "template");
        if (dm_json_is(dm_json_get(c, "name"), name) && text != NULL && text->type == DM_JSON_STRING)
            return text->text;
    }
    return NULL;
}

/* "bos_token": "<s>" or {"content": "<s>", ...} */
static const char *config_token(const dm_json *root, const char *key)
{
    const dm_json *v = dm_json_get(root, key);
    if (v != NULL && v->type == DM_JSON_OBJECT)
        v = dm_json_get(v, "content");
    return v != NULL && v->type == DM_JSON_STRING ? v->text : NULL;
}

/* What a directory's files say: chat_template.jinja before tokenizer_config.json, as transformers reads them. */
typedef struct template_files {
    dm_path config, jinja, tool_use;
    dm_json_doc *doc;                 /* NULL: no tokenizer_config.json */
    char *jinja_text, *tool_use_text; /* of the files of that name; NULL: none */
    const dm_json *templates;         /* tokenizer_config.json's, a string or a list; NULL: none */
    dm_template_texts texts;
} template_files;

static void close_files(template_files *f)
{
    dm_json_close(&f->doc);
    free(f->jinja_text);
    free(f->tool_use_text);
}

static dm_status read_file(char **text, const char *path, dm_error *err)
{
    size_t size;
    if (!dm_file_exists(path))
        return DM_OK;
    const dm_status status = dm_file_read(path, DM_JINJA_SOURCE, text, &size, err);
    return status == DM_OK && strlen(*text) < size ? dm_fail(err, DM_ERR_INPUT, "%s holds a zero byte", path) : status;
}

static dm_status open_files(template_files *f, const char *dir, dm_error *err)
{
    dm_status status;
    memset(f, 0, sizeof *f);
    if ((status = dm_path_in(&f->config, dir, "tokenizer_config.json", err)) != DM_OK ||
        (status = dm_path_in(&f->jinja, dir, "chat_template.jinja", err)) != DM_OK ||
        (status = dm_path_in(&f->tool_use, dir, "additional_chat_templates/tool_use.jinja", err)) != DM_OK ||
        (status = read_file(&f->jinja_text, f->jinja.text, err)) != DM_OK ||
        (status = read_file(&f->tool_use_text, f->tool_use.text, err)) != DM_OK ||
        (dm_file_exists(f->config.text) && (status = dm_json_read(&f->doc, f->config.text, err)) != DM_OK))
        return status;
    if (f->doc != NULL) {
        const dm_json *root = dm_json_root(f->doc);
        f->templates = dm_json_get(root, "chat_template");
        f->texts = (dm_template_texts){.bos = config_token(root, "bos_token"),
                                       .eos = config_token(root, "eos_token"),
                                       .unknown = config_token(root, "unk_token"),
                                       .pad = config_token(root, "pad_token"),
                                       .where = f->config.text};
        if (f->templates != NULL && f->templates->type == DM_JSON_STRING)
            f->texts.jinja = f->templates->text;
        else if (f->templates != NULL && f->templates->type == DM_JSON_ARRAY) {
            const dm_json *first = dm_json_get(f->templates->child, "template");
            f->texts.jinja = named_template(f->templates, "default");
            f->texts.tool_use = named_template(f->templates, "tool_use");
            if (f->texts.jinja == NULL && first != NULL && first->type == DM_JSON_STRING)
                f->texts.jinja = first->text;
        }
    }
    if (f->jinja_text != NULL) {
        f->texts.jinja = f->jinja_text;
        f->texts.tool_use = f->tool_use_text;
        f->texts.where = f->jinja.text;
    }
    return DM_OK;
}

dm_status dm_template_text(dm_text *out, const char *dir, dm_error *err)
{
    template_files f;
    dm_status status = open_files(&f, dir, err);
    if (status == DM_OK && f.texts.jinja != NULL)
        dm_text_add(out, f.texts.jinja, strlen(f.texts.jinja));
    close_files(&f);
    return status == DM_OK && out->failed ? dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its template", dir) : status;
}

dm_status dm_template_open(dm_chat_template *out, const dm_template_choice *choice, const char *dir,
                           const dm_tokenizer *t, dm_error *err)
{
    const char *name = choice != NULL && choice->name != NULL ? choice->name : "auto";
    const bool automatic = strcmp(name, "auto") == 0;
    template_files f = {.doc = NULL};
    dm_template_choice own = choice != NULL ? *choice : (dm_template_choice){0};
    dm_status status = DM_OK;
    *out = (dm_chat_template){.kind = DM_TEMPLATE_OWN, .bos = -1, .end_of_turn = -1};
    if (automatic && dir == NULL)
        return dm_fail(err, DM_ERR_ARGUMENT, "without a model directory, choose `template` " DM_TEMPLATE_NAMES);
    if (dir != NULL)
        status = open_files(&f, dir, err);
    if (status == DM_OK && automatic && f.texts.where == NULL)
        status = dm_fail(err, DM_ERR_INPUT,
                         "%s has neither tokenizer_config.json nor "
                         "chat_template.jinja: choose `template` " DM_TEMPLATE_NAMES,
                         dir);
    const char *named = status == DM_OK && !automatic ? named_template(f.templates, name) : NULL;
    if (named != NULL) { /* one of the model's, by its name */
        f.texts.jinja = named;
        f.texts.tool_use = NULL;
        own.name = NULL;
    }
    if (status == DM_OK)
        status = dm_template_from_text(out, &own, &f.texts, t, err);
    if (status == DM_OK && named != NULL)
        out->chosen = true;
    close_files(&f);
    return status;
}

/* ---- writing ---- */

static void add_token(dm_text *out, const char *key, const char *token)
{
    dm_text_print(out, "  \"%s\": ", key);
    if (token != NULL)
        dm_text_json_string(out, token, strlen(token));
    else
        dm_text_print(out, "null");
    dm_text_print(out, ",\n");
}

dm_status dm_template_write(const char *dir, const char *jinja, const char *bos, const char *eos, const char *pad,
                            const char *unknown, dm_error *err)
{
    dm_path path;
    dm_text out = {0};
    dm_status status = dm_dir_create(dir, err);
    if (status == DM_OK)
        status = dm_path_in(&path, dir, "tokenizer_config.json", err);
    if (status != DM_OK)
        return status;
    dm_text_print(&out, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n");
    add_token(&out, "bos_token", bos);
    add_token(&out, "eos_token", eos);
    add_token(&out, "pad_token", pad);
    add_token(&out, "unk_token", unknown); /* byte-level BPE has none; unsaid, transformers adds one of its own */
    dm_text_print(&out, "  \"clean_up_tokenization_spaces\": false");
    if (jinja != NULL) {
        dm_text_print(&out, ",\n  \"chat_template\": ");
        dm_text_json_string(&out, jinja, strlen(jinja));
    }
    dm_text_print(&out, "\n}\n");
    status = out.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", path.text)
                        : dm_file_write(path.text, out.data, out.size, err);
    dm_text_free(&out);
    return status;
}

dm_status dm_template_save(const dm_chat_template *c, const dm_tokenizer *t, const char *dir, dm_error *err)
{
    const char *eos = dm_tokenizer_token(t, c->end_of_turn, NULL);
    return dm_template_write(dir, dm_template_source(c), dm_tokenizer_token(t, c->bos, NULL), eos, eos,
                             dm_tokenizer_token(t, dm_tokenizer_unknown(t), NULL), err);
}
