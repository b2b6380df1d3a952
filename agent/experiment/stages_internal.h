/* How a stage is assembled: begin, arguments in order, end. */
#ifndef DM_AGENT_EXPERIMENT_STAGES_INTERNAL_H
#define DM_AGENT_EXPERIMENT_STAGES_INTERNAL_H

#include "agent/experiment/stages.h"

#define DM_STAGE_ARGS 256

typedef struct dm_stage_known_hash dm_stage_known_hash;

typedef struct dm_stage_builder {
    dm_experiment_plan *plan;
    const char *version;
    dm_stage_known_hash *known; /* of files from outside, read once */
    const char **existing;      /* names of the directories in OUTPUT/stages */
    size_t n_existing;
    dm_stage_arg arg[DM_STAGE_ARGS];
    size_t args;
    bool open;        /* between begin and end */
    dm_status status; /* the first failure; everything after it does nothing */
    dm_error *err;
} dm_stage_builder;

/* Lists what OUTPUT/stages holds. */
void dm_stage_builder_open(dm_stage_builder *b, dm_experiment_plan *plan, const char *version, dm_error *err);

void dm_stage_begin(dm_stage_builder *b, const char *command);
void dm_stage_text(dm_stage_builder *b, const char *text);
void dm_stage_option(dm_stage_builder *b, const char *name, const char *text); /* --name text */
void dm_stage_source(dm_stage_builder *b, const char *name,
                     dm_stage_source_ref source);                              /* --name path; name may be NULL */
void dm_stage_output(dm_stage_builder *b, const char *name, const char *path); /* --name DIR/path */
void dm_stage_free(dm_stage_builder *b, const char *name, const char *text);   /* text NULL: a flag */
size_t dm_stage_end(dm_stage_builder *b, bool resumable, const char *fmt, ...) DM_PRINTF(3, 4); /* its number */

/* What stands for the source in a key: its stage's key, or its content's hash. */
const char *dm_stage_source_key(dm_stage_builder *b, dm_stage_source_ref source);

/* A formatted string in the plan's memory. */
const char *dm_experiment_plan_print(dm_stage_builder *b, const char *fmt, ...) DM_PRINTF(2, 3);

/* SHA-256 of a file's content, or of the names and contents of a directory's files. */
dm_status dm_stage_content_sha256(const char *path, char hex[DM_SHA256_HEX], dm_error *err);

#endif
