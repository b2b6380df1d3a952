/* The report of an experiment: results.json and the files it names, as a page, as Markdown and as a table for programs.
 *
 * Every digit but those of the last section ("This run") is the same on every machine. docs/experiments.md has the form
 * of results.json; what it does not have, the report leaves out. */
#ifndef DM_AGENT_REPORT_REPORT_H
#define DM_AGENT_REPORT_REPORT_H

#include <stdbool.h>

#include "core/text.h"

/* Reads DIR/results.json and writes report.html, report.md and results.csv into `output` (NULL: DIR); with `svg` also
 * every chart as OUTPUT/charts/NAME.svg, which report.md then shows. All of them or none. An experiment's own
 * directory gets them in place of older ones, another one that is not empty with `overwrite` only
 * (core/files/output.h). Appends the results as a table for a terminal to `table`, unless that is NULL. */
dm_status dm_report_make(const char *dir, const char *output, bool svg, bool overwrite, dm_text *table, dm_error *err);

#endif
