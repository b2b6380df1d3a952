/* dmpo report: what an experiment found, as a page, as Markdown and as a table. */
#include <stdio.h>

#include "agent/report/report.h"
#include "cli/call.h"
#include "cli/facts.h"

typedef struct report_options {
    const char *output;
    bool svg, overwrite;
} report_options;

static const cli_option options[] = {
    DM_OPTION_TEXT(report_options, output, "output", "DIR", "directory to write to", .absent = "that of results.json"),
    DM_OPTION_FLAG(report_options, svg, "svg", "also writes every chart as charts/NAME.svg and shows it in report.md"),
    CLI_OPTION_OVERWRITE(report_options),
    {.offset = 0},
};

static const cli_command command = {
    "report",
    "Writes report.html, report.md and results.csv from the results of an experiment.",
    "DIR [options]",
    "DIR is the --output of dmpo experiment, which ends by running this command. The report leaves out what the results\n"
    "do not have (sweeps, examples, several seeds). Every digit outside the last section, \"This run\", is the same on\n"
    "every machine.",
    options,
    0,
    1};

static dm_status print_json(const char *output, dm_error *err)
{
    cli_report r = {.json = 1};
    dm_text path = {0};

    static const char *const key[] = {"html", "markdown", "csv"}, *const name[] = {"report.html", "report.md",
                                                                                   "results.csv"};
    for (size_t i = 0; i < 3; i++) {
        path.size = 0;
        dm_text_print(&path, "%s/%s", output, name[i]);
        cli_report_string(&r, key[i], path.failed ? NULL : path.data);
    }
    dm_text_free(&path);
    return cli_report_print(&r, err);
}

static dm_status report(cli_call *c, dm_error *err)
{
    const report_options *o = c->options;
    const char *input = c->args.positional[0], *output = o->output ? o->output : input;

    if (!input)
        return dm_fail(err, DM_ERR_ARGUMENT, "no directory given; usage: dmpo report %s", command.usage);
    const dm_status s = dm_report_make(input, output, o->svg, o->overwrite, NULL, err);
    if (s == DM_OK && c->common.json)
        return print_json(output, err);
    if (s == DM_OK && !c->common.quiet)
        printf("%s/report.html\n", output);
    return s;
}

int cli_report_main(int argc, char **argv)
{
    report_options o = {0};
    cli_call call = {.command = &command, .options = &o, .work = report};

    return cli_call_run(&call, argc, argv);
}
