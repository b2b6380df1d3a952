#include "cli/call.h"

dm_status cli_call_api(dmpo_status status, const dmpo_error *error, dm_error *err)
{
    return status == DMPO_OK ? DM_OK : dm_fail(err, (dm_status)status, "%s", error->message);
}

static dm_status prepare(cli_call *c, int argc, char **argv, dm_error *err)
{
    dmpo_error error;
    dm_status s = DM_OK;

    if (c->needs & CLI_TRAIN)
        s = cli_call_api(dmpo_train_options_open(&c->args.train, &error), &error, err);
    if (s == DM_OK)
        s = cli_parse(c->command, c->options, &c->common, &c->args, argc, argv, err);
    return s == DM_OK && !c->args.help && c->check ? c->check(c, err) : s;
}

int cli_call_run(cli_call *c, int argc, char **argv)
{
    const char *name = c->command->name;
    dm_error err = {0};
    dm_status s = prepare(c, argc, argv, &err);
    int status = 0;

    if (s == DM_OK && !c->args.help && c->needs & CLI_ENGINE)
        status = cli_open_engine(name, &c->common, &c->engine);
    if (s == DM_OK && !c->args.help && status == 0) {
        if (c->needs & CLI_STOPS)
            cli_catch_interrupt();
        cli_progress_open(&c->progress, &c->common);
        s = c->work(c, &err);
        cli_progress_close(&c->progress);
        status = c->status;
    }
    if (s != DM_OK)
        status = cli_failed(name, s, err.message);
    dmpo_engine_close(&c->engine);
    dmpo_train_options_close(&c->args.train);
    cli_args_close(&c->args);
    return status;
}
