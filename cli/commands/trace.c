/* dmpo trace: steps of training, recorded tensor by tensor. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/call.h"
#include "model/api.h"
#include "model/trace/trace.h"

typedef struct trace_options {
    const char *output, *select, *layers, *steps;
    int precision;
    bool statistics, overwrite;
} trace_options;

static const char *const precisions[] = {"f32", "bf16", "f64", NULL};

static const cli_option own_options[] = {
    DM_OPTION_TEXT(trace_options, output, "output", "FILE", "the trace", .group = "output", .absent = "required"),
    DM_OPTION_TEXT(trace_options, steps, "steps", "A:B", "the steps that are recorded, from 0, both ends included",
                   .absent = "0:0",
                   .manual = "The steps that are recorded, counted from 0, both ends included; those before A are run "
                             "and not recorded. One number is one step."),
    DM_OPTION_TEXT(trace_options, layers, "layers", "A:B", "of tensors in layers, records only those of these layers",
                   .absent = "all"),
    DM_OPTION_TEXT(trace_options, select, "select", "GLOB", "records only the tensors whose names match",
                   .absent = "all",
                   .manual = "Records the tensors whose names match a shell pattern, such as '*.grad' or "
                             "'item.0/model.layers.3.*'. Names are without the step."),
    DM_OPTION_FLAG(trace_options, statistics, "statistics",
                   "records minimum, maximum, mean, root mean square and hash in place of the tensors"),
    DM_OPTION_CHOICE(
        trace_options, precision, "precision", "NAME", precisions,
        "f32, bf16: what the engine computes; f64: the step in double",
        .manual =
            "f32 and bf16 record what the engine computes with that option of train. f64 computes the same step in double, with plain "
            "loops that share nothing with the engine: the truth that f32 is rounded from."),
    CLI_OPTION_OVERWRITE(trace_options),
    {.info = {.name = NULL}},
};

/* Those of train that decide what a step computes. */
static const char *const library[] = {"model",
                                      "data",
                                      "reference",
                                      "reference2",
                                      "reference-cache",
                                      "template",
                                      "template-option",
                                      "objective",
                                      "link",
                                      "phi",
                                      "beta",
                                      "gamma",
                                      "label-smoothing",
                                      "sft-weight",
                                      "length-normalised",
                                      "desirable-weight",
                                      "undesirable-weight",
                                      "alpha-mode",
                                      "alpha",
                                      "alpha-pairing",
                                      "trust-region",
                                      "lr",
                                      "schedule",
                                      "adam-beta1",
                                      "adam-beta2",
                                      "adam-eps",
                                      "weight-decay",
                                      "max-grad-norm",
                                      "warmup-ratio",
                                      "warmup-steps",
                                      "batch",
                                      "epochs",
                                      "max-length",
                                      "seed",
                                      "shuffle",
                                      "share-prefix",
                                      "skip-invalid",
                                      "join-messages",
                                      "lora-rank",
                                      "lora-alpha",
                                      "lora-targets",
                                      "lora-stabilised",
                                      "recompute",
                                      "memory",
                                      NULL};

static cli_option options[64];

static const cli_command command = {
    "trace",
    "Records steps of training: every intermediate, gradient, moment and weight, in one safetensors file.",
    "--model PATH --data FILE --output FILE [--steps A:B] [options]",
    "The file holds token ids, weights of tokens, every intermediate of the forward pass, log-probabilities, loss,\n"
    "the gradient of every intermediate and parameter, the clipping factor, moments and updated parameters, and a\n"
    "manifest that says what each is computed from. `dmpo check` judges such a file, whatever program wrote it;\n"
    "`dmpo compare` finds where two of them diverge.",
    options,
    0,
    0};

/* "A:B" or "A". */
static dm_status range(const char *name, const char *text, int64_t *first, int64_t *last, dm_error *err)
{
    char *end;

    *first = *last = strtoll(text, &end, 10);
    if (end != text && *end == ':') {
        const char *second = end + 1;
        *last = strtoll(second, &end, 10);
        end = end == second ? (char *)"?" : end;
    }
    if (end == text || *end || *first < 0 || *last < *first)
        return dm_fail(err, DM_ERR_ARGUMENT, "`%s` '%s' is not A:B with 0 <= A <= B", name, text);
    return DM_OK;
}

static dm_status check(cli_call *c, dm_error *err)
{
    const trace_options *o = c->options;

    if (!o->output)
        return dm_fail(err, DM_ERR_ARGUMENT, "no output given; --output FILE names the trace");
    return cli_check_inputs(options, o, &c->args, o->output, err);
}

static dm_status record(cli_call *c, dm_error *err)
{
    const trace_options *o = c->options;
    dm_trace_options trace = {.output = o->output,
                              .overwrite = o->overwrite,
                              .select = o->select,
                              .last_layer = -1,
                              .statistics = o->statistics,
                              .double_precision = o->precision == 2};
    dm_run r;
    dmpo_error error;
    dm_status s = DM_OK;

    if (o->steps)
        s = range("steps", o->steps, &trace.first_step, &trace.last_step, err);
    if (s == DM_OK && o->layers)
        s = range("layers", o->layers, &trace.first_layer, &trace.last_layer, err);
    if (s == DM_OK && o->precision == 1)
        s = cli_call_api(dmpo_train_options_set(c->args.train, "precision", "bf16", &error), &error, err);
    if (s != DM_OK)
        return s;
    s = dm_run_ready(&r, &c->engine->e, dm_train_options_values(c->args.train), cli_progress_event, &c->progress, err);
    if (s == DM_OK)
        s = dm_trace_run(&r, &trace, err);
    dm_run_close(&r);
    return s;
}

int cli_trace(int argc, char **argv)
{
    trace_options o = {0};
    cli_call call = {
        .command = &command, .options = &o, .needs = CLI_TRAIN | CLI_ENGINE, .check = check, .work = record};

    cli_library_options(options, sizeof options / sizeof *options, library, own_options);
    return cli_call_run(&call, argc, argv);
}
