#include "cli/run_file.h"

#include <stdio.h>

static dm_status set(dmpo_train_options *o, const char *name, const char *value, dm_error *err)
{
    dmpo_error error;

    if (!value || dmpo_train_options_set(o, name, value, &error) == DMPO_OK)
        return DM_OK;
    return dm_fail(err, (dm_status)error.status, "%s", error.message);
}

static dm_status is_learnt(bool *learnt, const char *path, dm_error *err)
{
    dm_json_doc *doc = NULL;
    const dm_status s = dm_json_read(&doc, path, err);

    *learnt = s == DM_OK && dm_json_is(dm_json_get(dm_json_root(doc), "command"), "learn");
    dm_json_close(&doc);
    return s;
}

dm_status cli_run_open(cli_run *r, const char *path, const cli_run_inputs *inputs, dm_error *err)
{
    static char config[] = "--config";
    char *argv[] = {config, (char *)(uintptr_t)path};
    char memory[32];
    cli_common ignored = {0};
    dmpo_error error;

    *r = (cli_run){.train = NULL};
    dm_status s = is_learnt(&r->learnt, path, err);
    if (s != DM_OK)
        return s;
    const cli_command as = {.name = r->learnt ? "learn" : "train",
                            .options = r->learnt ? cli_learn_options() : cli_train_options()};
    dm_online_defaults(&r->learn.online);
    if ((s = (dm_status)dmpo_train_options_open(&r->train, &error)) != DM_OK)
        return dm_fail(err, s, "%s", error.message);
    r->args.train = r->train;
    if ((s = cli_parse(&as, &r->learn, &ignored, &r->args, 2, argv, err)) != DM_OK)
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
        s = set(r->train, now[i].name, now[i].value, err);
    return s;
}

void cli_run_close(cli_run *r)
{
    dmpo_train_options_close(&r->train);
    cli_args_close(&r->args);
}

dm_status cli_run_verify(dmpo_engine *engine, const cli_run *r, const dm_verify_options *v, const char *root,
                         dm_verify_fn fn, void *context, cli_progress *progress, dm_verify_result *result,
                         dm_error *err)
{
    const dm_train_options *train = dm_train_options_values(r->train);
    const dmpo_event_fn event = progress ? cli_progress_event : NULL;

    return r->learnt
               ? dm_online_verify(engine, &r->learn.online, train, v, root, fn, context, event, progress, result, err)
               : dm_verify_run(engine, train, v, root, fn, context, event, progress, result, err);
}
