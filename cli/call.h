/* One call of a subcommand: from its arguments to its exit status. */
#ifndef DM_CLI_CALL_H
#define DM_CLI_CALL_H

#include "cli/command.h"

enum {
    CLI_TRAIN = 1,  /* its table has options of training: args.train is opened before parsing */
    CLI_ENGINE = 2, /* it computes: engine is opened before work */
    CLI_STOPS = 4   /* Ctrl-C asks work to stop (cli_interrupted) instead of ending the process */
};

typedef struct cli_call {
    const cli_command *command;
    void *options;                                         /* the command's own, at their defaults; NULL: it has none */
    unsigned needs;                                        /* of CLI_TRAIN, ... */
    dm_status (*check)(struct cli_call *c, dm_error *err); /* what parsing cannot see; NULL: nothing */
    dm_status (*work)(struct cli_call *c, dm_error *err);
    void *context; /* for check and work */

    /* opened for check and work */
    cli_common common;
    cli_args args;
    dmpo_engine *engine;   /* not yet open in check */
    cli_progress progress; /* open in work, which closes it before it prints results */
    int status;            /* the exit status when work succeeds: 0 unless work sets it */
} cli_call;

/* Parses, prints --help when asked, checks, works, prints why it failed, and closes what it opened. Returns the exit
 * status. */
int cli_call_run(cli_call *c, int argc, char **argv);

/* Opens the engine that --isa and --threads ask for, for a command that does not always need one. */
dm_status cli_call_engine(cli_call *c, dm_error *err);

/* Fails with the message of a call of dmpo.h; DM_OK when that succeeded. */
dm_status cli_call_api(dmpo_status status, const dmpo_error *error, dm_error *err);

#endif
