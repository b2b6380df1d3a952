/* Which template a model directory has, and how one is written for others to read. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "io/data/template.h"

#define CONFIG_BYTES ((size_t)1 << 24) /* a chat_template.jinja larger than this is none */

static const char *const chatml_tokens[] = {"<|im_start|>", "<|im_end|>"};
static const char *const llama_tokens[] = {"<s>", "</s>"};
static const char *const llama3_tokens[] = {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                            "<|eot_id|>"};
static const char *const zephyr_tokens[] = {"</s>", "<|system|>", "<|user|>", "<|assistant|>"};
static const char *const plain_tokens[] = {"<|system|>", "<|user|>", "<|agent|>", "<|end|>"};

#define VICUNA_SYSTEM                                                                                                  \
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "  \
    "and polite answers to the user's questions."

/* The jinja templates that are written. @SYSTEM@ stands for the default system message as a jinja string or none,
 * @CHATML_SYSTEM@ for a statement that puts it in, in the form that default_system() below finds again. */
#define SPLIT_SYSTEM                                                                                                   \
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"                                \
    "{% set turns = messages[1:] %}{% else %}{% set system = @SYSTEM@ %}{% set turns = messages %}{% endif %}"

static const struct {
    const char *name;
    const char *const *tokens;
    size_t n_tokens;
    const char *bos, *end_of_turn; /* by their usual text; bos NULL: none */
    bool config_eos;               /* tokenizer_config.json may name another eos */
    bool trim;
    const char *system;
    const char *jinja;
} kinds[DM_TEMPLATE_COUNT] = {
    [DM_TEMPLATE_CHATML] =
        {"chatml", chatml_tokens, 2, NULL, "<|im_end|>", false, false, "",
         "@CHATML_SYSTEM@{% for message in messages %}"
         "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
    [DM_TEMPLATE_LLAMA2] =
        {"llama2", llama_tokens, 2, "<s>", "</s>", true, true, "",
         SPLIT_SYSTEM "{% for message in turns %}{% if loop.first and system is not none %}"
                      "{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}"
                      "{% else %}{% set content = message['content'] %}{% endif %}"
                      "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
                      "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"},
    [DM_TEMPLATE_LLAMA3] =
        {"llama3", llama3_tokens, 4, "<|begin_of_text|>", "<|eot_id|>", false, true, "",
         SPLIT_SYSTEM
         "{{ bos_token }}{% if system is not none %}{{ '<|start_header_id|>system<|end_header_id|>\\n\\n' + @DATES@ + "
         "system | trim + '<|eot_id|>' }}{% endif %}"
         "{% for message in turns %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "
         "message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"},
    [DM_TEMPLATE_MISTRAL] =
        {"mistral", llama_tokens, 2, "<s>", "</s>", true, false, "",
         SPLIT_SYSTEM
         "{{ bos_token }}{% for message in turns %}{% if message['role'] == 'user' %}"
         "{{ ' [INST] ' + (system + '\\n\\n' if loop.first and system is not none else '') + message['content'] + "
         "' [/INST]' }}{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"},
    [DM_TEMPLATE_VICUNA] = {"vicuna", llama_tokens, 2, "<s>", "</s>", true, false, VICUNA_SYSTEM,
                            SPLIT_SYSTEM
                            "{{ bos_token + system + ' ' }}{% for message in turns %}{% if message['role'] == 'user' %}"
                            "{{ 'USER: ' + message['content'] + ' ' }}{% else %}"
                            "{{ 'ASSISTANT: ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
                            "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"},
    [DM_TEMPLATE_ZEPHYR] =
        {"zephyr", zephyr_tokens, 4, NULL, "</s>", true, false, "",
         "{% for message in messages %}"
         "{% if message['role'] == 'user' %}{{ '<|user|>\\n' + message['content'] + eos_token + '\\n' }}"
         "{% elif message['role'] == 'system' %}{{ '<|system|>\\n' + message['content'] + eos_token + '\\n' }}"
         "{% else %}{{ '<|assistant|>\\n' + message['content'] + eos_token + '\\n' }}{% endif %}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"},
    [DM_TEMPLATE_PLAIN] =
        {"plain", plain_tokens, 4, NULL, "<|end|>", false, false, "",
         SPLIT_SYSTEM
         "{% if system is not none %}{{ '<|system|>' + system }}{% endif %}"
         "{% for message in turns %}{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}"
         "{% else %}{{ '<|agent|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|agent|>' }}{% endif %}"},
};

const char *dm_template_name(dm_template_kind kind)
{
    return kinds[kind].name;
}

size_t dm_template_specials(dm_template_kind kind, const char *const **tokens)
{
    *tokens = kinds[kind].tokens;
    return kinds[kind].n_tokens;
}

/* ---- reading ---- */

/* The template of a tokenizer_config.json: a string, or of several named ones "default" or the first. */
static const char *config_template(const dm_json *root)
{
    const dm_json *v = dm_json_get(root, "chat_template");
    if (v != NULL && v->type == DM_JSON_ARRAY) {
        const dm_json *chosen = v->child;
        for (const dm_json *c = v->child; c != NULL; c = c->next)
            if (dm_json_is(dm_json_get(c, "name"), "default"))
                chosen = c;
        v = dm_json_get(chosen, "template");
    }
    return v != NULL && v->type == DM_JSON_STRING ? v->text : NULL;
}

/* "bos_token": "<s>" or {"content": "<s>", ...} */
static const char *config_token(const dm_json *root, const char *key)
{
    const dm_json *v = dm_json_get(root, key);
    if (v != NULL && v->type == DM_JSON_OBJECT)
        v = dm_json_get(v, "content");
    return v != NULL && v->type == DM_JSON_STRING ? v->text : NULL;
}

static bool recognise(const char *jinja, dm_template_kind *kind)
{
    static const struct {
        const char *marker;
        dm_template_kind kind;
    } markers[] = {
        {"<|im_start|>", DM_TEMPLATE_CHATML}, {"<|start_header_id|>", DM_TEMPLATE_LLAMA3},
        {"<|agent|>", DM_TEMPLATE_PLAIN},     {"<<SYS>>", DM_TEMPLATE_LLAMA2},
        {"[INST]", DM_TEMPLATE_MISTRAL},      {"ASSISTANT:", DM_TEMPLATE_VICUNA},
    };
    for (size_t i = 0; i < sizeof markers / sizeof *markers; i++)
        if (strstr(jinja, markers[i].marker) != NULL) {
            *kind = markers[i].kind;
            return true;
        }
    /* Phi-3's is alike, but ends turns with a token of its own */
    *kind = DM_TEMPLATE_ZEPHYR;
    return strstr(jinja, "<|user|>") != NULL && strstr(jinja, "<|assistant|>") != NULL &&
           strstr(jinja, "eos_token") != NULL && strstr(jinja, "<|end|>") == NULL;
}

/* The text that a chatml template has between <|im_start|>system\n and <|im_end|>, where it is one literal: the default
 * system message. A quote or a brace in between means that the template puts a message there. */
static dm_status default_system(dm_chat_template *out, const char *jinja, const char *file, dm_error *err)
{
    static const char open[] = "<|im_start|>system", close[] = "<|im_end|>";
    for (const char *s = jinja; (s = strstr(s, open)) != NULL;) {
        s += sizeof open - 1;
        if (strncmp(s, "\\n", 2) == 0)
            s += 2;
        else if (*s == '\n')
            s++;
        else
            continue;
        const char *end = strstr(s, close);
        const size_t size = end != NULL ? (size_t)(end - s) : 0;
        if (size == 0 || strcspn(s, "'\"{}\\") < size)
            continue;
        if (size >= sizeof out->system)
            return dm_fail(err, DM_ERR_UNSUPPORTED,
                           "%s: the default system message has %zu bytes, at most %zu are "
                           "supported; choose `template` chatml to do without it",
                           file, size, sizeof out->system - 1);
        memcpy(out->system, s, size);
        out->system[size] = '\0';
        break;
    }
    return DM_OK;
}

static dm_status recognise_kind(dm_chat_template *out, const char *jinja, const char *file, dm_error *err)
{
    if (jinja == NULL)
        return dm_fail(err, DM_ERR_INPUT, "%s has no chat_template: choose one with `template` " DM_TEMPLATE_NAMES,
                       file);
    if (!recognise(jinja, &out->kind))
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "%s: the chat template is none that is known: choose one with "
                       "`template` " DM_TEMPLATE_NAMES,
                       file);
    if (out->kind == DM_TEMPLATE_LLAMA3)
        out->dated = strstr(jinja, "Cutting Knowledge Date") != NULL;
    return out->kind == DM_TEMPLATE_CHATML ? default_system(out, jinja, file, err) : DM_OK;
}

static dm_status find_token(int32_t *id, const dm_chat_template *c, const dm_tokenizer *t, const char *token,
                            dm_error *err)
{
    *id = dm_tokenizer_id(t, token);
    return *id >= 0 ? DM_OK
                    : dm_fail(err, DM_ERR_INPUT,
                              "the %s template needs token \"%s\", which the tokenizer does "
                              "not have",
                              kinds[c->kind].name, token);
}

/* Fills what follows from kind, `bos` and `eos` (NULL: the usual ones). */
static dm_status complete(dm_chat_template *out, const dm_tokenizer *t, const char *bos, const char *eos, dm_error *err)
{
    const dm_template_kind kind = out->kind;
    out->bos = -1;
    out->trim = kinds[kind].trim;
    if (kind == DM_TEMPLATE_VICUNA)
        memcpy(out->system, kinds[kind].system, strlen(kinds[kind].system) + 1);
    if (bos == NULL || *bos == '\0')
        bos = kinds[kind].bos;
    if (eos == NULL || *eos == '\0' || !kinds[kind].config_eos)
        eos = kinds[kind].end_of_turn;
    dm_status status = DM_OK;
    if (kinds[kind].bos != NULL)
        status = find_token(&out->bos, out, t, bos, err);
    if (status == DM_OK)
        status = find_token(&out->end_of_turn, out, t, eos, err);
    for (size_t i = kinds[kind].bos != NULL ? 1 : 0; i < kinds[kind].n_tokens && status == DM_OK; i++) {
        int32_t id;
        if (!kinds[kind].config_eos) /* for those, bos and eos are all */
            status = find_token(&id, out, t, kinds[kind].tokens[i], err);
    }
    return status;
}

static bool kind_by_name(const char *name, dm_template_kind *kind)
{
    for (int k = 0; k < DM_TEMPLATE_COUNT; k++)
        if (strcmp(kinds[k].name, name) == 0) {
            *kind = (dm_template_kind)k;
            return true;
        }
    return false;
}

/* What to begin with; automatic: the kind is to be recognised. */
static dm_status begin(dm_chat_template *out, const char *name, bool *automatic, dm_error *err)
{
    memset(out, 0, sizeof *out);
    *automatic = name == NULL || strcmp(name, "auto") == 0;
    if (!*automatic && !kind_by_name(name, &out->kind))
        return dm_fail(err, DM_ERR_ARGUMENT, "unknown template \"%s\", must be auto, " DM_TEMPLATE_NAMES, name);
    return DM_OK;
}

dm_status dm_template_from_text(dm_chat_template *out, const char *name, const char *jinja, const char *bos,
                                const char *eos, const char *where, const dm_tokenizer *t, dm_error *err)
{
    bool automatic;
    dm_status status = begin(out, name, &automatic, err);
    if (status == DM_OK && automatic)
        status = recognise_kind(out, jinja, where, err);
    return status == DM_OK ? complete(out, t, bos, eos, err) : status;
}

/* A directory's template: of chat_template.jinja, else of tokenizer_config.json. */
typedef struct template_files {
    char config[PATH_MAX], jinja[PATH_MAX];
    dm_json_doc *doc; /* NULL: no tokenizer_config.json */
    char *file;       /* of chat_template.jinja; NULL: none */
    const char *text; /* NULL: none */
    const char *path; /* where the text is from; NULL: neither file is there */
} template_files;

static void close_files(template_files *f)
{
    dm_json_close(&f->doc);
    free(f->file);
}

static dm_status open_files(template_files *f, const char *dir, bool want_text, dm_error *err)
{
    size_t size;
    dm_status status;
    memset(f, 0, sizeof *f);
    if ((status = dm_path_join(f->config, sizeof f->config, dir, "tokenizer_config.json", err)) != DM_OK ||
        (status = dm_path_join(f->jinja, sizeof f->jinja, dir, "chat_template.jinja", err)) != DM_OK ||
        (dm_file_exists(f->config) && (status = dm_json_read(&f->doc, f->config, err)) != DM_OK))
        return status;
    if (f->doc != NULL) {
        f->text = config_template(dm_json_root(f->doc));
        f->path = f->config;
    }
    if (want_text && dm_file_exists(f->jinja)) {
        if ((status = dm_file_read(f->jinja, CONFIG_BYTES, &f->file, &size, err)) != DM_OK)
            return status;
        f->text = f->file;
        f->path = f->jinja;
    }
    return DM_OK;
}

dm_status dm_template_text(dm_text *out, const char *dir, dm_error *err)
{
    template_files f;
    dm_status status = open_files(&f, dir, true, err);
    if (status == DM_OK && f.text != NULL)
        dm_text_add(out, f.text, strlen(f.text));
    close_files(&f);
    return status == DM_OK && out->failed ? dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its template", dir) : status;
}

dm_status dm_template_open(dm_chat_template *out, const char *name, const char *dir, const dm_tokenizer *t,
                           dm_error *err)
{
    bool automatic;
    template_files f = {.doc = NULL};
    dm_status status = begin(out, name, &automatic, err);
    if (status != DM_OK)
        return status;
    if (automatic && dir == NULL)
        return dm_fail(err, DM_ERR_ARGUMENT, "without a model directory, choose `template` " DM_TEMPLATE_NAMES);
    if (dir != NULL)
        status = open_files(&f, dir, automatic, err);
    if (status == DM_OK && automatic && f.path == NULL)
        status = dm_fail(err, DM_ERR_INPUT,
                         "%s has neither tokenizer_config.json nor "
                         "chat_template.jinja: choose `template` " DM_TEMPLATE_NAMES,
                         dir);
    if (status == DM_OK) {
        const dm_json *root = f.doc != NULL ? dm_json_root(f.doc) : NULL;
        status = dm_template_from_text(out, name, f.text, root != NULL ? config_token(root, "bos_token") : NULL,
                                       root != NULL ? config_token(root, "eos_token") : NULL, f.path, t, err);
    }
    close_files(&f);
    return status;
}

/* ---- writing ---- */

/* A string of jinja, in double quotes. */
static void add_jinja_string(dm_text *out, const char *s)
{
    dm_text_add(out, "\"", 1);
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            dm_text_add(out, "\\", 1);
        dm_text_add(out, *s == '\n' ? "\\n" : s, *s == '\n' ? 2 : 1);
    }
    dm_text_add(out, "\"", 1);
}

static bool skip(const char **s, const char *prefix)
{
    const size_t size = strlen(prefix);
    if (strncmp(*s, prefix, size) != 0)
        return false;
    *s += size;
    return true;
}

/* The jinja template with its placeholders filled. */
static void add_jinja(dm_text *out, const dm_chat_template *c)
{
    const bool dated = c->dated && c->kind == DM_TEMPLATE_LLAMA3;
    for (const char *s = kinds[c->kind].jinja; *s != '\0';) {
        if (skip(&s, "@CHATML_SYSTEM@")) {
            if (c->system[0] != '\0')
                dm_text_print(out,
                              "{%% if messages[0]['role'] != 'system' %%}{{ '<|im_start|>system\\n%s<|im_end|>\\n' "
                              "}}{%% endif %%}",
                              c->system);
        } else if (skip(&s, "@SYSTEM@")) {
            if (c->system[0] == '\0' && !dated)
                dm_text_print(out, "none");
            else
                add_jinja_string(out, c->system);
        } else if (skip(&s, "@DATES@")) {
            add_jinja_string(out, dated ? DM_TEMPLATE_DATES : "");
        } else {
            dm_text_add(out, s++, 1);
        }
    }
}

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
    char path[PATH_MAX];
    dm_text out = {0};
    dm_status status = dm_dir_create(dir, err);
    if (status == DM_OK)
        status = dm_path_join(path, sizeof path, dir, "tokenizer_config.json", err);
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
    status = out.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", path)
                        : dm_file_write(path, out.data, out.size, err);
    dm_text_free(&out);
    return status;
}

dm_status dm_template_save(const dm_chat_template *c, const dm_tokenizer *t, const char *dir, dm_error *err)
{
    const char *eos = dm_tokenizer_token(t, c->end_of_turn, NULL);
    dm_text jinja = {0};
    add_jinja(&jinja, c);
    const dm_status status = jinja.failed
                                 ? dm_fail(err, DM_ERR_MEMORY, "%s: no memory to write its template", dir)
                                 : dm_template_write(dir, jinja.data, dm_tokenizer_token(t, c->bos, NULL), eos, eos,
                                                     dm_tokenizer_token(t, dm_tokenizer_unknown(t), NULL), err);
    dm_text_free(&jinja);
    return status;
}
