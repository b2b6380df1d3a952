/* The command line of a subcommand, from its table of options (model/option.h): parsed, read from --config, written to
 * run.json and explained. */
#ifndef DM_CLI_ARGS_H
#define DM_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "core/error.h"
#include "io/json.h"
#include "io/json_writer.h"
#include "model/option.h"

/* A row of a command's own struct, or a copy of one of the library's options of training, which is then set and read by
 * its name in the dmpo_train_options of cli_args. A table ends with a row without a name. */
typedef dm_option cli_option;
#define CLI_LIBRARY ((size_t)-1) /* the offset of a row of the library */

typedef struct cli_command {
    const char *name, *summary;
    const char *usage;         /* after "dmpo NAME " */
    const char *details;       /* after the options in --help, may be NULL */
    const cli_option *options; /* terminated by a row without a name */
    int positional_min, positional_max;
} cli_command;

#define CLI_POSITIONAL 16

typedef struct cli_args {
    dmpo_train_options *train; /* set by the caller whose table has options of the library */
    const char *positional[CLI_POSITIONAL];
    int n_positional;
    bool help;             /* --help was printed: stop with success */
    const char *help_form; /* "" or what followed --help= */
    dm_json_doc *config;   /* keeps strings of --config alive */
} cli_args;

/* Options every command has, parsed into here. */
typedef struct cli_common {
    const char *isa;
    int64_t threads; /* 0: $DMPO_THREADS or every processor */
    const char *config;
    bool quiet, json;
} cli_common;

extern const cli_option cli_common_options[];

/* The row of every command that writes --output; the rule is core/files/place.h's. */
#define CLI_OPTION_OVERWRITE(options)                                                                                  \
    DM_OPTION_FLAG(options, overwrite, "overwrite", "replaces what is at `output` already")

/* Fails when a path among the options, or among the arguments, is the output under whatever
 * name. A value may be a list with commas. */
dm_status cli_check_inputs(const cli_option *table, const void *options, const cli_args *args, const char *output,
                           dm_error *err);

/* Copies the library's options of training that `names` (NULL-terminated; NULL: all) lists, in that order, then the
 * command's own (a table; NULL: none), to out[0..room), as a table. Returns how many of the library's there are. */
size_t cli_library_options(cli_option *out, size_t room, const char *const *names, const cli_option *own);

/* All of them: the table of dmpo train and dmpo plan. */
const cli_option *cli_train_options(void);

/* Parses argv (after the subcommand) into *options (already holding the defaults), args->train and *common: first
 * --config's file, then the command line over it. An unknown option names the nearest known one. */
dm_status cli_parse(const cli_command *c, void *options, cli_common *common, cli_args *args, int argc, char **argv,
                    dm_error *err);
void cli_args_close(cli_args *args); /* except args->train, which is the caller's */

/* The value is the path of a file or directory. */
bool cli_names_path(const cli_option *o);

/* Whether `value`, null included, may stand for the option `name` of the table; errors name its place in `doc`. Returns
 * the option in *found. */
dm_status cli_check_json(const cli_option *table, const char *command, const dm_json_doc *doc, const char *name,
                         const dm_json *value, const cli_option **found, dm_error *err);

/* Fails unless low <= value <= high, naming the option and its range. */
dm_status cli_in_range(const char *name, int64_t value, int64_t low, int64_t high, dm_error *err);

/* The library names options as `lr`; the command line has --lr. Appends `text` with every `name` that is an option of
 * the table or of every command written as --name. */
void cli_explain(dm_text *out, const cli_option *table, const char *text);

/* The same for the options of the command that was parsed last. */
void cli_explain_message(dm_text *out, const char *message);

/* Prints --help; form "": for a terminal, "man": the options as part of a manual page, "markdown": as README's
 * table. */
dm_status cli_help(const cli_command *c, const void *defaults, const char *form, dm_error *err);

/* Members `"name": value` for the whole table, each on a line, for run.json. */
void cli_options_json(dm_json_writer *w, const cli_option *table, const void *options, const dmpo_train_options *train);

/* Bytes for people: "1.5 GiB". */
const char *cli_bytes(char buf[32], double bytes);

#endif
