/* A command that is run again, into another place, and what it makes compared with what is there: the result of every
 * command is a function of its inputs. */
#ifndef DM_CLI_RERUN_H
#define DM_CLI_RERUN_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

#define CLI_RERUN_WORDS 300

typedef struct cli_rerun_result {
    size_t same,
        other; /* files, FILE.run.json beside one too; records of time and memory (run.json, metrics.jsonl, checkpoints)
                  * not counted */
    bool failed; /* the command failed: nothing is known */
    int status;  /* of the command */
} cli_rerun_result;

typedef void (*cli_rerun_fn)(void *context, const char *file); /* of each that is other than it was, or gone */

/* word[0]: the command's name. A word that begins with `place` (and the value of --output=place) goes to a temporary
 * place. The command runs in a process of its own, so no engine may be open. */
dm_status cli_rerun(const char *const *word, size_t words, const char *place, cli_rerun_fn fn, void *context,
                    cli_rerun_result *result, dm_error *err);

/* Takes a command line as dmpo experiment records it apart, in place; false: it has more than `most` words, or a quote
 * that is not closed. */
bool cli_rerun_words(char *line, const char **word, size_t most, size_t *words);

#endif
