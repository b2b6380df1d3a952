#include "cli/run_file.h"

#include <stdio.h>

static dm_status set(dmpo_train_options *o, const char *name, const char *value, dm_error *err)
{
    dmpo_error error;

    if (!value || dmpo_train_options_set(o, name, value, &error) == DMPO_OK)
        return DM_OK;
    return dm_fail(err, (dm_status)error.status, "%s", error.message);
}

dm_status cli_run_options(dmpo_train_options **train, const char *path, const cli_run_inputs *inputs, cli_args *args,
                          dm_error *err)
{
    static char config[] = "--config";
    char *argv[] = {config, (char *)(uintptr_t)path};
    char memory[32];
    const cli_command as_train = {.name = "train", .options = cli_train_options()};
    cli_common ignored = {0};
    dmpo_error error;
    dm_status s = (dm_status)dmpo_train_options_open(train, &error);

    if (s != DM_OK)
        return dm_fail(err, s, "%s", error.message);
    args->train = *train;
    if ((s = cli_parse(&as_train, NULL, &ignored, args, 2, argv, err)) != DM_OK)
        return s;
    snprintf(memory, sizeof memory, "%llu", (unsigned long long)inputs->memory);
    const struct {
        const char *name, *value;
    } now[] = {{"model", inputs->model},
               {"base", inputs->base},
               {"data", inputs->data},
               {"eval-data", inputs->eval_data},
               {"reference", inputs->reference},
               {"reference2", inputs->reference2},
               {"memory", memory}};
    for (size_t i = 0; s == DM_OK && i < sizeof now / sizeof *now; i++)
        s = set(*train, now[i].name, now[i].value, err);
    return s;
}
