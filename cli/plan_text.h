/* A memory plan as people and programs read it. */
#ifndef DM_CLI_PLAN_TEXT_H
#define DM_CLI_PLAN_TEXT_H

#include <stdbool.h>

#include "dmpo.h"
#include "io/json_writer.h"

void cli_plan_json(dm_json_writer *out, const dmpo_plan *p); /* its members */
void cli_plan_print(const dmpo_plan *p, bool data);          /* data: the run has a file of it, which is described */

#endif
