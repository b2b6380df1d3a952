/* What check and compare print: findings, and the first bad one again at the end; as lines, or as one JSON object. */
#ifndef DM_CLI_COMMANDS_FINDINGS_H
#define DM_CLI_COMMANDS_FINDINGS_H

#include "io/json_writer.h"
#include "model/truth/graph.h"

typedef struct cli_findings {
    bool json;
    dm_text text; /* the JSON, printed at the end */
    dm_json_writer j;
    uint64_t lines;
    struct {
        bool found;
        int64_t step;
        char name[256];
        dm_formula formula;
        const char *why; /* static; NULL: unknown */
    } first;             /* a copy: the graph is gone when the summary is written */
} cli_findings;

/* list: the name of the JSON's array. */
void cli_findings_open(cli_findings *f, bool json, const char *list);
void cli_findings_free(cli_findings *f);

/* Remembers a bad one, if it is the first. */
void cli_findings_bad(cli_findings *f, int64_t step, const dm_op *op, const dm_node *node, const char *why);

/* Ends the output, after the list was closed and the summary was written: the first bad one as "TITLE: ..." or as
 * member `key`. */
dm_status cli_findings_end(cli_findings *f, const char *title, const char *key, dm_error *err);

#endif
