/* The ranks of this process: one, or as many as mpirun started when configure found MPI. */
#ifndef DM_CLI_RANKS_H
#define DM_CLI_RANKS_H

#include <stdbool.h>

#include "core/error.h"

/* Joins the others when an MPI launcher started this process; fills core/ranks.h's table. */
dm_status cli_ranks_open(dm_error *err);

/* What this program's results depend on beside its inputs: the same text on every rank, whatever it was built for. */
const char *cli_ranks_program(void);

/* Leaves. status: the exit status; when it is a failure that the others do not know of, it ends them too. */
void cli_ranks_close(int status);

#endif
