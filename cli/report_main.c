/* dmpo report: what an experiment found, as a page, as Markdown and as a table. */
#include <stdio.h>

#include "agent/report.h"
#include "cli/command.h"

typedef struct report_options {
    const char *output;
    int svg;
} report_options;

#define AT(f) offsetof(report_options, f)
static const cli_option options[] = {
    {"output", CLI_STRING, AT(output), "DIR", NULL, "write there; default: beside results.json"},
    {"svg", CLI_FLAG, AT(svg), NULL, NULL, "every chart as charts/NAME.svg too, and report.md shows them"},
    {0},
};
#undef AT

static const cli_command command = {
    "report",
    "Writes report.html, report.md and results.csv from the results of an experiment.",
    "DIR [options]",
    "DIR is the --output of dmpo experiment, which calls this at its end. What the results do not have (sweeps,\n"
    "examples, several seeds) the report leaves out. Every digit but those of the last section, \"This run\", is the\n"
    "same on every machine.",
    options,
    1,
    1};

int cli_report_main(int argc, char **argv)
{
    report_options o = {0};
    cli_common common = {0};
    cli_args args = {0};
    dm_error err = {0};

    dm_status s = cli_parse(&command, &o, &common, &args, argc, argv, &err);
    if (s == DM_OK && !args.help) {
        const char *output = o.output ? o.output : args.positional[0];
        s = dm_report_make(args.positional[0], output, o.svg, &err);
        if (s == DM_OK && !common.quiet)
            printf("%s/report.html\n", output);
    }
    cli_args_close(&args);
    return s == DM_OK ? 0 : cli_failed("report", s, err.message);
}
