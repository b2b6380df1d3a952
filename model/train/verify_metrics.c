/* Lines of metrics.jsonl, to be held against what the steps give. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/json.h"
#include "model/train/verify.h"

#define METRICS_BYTES ((size_t)1 << 30)

static double number(const dm_json *v, const char *key)
{
    const dm_json *x = dm_json_get(v, key);
    return x && x->type == DM_JSON_NUMBER ? x->number : NAN;
}

static int64_t integer(const dm_json *v, const char *key)
{
    const dm_json *x = dm_json_get(v, key);
    return x && x->type == DM_JSON_NUMBER && x->is_integer ? x->integer : 0;
}

static dm_status read_line(dm_verify_line *out, const char *path, size_t place, dm_error *err)
{
    dm_json_doc *doc = NULL;
    dm_error why;
    const dm_status s = dm_json_parse(&doc, out->text, out->size, path, &why);

    if (s != DM_OK)
        return dm_fail(err, s, "%s: line %zu: %s", path, place, why.message);
    const dm_json *root = dm_json_root(doc);
    out->evaluation = dm_json_is(dm_json_get(root, "kind"), "eval");
    out->of = (dmpo_metrics){.step = integer(root, "step"),
                             .tokens = integer(root, "tokens"),
                             .peak_memory = (uint64_t)integer(root, "peak_memory"),
                             .loss = number(root, "loss"),
                             .grad_norm = number(root, "grad_norm"),
                             .lr = number(root, "lr"),
                             .seconds = number(root, "seconds"),
                             .tokens_per_second = number(root, "tokens_per_second")};
    dm_json_close(&doc);
    return DM_OK;
}

dm_status dm_verify_lines_read(dm_verify_lines *out, const char *path, dm_error *err)
{
    size_t size, room = 1;

    *out = (dm_verify_lines){0};
    dm_status s = dm_file_read(path, METRICS_BYTES, &out->data, &size, err);
    if (s != DM_OK)
        return s;
    for (size_t i = 0; i < size; i++)
        room += out->data[i] == '\n';
    if (!(out->line = calloc(room, sizeof *out->line)))
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory for its lines", path);
    for (size_t at = 0; s == DM_OK && at < size;) {
        const char *end = memchr(out->data + at, '\n', size - at);
        if (!end)
            return dm_fail(err, DM_ERR_INPUT, "%s: ends in half a line", path);
        dm_verify_line *line = &out->line[out->n++];
        *line = (dm_verify_line){.text = out->data + at, .size = (size_t)(end - (out->data + at))};
        s = read_line(line, path, out->n, err);
        at += line->size + 1;
    }
    return s;
}

void dm_verify_lines_free(dm_verify_lines *lines)
{
    free(lines->data);
    free(lines->line);
    *lines = (dm_verify_lines){0};
}

const dm_verify_line *dm_verify_lines_find(const dm_verify_lines *lines, int64_t step, bool evaluation)
{
    const dm_verify_line *found = NULL;

    for (size_t i = 0; i < lines->n; i++) {
        if (lines->line[i].of.step != step || lines->line[i].evaluation != evaluation)
            continue;
        if (found)
            return NULL;
        found = &lines->line[i];
    }
    return found;
}

bool dm_verify_line_is(const dm_verify_line *line, dmpo_metrics m, dm_text *t)
{
    dm_json_writer w = {.out = t};

    m.seconds = line->of.seconds;
    m.tokens_per_second = line->of.tokens_per_second;
    m.peak_memory = line->of.peak_memory;
    t->size = 0;
    dm_metrics_json(&w, NULL, line->evaluation ? "eval" : "train", &m);
    return !t->failed && t->size == line->size && memcmp(t->data, line->text, line->size) == 0;
}
