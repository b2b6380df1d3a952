#include "cli/call.h"

#include <stdio.h>

dm_status cli_call_api(dmpo_status status, const dmpo_error *error, dm_error *err)
{
    return status == DMPO_OK ? DM_OK : dm_fail(err, (dm_status)status, "%s", error->message);
}

dm_status cli_call_engine(cli_call *c, dm_error *err)
{
    dmpo_error error;
    const dmpo_status s = dmpo_engine_open(&c->engine, c->common.isa, (unsigned)c->common.threads, &error);

    if (s == DMPO_OK && cli_foreign_math())
        fprintf(stderr, "built with %s: results differ from those of every other build\n", cli_foreign_math());
    return cli_call_api(s, &error, err);
}

static dm_status run(cli_call *c, int argc, char **argv, dm_error *err)
{
    dmpo_error error;
    dm_status s = DM_OK;

    if (c->needs & CLI_TRAIN)
        s = cli_call_api(dmpo_train_options_open(&c->args.train, &error), &error, err);
    if (s == DM_OK)
        s = cli_parse(c->command, c->options, &c->common, &c->args, argc, argv, err);
    if (s != DM_OK || c->args.help)
        return s;
    if ((c->check && (s = c->check(c, err)) != DM_OK) ||
        (c->needs & CLI_ENGINE && (s = cli_call_engine(c, err)) != DM_OK))
        return s;
    if (c->needs & CLI_STOPS)
        cli_catch_interrupt();
    cli_progress_open(&c->progress, &c->common);
    s = c->work(c, err);
    cli_progress_close(&c->progress);
    return s;
}

int cli_call_run(cli_call *c, int argc, char **argv)
{
    dm_error err = {0};
    const dm_status s = run(c, argc, argv, &err);
    const int status = s == DM_OK ? c->status : cli_failed(c->command->name, s, err.message);

    dmpo_engine_close(&c->engine);
    dmpo_train_options_close(&c->args.train);
    cli_args_close(&c->args);
    return status;
}
