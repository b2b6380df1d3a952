/* What a model directory, or a file of tensors, holds. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/facts.h"
#include "core/files/file.h"
#include "io/safetensors.h"
#include "model/formats/hf_directory.h"
#include "model/train/run.h"

/* ---- weights ---- */

static const char *type_at(const void *st, size_t i)
{
    return dm_st_at(st, i)->type_name;
}

/* The files with their sizes and what sha256sum prints for them. */
static dm_status report_files(cli_report *r, const dm_st *st, dm_error *err)
{
    dm_text json = {0}, text = {0};
    const char *last = "";
    uint64_t total = 0;
    dm_status s = DM_OK;

    for (size_t i = 0; s == DM_OK && i < dm_st_count(st); i++) { /* tensors come ordered by file */
        const char *path = dm_st_path(st, dm_st_at(st, i)), *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;
        char hex[DM_SHA256_HEX];
        struct stat info;
        if (strcmp(path, last) == 0)
            continue;
        last = path;
        s = dm_file_sha256(path, hex, err);
        if (s == DM_OK && stat(path, &info) != 0)
            s = dm_fail(err, DM_ERR_FILE, "%s: cannot read its size: %s", path, strerror(errno));
        if (s != DM_OK)
            break;
        total += (uint64_t)info.st_size;
        dm_text_print(&json, "%s{\"name\": ", json.size ? ", " : "[");
        dm_text_json_string(&json, name, strlen(name));
        dm_text_print(&json, ", \"bytes\": %lld, \"sha256\": \"%s\"}", (long long)info.st_size, hex);
        dm_text_print(&text, "%s%s %s", text.size ? ", " : "", hex, name);
    }
    dm_text_add(&json, "]", 1);
    r->out.failed |= json.failed || text.failed;
    if (s == DM_OK && !r->out.failed) {
        cli_report_bytes(r, "weights_bytes", total);
        cli_report_row(r, "weights_sha256", json.data, text.data ? text.data : "");
    }
    dm_text_free(&json);
    dm_text_free(&text);
    return s;
}

static void report_shapes(cli_report *r, const dm_st *st)
{
    dm_text json = {0};

    for (size_t i = 0; i < dm_st_count(st); i++) {
        const dm_st_tensor *t = dm_st_at(st, i);
        cli_info_shapes_add(r, &json, &(cli_info_tensor){t->name, t->type_name, t->shape, t->dims, false}, 48);
    }
    cli_info_shapes_end(r, &json);
}

void cli_info_shape(cli_report *r, const dm_config *c)
{
    static const char *const ropes[] = {"default", "linear", "llama3", "yarn"};

    cli_report_string(r, "architecture", dm_arch_name(c->arch));
    cli_report_int(r, "layers", c->layers);
    cli_report_int(r, "hidden", c->hidden);
    cli_report_int(r, "intermediate", c->intermediate);
    cli_report_int(r, "heads", c->heads);
    cli_report_int(r, "kv_heads", c->kv_heads);
    cli_report_int(r, "head_dim", c->head_dim);
    cli_report_int(r, "vocabulary", c->vocab);
    cli_report_int(r, "positions", c->max_positions);
    if (c->window)
        cli_report_int(r, "window", c->window);
    cli_report_string(r, "rope", ropes[c->rope]);
    cli_report_double(r, "rope_theta", c->rope_theta);
    cli_report_double(r, "eps", c->eps);
    cli_report_bool(r, "tied", c->tied);
    if (c->bos >= 0)
        cli_report_int(r, "bos", c->bos);
    if (c->eos >= 0)
        cli_report_int(r, "eos", c->eos);
}

static dm_status report_weights(cli_report *r, const dm_config *c, const char *dir, int tensors, dm_error *err)
{
    char hex[DM_SHA256_HEX];
    dm_param_layout layout = {0};
    dm_st *st = NULL;
    dm_status s = dm_param_layout_build(&layout, c, err);

    if (s == DM_OK && (s = dm_st_open(&st, dir, err)) == DM_OK) {
        cli_report_int(r, "parameters", (int64_t)layout.parameters);
        cli_report_types(r, type_at, st, dm_st_count(st), 16, false);
        s = report_files(r, st, err);
        if (s == DM_OK && tensors)
            report_shapes(r, st);
    }
    if (s == DM_OK && (s = dm_hf_directory_sha256(dir, hex, err)) == DM_OK)
        cli_report_string(r, "model_sha256", hex);
    dm_st_close(&st);
    dm_param_layout_free(&layout);
    return s;
}

/* ---- tokenizer ---- */

/* A template that is not recognised is a fact, not a failure, unless it was asked for by name. */
static dm_status report_template(cli_report *r, dm_status s, const dm_chat_template *chat, const char *why,
                                 const dm_template_choice *choice, const dm_tokenizer *t, dm_error *err)
{
    if (!dm_is_of_content(s) || (s != DM_OK && (choice->name || choice->options)))
        return dm_fail(err, s, "%s", why);
    cli_report_string(r, "template", s == DM_OK ? dm_template_name(chat->kind) : NULL);
    if (s != DM_OK) {
        cli_report_problem(r, "template_problem", why);
        return DM_OK;
    }
    cli_report_string(r, "end_of_turn", dm_tokenizer_token(t, chat->end_of_turn, NULL));
    cli_report_int(r, "end_of_turn_id", chat->end_of_turn);
    return DM_OK;
}

static void report_tokenizer(cli_report *r, const dm_tokenizer *t)
{
    size_t specials = 0;
    for (size_t id = 0; id < dm_tokenizer_size(t); id++) {
        bool special = false;
        specials += dm_tokenizer_token(t, (int32_t)id, &special) && special;
    }
    cli_report_int(r, "tokenizer_ids", (int64_t)dm_tokenizer_size(t));
    cli_report_int(r, "tokenizer_specials", (int64_t)specials);
}

dm_status cli_info_tokenizer(cli_report *r, const dm_source *s, const dm_template_choice *choice, dm_tokenizer *t,
                             dm_error *err)
{
    dm_tokenizer *again = NULL;
    dm_chat_template chat = {0};
    dm_error why = {0};
    const dm_status status = dm_source_tokenizer(s, &again, &chat, choice, &why);

    dm_tokenizer_close(&again);
    report_tokenizer(r, t);
    const dm_status reported = report_template(r, status, &chat, why.message, choice, t, err);
    dm_template_close(&chat);
    return reported;
}

dm_status cli_info_model(cli_report *r, const dmpo_engine *engine, const char *dir, const dm_template_choice *choice,
                         int tensors, dm_error *err)
{
    dm_path path[2];
    dm_config config = {.vocab = UINT32_MAX};
    dm_tokenizer *tokenizer = NULL;
    dm_source *source = NULL;
    dm_chat_template chat = {0};
    dm_error why = {0};
    dm_status s;

    if ((s = dm_path_in(&path[0], dir, "config.json", err)) != DM_OK ||
        (s = dm_path_in(&path[1], dir, "tokenizer.json", err)) != DM_OK)
        return s;
    const int model = dm_file_exists(path[0].text), tokens = dm_file_exists(path[1].text);
    if (!model && !tokens)
        return dm_fail(err, DM_ERR_INPUT, "%s: has neither config.json nor tokenizer.json, so it is not a model", dir);
    cli_report_string(r, "path", dir);
    if (model && (s = dm_config_read(&config, dir, err)) != DM_OK)
        return s;
    if (model) {
        cli_info_shape(r, &config);
        if ((s = dm_source_open(&source, dir, err)) == DM_OK &&
            (s = report_weights(r, &config, dir, tensors, err)) == DM_OK)
            s = cli_info_memory(r, engine, source, err);
        dm_source_close(&source);
        if (s != DM_OK)
            return s;
    }
    if ((s = dm_hf_directory_tokenizer(&tokenizer, NULL, &config, dir, NULL, err)) == DM_OK && tokenizer) {
        report_tokenizer(r, tokenizer);
        const dm_status known = dm_template_open(&chat, choice, dir, tokenizer, &why);
        s = report_template(r, known, &chat, why.message, choice, tokenizer, err);
    }
    dm_template_close(&chat);
    dm_tokenizer_close(&tokenizer);
    return s;
}

/* ---- a file of tensors ---- */

dm_status cli_info_tensors(cli_report *r, const char *path, dm_error *err)
{
    dm_st *st = NULL;
    uint64_t values = 0;
    dm_status s = dm_st_open(&st, path, err);

    if (s != DM_OK)
        return s;
    cli_report_string(r, "path", path);
    cli_report_int(r, "tensors", (int64_t)dm_st_count(st));
    for (size_t i = 0; i < dm_st_count(st); i++)
        values += dm_st_at(st, i)->count;
    cli_report_int(r, "values", (int64_t)values);
    cli_report_types(r, type_at, st, dm_st_count(st), 16, false);
    s = report_files(r, st, err);
    if (s == DM_OK)
        report_shapes(r, st);
    dm_st_close(&st);
    return s;
}
