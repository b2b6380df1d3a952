/* What a model in one file is, GGUF or llama2.c; and the memory that a model of any form asks for. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/facts.h"
#include "core/files/file.h"
#include "io/gguf.h"
#include "model/api.h"
#include "model/infer/memory_estimate.h"

#define TOKENS ((size_t)1024) /* that memory is reported for */

dm_status cli_info_memory(cli_report *r, const dmpo_engine *engine, const dm_source *s, dm_error *err)
{
    dm_memory_estimate needs;
    const dm_status status = dm_memory_estimate_of(&needs, &engine->e, s, TOKENS, err);

    if (status != DM_OK)
        return status;
    cli_report_int(r, "memory_tokens", (int64_t)needs.tokens);
    cli_report_bytes(r, "memory_run", needs.run);
    cli_report_bytes(r, "memory_train", needs.train);
    cli_report_bytes(r, "memory_recomputed", needs.train_less);
    return status;
}

static const char *type_at(const void *g, size_t i)
{
    return dm_gguf_at(g, i)->type_name;
}

void cli_info_shapes_add(cli_report *r, dm_text *json, const cli_info_tensor *t, int width)
{
    dm_text shape = {0};

    for (unsigned d = 0; d < t->dims; d++)
        dm_text_print(&shape, "%s%llu", d ? ", " : "[",
                      (unsigned long long)t->shape[t->reversed ? t->dims - 1 - d : d]);
    dm_text_print(&shape, t->dims ? "]" : "[]");
    dm_text_print(json, "%s{\"name\": ", json->size ? ",\n  " : "[");
    dm_text_json_string(json, t->name, strlen(t->name));
    dm_text_print(json, ", \"dtype\": ");
    dm_text_json_string(json, t->type, strlen(t->type));
    dm_text_print(json, ", \"shape\": %s}", shape.failed ? "" : shape.data);
    dm_text_print(&shape, " %s", t->type);
    r->out.failed |= json->failed || shape.failed;
    if (!r->json && !r->out.failed)
        cli_report_line(r, t->name, width, shape.data);
    dm_text_free(&shape);
}

void cli_info_shapes_end(cli_report *r, dm_text *json)
{
    dm_text_print(json, "%s]", json->size ? "" : "[");
    r->out.failed |= json->failed;
    if (r->json && !r->out.failed)
        cli_report_row(r, "shapes", json->data, "");
    dm_text_free(json);
}

static void report_tensors(cli_report *r, const dm_gguf *g)
{
    dm_text json = {0};

    for (size_t i = 0; i < dm_gguf_count(g); i++) {
        const dm_gguf_tensor *t = dm_gguf_at(g, i);
        cli_info_shapes_add(r, &json, &(cli_info_tensor){t->name, t->type_name, t->shape, t->dims, true}, 32);
    }
    cli_info_shapes_end(r, &json);
}

static void report_string_of(cli_report *r, const char *name, const dm_gguf *g, const char *key)
{
    const char *text;
    if (dm_gguf_has(g, key) && dm_gguf_string(g, key, &text, NULL) == DM_OK)
        cli_report_string(r, name, text);
}

/* g: the opened GGUF file, or NULL for another one. */
static dm_status report_hash(cli_report *r, const char *path, const dm_gguf *g, dm_error *err)
{
    char hex[DM_SHA256_HEX];
    struct stat info;
    uint64_t bytes = 0;
    const dm_status s = g ? dm_gguf_sha256(g, hex, err) : dm_file_sha256(path, hex, err);

    if (s != DM_OK)
        return s;
    for (size_t i = 0; i < (g ? dm_gguf_files(g) : 1); i++) {
        const char *file = g ? dm_gguf_file(g, i) : path;
        if (stat(file, &info) != 0)
            return dm_fail(err, DM_ERR_FILE, "%s: cannot read its size: %s", file, strerror(errno));
        bytes += (uint64_t)info.st_size;
    }
    cli_report_bytes(r, "weights_bytes", bytes);
    cli_report_string(r, "model_sha256", hex);
    return DM_OK;
}

/* What every model has, of a source. */
static dm_status report_source(cli_report *r, const dmpo_engine *engine, const dm_source *s,
                               const dm_template_choice *choice, dm_error *err)
{
    dm_param_layout layout;
    dm_tokenizer *t = NULL;
    dm_status status = dm_param_layout_build(&layout, dm_source_config(s), err);

    if (status != DM_OK)
        return status;
    cli_info_shape(r, dm_source_config(s));
    cli_report_int(r, "parameters", (int64_t)layout.parameters);
    dm_param_layout_free(&layout);
    if ((status = cli_info_memory(r, engine, s, err)) == DM_OK &&
        (status = dm_source_tokenizer(s, &t, NULL, NULL, err)) == DM_OK && t)
        status = cli_info_tokenizer(r, s, choice, t, err);
    dm_tokenizer_close(&t);
    return status;
}

/* A file that cannot be used as a model can still be described, except for what is wrong with its header. */
static dm_status describe_gguf(cli_report *r, const dmpo_engine *engine, const char *path, const dm_gguf *g,
                               const dm_template_choice *choice, int tensors, dm_error *err)
{
    dm_source *s = NULL;
    dm_error why = {0};
    dm_status status = dm_source_open(&s, path, &why);

    report_string_of(r, "name", g, "general.name");
    cli_report_int(r, "tensors", (int64_t)dm_gguf_count(g));
    cli_report_types(r, type_at, g, dm_gguf_count(g), 40, true);
    if (status == DM_OK) {
        status = report_source(r, engine, s, choice, err);
    } else if (!dm_is_of_content(status)) {
        status = dm_fail(err, status, "%s", why.message);
    } else {
        report_string_of(r, "architecture", g, "general.architecture");
        cli_report_problem(r, "problem", why.message);
        status = DM_OK;
    }
    report_string_of(r, "tokenizer_model", g, "tokenizer.ggml.model");
    report_string_of(r, "tokenizer_pre", g, "tokenizer.ggml.pre");
    if (status == DM_OK)
        status = report_hash(r, path, g, err);
    if (status == DM_OK && tensors)
        report_tensors(r, g);
    dm_source_close(&s);
    return status;
}

dm_status cli_info_file(cli_report *r, const dmpo_engine *engine, const char *path, int kind,
                        const dm_template_choice *choice, int tensors, dm_error *err)
{
    dm_source *s = NULL;
    dm_gguf *g = NULL;
    dm_status status;

    if (kind == DM_SOURCE_GGUF) {
        if (dm_gguf_open_whole(&g, path, NULL) != DM_OK && (status = dm_gguf_open(&g, path, err)) != DM_OK)
            return status;
        cli_report_string(r, "path", path);
        cli_report_string(r, "form", "gguf");
        if (dm_gguf_files(g) > 1)
            cli_report_int(r, "files", (int64_t)dm_gguf_files(g));
        status = describe_gguf(r, engine, path, g, choice, tensors, err);
        dm_gguf_close(&g);
        return status;
    }
    if ((status = dm_source_open(&s, path, err)) != DM_OK)
        return status;
    cli_report_string(r, "path", path);
    cli_report_string(r, "form", "llama2c");
    const char *const type[] = {"F32"};
    cli_report_list(r, "dtype", type, 1);
    if ((status = report_source(r, engine, s, choice, err)) == DM_OK)
        status = report_hash(r, path, NULL, err);
    dm_source_close(&s);
    return status;
}
