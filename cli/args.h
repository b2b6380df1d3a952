/* Options as a table: one row says how an option is parsed, read from --config, written to run.json and explained. */
#ifndef DM_CLI_ARGS_H
#define DM_CLI_ARGS_H

#include <stddef.h>
#include <stdio.h>

#include "core/error.h"
#include "io/json.h"

typedef enum cli_kind {
    CLI_STRING, /* const char * */
    CLI_INT,    /* int64_t */
    CLI_SEED,   /* uint64_t */
    CLI_DOUBLE, /* double */
    CLI_BYTES,  /* uint64_t, with KiB MiB GiB (or K M G) */
    CLI_FLAG,   /* int: --name sets 1, --no-name 0; a negative default means "decide yourself" */
    CLI_CHOICE  /* int: index into choices */
} cli_kind;

typedef struct cli_option {
    const char *name; /* without the dashes */
    cli_kind kind;
    size_t offset;              /* of the field in the command's options struct */
    const char *meta;           /* what stands for the value in --help */
    const char *const *choices; /* CLI_CHOICE: NULL-terminated */
    const char *help;           /* one line, legal range included */
} cli_option;

typedef struct cli_command {
    const char *name, *summary;
    const char *usage;         /* after "dmpo NAME " */
    const char *details;       /* behind the options in --help, may be NULL */
    const cli_option *options; /* terminated by a NULL name */
    int positional_min, positional_max;
} cli_command;

#define CLI_POSITIONAL 16

typedef struct cli_args {
    const char *positional[CLI_POSITIONAL];
    int n_positional;
    int help;            /* --help was printed: stop with success */
    dm_json_doc *config; /* keeps strings of --config alive */
} cli_args;

/* Options every command has, parsed into here. */
typedef struct cli_common {
    const char *isa;
    int64_t threads; /* 0: $DMPO_THREADS or every processor */
    const char *config;
    int quiet, json;
} cli_common;

extern const cli_option cli_common_options[];

/* Copies the rows of `from` that `names` (NULL-terminated) lists, in that order, and a terminator behind them into
 * out[0..room): commands share rows, not copies of them. Returns how many were copied. */
size_t cli_pick(cli_option *out, size_t room, const cli_option *from, const char *const *names);

/* Parses argv (behind the subcommand) into *options (already holding the defaults) and *common: first --config's file,
 * then the command line over it. An unknown option names the nearest known one. */
dm_status cli_parse(const cli_command *c, void *options, cli_common *common, cli_args *args, int argc, char **argv,
                    dm_error *err);
void cli_args_close(cli_args *args);

/* The value is the path of a file or directory: by the option's meta, DIR, FILE or PATH. */
int cli_names_path(const cli_option *o);

/* Whether `value`, null included, may stand for the option `name` of the table; errors name its place in `doc`. Returns
 * the option in *found. */
dm_status cli_check_json(const cli_option *table, const char *command, const dm_json_doc *doc, const char *name,
                         const dm_json *value, const cli_option **found, dm_error *err);

/* Fails unless low <= value <= high, naming the option and its range. */
dm_status cli_in_range(const char *name, int64_t value, int64_t low, int64_t high, dm_error *err);

void cli_help(const cli_command *c, const void *defaults, FILE *out);

/* Members `"name": value` for every option that has a value, for run.json. */
void cli_options_json(dm_text *out, const cli_option *table, const void *options);

/* Bytes for people: "1.5 GiB". */
const char *cli_bytes(char buf[32], double bytes);

#endif
