/* The files of a run, in its run.json: names and SHA-256 of everything in its directory, so that a flipped bit anywhere
 * is found. */
#ifndef DM_CLI_MANIFEST_H
#define DM_CLI_MANIFEST_H

#include "core/error.h"
#include "io/json_seal.h"

/* The end of a run.json: the member "transcript_sha256" ("": null), "files", an object of every file in `dir` and in
 * the directories in it (NULL: no such member), and the checksum. run.json itself is left out, and so are names that
 * begin with a dot and what a stage of an experiment keeps beside its output. */
dm_status cli_manifest_end(dm_json_writer *w, const char *transcript_sha256, const char *dir, dm_error *err);

typedef enum cli_manifest_finding { CLI_FILE_DIFFERS, CLI_FILE_MISSING, CLI_FILE_UNKNOWN } cli_manifest_finding;

typedef void (*cli_manifest_fn)(void *context, cli_manifest_finding finding, const char *name);

/* Compares `dir` with the member; calls fn for every file that is not as it was, that is gone, or that is not of the
 * run. *files: how many are as they were. */
dm_status cli_manifest_check(const dm_json *files, const char *dir, cli_manifest_fn fn, void *context, size_t *same,
                             dm_error *err);

#endif
