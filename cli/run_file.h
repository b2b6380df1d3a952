/* What a finished run's run.json says, for commands that look at runs. */
#ifndef DM_CLI_RUN_FILE_H
#define DM_CLI_RUN_FILE_H

#include "cli/args.h"
#include "dmpo.h"

typedef struct cli_run_inputs { /* where they are now; NULL: where run.json says */
    const char *model, *base, *data, *eval_data, *reference, *reference2;
    uint64_t memory; /* limit of the process; 0: none */
} cli_run_inputs;

#define CLI_RUN_WHERE "where run.json says"
/* Their rows, for a struct with a cli_run_inputs `field`. */
#define CLI_RUN_INPUTS(options, field)                                                                                 \
    DM_OPTION_TEXT(options, field.model, "model", "PATH", "where the run's model is now", .group = "inputs",           \
                   .absent = CLI_RUN_WHERE),                                                                           \
        DM_OPTION_TEXT(options, field.base, "base", "PATH", "where its adapter's base is now",                         \
                       .absent = CLI_RUN_WHERE),                                                                       \
        DM_OPTION_TEXT(options, field.data, "data", "FILE", "where its data is now", .absent = CLI_RUN_WHERE),         \
        DM_OPTION_TEXT(options, field.eval_data, "eval-data", "FILE", "where its held-out data is now",                \
                       .absent = CLI_RUN_WHERE),                                                                       \
        DM_OPTION_TEXT(options, field.reference, "reference", "PATH", "where its reference is now",                    \
                       .absent = CLI_RUN_WHERE),                                                                       \
        DM_OPTION_TEXT(options, field.reference2, "reference2", "PATH", "where its second reference is now",           \
                       .absent = CLI_RUN_WHERE),                                                                       \
        DM_OPTION_BYTES(options, field.memory, "memory", "SIZE", "memory limit of the process, such as 512MiB",        \
                        .group = "running", .absent = "no limit")

/* The options of training in the run.json at `path`, read as dmpo train --config reads them. *train is closed by the
 * caller, before args. */
dm_status cli_run_options(dmpo_train_options **train, const char *path, const cli_run_inputs *inputs, cli_args *args,
                          dm_error *err);

#endif
