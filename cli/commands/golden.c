/* dmpo golden make: a golden case of any model, in double. */
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "model/api.h"
#include "model/trace/golden.h"

#define ITEMS_MAX 4096 /* of a case: its batch holds them all */

typedef struct golden_options {
    const char *output;
    bool overwrite;
} golden_options;

static const cli_option own_options[] = {
    DM_OPTION_TEXT(golden_options, output, "output", "DIR", "the case's directory", .group = "output",
                   .absent = "required"),
    CLI_OPTION_OVERWRITE(golden_options),
};
#define OWN (sizeof own_options / sizeof *own_options)

static const char *const library[] = {
    "model",        "data",          "reference",       "template", "template-option", "objective",  "link",
    "beta",         "gamma",         "label-smoothing", "lr",       "adam-beta1",      "adam-beta2", "adam-eps",
    "weight-decay", "max-grad-norm", "warmup-steps",    "steps",    "max-length",      NULL};

static cli_option options[32];

static const cli_command command = {
    "golden",
    "Makes a golden case for ports: a model, its data, and what a training step in double makes of them.",
    "make --model PATH --data FILE --output DIR [--reference PATH] [options]",
    "DIR gets model/, reference/, case.json (token ids, turns, log-probabilities, loss and gradient norm, a history of\n"
    "steps) and expected.safetensors (the gradient of every tensor over all items, and the trained tensors), in the\n"
    "layout of tests/golden: JSON and safetensors only. Every number is computed in double.",
    options,
    1,
    1};

static dm_status run(dmpo_engine *engine, const golden_options *o, dmpo_train_options *train, cli_progress *progress,
                     dm_error *err)
{
    dm_run *r = calloc(1, sizeof *r);
    dm_train_options case_options = *dm_train_options_values(train);
    dm_status s;

    if (!r)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for a run");
    case_options.batch = ITEMS_MAX;
    case_options.shuffle = false;
    case_options.share_prefix = false;
    if ((s = dm_run_open(r, &engine->e, &case_options, cli_progress_event, progress, err)) == DM_OK &&
        (s = dm_run_place(r, err)) == DM_OK && (s = dm_run_reference(r, err)) == DM_OK)
        s = r->train.data.n > ITEMS_MAX
                ? dm_fail(err, DM_ERR_ARGUMENT, "a case has at most %d items, the data %zu", ITEMS_MAX, r->train.data.n)
                : dm_golden_make(r, o->output, o->overwrite, err);
    dm_run_close(r);
    free(r);
    return s;
}

int cli_golden(int argc, char **argv)
{
    golden_options o = {0};
    cli_common common = {0};
    cli_args args = {0};
    cli_progress progress;
    dmpo_engine *engine = NULL;
    dm_error err = {0};
    dmpo_error error;

    const size_t n = cli_library_options(options, sizeof options / sizeof *options - OWN - 1, library);
    memcpy(options + n, own_options, sizeof own_options);
    dm_status s = (dm_status)dmpo_train_options_open(&args.train, &error);
    s = s == DM_OK ? cli_parse(&command, &o, &common, &args, argc, argv, &err) : dm_fail(&err, s, "%s", error.message);
    if (s == DM_OK && !args.help && strcmp(args.positional[0], "make") != 0)
        s = dm_fail(&err, DM_ERR_ARGUMENT, "unknown action '%s'; make is the only one", args.positional[0]);
    if (s == DM_OK && !args.help && !o.output)
        s = dm_fail(&err, DM_ERR_ARGUMENT, "no output given; --output DIR names the case's directory");
    if (s == DM_OK && !args.help)
        s = cli_check_inputs(options, &o, &args, o.output, &err);
    int status = s != DM_OK ? cli_failed("golden", s, err.message) : 0;
    if (!status && !args.help && (status = cli_open_engine("golden", &common, &engine)) == 0) {
        cli_progress_open(&progress, &common);
        s = run(engine, &o, args.train, &progress, &err);
        cli_progress_close(&progress);
        if (s != DM_OK)
            status = cli_failed("golden", s, err.message);
    }
    dmpo_engine_close(&engine);
    dmpo_train_options_close(&args.train);
    cli_args_close(&args);
    return status;
}
