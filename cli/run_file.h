/* What a finished run's run.json says, for commands that look at runs of dmpo train and dmpo learn. */
#ifndef DM_CLI_RUN_FILE_H
#define DM_CLI_RUN_FILE_H

#include "agent/online/online.h"
#include "cli/command.h"
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

typedef struct cli_learn_values { /* dmpo learn's own options */
    dm_online_options online;
    bool plan;
} cli_learn_values;

typedef struct cli_run {
    dmpo_train_options *train;
    bool learnt; /* while acting: `learn` holds its options */
    cli_learn_values learn;
    cli_args args; /* keeps their texts alive */
} cli_run;

/* The options in the run.json at `path`, read as --config of the command that made it reads them. Closed by the caller,
 * after a failure too. */
dm_status cli_run_open(cli_run *r, const char *path, const cli_run_inputs *inputs, dm_error *err);
void cli_run_close(cli_run *r); /* accepts a zeroed one */

/* dm_verify_run, or dm_online_verify. */
dm_status cli_run_verify(dmpo_engine *engine, const cli_run *r, const dm_verify_options *v, const char *root,
                         dm_verify_fn fn, void *context, cli_progress *progress, dm_verify_result *result,
                         dm_error *err);

#endif
