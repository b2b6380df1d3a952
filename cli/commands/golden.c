/* dmpo golden make: a golden case of any model, in double. */
#include <string.h>

#include "cli/call.h"
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
    {.info = {.name = NULL}},
};

static const char *const library[] = {
    "model",        "data",          "reference",       "template", "template-option", "objective",  "link",
    "beta",         "gamma",         "label-smoothing", "lr",       "adam-beta1",      "adam-beta2", "adam-eps",
    "weight-decay", "max-grad-norm", "warmup-steps",    "steps",    "max-length",      NULL};

static cli_option options[32];

static const cli_command command = {
    "golden",
    "Makes a golden case for ports: a model, its data, and the results of training steps in double.",
    "make --model PATH --data FILE --output DIR [--reference PATH] [options]",
    "DIR gets model/, reference/, case.json (token ids, turns, log-probabilities, loss and gradient norm, a history of\n"
    "steps) and expected.safetensors (the gradient of every tensor over all items, and the trained tensors), in the\n"
    "layout of tests/golden: JSON and safetensors only. Every number is computed in double.",
    options,
    1,
    1};

static dm_status check(cli_call *c, dm_error *err)
{
    const golden_options *o = c->options;

    if (strcmp(c->args.positional[0], "make") != 0)
        return dm_fail(err, DM_ERR_ARGUMENT, "unknown action '%s'; make is the only one", c->args.positional[0]);
    if (!o->output)
        return dm_fail(err, DM_ERR_ARGUMENT, "no output given; --output DIR names the case's directory");
    return cli_check_inputs(options, o, &c->args, o->output, err);
}

static dm_status make(cli_call *c, dm_error *err)
{
    const golden_options *o = c->options;
    dm_train_options case_options = *dm_train_options_values(c->args.train);
    dm_run r;

    case_options.batch = ITEMS_MAX;
    case_options.shuffle = false;
    case_options.share_prefix = false;
    dm_status s = dm_run_ready(&r, &c->engine->e, &case_options, cli_progress_event, &c->progress, err);
    if (s == DM_OK && r.train.data.n > ITEMS_MAX)
        s = dm_fail(err, DM_ERR_ARGUMENT, "a case has at most %d items, the data %zu", ITEMS_MAX, r.train.data.n);
    if (s == DM_OK)
        s = dm_golden_make(&r, o->output, o->overwrite, err);
    dm_run_close(&r);
    return s;
}

int cli_golden(int argc, char **argv)
{
    golden_options o = {0};
    cli_call call = {.command = &command, .options = &o, .needs = CLI_TRAIN | CLI_ENGINE, .check = check, .work = make};

    cli_library_options(options, sizeof options / sizeof *options, library, own_options);
    return cli_call_run(&call, argc, argv);
}
