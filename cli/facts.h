/* Facts as lines for people or as members of one JSON object, from the same calls. */
#ifndef DM_CLI_FACTS_H
#define DM_CLI_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "dmpo.h"
#include "io/json.h"
#include "model/formats/source.h"

typedef struct cli_report {
    dm_text out;
    int json;
    size_t rows;
} cli_report;

/* Keys are JSON's, "max_positions"; people read "max positions". A NULL string is null and no line. */
void cli_report_string(cli_report *r, const char *key, const char *value);
void cli_report_problem(cli_report *r, const char *key, const char *message); /* of an error, in the command's terms */
void cli_report_int(cli_report *r, const char *key, int64_t value);
void cli_report_double(cli_report *r, const char *key, double value);
void cli_report_bool(cli_report *r, const char *key, int value);
void cli_report_bytes(cli_report *r, const char *key, uint64_t value); /* "3.9 MiB" and the exact number */
void cli_report_list(cli_report *r, const char *key, const char *const *value, size_t n);
/* "dtype": the types of `tensors` tensors with their numbers, "Q4_1 x 210, F32 x 61"; types after the first `most` (at
 * most 40) are left out. count_one: a single type has its number too. */
void cli_report_types(cli_report *r, const char *(*type)(const void *of, size_t i), const void *of, size_t tensors,
                      size_t most, bool count_one);

/* The caller gives both forms; `json` is a whole value. */
void cli_report_row(cli_report *r, const char *key, const char *json, const char *text);

/* A line for people only, its label `width` columns wide. */
void cli_report_line(cli_report *r, const char *label, int width, const char *text);

/* Writes it to stdout; frees. */
dm_status cli_report_print(cli_report *r, dm_error *err);

/* What dmpo info prints about each kind of thing. */
dm_status cli_info_engine(cli_report *r, const char *isa, unsigned threads);
dm_status cli_info_model(cli_report *r, const dmpo_engine *engine, const char *dir, const dm_template_choice *choice,
                         int tensors, dm_error *err);
dm_status cli_info_file(cli_report *r, const dmpo_engine *engine, const char *path, int kind,
                        const dm_template_choice *choice, int tensors, dm_error *err); /* GGUF, llama2.c */
/* base: where it is instead of where the adapter says, or NULL. */
dm_status cli_info_adapter(cli_report *r, const char *dir, const char *base, dm_error *err);
dm_status cli_info_tensors(cli_report *r, const char *path, dm_error *err);

/* Parts of these. */
void cli_info_shape(cli_report *r, const dm_config *c);
dm_status cli_info_memory(cli_report *r, const dmpo_engine *engine, const dm_source *s, dm_error *err);
dm_status cli_info_tokenizer(cli_report *r, const dm_source *s, const dm_template_choice *choice, dm_tokenizer *t,
                             dm_error *err);

/* Tensors: people get a line for each, JSON the list "shapes", which is gathered in *json and freed at the end. */
typedef struct cli_info_tensor {
    const char *name, *type;
    const uint64_t *shape; /* [dims] */
    unsigned dims;
    bool reversed; /* the last dimension comes first, as in GGUF */
} cli_info_tensor;
void cli_info_shapes_add(cli_report *r, dm_text *json, const cli_info_tensor *t, int width);
void cli_info_shapes_end(cli_report *r, dm_text *json);

typedef struct cli_info_data_options {
    const char *model, *base, *chat_template, *template_options;
    int64_t max_length;
    bool tensors; /* of a model: list them */
} cli_info_data_options;
dm_status cli_info_data(cli_report *r, const char *path, const cli_info_data_options *options, dm_error *err);

#endif
